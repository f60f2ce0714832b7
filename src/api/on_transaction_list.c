/* GET /transactions, /transactions/{id} and /transactions/stats. Contract 4.8. */
#include "api/producer_body.h"
#include "api/reply.h"
#include "api/route.h"

enum { LIMIT_DEFAULT = 1000, LIMIT_MAX = 10000 };

static const char *state_text(enum transaction_state state)
{
    switch (state) {
    case TRANSACTION_ONGOING:
        return "ongoing";
    case TRANSACTION_COMMITTED:
        return "completed_commit";
    case TRANSACTION_ABORTED:
    case TRANSACTION_TIMED_OUT:
        break;
    }
    return "completed_abort";
}

static void write_places(struct request *r, const struct transaction_info *t)
{
    json_write_key(&r->json, "partitions");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < t->place_count; i++) {
        json_write_object_begin(&r->json);
        json_member_span(r, "topic", name_strip(t->places[i].topic));
        json_member_u64(r, "partition", t->places[i].partition);
        json_write_object_end(&r->json);
    }
    json_write_array_end(&r->json);
}

static void write_transaction(struct request *r, const struct transaction_info *t)
{
    json_write_object_begin(&r->json);
    transaction_id_write(r, t->number);
    json_member_u64(r, "producer_id", t->producer_id);
    json_member_text(r, "state", state_text(t->state));
    json_member_time(r, "started_at", t->began_us);
    json_member_span(r, "transactional_id", t->transactional_id);
    json_member_u64(r, "epoch", t->epoch);
    json_member_time(r, "start_time", t->began_us);
    if (t->state == TRANSACTION_ONGOING)
        write_places(r, t);
    else
        json_member_time(r, "ended_at", t->ended_us);
    json_member_u64(r, "messages", t->message_count);
    json_member_u64(r, "acks", t->ack_count);
    if (t->state == TRANSACTION_TIMED_OUT)
        json_member_bool(r, "timed_out", true);
    json_write_object_end(&r->json);
}

static void then_list(struct request *r)
{
    const struct query_result *result = &r->op.query_result;
    if (reply_if_query_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_write_key(&r->json, "transactions");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < result->transaction_count; i++)
        write_transaction(r, &result->transactions[i]);
    json_write_array_end(&r->json);
    json_member_u64(r, "count", result->transaction_count);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_transactions(struct request *r)
{
    int64_t limit = LIMIT_DEFAULT;
    if (!request_query_int(r, "limit", 1, INT64_MAX, &limit))
        return;
    if (limit > LIMIT_MAX)
        limit = LIMIT_MAX;
    request_submit_query(
        r, (struct query){.type = QUERY_TRANSACTIONS, .scope = r->scope, .limit = (uint32_t)limit},
        then_list);
}

static void then_one(struct request *r)
{
    if (reply_if_query_failed(r))
        return;
    write_transaction(r, &r->op.query_result.transactions[0]);
    reply_send(r, 200);
}

/* The number in an id as we write it; 0: it is none. */
static uint64_t number_of(struct span id)
{
    const size_t head = strlen(TRANSACTION_PREFIX);
    int64_t number;
    if (id.size <= head || memcmp(id.data, TRANSACTION_PREFIX, head) != 0 || id.data[head] < '1' ||
        id.data[head] > '9')
        return 0;
    return request_parse_int(span_of(id.data + head, id.size - head), &number) ? (uint64_t)number
                                                                               : 0;
}

void on_transaction(struct request *r)
{
    const uint64_t number = number_of(r->params[0]);
    if (number == 0)
        reply_error(r, ST_TRANSACTION_NOT_FOUND);
    else
        request_submit_query(
            r, (struct query){.type = QUERY_TRANSACTION, .scope = r->scope, .number = number},
            then_one);
}

static void then_stats(struct request *r)
{
    const struct transaction_stats *stats = &r->op.query_result.transaction_stats;
    if (reply_if_query_failed(r))
        return;
    const uint64_t ended = stats->committed_total + stats->aborted_total;
    json_write_object_begin(&r->json);
    json_member_u64(r, "active_transactions", stats->active);
    json_member_u64(r, "committed_total", stats->committed_total);
    json_member_u64(r, "aborted_total", stats->aborted_total);
    json_member_duration(r, "avg_duration",
                         ended > 0 ? (int64_t)(stats->duration_sum_us / ended) : 0);
    json_member_u64(r, "timed_out_total", stats->timed_out_total);
    json_member_u64(r, "producers", stats->producers);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

/* Without a tenant: the whole broker (contract 2.8). */
void on_transaction_stats(struct request *r)
{
    request_submit_query(r,
                         (struct query){.type = QUERY_TRANSACTIONS,
                                        .scope = r->scope,
                                        .every_tenant = r->scope.size == 0},
                         then_stats);
}
