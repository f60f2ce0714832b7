/* POST /topics/{t}/messages: from the body to a durable command, and its offsets back. */
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "api/scratch.h"
#include "api/text.h"
#include "api/topic_defaults.h"
#include "command/record_batch.h"
#include "node/metrics.h"
#include "std/check.h"
#include "std/clock.h"
#include "std/json_write.h"
#include "std/timestamp.h"

enum {
    ATTEMPTS_MAX = 3, /* with a topic that changes while the request is under way */
    RESULT_SIZE_MAX = 128 + TIMESTAMP_SIZE_MAX,
    REPLY_SIZE_MAX = 16 * 1024 * 1024, /* 10,000 results, all failed, are far below */
};

struct publishing {
    struct span topic; /* qualified */
    struct publish_plan plan;
    unsigned attempts;
};

static void resolve(struct request *r);

static uint8_t *write_stored(uint8_t *to, const struct publish_outcome *outcome,
                             const struct result_publish *result)
{
    CHECK(outcome->entry < result->count);
    const struct placement *placement = &result->placements[outcome->entry];
    const int64_t due_us =
        outcome->delay_us > 0 ? result->time_us + outcome->delay_us : outcome->deliver_at_us;
    const char *priority = priority_text(outcome->priority);
    to = TEXT_LITERAL(to, "{\"partition\":");
    to = text_u64(to, placement->partition);
    to = TEXT_LITERAL(to, ",\"offset\":");
    to = text_u64(to, placement->base_offset + outcome->index);
    to = TEXT_LITERAL(to, ",\"priority\":\"");
    to = text_copy(to, priority, strlen(priority));
    if (due_us == 0)
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
    const uint32_t failed = p->plan.count - p->plan.stored_count;
    if (p->plan.stored_count > 0)
        metrics_published(r->metrics, p->topic, p->plan.stored_count, p->plan.stored_bytes,
                          clock_mono_us() - r->start_us);
    if (failed > 0)
        metrics_failed(r->metrics, p->topic, ST_INVALID_ARGUMENT, failed);
}

static void then_published(struct request *r)
{
    struct publishing *p = r->state;
    const struct result *result = &r->op.result;
    if (r->op.failed == ST_OK && result->status == ST_STALE) {
        topic_cache_drop(scratch_get()->topics, p->topic);
        resolve(r);
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
static void build(struct request *r, uint32_t topic_id, uint32_t partition_count)
{
    struct publishing *p = r->state;
    buf_fini(&r->op.record);
    buf_init(&r->op.record, BATCH_SIZE_MAX);
    enum status st = publish_builder_build(&scratch_get()->publish, topic_id, partition_count,
                                           &r->op.arena, &r->op.record, &p->plan);
    if (st != ST_OK) {
        reply_error(r, ST_PAYLOAD_TOO_LARGE);
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
static void build_for(struct request *r, uint32_t topic_id, uint32_t partition_count)
{
    const struct publishing *p = r->state;
    topic_cache_put(scratch_get()->topics, p->topic, topic_id, partition_count);
    if (read_body(r))
        build(r, topic_id, partition_count);
}

static void then_created(struct request *r)
{
    const struct result *result = &r->op.result;
    if (!reply_if_failed(r))
        build_for(r, result->topic.id, result->topic.partition_count);
}

static void then_resolved(struct request *r)
{
    const struct publishing *p = r->state;
    const struct query_result *result = &r->op.query_result;
    if (reply_if_failed(r))
        return;
    if (result->status == ST_OK) {
        build_for(r, result->topics[0].id, result->topics[0].partition_count);
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
    if (p->attempts++ == ATTEMPTS_MAX) {
        reply_error(r, ST_STALE);
        return;
    }
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
    const struct topic_known *known = topic_cache_find(scratch_get()->topics, p->topic);
    if (known != NULL)
        build(r, known->id, known->partition_count);
    else
        resolve(r);
}
