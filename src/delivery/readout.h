/* Reading one partition out for one group: what was delivered and is not done, and what is next.
 *
 * A partition is read lane by lane. The next message of a lane is the lowest offset of three: what
 * waits for redelivery; what became visible behind the lane's cursor ("late": delayed messages);
 * and the first one at or behind the cursor that is neither done nor leased. Where keys matter it
 * may be held back (key_order.h): then it gets a lease that waits for its key.
 *
 * Invariants:
 *   - every visible message of a lane in [position, its cursor) that is retained is done, late, or
 *     has a lease here;
 *   - so at most one lease for an offset, and a message with a lease is never delivered twice at a
 *     time. */
#ifndef DELIVERY_READOUT_H
#define DELIVERY_READOUT_H

#include "delivery/delivery.h"
#include "delivery/key_order.h"
#include "delivery/lease.h"
#include "delivery/lease_heap.h"
#include "delivery/lease_table.h"
#include "machine/group.h"

struct lane {
    uint64_t cursor;           /* the first offset never looked at since it was set */
    struct offset_set late;    /* below the cursor */
    struct lease_heap waiting; /* EXPIRED and RELEASED */
};

struct readout {
    struct group_partition *gp; /* borrowed: it owns us */
    struct lane lanes[PRIORITY_COUNT];
    uint64_t rewound_index; /* gp's, when we last looked */
    struct lease_table leases;
    uint32_t in_flight; /* LEASED and SETTLING */
    uint32_t foreign_count;
    uint64_t owner_index;      /* gp->owner_index when we last looked */
    struct key_order *keys;    /* owned; NULL: keys do not matter */
    struct list_node key_news; /* on the book's list */
};

/* Made when there is none: with leases for what the machine knows to be in flight or waiting. */
struct readout *readout_of(struct group_partition *gp, struct lease_book *book, int64_t now_us);
/* Frees all its leases, whatever their state. Accepts NULL. */
void readout_free(struct readout *r, struct lease_book *book);

struct lease *readout_find(const struct readout *r, uint64_t offset); /* borrowed; NULL: none */
/* Is there a message to deliver in this lane? Moves the cursor over what is done or held back. */
bool readout_available(struct readout *r, struct lease_book *book, enum priority lane);
/* How many messages the topic's in_flight_max lets out beyond those that are. */
uint32_t readout_room(const struct readout *r);
/* Leases up to `max` messages of the lane, ascending. Gives: out[0..count). */
uint32_t readout_take(struct readout *r, struct lease_book *book, enum priority lane,
                      const struct lease_terms *terms, uint32_t max, struct delivered *out);

/* A command begins its way; the lease must be LEASED, SETTLING or EXPIRED. */
void readout_settle(struct readout *r, struct lease_book *book, struct lease *lease,
                    enum lease_settlement settlement);
/* The lease of a delivery from before a restart of which only the receipt tells: in flight, so that
 * the message is not handed out meanwhile. One that was never delivered in this run makes way. */
struct lease *readout_adopt(struct readout *r, struct lease_book *book,
                            const struct receipt *receipt, int64_t deadline_us);
/* One of its commands is applied. False: others are still under way. True: it was the last, and the
 * lease is gone if the message is done; else it is still SETTLING, without a command, and the
 * caller says at once what becomes of it, with one of the next three. */
bool readout_settled(struct readout *r, struct lease_book *book, struct lease **lease);
void readout_delay(struct readout *r, struct lease_book *book, struct lease *lease,
                   int64_t not_before_us);
void readout_resume(struct readout *r, struct lease_book *book, struct lease *lease,
                    int64_t deadline_us);
/* LEASED or SETTLING without a command; `counted`: whether that delivery counts. */
void readout_release(struct readout *r, struct lease_book *book, struct lease *lease, bool counted);
/* Its timer fired, and it is not for a dead letter: LEASED -> EXPIRED, DELAYED -> RELEASED. */
void readout_expire(struct readout *r, struct lease_book *book, struct lease *lease);
/* A message of the lane became visible. */
void readout_reveal(struct readout *r, uint64_t offset, enum priority lane);
/* The message is gone. */
void readout_lose(struct readout *r, struct lease_book *book, uint64_t offset);
/* The position was set by a commit, to and fro. */
void readout_moved(struct readout *r, struct lease_book *book);
/* Owner or ordering may be others now. `owner`: who has what the owner leased; NULL: there is none.
 */
void readout_regroup(struct readout *r, struct lease_book *book, const struct lease_holder *owner);
void readout_check(const struct readout *r);

#endif
