/* Answers to questions about transactions. */
#include "machine/state.h"

static void describe_places(const struct machine *m, const struct transaction *t,
                            struct arena *arena, struct transaction_info *out)
{
    out->places = arena_array(arena, t->message_count, sizeof *out->places);
    const struct transaction_message *last = NULL;
    struct transaction sorted = *t;
    sorted.messages = arena_array(arena, t->message_count, sizeof *sorted.messages);
    if (t->message_count > 0)
        memcpy(sorted.messages, t->messages, t->message_count * sizeof *sorted.messages);
    transaction_sort_messages(&sorted);
    for (uint32_t i = 0; i < t->message_count; i++) {
        const struct transaction_message *message = &sorted.messages[i];
        bool same = last != NULL && last->topic_id == message->topic_id &&
                    last->partition == message->partition;
        last = message;
        const struct topic *topic = same ? NULL : machine_topic_by_id(m, message->topic_id);
        if (topic != NULL)
            out->places[out->place_count++] = (struct transaction_place){
                .topic = arena_copy(arena, topic_name(topic)), .partition = message->partition};
    }
}

static void describe_open(const struct machine *m, const struct transaction *t, struct arena *arena,
                          struct transaction_info *out)
{
    *out = (struct transaction_info){
        .number = t->number,
        .producer_id = t->producer->id,
        .epoch = t->producer->epoch,
        .transactional_id = arena_copy(arena, t->producer->transactional_id),
        .state = TRANSACTION_ONGOING,
        .began_us = t->began_us,
        .message_count = t->message_count,
        .ack_count = t->ack_count,
    };
    describe_places(m, t, arena, out);
}

static void count(const struct machine *m, const struct query *q, struct transaction_stats *out)
{
    if (q->every_tenant)
        *out = m->producers.retired;
    for (struct list_node *n = m->producers.by_use.next; n != &m->producers.by_use; n = n->next) {
        const struct producer *p = list_entry(n, struct producer, by_use);
        if (!q->every_tenant && !span_equal(p->scope, q->scope))
            continue;
        out->producers++;
        out->active += p->open != NULL;
        out->committed_total += p->committed_count;
        out->aborted_total += p->aborted_count;
        out->timed_out_total += p->timed_out_count;
        out->duration_sum_us += p->duration_sum_us;
    }
}

static bool is_asked_for(const struct transaction *t, const struct query *q)
{
    return (q->every_tenant || span_equal(t->producer->scope, q->scope)) &&
           (q->number == 0 || t->producer->id == q->number);
}

void query_transactions(const struct machine *m, const struct query *q, struct arena *arena,
                        struct query_result *out)
{
    count(m, q, &out->transaction_stats);
    uint64_t wanted =
        out->transaction_stats.active < q->limit ? out->transaction_stats.active : q->limit;
    out->transactions = arena_array(arena, wanted, sizeof *out->transactions);
    for (struct list_node *n = m->transactions.open.next;
         n != &m->transactions.open && out->transaction_count < wanted; n = n->next) {
        const struct transaction *t = list_entry(n, struct transaction, by_age);
        if (is_asked_for(t, q))
            describe_open(m, t, arena, &out->transactions[out->transaction_count++]);
    }
}

void query_transaction(const struct machine *m, const struct query *q, struct arena *arena,
                       struct query_result *out)
{
    const struct transaction *open = transaction_find(&m->transactions, q->number);
    const struct ended_transaction *ended =
        map_find_number(&m->transactions.ended_by_number, q->number);
    out->transactions = arena_new(arena, struct transaction_info);
    if (open != NULL && span_equal(open->producer->scope, q->scope)) {
        describe_open(m, open, arena, out->transactions);
    } else if (ended != NULL && span_equal(ended->scope, q->scope) &&
               m->time_us - ended->ended_us <= ENDED_TRANSACTION_KEPT_US) {
        *out->transactions = (struct transaction_info){
            .number = ended->number,
            .producer_id = ended->producer_id,
            .epoch = ended->epoch,
            .transactional_id = arena_copy(arena, ended->transactional_id),
            .state = ended->state,
            .began_us = ended->began_us,
            .ended_us = ended->ended_us,
            .message_count = ended->message_count,
            .ack_count = ended->ack_count,
        };
    } else {
        out->status = ST_TRANSACTION_NOT_FOUND;
        return;
    }
    out->transaction_count = 1;
}
