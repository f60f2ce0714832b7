/* What the real machine tells of producers and transactions, against the naive one. */
#include "std/check.h"
#include "tests/property/model.h"

#define ENDED_KEPT_US (3600LL * 1000000)

static const struct model_producer *producer_of(const struct model *m,
                                                const struct model_transaction *t)
{
    return &m->producers[t->producer_id - 1];
}

/* Its partitions whose topics are still there: by topic id, then partition. */
static void compare_places(const struct model *m, const struct model_transaction *t,
                           const struct transaction_info *info)
{
    uint32_t alive = 0, last_id = 0, last_partition = 0;
    for (uint32_t i = 0; i < t->place_count; i++)
        alive += model_topic_by_id(m, t->places[i].topic_id) != MODEL_NOBODY;
    CHECK(info->place_count == alive);
    for (uint32_t i = 0; i < alive; i++) {
        int topic = model_topic_by_name(m, info->places[i].topic);
        CHECK(topic != MODEL_NOBODY);
        uint32_t id = m->topics[topic].id, partition = info->places[i].partition;
        bool found = false;
        for (uint32_t k = 0; k < t->place_count; k++)
            found |= t->places[k].topic_id == id && t->places[k].partition == partition;
        CHECK(found);
        CHECK(i == 0 || id > last_id || (id == last_id && partition > last_partition));
        last_id = id;
        last_partition = partition;
    }
}

static void compare_one(const struct model *m, uint64_t number, const struct transaction_info *info)
{
    const struct model_transaction *t = &m->transactions[number - 1];
    CHECK(info->number == number && info->producer_id == t->producer_id);
    CHECK(info->epoch == t->epoch && info->state == t->state);
    CHECK(span_equal(info->transactional_id, span_text(producer_of(m, t)->name)));
    CHECK(info->began_us == t->began_us && info->ended_us == t->ended_us);
    CHECK(info->message_count == t->message_count && info->ack_count == t->ack_count);
    if (t->state == TRANSACTION_ONGOING)
        compare_places(m, t, info);
}

static void add_totals(const struct model_producer *p, struct transaction_stats *out)
{
    out->producers++;
    out->active += p->open > 0;
    out->committed_total += p->committed;
    out->aborted_total += p->aborted;
    out->timed_out_total += p->timed_out;
    out->duration_sum_us += p->duration_us;
}

static void compare_list(const struct model *m, const struct machine *machine,
                         const struct query *q, struct arena *arena)
{
    struct query_result got;
    machine_query(machine, q, arena, &got);
    struct transaction_stats stats = q->every_tenant ? m->retired : (struct transaction_stats){0};
    for (uint32_t i = 0; i < m->producer_count; i++)
        if (m->producers[i].alive &&
            (q->every_tenant || span_equal(q->scope, span_text(m->producers[i].scope))))
            add_totals(&m->producers[i], &stats);
    CHECK(memcmp(&stats, &got.transaction_stats, sizeof stats) == 0);
    uint32_t listed = 0;
    for (uint64_t number = 1; number <= m->transaction_count && listed < q->limit; number++) {
        const struct model_transaction *t = &m->transactions[number - 1];
        bool wanted = q->every_tenant || span_equal(q->scope, span_text(producer_of(m, t)->scope));
        if (t->state != TRANSACTION_ONGOING || !wanted ||
            (q->number > 0 && q->number != t->producer_id))
            continue;
        CHECK(listed < got.transaction_count);
        compare_one(m, number, &got.transactions[listed++]);
    }
    CHECK(got.status == ST_OK && got.transaction_count == listed);
}

static void compare_asked(const struct model *m, const struct machine *machine, uint64_t number,
                          const char *scope, struct arena *arena)
{
    struct query q = {.type = QUERY_TRANSACTION, .scope = span_text(scope), .number = number};
    struct query_result got;
    machine_query(machine, &q, arena, &got);
    const struct model_transaction *t =
        number >= 1 && number <= m->transaction_count ? &m->transactions[number - 1] : NULL;
    bool known = t != NULL && strcmp(producer_of(m, t)->scope, scope) == 0 &&
                 (t->state == TRANSACTION_ONGOING || m->now_us - t->ended_us <= ENDED_KEPT_US);
    CHECK(got.status == (known ? ST_OK : ST_TRANSACTION_NOT_FOUND));
    CHECK(got.transaction_count == known);
    if (known)
        compare_one(m, number, got.transactions);
}

void model_compare_transactions(const struct model *m, const struct machine *machine,
                                struct arena *arena)
{
    static const char *const scopes[] = {"", "acme/"};
    struct query q = {.type = QUERY_TRANSACTIONS,
                      .scope = span_text(scopes[m->turn % 2]),
                      .every_tenant = m->turn % 3 == 0,
                      .limit = m->turn % 5 == 0 ? 1 : 1000};
    if (m->turn % 4 == 0 && m->producer_count > 0)
        q.number = 1 + m->turn / 4 % m->producer_count;
    compare_list(m, machine, &q, arena);
    for (uint64_t number = m->turn % 7; number <= m->transaction_count + 1U; number += 7)
        compare_asked(m, machine, number, scopes[m->turn / 2 % 2], arena);
}
