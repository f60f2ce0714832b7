/* What time does to the picture: deadlines, sessions, join windows, delayed messages; and what a
 * restart leaves of it. */
#include <stdlib.h>

#include "std/check.h"
#include "tests/property/picture.h"

/* A timer is never early and fires with the tick of 1.024 ms that begins at its time or behind. */
bool picture_is_due(const struct picture *p, int64_t time_us)
{
    return p->world.now_us / 1024 >= (time_us + 1023) / 1024;
}

static void expire_fact(struct picture *p, uint32_t group, struct model_place at)
{
    struct fact *fact = picture_fact(p, group, at);
    if ((fact->state != LEASED && fact->state != DELAYED) || !picture_is_due(p, fact->due_us))
        return;
    if (fact->state == DELAYED) {
        fact->state = RELEASED;
        return;
    }
    p->stats.expired_total++;
    if (fact->count >= picture_deliveries_max(p, group, at)) {
        picture_expect_job(p, group, at, DEAD_LETTER_MAX_RETRIES, NULL);
        return;
    }
    fact->state = EXPIRED;
    fact->holder = 0;
}

static void expire_facts(struct picture *p)
{
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
        struct model_place at = {0};
        for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++) {
            const struct model_topic *t = &p->model.topics[at.topic];
            for (at.partition = 0; t->alive && at.partition < t->partition_count; at.partition++)
                for (at.offset = 0; at.offset < t->partitions[at.partition].next; at.offset++)
                    expire_fact(p, g, at);
        }
    }
}

static void ask(struct picture *p, struct asked asked)
{
    CHECK(p->asked_count < ASKED_MAX);
    p->asked[p->asked_count++] = asked;
}

static void run_sessions(struct picture *p)
{
    for (uint32_t i = 0; i < p->session_count; i++) {
        struct picture_session *s = &p->sessions[i];
        if (s->evicting || !picture_is_due(p, s->armed_us))
            continue;
        s->looked_us = p->world.now_us;
        if (p->world.connected && picture_parked(p, s->group, s->number) > 0)
            s->last_seen_us = p->world.now_us;
        int64_t ends_us = s->last_seen_us + picture_member(p, s->group, s->number)->session_us;
        if (ends_us > p->world.now_us) {
            s->armed_us = ends_us;
            continue;
        }
        s->evicting = true;
        p->stats.sessions_expired_total++;
        ask(p, (struct asked){.type = COMMAND_GROUP_LEAVE, .group = s->group, .number = s->number});
    }
}

static void run_windows(struct picture *p)
{
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
        struct window *window = &p->windows[g];
        if (!window->open || !picture_is_due(p, window->closes_us))
            continue;
        ask(p, (struct asked){.type = COMMAND_GROUP_JOIN, .group = g, .number = window->joiners});
        *window = (struct window){0};
    }
}

static void run_delays(struct picture *p)
{
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t i = 0; p->model.topics[t].alive && i < p->model.topics[t].partition_count;
             i++) {
            uint64_t offset;
            const struct model_message *first = model_first_pending(&p->model, t, i, &offset);
            if (first == NULL || p->due_asked[t][i] || !picture_is_due(p, first->due_us))
                continue;
            p->due_asked[t][i] = true;
            ask(p, (struct asked){.type = COMMAND_DELAY_DUE, .topic = t, .partition = i});
        }
    }
}

/* Partitions that are not let go of in time are taken. */
static void run_revocations(struct picture *p)
{
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
        bool late = false;
        for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
            for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++) {
                const struct model_progress *progress = &p->model.groups[g].progress[t][i];
                late |= progress->revoke_by_us > 0 && picture_is_due(p, progress->revoke_by_us);
            }
        }
        if (!late || p->revoke_asked[g])
            continue;
        p->revoke_asked[g] = true;
        ask(p, (struct asked){.type = COMMAND_GROUP_REVOKE, .group = g});
    }
}

/* Transactions that do not end in time are aborted. */
static void run_transactions(struct picture *p)
{
    for (uint32_t i = 0; i < p->model.transaction_count; i++) {
        const struct model_transaction *t = &p->model.transactions[i];
        if (t->state != TRANSACTION_ONGOING || p->end_asked[i] || !picture_is_due(p, t->expires_us))
            continue;
        p->end_asked[i] = true;
        ask(p, (struct asked){.type = COMMAND_TRANSACTION_END, .transaction = i + 1U});
    }
}

static bool is_asked(const struct picture *p, const struct asked *asked, const struct command *cmd)
{
    if (asked->type != cmd->type)
        return false;
    const struct span group = span_text(model_group_name(asked->group));
    if (cmd->type == COMMAND_GROUP_LEAVE)
        return span_equal(cmd->group_leave.group, group) &&
               cmd->group_leave.reason == LEAVE_SESSION_EXPIRED &&
               model_member_number(cmd->group_leave.member_id) == asked->number;
    if (cmd->type == COMMAND_GROUP_JOIN)
        return span_equal(cmd->group_join.group, group) &&
               cmd->group_join.joiner_count == asked->number;
    if (cmd->type == COMMAND_GROUP_REVOKE)
        return span_equal(cmd->group_revoke.group, group) && cmd->group_revoke.expired &&
               cmd->group_revoke.generation == -1;
    if (cmd->type == COMMAND_TRANSACTION_END)
        return cmd->transaction_end.how == TRANSACTION_EXPIRE &&
               cmd->transaction_end.number == asked->transaction;
    return cmd->delay_due.topic_id == p->model.topics[asked->topic].id &&
           cmd->delay_due.partition == asked->partition;
}

/* What was put into the journal behind the first `before`: what was to be expected and notes. */
static void check_asked(struct picture *p, uint32_t before)
{
    uint32_t index = 0;
    for (struct list_node *n = p->world.journal.next; n != &p->world.journal; n = n->next) {
        const struct command *cmd = &list_entry(n, struct world_entry, link)->cmd;
        if (index++ < before || cmd->type == COMMAND_LEASE || cmd->type == COMMAND_RELEASE)
            continue;
        uint32_t i = 0;
        while (i < p->asked_count && !is_asked(p, &p->asked[i], cmd))
            i++;
        CHECK(i < p->asked_count);
        p->asked[i] = p->asked[--p->asked_count];
    }
    CHECK(p->asked_count == 0);
}

void picture_pass(struct picture *p, int64_t us)
{
    p->world.now_us += us;
    expire_facts(p);
    run_sessions(p);
    run_windows(p);
    run_delays(p);
    run_revocations(p);
    run_transactions(p);
    uint32_t before = p->world.journal_count;
    p->moment = TIMERS;
    while (delivery_run_timers(p->world.delivery, p->world.now_us) <= p->world.now_us)
        ;
    p->moment = SERVING;
    world_serve(&p->world); /* keys that were asked for */
    p->moment = CALM;
    for (uint32_t i = 0; i < p->request_count; i++) /* nobody waits longer than it wants to */
        CHECK(p->requests[i]->done || !p->requests[i]->parked ||
              !picture_is_due(p, p->requests[i]->ends_us));
    check_asked(p, before);
    picture_match_jobs(p);
    picture_check_parked(p);
}

void picture_settle(struct picture *p)
{
    p->moment = SERVING;
    world_serve(&p->world);
    p->moment = CALM;
    picture_match_jobs(p);
    picture_check_parked(p);
}

/* What the machine knows of the message is what a new run begins with. */
static void restore_fact(struct picture *p, uint32_t group, struct model_place at)
{
    const struct model_progress *progress =
        &p->model.groups[group].progress[at.topic][at.partition];
    const struct model_retry *retry = &progress->retries[at.offset];
    struct fact *fact = picture_fact(p, group, at);
    if (model_is_done(&p->model, group, at) || (retry->count == 0 && !progress->out[at.offset]))
        return;
    if (retry->count > 0)
        *fact = (struct fact){
            .count = retry->count, .first_us = retry->first_us, .due_us = retry->not_before_us};
    else
        *fact = (struct fact){.count = 1, .due_us = progress->out_until_us};
    fact->state = LEASED;
    if (retry->count > 0 && retry->returned)
        fact->state = retry->not_before_us > p->world.now_us ? DELAYED : RELEASED;
    picture_inherit(p, group, at);
}

/* Acked in an open transaction: out, whatever else is known of it, and in that one's hands. */
static void restore_reserved(struct picture *p, uint32_t group, struct model_place at)
{
    if (p->model.groups[group].progress[at.topic][at.partition].reserved[at.offset] == 0 ||
        model_is_done(&p->model, group, at))
        return;
    struct fact *fact = picture_fact(p, group, at);
    if (fact->state != LEASED) {
        *fact = (struct fact){.count = 1, .doubtful = true};
        picture_inherit(p, group, at);
    }
    fact->kept_us = fact->due_us;
    fact->state = SETTLING;
    fact->by = BY_TRANSACTION;
    fact->commands = 1;
    fact->in_transaction = true;
}

static void restore_partition(struct picture *p, uint32_t group, struct model_place at)
{
    if (!p->model.groups[group].progress[at.topic][at.partition].known)
        return;
    for (; at.offset < p->model.topics[at.topic].partitions[at.partition].next; at.offset++) {
        restore_fact(p, group, at);
        restore_reserved(p, group, at);
    }
}

static void restore(struct picture *p)
{
    memset(p->facts, 0, sizeof p->facts);
    p->session_count = 0;
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
        struct model_place at = {0};
        for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++)
            for (at.partition = 0; at.partition < PICTURE_PARTITIONS; at.partition++)
                restore_partition(p, g, at);
        for (uint32_t i = 0; i < p->model.groups[g].member_count; i++) {
            const struct model_member *member = &p->model.groups[g].members[i];
            p->sessions[p->session_count++] =
                (struct picture_session){.group = g,
                                         .number = member->number,
                                         .last_seen_us = p->world.now_us,
                                         .armed_us = p->world.now_us + member->session_us};
        }
    }
    memset(p->due_asked, 0, sizeof p->due_asked);
    memset(p->end_asked, 0, sizeof p->end_asked);
    memset(p->revoke_asked, 0, sizeof p->revoke_asked);
    memset(p->windows, 0, sizeof p->windows);
    p->stats = (struct delivery_stats){0};
}

void picture_restart(struct picture *p, enum restart how, bool from_snapshot)
{
    while (how == RESTART_SHUTDOWN && p->world.journal_count > 0) {
        (void)world_apply(&p->world);
        picture_settle(p);
    }
    p->moment = DRAINING;
    delivery_drain(p->world.delivery);
    while (how == RESTART_SHUTDOWN && p->world.journal_count > 0) { /* what drain told of it */
        (void)world_apply(&p->world);
        delivery_settle(p->world.delivery, p->world.now_us);
    }
    world_stop(&p->world);
    p->moment = CALM;
    world_drop_journal(&p->world);
    picture_drop_jobs(p);
    p->under_way_count = 0;
    for (uint32_t i = 0; i < p->request_count; i++)
        p->requests[i]->done = true; /* nobody answers them any more */
    picture_end_requests(p);
    if (from_snapshot)
        world_reload(&p->world);
    p->boot_id += 1ULL << 40; /* no two runs share ids */
    p->last_lease_id = 0;
    world_start(&p->world, p->boot_id);
    restore(p);
}
