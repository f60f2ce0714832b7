/* When cooperative members have not let go of partitions in time, they are taken from them. */
#ifndef DELIVERY_REVOCATION_H
#define DELIVERY_REVOCATION_H

#include "delivery/delivery.h"
#include "delivery/wheel.h"

struct revocation_timer {
    struct wheel_node timer;
    struct group *group; /* borrowed: it has us in .revocation */
};

/* Sets the group's timer to the earliest time at which a partition is to be let go of, or takes it
 * off. */
void revocation_arm(struct delivery *d, struct group *group);
void revocation_timer_fired(struct delivery *d, struct revocation_timer *timer);
void revocation_forget(struct delivery *d, struct group *group); /* there may be none */

#endif
