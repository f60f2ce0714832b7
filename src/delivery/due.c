#include "delivery/due.h"

#include <stdlib.h>

#include "delivery/state.h"
#include "std/alloc.h"
#include "std/check.h"

void due_arm(struct delivery *d, struct partition *partition)
{
    struct due_timer *due = partition->delivery;
    struct due_entry first;
    bool pending =
        partition->exceptions != NULL && due_index_first(&partition->exceptions->due, &first);
    if (!pending && due == NULL)
        return;
    if (due == NULL) {
        due = new_zero(struct due_timer);
        due->timer.kind = TIMER_DUE;
        due->partition = partition;
        partition->delivery = due;
    }
    if (due->submitted)
        return; /* armed when it is applied */
    wheel_remove(&d->wheel, &due->timer);
    if (pending)
        wheel_add(&d->wheel, &due->timer, first.due_us);
}

void due_timer_fired(struct delivery *d, struct due_timer *due)
{
    CHECK(!due->submitted);
    due->submitted = true;
    struct command cmd = {.type = COMMAND_DELAY_DUE,
                          .delay_due = {.topic_id = due->partition->topic->id,
                                        .partition = due->partition->index,
                                        .count_max = DUE_PER_COMMAND_MAX}};
    d->options.submit(d->options.user, &cmd);
}

void due_applied(struct delivery *d, const struct command_delay_due *cmd)
{
    const struct topic *topic = machine_topic_by_id(d->machine, cmd->topic_id);
    if (topic == NULL)
        return; /* deleted meanwhile */
    struct partition *partition = topic->partitions[cmd->partition];
    struct due_timer *due = partition->delivery;
    CHECK(due != NULL);
    due->submitted = false;
    due_arm(d, partition);
}

void due_forget(struct delivery *d, struct partition *partition)
{
    struct due_timer *due = partition->delivery;
    if (due == NULL)
        return;
    wheel_remove(&d->wheel, &due->timer);
    partition->delivery = NULL;
    free(due);
}
