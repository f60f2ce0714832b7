#include "delivery/readout.h"

#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

static struct lease *add_lease(struct readout *r, struct lease_book *book, uint64_t offset,
                               enum priority lane)
{
    struct lease *lease = lease_new(book, r, offset, lane);
    lease_table_add(&r->leases, lease);
    return lease;
}

/* To be told of each change of a lease's state. */
static void moved(struct readout *r, struct lease_book *book, struct lease *lease, unsigned before)
{
    if (r->keys != NULL)
        key_order_moved(r, book, lease, (enum lease_state)before);
}

static void wait_in_lane(struct readout *r, struct lease_book *book, struct lease *lease,
                         enum lease_state state)
{
    const unsigned before = lease->state;
    lease_heap_add(&r->lanes[lease->lane].waiting, lease);
    lease_move(lease, state);
    moved(r, book, lease, before);
}

/* Takes one that waits off its heap. */
static void wait_no_more(struct readout *r, struct lease_book *book, struct lease *lease)
{
    if (lease->state == LEASE_HELD)
        key_order_unhold(r, book, lease);
    else if (lease->waiting_index != LEASE_NOT_WAITING)
        lease_heap_remove(&r->lanes[lease->lane].waiting, lease);
}

/* The member that had it last is not known any more: most likely it is who reads the partition. */
static struct lease *add_earlier_lease(struct readout *r, struct lease_book *book, uint64_t offset)
{
    struct lease *lease = add_lease(r, book, offset, partition_lane_of(r->gp->partition, offset));
    const struct member *owner = r->gp->owner;
    lease->deliveries_max = owner == NULL ? 0 : owner->deliveries_max;
    lease->visibility_us = owner == NULL ? 0 : owner->visibility_us;
    return lease;
}

/* What a restart finds: a delivery that was given back, or one that is in flight still. */
static void restore_retry(struct readout *r, struct lease_book *book, const struct retry *retry,
                          int64_t now_us)
{
    struct lease *lease = add_earlier_lease(r, book, retry->offset);
    lease->delivery_count = retry->delivery_count;
    lease->first_us = retry->first_us;
    if (!retry->returned) {
        lease_resume(book, lease, retry->not_before_us);
        r->in_flight++;
    } else if (retry->not_before_us > now_us) {
        lease_delay(book, lease, retry->not_before_us);
    } else {
        wait_in_lane(r, book, lease, LEASE_RELEASED);
    }
}

static void restore_out(struct readout *r, struct lease_book *book)
{
    const struct group_partition *gp = r->gp;
    uint64_t offset = gp->position;
    for (; offset_set_next(&gp->out, offset, &offset); offset++) {
        if (group_partition_is_done(gp, offset) || lease_table_find(&r->leases, offset) != NULL)
            continue;
        struct lease *lease = add_earlier_lease(r, book, offset);
        lease->delivery_count = 1;
        lease_resume(book, lease, gp->out_until_us);
        r->in_flight++;
    }
}

static void drop(struct readout *r, struct lease_book *book, struct lease *lease)
{
    const unsigned before = lease->state;
    if (lease_in_flight(lease))
        r->in_flight--;
    wait_no_more(r, book, lease);
    lease_let_go(book, lease);
    lease->commands = 0;
    lease_move(lease, LEASE_FREE);
    lease_table_remove(&r->leases, lease);
    moved(r, book, lease, before);
    lease_free(book, lease);
}

/* Acked in a transaction that is open still: nobody's until it ends. */
static void restore_reserved(struct readout *r, struct lease_book *book)
{
    const struct group_partition *gp = r->gp;
    uint64_t offset = gp->position;
    for (; offset_set_next(&gp->reserved, offset, &offset); offset++) {
        struct lease *lease = lease_table_find(&r->leases, offset);
        if (group_partition_is_done(gp, offset))
            continue;
        if (lease != NULL && lease->state != LEASE_LEASED) {
            drop(r, book, lease);
            lease = NULL;
        }
        if (lease == NULL) {
            lease = add_earlier_lease(r, book, offset);
            lease->delivery_count = 1;
            lease_resume(book, lease, 0);
            r->in_flight++;
        }
        readout_settle(r, book, lease, SETTLEMENT_TRANSACTION);
        lease->in_transaction = true;
    }
}

struct readout *readout_of(struct group_partition *gp, struct lease_book *book, int64_t now_us)
{
    if (gp->readout != NULL)
        return gp->readout;
    struct readout *r = new_zero(struct readout);
    r->gp = gp;
    r->rewound_index = gp->rewound_index;
    r->owner_index = gp->owner_index;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
        r->lanes[lane].cursor = gp->position;
    gp->readout = r;
    for (uint32_t i = 0; i < gp->retry_count; i++)
        restore_retry(r, book, gp->retries[i], now_us);
    restore_out(r, book);
    restore_reserved(r, book);
    key_order_update(r, book);
    return r;
}

struct lease *readout_find(const struct readout *r, uint64_t offset)
{
    return lease_table_find(&r->leases, offset);
}

static void drop_if(struct readout *r, struct lease_book *book,
                    bool (*wanted)(const struct readout *r, const struct lease *lease))
{
    if (r->leases.count == 0)
        return;
    /* Into an array of their own: dropping them moves the table under our feet. */
    struct lease **found = alloc_array(r->leases.count, sizeof(struct lease *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->leases.capacity; i++)
        if (r->leases.slots[i] != NULL && wanted(r, r->leases.slots[i]))
            found[count++] = r->leases.slots[i];
    for (uint32_t i = 0; i < count; i++)
        drop(r, book, found[i]);
    free(found);
}

static bool any(const struct readout *r, const struct lease *lease)
{
    return lease->readout == r;
}

void readout_free(struct readout *r, struct lease_book *book)
{
    if (r == NULL)
        return;
    drop_if(r, book, any);
    CHECK(r->in_flight == 0 && r->foreign_count == 0);
    key_order_free(r, book);
    lease_table_fini(&r->leases);
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
        offset_set_fini(&r->lanes[lane].late);
    r->gp->readout = NULL;
    free(r);
}

/* The lease of the lane that is to be delivered next again; NULL: none. Retention may have been
 * faster. */
static struct lease *next_waiting(struct readout *r, struct lease_book *book, struct lane *lane)
{
    while (lane->waiting.count > 0) {
        struct lease *lease = lane->waiting.items[0];
        if (lease->offset >= r->gp->partition->start_offset)
            return lease;
        drop(r, book, lease);
    }
    return NULL;
}

/* Where reading begins that is at `at`: neither done messages nor those that retention took. */
static uint64_t at_least_open(const struct readout *r, uint64_t at)
{
    if (at < r->gp->position)
        at = r->gp->position;
    return at < r->gp->partition->start_offset ? r->gp->partition->start_offset : at;
}

/* The first late message that is still to be delivered; false: none. */
static bool next_late(const struct readout *r, struct lane *lane, uint64_t *out)
{
    if (offset_set_is_empty(&lane->late))
        return false;
    uint64_t at = at_least_open(r, 0);
    while (offset_set_next(&lane->late, at, &at) &&
           (group_partition_is_done(r->gp, at) || readout_find(r, at) != NULL))
        at++;
    offset_set_remove_below(&lane->late, at);
    return offset_set_next(&lane->late, at, out);
}

/* Moves the cursor to the first message that is neither done nor leased; false: none yet. */
static bool seek(struct readout *r, enum priority priority)
{
    const struct group_partition *gp = r->gp;
    const struct partition *partition = gp->partition;
    struct lane *lane = &r->lanes[priority];
    uint64_t at = at_least_open(r, lane->cursor);
    uint64_t found = 0;
    while (partition_next_in_lane(partition, priority, at, &found)) {
        at = offset_set_is_empty(&gp->done) ? found : offset_set_next_gap(&gp->done, found);
        if (at == found && readout_find(r, at) == NULL) {
            lane->cursor = at;
            return true;
        }
        at += at == found; /* leased; else look whether what follows the done ones is in the lane */
    }
    lane->cursor = partition->next_offset > at ? partition->next_offset : at;
    return false;
}

uint32_t readout_room(const struct readout *r)
{
    uint32_t max = r->gp->partition->topic->settings.in_flight_max;
    if (max == 0)
        return UINT32_MAX;
    return r->in_flight < max ? max - r->in_flight : 0;
}

/* The lane's next message, whatever its key; false: there is none. */
static bool next_of_lane(struct readout *r, struct lease_book *book, enum priority priority,
                         struct key_candidate *out)
{
    struct lane *lane = &r->lanes[priority];
    struct lease *lease = next_waiting(r, book, lane);
    *out = (struct key_candidate){.lane = priority, .window = KEY_WINDOW_LATE};
    if (next_late(r, lane, &out->offset) && (lease == NULL || out->offset < lease->offset))
        return true;
    /* Behind the cursor, one that waits may not be the first: after a start or a commit. */
    if (lease == NULL || lease->offset >= lane->cursor) {
        const bool found = seek(r, priority);
        if (found && (lease == NULL || lane->cursor < lease->offset)) {
            out->offset = lane->cursor;
            out->window = (uint8_t)priority;
            return true;
        }
    }
    out->lease = lease;
    out->offset = lease == NULL ? 0 : lease->offset;
    out->window = KEY_WINDOW_LEASES;
    return lease != NULL;
}

/* Takes it off whatever it waits in; it has a lease afterwards. */
static struct lease *take_off(struct readout *r, struct lease_book *book,
                              const struct key_candidate *next)
{
    struct lane *lane = &r->lanes[next->lane];
    if (next->lease != NULL) {
        lease_heap_remove(&lane->waiting, next->lease);
        return next->lease;
    }
    if (next->window == KEY_WINDOW_LATE)
        offset_set_remove_below(&lane->late, next->offset + 1);
    else
        lane->cursor = next->offset + 1;
    struct lease *lease = add_lease(r, book, next->offset, next->lane);
    if (r->keys != NULL)
        lease->key = key_order_find(r->keys, next->offset);
    return lease;
}

/* No more may be held back. What blocks them may itself wait behind them in this lane, to be
 * delivered again: then it goes first, or nothing would ever come. */
static bool find_waiting(struct readout *r, struct lease_book *book, struct key_candidate *out)
{
    struct lease *lease = next_waiting(r, book, &r->lanes[out->lane]);
    if (lease == NULL || lease == out->lease)
        return false;
    out->lease = lease;
    out->offset = lease->offset;
    out->window = KEY_WINDOW_LEASES;
    return key_order_judge(r, book, out) == KEY_FREE;
}

/* The next message of the lane that may be delivered; those before it that may not are held. */
static bool find_next(struct readout *r, struct lease_book *book, enum priority priority,
                      struct key_candidate *out)
{
    while (next_of_lane(r, book, priority, out)) {
        const enum key_verdict verdict = r->keys == NULL ? KEY_FREE : key_order_judge(r, book, out);
        if (verdict == KEY_FULL)
            return find_waiting(r, book, out);
        if (verdict != KEY_HELD_BACK)
            return verdict == KEY_FREE;
        key_order_hold(r, book, take_off(r, book, out));
    }
    return false;
}

bool readout_available(struct readout *r, struct lease_book *book, enum priority lane)
{
    struct key_candidate next;
    return find_next(r, book, lane, &next);
}

uint32_t readout_take(struct readout *r, struct lease_book *book, enum priority lane,
                      const struct lease_terms *terms, uint32_t max, struct delivered *out)
{
    struct key_candidate next;
    uint32_t room = readout_room(r), count = 0;
    if (max > room)
        max = room;
    while (count < max && find_next(r, book, lane, &next)) {
        struct lease *lease = take_off(r, book, &next);
        const unsigned before = lease->state;
        lease_grant(book, lease, terms->holder, terms->now_us, terms->deadline_us);
        r->in_flight++;
        moved(r, book, lease, before);
        out[count++] = (struct delivered){.offset = lease->offset,
                                          .lease_id = lease->id,
                                          .delivery_count = lease->delivery_count,
                                          .first_us = lease->first_us};
    }
    return count;
}

void readout_settle(struct readout *r, struct lease_book *book, struct lease *lease,
                    enum lease_settlement settlement)
{
    const unsigned before = lease->state;
    CHECK(lease->readout == r);
    if (!lease_in_flight(lease)) {
        lease_heap_remove(&r->lanes[lease->lane].waiting, lease);
        r->in_flight++;
    }
    lease_settle(book, lease, settlement);
    moved(r, book, lease, before);
}

struct lease *readout_adopt(struct readout *r, struct lease_book *book,
                            const struct receipt *receipt, int64_t deadline_us)
{
    struct lease *untouched = readout_find(r, receipt->offset);
    if (untouched != NULL)
        drop(r, book, untouched);
    struct lease *lease = add_earlier_lease(r, book, receipt->offset);
    lease->id = receipt->lease_id;
    lease->delivery_count = receipt->delivery_count;
    if (r->keys != NULL)
        lease->key = key_order_find(r->keys, receipt->offset);
    lease_resume(book, lease, deadline_us);
    r->in_flight++;
    moved(r, book, lease, LEASE_FREE);
    return lease;
}

bool readout_settled(struct readout *r, struct lease_book *book, struct lease **lease)
{
    CHECK((*lease)->state == LEASE_SETTLING);
    CHECK((*lease)->commands > 0);
    if (--(*lease)->commands > 0)
        return false;
    if (group_partition_is_done(r->gp, (*lease)->offset)) {
        drop(r, book, *lease);
        *lease = NULL;
    }
    return true;
}

void readout_delay(struct readout *r, struct lease_book *book, struct lease *lease,
                   int64_t not_before_us)
{
    CHECK(lease->state == LEASE_SETTLING);
    r->in_flight--;
    lease_delay(book, lease, not_before_us);
    moved(r, book, lease, LEASE_SETTLING);
}

void readout_resume(struct readout *r, struct lease_book *book, struct lease *lease,
                    int64_t deadline_us)
{
    CHECK(lease->readout == r);
    CHECK(lease->state == LEASE_SETTLING);
    lease_resume(book, lease, deadline_us);
    moved(r, book, lease, LEASE_SETTLING);
}

static void wait_again(struct readout *r, struct lease_book *book, struct lease *lease,
                       enum lease_state state)
{
    CHECK(r->in_flight > 0);
    r->in_flight--;
    lease_let_go(book, lease);
    wait_in_lane(r, book, lease, state);
}

void readout_release(struct readout *r, struct lease_book *book, struct lease *lease, bool counted)
{
    CHECK(lease_in_flight(lease) && lease->commands == 0);
    CHECK(lease->delivery_count > 0);
    if (!counted)
        lease->delivery_count--;
    wait_again(r, book, lease, LEASE_RELEASED);
}

void readout_expire(struct readout *r, struct lease_book *book, struct lease *lease)
{
    if (lease->state == LEASE_DELAYED) {
        wait_in_lane(r, book, lease, LEASE_RELEASED);
        return;
    }
    CHECK(lease->state == LEASE_LEASED);
    book->expired_total++;
    wait_again(r, book, lease, LEASE_EXPIRED);
}

void readout_reveal(struct readout *r, uint64_t offset, enum priority lane)
{
    if (offset < r->lanes[lane].cursor && !group_partition_is_done(r->gp, offset))
        (void)offset_set_add(&r->lanes[lane].late, offset);
}

void readout_lose(struct readout *r, struct lease_book *book, uint64_t offset)
{
    struct lease *lease = readout_find(r, offset);
    if (lease != NULL && lease->state != LEASE_SETTLING) /* else its command will find it gone */
        drop(r, book, lease);
}

static bool is_below_position(const struct readout *r, const struct lease *lease)
{
    return lease->state != LEASE_SETTLING && lease->offset < r->gp->position;
}

static bool is_not_settling(const struct readout *r, const struct lease *lease)
{
    return lease->readout == r && lease->state != LEASE_SETTLING;
}

void readout_moved(struct readout *r, struct lease_book *book)
{
    bool rewound = r->gp->rewound_index != r->rewound_index;
    r->rewound_index = r->gp->rewound_index;
    drop_if(r, book, rewound ? is_not_settling : is_below_position);
    /* What is settling stays until its commands are applied: readout_settled() sees what has become
     * of it. The cursors walk over what is done or leased again. */
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        r->lanes[lane].cursor = r->gp->position;
        offset_set_clear(&r->lanes[lane].late);
    }
}

void readout_regroup(struct readout *r, struct lease_book *book, const struct lease_holder *owner)
{
    if (owner != NULL && r->owner_index != r->gp->owner_index) {
        r->owner_index = r->gp->owner_index;
        key_order_hand_over(r, book, owner);
    }
    key_order_update(r, book);
}

/* Nothing between position and cursor is forgotten. */
static void check_lane(const struct readout *r, enum priority priority)
{
    const struct lane *lane = &r->lanes[priority];
    lease_heap_check(&lane->waiting);
    for (uint64_t at = at_least_open(r, 0);
         partition_next_in_lane(r->gp->partition, priority, at, &at) && at < lane->cursor; at++)
        CHECK(group_partition_is_done(r->gp, at) || readout_find(r, at) != NULL ||
              offset_set_has(&lane->late, at));
}

void readout_check(const struct readout *r)
{
    uint32_t count = 0, waiting = 0, in_flight = 0;
    key_order_check(r);
    for (uint32_t i = 0; i < r->leases.capacity; i++) {
        const struct lease *lease = r->leases.slots[i];
        if (lease == NULL)
            continue;
        lease_check(lease);
        CHECK(lease->readout == r);
        CHECK(lease->state != LEASE_FREE);
        CHECK(readout_find(r, lease->offset) == lease);
        CHECK(lease->offset < r->gp->partition->next_offset);
        CHECK(!partition_is_hidden(r->gp->partition, lease->offset) ||
              lease->state == LEASE_SETTLING);
        CHECK(lease->lane == partition_lane_of(r->gp->partition, lease->offset) ||
              lease->state == LEASE_SETTLING);
        CHECK(lease->state == LEASE_SETTLING || !group_partition_is_done(r->gp, lease->offset));
        count++;
        in_flight += lease_in_flight(lease) ? 1 : 0;
        waiting += lease->state == LEASE_EXPIRED || lease->state == LEASE_RELEASED ? 1 : 0;
    }
    CHECK(count == r->leases.count);
    CHECK(in_flight == r->in_flight);
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        check_lane(r, (enum priority)lane);
        waiting -= r->lanes[lane].waiting.count;
    }
    CHECK(waiting == 0);
}
