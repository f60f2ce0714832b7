/* Progress of a group: acks one by one, and committed offsets. */
#include "machine/state.h"
#include "std/check.h"

static void mark_done(struct group_partition *gp, uint64_t offset, struct acked *out)
{
    out->already = group_partition_is_done(gp, offset);
    if (!out->already) {
        out->advanced = group_partition_mark_done(gp, offset);
        gp->partition->topic->totals.acked++;
    }
    out->committed = gp->position;
}

static void ack_one(const struct machine *m, const struct group *g, const struct ack_entry *entry,
                    struct acked *out)
{
    const struct topic *t = machine_topic_by_id(m, entry->topic_id);
    if (t == NULL) {
        out->status = ST_TOPIC_NOT_FOUND;
        return;
    }
    if (entry->partition >= t->partition_count) {
        out->status = ST_PARTITION_NOT_FOUND;
        return;
    }
    struct group_partition *gp = group_find_partition(g, entry->topic_id, entry->partition);
    if (gp == NULL || entry->offset >= gp->partition->next_offset) {
        out->status = ST_MESSAGE_NOT_FOUND; /* nobody in the group can have got it */
        return;
    }
    mark_done(gp, entry->offset, out);
}

void apply_ack(struct machine *m, const struct command_ack *cmd, struct arena *arena,
               struct result *out)
{
    struct acked *acked = arena_array(arena, cmd->entry_count, sizeof *acked);
    const struct group *g = machine_group_by_id(m, cmd->group_id);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        if (g == NULL)
            acked[i].status = ST_GROUP_NOT_FOUND;
        else
            ack_one(m, g, &cmd->entries[i], &acked[i]);
    }
    out->ack = (struct result_ack){acked, cmd->entry_count};
}

static enum status find_owned(const struct machine *m, const struct group *g,
                              const struct member *member, const struct offset_entry *entry,
                              struct group_partition **out)
{
    const struct topic *t = machine_find_topic(m, entry->topic);
    if (t == NULL)
        return ST_TOPIC_NOT_FOUND;
    if (entry->partition >= t->partition_count)
        return ST_PARTITION_NOT_FOUND;
    *out = group_find_partition(g, t->id, entry->partition);
    return *out != NULL && (*out)->owner == member ? ST_OK : ST_NOT_ASSIGNED;
}

/* Forward, what is done stays done: the position goes on over messages that were acked before.
 * Back, everything from the offset on is delivered again. */
static void set_position(struct machine *m, struct group_partition *gp, uint64_t offset)
{
    if (offset == gp->position)
        return;
    group_partition_set_position(gp, offset, m->applied_index);
    EFFECT(m, position_moved, gp);
}

void apply_offsets_commit(struct machine *m, const struct command_offsets_commit *cmd,
                          struct arena *arena, struct result *out)
{
    const struct group *g = machine_find_group(m, cmd->group);
    const struct member *member = g == NULL ? NULL : group_find_member(g, cmd->member_id);
    if (g == NULL)
        out->status = ST_GROUP_NOT_FOUND;
    else if (member == NULL)
        out->status = ST_MEMBER_NOT_FOUND;
    else if (cmd->generation >= 0 && cmd->generation != (int64_t)g->generation)
        out->status = ST_STALE_GENERATION;
    if (out->status != ST_OK)
        return;

    struct group_partition **found =
        arena_array(arena, cmd->entry_count, sizeof(struct group_partition *));
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        out->status = find_owned(m, g, member, &cmd->entries[i], &found[i]);
        if (out->status != ST_OK)
            return; /* all or none */
    }
    for (uint32_t i = 0; i < cmd->entry_count; i++)
        set_position(m, found[i], cmd->entries[i].offset);
}
