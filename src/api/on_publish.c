/* POST /topics/{t}/messages: from the body to a durable command, and its offsets back. */
#include "api/digest.h"
#include "api/publish_memo.h"
#include "api/publish_topic.h"
#include "api/reply.h"
#include "api/route.h"
#include "api/scratch.h"
#include "api/text.h"
#include "command/codec.h"
#include "node/metrics.h"
#include "std/check.h"
#include "std/clock.h"
#include "std/json_write.h"
#include "std/timestamp.h"

enum {
    IDEMPOTENCY_KEY_SIZE_MAX = 255,
    RESULT_SIZE_MAX = 128 + TIMESTAMP_SIZE_MAX,
    REPLY_SIZE_MAX = 16 * 1024 * 1024, /* 10,000 results, all failed, are far below */
};

struct publishing {
    struct publish_topic topic; /* first */
    struct publish_plan plan;
    bool once; /* the request has an idempotency key */
    uint8_t key[CONTENT_SIZE];
};

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
        metrics_published(r->metrics, p->topic.name, p->plan.stored_count, p->plan.stored_bytes,
                          clock_mono_us() - r->start_us);
    if (refused > 0)
        metrics_failed(r->metrics, p->topic.name, ST_INVALID_ARGUMENT, refused);
    if (p->plan.no_room_count > 0)
        metrics_failed(r->metrics, p->topic.name, ST_DELAYED_FULL, p->plan.no_room_count);
}

/* As the first request with this key was answered, whatever this one says. */
static void reply_repeated(struct request *r, const struct result_publish *result)
{
    struct publish_plan plan;
    if (publish_memo_decode(result->memo, result->count, &r->op.arena, &plan) == ST_OK)
        reply_results(r, &plan, result);
    else
        reply_error(r, ST_CORRUPT);
}

static void then_published(struct request *r)
{
    struct publishing *p = r->state;
    const struct result *result = &r->op.result;
    if (publish_topic_retry(r, result->publish.delayed_room))
        return;
    if (reply_if_failed(r)) {
        metrics_failed(r->metrics, p->topic.name,
                       r->op.failed != ST_OK ? r->op.failed : result->status, p->plan.count);
    } else if (result->publish.repeated) {
        reply_repeated(r, &result->publish);
    } else {
        count_published(r);
        reply_results(r, &p->plan, &result->publish);
    }
}

static void submit(struct request *r)
{
    const struct publishing *p = r->state;
    if (p->once) {
        struct buf memo;
        buf_init(&memo, BATCH_SIZE_MAX);
        publish_memo_encode(&p->plan, &memo);
        publish_make_idempotent(&r->op.record, span_of(p->key, sizeof p->key), buf_span(&memo));
        buf_fini(&memo);
    }
    if (r->op.record.overflowed) {
        reply_error(r, ST_PAYLOAD_TOO_LARGE);
        return;
    }
    r->op.kind = OP_COMMAND;
    request_submit(r, then_published);
}

static void build(struct request *r, const struct publish_target *target)
{
    struct publishing *p = r->state;
    buf_fini(&r->op.record);
    buf_init(&r->op.record, BATCH_SIZE_MAX);
    enum status st = publish_builder_build(&scratch_get()->publish, target, &r->op.arena,
                                           &r->op.record, &p->plan);
    if (st != ST_OK) {
        reply_error(r, ST_PAYLOAD_TOO_LARGE);
    } else if (p->topic.guessed && p->plan.misplaced_count > 0) {
        publish_topic_resolve(r); /* it may have more partitions by now */
    } else if (p->plan.stored_count == 0) {
        count_published(r);
        reply_results(r, &p->plan, &(struct result_publish){0});
    } else {
        submit(r);
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

/* The key counts for its topic and tenant. False: answered. */
static bool read_idempotency_key(struct request *r, struct publishing *p)
{
    const struct span text = r->idempotency_key;
    p->once = text.data != NULL;
    if (!p->once)
        return true;
    bool good = text.size >= 1 && text.size <= IDEMPOTENCY_KEY_SIZE_MAX;
    for (size_t i = 0; i < text.size; i++)
        good &= text.data[i] > ' ' && text.data[i] < 0x7f;
    if (!good) {
        reply_error_text(r, ST_INVALID_ARGUMENT,
                         "Idempotency-Key: must be 1 to %d visible ASCII characters",
                         IDEMPOTENCY_KEY_SIZE_MAX);
        return false;
    }
    const struct span parts[] = {r->scope, r->params[0], text};
    digest_parts(parts, sizeof parts / sizeof parts[0], p->key);
    return true;
}

void on_publish(struct request *r)
{
    struct publishing *p = arena_new(&r->op.arena, struct publishing);
    struct span name;
    r->state = p;
    p->topic.read = read_body;
    p->topic.build = build;
    if (request_topic_create_param(r, 0, &name) && read_idempotency_key(r, p) && read_body(r))
        publish_topic_find(r, name); /* which makes it: all else is judged before */
}
