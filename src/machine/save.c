/* The state as bytes, and back. docs/disk-format.md has the layout; tests/golden/ keeps an image of
 * each version, which must load for ever. */
#define XXH_INLINE_ALL
#include <stdlib.h>
#include <xxhash.h>

#include "command/codec.h"
#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

enum {
    /* Older ones are read, too: 1 had no priorities, delays and deliveries; 2 no cooperative
     * members, statistics of rebalances, and ordering; 3 no producers, transactions and idempotency
     * keys. */
    VERSION = 4,
    OWNER_NONE = 0, /* else rank + 1 */
    /* The least that one of them takes, so that a count is never trusted beyond the bytes. */
    PARTITION_SIZE = 4 * 8,
    TOPIC_SIZE_MIN = 4 + 3 + 8 + 29 + 4 + 4 + PARTITION_SIZE,
    MEMBER_SIZE_MIN = 3 + 3 + 4 + 8 + 8 + 4 + 1 + 8 + 4,
    GROUP_PARTITION_SIZE_MIN = 4 + 4 + 4 + 8 + 1,
    DEPARTED_SIZE_MIN = 3 + 8,
    GROUP_SIZE_MIN = 4 + 3 + 4 + 8 + 8 + 4 + 4 + 4,
    RETRY_SIZE_MIN = 8 + 4 + 8 + 1 + 8 + 2,
};
/* How many chunks of 65,536 offsets the sets of an image may touch, all together. */
#define CHUNKS_MAX (1ULL << 20)

static void save_exceptions(const struct partition *p, struct buf *out)
{
    const struct exceptions *e = p->exceptions;
    wire_put_u8(out, e != NULL);
    if (e == NULL)
        return;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        wire_put_u64(out, e->counts[lane]);
        offset_set_save(&e->lanes[lane], out);
    }
    offset_set_save(&e->gone, out);
    due_index_save(&e->due, out);
    offset_set_save(&e->open, out); /* hidden: these, the pending ones, and what is gone */
}

static void save_totals(const struct topic_totals *totals, struct buf *out)
{
    wire_put_u64(out, totals->acked);
    wire_put_u64(out, totals->nacked);
    wire_put_u64(out, totals->rejected);
    wire_put_u64(out, totals->dead_rejected);
    wire_put_u64(out, totals->dead_max_retries);
    wire_put_u64(out, totals->dropped);
    wire_put_u64(out, totals->scheduled);
    wire_put_u64(out, totals->scheduled_delay_us);
    wire_put_u64(out, totals->due);
    wire_put_u64(out, totals->cancelled);
}

static void save_topic(const struct topic *t, struct buf *out)
{
    wire_put_u32(out, t->id);
    wire_put_string(out, topic_name(t));
    wire_put_i64(out, t->created_us);
    topic_settings_encode(&t->settings, out);
    save_totals(&t->totals, out);
    wire_put_u32(out, t->round_robin);
    wire_put_u32(out, t->partition_count);
    for (uint32_t i = 0; i < t->partition_count; i++) {
        const struct partition *p = t->partitions[i];
        wire_put_u64(out, p->start_offset);
        wire_put_u64(out, p->next_offset);
        wire_put_u64(out, p->message_count);
        wire_put_u64(out, p->size_bytes);
        save_exceptions(p, out);
    }
}

static void save_member(const struct member *member, struct buf *out)
{
    wire_put_string(out, member->id);
    wire_put_string(out, member->client_id);
    wire_put_u32(out, member->topic_count);
    for (uint32_t i = 0; i < member->topic_count; i++)
        wire_put_u32(out, member->topic_ids[i]);
    wire_put_i64(out, member->session_us);
    wire_put_i64(out, member->visibility_us);
    wire_put_u32(out, member->in_flight_max);
    wire_put_u8(out, member->from_latest);
    wire_put_i64(out, member->joined_us);
    wire_put_u32(out, member->changed_generation);
    wire_put_u32(out, member->deliveries_max);
    wire_put_u8(out, member->cooperative);
}

static int by_offset(const void *left, const void *right)
{
    const struct retry *a = *(struct retry *const *)left, *b = *(struct retry *const *)right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* In an order that does not depend on how they came about. */
static void save_retries(const struct group_partition *gp, struct buf *out)
{
    wire_put_u32(out, gp->retry_count);
    if (gp->retry_count == 0)
        return;
    struct retry **sorted = alloc_array(gp->retry_count, sizeof(struct retry *));
    memcpy(sorted, gp->retries, gp->retry_count * sizeof(struct retry *));
    qsort(sorted, gp->retry_count, sizeof(struct retry *), by_offset);
    for (uint32_t i = 0; i < gp->retry_count; i++) {
        const struct retry *retry = sorted[i];
        wire_put_u64(out, retry->offset);
        wire_put_u32(out, retry->delivery_count);
        wire_put_i64(out, retry->not_before_us);
        wire_put_u8(out, retry->returned);
        wire_put_i64(out, retry->first_us);
        wire_put_string(out, span_of(retry->reason, retry->reason_size));
    }
    free(sorted);
}

static uint32_t save_rank(const struct member *member)
{
    return member == NULL ? OWNER_NONE : member->rank + 1;
}

static void save_rebalances(const struct group *g, struct buf *out)
{
    const struct rebalance_stats *stats = &g->rebalances;
    wire_put_u64(out, stats->total);
    wire_put_u64(out, stats->successful);
    wire_put_u64(out, stats->failed);
    for (unsigned i = 0; i < REBALANCE_REASON_COUNT; i++)
        wire_put_u64(out, stats->by_reason[i]);
    wire_put_u64(out, stats->partitions_revoked);
    wire_put_u64(out, stats->partitions_assigned);
    wire_put_u64(out, stats->revocation_timeouts);
    wire_put_i64(out, stats->last_us);
    wire_put_i64(out, stats->last_duration_us);
    wire_put_i64(out, stats->duration_sum_us);
    wire_put_u32(out, g->open_rebalances);
    wire_put_u8(out, g->revocation_expired);
    wire_put_i64(out, g->rebalance_began_us);
}

static void save_group(const struct group *g, struct buf *out)
{
    wire_put_u32(out, g->id);
    wire_put_string(out, span_text(g->name));
    wire_put_u32(out, g->generation);
    save_rebalances(g, out);
    wire_put_u8(out, (uint8_t)g->ordering);
    wire_put_i64(out, g->created_us);
    wire_put_u32(out, g->member_count);
    for (uint32_t i = 0; i < g->member_count; i++)
        save_member(g->members[i], out);
    wire_put_u32(out, g->partition_count);
    for (uint32_t i = 0; i < g->partition_count; i++) {
        const struct group_partition *gp = g->partitions[i];
        wire_put_u32(out, gp->partition->topic->id);
        wire_put_u32(out, gp->partition->index);
        wire_put_u32(out, save_rank(gp->owner));
        wire_put_u32(out, save_rank(gp->successor));
        wire_put_i64(out, gp->revoke_by_us);
        wire_put_u64(out, gp->owner_index);
        wire_put_u32(out, gp->owner_generation);
        wire_put_u64(out, gp->position);
        offset_set_save(&gp->done, out);
        offset_set_save(&gp->out, out);
        wire_put_i64(out, gp->out_until_us);
        wire_put_u64(out, gp->rewound_index);
        save_retries(gp, out);
    }
    wire_put_u32(out, g->departed_count);
    for (uint32_t i = 0; i < g->departed_count; i++) {
        wire_put_string(out, g->departed[i].member_id);
        wire_put_i64(out, g->departed[i].time_us);
    }
}

void machine_save(const struct machine *m, struct buf *out)
{
    wire_put_u32(out, VERSION);
    wire_put_u64(out, m->applied_index);
    wire_put_i64(out, m->time_us);
    wire_put_u32(out, m->next_topic_id);
    wire_put_u32(out, m->next_group_id);
    wire_put_u32(out, m->topic_count);
    for (uint32_t i = 0; i < m->topic_count; i++)
        save_topic(m->topics[i], out);
    wire_put_u32(out, m->group_count);
    for (uint32_t i = 0; i < m->group_count; i++)
        save_group(m->groups[i], out);
    resolved_book_save(&m->resolved, out);
    machine_save_transactions(m, out);
    idempotency_book_save(&m->idempotency, out);
}

uint64_t machine_digest(const struct machine *m)
{
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(m, &image);
    uint64_t digest = XXH3_64bits(image.data, image.size);
    buf_fini(&image);
    return digest;
}

/* Loading. What a thing cannot be linked in with (its id, its name, who refers to it) is checked
 * before; every other rule by machine_find_broken() at the end. */

static void load_exceptions(struct partition *p, struct wire_reader *r, uint64_t *chunk_budget)
{
    if (r->version == 1 || !wire_get_bool(r))
        return;
    struct exceptions *e = partition_need_exceptions(p);
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        e->counts[lane] = wire_get_u64(r);
        offset_set_load(&e->lanes[lane], r, p->next_offset, chunk_budget);
    }
    offset_set_load(&e->gone, r, p->next_offset, chunk_budget);
    due_index_load(&e->due, r, p->next_offset);
    if (r->version > 3)
        offset_set_load(&e->open, r, p->next_offset, chunk_budget);
    if (!wire_ok(r))
        return;
    offset_set_copy(&e->hidden, &e->gone);
    struct due_entry pending[64];
    uint32_t count = 0;
    for (uint64_t skip = 0; (count = due_index_list(&e->due, skip, 64, pending)) > 0; skip += count)
        for (uint32_t i = 0; i < count; i++)
            wire_expect(r, offset_set_add(&e->hidden, pending[i].offset));
    uint64_t open = 0;
    for (; offset_set_next(&e->open, open, &open); open++)
        wire_expect(r, offset_set_add(&e->hidden, open));
    p->topic->pending_count += due_index_count(&e->due);
}

static struct topic_totals load_totals(struct wire_reader *r)
{
    struct topic_totals totals = {0};
    if (r->version == 1)
        return totals;
    totals.acked = wire_get_u64(r);
    totals.nacked = wire_get_u64(r);
    totals.rejected = wire_get_u64(r);
    totals.dead_rejected = wire_get_u64(r);
    totals.dead_max_retries = wire_get_u64(r);
    totals.dropped = wire_get_u64(r);
    totals.scheduled = wire_get_u64(r);
    totals.scheduled_delay_us = wire_get_u64(r);
    totals.due = wire_get_u64(r);
    totals.cancelled = wire_get_u64(r);
    return totals;
}

static void load_topic(struct machine *m, struct wire_reader *r, uint64_t *chunk_budget)
{
    uint32_t id = wire_get_u32(r);
    struct span name = qualified_name_decode(r);
    int64_t created_us = wire_get_i64(r);
    struct topic_settings settings = topic_settings_decode(r);
    struct topic_totals totals = load_totals(r);
    uint32_t round_robin = wire_get_u32(r);
    uint32_t partition_count = wire_get_count(r, 1, PARTITIONS_MAX, PARTITION_SIZE);
    wire_expect(r, m->topic_count == 0 || m->topics[m->topic_count - 1]->id < id);
    wire_expect(r, wire_ok(r) && machine_find_topic(m, name) == NULL);
    if (!wire_ok(r))
        return;
    struct topic *t = topic_new(id, name, partition_count);
    t->created_us = created_us;
    t->settings = settings;
    t->totals = totals;
    t->round_robin = round_robin;
    for (uint32_t i = 0; i < partition_count; i++) {
        struct partition *p = t->partitions[i];
        p->start_offset = wire_get_u64(r);
        p->next_offset = wire_get_u64(r);
        p->message_count = wire_get_u64(r);
        p->size_bytes = wire_get_u64(r);
        wire_expect(r, p->next_offset <= OFFSET_MAX);
        if (wire_ok(r))
            load_exceptions(p, r, chunk_budget);
    }
    machine_add_topic(m, t);
}

static void load_member(struct machine *m, struct group *g, struct wire_reader *r)
{
    struct span id = wire_get_string(r, 1, MEMBER_ID_SIZE_MAX);
    struct span client_id = wire_get_string(r, 1, NAME_SIZE_MAX);
    wire_expect(r, wire_ok(r) && group_find_member(g, id) == NULL);
    uint32_t topic_count = wire_get_count(r, 0, TOPICS_PER_MEMBER_MAX, sizeof(uint32_t));
    if (!wire_ok(r))
        return;
    struct member *member = group_add_member(g, id, client_id);
    uint32_t *topic_ids = alloc_array((size_t)topic_count + 1, sizeof *topic_ids);
    for (uint32_t i = 0; i < topic_count; i++) {
        topic_ids[i] = wire_get_u32(r);
        wire_expect(r, machine_topic_by_id(m, topic_ids[i]) != NULL);
    }
    member_subscribe(member, topic_ids, topic_count);
    member->session_us = wire_get_i64(r);
    member->visibility_us = wire_get_i64(r);
    member->in_flight_max = wire_get_u32(r);
    member->from_latest = wire_get_bool(r);
    member->joined_us = wire_get_i64(r);
    member->changed_generation = wire_get_u32(r);
    member->deliveries_max = r->version == 1 ? 0 : wire_get_u32(r);
    member->cooperative = r->version > 2 && wire_get_bool(r);
}

static void load_retries(struct group_partition *gp, struct wire_reader *r)
{
    uint32_t count = wire_get_count(r, 0, UINT32_MAX, RETRY_SIZE_MIN);
    uint64_t least = gp->position;
    for (uint32_t i = 0; i < count && wire_ok(r); i++) {
        uint64_t offset = wire_get_u64(r);
        wire_expect(r, offset >= least && offset < gp->partition->next_offset);
        wire_expect(r, wire_ok(r) && !group_partition_is_done(gp, offset));
        if (!wire_ok(r))
            return;
        least = offset + 1;
        struct retry *retry = group_partition_need_retry(gp, offset);
        retry->delivery_count = wire_get_u32(r);
        retry->not_before_us = wire_get_i64(r);
        retry->returned = wire_get_bool(r);
        retry->first_us = wire_get_i64(r);
        retry_set_reason(retry, wire_get_string(r, 0, REASON_SIZE_MAX));
    }
}

static struct member *load_rank(const struct group *g, struct wire_reader *r)
{
    uint32_t rank = wire_get_u32(r);
    wire_expect(r, rank <= g->member_count);
    return !wire_ok(r) || rank == OWNER_NONE ? NULL : g->members[rank - 1];
}

static void load_group_partition(struct machine *m, struct group *g, struct wire_reader *r,
                                 uint64_t *chunk_budget)
{
    const struct topic *t = machine_topic_by_id(m, wire_get_u32(r));
    uint32_t partition = wire_get_u32(r);
    struct member *owner = load_rank(g, r), *successor = NULL;
    int64_t revoke_by_us = 0;
    uint64_t owner_index = 0;
    uint32_t owner_generation = 0;
    if (r->version > 2) {
        successor = load_rank(g, r);
        revoke_by_us = wire_get_i64(r);
        owner_index = wire_get_u64(r);
        owner_generation = wire_get_u32(r);
    }
    uint64_t position = wire_get_u64(r);
    wire_expect(r, t != NULL && partition < t->partition_count);
    if (!wire_ok(r) || t == NULL)
        return;
    uint32_t known = g->partition_count;
    struct group_partition *gp = group_need_partition(g, t->partitions[partition]);
    /* In order and without doubles: it became the last. */
    wire_expect(r, g->partition_count == known + 1 && g->partitions[known] == gp);
    if (!wire_ok(r))
        return;
    gp->owner = owner;
    gp->successor = successor;
    gp->revoke_by_us = revoke_by_us;
    gp->owner_index = owner_index;
    gp->owner_generation = owner_generation;
    gp->position = position;
    offset_set_load(&gp->done, r, gp->partition->next_offset, chunk_budget);
    if (r->version == 1 || !wire_ok(r))
        return;
    offset_set_load(&gp->out, r, gp->partition->next_offset, chunk_budget);
    gp->out_until_us = wire_get_i64(r);
    gp->rewound_index = wire_get_u64(r);
    load_retries(gp, r);
}

static void load_rebalances(struct group *g, struct wire_reader *r)
{
    struct rebalance_stats *stats = &g->rebalances;
    stats->total = wire_get_u64(r);
    if (r->version <= 2) { /* it counted those that moved something; all had ended */
        stats->successful = stats->total;
        stats->by_reason[REBALANCE_MEMBER_JOINED] = stats->total;
        return;
    }
    stats->successful = wire_get_u64(r);
    stats->failed = wire_get_u64(r);
    for (unsigned i = 0; i < REBALANCE_REASON_COUNT; i++)
        stats->by_reason[i] = wire_get_u64(r);
    stats->partitions_revoked = wire_get_u64(r);
    stats->partitions_assigned = wire_get_u64(r);
    stats->revocation_timeouts = wire_get_u64(r);
    stats->last_us = wire_get_i64(r);
    stats->last_duration_us = wire_get_i64(r);
    stats->duration_sum_us = wire_get_i64(r);
    g->open_rebalances = wire_get_u32(r);
    g->revocation_expired = wire_get_bool(r);
    g->rebalance_began_us = wire_get_i64(r);
}

static enum ordering load_ordering(struct wire_reader *r)
{
    uint8_t ordering = r->version > 2 ? wire_get_u8(r) : ORDERING_NONE;
    wire_expect(r, ordering == ORDERING_NONE || ordering == ORDERING_KEY);
    return ordering == ORDERING_KEY ? ORDERING_KEY : ORDERING_NONE;
}

static void load_group(struct machine *m, struct wire_reader *r, uint64_t *chunk_budget)
{
    uint32_t id = wire_get_u32(r);
    struct span name = qualified_name_decode(r);
    wire_expect(r, m->group_count == 0 || m->groups[m->group_count - 1]->id < id);
    wire_expect(r, wire_ok(r) && machine_find_group(m, name) == NULL);
    if (!wire_ok(r))
        return;
    struct group *g = group_new(id, name);
    machine_add_group(m, g);
    g->generation = wire_get_u32(r);
    load_rebalances(g, r);
    g->ordering = load_ordering(r);
    g->created_us = wire_get_i64(r);
    uint32_t count = wire_get_count(r, 0, MEMBERS_PER_GROUP_MAX, MEMBER_SIZE_MIN);
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_member(m, g, r);
    count = wire_get_count(r, 0, PARTITIONS_TOTAL_MAX, GROUP_PARTITION_SIZE_MIN);
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_group_partition(m, g, r, chunk_budget);
    count = wire_get_count(r, 0, DEPARTED_MAX, DEPARTED_SIZE_MIN);
    for (uint32_t i = 0; i < count && wire_ok(r); i++) {
        struct span member_id = wire_get_string(r, 1, MEMBER_ID_SIZE_MAX);
        int64_t time_us = wire_get_i64(r);
        if (wire_ok(r))
            group_load_departed(g, member_id, time_us);
    }
    if (wire_ok(r))
        group_fill_assigned(g, 0);
}

enum status machine_load(struct machine *m, struct span bytes)
{
    CHECK(m->applied_index == 0 && m->topic_count == 0 && m->group_count == 0);
    struct wire_reader r;
    wire_reader_init(&r, bytes);
    uint32_t version = wire_get_u32(&r);
    wire_expect(&r, version >= 1 && version <= VERSION);
    r.version = (uint16_t)version;
    m->applied_index = wire_get_u64(&r);
    m->time_us = wire_get_i64(&r);
    m->next_topic_id = wire_get_u32(&r);
    m->next_group_id = wire_get_u32(&r);
    uint32_t count = wire_get_count(&r, 0, TOPICS_MAX, TOPIC_SIZE_MIN);
    uint64_t chunk_budget = CHUNKS_MAX;
    for (uint32_t i = 0; i < count && wire_ok(&r); i++)
        load_topic(m, &r, &chunk_budget);
    count = wire_get_count(&r, 0, GROUPS_MAX, GROUP_SIZE_MIN);
    for (uint32_t i = 0; i < count && wire_ok(&r); i++)
        load_group(m, &r, &chunk_budget);
    if (version > 1 && wire_ok(&r))
        resolved_book_load(&m->resolved, &r, m->time_us);
    if (version > 3 && wire_ok(&r))
        machine_load_transactions(m, &r);
    if (version > 3 && wire_ok(&r))
        idempotency_book_load(&m->idempotency, &r, m->time_us);
    if (!wire_at_end(&r) || machine_find_broken(m) != NULL)
        return ST_CORRUPT;
    return ST_OK;
}
