/* The life of one message's delivery in one group, as a table of transitions.
 *
 * A lease exists from the first delivery of a message until the message is done. It lies in the
 * readout of its group's partition, which finds it by offset. Drawing: docs/delivery.md.
 *
 * Invariants, by state:
 *   LEASED    has a timer (the deadline) and a holder;
 *   SETTLING  no timer; acks > 0 commands for it are under way; a holder if a member had it;
 *   EXPIRED   no timer, no holder; waits in the readout; its last receipt may still ack;
 *   RELEASED  as EXPIRED, but its receipts are void (410). */
#ifndef DELIVERY_LEASE_H
#define DELIVERY_LEASE_H

#include "delivery/wheel.h"

enum lease_state {
    LEASE_FREE, /* in the pool, or just taken from it */
    LEASE_LEASED,
    LEASE_SETTLING,
    LEASE_EXPIRED,
    LEASE_RELEASED,
    LEASE_STATE_COUNT
};

/* Who has leases: embedded in a member's session. */
struct lease_holder {
    struct list_node leases;
    uint32_t count;
};

struct lease {
    struct wheel_node timer;     /* the deadline */
    struct list_node held;       /* on its holder's list */
    struct lease_holder *holder; /* borrowed; NULL: nobody */
    struct readout *readout;     /* borrowed: where it is found by offset */
    uint64_t offset;
    uint64_t id;             /* of the last delivery; what a receipt must show */
    uint32_t delivery_count; /* deliveries so far in this run of the broker */
    uint32_t waiting_index;  /* place in the readout's waiting heap; LEASE_NOT_WAITING: none */
    uint32_t acks;           /* commands under way that settle it */
    enum lease_state state;
};

#define LEASE_NOT_WAITING UINT32_MAX

/* All leases of a shard. Memory follows the largest number of leases there ever was at once and is
 * used again; no malloc a lease. */
struct lease_book {
    struct wheel *wheel; /* borrowed */
    struct lease_chunk *chunks;
    struct list_node free; /* by .held */
    uint64_t boot_id;
    uint64_t ids_given; /* ids of this run: boot_id .. boot_id + ids_given - 1, wrapping */
    uint64_t lease_count;
    uint64_t in_flight; /* LEASED and SETTLING */
    uint64_t expired_total;
    uint16_t timer_kind;
};

void lease_book_init(struct lease_book *book, struct wheel *wheel, uint16_t timer_kind,
                     uint64_t boot_id);
void lease_book_fini(struct lease_book *book); /* no lease may be left */

/* A lease in state FREE that nobody holds. */
struct lease *lease_new(struct lease_book *book, struct readout *readout, uint64_t offset);
/* Back into the pool; in state FREE. */
void lease_free(struct lease_book *book, struct lease *lease);
/* Was this id given in this run of the broker? */
bool lease_id_is_ours(const struct lease_book *book, uint64_t id);

/* The only way to change a state: aborts when the edge is not in the table, or when the lease does
 * not look as the new state demands. */
void lease_move(struct lease *lease, enum lease_state to);

/* FREE, EXPIRED, RELEASED -> LEASED: a delivery, with a new id and one more count. */
void lease_grant(struct lease_book *book, struct lease *lease, struct lease_holder *holder,
                 int64_t deadline_us);
/* -> SETTLING: an ack's command begins its way; again when it is SETTLING already. */
void lease_settle(struct lease_book *book, struct lease *lease);
/* Takes it from timer and holder: before a move to EXPIRED, RELEASED or FREE. */
void lease_let_go(struct lease_book *book, struct lease *lease);
/* SETTLING only: the member is gone, the ack goes on. */
void lease_forget_holder(struct lease *lease);
void lease_check(const struct lease *lease);

#endif
