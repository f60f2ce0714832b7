/* Polls: served at once, or parked until a message comes, room is made, or their wait ends.
 *
 * Whatever may let a poll go on (an append, a redelivery, an ack at the in-flight limit, a
 * rebalance) puts the member's session on the ready queue; waiting_serve() empties it. A partition
 * has one owner, so an append wakes at most one member a group, and of its parked polls the oldest
 * goes first. An idle parked poll costs its struct poll_wait and no time. */
#ifndef DELIVERY_WAITING_H
#define DELIVERY_WAITING_H

#include "delivery/delivery.h"
#include "delivery/session.h"

enum {
    POLL_MESSAGES_MAX = 1000, /* a poll gets at most this many, whatever it asks for */
    PARKED_PER_MEMBER_MAX = 64,
    RUN_GAP_MAX = 1024, /* a run has no larger gap between two of its offsets */
};
#define POLL_FOR_KEYS_US                                                                           \
    (5LL * 1000 * 1000) /* a poll that is not to wait waits for keys so long                       \
                         */

struct poll_wait {
    struct poll_request *poll; /* borrowed until its done() */
    struct session *session;   /* borrowed; NULL: the member is gone */
    struct list_node link;     /* session's parked, or delivery's orphans */
    struct wheel_node timer;
    bool for_keys; /* it was not to wait, but nobody can tell yet whether there is something */
};

/* Answers the poll, or parks it. */
void waiting_poll(struct delivery *d, struct session *s, struct poll_request *poll);
/* Ends the parked polls whose clients are gone. */
void waiting_drop_vanished(struct delivery *d, struct session *s);
/* Something may be there for this member: looked at by the next waiting_serve(). */
void waiting_wake(struct delivery *d, struct session *s);
void waiting_wake_owner(struct delivery *d, const struct group_partition *gp);
/* Serves the sessions that were woken, and answers the polls of members that are gone. */
void waiting_serve(struct delivery *d);
/* A parked poll's time is over. */
void waiting_timer(struct delivery *d, struct poll_wait *wait);
/* The session ends: its polls are answered by the next waiting_serve(). */
void waiting_orphan(struct delivery *d, struct session *s);
void waiting_drain(struct delivery *d, struct session *s);

#endif
