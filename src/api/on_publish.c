/* POST /topics/{t}/messages: from the body to a durable command, and its offsets back. */
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "api/scratch.h"
#include "api/text.h"
#include "command/record_batch.h"
#include "node/metrics.h"
#include "node/topic_defaults.h"
#include "std/check.h"
#include "std/clock.h"
#include "std/json_write.h"
#include "std/timestamp.h"

enum {
    STALE_MAX = 3, /* attempts with a topic that changes while the request is under way */
    FULL_MAX = 3,  /* attempts to fill what room a topic has for delayed messages */
    RESULT_SIZE_MAX = 128 + TIMESTAMP_SIZE_MAX,
    REPLY_SIZE_MAX = 16 * 1024 * 1024, /* 10,000 results, all failed, are far below */
};

struct publishing {
    struct span topic; /* qualified */
    struct publish_plan plan;
    bool guessed;          /* the topic is as this thread remembers it */
    unsigned stale_count;  /* how often the topic was not what it had been */
    unsigned full_count;   /* how often there was less room for delayed messages than needed */
    uint64_t delayed_room; /* UINT64_MAX: not known, so enough */
};

static void resolve(struct request *r);

static uint8_t *write_stored(uint8_t *to, const struct publish_outcome *outcome,
                             const struct result_publish *result)
{
    CHECK(outcome->entry < result->count);
    const struct placement *placement = &result->placements[outcome->entry];
    const int64_t due_us =
        outcome->delay_us > 0 ? result->time_us + outcome->delay_us : outcome->deliver_at_us;
    const bool delayed = due_us > result->time_us; /* by now deliverAt may have come */
    const char *priority = priority_text(outcome->priority);
    to = TEXT_LITERAL(to, "{\"partition\":");
    to = text_u64(to, placement->partition);
    to = TEXT_LITERAL(to, ",\"offset\":");
    to = text_u64(to, placement->base_offset + outcome->index);
    to = TEXT_LITERAL(to, ",\"priority\":\"");
    to = text_copy(to, priority, strlen(priority));
    if (!delayed)
        return TEXT_LITERAL(to, "\",\"delayed\":false}");
    to = TEXT_LITERAL(to, "\",\"delayed\":true,\"deliverAt\":\"");
    char text[TIMESTAMP_SIZE_MAX];
    size_t size = timestamp_format(text, due_us);
    to = text_copy(to, text, size);
    return TEXT_LITERAL(to, "\"}");
}

static void write_failed(struct buf *out, const struct publish_outcome *outcome)
{
    buf_printf(out,
               "{\"partition\":-1,\"offset\":-1,\"priority\":\"%s\",\"delayed\":false,\"error\":\"",
               priority_text(outcome->priority));
    json_escape(out, span_text(outcome->error));
    buf_put_text(out, "\"}");
}

static void reply_results(struct request *r, const struct publish_plan *plan,
                          const struct result_publish *result)
{
    struct buf *out = &r->out;
    out->size_max = REPLY_SIZE_MAX;
    buf_put_text(out, "{\"results\":[");
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct publish_outcome *outcome = &plan->outcomes[i];
        if (i > 0)
            buf_put_byte(out, ',');
        if (outcome->error != NULL) {
            write_failed(out, outcome);
            continue;
        }
        uint8_t *start = buf_reserve(out, RESULT_SIZE_MAX);
        CHECK(start != NULL);
        buf_commit(out, (size_t)(write_stored(start, outcome, result) - start));
    }
    buf_put_text(out, "]}");
    reply_send(r, 200);
}

static void count_published(struct request *r)
{
    const struct publishing *p = r->state;
    const uint32_t refused = p->plan.count - p->plan.stored_count - p->plan.no_room_count;
    if (p->plan.stored_count > 0)
        metrics_published(r->metrics, p->topic, p->plan.stored_count, p->plan.stored_bytes,
                          clock_mono_us() - r->start_us);
    if (refused > 0)
        metrics_failed(r->metrics, p->topic, ST_INVALID_ARGUMENT, refused);
    if (p->plan.no_room_count > 0)
        metrics_failed(r->metrics, p->topic, ST_DELAYED_FULL, p->plan.no_room_count);
}

/* The topic was replaced, or has other partitions. */
static void retry_stale(struct request *r)
{
    struct publishing *p = r->state;
    topic_cache_drop(scratch_get()->topics, p->topic);
    p->delayed_room = UINT64_MAX;
    if (++p->stale_count > STALE_MAX)
        reply_error(r, ST_STALE);
    else
        resolve(r);
}

/* Nothing was stored, since the topic has not room for all of the delayed messages. Those over it
 * are refused, each for itself. Others may take the room meanwhile: then, in the end, none of them
 * is tried any more, and what is not delayed is stored whatever happens. */
static void retry_full(struct request *r)
{
    struct publishing *p = r->state;
    p->delayed_room = ++p->full_count < FULL_MAX ? r->op.result.publish.delayed_room : 0;
    resolve(r);
}

static void then_published(struct request *r)
{
    struct publishing *p = r->state;
    const struct result *result = &r->op.result;
    if (r->op.failed == ST_OK && result->status == ST_STALE) {
        retry_stale(r);
        return;
    }
    if (r->op.failed == ST_OK && result->status == ST_DELAYED_FULL) {
        retry_full(r);
        return;
    }
    if (reply_if_failed(r)) {
        metrics_failed(r->metrics, p->topic, r->op.failed != ST_OK ? r->op.failed : result->status,
                       p->plan.count);
        return;
    }
    count_published(r);
    reply_results(r, &p->plan, &result->publish);
}

/* What publish_builder_read() read last, on this thread, is for the topic. */
static void build(struct request *r, struct publish_target target)
{
    struct publishing *p = r->state;
    target.delayed_room = p->delayed_room;
    buf_fini(&r->op.record);
    buf_init(&r->op.record, BATCH_SIZE_MAX);
    enum status st = publish_builder_build(&scratch_get()->publish, &target, &r->op.arena,
                                           &r->op.record, &p->plan);
    if (st != ST_OK) {
        reply_error(r, ST_PAYLOAD_TOO_LARGE);
    } else if (p->guessed && p->plan.misplaced_count > 0) {
        resolve(r); /* it may have more partitions by now */
    } else if (p->plan.stored_count == 0) {
        count_published(r);
        reply_results(r, &p->plan, &(struct result_publish){0});
    } else {
        r->op.kind = OP_COMMAND;
        request_submit(r, then_published);
    }
}

static bool read_body(struct request *r)
{
    const char *detail = NULL;
    enum status st = publish_builder_read(&scratch_get()->publish, buf_span(&r->body),
                                          clock_wall_us(), &r->op.arena, &detail);
    if (st != ST_OK)
        reply_error_text(r, st, "%s", detail);
    return st == ST_OK;
}

/* Asking took time, in which this thread may have read another body. */
static void build_for(struct request *r, struct publish_target target)
{
    const struct publishing *p = r->state;
    topic_cache_put(scratch_get()->topics, p->topic, target.topic_id, target.partition_count);
    if (read_body(r))
        build(r, target);
}

static void then_created(struct request *r)
{
    const struct result_topic *topic = &r->op.result.topic;
    if (!reply_if_failed(r))
        build_for(r, (struct publish_target){.topic_id = topic->id,
                                             .partition_count = topic->partition_count,
                                             .delayed_max = topic->settings.delayed_max});
}

static void then_resolved(struct request *r)
{
    const struct publishing *p = r->state;
    const struct query_result *result = &r->op.query_result;
    if (reply_if_failed(r))
        return;
    if (result->status == ST_OK) {
        const struct topic_info *topic = &result->topics[0];
        build_for(r, (struct publish_target){.topic_id = topic->id,
                                             .partition_count = topic->partition_count,
                                             .delayed_max = topic->settings.delayed_max});
        return;
    }
    /* Dead-letter topics come from the broker or from an explicit create. */
    if (result->status != ST_TOPIC_NOT_FOUND || r->config->auto_create == 0 ||
        !name_is_topic(name_strip(p->topic))) {
        reply_error(r, result->status);
        return;
    }
    struct command cmd = {.type = COMMAND_TOPIC_CREATE,
                          .topic_create = {.name = p->topic,
                                           .partition_count = (uint32_t)r->config->partitions,
                                           .if_absent = true,
                                           .settings = topic_default_settings(r->config)}};
    request_submit_command(r, &cmd, then_created);
}

static void resolve(struct request *r)
{
    struct publishing *p = r->state;
    p->guessed = false;
    r->op.result = (struct result){0};
    request_submit_query(r, (struct query){.type = QUERY_RESOLVE, .name = p->topic}, then_resolved);
}

void on_publish(struct request *r)
{
    struct span topic;
    if (!request_topic_create_param(r, 0, &topic))
        return;
    if (!read_body(r)) /* before the topic is created */
        return;
    struct publishing *p = arena_new(&r->op.arena, struct publishing);
    r->state = p;
    p->topic = topic;
    p->delayed_room = UINT64_MAX;
    const struct topic_known *known = topic_cache_find(scratch_get()->topics, p->topic);
    p->guessed = known != NULL;
    if (known != NULL)
        build(r, (struct publish_target){.topic_id = known->id,
                                         .partition_count = known->partition_count});
    else
        resolve(r);
}
