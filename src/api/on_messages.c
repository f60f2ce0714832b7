/* POST /messages/ack and /messages/ack/batch: receipts are opened here, judged by delivery, and the
 * messages done once that is durable. */
#include "api/ack_body.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "api/scratch.h"
#include "delivery/receipt.h"
#include "node/metrics.h"
#include "std/check.h"
#include "std/clock.h"

struct acking {
    struct ack_body body;
    struct span topic; /* of a single ack; without the tenant */
    /* Of a batch. An op settles for one group, so there is one op for each group, in turn. */
    enum status *statuses;    /* of each handle */
    struct receipt *receipts; /* of each handle that could be opened */
    bool *open;               /* opened, and no op has had it yet */
    uint32_t *asked;          /* which handles the op at hand has */
    uint64_t acked_count;     /* of those that were not acked before */
};

static void submit_ack(struct request *r, void (*then)(struct request *r), struct receipt *receipts,
                       uint32_t count)
{
    r->op.kind = OP_ACK;
    r->op.ack = (struct ack_request){.receipts = receipts, .count = count, .arena = &r->op.arena};
    request_submit(r, then);
}

static void reply_acked(struct request *r, struct span topic)
{
    const struct ack_request *ack = &r->op.ack;
    const struct acked *acked = &ack->acked[0];
    const struct receipt *receipt = &ack->receipts[0];
    struct json_writer *w = &r->json;
    json_write_object_begin(w);
    json_member_bool(r, "acknowledged", true);
    json_member_bool(r, "success", true);
    if (topic.size > 0)
        json_member_span(r, "topic", topic);
    json_member_u64(r, "partition", receipt->partition);
    json_member_u64(r, "offset", receipt->offset);
    json_member_u64(r, "committed_offset", acked->committed);
    json_member_bool(r, "offset_advanced", acked->advanced);
    json_member_u64(r, "in_flight_count", ack->in_flight[0]);
    if (acked->already)
        json_member_bool(r, "already", true);
    json_write_object_end(w);
    reply_send(r, 200);
}

static void then_acked(struct request *r)
{
    const struct acking *a = r->state;
    if (reply_if_failed(r))
        return;
    enum status st = r->op.ack.acked[0].status;
    if (st != ST_OK) {
        reply_error(r, st);
        return;
    }
    metrics_acked(r->metrics, r->op.ack.acked[0].already ? 0 : 1, clock_mono_us() - r->start_us);
    reply_acked(r, a->topic);
}

static void ack_one(struct request *r, const struct receipt *receipt)
{
    struct receipt *receipts = arena_new(&r->op.arena, struct receipt);
    *receipts = *receipt;
    submit_ack(r, then_acked, receipts, 1);
}

/* The topics of the tenant are known now; when the receipt's is not among them it is gone, and
 * delivery will say so. */
static void then_listed(struct request *r)
{
    struct acking *a = r->state;
    struct topic_cache *topics = scratch_get()->topics;
    const struct query_result *result = &r->op.query_result;
    if (reply_if_failed(r))
        return;
    struct receipt receipt;
    enum status st =
        receipt_read(shard_receipt_key(r->shard), r->scope, a->body.handles[0], &receipt);
    CHECK(st == ST_OK); /* as it was before */
    for (uint32_t i = 0; i < result->topic_count; i++) {
        const struct topic_info *topic = &result->topics[i];
        topic_cache_put(topics, topic->name, topic->id, topic->partition_count);
        if (topic->id == receipt.topic_id)
            a->topic = name_strip(topic->name);
    }
    ack_one(r, &receipt);
}

void on_ack(struct request *r)
{
    struct acking *a = arena_new(&r->op.arena, struct acking);
    const char *detail = NULL;
    enum status st = ack_body_read_one(buf_span(&r->body), &r->op.arena, &a->body, &detail);
    if (st != ST_OK) {
        reply_error_text(r, st, "%s", detail);
        return;
    }
    struct receipt receipt;
    st = receipt_read(shard_receipt_key(r->shard), r->scope, a->body.handles[0], &receipt);
    if (st != ST_OK) {
        reply_error(r, st);
        return;
    }
    r->state = a;
    /* Else asked once for a topic and thread. */
    const struct topic_known *known = topic_cache_find_id(scratch_get()->topics, receipt.topic_id);
    if (known != NULL) {
        struct span name = arena_copy(&r->op.arena, span_of(known->name, known->name_size));
        a->topic = name_strip(name);
        ack_one(r, &receipt);
        return;
    }
    request_submit_query(r, (struct query){.type = QUERY_TOPICS, .scope = r->scope}, then_listed);
}

static void write_batch_result(struct request *r, struct span handle, enum status st)
{
    struct json_writer *w = &r->json;
    json_write_object_begin(w);
    json_write_key(w, "receipt_handle");
    json_write_string(w, handle);
    json_member_bool(r, "acknowledged", st == ST_OK);
    if (st != ST_OK) {
        json_member_text(r, "error", status_text(st));
        json_member_text(r, "code", status_code(st));
    }
    json_write_object_end(w);
}

static void reply_batch(struct request *r)
{
    const struct acking *a = r->state;
    struct json_writer *w = &r->json;
    uint64_t successes = 0;
    json_write_object_begin(w);
    json_write_key(w, "results");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < a->body.count; i++) {
        successes += a->statuses[i] == ST_OK;
        write_batch_result(r, a->body.handles[i], a->statuses[i]);
    }
    json_write_array_end(w);
    json_member_u64(r, "success_count", successes);
    json_write_object_end(w);
    metrics_acked(r->metrics, a->acked_count, clock_mono_us() - r->start_us);
    reply_send(r, 200);
}

static void then_batch_acked(struct request *r);

/* The receipts of the next group, or the reply when all have been had. */
static void ack_next_group(struct request *r)
{
    struct acking *a = r->state;
    struct receipt *receipts = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->body.count; i++) {
        if (!a->open[i] || (count > 0 && a->receipts[i].group_id != receipts[0].group_id))
            continue;
        if (receipts == NULL)
            receipts = arena_array(&r->op.arena, a->body.count - i, sizeof *receipts);
        receipts[count] = a->receipts[i];
        a->asked[count++] = i;
        a->open[i] = false;
    }
    if (count > 0)
        submit_ack(r, then_batch_acked, receipts, count);
    else
        reply_batch(r);
}

static void then_batch_acked(struct request *r)
{
    struct acking *a = r->state;
    if (reply_if_failed(r))
        return;
    for (uint32_t i = 0; i < r->op.ack.count; i++) {
        const struct acked *acked = &r->op.ack.acked[i];
        a->statuses[a->asked[i]] = acked->status;
        a->acked_count += acked->status == ST_OK && !acked->already;
    }
    ack_next_group(r);
}

void on_ack_batch(struct request *r)
{
    struct acking *a = arena_new(&r->op.arena, struct acking);
    const char *detail = NULL;
    enum status st = ack_body_read_batch(buf_span(&r->body), &r->op.arena, &a->body, &detail);
    if (st != ST_OK) {
        reply_error_text(r, st, "%s", detail);
        return;
    }
    const uint32_t count = a->body.count;
    a->receipts = arena_array(&r->op.arena, count, sizeof *a->receipts);
    a->statuses = arena_array(&r->op.arena, count, sizeof *a->statuses);
    a->open = arena_array(&r->op.arena, count, sizeof *a->open);
    a->asked = arena_array(&r->op.arena, count, sizeof *a->asked);
    for (uint32_t i = 0; i < count; i++) {
        a->statuses[i] = receipt_read(shard_receipt_key(r->shard), r->scope, a->body.handles[i],
                                      &a->receipts[i]);
        a->open[i] = a->statuses[i] == ST_OK;
    }
    r->state = a;
    ack_next_group(r);
}
