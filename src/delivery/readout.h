/* Reading one partition out for one group: what was delivered and is not done, and what is next.
 *
 * The next message is the lowest offset that waits for redelivery, else the first one at or behind
 * the cursor that is neither done nor leased. Leases are found by offset (a table whose size
 * follows their number); those that wait are also in a heap by offset.
 *
 * Invariants:
 *   - every message of [position, cursor) that is retained is done or has a lease here;
 *   - so at most one lease for an offset, and a message with a lease is never delivered twice at a
 *     time. */
#ifndef DELIVERY_READOUT_H
#define DELIVERY_READOUT_H

#include "delivery/delivery.h"
#include "delivery/lease.h"
#include "machine/group.h"

struct readout {
    struct group_partition *gp;   /* borrowed: it owns us */
    struct readout *reader_next;  /* the partition's list of readers */
    struct readout **reader_slot; /* what points at us */
    uint64_t cursor;              /* the first offset never looked at since it was set */
    uint64_t position_seen;       /* gp->position when we last looked */
    struct lease **table;         /* open addressing by offset; NULL: no lease yet */
    struct lease **waiting;       /* heap, lowest offset first */
    uint32_t table_capacity;      /* power of two, or 0 */
    uint32_t lease_count;
    uint32_t waiting_count;
    uint32_t waiting_capacity;
    uint32_t in_flight; /* LEASED and SETTLING */
};

struct readout *readout_of(struct group_partition *gp); /* made when there is none */
/* Frees all its leases, whatever their state. Accepts NULL. */
void readout_free(struct readout *r, struct lease_book *book);

struct lease *readout_find(const struct readout *r, uint64_t offset); /* borrowed; NULL: none */
/* Is there a message to deliver? Moves the cursor over what is done. */
bool readout_available(struct readout *r, struct lease_book *book);
/* Leases up to `max` messages, ascending. Gives: out[0..count). */
uint32_t readout_take(struct readout *r, struct lease_book *book, struct lease_holder *holder,
                      int64_t deadline_us, uint32_t max, struct delivered *out);

/* An ack's command begins its way; the lease must be LEASED, SETTLING or EXPIRED. */
void readout_settle(struct readout *r, struct lease_book *book, struct lease *lease);
/* The same for a receipt from before a restart: the message has no lease, and gets one so that it
 * is not handed out meanwhile. */
void readout_adopt(struct readout *r, struct lease_book *book, uint64_t offset, uint64_t id,
                   uint32_t delivery_count);
/* That command is applied. */
void readout_settled(struct readout *r, struct lease_book *book, struct lease *lease);
void readout_expire(struct readout *r, struct lease_book *book, struct lease *lease);
/* LEASED only; `counted`: whether that delivery counts. */
void readout_release(struct readout *r, struct lease_book *book, struct lease *lease, bool counted);
/* The position was set by a commit, to and fro. */
void readout_moved(struct readout *r, struct lease_book *book);
void readout_check(const struct readout *r);

#endif
