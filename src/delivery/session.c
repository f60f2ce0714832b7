#include "delivery/session.h"

#include <stdlib.h>

#include "delivery/readout.h"
#include "delivery/state.h"
#include "std/alloc.h"
#include "std/check.h"

_Static_assert(offsetof(struct session, holder) == 0, "session_of_holder() relies on it");

struct session *session_of(struct delivery *d, struct member *member)
{
    if (member->session != NULL)
        return member->session;
    struct session *s = new_zero(struct session);
    list_init(&s->holder.leases);
    list_init(&s->parked);
    s->member = member;
    s->last_seen_us = d->now_us;
    s->timer.kind = TIMER_SESSION;
    wheel_add(&d->wheel, &s->timer, d->now_us + member->session_us);
    member->session = s;
    return s;
}

void session_free(struct delivery *d, struct session *s)
{
    if (s == NULL)
        return;
    for (struct list_node *node = s->holder.leases.next, *next; node != &s->holder.leases;
         node = next) {
        next = node->next;
        struct lease *lease = list_entry(node, struct lease, held);
        if (lease->state == LEASE_LEASED && lease->delivery_count >= delivery_count_max(lease))
            dead_letter_begin(d, lease, DEAD_LETTER_MAX_RETRIES, NULL, (struct span){0});
        if (lease->state == LEASE_SETTLING) {
            lease_forget_holder(lease);
            lease->deadline_us = d->now_us; /* if it is not settled, after all: available at once */
            continue;
        }
        readout_release(lease->readout, &d->leases, lease, true);
        notes_released(d, lease);
    }
    CHECK(s->holder.count == 0);
    waiting_orphan(d, s);
    wheel_remove(&d->wheel, &s->timer);
    if (list_linked(&s->ready))
        list_remove(&s->ready);
    s->member->session = NULL;
    free(s);
}

void session_touch(struct delivery *d, struct session *s)
{
    if (s->last_seen_us < d->now_us)
        s->last_seen_us = d->now_us;
}

void session_timer(struct delivery *d, struct session *s)
{
    if (s->evicting)
        return;
    waiting_drop_vanished(d, s);
    if (s->parked_count > 0)
        session_touch(d, s);
    int64_t ends = s->last_seen_us + s->member->session_us;
    if (ends > d->now_us) {
        wheel_add(&d->wheel, &s->timer, ends);
        return;
    }
    s->evicting = true;
    d->stats.sessions_expired_total++;
    const struct member *member = s->member;
    struct command leave = {
        .type = COMMAND_GROUP_LEAVE,
        .group_leave = {.group = span_text(member->group->name),
                        .member_id = member->id,
                        .reason = LEAVE_SESSION_EXPIRED},
    };
    d->options.submit(d->options.user, &leave);
}

uint32_t session_room(const struct session *s)
{
    uint32_t max = s->member->in_flight_max;
    return s->holder.count < max ? max - s->holder.count : 0;
}

void session_check(const struct session *s)
{
    uint32_t held = 0;
    for (struct list_node *n = s->holder.leases.next; n != &s->holder.leases; n = n->next) {
        const struct lease *lease = list_entry(n, struct lease, held);
        CHECK(lease->holder == &s->holder);
        held++;
    }
    CHECK(held == s->holder.count);
    CHECK(s->member->session == s);
    CHECK(s->evicting || wheel_armed(&s->timer));
}
