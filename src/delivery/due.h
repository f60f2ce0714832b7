/* Delayed messages: a timer for each partition that has some, which asks the machine, with a
 * DELAY_DUE command, to make visible what is due. */
#ifndef DELIVERY_DUE_H
#define DELIVERY_DUE_H

#include "delivery/delivery.h"
#include "delivery/wheel.h"

struct due_timer { /* a partition's `delivery` */
    struct wheel_node timer;
    struct partition *partition; /* borrowed: it owns us */
    bool submitted;              /* a DELAY_DUE is under way; the timer is off meanwhile */
};

/* Sets the partition's timer as its first pending message asks. */
void due_arm(struct delivery *d, struct partition *partition);
void due_timer_fired(struct delivery *d, struct due_timer *due);
/* The DELAY_DUE command was applied. */
void due_applied(struct delivery *d, const struct command_delay_due *cmd);
void due_forget(struct delivery *d, struct partition *partition);

#endif
