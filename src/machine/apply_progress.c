/* Progress of a group: acks one by one, committed offsets, and offsets set from outside. */
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

static void rewind_to(struct machine *m, struct group_partition *gp, uint64_t offset)
{
    group_partition_rewind(gp, offset, m->applied_index);
    EFFECT(m, position_moved, gp);
}

static void advance_to(struct machine *m, struct group_partition *gp, uint64_t offset)
{
    group_partition_advance(gp, offset);
    EFFECT(m, position_moved, gp);
}

void machine_set_position(struct machine *m, struct group_partition *gp, uint64_t offset)
{
    if (offset < gp->position)
        rewind_to(m, gp, offset);
    else if (offset > gp->position)
        advance_to(m, gp, offset);
}

struct group_partition **machine_find_committed(const struct machine *m,
                                                const struct command_offsets_commit *cmd,
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
        return NULL;

    struct group_partition **found =
        arena_array(arena, cmd->entry_count, sizeof(struct group_partition *));
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        out->status = find_owned(m, g, member, &cmd->entries[i], &found[i]);
        if (out->status != ST_OK)
            return NULL; /* all or none */
    }
    return found;
}

void apply_offsets_commit(struct machine *m, const struct command_offsets_commit *cmd,
                          struct arena *arena, struct result *out)
{
    struct group_partition **found = machine_find_committed(m, cmd, arena, out);
    for (uint32_t i = 0; found != NULL && i < cmd->entry_count; i++)
        machine_set_position(m, found[i], cmd->entries[i].offset);
}

/* Where the entry puts the group, within what the log has. */
static uint64_t reset_target(const struct partition *p, const struct reset_entry *entry)
{
    if (entry->to == RESET_EARLIEST ||
        (entry->to == RESET_OFFSET && entry->offset < p->start_offset))
        return p->start_offset;
    if (entry->to == RESET_LATEST || entry->offset > p->next_offset)
        return p->next_offset;
    return entry->offset;
}

static void reset_one(struct machine *m, struct group *g, struct partition *p,
                      const struct reset_entry *entry, struct result_reset *out)
{
    uint32_t known = g->partition_count;
    struct group_partition *gp = group_need_partition(g, p);
    uint64_t target = reset_target(p, entry);
    if (g->partition_count != known) /* nobody has read it yet: it begins there */
        gp->position = group_partition_next_open(gp, target);
    else if (target <= gp->position) /* also where it stands: what was done beyond comes again */
        rewind_to(m, gp, target);
    else
        advance_to(m, gp, target);
    out->positions[out->count++] = (struct reset_position){
        .partition = p->index, .offset = gp->position, .lag = group_partition_lag(gp)};
}

void apply_offsets_reset(struct machine *m, const struct command_offsets_reset *cmd,
                         struct arena *arena, struct result *out)
{
    struct group *g = machine_find_group(m, cmd->group);
    const struct topic *t = machine_find_topic(m, cmd->topic);
    if (g == NULL || t == NULL) {
        out->status = g == NULL ? ST_GROUP_NOT_FOUND : ST_TOPIC_NOT_FOUND;
        return;
    }
    size_t capacity = 0;
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        bool every = cmd->entries[i].partition == RESET_EVERY_PARTITION;
        if (!every && cmd->entries[i].partition >= t->partition_count) {
            out->status = ST_PARTITION_NOT_FOUND;
            return; /* all or none */
        }
        capacity += every ? t->partition_count : 1;
    }
    out->reset.positions = arena_array(arena, capacity, sizeof *out->reset.positions);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        const struct reset_entry *entry = &cmd->entries[i];
        bool every = entry->partition == RESET_EVERY_PARTITION;
        uint32_t first = every ? 0 : entry->partition;
        uint32_t end = every ? t->partition_count : entry->partition + 1;
        for (uint32_t p = first; p < end; p++)
            reset_one(m, g, t->partitions[p], entry, &out->reset);
    }
}
