/* What a delivery ends with when it is not an ack: nack, reject, its deadline; and another
 * deadline. The table of contract 4.3, columns nack, reject and visibility. */
#include <stdlib.h>

#include "delivery/readout.h"
#include "delivery/session.h"
#include "delivery/state.h"
#include "std/alloc.h"
#include "std/check.h"

bool lease_is_delivery(const struct delivery *d, const struct lease *lease,
                       const struct receipt *receipt)
{
    if (lease->id == receipt->lease_id)
        return true;
    /* Of an earlier run we know how many deliveries there were, not their ids. */
    return lease->id == 0 && lease->delivery_count == receipt->delivery_count &&
           !lease_id_is_ours(&d->leases, receipt->lease_id);
}

bool lease_is_open(const struct delivery *d, const struct lease *lease,
                   const struct receipt *receipt)
{
    return (lease->state == LEASE_LEASED || lease->state == LEASE_EXPIRED) &&
           lease_is_delivery(d, lease, receipt);
}

/* While an ack is on its way every receipt waits for it: soon the message counts as done. A dead
 * letter on its way can be forestalled by its own delivery's ack, and by no other. */
bool lease_may_be_acked(const struct delivery *d, const struct lease *lease,
                        const struct receipt *receipt)
{
    if (lease->state != LEASE_SETTLING)
        return lease_is_open(d, lease, receipt);
    return lease->settlement == SETTLEMENT_ACK ||
           (lease->settlement == SETTLEMENT_DEAD_LETTER && lease_is_delivery(d, lease, receipt));
}

struct lease *delivery_find_lease(struct delivery *d, struct readout *r,
                                  const struct receipt *receipt)
{
    struct lease *lease = readout_find(r, receipt->offset);
    /* One that waits for its key or its turn tells no more of earlier runs than none at all. */
    const bool untouched = lease != NULL && lease->id == 0 && lease->delivery_count == 0;
    if ((lease != NULL && !untouched) || lease_id_is_ours(&d->leases, receipt->lease_id) ||
        machine_find_resolved(d->machine, receipt->lease_id) != NULL ||
        partition_is_hidden(r->gp->partition, receipt->offset))
        return untouched ? NULL : lease; /* NULL: dropped when a commit went back, or resolved */
    /* A crash lost the note of this delivery, not the receipt. */
    const struct topic *topic = r->gp->partition->topic;
    return readout_adopt(r, &d->leases, receipt, d->now_us + topic->settings.visibility_us);
}

void session_touch_holder(struct delivery *d, const struct lease *lease,
                          const struct receipt *receipt)
{
    if (lease->holder != NULL && lease->id == receipt->lease_id)
        session_touch(d, session_of_holder(lease->holder));
}

uint32_t delivery_count_max(const struct lease *lease)
{
    return lease->deliveries_max > 0
               ? lease->deliveries_max
               : lease->readout->gp->partition->topic->settings.deliveries_max;
}

int64_t delivery_visibility_us(const struct lease *lease)
{
    return lease->visibility_us > 0 ? lease->visibility_us
                                    : lease->readout->gp->partition->topic->settings.visibility_us;
}

/* True, as all below that tell whether the request is answered. */
static bool answer(struct resolve_request *resolve, enum status st)
{
    resolve->status = st;
    return true;
}

/* A repeat of what was done in the last minutes gets the same answer, anything else a refusal. */
static bool answer_resolved(struct resolve_request *resolve, const struct resolved *before)
{
    bool nack = resolve->kind == RESOLVE_NACK, reject = resolve->kind == RESOLVE_REJECT;
    resolve->already =
        before->how == RESOLVED_REJECTED ? reject : nack; /* by the same operation? */
    resolve->dead = before->how != RESOLVED_NACKED;
    resolve->delivery_count = before->delivery_count;
    resolve->next_us = before->not_before_us;
    if (resolve->already)
        return answer(resolve, ST_OK);
    return answer(resolve, resolve->dead ? ST_MESSAGE_NOT_FOUND : ST_RECEIPT_EXPIRED);
}

static void describe_topic(struct resolve_request *resolve, const struct topic *topic)
{
    resolve->topic = arena_copy(resolve->arena, span_text(topic->name));
    resolve->dead_letter = (struct span){0};
    if (!topic_is_dead_letter(topic))
        resolve->dead_letter = topic_dead_letter_name(topic, resolve->arena);
}

static bool begin_nack(struct delivery *d, struct lease *lease, struct resolve_request *resolve)
{
    int64_t delay_us = resolve->delay_us >= 0 ? resolve->delay_us : delivery_visibility_us(lease);
    resolve->entry = (struct release_entry){
        .place = place_of(lease->readout->gp, lease->offset),
        .lease_id = resolve->receipt.lease_id,
        .delivery_count = lease->delivery_count,
        .kind = RELEASE_NACK,
        .not_before_us = d->now_us + delay_us,
        .first_us = lease->first_us,
        .reason = resolve->reason,
    };
    resolve->command = (struct command){.type = COMMAND_RELEASE,
                                        .release = {.entry_count = 1, .entries = &resolve->entry}};
    readout_settle(lease->readout, &d->leases, lease, SETTLEMENT_NACK);
    notes_flush(d); /* what was noted of the message is journalled before */
    return false;
}

static bool extend(struct delivery *d, struct lease *lease, struct resolve_request *resolve)
{
    resolve->next_us = d->now_us + resolve->delay_us;
    lease_extend(&d->leases, lease, resolve->next_us);
    notes_extended(d, lease, resolve->next_us);
    d->stats.extended_total++;
    return answer(resolve, ST_OK);
}

static bool begin_dead_letter(struct delivery *d, struct lease *lease,
                              enum dead_letter_reason reason, struct resolve_request *resolve)
{
    dead_letter_begin(d, lease, reason, resolve, resolve->reason);
    return false;
}

/* The lease is in the hands of a command already. A repeat of that very operation gets a command of
 * its own: the machine tells it, and both answer when it is durable. */
static bool resolve_settling(struct delivery *d, struct lease *lease,
                             struct resolve_request *resolve)
{
    enum dead_letter_reason reason =
        resolve->kind == RESOLVE_REJECT ? DEAD_LETTER_REJECTED : DEAD_LETTER_MAX_RETRIES;
    if (!lease_is_delivery(d, lease, &resolve->receipt))
        return answer(resolve, ST_RECEIPT_EXPIRED);
    if (lease->settlement == SETTLEMENT_TRANSACTION)
        return answer(resolve, ST_TRANSACTION_IN_PROGRESS);
    if (lease->settlement == SETTLEMENT_NACK)
        return resolve->kind == RESOLVE_NACK ? begin_nack(d, lease, resolve)
                                             : answer(resolve, ST_RECEIPT_EXPIRED);
    if (lease->settlement == SETTLEMENT_DEAD_LETTER && resolve->kind != RESOLVE_EXTEND)
        return begin_dead_letter(d, lease, reason, resolve);
    return answer(resolve, ST_MESSAGE_NOT_FOUND);
}

static bool resolve_open(struct delivery *d, struct lease *lease, struct resolve_request *resolve)
{
    resolve->delivery_count = lease->delivery_count;
    switch (resolve->kind) {
    case RESOLVE_NACK:
        return lease->delivery_count < delivery_count_max(lease)
                   ? begin_nack(d, lease, resolve)
                   : begin_dead_letter(d, lease, DEAD_LETTER_MAX_RETRIES, resolve);
    case RESOLVE_REJECT:
        return begin_dead_letter(d, lease, DEAD_LETTER_REJECTED, resolve);
    case RESOLVE_EXTEND:
        return lease->state == LEASE_LEASED ? extend(d, lease, resolve)
                                            : answer(resolve, ST_RECEIPT_EXPIRED); /* too late */
    }
    CHECK(false); /* all kinds are above */
    return true;
}

bool delivery_resolve_begin(struct delivery *d, struct resolve_request *resolve, int64_t now_us)
{
    delivery_set_now(d, now_us);
    const struct receipt *receipt = &resolve->receipt;
    resolve->command = (struct command){.type = COMMAND_RELEASE};
    resolve->already = false;
    resolve->dead = false;
    const struct delivery_place place = {receipt->group_id, receipt->topic_id, receipt->partition,
                                         receipt->offset};
    struct group_partition *gp = machine_find_place(d->machine, &place);
    if (gp == NULL)
        return answer(resolve, ST_MESSAGE_NOT_FOUND);
    describe_topic(resolve, gp->partition->topic);
    const struct resolved *before = machine_find_resolved(d->machine, receipt->lease_id);
    if (before != NULL)
        return answer_resolved(resolve, before);
    if (group_partition_is_done(gp, receipt->offset))
        return answer(resolve, ST_MESSAGE_NOT_FOUND);
    struct readout *r = readout_of(gp, &d->leases, d->now_us);
    struct lease *lease = delivery_find_lease(d, r, receipt);
    if (lease == NULL)
        return answer(resolve, ST_RECEIPT_EXPIRED);
    session_touch_holder(d, lease, receipt);
    if (lease->state == LEASE_SETTLING)
        return resolve_settling(d, lease, resolve);
    if (lease_is_open(d, lease, receipt))
        return resolve_open(d, lease, resolve);
    return answer(resolve, ST_RECEIPT_EXPIRED);
}

void delivery_resolve_end(struct delivery *d, struct resolve_request *resolve,
                          const struct result *result, int64_t now_us)
{
    delivery_set_now(d, now_us);
    CHECK(result->status != ST_OK || result->release.count == 1);
    struct released released = {.status = result->status};
    if (result->status == ST_OK)
        released = result->release.released[0];
    struct lease *lease = delivery_find_settling(d, &resolve->entry.place);
    if (lease != NULL) {
        struct readout *r = lease->readout;
        delivery_makes_room(d, lease);
        if (readout_settled(r, &d->leases, &lease) && lease != NULL) {
            if (released.status == ST_OK && released.not_before_us > d->now_us)
                readout_delay(r, &d->leases, lease, released.not_before_us);
            else
                readout_release(r, &d->leases, lease, true);
            waiting_wake_owner(d, r->gp);
        }
    }
    resolve->already = released.already;
    resolve->dead = released.dead;
    resolve->delivery_count = released.delivery_count;
    resolve->next_us = released.not_before_us;
    resolve->status = released.status;
}

/* Copies the text behind what was copied before. */
static struct span keep(uint8_t **at, struct span text)
{
    struct span kept = span_of(*at, text.size);
    if (text.size > 0)
        memcpy(*at, text.data, text.size);
    *at += text.size;
    return kept;
}

void dead_letter_begin(struct delivery *d, struct lease *lease, enum dead_letter_reason reason,
                       struct resolve_request *asked, struct span error)
{
    const struct group_partition *gp = lease->readout->gp;
    const struct session *s = session_of_holder(lease->holder);
    const struct retry *retry = group_partition_find_retry(gp, lease->offset);
    if (error.size == 0 && retry != NULL)
        error = span_of(retry->reason, retry->reason_size);
    struct span topic = span_text(gp->partition->topic->name);
    struct span group = span_text(gp->group->name);
    struct span member_id = {0};
    if (s != NULL)
        member_id = s->member->id;
    struct dead_letter_job *job =
        alloc_zero(sizeof *job + topic.size + group.size + member_id.size + error.size);
    uint8_t *at = (uint8_t *)(job + 1);
    job->place = place_of(gp, lease->offset);
    job->lease_id = asked != NULL ? asked->receipt.lease_id : lease->id;
    job->delivery_count = lease->delivery_count;
    job->reason = reason;
    job->topic = keep(&at, topic);
    job->group = keep(&at, group);
    job->member_id = keep(&at, member_id);
    job->error = keep(&at, error);
    job->first_us = lease->first_us;
    job->last_us = lease->last_us;
    job->drop = topic_is_dead_letter(gp->partition->topic);
    job->asked = asked;
    job->source = gp->partition;
    readout_settle(lease->readout, &d->leases, lease, SETTLEMENT_DEAD_LETTER);
    d->options.dead_letter(d->options.user, job);
}

/* The asker's answer: what became of the message may have been decided by somebody else. */
static void answer_dead_letter(const struct delivery *d, struct resolve_request *asked,
                               const struct dead_letter_job *job, const struct dead_lettered *dead)
{
    const struct resolved *how = machine_find_resolved(d->machine, job->lease_id);
    bool reject = asked->kind == RESOLVE_REJECT;
    bool ours = how != NULL && (how->how == RESOLVED_REJECTED) == reject;
    asked->already = dead->already;
    asked->dead = true;
    asked->status =
        dead->status == ST_OK && dead->already && !ours ? ST_MESSAGE_NOT_FOUND : dead->status;
    asked->done(asked);
}

void delivery_dead_letter_end(struct delivery *d, struct dead_letter_job *job,
                              const struct dead_lettered *dead, int64_t now_us)
{
    delivery_set_now(d, now_us);
    if (dead->status == ST_QUOTA_EXCEEDED)
        d->stats.dead_topic_errors_total++;
    else if (status_http(dead->status) >= 500)
        d->stats.dead_letter_errors_total++;
    struct lease *lease = delivery_find_settling(d, &job->place);
    if (lease != NULL) {
        struct readout *r = lease->readout;
        delivery_makes_room(d, lease);
        if (readout_settled(r, &d->leases, &lease) && lease != NULL)
            /* It could not be made: the delivery goes on, so that it is tried again later. */
            readout_resume(r, &d->leases, lease, d->now_us + delivery_visibility_us(lease));
    }
    if (job->asked != NULL)
        answer_dead_letter(d, job->asked, job, dead);
    free(job);
}
