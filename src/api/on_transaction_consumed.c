/* POST /transactions/ack and /transactions/offsets: what a transaction has consumed counts with
 * what it publishes, or neither does. */
#include <inttypes.h>

#include "api/offsets_body.h"
#include "api/producer_body.h"
#include "api/reply.h"
#include "api/route.h"
#include "delivery/receipt.h"

/* `index`: of the handle that is to blame; `why` NULL: the status's own text. */
static void reply_handle_error(struct request *r, enum status st, uint32_t index, const char *why)
{
    char text[256];
    (void)snprintf(text, sizeof text, "receipt_handles[%" PRIu32 "]: %s", index,
                   why != NULL ? why : status_text(st));
    reply_error_begin(r, st, text);
    json_member_u64(r, "receipt_handle_index", index);
    reply_error_end(r, st);
}

static void then_acked(struct request *r)
{
    const struct transaction_ack_request *ack = &r->op.transaction_ack;
    if (r->op.failed != ST_OK) {
        reply_error(r, r->op.failed);
    } else if (ack->status != ST_OK && ack->refused < ack->count) {
        reply_handle_error(r, ack->status, ack->refused, NULL);
    } else if (ack->status != ST_OK) {
        reply_error(r, ack->status);
    } else {
        json_write_object_begin(&r->json);
        json_member_text(r, "status", "added");
        json_member_u64(r, "count", ack->count);
        json_write_object_end(&r->json);
        reply_send(r, 200);
    }
}

static void read_handles(struct fields *f, json_t **out)
{
    size_t i;
    json_t *handle;
    if (!fields_array(f, "receipt_handles", true, out))
        return;
    if (json_array_size(*out) == 0 || json_array_size(*out) > ACKS_PER_COMMAND_MAX)
        fields_problem(f, "receipt_handles: must have 1 to %d elements", ACKS_PER_COMMAND_MAX);
    json_array_foreach(*out, i, handle)
    {
        if (!json_is_string(handle))
            fields_problem(f, "receipt_handles[%zu]: must be a string", i);
    }
}

/* False: answered. */
static bool open_receipts(struct request *r, const json_t *handles, struct receipt *out)
{
    size_t i;
    json_t *handle;
    json_array_foreach(handles, i, handle)
    {
        enum status st =
            receipt_read(shard_receipt_key(r->shard), r->scope, fields_text_of(handle), &out[i]);
        if (st != ST_OK) {
            reply_handle_error(r, st, (uint32_t)i, NULL);
            return false;
        }
        if (out[i].group_id != out[0].group_id) {
            reply_handle_error(r, ST_INVALID_ARGUMENT, (uint32_t)i,
                               "is of another group than the first one: send one group at a time");
            return false;
        }
    }
    return true;
}

void on_transaction_ack(struct request *r)
{
    struct transaction_ack_request ack = {.arena = &r->op.arena};
    struct fields f;
    json_t *handles = NULL;
    fields_init(&f, r, false);
    producer_body_read(&f, false, &ack.producer);
    read_handles(&f, &handles);
    if (fields_reply(&f))
        return;
    ack.count = (uint32_t)json_array_size(handles);
    ack.receipts = arena_array(&r->op.arena, ack.count, sizeof *ack.receipts);
    bool opened = open_receipts(r, handles, ack.receipts);
    fields_fini(&f);
    if (!opened)
        return;
    r->op.kind = OP_TRANSACTION_ACK;
    r->op.transaction_ack = ack;
    request_submit(r, then_acked);
}

static void then_added(struct request *r)
{
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_text(r, "status", "added");
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void read_group(struct fields *f, struct span *out)
{
    struct span group;
    if (!fields_string(f, "group", true, &group))
        return;
    if (name_is_group(group))
        *out = request_qualify(f->r, group);
    else
        fields_problem(f, "group: must be 1 to 255 of A-Z a-z 0-9 . _ -, not . or ..");
}

void on_transaction_offsets(struct request *r)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_OFFSETS};
    struct fields f;
    fields_init(&f, r, false);
    producer_body_read(&f, false, &cmd.transaction_offsets.producer);
    read_group(&f, &cmd.transaction_offsets.commit.group);
    bool impossible = !offsets_body_read(&f, &cmd.transaction_offsets.commit);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    if (impossible)
        reply_error(r, ST_TOPIC_NOT_FOUND);
    else
        request_submit_command(r, &cmd, then_added);
}
