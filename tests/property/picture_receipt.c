/* What a receipt is good for: the table of contract 4.3, told from the picture. */
#include "std/check.h"
#include "tests/property/picture.h"

/* Does the receipt show the last delivery? Of one from before a restart only its number is known.
 */
static bool is_of(const struct picture *p, const struct fact *fact, const struct receipt *receipt)
{
    if (fact->lease_id == 0)
        return fact->count == receipt->delivery_count && !picture_is_ours(p, receipt->lease_id);
    return fact->lease_id == receipt->lease_id;
}

static bool is_open(const struct picture *p, const struct fact *fact, const struct receipt *receipt)
{
    return (fact->state == LEASED || fact->state == EXPIRED) && is_of(p, fact, receipt);
}

/* A delivery of an earlier run whose note a crash lost: the receipt tells of it. Not of this run:
 * then a commit went back. */
static bool adopt(struct picture *p, uint32_t group, struct model_place at,
                  const struct receipt *receipt)
{
    struct fact *fact = picture_fact(p, group, at);
    if (fact->state != FREE)
        return true;
    if (picture_is_ours(p, receipt->lease_id) || !model_is_visible(&p->model, at) ||
        model_find_resolved(&p->model, receipt->lease_id) != NULL)
        return false;
    *fact =
        (struct fact){.state = LEASED,
                      .lease_id = receipt->lease_id,
                      .count = receipt->delivery_count,
                      .due_us = p->world.now_us + p->model.topics[at.topic].settings.visibility_us,
                      .doubtful = true};
    picture_inherit(p, group, at);
    return true;
}

static void touch_holder(struct picture *p, uint32_t group, const struct fact *fact,
                         const struct receipt *receipt)
{
    if (fact->holder != 0 && fact->lease_id == receipt->lease_id)
        picture_touch(p, group, fact->holder);
}

static void settle(struct fact *fact, enum fact_by by)
{
    if (fact->state != SETTLING) {
        fact->kept_us = fact->state == LEASED ? fact->due_us : 0;
        fact->shortened = false;
    }
    fact->state = SETTLING;
    fact->by = by;
    fact->commands++;
}

enum verdict picture_ack(struct picture *p, const struct receipt *receipt, uint32_t group_id)
{
    uint32_t group;
    struct model_place at;
    if (receipt->group_id != group_id)
        return VERDICT_WRONG_GROUP;
    if (!picture_find(p, receipt, &group, &at))
        return VERDICT_MISSING;
    if (model_is_done(&p->model, group, at))
        return VERDICT_ALREADY;
    struct fact *fact = picture_fact(p, group, at);
    if (!adopt(p, group, at, receipt))
        return VERDICT_EXPIRED;
    if (fact->state == SETTLING && fact->by == BY_TRANSACTION && is_of(p, fact, receipt))
        return VERDICT_RESERVED;
    /* An ack under way makes it done for everybody; a dead letter is forestalled by its own only.
     */
    bool ending = fact->state == SETTLING &&
                  (fact->by == BY_ACK || (fact->by == BY_DEAD_LETTER && is_of(p, fact, receipt)));
    if (!ending && !is_open(p, fact, receipt))
        return VERDICT_EXPIRED;
    touch_holder(p, group, fact, receipt);
    settle(fact, BY_ACK);
    return VERDICT_COMMAND;
}

/* May the receipt's message be acked in a transaction, as far as delivery knows? */
static enum status judge_reservation(struct picture *p, const struct receipt *receipt)
{
    uint32_t group;
    struct model_place at;
    if (!picture_find(p, receipt, &group, &at) || model_is_done(&p->model, group, at))
        return ST_MESSAGE_NOT_FOUND;
    if (!adopt(p, group, at, receipt))
        return ST_RECEIPT_EXPIRED;
    const struct fact *fact = picture_fact(p, group, at);
    bool again = fact->state == SETTLING && fact->by == BY_TRANSACTION && is_of(p, fact, receipt);
    return again || is_open(p, fact, receipt) ? ST_OK : ST_RECEIPT_EXPIRED;
}

enum status picture_transaction_ack(struct picture *p, const struct receipt *receipts,
                                    uint32_t count, uint32_t *out_refused)
{
    for (*out_refused = 0; *out_refused < count; ++*out_refused) {
        enum status st = judge_reservation(p, &receipts[*out_refused]);
        if (st != ST_OK)
            return st;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t group;
        struct model_place at;
        CHECK(picture_find(p, &receipts[i], &group, &at));
        struct fact *fact = picture_fact(p, group, at);
        touch_holder(p, group, fact, &receipts[i]);
        settle(fact, BY_TRANSACTION);
    }
    return ST_OK;
}

static enum resolving answered(struct expected *out, enum status st)
{
    out->status = st;
    return RESOLVING_ANSWERED;
}

/* Nacked or rejected in the last ten minutes. */
static enum resolving repeat(const struct resolve_request *resolve,
                             const struct model_resolved *before, struct expected *out)
{
    bool rejected = before->how == RESOLVED_REJECTED;
    bool same = resolve->kind == (rejected ? RESOLVE_REJECT : RESOLVE_NACK);
    if (!same)
        return answered(out,
                        before->how == RESOLVED_NACKED ? ST_RECEIPT_EXPIRED : ST_MESSAGE_NOT_FOUND);
    out->already = true;
    out->dead = before->how != RESOLVED_NACKED;
    out->delivery_count = before->delivery_count;
    out->next_us = before->not_before_us;
    out->details = true;
    return answered(out, ST_OK);
}

static enum resolving nack(struct picture *p, struct fact *fact, uint32_t group,
                           struct model_place at, struct resolve_request *resolve,
                           struct expected *out)
{
    int64_t delay_us =
        resolve->delay_us >= 0 ? resolve->delay_us : picture_visibility_us(p, group, at);
    out->delivery_count = fact->count;
    out->next_us = p->world.now_us + delay_us;
    settle(fact, BY_NACK);
    return RESOLVING_COMMAND;
}

static enum resolving reject(struct picture *p, uint32_t group, struct model_place at,
                             enum dead_letter_reason reason, struct resolve_request *resolve)
{
    picture_expect_job(p, group, at, reason, resolve);
    return RESOLVING_JOB;
}

static enum resolving resolve_settling(struct picture *p, uint32_t group, struct model_place at,
                                       struct resolve_request *resolve, struct expected *out)
{
    struct fact *fact = picture_fact(p, group, at);
    if (!is_of(p, fact, &resolve->receipt))
        return answered(out, ST_RECEIPT_EXPIRED);
    if (fact->by == BY_TRANSACTION)
        return answered(out, ST_TRANSACTION_IN_PROGRESS);
    if (fact->by == BY_NACK && resolve->kind == RESOLVE_NACK)
        return nack(p, fact, group, at, resolve, out);
    if (fact->by == BY_NACK)
        return answered(out, ST_RECEIPT_EXPIRED);
    if (fact->by == BY_DEAD_LETTER && resolve->kind != RESOLVE_EXTEND)
        return reject(p, group, at,
                      resolve->kind == RESOLVE_REJECT ? DEAD_LETTER_REJECTED
                                                      : DEAD_LETTER_MAX_RETRIES,
                      resolve);
    return answered(out, ST_MESSAGE_NOT_FOUND);
}

static enum resolving resolve_open(struct picture *p, uint32_t group, struct model_place at,
                                   struct resolve_request *resolve, struct expected *out)
{
    struct fact *fact = picture_fact(p, group, at);
    out->delivery_count = fact->count;
    out->details = true;
    bool last = fact->count >= picture_deliveries_max(p, group, at);
    if (resolve->kind == RESOLVE_REJECT)
        return reject(p, group, at, DEAD_LETTER_REJECTED, resolve);
    if (resolve->kind == RESOLVE_NACK && last)
        return reject(p, group, at, DEAD_LETTER_MAX_RETRIES, resolve);
    if (resolve->kind == RESOLVE_NACK)
        return nack(p, fact, group, at, resolve, out);
    if (fact->state != LEASED)
        return answered(out, ST_RECEIPT_EXPIRED);
    fact->due_us = out->next_us = p->world.now_us + resolve->delay_us;
    fact->resumed = false; /* it is noted */
    fact->doubtful = false;
    p->stats.extended_total++;
    return answered(out, ST_OK);
}

enum resolving picture_resolve(struct picture *p, struct resolve_request *resolve,
                               struct expected *out)
{
    const struct receipt *receipt = &resolve->receipt;
    uint32_t group;
    struct model_place at;
    *out = (struct expected){0};
    if (!picture_find(p, receipt, &group, &at))
        return answered(out, ST_MESSAGE_NOT_FOUND);
    const struct model_resolved *before = model_find_resolved(&p->model, receipt->lease_id);
    if (before != NULL)
        return repeat(resolve, before, out);
    if (model_is_done(&p->model, group, at))
        return answered(out, ST_MESSAGE_NOT_FOUND);
    struct fact *fact = picture_fact(p, group, at);
    if (!adopt(p, group, at, receipt))
        return answered(out, ST_RECEIPT_EXPIRED);
    touch_holder(p, group, fact, receipt);
    if (fact->state == SETTLING)
        return resolve_settling(p, group, at, resolve, out);
    if (is_open(p, fact, receipt))
        return resolve_open(p, group, at, resolve, out);
    return answered(out, ST_RECEIPT_EXPIRED);
}

void picture_release(struct picture *p, const struct receipt *receipt)
{
    uint32_t group;
    struct model_place at;
    if (!picture_find(p, receipt, &group, &at))
        return;
    struct fact *fact = picture_fact(p, group, at);
    if (fact->state != LEASED || fact->lease_id != receipt->lease_id)
        return;
    fact->state = RELEASED; /* as if it had not been delivered */
    fact->count--;
    fact->holder = 0;
    fact->doubtful = false;
}

void picture_settled(struct picture *p, uint32_t group, struct model_place at, enum fact_by by,
                     int64_t not_before_us)
{
    struct fact *fact = picture_fact(p, group, at);
    if (fact->state != SETTLING)
        return; /* its topic or group has been another in between */
    CHECK(fact->commands > 0);
    if (--fact->commands > 0)
        return;
    if (model_is_done(&p->model, group, at)) {
        *fact = (struct fact){.doubtful = fact->doubtful};
        return;
    }
    if (by == BY_TRANSACTION) { /* it goes on as before */
        fact->state = LEASED;
        fact->due_us = fact->kept_us;
        fact->resumed |= fact->kept_us == 0 || fact->shortened;
        return;
    }
    if (by == BY_DEAD_LETTER) { /* it could not be made */
        fact->state = LEASED;
        fact->due_us = p->world.now_us + picture_visibility_us(p, group, at);
        fact->resumed = true;
        return;
    }
    fact->state = not_before_us > p->world.now_us ? DELAYED : RELEASED;
    fact->due_us = not_before_us;
    fact->holder = 0;
}
