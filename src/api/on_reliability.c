/* GET /reliability/stats and GET /topics/{t}/inflight: how deliveries end, and which are out.
 * Contract 4.2 and 4.3.
 *
 * Three sources: totals of the topics that exist, since each was created; what delivery counts for
 * the whole broker since the start, so a tenant is not told it; and what the I/O threads count for
 * each topic since the start. */
#include <inttypes.h>
#include <stdio.h>

#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "api/topics_told.h"
#include "node/metrics.h"
#include "std/clock.h"

enum { REPLY_SIZE_MAX = 64 * 1024 * 1024 }; /* all topics with the longest names */

struct reliability {
    struct query_result topics;
    struct topic_totals sum;
    uint64_t dead_letters_now; /* messages of all dead-letter topics */
    uint64_t events[METRICS_EVENTS];
};

static void sum_topics(struct reliability *s)
{
    for (uint32_t t = 0; t < s->topics.topic_count; t++) {
        const struct topic_info *topic = &s->topics.topics[t];
        s->sum.acked += topic->totals.acked;
        s->sum.nacked += topic->totals.nacked;
        s->sum.rejected += topic->totals.rejected;
        s->sum.dead_rejected += topic->totals.dead_rejected;
        s->sum.dead_max_retries += topic->totals.dead_max_retries;
        s->sum.dropped += topic->totals.dropped;
        for (uint32_t i = 0; name_is_dead_letter(topic->name) && i < topic->partition_count; i++)
            s->dead_letters_now += topic->partitions[i].message_count;
    }
}

static void sum_events(struct request *r)
{
    struct reliability *s = r->state;
    struct metrics_topic *topics = NULL;
    const uint32_t count = metrics_read_topics(r->metrics, &r->op.arena, &topics);
    for (uint32_t t = 0; t < count; t++)
        for (unsigned e = 0; topics_told_has(r, topics[t].name) && e < METRICS_EVENTS; e++)
            s->events[e] += topics[t].events[e];
}

static void write_ack_manager(struct request *r)
{
    const struct reliability *s = r->state;
    const struct delivery_stats *d = &r->op.delivery_stats;
    json_write_key(&r->json, "ack_manager");
    json_write_object_begin(&r->json);
    json_member_u64(r, "total_acks", s->sum.acked);
    json_member_u64(r, "total_nacks", s->sum.nacked);
    json_member_u64(r, "total_rejects", s->sum.rejected);
    json_member_u64(r, "total_dlq", s->sum.dead_rejected + s->sum.dead_max_retries);
    if (r->scope.size == 0) {
        json_member_u64(r, "total_expired", d->expired_total);
        json_member_u64(r, "total_retries", d->retries_total);
        json_member_u64(r, "current_queued", d->waiting);
    }
    json_write_object_end(&r->json);
}

static void write_visibility_tracker(struct request *r)
{
    const struct reliability *s = r->state;
    const struct delivery_stats *d = &r->op.delivery_stats;
    json_write_key(&r->json, "visibility_tracker");
    json_write_object_begin(&r->json);
    json_member_u64(r, "total_acked", s->sum.acked);
    json_member_u64(r, "total_extended", s->events[METRICS_EXTENDED]);
    if (r->scope.size == 0) {
        json_member_u64(r, "total_tracked", d->leases_total);
        json_member_u64(r, "current_in_flight", d->in_flight);
        json_member_u64(r, "total_expired", d->expired_total);
    }
    json_write_object_end(&r->json);
}

/* By the topic they come from; those that have none are left out. */
static void write_routes_by_topic(struct request *r)
{
    const struct reliability *s = r->state;
    json_write_key(&r->json, "routes_by_topic");
    json_write_object_begin(&r->json);
    for (uint32_t t = 0, count = 0; t < s->topics.topic_count; t += count) {
        uint64_t routed = 0;
        count = topics_told_same(&s->topics, t);
        for (uint32_t i = t; i < t + count; i++) {
            const struct topic_totals *totals = &s->topics.topics[i].totals;
            routed += totals->dead_rejected + totals->dead_max_retries;
        }
        if (routed == 0)
            continue;
        json_write_key_string(&r->json, name_strip(s->topics.topics[t].name));
        json_write_uint64(&r->json, routed);
    }
    json_write_object_end(&r->json);
}

static void write_dead_letters(struct request *r)
{
    const struct reliability *s = r->state;
    json_write_key(&r->json, "dlq");
    json_write_object_begin(&r->json);
    json_member_u64(r, "total_routed", s->sum.dead_rejected + s->sum.dead_max_retries);
    json_write_key(&r->json, "routes_by_reason");
    json_write_object_begin(&r->json);
    json_member_u64(r, "REJECTED", s->sum.dead_rejected);
    json_member_u64(r, "MAX_RETRIES_EXCEEDED", s->sum.dead_max_retries);
    json_write_object_end(&r->json);
    write_routes_by_topic(r);
    json_member_u64(r, "total_dropped", s->sum.dropped);
    if (r->scope.size == 0) {
        json_member_u64(r, "create_errors", r->op.delivery_stats.dead_topic_errors_total);
        json_member_u64(r, "publish_errors", r->op.delivery_stats.dead_letter_errors_total);
    }
    json_write_object_end(&r->json);
}

static void then_delivery_stats(struct request *r)
{
    struct reliability *s = r->state;
    if (reply_if_failed(r))
        return;
    topics_told_sort(&s->topics);
    sum_topics(s);
    sum_events(r);
    r->out.size_max = REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_member_u64(r, "acks_total", s->sum.acked);
    json_member_u64(r, "nacks_total", s->sum.nacked);
    json_member_u64(r, "rejects_total", s->sum.rejected);
    json_member_u64(r, "dlq_messages", s->dead_letters_now);
    json_member_u64(r, "visibility_extensions", s->events[METRICS_EXTENDED]);
    write_ack_manager(r);
    write_visibility_tracker(r);
    write_dead_letters(r);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void then_topics(struct request *r)
{
    struct reliability *s = r->state;
    if (reply_if_failed(r))
        return;
    s->topics = r->op.query_result;
    request_submit_query(r, (struct query){.type = QUERY_STATS}, then_delivery_stats);
}

void on_reliability_stats(struct request *r)
{
    r->state = arena_new(&r->op.arena, struct reliability);
    topics_told_submit(r, then_topics);
}

static double age_s(int64_t since_us)
{
    const int64_t age_us = since_us > 0 ? clock_wall_us() - since_us : 0;
    const int64_t age_ms = age_us / 1000;
    return age_ms > 0 ? (double)age_ms / 1000 : 0;
}

static void then_in_flight(struct request *r)
{
    const struct query_result *result = &r->op.query_result;
    if (reply_if_query_failed(r))
        return;
    const struct in_flight_info *info = &result->in_flight;
    json_write_object_begin(&r->json);
    json_member_span(r, "topic", r->params[0]);
    json_write_key(&r->json, "partitions");
    json_write_object_begin(&r->json);
    for (uint32_t i = 0; i < result->topics[0].partition_count; i++) {
        char number[16];
        (void)snprintf(number, sizeof number, "%" PRIu32, i);
        json_write_key(&r->json, number);
        json_write_object_begin(&r->json);
        json_member_u64(r, "in_flight_count", info->partitions[i].count);
        json_write_key(&r->json, "oldest_in_flight_age_seconds");
        json_write_double(&r->json, age_s(info->partitions[i].oldest_us));
        json_write_object_end(&r->json);
    }
    json_write_object_end(&r->json);
    json_write_key(&r->json, "groups");
    json_write_object_begin(&r->json);
    for (uint32_t i = 0; i < info->group_count; i++) {
        json_write_key_string(&r->json, name_strip(info->groups[i].name));
        json_write_uint64(&r->json, info->groups[i].count);
    }
    json_write_object_end(&r->json);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_in_flight(struct request *r)
{
    struct query query = {.type = QUERY_IN_FLIGHT};
    if (request_topic_param(r, 0, &query.name))
        request_submit_query(r, query, then_in_flight);
}
