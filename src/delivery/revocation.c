#include "delivery/revocation.h"

#include <stdlib.h>

#include "delivery/state.h"
#include "std/alloc.h"

void revocation_forget(struct delivery *d, struct group *group)
{
    struct revocation_timer *timer = group->revocation;
    if (timer == NULL)
        return;
    wheel_remove(&d->wheel, &timer->timer);
    group->revocation = NULL;
    free(timer);
}

void revocation_arm(struct delivery *d, struct group *group)
{
    int64_t earliest_us = 0;
    for (uint32_t i = 0; group->open_rebalances > 0 && i < group->partition_count; i++) {
        int64_t revoke_by_us = group->partitions[i]->revoke_by_us;
        if (revoke_by_us > 0 && (earliest_us == 0 || revoke_by_us < earliest_us))
            earliest_us = revoke_by_us;
    }
    if (earliest_us == 0) {
        revocation_forget(d, group);
        return;
    }
    struct revocation_timer *timer = group->revocation;
    if (timer == NULL) {
        timer = new_zero(struct revocation_timer);
        timer->timer.kind = TIMER_REVOCATION;
        timer->group = group;
        group->revocation = timer;
    }
    wheel_remove(&d->wheel, &timer->timer);
    wheel_add(&d->wheel, &timer->timer, earliest_us);
}

/* Not armed again until the command has changed the group. */
void revocation_timer_fired(struct delivery *d, struct revocation_timer *timer)
{
    struct command cmd = {
        .type = COMMAND_GROUP_REVOKE,
        .group_revoke = {.group = span_text(timer->group->name), .generation = -1, .expired = true},
    };
    d->options.submit(d->options.user, &cmd);
}
