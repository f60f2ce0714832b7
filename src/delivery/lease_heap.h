/* Leases that wait for the same: to be delivered again, in one lane, or for one key. The highest
 * lane first, in it the lowest offset. A binary heap; each lease knows its place (waiting_index),
 * so that any of them can be taken out. */
#ifndef DELIVERY_LEASE_HEAP_H
#define DELIVERY_LEASE_HEAP_H

#include "delivery/lease.h"

struct lease_heap { /* zeroed: empty; an empty one owns no memory */
    struct lease **items;
    uint32_t count;
    uint32_t capacity;
};

/* The order of delivery. */
static inline bool lease_comes_before(const struct lease *a, const struct lease *b)
{
    return a->lane != b->lane ? a->lane < b->lane : a->offset < b->offset;
}

void lease_heap_add(struct lease_heap *h, struct lease *lease);
void lease_heap_remove(struct lease_heap *h, struct lease *lease); /* it is there */
void lease_heap_check(const struct lease_heap *h);

#endif
