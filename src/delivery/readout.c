#include "delivery/readout.h"

#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

enum { TABLE_CAPACITY_MIN = 64 };

/* Eight offsets in a row share a cache line; lines are spread by Fibonacci hashing. */
static uint32_t slot_of(uint64_t offset, uint32_t capacity)
{
    uint64_t line = (offset >> 3) * 0x9E3779B97F4A7C15ULL >> 32;
    return (uint32_t)(line << 3 | (offset & 7)) & (capacity - 1);
}

struct readout *readout_of(struct group_partition *gp)
{
    if (gp->readout != NULL)
        return gp->readout;
    struct readout *r = new_zero(struct readout);
    struct partition *partition = gp->partition;
    r->gp = gp;
    r->cursor = gp->position;
    r->position_seen = gp->position;
    r->reader_next = partition->waiting;
    r->reader_slot = NULL; /* first */
    if (r->reader_next != NULL)
        r->reader_next->reader_slot = &r->reader_next;
    partition->waiting = r;
    gp->readout = r;
    return r;
}

static void table_place(struct readout *r, struct lease *lease)
{
    uint32_t mask = r->table_capacity - 1;
    uint32_t i = slot_of(lease->offset, r->table_capacity);
    while (r->table[i] != NULL) {
        CHECK(r->table[i]->offset != lease->offset);
        i = (i + 1) & mask;
    }
    r->table[i] = lease;
}

static void table_resize(struct readout *r, uint32_t capacity)
{
    struct lease **old = r->table;
    uint32_t old_capacity = r->table_capacity;
    r->table = alloc_array(capacity, sizeof(struct lease *));
    r->table_capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++)
        if (old[i] != NULL)
            table_place(r, old[i]);
    free(old);
}

static struct lease *add_lease(struct readout *r, struct lease_book *book, uint64_t offset)
{
    if (r->table_capacity == 0)
        table_resize(r, TABLE_CAPACITY_MIN);
    else if (r->lease_count >= r->table_capacity / 2)
        table_resize(r, r->table_capacity * 2);
    struct lease *lease = lease_new(book, r, offset);
    table_place(r, lease);
    r->lease_count++;
    return lease;
}

static void table_remove(struct readout *r, const struct lease *lease)
{
    uint32_t mask = r->table_capacity - 1;
    uint32_t hole = slot_of(lease->offset, r->table_capacity);
    while (r->table[hole] != lease) {
        CHECK(r->table[hole] != NULL);
        hole = (hole + 1) & mask;
    }
    /* Close the gap: whatever follows without a break and may lie at the hole moves there. */
    for (uint32_t i = (hole + 1) & mask; r->table[i] != NULL; i = (i + 1) & mask) {
        uint32_t home = slot_of(r->table[i]->offset, r->table_capacity);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            r->table[hole] = r->table[i];
            hole = i;
        }
    }
    r->table[hole] = NULL;
    r->lease_count--;
    if (r->table_capacity > TABLE_CAPACITY_MIN && r->lease_count < r->table_capacity / 32)
        table_resize(r, r->table_capacity / 4);
}

struct lease *readout_find(const struct readout *r, uint64_t offset)
{
    if (r->lease_count == 0)
        return NULL;
    uint32_t mask = r->table_capacity - 1;
    for (uint32_t i = slot_of(offset, r->table_capacity); r->table[i] != NULL; i = (i + 1) & mask)
        if (r->table[i]->offset == offset)
            return r->table[i];
    return NULL;
}

static void heap_set(struct readout *r, uint32_t index, struct lease *lease)
{
    r->waiting[index] = lease;
    lease->waiting_index = index;
}

static void heap_up(struct readout *r, uint32_t index, struct lease *lease)
{
    while (index > 0 && r->waiting[(index - 1) / 2]->offset > lease->offset) {
        heap_set(r, index, r->waiting[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_set(r, index, lease);
}

static void heap_down(struct readout *r, uint32_t index, struct lease *lease)
{
    for (uint32_t child; (child = index * 2 + 1) < r->waiting_count; index = child) {
        if (child + 1 < r->waiting_count &&
            r->waiting[child + 1]->offset < r->waiting[child]->offset)
            child++;
        if (r->waiting[child]->offset >= lease->offset)
            break;
        heap_set(r, index, r->waiting[child]);
    }
    heap_set(r, index, lease);
}

static void heap_add(struct readout *r, struct lease *lease)
{
    if (r->waiting_count == r->waiting_capacity) {
        r->waiting_capacity = r->waiting_capacity == 0 ? 16 : r->waiting_capacity * 2;
        r->waiting = alloc_resize(r->waiting, r->waiting_capacity, sizeof(struct lease *));
    }
    heap_up(r, r->waiting_count++, lease);
}

static void heap_remove(struct readout *r, struct lease *lease)
{
    uint32_t index = lease->waiting_index;
    CHECK(index < r->waiting_count);
    CHECK(r->waiting[index] == lease);
    lease->waiting_index = LEASE_NOT_WAITING;
    struct lease *last = r->waiting[--r->waiting_count];
    if (last != lease) {
        if (index > 0 && r->waiting[(index - 1) / 2]->offset > last->offset)
            heap_up(r, index, last);
        else
            heap_down(r, index, last);
    }
    if (r->waiting_count == 0) {
        free(r->waiting);
        r->waiting = NULL;
        r->waiting_capacity = 0;
    }
}

static bool is_in_flight(const struct lease *lease)
{
    return lease->state == LEASE_LEASED || lease->state == LEASE_SETTLING;
}

static void drop(struct readout *r, struct lease_book *book, struct lease *lease)
{
    if (is_in_flight(lease))
        r->in_flight--;
    if (lease->waiting_index != LEASE_NOT_WAITING)
        heap_remove(r, lease);
    lease_let_go(book, lease);
    lease->acks = 0;
    lease_move(lease, LEASE_FREE);
    table_remove(r, lease);
    lease_free(book, lease);
}

/* Leases that match, into an array of their own: dropping them moves the table under our feet. */
static struct lease **collect(const struct readout *r,
                              bool (*wanted)(const struct readout *r, const struct lease *lease),
                              uint32_t *out_count)
{
    struct lease **found = alloc_array(r->lease_count + 1, sizeof(struct lease *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->table_capacity; i++)
        if (r->table[i] != NULL && wanted(r, r->table[i]))
            found[count++] = r->table[i];
    *out_count = count;
    return found;
}

static void drop_if(struct readout *r, struct lease_book *book,
                    bool (*wanted)(const struct readout *r, const struct lease *lease))
{
    if (r->lease_count == 0)
        return;
    uint32_t count = 0;
    struct lease **found = collect(r, wanted, &count);
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
    CHECK(r->lease_count == 0);
    CHECK(r->in_flight == 0);
    if (r->reader_slot != NULL)
        *r->reader_slot = r->reader_next;
    else
        r->gp->partition->waiting = r->reader_next;
    if (r->reader_next != NULL)
        r->reader_next->reader_slot = r->reader_slot;
    r->gp->readout = NULL;
    free(r->table);
    free(r->waiting);
    free(r);
}

/* The lease that is to be delivered next again; NULL: none. Retention may have been faster. */
static struct lease *next_waiting(struct readout *r, struct lease_book *book)
{
    while (r->waiting_count > 0) {
        struct lease *lease = r->waiting[0];
        if (lease->offset >= r->gp->partition->start_offset)
            return lease;
        drop(r, book, lease);
    }
    return NULL;
}

/* Moves the cursor to the first message that is neither done nor leased; false: none yet. */
static bool seek(struct readout *r)
{
    const struct group_partition *gp = r->gp;
    const struct partition *partition = gp->partition;
    uint64_t at = r->cursor;
    if (at < gp->position)
        at = gp->position;
    if (at < partition->start_offset)
        at = partition->start_offset;
    while (at < partition->next_offset) {
        if (gp->done.block_count > 0)
            at = offset_set_next_gap(&gp->done, at);
        if (at >= partition->next_offset || readout_find(r, at) == NULL)
            break;
        at++;
    }
    r->cursor = at;
    r->position_seen = gp->position;
    return at < partition->next_offset;
}

bool readout_available(struct readout *r, struct lease_book *book)
{
    return next_waiting(r, book) != NULL || seek(r);
}

uint32_t readout_take(struct readout *r, struct lease_book *book, struct lease_holder *holder,
                      int64_t deadline_us, uint32_t max, struct delivered *out)
{
    uint32_t count = 0;
    while (count < max) {
        struct lease *lease = next_waiting(r, book);
        if (lease != NULL)
            heap_remove(r, lease);
        else if (seek(r))
            lease = add_lease(r, book, r->cursor++);
        else
            break;
        lease_grant(book, lease, holder, deadline_us);
        r->in_flight++;
        out[count++] = (struct delivered){.offset = lease->offset,
                                          .lease_id = lease->id,
                                          .delivery_count = lease->delivery_count};
    }
    return count;
}

void readout_settle(struct readout *r, struct lease_book *book, struct lease *lease)
{
    CHECK(lease->readout == r);
    if (!is_in_flight(lease)) {
        heap_remove(r, lease);
        r->in_flight++;
    }
    lease_settle(book, lease);
}

void readout_adopt(struct readout *r, struct lease_book *book, uint64_t offset, uint64_t id,
                   uint32_t delivery_count)
{
    struct lease *lease = add_lease(r, book, offset);
    lease->id = id;
    lease->delivery_count = delivery_count;
    r->in_flight++;
    lease_settle(book, lease);
}

static void wait_again(struct readout *r, struct lease_book *book, struct lease *lease,
                       enum lease_state state)
{
    CHECK(r->in_flight > 0);
    r->in_flight--;
    lease_let_go(book, lease);
    heap_add(r, lease);
    lease_move(lease, state);
}

void readout_settled(struct readout *r, struct lease_book *book, struct lease *lease)
{
    CHECK(lease->state == LEASE_SETTLING);
    CHECK(lease->acks > 0);
    r->position_seen = r->gp->position;
    if (lease->acks > 1) {
        lease->acks--;
        return;
    }
    lease->acks = 0;
    if (group_partition_is_done(r->gp, lease->offset))
        drop(r, book, lease);
    else /* a commit went back behind it after the ack, and the cursor may have passed it since */
        wait_again(r, book, lease, LEASE_RELEASED);
}

void readout_expire(struct readout *r, struct lease_book *book, struct lease *lease)
{
    CHECK(lease->state == LEASE_LEASED);
    book->expired_total++;
    wait_again(r, book, lease, LEASE_EXPIRED);
}

void readout_release(struct readout *r, struct lease_book *book, struct lease *lease, bool counted)
{
    CHECK(lease->state == LEASE_LEASED);
    CHECK(lease->delivery_count > 0);
    if (!counted)
        lease->delivery_count--;
    wait_again(r, book, lease, LEASE_RELEASED);
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
    /* What is settling stays until its acks are applied: readout_settled() sees what has become of
     * it. The cursor walks over what is done or leased again. */
    r->cursor = r->gp->position;
    r->position_seen = r->gp->position;
}

void readout_check(const struct readout *r)
{
    uint32_t count = 0;
    uint32_t waiting = 0;
    uint32_t in_flight = 0;
    for (uint32_t i = 0; i < r->table_capacity; i++) {
        const struct lease *lease = r->table[i];
        if (lease == NULL)
            continue;
        lease_check(lease);
        CHECK(lease->readout == r);
        CHECK(lease->state != LEASE_FREE);
        CHECK(readout_find(r, lease->offset) == lease);
        CHECK(lease->offset < r->gp->partition->next_offset);
        CHECK(lease->state == LEASE_SETTLING || !group_partition_is_done(r->gp, lease->offset));
        count++;
        in_flight += is_in_flight(lease) ? 1 : 0;
        waiting += lease->waiting_index != LEASE_NOT_WAITING ? 1 : 0;
    }
    CHECK(count == r->lease_count);
    CHECK(waiting == r->waiting_count);
    CHECK(in_flight == r->in_flight);
    for (uint32_t i = 0; i < r->waiting_count; i++) {
        CHECK(r->waiting[i]->waiting_index == i);
        CHECK(i == 0 || r->waiting[(i - 1) / 2]->offset < r->waiting[i]->offset);
    }
    /* Nothing between position and cursor is forgotten. */
    uint64_t at = r->gp->position;
    if (at < r->gp->partition->start_offset)
        at = r->gp->partition->start_offset;
    for (; at < r->cursor && at < r->gp->partition->next_offset; at++) {
        at = offset_set_next_gap(&r->gp->done, at);
        CHECK(at >= r->cursor || readout_find(r, at) != NULL);
    }
}
