/* What the files of delivery share; nobody else includes this. */
#ifndef DELIVERY_STATE_H
#define DELIVERY_STATE_H

#include "delivery/delivery.h"
#include "delivery/joining.h"
#include "delivery/lease.h"
#include "delivery/waiting.h"
#include "delivery/wheel.h"

enum timer_kind { TIMER_LEASE = 1, TIMER_SESSION, TIMER_POLL, TIMER_JOIN };

struct delivery {
    struct machine *machine; /* borrowed */
    struct delivery_options options;
    struct wheel wheel;
    struct lease_book leases;
    struct joining joining;
    struct list_node ready;   /* sessions to be served */
    struct list_node orphans; /* parked polls whose member is gone */
    struct delivery_stats stats;
    int64_t now_us; /* the latest that was told */
    bool draining;
    struct delivered scratch[POLL_MESSAGES_MAX];
};

void delivery_set_now(struct delivery *d, int64_t now_us);
/* Has this member's own assignment changed since the generation it presents (-1: none)? An unknown
 * generation counts as changed. */
bool member_must_rebalance(const struct member *member, int64_t generation);

#endif
