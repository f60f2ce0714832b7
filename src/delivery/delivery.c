/* The door: wiring of sessions, readouts, waits and timers to requests and to the machine. */
#include "delivery/delivery.h"

#include <stdlib.h>

#include "delivery/due.h"
#include "delivery/readout.h"
#include "delivery/revocation.h"
#include "delivery/session.h"
#include "delivery/state.h"
#include "delivery/transactions.h"
#include "std/alloc.h"
#include "std/check.h"

enum { TIMERS_PER_RUN_MAX = 20000 }; /* some milliseconds of work; the rest follows */

static void each_member(struct delivery *d, void (*fn)(struct delivery *d, struct member *member));

struct delivery *delivery_new(struct machine *machine, const struct delivery_options *options)
{
    CHECK(options->submit != NULL);
    CHECK(options->connected != NULL);
    CHECK(options->read_keys != NULL);
    struct delivery *d = new_zero(struct delivery);
    d->machine = machine;
    d->options = *options;
    wheel_init(&d->wheel, 0);
    lease_book_init(&d->leases, &d->wheel, TIMER_LEASE, options->boot_id);
    joining_init(&d->joining);
    list_init(&d->ready);
    list_init(&d->orphans);
    return d;
}

static void forget_group(void *user, struct group *group)
{
    struct delivery *d = user;
    /* Leases first: a member that still held some would give them back. */
    for (uint32_t i = 0; i < group->partition_count; i++)
        readout_free(group->partitions[i]->readout, &d->leases);
    for (uint32_t i = 0; i < group->member_count; i++)
        session_free(d, group->members[i]->session);
    revocation_forget(d, group);
}

static void forget_topic(void *user, struct topic *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++)
        due_forget(user, topic->partitions[i]);
}

void delivery_free(struct delivery *d)
{
    if (d == NULL)
        return;
    CHECK(d->stats.parked_polls == 0);
    machine_each_group(d->machine, forget_group, d);
    machine_each_topic(d->machine, forget_topic, d);
    machine_each_transaction(d->machine, transaction_forget, d);
    joining_fini(d);
    notes_fini(&d->notes);
    lease_book_fini(&d->leases);
    CHECK(d->wheel.count == 0);
    free(d);
}

void delivery_set_now(struct delivery *d, int64_t now_us)
{
    if (now_us > d->now_us)
        d->now_us = now_us;
}

static void begin_session(struct delivery *d, struct member *member)
{
    session_touch(d, session_of(d, member));
}

/* What was in flight when the last run ended has its deadline still. */
static void resume_group(void *user, struct group *group)
{
    struct delivery *d = user;
    for (uint32_t i = 0; i < group->partition_count; i++) {
        struct group_partition *gp = group->partitions[i];
        if (gp->retry_count > 0 || !offset_set_is_empty(&gp->out) ||
            !offset_set_is_empty(&gp->reserved))
            (void)readout_of(gp, &d->leases, d->now_us);
    }
    revocation_arm(d, group);
}

static void resume_topic(void *user, struct topic *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++)
        due_arm(user, topic->partitions[i]);
}

void delivery_start(struct delivery *d, int64_t now_us)
{
    delivery_set_now(d, now_us);
    wheel_advance(&d->wheel, d->now_us);
    each_member(d, begin_session);
    machine_each_group(d->machine, resume_group, d);
    machine_each_topic(d->machine, resume_topic, d);
    machine_each_transaction(d->machine, transaction_resume, d);
}

struct member *delivery_find_member(const struct delivery *d, struct span group_name,
                                    struct span member_id, enum status *out_status)
{
    const struct group *group = machine_find_group(d->machine, group_name);
    struct member *member = group == NULL ? NULL : group_find_member(group, member_id);
    *out_status = group == NULL ? ST_GROUP_NOT_FOUND : member == NULL ? ST_MEMBER_NOT_FOUND : ST_OK;
    return member;
}

void delivery_poll(struct delivery *d, struct poll_request *poll, int64_t now_us)
{
    delivery_set_now(d, now_us);
    poll->runs = NULL;
    poll->run_count = 0;
    poll->current_generation = 0;
    poll->rebalance_required = false;
    poll->wait = NULL;
    struct member *member = delivery_find_member(d, poll->group, poll->member_id, &poll->status);
    if (member != NULL) {
        poll->current_generation = member->group->generation;
        if (poll->generation >= 0 && poll->generation != (int64_t)poll->current_generation)
            poll->status = ST_STALE_GENERATION;
    }
    if (poll->status != ST_OK) {
        poll->done(poll);
        return;
    }
    waiting_poll(d, session_of(d, member), poll);
}

void delivery_join(struct delivery *d, struct join_request *join, int64_t now_us)
{
    delivery_set_now(d, now_us);
    joining_join(d, join);
}

void delivery_touch(struct delivery *d, struct span group, struct span member_id, int64_t now_us)
{
    delivery_set_now(d, now_us);
    enum status st = ST_OK;
    struct member *member = delivery_find_member(d, group, member_id, &st);
    if (st == ST_OK)
        session_touch(d, session_of(d, member));
}

void delivery_on_append(struct delivery *d, struct partition *partition, uint64_t base_offset,
                        struct span batch)
{
    CHECK(base_offset < partition->next_offset && batch.size > 0);
    const bool keyed = d->leases.keyed_count > 0;
    for (struct group_partition *gp = partition->readers; gp != NULL; gp = gp->next_reader) {
        struct readout *r = keyed ? gp->readout : NULL;
        if (r != NULL && r->keys != NULL)
            key_order_append(r, base_offset, batch);
        waiting_wake_owner(d, gp);
    }
}

void delivery_on_became_visible(struct delivery *d, struct partition *partition,
                                const struct due_entry *entries, uint32_t count)
{
    for (struct group_partition *gp = partition->readers; gp != NULL; gp = gp->next_reader) {
        struct readout *r = gp->readout;
        for (uint32_t i = 0; r != NULL && i < count; i++)
            readout_reveal(r, entries[i].offset, entries[i].priority);
        waiting_wake_owner(d, gp);
    }
}

void delivery_on_due_changed(struct delivery *d, struct partition *partition)
{
    due_arm(d, partition);
}

void delivery_on_became_gone(struct delivery *d, struct partition *partition, uint64_t offset)
{
    for (struct group_partition *gp = partition->readers; gp != NULL; gp = gp->next_reader) {
        if (gp->readout == NULL)
            continue;
        const struct lease *lease = readout_find(gp->readout, offset);
        if (lease != NULL)
            delivery_makes_room(d, lease);
        readout_lose(gp->readout, &d->leases, offset);
    }
}

void delivery_on_topic_deleted(struct delivery *d, const struct topic *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++)
        due_forget(d, topic->partitions[i]);
}

void delivery_on_group_changed(struct delivery *d, struct group *group)
{
    delivery_set_now(d, machine_time_us(d->machine));
    for (uint32_t i = 0; i < group->member_count; i++)
        waiting_wake(d, session_of(d, group->members[i]));
    for (uint32_t i = 0; i < group->partition_count; i++) {
        const struct group_partition *gp = group->partitions[i];
        if (gp->readout != NULL)
            readout_regroup(gp->readout, &d->leases,
                            gp->owner == NULL ? NULL : &session_of(d, gp->owner)->holder);
    }
    revocation_arm(d, group);
}

void delivery_on_member_gone(struct delivery *d, struct group *group, struct member *member)
{
    CHECK(member->group == group);
    session_free(d, member->session);
}

void delivery_on_group_deleted(struct delivery *d, struct group *group)
{
    CHECK(d->leases.in_flight <= d->leases.lease_count);
    revocation_forget(d, group); /* its members and partitions have gone one by one before */
}

void delivery_on_group_partition_gone(struct delivery *d, struct group_partition *gp)
{
    struct readout *r = gp->readout;
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->leases.capacity; i++)
        if (r->leases.slots[i] != NULL) /* whoever held one has room again */
            waiting_wake(d, session_of_holder(r->leases.slots[i]->holder));
    readout_free(r, &d->leases);
}

void delivery_on_position_moved(struct delivery *d, struct group_partition *gp)
{
    if (gp->readout == NULL)
        return;
    readout_moved(gp->readout, &d->leases);
    for (uint32_t i = 0; i < gp->group->member_count; i++)
        waiting_wake(d, gp->group->members[i]->session); /* the owner, and whoever held a lease */
}

static void on_joined(struct delivery *d, const struct command *cmd, const struct result *result,
                      int64_t now_us)
{
    for (uint32_t i = 0; i < cmd->group_join.joiner_count; i++) {
        const struct joiner *joiner = &cmd->group_join.joiners[i];
        delivery_touch(d, cmd->group_join.group, joiner->member_id, now_us);
        enum status st = ST_OK;
        struct member *member =
            delivery_find_member(d, cmd->group_join.group, joiner->member_id, &st);
        if (member == NULL)
            continue;
        waiting_wake(d, member->session); /* one that rejoined may hold more than before */
        if (result->status == ST_OK && result->join.joined[i].status == ST_OK)
            session_of(d, member)->told_index = machine_applied_index(d->machine);
    }
    joining_joined(d, cmd, result);
}

void delivery_on_own_applied(struct delivery *d, const struct command *cmd,
                             const struct result *result, int64_t now_us)
{
    delivery_set_now(d, now_us);
    if (cmd->type == COMMAND_GROUP_JOIN)
        on_joined(d, cmd, result, now_us);
    else if (cmd->type == COMMAND_DELAY_DUE)
        due_applied(d, &cmd->delay_due);
}

void delivery_makes_room(struct delivery *d, const struct lease *lease)
{
    const struct group_partition *gp = lease->readout->gp;
    struct session *s = session_of_holder(lease->holder);
    if (s != NULL && session_room(s) == 0)
        waiting_wake(d, s);
    if (gp->partition->topic->settings.in_flight_max > 0)
        waiting_wake_owner(d, gp);
}

void delivery_settle(struct delivery *d, int64_t now_us)
{
    delivery_set_now(d, now_us);
    waiting_serve(d);
    notes_flush(d);
}

/* A deadline, or the time before which a nacked message is not delivered again. */
static void run_lease_timer(struct delivery *d, struct lease *lease)
{
    const struct group_partition *gp = lease->readout->gp;
    delivery_makes_room(d, lease);
    if (lease->state == LEASE_LEASED && lease->delivery_count >= delivery_count_max(lease)) {
        d->leases.expired_total++;
        dead_letter_begin(d, lease, DEAD_LETTER_MAX_RETRIES, NULL, (struct span){0});
        return;
    }
    readout_expire(lease->readout, &d->leases, lease);
    waiting_wake_owner(d, gp);
}

static void run_timer(struct delivery *d, struct wheel_node *node)
{
    switch ((enum timer_kind)node->kind) {
    case TIMER_LEASE:
        run_lease_timer(d, list_entry(node, struct lease, timer));
        break;
    case TIMER_DUE:
        due_timer_fired(d, list_entry(node, struct due_timer, timer));
        break;
    case TIMER_SESSION:
        session_timer(d, list_entry(node, struct session, timer));
        break;
    case TIMER_POLL:
        waiting_timer(d, list_entry(node, struct poll_wait, timer));
        break;
    case TIMER_REVOCATION:
        revocation_timer_fired(d, list_entry(node, struct revocation_timer, timer));
        break;
    case TIMER_TRANSACTION:
        transaction_timer_fired(d, list_entry(node, struct transaction_timer, timer));
        break;
    case TIMER_JOIN:
        joining_timer(d, list_entry(node, struct join_batch, timer));
        break;
    }
}

int64_t delivery_run_timers(struct delivery *d, int64_t now_us)
{
    delivery_set_now(d, now_us);
    wheel_advance(&d->wheel, d->now_us);
    struct wheel_node *node = NULL;
    for (uint32_t i = 0; i < TIMERS_PER_RUN_MAX && (node = wheel_pop(&d->wheel)) != NULL; i++)
        run_timer(d, node);
    waiting_serve(d);
    notes_flush(d);
    return wheel_next_us(&d->wheel);
}

static void drain_member(struct delivery *d, struct member *member)
{
    if (member->session != NULL)
        waiting_drain(d, member->session);
}

void delivery_drain(struct delivery *d)
{
    d->draining = true;
    joining_drain(d);
    waiting_serve(d); /* orphans */
    each_member(d, drain_member);
    notes_flush(d);
    CHECK(d->stats.parked_polls == 0);
}

void delivery_fill_group_info(const struct delivery *d, struct group_info *info)
{
    const struct group *group = machine_group_by_id(d->machine, info->id);
    for (uint32_t i = 0; group != NULL && i < info->member_count; i++) {
        const struct member *member = group_find_member(group, info->members[i].member_id);
        const struct session *s = member == NULL ? NULL : member->session;
        if (s != NULL)
            info->members[i].last_seen_us = s->parked_count > 0 ? d->now_us : s->last_seen_us;
    }
}

void delivery_stats_get(const struct delivery *d, struct delivery_stats *out)
{
    *out = d->stats;
    out->in_flight = d->leases.in_flight;
    out->leases_total = d->leases.ids_given;
    out->expired_total = d->leases.expired_total;
    out->retries_total = d->leases.retries_total;
    out->waiting = d->leases.lease_count - d->leases.in_flight - d->leases.held_count;
    out->held_back = d->leases.held_count;
}

uint64_t delivery_in_flight(const struct delivery *d, const struct group_partition *gp)
{
    const struct readout *r = gp->readout;
    CHECK(r == NULL || r->in_flight <= d->leases.in_flight);
    return r == NULL ? 0 : r->in_flight;
}

struct member_walk {
    struct delivery *d;
    void (*fn)(struct delivery *d, struct member *member);
};

static void walk_members(void *user, struct group *group)
{
    const struct member_walk *walk = user;
    for (uint32_t i = 0; i < group->member_count; i++)
        walk->fn(walk->d, group->members[i]);
}

static void each_member(struct delivery *d, void (*fn)(struct delivery *d, struct member *member))
{
    struct member_walk walk = {.d = d, .fn = fn};
    machine_each_group(d->machine, walk_members, &walk);
}

struct totals {
    const struct delivery *d;
    uint64_t leases;
    uint64_t in_flight;
    uint64_t held;
    uint64_t keyed;
    uint64_t parked;
    uint64_t sessions_armed;
};

static void check_session(struct totals *totals, const struct session *s)
{
    session_check(s);
    uint32_t parked = 0;
    for (struct list_node *n = s->parked.next; n != &s->parked; n = n->next, parked++) {
        const struct poll_wait *wait = list_entry(n, struct poll_wait, link);
        CHECK(wait->session == s);
        CHECK(wait->poll->wait == wait);
        CHECK(wheel_armed(&wait->timer));
    }
    CHECK(parked == s->parked_count);
    CHECK(parked <= PARKED_PER_MEMBER_MAX);
    totals->parked += parked;
    totals->sessions_armed += wheel_armed(&s->timer) ? 1 : 0;
}

static void check_group(void *user, struct group *group)
{
    struct totals *totals = user;
    for (uint32_t i = 0; i < group->member_count; i++)
        if (group->members[i]->session != NULL)
            check_session(totals, group->members[i]->session);
    for (uint32_t i = 0; i < group->partition_count; i++) {
        const struct readout *r = group->partitions[i]->readout;
        if (r == NULL)
            continue;
        CHECK(r->gp == group->partitions[i]);
        readout_check(r);
        totals->leases += r->leases.count;
        totals->in_flight += r->in_flight;
        totals->held += r->keys == NULL ? 0 : r->keys->held_count;
        totals->keyed += r->keys == NULL ? 0 : 1;
    }
}

void delivery_check(const struct delivery *d)
{
    struct totals totals = {.d = d};
    wheel_check(&d->wheel);
    joining_check(&d->joining);
    machine_each_group(d->machine, check_group, &totals);
    for (struct list_node *n = d->orphans.next; n != &d->orphans; n = n->next) {
        CHECK(list_entry(n, struct poll_wait, link)->session == NULL);
        totals.parked++;
    }
    CHECK(totals.leases == d->leases.lease_count);
    CHECK(totals.in_flight == d->leases.in_flight);
    CHECK(totals.held == d->leases.held_count);
    CHECK(totals.keyed == d->leases.keyed_count);
    CHECK(totals.parked == d->stats.parked_polls);
    CHECK(totals.in_flight + totals.parked + totals.sessions_armed <=
          d->wheel.count + d->leases.in_flight);
}
