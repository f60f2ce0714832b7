/* The leases of one lane that may be delivered again, lowest offset first. A binary heap; each
 * lease knows its place (waiting_index), so that any of them can be taken out. */
#ifndef DELIVERY_LEASE_HEAP_H
#define DELIVERY_LEASE_HEAP_H

#include "delivery/lease.h"

struct lease_heap { /* zeroed: empty; an empty one owns no memory */
    struct lease **items;
    uint32_t count;
    uint32_t capacity;
};

void lease_heap_add(struct lease_heap *h, struct lease *lease);
void lease_heap_remove(struct lease_heap *h, struct lease *lease); /* it is there */
void lease_heap_check(const struct lease_heap *h);

#endif
