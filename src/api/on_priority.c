/* GET /priority/stats: what is stored, and how long it waited, by priority. Contract 4.6. */
#include <inttypes.h>
#include <stdio.h>

#include "api/publish_message.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "api/topics_told.h"
#include "node/metrics.h"

enum {
    DETAILS_SIZE_AIM = 32 * 1024 * 1024, /* topics beyond it are told without their partitions */
    REPLY_SIZE_MAX = 128 * 1024 * 1024,
};

struct counts {
    uint64_t of[PRIORITY_COUNT];
};

static void add_counts(struct counts *sum, const struct partition_info *p)
{
    for (unsigned i = 0; i < PRIORITY_COUNT; i++)
        sum->of[i] += p->by_priority[i];
}

static void write_counts(struct request *r, const char *name, const struct counts *counts)
{
    json_write_key(&r->json, name);
    json_write_array_begin(&r->json);
    for (unsigned i = 0; i < PRIORITY_COUNT; i++)
        json_write_uint64(&r->json, counts->of[i]);
    json_write_array_end(&r->json);
}

/* `consumed`: what the group that is furthest with the priority is done with; `pending`: the
 * others, delayed messages included. `oldest_pending` would need a look at the log for each of them
 * and is left empty. */
static void write_partition(struct request *r, const struct partition_info *p)
{
    struct counts total = {0}, pending, consumed;
    add_counts(&total, p);
    for (unsigned i = 0; i < PRIORITY_COUNT; i++) {
        consumed.of[i] = p->done_by_priority[i];
        pending.of[i] = total.of[i] - consumed.of[i];
    }
    json_write_object_begin(&r->json);
    write_counts(r, "pending", &pending);
    write_counts(r, "consumed", &consumed);
    write_counts(r, "total", &total);
    json_write_key(&r->json, "oldest_pending");
    json_write_array_begin(&r->json);
    for (unsigned i = 0; i < PRIORITY_COUNT; i++)
        json_write_text(&r->json, "");
    json_write_array_end(&r->json);
    json_write_object_end(&r->json);
}

/* The partitions of topics of the same name in several tenants would share numbers: only the sum of
 * such topics is told. */
static void write_topic(struct request *r, const struct topic_info *topics, uint32_t count)
{
    struct counts sum = {0};
    for (uint32_t t = 0; t < count; t++)
        for (uint32_t i = 0; i < topics[t].partition_count; i++)
            add_counts(&sum, &topics[t].partitions[i]);
    json_write_key_string(&r->json, name_strip(topics->name));
    json_write_object_begin(&r->json);
    write_counts(r, "total_by_priority", &sum);
    if (count == 1 && r->out.size < DETAILS_SIZE_AIM) {
        json_write_key(&r->json, "partitions");
        json_write_object_begin(&r->json);
        for (uint32_t i = 0; i < topics->partition_count; i++) {
            char number[16];
            (void)snprintf(number, sizeof number, "%" PRIu32, i);
            json_write_key(&r->json, number);
            write_partition(r, &topics->partitions[i]);
        }
        json_write_object_end(&r->json);
    }
    json_write_object_end(&r->json);
}

/* Since the start of the process. */
static void write_waits(struct request *r)
{
    struct metrics_topic *topics = NULL;
    struct metrics_wait sum[PRIORITY_COUNT] = {0};
    const uint32_t count = metrics_read_topics(r->metrics, &r->op.arena, &topics);
    for (uint32_t t = 0; t < count; t++) {
        if (!topics_told_has(r, topics[t].name))
            continue;
        for (unsigned i = 0; i < PRIORITY_COUNT; i++) {
            sum[i].count += topics[t].waits[i].count;
            sum[i].sum_us += topics[t].waits[i].sum_us;
        }
    }
    json_write_key(&r->json, "avg_wait_time_by_priority");
    json_write_object_begin(&r->json);
    for (unsigned i = 0; i < PRIORITY_COUNT; i++) {
        const uint64_t average_us = sum[i].count > 0 ? sum[i].sum_us / sum[i].count : 0;
        json_member_duration(r, priority_text((uint8_t)i), (int64_t)average_us);
    }
    json_write_object_end(&r->json);
}

static void then_topics(struct request *r)
{
    struct query_result *result = &r->op.query_result;
    struct counts sum = {0};
    if (reply_if_failed(r))
        return;
    topics_told_sort(result);
    for (uint32_t t = 0; t < result->topic_count; t++)
        for (uint32_t i = 0; i < result->topics[t].partition_count; i++)
            add_counts(&sum, &result->topics[t].partitions[i]);
    r->out.size_max = REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_write_key(&r->json, "messages_by_priority");
    json_write_object_begin(&r->json);
    for (unsigned i = 0; i < PRIORITY_COUNT; i++)
        json_member_u64(r, priority_text((uint8_t)i), sum.of[i]);
    json_write_object_end(&r->json);
    write_waits(r);
    write_counts(r, "total_by_priority", &sum);
    json_write_key(&r->json, "topics");
    json_write_object_begin(&r->json);
    for (uint32_t i = 0, count = 0; i < result->topic_count; i += count) {
        count = topics_told_same(result, i);
        write_topic(r, &result->topics[i], count);
    }
    json_write_object_end(&r->json);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_priority_stats(struct request *r)
{
    topics_told_submit(r, then_topics);
}
