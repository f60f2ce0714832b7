/* The life of one message's delivery in one group, as a table of transitions.
 *
 * A lease exists from the first delivery of a message until the message is done. It lies in the
 * readout of its group's partition, which finds it by offset. Drawing: docs/delivery.md.
 *
 * Invariants, by state:
 *   LEASED    has a timer (the deadline); a holder, unless it comes from an earlier run;
 *   SETTLING  no timer; commands > 0 that settle it are under way; a holder if a member had it;
 *   DELAYED   has a timer (not before); no holder; its receipts are void (410);
 *   EXPIRED   no timer, no holder; waits in its lane; its last receipt may still settle it;
 *   RELEASED  as EXPIRED, but its receipts are void;
 *   HELD      as RELEASED, but waits for its key, in that one's heap. */
#ifndef DELIVERY_LEASE_H
#define DELIVERY_LEASE_H

#include "command/record_batch.h"
#include "delivery/wheel.h"

enum lease_state {
    LEASE_FREE, /* in the pool, or just taken from it */
    LEASE_LEASED,
    LEASE_SETTLING,
    LEASE_DELAYED,
    LEASE_EXPIRED,
    LEASE_RELEASED,
    LEASE_HELD,
    LEASE_STATE_COUNT
};

/* What the commands under way make of a SETTLING one. */
enum lease_settlement {
    SETTLEMENT_ACK,
    SETTLEMENT_NACK,
    SETTLEMENT_DEAD_LETTER,
    SETTLEMENT_TRANSACTION, /* an ack that counts when its transaction is committed */
};

/* Who has leases: embedded in a member's session. */
struct lease_holder {
    struct list_node leases;
    uint32_t count;
    uint32_t deliveries_max; /* 0: each topic's own, as the next */
    int64_t visibility_us;
};

struct lease {
    struct wheel_node timer;     /* the deadline, or not before */
    struct list_node held;       /* on its holder's list */
    struct lease_holder *holder; /* borrowed; NULL: nobody */
    struct readout *readout;     /* borrowed: where it is found by offset */
    uint64_t offset;
    uint64_t id;      /* of the last delivery; what a receipt must show. 0: of an earlier run */
    int64_t first_us; /* when it was delivered first; 0: not yet, or not known */
    int64_t last_us;  /* when it was delivered last */
    int64_t visibility_us;   /* as the member wanted it that had it last; 0: the topic's */
    uint32_t deliveries_max; /* likewise */
    uint32_t delivery_count; /* deliveries that count */
    uint32_t waiting_index;  /* place in its lane's or key's heap; LEASE_NOT_WAITING: none */
    uint32_t commands;       /* under way that settle it */
    uint32_t key;            /* key_hash(); KEY_UNKNOWN: nobody needed it so far */
    uint8_t state;           /* enum lease_state */
    uint8_t settlement;      /* enum lease_settlement, of a SETTLING one */
    uint8_t lane;            /* enum priority */
    bool in_transaction;     /* one of the commands is its transaction's end */
    int64_t deadline_us;     /* of a SETTLING one: as it was before */
    bool foreign; /* in flight at somebody else than the partition's owner, since it moved */
};

/* To whom and until when a delivery is. */
struct lease_terms {
    struct lease_holder *holder;
    int64_t now_us;
    int64_t deadline_us;
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
    uint64_t retries_total; /* grants beyond a message's first */
    uint64_t held_count;    /* HELD */
    uint64_t keyed_count;   /* readouts that look at keys */
    uint64_t keys_jobs_total;
    struct list_node key_news; /* readouts: delivery is to wake the owner, or to ask for keys */
    uint16_t timer_kind;
};

void lease_book_init(struct lease_book *book, struct wheel *wheel, uint16_t timer_kind,
                     uint64_t boot_id);
void lease_book_fini(struct lease_book *book); /* no lease may be left */

/* A lease in state FREE that nobody holds. */
struct lease *lease_new(struct lease_book *book, struct readout *readout, uint64_t offset,
                        enum priority lane);
/* Back into the pool; in state FREE. */
void lease_free(struct lease_book *book, struct lease *lease);
/* Was this id given in this run of the broker? */
bool lease_id_is_ours(const struct lease_book *book, uint64_t id);

/* The only way to change a state: aborts when the edge is not in the table, or when the lease does
 * not look as the new state demands. */
void lease_move(struct lease *lease, enum lease_state to);

/* FREE, EXPIRED, RELEASED -> LEASED: a delivery, with a new id and one more count. */
void lease_grant(struct lease_book *book, struct lease *lease, struct lease_holder *holder,
                 int64_t now_us, int64_t deadline_us);
/* FREE, SETTLING -> LEASED without a holder: a delivery of an earlier run, or one whose settlement
 * failed. */
void lease_resume(struct lease_book *book, struct lease *lease, int64_t deadline_us);
/* FREE, SETTLING -> DELAYED. */
void lease_delay(struct lease_book *book, struct lease *lease, int64_t not_before_us);
/* LEASED only: another deadline. */
void lease_extend(struct lease_book *book, struct lease *lease, int64_t deadline_us);
/* -> SETTLING: a command begins its way; again when it is SETTLING already. */
void lease_settle(struct lease_book *book, struct lease *lease, enum lease_settlement settlement);
/* Takes it from timer and holder: before a move to EXPIRED, RELEASED, DELAYED or FREE. */
void lease_let_go(struct lease_book *book, struct lease *lease);
/* SETTLING only: the member is gone, the command goes on. */
void lease_forget_holder(struct lease *lease);
void lease_check(const struct lease *lease);

static inline bool lease_in_flight(const struct lease *lease)
{
    return lease->state == LEASE_LEASED || lease->state == LEASE_SETTLING;
}

#endif
