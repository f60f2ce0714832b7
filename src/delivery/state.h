/* What the files of delivery share; nobody else includes this. */
#ifndef DELIVERY_STATE_H
#define DELIVERY_STATE_H

#include "delivery/delivery.h"
#include "delivery/joining.h"
#include "delivery/lease.h"
#include "delivery/notes.h"
#include "delivery/waiting.h"
#include "delivery/wheel.h"

enum timer_kind {
    TIMER_LEASE = 1,
    TIMER_SESSION,
    TIMER_POLL,
    TIMER_JOIN,
    TIMER_DUE,
    TIMER_REVOCATION,
    TIMER_TRANSACTION
};

struct delivery {
    struct machine *machine; /* borrowed */
    struct delivery_options options;
    struct wheel wheel;
    struct lease_book leases;
    struct joining joining;
    struct notes notes;
    struct list_node ready;   /* sessions to be served */
    struct list_node orphans; /* parked polls whose member is gone */
    struct delivery_stats stats;
    int64_t now_us; /* the latest that was told */
    bool draining;
    struct delivered scratch[POLL_MESSAGES_MAX];
};

void delivery_set_now(struct delivery *d, int64_t now_us);
/* Borrowed; NULL, with ST_GROUP_NOT_FOUND or ST_MEMBER_NOT_FOUND. */
struct member *delivery_find_member(const struct delivery *d, struct span group_name,
                                    struct span member_id, enum status *out_status);
/* The session that holds a message loses it, or the partition gets room: polls may go on. Called
 * before the lease is let go of. */
void delivery_makes_room(struct delivery *d, const struct lease *lease);
/* How many deliveries the message gets, and for how long each: as the member wants it that had it
 * last, else as its topic says. */
uint32_t delivery_count_max(const struct lease *lease);
int64_t delivery_visibility_us(const struct lease *lease);

/* settle.c: the lease there if commands that settle it are under way; else NULL. */
struct lease *delivery_find_settling(const struct delivery *d, const struct delivery_place *place);

/* resolve.c */

bool lease_may_be_acked(const struct delivery *d, const struct lease *lease,
                        const struct receipt *receipt);
/* Is it the receipt of the lease's last delivery? */
bool lease_is_delivery(const struct delivery *d, const struct lease *lease,
                       const struct receipt *receipt);
/* May the receipt still settle it, and nothing does so yet? */
bool lease_is_open(const struct delivery *d, const struct lease *lease,
                   const struct receipt *receipt);
/* The lease of the receipt's message; one is made for a delivery of an earlier run that only the
 * receipt tells of. NULL: the receipt is void. */
struct lease *delivery_find_lease(struct delivery *d, struct readout *r,
                                  const struct receipt *receipt);
/* A sign of life of the member that holds it, if this is its receipt. */
void session_touch_holder(struct delivery *d, const struct lease *lease,
                          const struct receipt *receipt);

/* Hands the lease's message over to be made a dead letter: SETTLING from now on. `asked` may be
 * NULL; `error` may be empty: then the last nack's is taken. */
void dead_letter_begin(struct delivery *d, struct lease *lease, enum dead_letter_reason reason,
                       struct resolve_request *asked, struct span error);

static inline struct delivery_place place_of(const struct group_partition *gp, uint64_t offset)
{
    return (struct delivery_place){.group_id = gp->group->id,
                                   .topic_id = gp->partition->topic->id,
                                   .partition = gp->partition->index,
                                   .offset = offset};
}

/* Has this member's own assignment changed since the generation it presents (-1: none)? An unknown
 * generation counts as changed. */
bool member_must_rebalance(const struct member *member, int64_t generation);

#endif
