/* Acks, and messages given back by the API: from a receipt to the lease it names. */
#include "delivery/readout.h"
#include "delivery/session.h"
#include "delivery/state.h"
#include "std/check.h"

/* Receipts of a request are mostly of one partition: the last look-up is remembered. */
struct lookup {
    const struct group *group;
    struct group_partition *gp;
    uint32_t topic_id;
    uint32_t partition;
};

static struct group_partition *find_partition(struct lookup *last, uint32_t topic_id,
                                              uint32_t partition)
{
    if (last->group == NULL)
        return NULL;
    if (last->gp == NULL || last->topic_id != topic_id || last->partition != partition) {
        last->gp = group_find_partition(last->group, topic_id, partition);
        last->topic_id = topic_id;
        last->partition = partition;
    }
    return last->gp;
}

enum verdict {
    VERDICT_SETTLE,
    VERDICT_ALREADY,
    VERDICT_EXPIRED,
    VERDICT_RESERVED,
    VERDICT_UNKNOWN
};

/* The table of contract 4.3, column ack. Prepares the lease when the receipt is to settle. */
static enum verdict judge(struct delivery *d, struct group_partition *gp,
                          const struct receipt *receipt)
{
    if (receipt->offset >= gp->partition->next_offset)
        return VERDICT_UNKNOWN;
    if (group_partition_is_done(gp, receipt->offset))
        return VERDICT_ALREADY;
    struct readout *r = readout_of(gp, &d->leases, d->now_us);
    struct lease *lease = delivery_find_lease(d, r, receipt);
    if (lease == NULL)
        return VERDICT_EXPIRED;
    if (lease->state == LEASE_SETTLING && lease->settlement == SETTLEMENT_TRANSACTION &&
        lease_is_delivery(d, lease, receipt))
        return VERDICT_RESERVED;
    if (!lease_may_be_acked(d, lease, receipt))
        return VERDICT_EXPIRED;
    session_touch_holder(d, lease, receipt);
    readout_settle(r, &d->leases, lease, SETTLEMENT_ACK);
    return VERDICT_SETTLE;
}

static uint32_t in_flight_of(const struct group_partition *gp)
{
    const struct readout *r = gp->readout;
    return r == NULL ? 0 : r->in_flight;
}

static void begin_one(struct delivery *d, struct ack_request *ack, uint32_t i, struct lookup *last)
{
    const struct receipt *receipt = &ack->receipts[i];
    struct acked *acked = &ack->acked[i];
    struct command_ack *cmd = &ack->command.ack;
    acked->status = ST_MESSAGE_NOT_FOUND;
    if (receipt->group_id != cmd->group_id) {
        acked->status = ST_INVALID_ARGUMENT;
        return;
    }
    struct group_partition *gp = find_partition(last, receipt->topic_id, receipt->partition);
    if (gp == NULL)
        return;
    enum verdict verdict = judge(d, gp, receipt);
    if (verdict == VERDICT_SETTLE) {
        acked->status = ST_OK; /* the command's result comes here */
        cmd->entries[cmd->entry_count] = (struct ack_entry){.topic_id = receipt->topic_id,
                                                            .partition = receipt->partition,
                                                            .offset = receipt->offset};
        ack->entry_receipt[cmd->entry_count++] = i;
    } else if (verdict == VERDICT_ALREADY) {
        *acked = (struct acked){.status = ST_OK, .already = true, .committed = gp->position};
    } else if (verdict == VERDICT_EXPIRED) {
        acked->status = ST_RECEIPT_EXPIRED;
    } else if (verdict == VERDICT_RESERVED) {
        acked->status = ST_TRANSACTION_IN_PROGRESS;
    }
    ack->in_flight[i] = in_flight_of(gp);
}

void delivery_ack_begin(struct delivery *d, struct ack_request *ack, int64_t now_us)
{
    delivery_set_now(d, now_us);
    ack->acked = arena_array(ack->arena, ack->count, sizeof *ack->acked);
    ack->in_flight = arena_array(ack->arena, ack->count, sizeof *ack->in_flight);
    ack->entry_receipt = arena_array(ack->arena, ack->count, sizeof *ack->entry_receipt);
    ack->command = (struct command){.type = COMMAND_ACK};
    if (ack->count == 0)
        return;
    ack->command.ack.group_id = ack->receipts[0].group_id;
    ack->command.ack.entries = arena_array(ack->arena, ack->count, sizeof(struct ack_entry));
    struct lookup last = {.group = machine_group_by_id(d->machine, ack->receipts[0].group_id)};
    for (uint32_t i = 0; i < ack->count; i++)
        begin_one(d, ack, i, &last);
}

struct lease *delivery_find_settling(const struct delivery *d, const struct delivery_place *place)
{
    const struct group_partition *gp = machine_find_place(d->machine, place);
    struct lease *lease =
        gp == NULL || gp->readout == NULL ? NULL : readout_find(gp->readout, place->offset);
    return lease != NULL && lease->state == LEASE_SETTLING ? lease : NULL;
}

static void end_one(struct delivery *d, struct group_partition *gp, uint64_t offset)
{
    struct readout *r = gp->readout;
    struct lease *lease = r == NULL ? NULL : readout_find(r, offset);
    if (lease == NULL || lease->state != LEASE_SETTLING)
        return; /* the topic or group was deleted in between and is not the same any more */
    delivery_makes_room(d, lease);
    if (!readout_settled(r, &d->leases, &lease) || lease == NULL)
        return;
    /* A commit went back behind it after the ack, and the cursor may have passed it since. */
    readout_release(r, &d->leases, lease, true);
    notes_released(d, lease);
    waiting_wake_owner(d, gp);
}

void delivery_ack_end(struct delivery *d, struct ack_request *ack, const struct result *result,
                      int64_t now_us)
{
    delivery_set_now(d, now_us);
    const struct command_ack *cmd = &ack->command.ack;
    struct lookup last = {.group = machine_group_by_id(d->machine, cmd->group_id)};
    CHECK(result->status != ST_OK || result->ack.count == cmd->entry_count);
    for (uint32_t e = 0; e < cmd->entry_count; e++) {
        const struct ack_entry *entry = &cmd->entries[e];
        struct acked *acked = &ack->acked[ack->entry_receipt[e]];
        if (result->status == ST_OK)
            *acked = result->ack.acked[e];
        else
            acked->status = result->status;
        if (status_http(acked->status) == 404)
            acked->status = ST_MESSAGE_NOT_FOUND;
        struct group_partition *gp = find_partition(&last, entry->topic_id, entry->partition);
        if (gp == NULL)
            continue;
        end_one(d, gp, entry->offset);
        ack->in_flight[ack->entry_receipt[e]] = in_flight_of(gp);
    }
}

void delivery_release(struct delivery *d, const struct receipt *receipts, uint32_t count,
                      int64_t now_us)
{
    delivery_set_now(d, now_us);
    struct lookup last = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct receipt *receipt = &receipts[i];
        if (last.group == NULL || last.group->id != receipt->group_id)
            last = (struct lookup){.group = machine_group_by_id(d->machine, receipt->group_id)};
        struct group_partition *gp = find_partition(&last, receipt->topic_id, receipt->partition);
        struct readout *r = gp == NULL ? NULL : gp->readout;
        struct lease *lease = r == NULL ? NULL : readout_find(r, receipt->offset);
        if (lease == NULL || lease->state != LEASE_LEASED || lease->id != receipt->lease_id)
            continue;
        delivery_makes_room(d, lease);
        readout_release(r, &d->leases, lease, false);
        notes_released(d, lease);
        waiting_wake_owner(d, gp);
    }
    waiting_serve(d);
}
