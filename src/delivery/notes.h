/* What a restart must know of deliveries, gathered and journalled without anybody waiting: LEASE
 * commands for what was handed out, RELEASE commands for what came back without a client's asking.
 *
 * The order in which things happened is the order in which they are journalled. */
#ifndef DELIVERY_NOTES_H
#define DELIVERY_NOTES_H

#include "delivery/delivery.h"
#include "delivery/lease.h"

struct notes {                      /* zeroed: none; of leases or of releases, never both */
    struct lease_entry *leases;     /* owned */
    struct release_entry *releases; /* owned */
    uint64_t as_of_index;           /* what the machine had applied when they happened */
    uint32_t lease_count, lease_capacity;
    uint32_t release_count, release_capacity;
};

void notes_fini(struct notes *n);
/* Messages of one partition, ascending, were handed out. */
void notes_leased(struct delivery *d, const struct group_partition *gp,
                  const struct delivered *messages, uint32_t count, int64_t deadline_us);
/* A client moved the deadline. */
void notes_extended(struct delivery *d, const struct lease *lease, int64_t deadline_us);
/* It was given back, and nobody's command says so. */
void notes_released(struct delivery *d, const struct lease *lease);
/* Submits what was gathered. */
void notes_flush(struct delivery *d);

#endif
