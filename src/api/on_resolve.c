/* POST /messages/nack, /messages/reject and /messages/visibility: what a client does with a
 * delivery other than to acknowledge it. Delivery judges the receipt; the answer comes when it is
 * durable. Contract 4.3. */
#include "api/fields.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "delivery/receipt.h"
#include "node/metrics.h"
#include "std/utf8.h"

#define SECOND_US     1000000LL
#define DELAY_MAX_US  (12LL * 3600 * SECOND_US)
#define EXTEND_MIN_US 1000LL

static void count_resolved(struct request *r)
{
    const struct resolve_request *resolve = &r->op.resolve;
    const struct span topic = resolve->topic.size > 0 ? resolve->topic : span_text(METRICS_OTHER);
    const bool extend = resolve->kind == RESOLVE_EXTEND;
    if (resolve->status != ST_OK || resolve->already)
        return;
    const enum metrics_event done =
        resolve->kind == RESOLVE_NACK ? METRICS_NACKED : METRICS_REJECTED;
    metrics_event(r->metrics, topic, extend ? METRICS_EXTENDED : done);
}

/* True: it is answered. */
static bool resolve_failed(struct request *r)
{
    if (reply_if_failed(r))
        return true;
    count_resolved(r);
    if (r->op.resolve.status == ST_OK)
        return false;
    reply_error(r, r->op.resolve.status);
    return true;
}

static void write_place(struct request *r)
{
    const struct resolve_request *resolve = &r->op.resolve;
    if (resolve->topic.size > 0)
        json_member_span(r, "topic", name_strip(resolve->topic));
    json_member_u64(r, "partition", resolve->receipt.partition);
    json_member_u64(r, "offset", resolve->receipt.offset);
}

/* null: the message comes from a dead-letter topic itself and was dropped. */
static void write_dead_letter(struct request *r)
{
    const struct span topic = r->op.resolve.dead_letter;
    json_write_key(&r->json, "dlq_topic");
    if (topic.size > 0)
        json_write_string(&r->json, name_strip(topic));
    else
        json_write_null(&r->json);
}

static void end_reply(struct request *r)
{
    if (r->op.resolve.already)
        json_member_bool(r, "already", true);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void then_nacked(struct request *r)
{
    const struct resolve_request *resolve = &r->op.resolve;
    if (resolve_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "requeued", !resolve->dead);
    json_member_bool(r, "success", true);
    json_member_text(r, "action", resolve->dead ? "dlq" : "requeued");
    write_place(r);
    json_member_u64(r, "delivery_count", resolve->delivery_count);
    if (resolve->dead)
        write_dead_letter(r);
    else
        json_member_time(r, "next_visible_at", resolve->next_us);
    end_reply(r);
}

static void then_rejected(struct request *r)
{
    const struct resolve_request *resolve = &r->op.resolve;
    if (resolve_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "rejected", true);
    json_member_bool(r, "success", true);
    json_member_text(r, "action", "rejected");
    write_place(r);
    json_member_span(r, "reason", resolve->reason);
    write_dead_letter(r);
    end_reply(r);
}

static void then_extended(struct request *r)
{
    const struct resolve_request *resolve = &r->op.resolve;
    if (resolve_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "extended", true);
    json_member_bool(r, "success", true);
    json_member_time(r, "new_deadline", resolve->next_us);
    json_write_key(&r->json, "extended_by");
    if (resolve->delay_us % SECOND_US == 0)
        json_write_int64(&r->json, resolve->delay_us / SECOND_US);
    else
        json_write_double(&r->json, (double)resolve->delay_us / (double)SECOND_US);
    end_reply(r);
}

/* A longer reason is cut, not refused: it is for people, and the message matters more. */
static void read_reason(struct fields *f, struct resolve_request *resolve)
{
    struct span reason;
    if (fields_string(f, "reason", false, &reason))
        resolve->reason = arena_copy(&f->r->op.arena, utf8_cut(reason, REASON_SIZE_MAX));
}

static void read_nack(struct fields *f, struct resolve_request *resolve)
{
    resolve->delay_us = -1; /* the visibility timeout */
    (void)fields_duration(f, "delay", 0, DELAY_MAX_US, &resolve->delay_us);
    read_reason(f, resolve);
}

static void read_extend(struct fields *f, struct resolve_request *resolve)
{
    int64_t seconds = 0;
    if (fields_duration(f, "timeout", EXTEND_MIN_US, DELAY_MAX_US, &resolve->delay_us))
        return;
    if (fields_int(f, "extension_seconds", false, 1, DELAY_MAX_US / SECOND_US, &seconds))
        resolve->delay_us = seconds * SECOND_US;
    else
        fields_problem(f, "timeout: is required");
}

static void submit_resolve(struct request *r, enum resolve_kind kind,
                           void (*read)(struct fields *f, struct resolve_request *resolve),
                           void (*then)(struct request *r))
{
    struct resolve_request resolve = {.kind = kind, .arena = &r->op.arena};
    struct span handle = {0};
    struct fields f;
    fields_init(&f, r, false);
    (void)fields_string(&f, "receipt_handle", true, &handle);
    read(&f, &resolve);
    if (fields_reply(&f))
        return;
    enum status st = receipt_read(shard_receipt_key(r->shard), r->scope, handle, &resolve.receipt);
    fields_fini(&f);
    if (st != ST_OK) {
        reply_error(r, st);
        return;
    }
    r->op.kind = OP_RESOLVE;
    r->op.resolve = resolve;
    request_submit(r, then);
}

void on_nack(struct request *r)
{
    submit_resolve(r, RESOLVE_NACK, read_nack, then_nacked);
}

void on_reject(struct request *r)
{
    submit_resolve(r, RESOLVE_REJECT, read_reason, then_rejected);
}

void on_visibility(struct request *r)
{
    submit_resolve(r, RESOLVE_EXTEND, read_extend, then_extended);
}
