#include "delivery/key_order.h"

#include <stdlib.h>

#include "command/record_batch.h"
#include "delivery/lease_heap.h"
#include "delivery/readout.h"
#include "std/alloc.h"
#include "std/check.h"

enum { WINDOW_CAPACITY_MIN = 64 };

struct key_entry { /* one key's leases; there is one at least */
    uint32_t key;
    uint32_t out_count;     /* LEASED, SETTLING, DELAYED */
    uint32_t waiting_count; /* EXPIRED, RELEASED */
    uint32_t foreign_count; /* by the rule "handover" only */
    uint64_t foreign_first; /* the lowest offset that one of them had */
    struct lease *waiting;  /* if known: the only one that waits */
    struct lease_heap held;
};

/* Is this key a matter of order at all? */
static bool is_key(uint32_t key)
{
    return key >= KEY_HASH_MIN;
}

static bool is_out(enum lease_state state)
{
    return state == LEASE_LEASED || state == LEASE_SETTLING || state == LEASE_DELAYED;
}

static bool is_waiting(enum lease_state state)
{
    return state == LEASE_EXPIRED || state == LEASE_RELEASED;
}

/* Never delivered: then it waits for nothing but its turn, and another one may come first. */
static bool is_untouched(const struct lease *lease)
{
    return lease->delivery_count == 0;
}

static void add_news(struct readout *r, struct lease_book *book)
{
    if (!list_linked(&r->key_news))
        list_push(&book->key_news, &r->key_news);
}

static struct key_entry *need_entry(struct key_order *ko, uint32_t key)
{
    struct key_entry *e = map_find_number(&ko->entries, key);
    if (e == NULL) {
        e = new_zero(struct key_entry);
        e->key = key;
        map_put_number(&ko->entries, key, e);
    }
    return e;
}

static void remove_entry(struct key_order *ko, struct key_entry *e)
{
    CHECK(e->held.count == 0);
    map_remove_number(&ko->entries, e->key);
    free(e);
}

/* The lease enters the state, as its entry sees it. */
static void enter(struct key_entry *e, struct lease *lease, enum lease_state state)
{
    if (is_out(state)) {
        e->out_count++;
    } else if (is_waiting(state)) {
        e->waiting_count++;
        e->waiting = e->waiting_count == 1 ? lease : NULL;
    }
}

static void quit(struct key_entry *e, enum lease_state state)
{
    if (is_out(state)) {
        CHECK(e->out_count > 0);
        e->out_count--;
    } else if (is_waiting(state)) {
        CHECK(e->waiting_count > 0);
        e->waiting_count--;
        e->waiting = NULL;
    }
}

static void enter_foreign(struct key_entry *e, const struct lease *lease)
{
    if (e->foreign_count++ == 0 || lease->offset < e->foreign_first)
        e->foreign_first = lease->offset;
}

void key_order_hold(struct readout *r, struct lease_book *book, struct lease *lease)
{
    struct key_entry *e = need_entry(r->keys, lease->key);
    quit(e, lease->state);
    lease_heap_add(&e->held, lease);
    lease_move(lease, LEASE_HELD);
    r->keys->held_count++;
    book->held_count++;
}

void key_order_unhold(struct readout *r, struct lease_book *book, struct lease *lease)
{
    struct key_entry *e = map_find_number(&r->keys->entries, lease->key);
    CHECK(e != NULL && lease->state == LEASE_HELD);
    lease_heap_remove(&e->held, lease);
    CHECK(r->keys->held_count > 0 && book->held_count > 0);
    r->keys->held_count--;
    book->held_count--;
}

/* It waits in its lane from now on. */
static void let_go(struct readout *r, struct lease_book *book, struct key_entry *e,
                   struct lease *lease)
{
    key_order_unhold(r, book, lease);
    lease_heap_add(&r->lanes[lease->lane].waiting, lease);
    lease_move(lease, LEASE_RELEASED);
    enter(e, lease, LEASE_RELEASED);
    add_news(r, book);
}

static bool may_hold(const struct key_order *ko, const struct lease_book *book)
{
    return ko->held_count < HELD_PER_READOUT_MAX && book->held_count < HELD_MAX;
}

/* One message of the key at a time: lets the next one go, or takes back one that was let go, if it
 * was overtaken before its turn came. */
static void keep_order(struct readout *r, struct lease_book *book, struct key_entry *e)
{
    struct lease *waiting = e->waiting;
    const bool overtaken = e->out_count > 0 || (waiting != NULL && e->held.count > 0 &&
                                                lease_comes_before(e->held.items[0], waiting));
    if (waiting != NULL && is_untouched(waiting) && overtaken && may_hold(r->keys, book)) {
        lease_heap_remove(&r->lanes[waiting->lane].waiting, waiting);
        key_order_hold(r, book, waiting);
    }
    if (e->out_count == 0 && e->waiting_count == 0 && e->held.count > 0)
        let_go(r, book, e, e->held.items[0]);
}

/* After its counts changed; the entry may be gone afterwards. */
static void settle_entry(struct readout *r, struct lease_book *book, struct key_entry *e)
{
    if (r->keys->rule == KEY_RULE_ORDERED)
        keep_order(r, book, e);
    while (r->keys->rule == KEY_RULE_HANDOVER && e->foreign_count == 0 && e->held.count > 0)
        let_go(r, book, e, e->held.items[0]);
    if (e->out_count == 0 && e->waiting_count == 0 && e->held.count == 0)
        remove_entry(r->keys, e);
}

/* Under "handover" only what is foreign holds others back; the rest is asked for in its turn. */
static bool is_needed(const struct key_order *ko, const struct lease *lease)
{
    return lease->key == KEY_UNKNOWN && (ko->rule == KEY_RULE_ORDERED || lease->foreign);
}

static void count_lease(struct key_order *ko, struct lease *lease)
{
    if (is_needed(ko, lease))
        (void)offset_set_add(&ko->unknown, lease->offset);
    if (!is_key(lease->key))
        return;
    struct key_entry *e = need_entry(ko, lease->key);
    enter(e, lease, lease->state);
    if (lease->foreign && ko->rule == KEY_RULE_HANDOVER)
        enter_foreign(e, lease);
}

static void begin(struct readout *r, struct lease_book *book, enum key_rule rule)
{
    struct key_order *ko = new_zero(struct key_order);
    ko->rule = rule;
    map_init(&ko->entries);
    offset_set_init(&ko->unknown);
    for (uint32_t i = 0; i < r->leases.capacity; i++)
        if (r->leases.slots[i] != NULL)
            count_lease(ko, r->leases.slots[i]);
    r->keys = ko;
    book->keyed_count++;
}

static void window_clear(struct key_window *w)
{
    free(w->keys);
    *w = (struct key_window){0};
}

static void end(struct readout *r, struct lease_book *book)
{
    struct key_order *ko = r->keys;
    for (uint32_t i = 0; i < r->leases.capacity; i++) {
        struct lease *lease = r->leases.slots[i];
        if (lease != NULL && lease->state == LEASE_HELD)
            let_go(r, book, map_find_number(&ko->entries, lease->key), lease);
    }
    for (uint32_t i = 0; i < r->leases.capacity; i++) {
        const struct lease *lease = r->leases.slots[i];
        struct key_entry *e =
            lease == NULL || !is_key(lease->key) ? NULL : map_find_number(&ko->entries, lease->key);
        if (e != NULL)
            remove_entry(ko, e);
    }
    CHECK(ko->entries.count == 0 && ko->held_count == 0);
    map_fini(&ko->entries);
    offset_set_fini(&ko->unknown);
    for (unsigned i = 0; i < KEY_WINDOW_COUNT; i++)
        window_clear(&ko->windows[i]);
    free(ko);
    r->keys = NULL;
    book->keyed_count--;
    add_news(r, book); /* whatever stopped a lane, it does so no more */
}

static enum key_rule rule_of(const struct readout *r)
{
    if (r->gp->group->ordering == ORDERING_KEY)
        return KEY_RULE_ORDERED;
    return r->foreign_count > 0 ? KEY_RULE_HANDOVER : KEY_RULE_NONE;
}

void key_order_update(struct readout *r, struct lease_book *book)
{
    const enum key_rule rule = rule_of(r);
    if (rule == (r->keys == NULL ? KEY_RULE_NONE : r->keys->rule))
        return;
    if (r->keys != NULL)
        end(r, book);
    if (rule != KEY_RULE_NONE)
        begin(r, book, rule);
}

void key_order_hand_over(struct readout *r, struct lease_book *book,
                         const struct lease_holder *owner)
{
    if (r->keys != NULL && r->keys->rule == KEY_RULE_HANDOVER)
        end(r, book); /* the counts of its entries are not right any more */
    r->foreign_count = 0;
    for (uint32_t i = 0; i < r->leases.capacity; i++) {
        struct lease *lease = r->leases.slots[i];
        if (lease == NULL)
            continue;
        lease->foreign = lease_in_flight(lease) && lease->holder != owner;
        r->foreign_count += lease->foreign ? 1 : 0;
    }
    key_order_update(r, book);
}

void key_order_free(struct readout *r, struct lease_book *book)
{
    if (r->keys != NULL)
        end(r, book);
    if (list_linked(&r->key_news))
        list_remove(&r->key_news);
}

/* The lease's key is not known, or it is no lease any more. */
static void update_unknown(struct readout *r, struct lease_book *book, const struct lease *lease)
{
    struct key_order *ko = r->keys;
    if (lease->state != LEASE_FREE && is_needed(ko, lease))
        (void)offset_set_add(&ko->unknown, lease->offset);
    else if (offset_set_remove(&ko->unknown, lease->offset) && offset_set_is_empty(&ko->unknown))
        add_news(r, book); /* nothing came from any lane so far */
}

void key_order_moved(struct readout *r, struct lease_book *book, struct lease *lease,
                     enum lease_state before)
{
    struct key_order *ko = r->keys;
    struct key_entry *e = is_key(lease->key) ? need_entry(ko, lease->key) : NULL;
    if (e != NULL) {
        quit(e, before);
        enter(e, lease, lease->state);
    }
    if (lease->foreign && !lease_in_flight(lease)) {
        lease->foreign = false;
        CHECK(r->foreign_count > 0);
        r->foreign_count--;
        if (e != NULL && ko->rule == KEY_RULE_HANDOVER)
            e->foreign_count--;
    }
    if (lease->key == KEY_UNKNOWN)
        update_unknown(r, book, lease);
    if (e != NULL)
        settle_entry(r, book, e);
    if (ko->stopped) {
        ko->stopped = false;
        add_news(r, book);
    }
    key_order_update(r, book);
}

static bool window_has(const struct key_window *w, uint64_t offset)
{
    return offset - w->from < w->count;
}

uint32_t key_order_find(const struct key_order *ko, uint64_t offset)
{
    for (unsigned i = 0; i < KEY_WINDOW_COUNT; i++)
        if (window_has(&ko->windows[i], offset))
            return ko->windows[i].keys[offset - ko->windows[i].from];
    return KEY_UNKNOWN;
}

static void set_key(struct key_order *ko, struct lease *lease, uint32_t key)
{
    CHECK(lease->key == KEY_UNKNOWN && lease->state != LEASE_HELD);
    (void)offset_set_remove(&ko->unknown, lease->offset);
    lease->key = key;
    count_lease(ko, lease);
}

/* There is no window with it: a job is to ask for it, unless one is under way. */
static enum key_verdict want(struct readout *r, struct lease_book *book, uint8_t window,
                             uint64_t from)
{
    struct key_order *ko = r->keys;
    if (ko->job_id != 0 || ko->wanted)
        return KEY_STOP;
    if (window < KEY_WINDOW_COUNT)
        window_clear(&ko->windows[window]); /* it was of no use */
    ko->wanted = true;
    ko->wanted_window = window;
    ko->wanted_from = from;
    add_news(r, book);
    return KEY_STOP;
}

static bool is_blocked(const struct key_order *ko, const struct key_candidate *next, uint32_t key)
{
    const struct key_entry *e = is_key(key) ? map_find_number(&ko->entries, key) : NULL;
    if (e == NULL)
        return false;
    if (ko->rule == KEY_RULE_HANDOVER)
        return e->foreign_count > 0 && next->offset > e->foreign_first;
    if (e->out_count > 0)
        return true;
    if (next->lease != NULL || e->waiting_count == 0)
        return false;
    const struct lease asks = {.lane = (uint8_t)next->lane, .offset = next->offset};
    return e->waiting == NULL || !is_untouched(e->waiting) ||
           !lease_comes_before(&asks, e->waiting);
}

enum key_verdict key_order_judge(struct readout *r, struct lease_book *book,
                                 const struct key_candidate *next)
{
    struct key_order *ko = r->keys;
    uint64_t needed = 0;
    if (offset_set_next(&ko->unknown, 0, &needed))
        return want(r, book, KEY_WINDOW_LEASES, needed);
    uint32_t key = next->lease != NULL ? next->lease->key : KEY_UNKNOWN;
    if (key == KEY_UNKNOWN) {
        key = key_order_find(ko, next->offset);
        if (key == KEY_UNKNOWN)
            return want(r, book, next->window, next->offset);
        if (next->lease != NULL)
            set_key(ko, next->lease, key);
    }
    if (!is_blocked(ko, next, key))
        return KEY_FREE;
    if (may_hold(ko, book))
        return KEY_HELD_BACK;
    ko->stopped = true;
    return KEY_FULL;
}

static void window_reserve(struct key_window *w, uint32_t count)
{
    if (count <= w->capacity)
        return;
    uint32_t capacity = w->capacity == 0 ? WINDOW_CAPACITY_MIN : w->capacity;
    while (capacity < count)
        capacity *= 2;
    w->keys = alloc_resize(w->keys, capacity, sizeof *w->keys);
    w->capacity = capacity;
}

/* What lies below the offset is of no use any more. */
static void window_drop_below(struct key_window *w, uint64_t offset)
{
    if (offset <= w->from)
        return;
    const uint64_t dropped = offset - w->from;
    const uint32_t left = dropped < w->count ? w->count - (uint32_t)dropped : 0;
    if (left > 0)
        memmove(w->keys, w->keys + dropped, left * sizeof *w->keys);
    w->from = offset;
    w->count = left;
}

static void window_add(struct key_window *w, struct span batch, const struct batch_header *header)
{
    struct record record = {0};
    const bool keys = (header->flags & BATCH_HAS_KEYS) != 0;
    size_t cursor = 0;
    uint32_t count = header->count;
    if (count > KEYS_PER_JOB_MAX - w->count)
        count = KEYS_PER_JOB_MAX - w->count;
    window_reserve(w, w->count + count);
    for (uint32_t i = 0; i < count && (!keys || batch_next(batch, &cursor, &record)); i++)
        w->keys[w->count++] = key_hash(record.key);
}

void key_order_append(struct readout *r, uint64_t base_offset, struct span batch)
{
    struct key_window *tail = &r->keys->windows[KEY_WINDOW_TAIL];
    struct key_window *normal = &r->keys->windows[PRIORITY_NORMAL];
    const uint64_t cursor = r->lanes[PRIORITY_NORMAL].cursor;
    struct batch_header header;
    if (batch_header_read(batch, &header) != ST_OK)
        return;
    if (tail->count == 0 || tail->from + tail->count != base_offset) {
        if (cursor < base_offset && normal->from + normal->count != base_offset)
            return; /* it does not keep up */
        tail->from = base_offset;
        tail->count = 0;
    }
    if (cursor >= tail->from + tail->count || tail->count + header.count > KEYS_PER_JOB_MAX)
        window_drop_below(tail, cursor < base_offset ? cursor : base_offset);
    if (cursor >= base_offset)
        window_clear(normal);
    window_add(tail, batch, &header);
}

void key_order_learn(struct readout *r, struct lease_book *book, struct keys_job *job)
{
    struct key_order *ko = r->keys;
    CHECK(ko->job_id == job->id && job->count > 0);
    ko->job_id = 0;
    for (uint32_t i = 0; i < job->count && r->leases.count > 0; i++) {
        struct lease *lease = readout_find(r, job->place.offset + i);
        if (lease != NULL && lease->key == KEY_UNKNOWN)
            set_key(ko, lease, job->keys[i]);
    }
    if (job->window < KEY_WINDOW_COUNT) {
        struct key_window *w = &ko->windows[job->window];
        window_clear(w);
        *w = (struct key_window){job->keys, job->place.offset, job->count, job->count};
        job->keys = NULL;
    }
    add_news(r, book);
}

static int by_key(const void *left, const void *right)
{
    const struct lease *a = *(const struct lease *const *)left;
    const struct lease *b = *(const struct lease *const *)right;
    return (a->key > b->key) - (a->key < b->key);
}

/* The leases are all there are of one key. */
static void check_entry(const struct key_order *ko, const struct lease **leases, uint32_t count)
{
    const struct key_entry *e = map_find_number(&ko->entries, leases[0]->key);
    CHECK(e != NULL);
    uint32_t out = 0, waiting = 0, held = 0, foreign = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct lease *lease = leases[i];
        out += is_out(lease->state) ? 1 : 0;
        waiting += is_waiting(lease->state) ? 1 : 0;
        held += lease->state == LEASE_HELD ? 1 : 0;
        foreign += lease->foreign ? 1 : 0;
        CHECK(lease->state != LEASE_HELD || e->held.items[lease->waiting_index] == lease);
        CHECK(e->waiting != lease || is_waiting(lease->state));
        CHECK(!lease->foreign || ko->rule != KEY_RULE_HANDOVER ||
              e->foreign_first <= lease->offset);
    }
    lease_heap_check(&e->held);
    CHECK(e->out_count == out && e->waiting_count == waiting && e->held.count == held);
    CHECK(e->foreign_count == (ko->rule == KEY_RULE_HANDOVER ? foreign : 0));
    CHECK(e->waiting == NULL || e->waiting_count == 1);
    if (ko->rule == KEY_RULE_HANDOVER)
        CHECK(held == 0 || foreign > 0);
    else
        CHECK(held == 0 || out + waiting > 0);
}

void key_order_check(const struct readout *r)
{
    const struct key_order *ko = r->keys;
    uint32_t count = 0, held = 0, foreign = 0, needed = 0;
    const struct lease **keyed = alloc_array((size_t)r->leases.count + 1, sizeof *keyed);
    for (uint32_t i = 0; i < r->leases.capacity; i++) {
        const struct lease *lease = r->leases.slots[i];
        if (lease == NULL)
            continue;
        held += lease->state == LEASE_HELD ? 1 : 0;
        foreign += lease->foreign ? 1 : 0;
        CHECK(!lease->foreign || lease_in_flight(lease));
        if (ko != NULL && is_needed(ko, lease)) {
            CHECK(offset_set_has(&ko->unknown, lease->offset));
            needed++;
        }
        if (is_key(lease->key))
            keyed[count++] = lease;
    }
    qsort(keyed, count, sizeof *keyed, by_key);
    uint32_t entries = 0;
    for (uint32_t first = 0, next = 0; ko != NULL && first < count; first = next, entries++) {
        while (next < count && keyed[next]->key == keyed[first]->key)
            next++;
        check_entry(ko, &keyed[first], next - first);
    }
    free(keyed);
    CHECK(foreign == r->foreign_count);
    CHECK(rule_of(r) == (ko == NULL ? KEY_RULE_NONE : ko->rule));
    CHECK(held == (ko == NULL ? 0 : ko->held_count));
    CHECK(ko == NULL || ko->entries.count == entries);
    CHECK(ko == NULL || offset_set_count(&ko->unknown) == needed);
    CHECK(ko == NULL || !ko->wanted || ko->job_id == 0);
}
