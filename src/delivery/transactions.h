/* Transactions while they are open: when their time is over, and who holds what they have acked. */
#ifndef DELIVERY_TRANSACTIONS_H
#define DELIVERY_TRANSACTIONS_H

#include "delivery/delivery.h"
#include "delivery/wheel.h"

struct transaction_timer {
    struct wheel_node timer;
    uint64_t number;
};

void transaction_resume(void *user, struct transaction *t); /* after a restart; user: delivery */
void transaction_forget(void *user, struct transaction *t); /* before delivery ends */
void transaction_timer_fired(struct delivery *d, struct transaction_timer *timer);

#endif
