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

static void wait_in_lane(struct readout *r, struct lease *lease, enum lease_state state)
{
    lease_heap_add(&r->lanes[lease->lane].waiting, lease);
    lease_move(lease, state);
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
        wait_in_lane(r, lease, LEASE_RELEASED);
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

struct readout *readout_of(struct group_partition *gp, struct lease_book *book, int64_t now_us)
{
    if (gp->readout != NULL)
        return gp->readout;
    struct readout *r = new_zero(struct readout);
    r->gp = gp;
    r->position_seen = gp->position;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
        r->lanes[lane].cursor = gp->position;
    gp->readout = r;
    for (uint32_t i = 0; i < gp->retry_count; i++)
        restore_retry(r, book, gp->retries[i], now_us);
    restore_out(r, book);
    return r;
}

struct lease *readout_find(const struct readout *r, uint64_t offset)
{
    return lease_table_find(&r->leases, offset);
}

static void drop(struct readout *r, struct lease_book *book, struct lease *lease)
{
    if (lease_in_flight(lease))
        r->in_flight--;
    if (lease->waiting_index != LEASE_NOT_WAITING)
        lease_heap_remove(&r->lanes[lease->lane].waiting, lease);
    lease_let_go(book, lease);
    lease->commands = 0;
    lease_move(lease, LEASE_FREE);
    lease_table_remove(&r->leases, lease);
    lease_free(book, lease);
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
    CHECK(r->in_flight == 0);
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
    r->position_seen = gp->position;
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

bool readout_available(struct readout *r, struct lease_book *book, enum priority lane)
{
    uint64_t late = 0;
    return next_waiting(r, book, &r->lanes[lane]) != NULL || next_late(r, &r->lanes[lane], &late) ||
           seek(r, lane);
}

uint32_t readout_room(const struct readout *r)
{
    uint32_t max = r->gp->partition->topic->settings.in_flight_max;
    if (max == 0)
        return UINT32_MAX;
    return r->in_flight < max ? max - r->in_flight : 0;
}

/* Takes the next message of the lane off whatever it waits in. NULL: none. */
static struct lease *take_next(struct readout *r, struct lease_book *book, enum priority priority)
{
    struct lane *lane = &r->lanes[priority];
    struct lease *lease = next_waiting(r, book, lane);
    uint64_t offset = 0;
    if (next_late(r, lane, &offset) && (lease == NULL || offset < lease->offset)) {
        offset_set_remove_below(&lane->late, offset + 1);
        return add_lease(r, book, offset, priority);
    }
    /* Behind the cursor, one may not be the first: after a start or a commit. */
    if (lease != NULL && lease->offset >= lane->cursor && seek(r, priority) &&
        lane->cursor < lease->offset)
        lease = NULL;
    if (lease != NULL) {
        lease_heap_remove(&lane->waiting, lease);
        return lease;
    }
    return seek(r, priority) ? add_lease(r, book, lane->cursor++, priority) : NULL;
}

uint32_t readout_take(struct readout *r, struct lease_book *book, enum priority lane,
                      const struct lease_terms *terms, uint32_t max, struct delivered *out)
{
    uint32_t room = readout_room(r), count = 0;
    if (max > room)
        max = room;
    while (count < max) {
        struct lease *lease = take_next(r, book, lane);
        if (lease == NULL)
            break;
        lease_grant(book, lease, terms->holder, terms->now_us, terms->deadline_us);
        r->in_flight++;
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
    CHECK(lease->readout == r);
    if (!lease_in_flight(lease)) {
        lease_heap_remove(&r->lanes[lease->lane].waiting, lease);
        r->in_flight++;
    }
    lease_settle(book, lease, settlement);
}

struct lease *readout_adopt(struct readout *r, struct lease_book *book,
                            const struct receipt *receipt, int64_t deadline_us)
{
    struct lease *lease = add_earlier_lease(r, book, receipt->offset);
    lease->id = receipt->lease_id;
    lease->delivery_count = receipt->delivery_count;
    lease_resume(book, lease, deadline_us);
    r->in_flight++;
    return lease;
}

bool readout_settled(struct readout *r, struct lease_book *book, struct lease **lease)
{
    CHECK((*lease)->state == LEASE_SETTLING);
    CHECK((*lease)->commands > 0);
    r->position_seen = r->gp->position;
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
}

void readout_resume(struct readout *r, struct lease_book *book, struct lease *lease,
                    int64_t deadline_us)
{
    CHECK(lease->readout == r);
    CHECK(lease->state == LEASE_SETTLING);
    lease_resume(book, lease, deadline_us);
}

static void wait_again(struct readout *r, struct lease_book *book, struct lease *lease,
                       enum lease_state state)
{
    CHECK(r->in_flight > 0);
    r->in_flight--;
    lease_let_go(book, lease);
    wait_in_lane(r, lease, state);
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
        wait_in_lane(r, lease, LEASE_RELEASED);
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
    r->position_seen = r->gp->position;                  /* it may have risen */
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
    bool rewound = r->gp->position < r->position_seen;
    drop_if(r, book, rewound ? is_not_settling : is_below_position);
    /* What is settling stays until its commands are applied: readout_settled() sees what has become
     * of it. The cursors walk over what is done or leased again. */
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        r->lanes[lane].cursor = r->gp->position;
        offset_set_clear(&r->lanes[lane].late);
    }
    r->position_seen = r->gp->position;
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
        waiting += lease->waiting_index != LEASE_NOT_WAITING ? 1 : 0;
    }
    CHECK(count == r->leases.count);
    CHECK(in_flight == r->in_flight);
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        check_lane(r, (enum priority)lane);
        waiting -= r->lanes[lane].waiting.count;
    }
    CHECK(waiting == 0);
}
