/* Delayed messages: due, or cancelled. */
#include "machine/state.h"
#include "std/check.h"

static struct partition *find_partition(const struct machine *m, uint32_t topic_id,
                                        uint32_t partition, enum status *out_status)
{
    struct topic *t = machine_topic_by_id(m, topic_id);
    *out_status = t == NULL ? ST_TOPIC_NOT_FOUND : ST_PARTITION_NOT_FOUND;
    if (t == NULL || partition >= t->partition_count)
        return NULL;
    *out_status = ST_OK;
    return t->partitions[partition];
}

void apply_delay_due(struct machine *m, const struct command_delay_due *cmd, struct arena *arena,
                     struct result *out)
{
    struct partition *p = find_partition(m, cmd->topic_id, cmd->partition, &out->status);
    if (p == NULL || p->exceptions == NULL)
        return;
    struct exceptions *e = p->exceptions;
    struct due_entry *entries = arena_array(arena, cmd->count_max, sizeof *entries);
    uint32_t count = due_index_take(&e->due, m->time_us, cmd->count_max, entries);
    for (uint32_t i = 0; i < count; i++) {
        bool removed = offset_set_remove(&e->hidden, entries[i].offset);
        CHECK(removed);
        if (entries[i].priority != PRIORITY_NORMAL)
            (void)offset_set_add(&e->lanes[entries[i].priority], entries[i].offset);
    }
    CHECK(p->topic->pending_count >= count);
    p->topic->pending_count -= count;
    p->topic->totals.due += count;
    struct due_entry next;
    out->delay_due.count = count;
    out->delay_due.more = due_index_first(&e->due, &next) && next.due_us <= m->time_us;
    if (count > 0) {
        EFFECT(m, became_visible, p, entries, count);
        EFFECT(m, due_changed, p);
    }
}

void apply_delay_cancel(struct machine *m, const struct command_delay_cancel *cmd,
                        struct arena *arena, struct result *out)
{
    (void)arena;
    struct partition *p = find_partition(m, cmd->topic_id, cmd->partition, &out->status);
    if (p == NULL)
        return;
    enum priority priority = PRIORITY_NORMAL;
    if (p->exceptions == NULL ||
        !due_index_remove(&p->exceptions->due, cmd->due_us, cmd->offset, &priority)) {
        out->delay_cancel.already = partition_is_gone(p, cmd->offset);
        out->status = out->delay_cancel.already ? ST_OK : ST_DELAYED_NOT_FOUND;
        return;
    }
    p->topic->pending_count--;
    p->topic->totals.cancelled++;
    partition_make_gone(m, p, cmd->offset, priority);
    EFFECT(m, due_changed, p);
}
