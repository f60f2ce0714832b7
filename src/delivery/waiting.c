#include "delivery/waiting.h"

#include <stdlib.h>

#include "delivery/key_asks.h"
#include "delivery/readout.h"
#include "delivery/state.h"
#include "std/alloc.h"
#include "std/check.h"

/* Polls that found a member; the others are answered by their status alone. */
static void answer(const struct session *s, struct poll_request *poll)
{
    const struct member *member = s->member;
    poll->status = ST_OK;
    poll->current_generation = member->group->generation;
    poll->rebalance_required = member_must_rebalance(member, poll->generation);
    poll->done(poll);
}

static void finish(struct delivery *d, struct session *s, struct poll_request *poll)
{
    session_touch(d, s);
    answer(s, poll);
}

/* Takes a parked poll off everything. Gives: the poll, to be answered. */
static struct poll_request *unpark(struct delivery *d, struct poll_wait *wait)
{
    struct poll_request *poll = wait->poll;
    CHECK(poll->wait == wait);
    wheel_remove(&d->wheel, &wait->timer);
    list_remove(&wait->link);
    if (wait->session != NULL) {
        CHECK(wait->session->parked_count > 0);
        wait->session->parked_count--;
    }
    CHECK(d->stats.parked_polls > 0);
    d->stats.parked_polls--;
    poll->wait = NULL;
    free(wait);
    return poll;
}

/* The wait of a poll that was parked is over. If the client is gone, its poll is no sign of life.
 */
static void end_wait(struct delivery *d, struct session *s, struct poll_request *poll)
{
    if (d->options.connected(d->options.user, poll))
        session_touch(d, s);
    answer(s, poll);
}

/* Plain partitions have one lane, and nothing is looked for in the others. */
static bool may_have(const struct group_partition *gp, enum priority lane)
{
    return lane == PRIORITY_NORMAL || gp->partition->exceptions != NULL;
}

static bool has_messages(struct delivery *d, const struct session *s)
{
    const struct member *member = s->member;
    if (session_room(s) == 0)
        return false;
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        struct group_partition *gp = member->assigned[i];
        struct readout *r = readout_of(gp, &d->leases, d->now_us);
        for (unsigned lane = 0; readout_room(r) > 0 && lane < PRIORITY_COUNT; lane++)
            if (may_have(gp, (enum priority)lane) &&
                readout_available(r, &d->leases, (enum priority)lane))
                return true;
    }
    return false;
}

/* Is it open whether there are messages for this member, until keys have been read? */
static bool awaits_keys(const struct session *s)
{
    const struct member *member = s->member;
    for (uint32_t i = 0; session_room(s) > 0 && i < member->assigned_count; i++) {
        const struct readout *r = member->assigned[i]->readout;
        if (r != NULL && readout_room(r) > 0 && key_order_awaits_keys(r->keys))
            return true;
    }
    return false;
}

/* Cuts `count` messages of one partition into runs without large gaps, so that reading one touches
 * little that is not delivered. */
static void add_runs(struct poll_request *poll, const struct group_partition *gp, uint32_t count,
                     const struct delivered *messages, int64_t deadline_us)
{
    struct delivered *copy = arena_array(poll->arena, count, sizeof *copy);
    memcpy(copy, messages, count * sizeof *copy);
    struct span topic = arena_copy(poll->arena, span_text(gp->partition->topic->name));
    for (uint32_t begin = 0, end = 1; end <= count; end++) {
        if (end < count && copy[end].offset - copy[end - 1].offset <= RUN_GAP_MAX)
            continue;
        /* Grown by doubling: the arena keeps what was outgrown. */
        if ((poll->run_count & (poll->run_count - 1)) == 0) {
            uint32_t capacity = poll->run_count == 0 ? 1 : poll->run_count * 2;
            struct delivered_run *runs = arena_array(poll->arena, capacity, sizeof *runs);
            if (poll->run_count > 0)
                memcpy(runs, poll->runs, poll->run_count * sizeof *runs);
            poll->runs = runs;
        }
        poll->runs[poll->run_count++] = (struct delivered_run){
            .topic = topic,
            .group_id = gp->group->id,
            .topic_id = gp->partition->topic->id,
            .partition = gp->partition->index,
            .source = gp->partition,
            .messages = &copy[begin],
            .count = end - begin,
            .deadline_us = deadline_us,
        };
        begin = end;
    }
}

/* Leases up to `max` messages of one partition's lane to the poll. Gives how many. */
static uint32_t take_from(struct delivery *d, struct session *s, struct poll_request *poll,
                          struct group_partition *gp, enum priority lane, uint32_t max)
{
    /* It may have joined anew with other wishes. */
    s->holder.visibility_us = s->member->visibility_us;
    s->holder.deliveries_max = s->member->deliveries_max;
    int64_t visibility_us = s->holder.visibility_us > 0
                                ? s->holder.visibility_us
                                : gp->partition->topic->settings.visibility_us;
    int64_t deadline_us = d->now_us + visibility_us;
    struct readout *r = readout_of(gp, &d->leases, d->now_us);
    const struct lease_terms terms = {&s->holder, d->now_us, deadline_us};
    uint32_t count = readout_take(r, &d->leases, lane, &terms, max, d->scratch);
    if (count > 0) {
        add_runs(poll, gp, count, d->scratch, deadline_us);
        notes_leased(d, gp, d->scratch, count, deadline_us);
    }
    return count;
}

/* Leases up to `room` messages of one lane, of the partitions of topics with this mode. They take
 * turns: each is asked for an equal share of the room, then for an equal share of what the others
 * left, and another one is asked first each time. Gives how many. */
static uint32_t take_lane(struct delivery *d, struct session *s, struct poll_request *poll,
                          enum priority_mode mode, enum priority lane, uint32_t room)
{
    const struct member *member = s->member;
    const uint32_t wanted = room;
    bool more = member->assigned_count > 0;
    while (more && room > 0) {
        uint32_t share = (room + member->assigned_count - 1) / member->assigned_count;
        uint32_t first = s->turn[mode][lane] % member->assigned_count;
        more = false;
        for (uint32_t i = 0; i < member->assigned_count && room > 0; i++) {
            uint32_t index = (first + i) % member->assigned_count;
            struct group_partition *gp = member->assigned[index];
            if (!may_have(gp, lane) || gp->partition->topic->settings.priority_mode != mode)
                continue;
            uint32_t max = share < room ? share : room;
            uint32_t count = take_from(d, s, poll, gp, lane, max);
            more = more || count == max;
            room -= count;
            if (count > 0)
                s->turn[mode][lane] = index + 1;
        }
    }
    return wanted - room;
}

/* Which lanes have something in the member's weighted topics. False: it has no such topic. */
static bool weighted_lanes(struct delivery *d, const struct session *s, bool has[PRIORITY_COUNT])
{
    const struct member *member = s->member;
    bool weighted = false;
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        struct group_partition *gp = member->assigned[i];
        if (gp->partition->topic->settings.priority_mode != PRIORITY_WEIGHTED)
            continue;
        weighted = true;
        struct readout *r = readout_of(gp, &d->leases, d->now_us);
        for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
            has[lane] = has[lane] || readout_available(r, &d->leases, (enum priority)lane);
    }
    return weighted;
}

/* Leases what is there to the poll: lane by lane over all partitions, the highest first. In
 * weighted topics a lane gets no more than its share of the poll, unless the others leave room. */
static void take(struct delivery *d, struct session *s, struct poll_request *poll)
{
    uint32_t room = session_room(s);
    if (room > poll->messages_max)
        room = poll->messages_max;
    if (room > POLL_MESSAGES_MAX)
        room = POLL_MESSAGES_MAX;
    bool has[PRIORITY_COUNT] = {false};
    uint32_t share[PRIORITY_COUNT] = {0};
    bool weighted = room > 0 && weighted_lanes(d, s, has);
    if (weighted)
        lane_weights_share(&s->weights, has, room, share);
    for (unsigned i = 0; i < PRIORITY_COUNT && room > 0; i++) {
        enum priority lane = (enum priority)i;
        room -= take_lane(d, s, poll, PRIORITY_STRICT, lane, room);
        if (weighted)
            room -= take_lane(d, s, poll, PRIORITY_WEIGHTED, lane,
                              share[lane] < room ? share[lane] : room);
    }
    for (unsigned i = 0; i < PRIORITY_COUNT && weighted && room > 0; i++)
        room -= take_lane(d, s, poll, PRIORITY_WEIGHTED, (enum priority)i, room);
}

/* Polls that waited for nothing but keys: what they told is that there is nothing. */
static void answer_if_empty(struct delivery *d, struct session *s)
{
    struct list_node *next = NULL;
    for (struct list_node *n = s->parked.next; n != &s->parked; n = next) {
        struct poll_wait *wait = list_entry(n, struct poll_wait, link);
        next = n->next;
        if (wait->for_keys && !awaits_keys(s))
            end_wait(d, s, unpark(d, wait));
    }
}

static void session_serve(struct delivery *d, struct session *s)
{
    while (!list_empty(&s->parked) && has_messages(d, s)) {
        struct poll_wait *wait = list_entry(s->parked.next, struct poll_wait, link);
        struct poll_request *poll = wait->poll;
        if (!d->options.connected(d->options.user, poll)) {
            end_wait(d, s, unpark(d, wait));
            continue;
        }
        take(d, s, poll);
        if (poll->run_count == 0)
            break; /* keys are to be read before */
        finish(d, s, unpark(d, wait));
    }
    answer_if_empty(d, s);
}

static void park(struct delivery *d, struct session *s, struct poll_request *poll)
{
    const bool for_keys = poll->wait_us <= 0;
    const int64_t wait_us = for_keys ? POLL_FOR_KEYS_US : poll->wait_us;
    if (s->parked_count >= PARKED_PER_MEMBER_MAX)
        end_wait(d, s, unpark(d, list_entry(s->parked.next, struct poll_wait, link)));
    struct poll_wait *wait = new_zero(struct poll_wait);
    wait->poll = poll;
    wait->session = s;
    wait->timer.kind = TIMER_POLL;
    wait->for_keys = for_keys;
    int64_t ends = wait_us < INT64_MAX - d->now_us ? d->now_us + wait_us : INT64_MAX;
    wheel_add(&d->wheel, &wait->timer, ends);
    list_push(&s->parked, &wait->link);
    s->parked_count++;
    d->stats.parked_polls++;
    poll->wait = wait;
}

void waiting_poll(struct delivery *d, struct session *s, struct poll_request *poll)
{
    session_touch(d, s);
    if (poll->messages_max == 0) {
        finish(d, s, poll);
        return;
    }
    session_serve(d, s); /* who waits already goes first */
    take(d, s, poll);
    if (poll->run_count > 0 || d->draining || (poll->wait_us <= 0 && !awaits_keys(s)))
        finish(d, s, poll);
    else
        park(d, s, poll);
}

void waiting_drop_vanished(struct delivery *d, struct session *s)
{
    struct list_node *next = NULL;
    for (struct list_node *node = s->parked.next; node != &s->parked; node = next) {
        next = node->next;
        struct poll_wait *wait = list_entry(node, struct poll_wait, link);
        if (!d->options.connected(d->options.user, wait->poll))
            end_wait(d, s, unpark(d, wait));
    }
}

void waiting_wake(struct delivery *d, struct session *s)
{
    if (s != NULL && s->parked_count > 0 && !list_linked(&s->ready))
        list_push(&d->ready, &s->ready);
}

void waiting_wake_owner(struct delivery *d, const struct group_partition *gp)
{
    if (gp->owner != NULL)
        waiting_wake(d, gp->owner->session);
}

static void answer_orphan(struct delivery *d, struct poll_wait *wait)
{
    struct poll_request *poll = unpark(d, wait);
    bool group_lives = machine_find_group(d->machine, poll->group) != NULL;
    poll->status = group_lives ? ST_MEMBER_NOT_FOUND : ST_GROUP_NOT_FOUND;
    poll->done(poll);
}

void waiting_serve(struct delivery *d)
{
    while (!list_empty(&d->orphans))
        answer_orphan(d, list_entry(d->orphans.next, struct poll_wait, link));
    key_asks_attend(d);
    for (struct list_node *node; (node = list_pop(&d->ready)) != NULL; key_asks_attend(d))
        session_serve(d, list_entry(node, struct session, ready));
}

void waiting_timer(struct delivery *d, struct poll_wait *wait)
{
    struct session *s = wait->session;
    if (s == NULL)
        answer_orphan(d, wait);
    else
        end_wait(d, s, unpark(d, wait));
}

void waiting_orphan(struct delivery *d, struct session *s)
{
    for (struct list_node *node = s->parked.next; node != &s->parked; node = node->next)
        list_entry(node, struct poll_wait, link)->session = NULL;
    list_append(&d->orphans, &s->parked);
    s->parked_count = 0;
}

void waiting_drain(struct delivery *d, struct session *s)
{
    struct list_node *next = NULL;
    for (struct list_node *node = s->parked.next; node != &s->parked; node = next) {
        next = node->next;
        end_wait(d, s, unpark(d, list_entry(node, struct poll_wait, link)));
    }
}
