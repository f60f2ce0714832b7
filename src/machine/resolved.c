#include "machine/resolved.h"

#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

struct resolved_node {
    struct resolved_node *next; /* newer */
    struct resolved resolved;
};

enum { RESOLVED_SIZE = 8 + 8 + 4 + 1 + 8 };

static void drop_oldest(struct resolved_book *book)
{
    struct resolved_node *node = book->oldest;
    CHECK(node != NULL);
    CHECK(book->count > 0);
    map_remove_number(&book->by_lease, node->resolved.lease_id);
    book->oldest = node->next;
    if (book->oldest == NULL)
        book->newest = NULL;
    book->count--;
    free(node);
}

void resolved_book_fini(struct resolved_book *book)
{
    while (book->count > 0)
        drop_oldest(book);
    map_fini(&book->by_lease);
}

void resolved_book_add(struct resolved_book *book, const struct resolved *resolved)
{
    CHECK(book->newest == NULL || book->newest->resolved.time_us <= resolved->time_us);
    while (book->count > 0 &&
           (book->count == RESOLVED_MAX ||
            resolved->time_us - book->oldest->resolved.time_us > RESOLVED_KEPT_US))
        drop_oldest(book);
    struct resolved_node *node = new_zero(struct resolved_node);
    node->resolved = *resolved;
    if (book->newest != NULL)
        book->newest->next = node;
    else
        book->oldest = node;
    book->newest = node;
    book->count++;
    map_put_number(&book->by_lease, resolved->lease_id, node);
}

const struct resolved *resolved_book_find(const struct resolved_book *book, uint64_t lease_id,
                                          int64_t now_us)
{
    const struct resolved_node *node =
        book->count == 0 ? NULL : map_find_number(&book->by_lease, lease_id);
    if (node == NULL || now_us - node->resolved.time_us > RESOLVED_KEPT_US)
        return NULL;
    return &node->resolved;
}

void resolved_book_save(const struct resolved_book *book, struct buf *out)
{
    wire_put_u32(out, book->count);
    for (const struct resolved_node *node = book->oldest; node != NULL; node = node->next) {
        const struct resolved *resolved = &node->resolved;
        wire_put_u64(out, resolved->lease_id);
        wire_put_i64(out, resolved->time_us);
        wire_put_u32(out, resolved->delivery_count);
        wire_put_u8(out, (uint8_t)resolved->how);
        wire_put_i64(out, resolved->not_before_us);
    }
}

void resolved_book_load(struct resolved_book *book, struct wire_reader *r, int64_t now_us)
{
    CHECK(book->count == 0);
    uint32_t count = wire_get_count(r, 0, RESOLVED_MAX, RESOLVED_SIZE);
    int64_t last_us = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct resolved resolved = {.lease_id = wire_get_u64(r)};
        resolved.time_us = wire_get_i64(r);
        resolved.delivery_count = wire_get_u32(r);
        uint8_t how = wire_get_u8(r);
        resolved.not_before_us = wire_get_i64(r);
        wire_expect(r, resolved.time_us >= last_us && resolved.time_us <= now_us);
        wire_expect(r, how <= RESOLVED_REJECTED && resolved.delivery_count >= 1);
        wire_expect(r, wire_ok(r) && map_find_number(&book->by_lease, resolved.lease_id) == NULL);
        /* An image that was saved has none that is too old beside newer ones. */
        wire_expect(r, !wire_ok(r) || book->count == 0 ||
                           resolved.time_us - book->oldest->resolved.time_us <= RESOLVED_KEPT_US);
        if (!wire_ok(r))
            return;
        last_us = resolved.time_us;
        resolved.how = how;
        resolved_book_add(book, &resolved);
    }
}
