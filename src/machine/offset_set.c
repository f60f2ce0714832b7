#include "machine/offset_set.h"

#include <roaring/roaring.h>
#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

#define BLOCK_SIZE (1ULL << 32) /* offsets that one bitmap covers */
enum { CHUNK_SHIFT = 16 };      /* offsets that one container of it covers, as a power of two */

struct offset_block {
    uint32_t high;
    roaring_bitmap_t *low; /* owned, never empty */
};

static uint32_t high_of(uint64_t offset)
{
    return (uint32_t)(offset >> 32);
}

static uint32_t low_of(uint64_t offset)
{
    return (uint32_t)offset;
}

void offset_set_init(struct offset_set *s)
{
    *s = (struct offset_set){0};
}

void offset_set_fini(struct offset_set *s)
{
    offset_set_clear(s);
}

void offset_set_clear(struct offset_set *s)
{
    for (uint32_t i = 0; i < s->block_count; i++)
        roaring_bitmap_free(s->blocks[i].low);
    free(s->blocks);
    *s = (struct offset_set){0};
}

void offset_set_copy(struct offset_set *to, const struct offset_set *from)
{
    CHECK(to->block_count == 0);
    if (from->block_count == 0)
        return;
    to->blocks = alloc_array(from->block_count, sizeof *to->blocks);
    to->block_count = from->block_count;
    for (uint32_t i = 0; i < from->block_count; i++) {
        roaring_bitmap_t *low = roaring_bitmap_copy(from->blocks[i].low);
        CHECK(low != NULL);
        to->blocks[i] = (struct offset_block){.high = from->blocks[i].high, .low = low};
    }
}

/* Index of the first block whose high half is at least `high`. */
static uint32_t lower_bound(const struct offset_set *s, uint32_t high)
{
    uint32_t low = 0, end = s->block_count;
    while (low < end) {
        uint32_t middle = low + (end - low) / 2;
        if (s->blocks[middle].high < high)
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

static roaring_bitmap_t *find_block(const struct offset_set *s, uint32_t high)
{
    uint32_t i = lower_bound(s, high);
    return i < s->block_count && s->blocks[i].high == high ? s->blocks[i].low : NULL;
}

static roaring_bitmap_t *need_block(struct offset_set *s, uint32_t high)
{
    uint32_t i = lower_bound(s, high);
    if (i < s->block_count && s->blocks[i].high == high)
        return s->blocks[i].low;
    s->blocks = alloc_resize(s->blocks, (size_t)s->block_count + 1, sizeof *s->blocks);
    memmove(&s->blocks[i + 1], &s->blocks[i], (s->block_count - i) * sizeof *s->blocks);
    s->block_count++;
    roaring_bitmap_t *low = roaring_bitmap_create();
    CHECK(low != NULL);
    s->blocks[i] = (struct offset_block){.high = high, .low = low};
    return low;
}

bool offset_set_add(struct offset_set *s, uint64_t offset)
{
    return roaring_bitmap_add_checked(need_block(s, high_of(offset)), low_of(offset));
}

bool offset_set_has(const struct offset_set *s, uint64_t offset)
{
    const roaring_bitmap_t *low = find_block(s, high_of(offset));
    return low != NULL && roaring_bitmap_contains(low, low_of(offset));
}

bool offset_set_remove(struct offset_set *s, uint64_t offset)
{
    uint32_t i = lower_bound(s, high_of(offset));
    if (i == s->block_count || s->blocks[i].high != high_of(offset) ||
        !roaring_bitmap_remove_checked(s->blocks[i].low, low_of(offset)))
        return false;
    if (!roaring_bitmap_is_empty(s->blocks[i].low))
        return true;
    roaring_bitmap_free(s->blocks[i].low);
    s->block_count--;
    memmove(&s->blocks[i], &s->blocks[i + 1], (s->block_count - i) * sizeof *s->blocks);
    if (s->block_count == 0)
        offset_set_clear(s);
    return true;
}

void offset_set_remove_below(struct offset_set *s, uint64_t offset)
{
    uint32_t dead = lower_bound(s, high_of(offset)); /* whole blocks below */
    if (dead < s->block_count && s->blocks[dead].high == high_of(offset) && low_of(offset) > 0) {
        roaring_bitmap_t *low = s->blocks[dead].low;
        roaring_bitmap_remove_range_closed(low, 0, low_of(offset) - 1);
        dead += roaring_bitmap_is_empty(low);
    }
    if (dead == 0)
        return;
    for (uint32_t i = 0; i < dead; i++)
        roaring_bitmap_free(s->blocks[i].low);
    s->block_count -= dead;
    memmove(s->blocks, s->blocks + dead, s->block_count * sizeof *s->blocks);
    if (s->block_count == 0)
        offset_set_clear(s);
}

bool offset_set_meets(const struct offset_set *a, const struct offset_set *b)
{
    for (uint32_t i = 0; i < a->block_count; i++) {
        const roaring_bitmap_t *other = find_block(b, a->blocks[i].high);
        if (other != NULL && roaring_bitmap_intersect(a->blocks[i].low, other))
            return true;
    }
    return false;
}

uint64_t offset_set_count(const struct offset_set *s)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < s->block_count; i++)
        count += roaring_bitmap_get_cardinality(s->blocks[i].low);
    return count;
}

uint64_t offset_set_count_common(const struct offset_set *a, const struct offset_set *b)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < a->block_count; i++) {
        const roaring_bitmap_t *other = find_block(b, a->blocks[i].high);
        if (other != NULL)
            count += roaring_bitmap_and_cardinality(a->blocks[i].low, other);
    }
    return count;
}

uint64_t offset_set_count_between(const struct offset_set *s, uint64_t start, uint64_t end)
{
    uint64_t count = 0;
    for (uint32_t i = lower_bound(s, high_of(start)); i < s->block_count; i++) {
        uint64_t base = (uint64_t)s->blocks[i].high << 32;
        if (base >= end)
            break;
        uint64_t from = start > base ? start - base : 0;
        uint64_t to = end - base < BLOCK_SIZE ? end - base : BLOCK_SIZE;
        count += roaring_bitmap_range_cardinality(s->blocks[i].low, from, to);
    }
    return count;
}

static bool is_full(const roaring_bitmap_t *low, uint64_t start, uint64_t end)
{
    /* Not roaring_bitmap_contains_range(): that of CRoaring 0.2.66 aborts where the range ends
     * behind the last container. */
    return roaring_bitmap_range_cardinality(low, start, end) == end - start;
}

/* How many members follow each other from `from` on, in this block. Doubling steps, then halving
 * ones, so that a long run costs the logarithm of its length. */
static uint64_t run_size(const roaring_bitmap_t *low, uint32_t from)
{
    const uint64_t most = BLOCK_SIZE - from;
    uint64_t size = 0, step = 1;
    while (size + step <= most && is_full(low, from + size, from + size + step)) {
        size += step;
        step *= 2;
    }
    for (; step > 0; step /= 2) {
        if (size + step <= most && is_full(low, from + size, from + size + step))
            size += step;
    }
    return size;
}

uint64_t offset_set_next_gap(const struct offset_set *s, uint64_t from)
{
    for (;;) {
        const roaring_bitmap_t *low = find_block(s, high_of(from));
        if (low == NULL || !roaring_bitmap_contains(low, low_of(from)))
            return from;
        from += run_size(low, low_of(from));
        if (low_of(from) != 0)
            return from; /* the run ended inside its block */
    }
}

bool offset_set_next(const struct offset_set *s, uint64_t from, uint64_t *out)
{
    uint32_t start = low_of(from);
    for (uint32_t i = lower_bound(s, high_of(from)); i < s->block_count; i++) {
        const struct offset_block *block = &s->blocks[i];
        if (block->high != high_of(from))
            start = 0;
        roaring_uint32_iterator_t it;
        roaring_init_iterator(block->low, &it);
        if (roaring_move_uint32_iterator_equalorlarger(&it, start)) {
            *out = (uint64_t)block->high << 32 | it.current_value;
            return true;
        }
    }
    return false;
}

static uint64_t run_count(const struct offset_set *s)
{
    uint64_t count = 0, at = 0;
    while (offset_set_next(s, at, &at)) {
        at = offset_set_next_gap(s, at);
        count++;
    }
    return count;
}

void offset_set_save(const struct offset_set *s, struct buf *out)
{
    wire_put_varint(out, run_count(s));
    uint64_t start = 0, end = 0;
    while (offset_set_next(s, end, &start)) {
        wire_put_varint(out, start - end);
        end = offset_set_next_gap(s, start);
        wire_put_varint(out, end - start - 1);
    }
}

void offset_set_add_run(struct offset_set *s, uint64_t start, uint64_t end)
{
    while (start < end) {
        uint64_t block_end = ((uint64_t)high_of(start) + 1) << 32;
        uint64_t stop = end < block_end ? end : block_end;
        roaring_bitmap_add_range_closed(need_block(s, high_of(start)), low_of(start),
                                        low_of(stop - 1));
        start = stop;
    }
}

void offset_set_load(struct offset_set *s, struct wire_reader *in, uint64_t end,
                     uint64_t *chunk_budget)
{
    CHECK(s->block_count == 0 && end <= INT64_MAX);
    uint64_t run_left = wire_get_varint(in);
    uint64_t last_end = 0, known_chunk = 0;
    for (bool first = true; run_left > 0 && wire_ok(in); run_left--, first = false) {
        uint64_t gap = wire_get_varint(in);
        uint64_t more = wire_get_varint(in);
        wire_expect(in, (first || gap > 0) && gap < end && more < end);
        wire_expect(in, wire_ok(in) && last_end < end - gap && more < end - gap - last_end);
        if (!wire_ok(in))
            return;
        uint64_t start = last_end + gap;
        last_end = start + more + 1;
        uint64_t last_chunk = (last_end - 1) >> CHUNK_SHIFT;
        uint64_t chunks = last_chunk + 1 - (start >> CHUNK_SHIFT);
        if (!first && start >> CHUNK_SHIFT == known_chunk)
            chunks--;
        known_chunk = last_chunk;
        wire_expect(in, chunks <= *chunk_budget);
        if (!wire_ok(in))
            return;
        *chunk_budget -= chunks;
        offset_set_add_run(s, start, last_end);
    }
}
