#include "machine/idempotency.h"

#include <stdlib.h>
#include <string.h>

#include "std/alloc.h"
#include "std/check.h"

struct remembered {
    struct list_node by_age;
    uint8_t key[CONTENT_SIZE];
    int64_t time_us;
    uint32_t placement_count;
    uint32_t memo_size;
    struct placement placements[]; /* then the memo */
};

enum { REMEMBERED_SIZE_MIN = CONTENT_SIZE + 8 + 4 + 4, PLACEMENT_SIZE = 4 + 8, OVERHEAD = 64 };

static uint8_t *memo_of(struct remembered *known)
{
    return (uint8_t *)&known->placements[known->placement_count];
}

static size_t size_of(uint32_t placement_count, size_t memo_size)
{
    return sizeof(struct remembered) + placement_count * sizeof(struct placement) + memo_size;
}

void idempotency_book_init(struct idempotency_book *book)
{
    *book = (struct idempotency_book){0};
    list_init(&book->by_age);
}

static void drop_oldest(struct idempotency_book *book)
{
    struct remembered *oldest = list_entry(book->by_age.next, struct remembered, by_age);
    map_remove(&book->by_key, span_of(oldest->key, sizeof oldest->key));
    list_remove(&oldest->by_age);
    book->count--;
    book->size_bytes -= size_of(oldest->placement_count, oldest->memo_size) + OVERHEAD;
    free(oldest);
}

void idempotency_book_fini(struct idempotency_book *book)
{
    while (book->count > 0)
        drop_oldest(book);
    map_fini(&book->by_key);
}

bool idempotency_find(const struct idempotency_book *book, struct span key, int64_t now_us,
                      struct arena *arena, struct result_publish *out)
{
    struct remembered *known = map_find(&book->by_key, key);
    if (known == NULL || now_us - known->time_us > IDEMPOTENCY_KEPT_US)
        return false;
    *out = (struct result_publish){
        .count = known->placement_count,
        .time_us = known->time_us,
        .repeated = true,
        .memo = arena_copy(arena, span_of(memo_of(known), known->memo_size))};
    out->placements = arena_array(arena, out->count, sizeof *out->placements);
    memcpy(out->placements, known->placements, out->count * sizeof *out->placements);
    return true;
}

static void make_room(struct idempotency_book *book, size_t size, int64_t now_us)
{
    while (book->count > 0) {
        const struct remembered *oldest = list_entry(book->by_age.next, struct remembered, by_age);
        if (book->size_bytes + size <= IDEMPOTENCY_BYTES_MAX &&
            now_us - oldest->time_us <= IDEMPOTENCY_KEPT_US)
            return;
        drop_oldest(book);
    }
}

void idempotency_add(struct idempotency_book *book, struct span key, struct span memo,
                     const struct result_publish *result)
{
    CHECK(key.size == CONTENT_SIZE);
    size_t size = size_of(result->count, memo.size);
    make_room(book, size + OVERHEAD, result->time_us);
    struct remembered *known = alloc_zero(size);
    memcpy(known->key, key.data, sizeof known->key);
    known->time_us = result->time_us;
    known->placement_count = result->count;
    known->memo_size = (uint32_t)memo.size;
    memcpy(known->placements, result->placements, result->count * sizeof *result->placements);
    if (memo.size > 0)
        memcpy(memo_of(known), memo.data, memo.size);
    map_put(&book->by_key, span_of(known->key, sizeof known->key), known);
    list_push(&book->by_age, &known->by_age);
    book->count++;
    book->size_bytes += size + OVERHEAD;
}

void idempotency_book_save(const struct idempotency_book *book, struct buf *out)
{
    wire_put_u32(out, book->count);
    for (struct list_node *n = book->by_age.next; n != &book->by_age; n = n->next) {
        struct remembered *known = list_entry(n, struct remembered, by_age);
        buf_put_span(out, span_of(known->key, sizeof known->key));
        wire_put_i64(out, known->time_us);
        wire_put_u32(out, known->placement_count);
        for (uint32_t i = 0; i < known->placement_count; i++) {
            wire_put_u32(out, known->placements[i].partition);
            wire_put_u64(out, known->placements[i].base_offset);
        }
        wire_put_u32(out, known->memo_size);
        buf_put_span(out, span_of(memo_of(known), known->memo_size));
    }
}

static void load_one(struct idempotency_book *book, struct wire_reader *r, int64_t now_us,
                     struct placement *placements)
{
    struct span key = wire_get_bytes(r, CONTENT_SIZE);
    struct result_publish result = {.placements = placements, .time_us = wire_get_i64(r)};
    result.count = wire_get_count(r, 1, MESSAGES_PER_PUBLISH_MAX, PLACEMENT_SIZE);
    for (uint32_t i = 0; i < result.count; i++) {
        placements[i].partition = wire_get_u32(r);
        placements[i].base_offset = wire_get_u64(r);
    }
    struct span memo = wire_get_bytes(r, wire_get_u32(r));
    wire_expect(r, result.time_us <= now_us);
    if (book->count > 0) {
        const struct remembered *last = list_entry(book->by_age.prev, struct remembered, by_age);
        const struct remembered *first = list_entry(book->by_age.next, struct remembered, by_age);
        wire_expect(r, result.time_us >= last->time_us);
        /* An image that was saved has none that is too old beside newer ones. */
        wire_expect(r, result.time_us - first->time_us <= IDEMPOTENCY_KEPT_US);
    }
    wire_expect(r, wire_ok(r) && map_find(&book->by_key, key) == NULL);
    wire_expect(r, book->size_bytes + size_of(result.count, memo.size) + OVERHEAD <=
                       IDEMPOTENCY_BYTES_MAX);
    if (wire_ok(r))
        idempotency_add(book, key, memo, &result);
}

void idempotency_book_load(struct idempotency_book *book, struct wire_reader *r, int64_t now_us)
{
    CHECK(book->count == 0);
    uint32_t count = wire_get_count(r, 0, UINT32_MAX, REMEMBERED_SIZE_MIN);
    struct placement *placements = alloc_array(MESSAGES_PER_PUBLISH_MAX, sizeof *placements);
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_one(book, r, now_us, placements);
    free(placements);
}
