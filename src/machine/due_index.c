#include "machine/due_index.h"

#include <stdlib.h>
#include <string.h>

#include "std/alloc.h"
#include "std/check.h"
#include "std/varint.h"

/* Where a full block finds room decides how full the blocks are in the long run. First it shares
 * with the emptier neighbour, half and half. Only between neighbours that are full too it is split
 * in two: whatever comes in ascending order at one place, be it in the middle (one delay of
 * several), then leaves blocks behind that are at least 15/16 full, where splitting two into three
 * would leave them 2/3 full. At the very end and the very start a full block is left alone and a
 * new one begun.
 *
 * A block's entries lie anywhere in its memory: the shorter side makes way for a new entry, closes
 * the gap of a removed one, and the front can be taken without moving the rest. */
enum {
    BLOCK_ITEMS = 512,
    ITEMS_MIN = 4,                     /* what the only block begins with; then it doubles */
    SHARE_ROOM = BLOCK_ITEMS / 16,     /* a neighbour with less room counts as full */
    MERGE_ITEMS = BLOCK_ITEMS / 4 * 3, /* two neighbours always hold more than this */
    PRIORITY_BITS = 3,
    SAVE_ITEMS = 64,                         /* encoded at a time */
    SAVE_SIZE_MAX = 2 * VARINT_SIZE_MAX + 1, /* of one entry */
    SAVE_SIZE_MIN = 3,
};

struct due_item {
    uint64_t key; /* due_us << PRIORITY_BITS | priority */
    uint64_t offset;
};

struct due_block {
    struct due_item low;    /* after all in the block before, not after any here; its priority is
                               noise; here, as the search would miss the cache in each block else */
    struct due_item *items; /* owned; the entries are start..start+count-1, never none */
    uint32_t start;
    uint32_t count;
};

_Static_assert(PRIORITY_COUNT <= 1 << PRIORITY_BITS, "a priority fits its bits");
_Static_assert(DUE_US_MAX <= INT64_MAX >> PRIORITY_BITS, "a time fits above the priority");
_Static_assert(sizeof(struct due_item) == 16, "what an entry costs");
_Static_assert(MERGE_ITEMS < BLOCK_ITEMS, "the halves of a split block do not merge again");

static struct due_item item_of(int64_t due_us, uint64_t offset, enum priority priority)
{
    CHECK(due_us >= 0);
    CHECK(due_us <= DUE_US_MAX);
    CHECK((unsigned)priority < PRIORITY_COUNT);
    return (struct due_item){.key = (uint64_t)due_us << PRIORITY_BITS | (unsigned)priority,
                             .offset = offset};
}

static int64_t item_due_us(struct due_item item)
{
    return (int64_t)(item.key >> PRIORITY_BITS);
}

static enum priority item_priority(struct due_item item)
{
    return (enum priority)(item.key & ((1U << PRIORITY_BITS) - 1));
}

static struct due_entry item_entry(struct due_item item)
{
    return (struct due_entry){
        .due_us = item_due_us(item), .offset = item.offset, .priority = item_priority(item)};
}

static bool item_before(struct due_item a, struct due_item b)
{
    uint64_t due_a = a.key >> PRIORITY_BITS, due_b = b.key >> PRIORITY_BITS;
    return due_a != due_b ? due_a < due_b : a.offset < b.offset;
}

static bool item_same(struct due_item a, struct due_item b)
{
    return a.key >> PRIORITY_BITS == b.key >> PRIORITY_BITS && a.offset == b.offset;
}

static struct due_block *block_at(const struct due_index *d, uint32_t i)
{
    return &d->blocks[d->block_first + i];
}

static struct due_item *block_items(const struct due_block *block)
{
    return block->items + block->start;
}

static struct due_item block_last(const struct due_block *block)
{
    return block_items(block)[block->count - 1];
}

/* Moves the entries inside the block's memory. */
static void block_shift(struct due_block *block, uint32_t start)
{
    memmove(block->items + start, block_items(block), block->count * sizeof *block->items);
    block->start = start;
}

/* Position of the first entry that is not before the item; count if all are. */
static uint32_t block_find(const struct due_block *block, struct due_item item)
{
    const struct due_item *items = block_items(block);
    uint32_t low = 0, end = block->count;
    while (low < end) {
        uint32_t middle = low + (end - low) / 2;
        if (item_before(items[middle], item))
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

/* The only block that may have the item. The first one's `low` is not looked at: whatever comes
 * before everything goes there. */
static uint32_t find_block(const struct due_index *d, struct due_item item)
{
    uint32_t low = 0, end = d->block_count;
    while (end - low > 1) {
        uint32_t middle = low + (end - low) / 2;
        if (item_before(item, block_at(d, middle)->low))
            end = middle;
        else
            low = middle;
    }
    return low;
}

static bool find_item(const struct due_index *d, struct due_item item, uint32_t *out_block,
                      uint32_t *out_position)
{
    if (d->count == 0)
        return false;
    *out_block = find_block(d, item);
    const struct due_block *block = block_at(d, *out_block);
    *out_position = block_find(block, item);
    return *out_position < block->count && item_same(block_items(block)[*out_position], item);
}

static void directory_resize(struct due_index *d, uint32_t capacity)
{
    d->block_capacity = capacity;
    d->blocks = alloc_resize(d->blocks, capacity, sizeof *d->blocks);
}

static void directory_to_start(struct due_index *d)
{
    CHECK(d->blocks != NULL);
    memmove(d->blocks, block_at(d, 0), d->block_count * sizeof *d->blocks);
    d->block_first = 0;
}

/* A new block, without entries yet, before block i. Pointers to blocks are dead afterwards. */
static struct due_block *block_insert(struct due_index *d, uint32_t i)
{
    if (d->block_count == 0)
        d->item_capacity = ITEMS_MIN;
    CHECK(d->block_count == 0 || d->item_capacity == BLOCK_ITEMS);
    if (i == 0 && d->block_first > 0) {
        d->block_first--;
    } else {
        if (d->block_first > d->block_capacity / 2)
            directory_to_start(d);
        else if (d->block_first + d->block_count == d->block_capacity)
            directory_resize(d, d->block_capacity == 0 ? 1 : d->block_capacity * 2);
        struct due_block *place = block_at(d, i);
        memmove(place + 1, place, (d->block_count - i) * sizeof *place);
    }
    d->block_count++;
    struct due_block *block = block_at(d, i);
    *block = (struct due_block){.items = alloc_bytes(d->item_capacity * sizeof *block->items)};
    return block;
}

/* One that has no entries any more. */
static void block_remove(struct due_index *d, uint32_t i)
{
    struct due_block *block = block_at(d, i);
    CHECK(block->count == 0);
    free(block->items);
    d->block_count--;
    if (i == 0)
        d->block_first++;
    else
        memmove(block, block + 1, (d->block_count - i) * sizeof *block);
    if (d->block_count == 0) {
        CHECK(d->count == 0);
        due_index_fini(d);
    } else if (d->block_count <= d->block_capacity / 4) {
        directory_to_start(d);
        directory_resize(d, d->block_capacity / 2);
    }
}

/* Moves the last n entries of block i to the start of the next one. */
static void move_up(struct due_index *d, uint32_t i, uint32_t n)
{
    struct due_block *from = block_at(d, i), *to = block_at(d, i + 1);
    CHECK(n <= from->count);
    CHECK(to->count + n <= BLOCK_ITEMS);
    if (to->start < n)
        block_shift(to, n + (BLOCK_ITEMS - to->count - n) / 2);
    from->count -= n;
    to->start -= n;
    to->count += n;
    memcpy(block_items(to), block_items(from) + from->count, n * sizeof *to->items);
    to->low = *block_items(to);
}

/* Moves the first n entries of block i + 1 to the end of block i. */
static void move_down(struct due_index *d, uint32_t i, uint32_t n)
{
    struct due_block *from = block_at(d, i + 1), *to = block_at(d, i);
    CHECK(n <= from->count);
    CHECK(to->count + n <= BLOCK_ITEMS);
    if (to->start + to->count + n > BLOCK_ITEMS)
        block_shift(to, (BLOCK_ITEMS - to->count - n) / 2);
    memcpy(block_items(to) + to->count, block_items(from), n * sizeof *to->items);
    to->count += n;
    from->start += n;
    from->count -= n;
    if (from->count > 0)
        from->low = *block_items(from);
}

/* Merges the blocks i and i + 1 if there are such and they are small enough. */
static void merge_pair(struct due_index *d, uint32_t i)
{
    if (i + 1 >= d->block_count)
        return;
    uint32_t left = block_at(d, i)->count, right = block_at(d, i + 1)->count;
    if (left + right > MERGE_ITEMS)
        return;
    if (left < right)
        move_up(d, i, left);
    else
        move_down(d, i, right);
    block_remove(d, left < right ? i : i + 1);
}

/* The only block's memory follows its count. */
static void fit_only_block(struct due_index *d)
{
    struct due_block *block = block_at(d, 0);
    uint32_t capacity = d->item_capacity;
    while (capacity > ITEMS_MIN && block->count <= capacity / 4)
        capacity /= 2;
    if (capacity == d->item_capacity)
        return;
    block_shift(block, 0);
    block->items = alloc_resize(block->items, capacity, sizeof *block->items);
    d->item_capacity = capacity;
}

/* After entries of block i went: gives back memory. */
static void settle(struct due_index *d, uint32_t i)
{
    if (block_at(d, i)->count == 0) {
        block_remove(d, i);
    } else {
        merge_pair(d, i);
        if (i > 0)
            merge_pair(d, i - 1);
    }
    if (d->block_count == 1)
        fit_only_block(d);
}

static uint32_t room_of(const struct due_index *d, uint32_t i)
{
    return i < d->block_count ? BLOCK_ITEMS - block_at(d, i)->count : 0;
}

/* Blocks i and i + 1, of which one is full, get the same number of entries. */
static void share(struct due_index *d, uint32_t i)
{
    uint32_t left = block_at(d, i)->count, right = block_at(d, i + 1)->count;
    if (left > right)
        move_up(d, i, (left - right) / 2);
    else
        move_down(d, i, (right - left) / 2);
    /* The full one may have been all that kept a tiny neighbour from being merged. */
    merge_pair(d, i + 1);
    if (i > 0)
        merge_pair(d, i - 1);
}

/* Block i is full. Afterwards it, and what may be new beside it, is not. */
static void make_room(struct due_index *d, uint32_t i)
{
    if (d->item_capacity < BLOCK_ITEMS) {
        struct due_block *only = block_at(d, 0);
        d->item_capacity *= 2;
        only->items = alloc_resize(only->items, d->item_capacity, sizeof *only->items);
        return;
    }
    uint32_t before = i > 0 ? room_of(d, i - 1) : 0, after = room_of(d, i + 1);
    if (before >= SHARE_ROOM || after >= SHARE_ROOM) {
        share(d, before > after ? i - 1 : i);
    } else {
        block_insert(d, i + 1);
        move_up(d, i, BLOCK_ITEMS / 2);
    }
}

/* Behind all others. */
static void append(struct due_index *d, struct due_item item)
{
    struct due_block *block = d->block_count > 0 ? block_at(d, d->block_count - 1) : NULL;
    if (block != NULL && block->start + block->count == d->item_capacity) {
        /* No room behind. Room in front is worth the move only if it lasts for a while. */
        if (block->count < d->item_capacity - d->item_capacity / 16)
            block_shift(block, 0);
        else if (d->item_capacity < BLOCK_ITEMS)
            make_room(d, 0);
        else
            block = NULL;
    }
    if (block == NULL) {
        block = block_insert(d, d->block_count);
        block->low = item;
    }
    block_items(block)[block->count++] = item;
    d->count++;
}

/* Before all others: a new first block. In descending order it fills without a move. */
static void prepend(struct due_index *d, struct due_item item)
{
    struct due_block *second = block_at(d, 0);
    second->low = *block_items(second);
    struct due_block *block = block_insert(d, 0);
    block->start = BLOCK_ITEMS - 1;
    block->count = 1;
    block->items[block->start] = item;
    d->count++;
}

/* Into a block that has room; the shorter side makes way, if it can. */
static void block_put(const struct due_index *d, struct due_block *block, uint32_t position,
                      struct due_item item)
{
    CHECK(block->count < d->item_capacity);
    bool room_behind = block->start + block->count < d->item_capacity;
    struct due_item *items = block_items(block);
    if (block->start > 0 && (position < block->count / 2 || !room_behind)) {
        memmove(items - 1, items, position * sizeof *items);
        block->start--;
        items--;
    } else {
        memmove(items + position + 1, items + position, (block->count - position) * sizeof *items);
    }
    items[position] = item;
    block->count++;
}

void due_index_init(struct due_index *d)
{
    *d = (struct due_index){0};
}

void due_index_fini(struct due_index *d)
{
    for (uint32_t i = 0; i < d->block_count; i++)
        free(block_at(d, i)->items);
    free(d->blocks);
    *d = (struct due_index){0};
}

bool due_index_add(struct due_index *d, const struct due_entry *entry)
{
    struct due_item item = item_of(entry->due_us, entry->offset, entry->priority);
    if (d->count == 0 || item_before(block_last(block_at(d, d->block_count - 1)), item)) {
        append(d, item);
        return true;
    }
    uint32_t i = 0, position = 0;
    if (find_item(d, item, &i, &position))
        return false;
    if (block_at(d, i)->count == BLOCK_ITEMS && i == 0 && position == 0) {
        prepend(d, item);
        return true;
    }
    if (block_at(d, i)->count == d->item_capacity) {
        make_room(d, i);
        (void)find_item(d, item, &i, &position);
    }
    block_put(d, block_at(d, i), position, item);
    d->count++;
    return true;
}

bool due_index_remove(struct due_index *d, int64_t due_us, uint64_t offset,
                      enum priority *out_priority)
{
    uint32_t i = 0, position = 0;
    if (!find_item(d, item_of(due_us, offset, PRIORITY_NORMAL), &i, &position))
        return false;
    struct due_block *block = block_at(d, i);
    struct due_item *items = block_items(block);
    *out_priority = item_priority(items[position]);
    if (position < block->count / 2) {
        memmove(items + 1, items, position * sizeof *items);
        block->start++;
    } else {
        memmove(items + position, items + position + 1,
                (block->count - position - 1) * sizeof *items);
    }
    block->count--;
    d->count--;
    settle(d, i);
    return true;
}

bool due_index_has(const struct due_index *d, int64_t due_us, uint64_t offset)
{
    uint32_t i = 0, position = 0;
    return find_item(d, item_of(due_us, offset, PRIORITY_NORMAL), &i, &position);
}

bool due_index_first(const struct due_index *d, struct due_entry *out)
{
    return due_index_list(d, 0, 1, out) == 1;
}

uint32_t due_index_take(struct due_index *d, int64_t until_us, uint32_t max, struct due_entry *out)
{
    uint32_t taken = 0;
    while (taken < max && d->block_count > 0) {
        struct due_block *block = block_at(d, 0);
        const struct due_item *items = block_items(block);
        uint32_t most = block->count < max - taken ? block->count : max - taken, n = 0;
        for (; n < most && item_due_us(items[n]) <= until_us; n++)
            out[taken + n] = item_entry(items[n]);
        taken += n;
        d->count -= n;
        block->start += n;
        block->count -= n;
        if (block->count > 0)
            break;
        block_remove(d, 0);
    }
    if (taken > 0 && d->block_count > 0)
        settle(d, 0);
    return taken;
}

uint32_t due_index_list(const struct due_index *d, uint64_t skip, uint32_t max,
                        struct due_entry *out)
{
    uint32_t listed = 0;
    for (uint32_t i = 0; i < d->block_count && listed < max; i++) {
        const struct due_block *block = block_at(d, i);
        if (skip >= block->count) {
            skip -= block->count;
            continue;
        }
        for (uint32_t k = (uint32_t)skip; k < block->count && listed < max; k++)
            out[listed++] = item_entry(block_items(block)[k]);
        skip = 0;
    }
    return listed;
}

uint64_t due_index_rank(const struct due_index *d, int64_t due_us)
{
    struct due_item item = item_of(due_us, 0, PRIORITY_CRITICAL);
    uint64_t rank = 0;
    if (d->count == 0)
        return 0;
    uint32_t last = find_block(d, item);
    for (uint32_t i = 0; i < last; i++)
        rank += block_at(d, i)->count;
    return rank + block_find(block_at(d, last), item);
}

uint64_t due_index_count(const struct due_index *d)
{
    return d->count;
}

uint64_t due_index_bytes(const struct due_index *d)
{
    return (uint64_t)d->block_count * d->item_capacity * sizeof(struct due_item) +
           (uint64_t)d->block_capacity * sizeof(struct due_block);
}

/* Encodes up to SAVE_ITEMS entries into one put: a call for each field would take most of the
 * time. */
static void save_items(const struct due_item *items, uint32_t count, struct due_item *last,
                       struct buf *out)
{
    uint8_t bytes[SAVE_ITEMS * SAVE_SIZE_MAX];
    size_t size = 0;
    for (uint32_t k = 0; k < count; k++) {
        uint64_t later_us = (uint64_t)(item_due_us(items[k]) - item_due_us(*last));
        size += varint_put(bytes + size, later_us);
        size += varint_put(bytes + size, zigzag_encode((int64_t)(items[k].offset - last->offset)));
        bytes[size++] = (uint8_t)item_priority(items[k]);
        *last = items[k];
    }
    buf_put(out, bytes, size);
}

void due_index_save(const struct due_index *d, struct buf *out)
{
    wire_put_varint(out, d->count);
    struct due_item last = {0};
    for (uint32_t i = 0; i < d->block_count; i++) {
        const struct due_block *block = block_at(d, i);
        for (uint32_t k = 0; k < block->count; k += SAVE_ITEMS) {
            uint32_t left = block->count - k;
            save_items(block_items(block) + k, left < SAVE_ITEMS ? left : SAVE_ITEMS, &last, out);
        }
    }
}

void due_index_load(struct due_index *d, struct wire_reader *in, uint64_t end)
{
    CHECK(d->count == 0);
    uint64_t left = wire_get_varint(in);
    wire_expect(in, left <= in->left.size / SAVE_SIZE_MIN);
    struct due_item last = {0};
    for (bool first = true; left > 0 && wire_ok(in); left--, first = false) {
        uint64_t later_us = wire_get_varint(in);
        uint64_t offset = last.offset + (uint64_t)zigzag_decode(wire_get_varint(in));
        uint8_t priority = wire_get_u8(in);
        wire_expect(in, later_us <= (uint64_t)(DUE_US_MAX - item_due_us(last)));
        wire_expect(in, first || later_us > 0 || offset > last.offset);
        wire_expect(in, offset < end && priority < PRIORITY_COUNT);
        if (!wire_ok(in))
            return;
        last = item_of(item_due_us(last) + (int64_t)later_us, offset, (enum priority)priority);
        append(d, last);
    }
}

void due_index_check(const struct due_index *d)
{
    if (d->count == 0) {
        CHECK(d->blocks == NULL);
        CHECK(d->block_count == 0 && d->block_capacity == 0);
        return;
    }
    CHECK(d->block_count > 0);
    CHECK(d->block_first + d->block_count <= d->block_capacity);
    CHECK(d->block_count > d->block_capacity / 4);
    CHECK(d->item_capacity == BLOCK_ITEMS || d->block_count == 1);
    uint64_t count = 0;
    for (uint32_t i = 0; i < d->block_count; i++) {
        const struct due_block *block = block_at(d, i);
        const struct due_item *items = block_items(block);
        CHECK(block->count > 0);
        CHECK(block->start + block->count <= d->item_capacity);
        if (i > 0) {
            const struct due_block *before = block_at(d, i - 1);
            CHECK(before->count + block->count > MERGE_ITEMS);
            CHECK(item_before(block_last(before), block->low));
            CHECK(!item_before(items[0], block->low));
        }
        for (uint32_t k = 0; k < block->count; k++) {
            CHECK(item_due_us(items[k]) <= DUE_US_MAX);
            CHECK(item_priority(items[k]) < PRIORITY_COUNT);
            CHECK(k == 0 || item_before(items[k - 1], items[k]));
        }
        count += block->count;
    }
    CHECK(count == d->count);
    CHECK(d->block_count > 1 || d->item_capacity == ITEMS_MIN || d->count > d->item_capacity / 4);
}
