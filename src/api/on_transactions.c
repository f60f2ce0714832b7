/* POST /transactions/begin, add-partition, commit and abort. Contract 4.8. */
#include "api/producer_body.h"
#include "api/reply.h"
#include "api/route.h"

/* All of the body of most. False: answered. */
static bool read_producer(struct request *r, struct producer_ref *out)
{
    struct fields f;
    fields_init(&f, r, false);
    producer_body_read(&f, true, out);
    if (fields_reply(&f))
        return false;
    fields_fini(&f);
    return true;
}

static void then_begun(struct request *r)
{
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    transaction_id_write(r, r->op.result.transaction.number);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_transaction_begin(struct request *r)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_BEGIN};
    if (read_producer(r, &cmd.transaction_begin.producer))
        request_submit_command(r, &cmd, then_begun);
}

/* End. */

static void reply_ended(struct request *r, const char *status, const char *partitions)
{
    const struct result_transaction *t = &r->op.result.transaction;
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_text(r, "status", status);
    if (t->number > 0) /* an abort where nothing was begun is fine, too */
        transaction_id_write(r, t->number);
    json_member_u64(r, partitions, t->partition_count);
    json_member_u64(r, "messages", t->message_count);
    if (t->already)
        json_member_bool(r, "already", true);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void then_committed(struct request *r)
{
    reply_ended(r, "committed", "partitions_committed");
}

static void then_aborted(struct request *r)
{
    reply_ended(r, "aborted", "partitions_aborted");
}

static void submit_end(struct request *r, enum transaction_end how, void (*then)(struct request *r))
{
    struct command cmd = {.type = COMMAND_TRANSACTION_END, .transaction_end = {.how = how}};
    if (read_producer(r, &cmd.transaction_end.producer))
        request_submit_command(r, &cmd, then);
}

void on_transaction_commit(struct request *r)
{
    submit_end(r, TRANSACTION_COMMIT, then_committed);
}

void on_transaction_abort(struct request *r)
{
    submit_end(r, TRANSACTION_ABORT, then_aborted);
}

/* Add partition: publishing registers by itself, so that there is nothing to do but to say whether
 * it could. */
struct adding {
    uint64_t producer_id;
    struct span topic; /* qualified */
    int64_t partition;
};

static void then_topic(struct request *r)
{
    const struct adding *a = r->state;
    if (reply_if_query_failed(r))
        return;
    if (a->partition >= r->op.query_result.topics[0].partition_count) {
        reply_error(r, ST_PARTITION_NOT_FOUND);
        return;
    }
    json_write_object_begin(&r->json);
    json_member_text(r, "status", "added");
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void then_open(struct request *r)
{
    const struct adding *a = r->state;
    if (reply_if_query_failed(r))
        return;
    if (r->op.query_result.transaction_count == 0)
        reply_error(r, ST_NO_TRANSACTION);
    else
        request_submit_query(r, (struct query){.type = QUERY_RESOLVE, .name = a->topic},
                             then_topic);
}

static void then_producer(struct request *r)
{
    const struct adding *a = r->state;
    if (!reply_if_failed(r))
        request_submit_query(r,
                             (struct query){.type = QUERY_TRANSACTIONS,
                                            .scope = r->scope,
                                            .number = a->producer_id,
                                            .limit = 1},
                             then_open);
}

void on_transaction_add_partition(struct request *r)
{
    struct command cmd = {.type = COMMAND_PRODUCER_HEARTBEAT};
    struct producer_ref *producer = &cmd.producer_heartbeat.producer;
    struct adding *a = arena_new(&r->op.arena, struct adding);
    struct span topic;
    struct fields f;
    fields_init(&f, r, false);
    producer_body_read(&f, true, producer);
    (void)fields_string(&f, "topic", true, &topic);
    (void)fields_int(&f, "partition", true, 0, INT64_MAX, &a->partition);
    if (fields_reply(&f))
        return;
    r->state = a;
    a->producer_id = producer->id;
    bool possible = name_is_topic_address(topic);
    a->topic = request_qualify(r, topic);
    fields_fini(&f);
    if (possible)
        request_submit_command(r, &cmd, then_producer);
    else
        reply_error(r, ST_TOPIC_NOT_FOUND);
}
