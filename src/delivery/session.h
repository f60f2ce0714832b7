/* A member's session: whether it lives, what it holds, and which of its polls wait.
 *
 * A session begins when delivery hears of the member and ends with it (member_gone). A sign of life
 * only notes the time; the timer looks at it when it fires, so that an ack costs no timer work. A
 * parked poll keeps its member alive. */
#ifndef DELIVERY_SESSION_H
#define DELIVERY_SESSION_H

#include "delivery/lane_weights.h"
#include "delivery/lease.h"
#include "machine/group.h"

struct delivery;

struct session {
    struct lease_holder holder; /* first: a holder's session is at the same address */
    struct member *member;      /* borrowed: it owns us */
    struct wheel_node timer;
    struct list_node ready;  /* on delivery's queue of sessions to be served */
    struct list_node parked; /* poll_wait, oldest first */
    int64_t last_seen_us;
    uint32_t parked_count;
    /* Index of the assigned partition that is asked first next time, by priority mode and lane. */
    uint32_t turn[PRIORITY_MODE_COUNT][PRIORITY_COUNT];
    struct lane_weights weights; /* of its weighted topics */
    bool evicting;               /* its leave is on its way */
    uint64_t told_index; /* as of which command it was told what it has gained, by its join or a
                            cooperative heartbeat; 0: not yet */
};

struct session *session_of(struct delivery *d, struct member *member); /* made when there is none */
/* Frees it: what it held is released (410), its parked polls become orphans. Accepts NULL. */
void session_free(struct delivery *d, struct session *s);
void session_touch(struct delivery *d, struct session *s);
/* Its timer fired: still alive, or the member's leave is submitted, once. */
void session_timer(struct delivery *d, struct session *s);
/* How many more messages the member may hold. */
uint32_t session_room(const struct session *s);
void session_check(const struct session *s);

static inline struct session *session_of_holder(struct lease_holder *holder)
{
    return (struct session *)holder; /* NULL stays NULL */
}

#endif
