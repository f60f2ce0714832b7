#include "delivery/transactions.h"

#include <stdlib.h>

#include "delivery/readout.h"
#include "delivery/session.h"
#include "delivery/state.h"
#include "machine/transaction.h"
#include "std/alloc.h"
#include "std/check.h"

/* The lease of the receipt's message, if the receipt may ack it. */
static enum status find_lease(struct delivery *d, const struct receipt *receipt,
                              struct lease **out_lease)
{
    const struct delivery_place place = {receipt->group_id, receipt->topic_id, receipt->partition,
                                         receipt->offset};
    struct group_partition *gp = machine_find_place(d->machine, &place);
    if (gp == NULL || group_partition_is_done(gp, receipt->offset))
        return ST_MESSAGE_NOT_FOUND;
    struct readout *r = readout_of(gp, &d->leases, d->now_us);
    struct lease *lease = delivery_find_lease(d, r, receipt);
    *out_lease = lease;
    if (lease == NULL)
        return ST_RECEIPT_EXPIRED;
    if (lease->state == LEASE_SETTLING)
        return lease->settlement == SETTLEMENT_TRANSACTION && lease_is_delivery(d, lease, receipt)
                   ? ST_OK /* whose transaction that is, the machine knows */
                   : ST_RECEIPT_EXPIRED;
    return lease_is_open(d, lease, receipt) ? ST_OK : ST_RECEIPT_EXPIRED;
}

static void settle(struct delivery *d, const struct receipt *receipt, struct lease *lease,
                   struct command_transaction_ack *cmd)
{
    session_touch_holder(d, lease, receipt);
    readout_settle(lease->readout, &d->leases, lease, SETTLEMENT_TRANSACTION);
    cmd->entries[cmd->entry_count++] = (struct ack_entry){
        .topic_id = receipt->topic_id, .partition = receipt->partition, .offset = receipt->offset};
}

bool delivery_transaction_ack_begin(struct delivery *d, struct transaction_ack_request *ack,
                                    int64_t now_us)
{
    delivery_set_now(d, now_us);
    CHECK(ack->count >= 1 && ack->count <= ACKS_PER_COMMAND_MAX);
    struct lease **leases = arena_array(ack->arena, ack->count, sizeof(struct lease *));
    for (ack->refused = 0; ack->refused < ack->count; ack->refused++) {
        ack->status = find_lease(d, &ack->receipts[ack->refused], &leases[ack->refused]);
        if (ack->status != ST_OK)
            return true;
    }
    ack->command = (struct command){.type = COMMAND_TRANSACTION_ACK};
    struct command_transaction_ack *cmd = &ack->command.transaction_ack;
    cmd->producer = ack->producer;
    cmd->group_id = ack->receipts[0].group_id;
    cmd->entries = arena_array(ack->arena, ack->count, sizeof *cmd->entries);
    for (uint32_t i = 0; i < ack->count; i++)
        settle(d, &ack->receipts[i], leases[i], cmd);
    notes_flush(d); /* what was noted of the messages is journalled before */
    return false;
}

/* A command is done with the lease. If it was the last and the message is not done, the delivery
 * goes on as before: the same receipt may be used again. */
static void let_go(struct delivery *d, struct lease *lease)
{
    struct readout *r = lease->readout;
    delivery_makes_room(d, lease);
    if (readout_settled(r, &d->leases, &lease) && lease != NULL)
        readout_resume(r, &d->leases, lease, lease->deadline_us);
}

void delivery_transaction_ack_end(struct delivery *d, struct transaction_ack_request *ack,
                                  const struct result *result, int64_t now_us)
{
    delivery_set_now(d, now_us);
    const struct command_transaction_ack *cmd = &ack->command.transaction_ack;
    ack->status = result->status;
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        const struct delivery_place place = {cmd->group_id, cmd->entries[i].topic_id,
                                             cmd->entries[i].partition, cmd->entries[i].offset};
        struct lease *lease = delivery_find_settling(d, &place);
        if (lease == NULL)
            continue; /* the topic or the group is gone */
        if (result->status == ST_OK && !lease->in_transaction)
            lease->in_transaction = true; /* till the end of that */
        else
            let_go(d, lease);
    }
}

void delivery_on_transaction_begun(struct delivery *d, struct transaction *t)
{
    struct transaction_timer *timer = new_zero(struct transaction_timer);
    timer->timer.kind = TIMER_TRANSACTION;
    timer->number = t->number;
    t->timer = timer;
    wheel_add(&d->wheel, &timer->timer, t->expires_us);
}

static void disarm(struct delivery *d, const struct transaction *t)
{
    struct transaction_timer *timer = t->timer;
    if (timer == NULL)
        return; /* of an earlier run, and delivery was not started */
    wheel_remove(&d->wheel, &timer->timer);
    free(timer);
}

void delivery_on_transaction_ended(struct delivery *d, const struct transaction *t)
{
    disarm(d, t);
    delivery_set_now(d, machine_time_us(d->machine));
    for (uint32_t i = 0; i < t->ack_count; i++) {
        struct lease *lease = delivery_find_settling(d, &t->acks[i].place);
        if (lease == NULL || !lease->in_transaction)
            continue;
        lease->in_transaction = false;
        let_go(d, lease);
    }
}

void transaction_resume(void *user, struct transaction *t)
{
    delivery_on_transaction_begun(user, t);
}

void transaction_forget(void *user, struct transaction *t)
{
    disarm(user, t);
    t->timer = NULL;
}

void transaction_timer_fired(struct delivery *d, struct transaction_timer *timer)
{
    const struct command cmd = {
        .type = COMMAND_TRANSACTION_END,
        .transaction_end = {.how = TRANSACTION_EXPIRE, .number = timer->number},
    };
    d->options.submit(d->options.user, &cmd);
}
