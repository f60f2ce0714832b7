/* Producers: identities, and their epochs. */
#include "machine/state.h"
#include "std/check.h"

/* Somebody with the same transactional id takes over: what the one before left open is undone. */
static struct producer *take_over(struct machine *m, struct producer *producer, struct arena *arena)
{
    if (producer->open != NULL)
        machine_end_transaction(m, producer->open, TRANSACTION_ABORTED, arena);
    if (producer->epoch == EPOCH_MAX) { /* under another id it starts anew */
        struct span scope = arena_copy(arena, producer->scope);
        struct span id = arena_copy(arena, producer->transactional_id);
        producer_remove(&m->producers, producer);
        return producer_add(&m->producers, scope, id, m->time_us);
    }
    producer->epoch++;
    producer->last = TRANSACTION_ONGOING;
    producer_use(&m->producers, producer, m->time_us);
    return producer;
}

void apply_producer_init(struct machine *m, const struct command_producer_init *cmd,
                         struct arena *arena, struct result *out)
{
    struct producer *producer = NULL;
    if (cmd->transactional_id.size > 0)
        producer = producer_find_named(&m->producers, cmd->scope, cmd->transactional_id);
    if (producer != NULL)
        producer = take_over(m, producer, arena);
    else
        producer = producer_add(&m->producers, cmd->scope, cmd->transactional_id, m->time_us);
    if (producer == NULL) {
        out->status = ST_QUOTA_EXCEEDED;
        return;
    }
    producer->timeout_us = cmd->timeout_us;
    out->producer = (struct result_producer){producer->id, producer->epoch};
}

struct producer *machine_use_producer(struct machine *m, const struct producer_ref *ref,
                                      struct result *out)
{
    struct producer *producer = producer_find(&m->producers, ref, &out->status);
    if (producer != NULL)
        producer_use(&m->producers, producer, m->time_us);
    return producer;
}

void apply_producer_heartbeat(struct machine *m, const struct command_producer_heartbeat *cmd,
                              struct arena *arena, struct result *out)
{
    (void)arena;
    (void)machine_use_producer(m, &cmd->producer, out);
}
