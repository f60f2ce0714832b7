#include "delivery/lease_heap.h"

#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

static void set(struct lease_heap *h, uint32_t index, struct lease *lease)
{
    h->items[index] = lease;
    lease->waiting_index = index;
}

static void up(struct lease_heap *h, uint32_t index, struct lease *lease)
{
    while (index > 0 && lease_comes_before(lease, h->items[(index - 1) / 2])) {
        set(h, index, h->items[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    set(h, index, lease);
}

static void down(struct lease_heap *h, uint32_t index, struct lease *lease)
{
    for (uint32_t child; (child = index * 2 + 1) < h->count; index = child) {
        if (child + 1 < h->count && lease_comes_before(h->items[child + 1], h->items[child]))
            child++;
        if (!lease_comes_before(h->items[child], lease))
            break;
        set(h, index, h->items[child]);
    }
    set(h, index, lease);
}

void lease_heap_add(struct lease_heap *h, struct lease *lease)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity == 0 ? 16 : h->capacity * 2;
        h->items = alloc_resize(h->items, h->capacity, sizeof(struct lease *));
    }
    up(h, h->count++, lease);
}

void lease_heap_remove(struct lease_heap *h, struct lease *lease)
{
    uint32_t index = lease->waiting_index;
    CHECK(index < h->count);
    CHECK(h->items[index] == lease);
    lease->waiting_index = LEASE_NOT_WAITING;
    struct lease *last = h->items[--h->count];
    if (last != lease) {
        if (index > 0 && lease_comes_before(last, h->items[(index - 1) / 2]))
            up(h, index, last);
        else
            down(h, index, last);
    }
    if (h->count == 0) {
        free(h->items);
        *h = (struct lease_heap){0};
    }
}

void lease_heap_check(const struct lease_heap *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        CHECK(h->items[i]->waiting_index == i);
        CHECK(i == 0 || lease_comes_before(h->items[(i - 1) / 2], h->items[i]));
    }
}
