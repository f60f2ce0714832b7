/* Partitions from one member to the next: at once, or when the owner has let go. */
#include "machine/state.h"
#include "std/check.h"

void group_partition_move(const struct machine *m, struct group_partition *gp, struct member *to)
{
    struct group *g = gp->group;
    if (gp->owner != NULL)
        g->rebalances.partitions_revoked++;
    if (to != NULL)
        g->rebalances.partitions_assigned++;
    gp->owner = to;
    gp->owner_index = m->applied_index;
    gp->owner_generation = g->generation + 1;
    gp->successor = NULL;
    gp->revoke_by_us = 0;
}

bool group_is_rebalancing(const struct group *g)
{
    return g->open_rebalances > 0;
}

static bool has_successors(const struct group *g)
{
    for (uint32_t i = 0; i < g->partition_count; i++)
        if (g->partitions[i]->successor != NULL)
            return true;
    return false;
}

static void end_rebalances(struct machine *m, struct group *g)
{
    struct rebalance_stats *stats = &g->rebalances;
    CHECK(g->generation < UINT32_MAX);
    g->generation++;
    if (g->revocation_expired)
        stats->failed += g->open_rebalances;
    else
        stats->successful += g->open_rebalances;
    stats->last_us = m->time_us;
    stats->last_duration_us = m->time_us - g->rebalance_began_us;
    stats->duration_sum_us += stats->last_duration_us;
    g->open_rebalances = 0;
    g->revocation_expired = false;
    g->rebalance_began_us = 0;
}

void group_settle(struct machine *m, struct group *g)
{
    group_fill_assigned(g, g->generation + 1);
    if (g->open_rebalances > 0 && !has_successors(g))
        end_rebalances(m, g);
    EFFECT(m, group_changed, g);
}

void member_let_go(struct member *member)
{
    const struct group *g = member->group;
    for (uint32_t i = 0; i < g->partition_count; i++) {
        struct group_partition *gp = g->partitions[i];
        if (gp->owner == member)
            gp->owner = NULL; /* its successor, if any, is the next: rebalancing sees to that */
        if (gp->successor == member) {
            gp->successor = NULL;
            gp->revoke_by_us = 0;
        }
    }
}

static void revoke_asked(const struct machine *m, const struct command_group_revoke *cmd,
                         const struct group *g, const struct member *member)
{
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        const struct topic *t = machine_find_topic(m, cmd->entries[i].topic);
        struct group_partition *gp =
            t == NULL ? NULL : group_find_partition(g, t->id, cmd->entries[i].partition);
        if (gp != NULL && gp->owner == member && gp->successor != NULL)
            group_partition_move(m, gp, gp->successor);
    }
}

static void revoke_expired(const struct machine *m, struct group *g)
{
    for (uint32_t i = 0; i < g->partition_count; i++) {
        struct group_partition *gp = g->partitions[i];
        if (gp->successor == NULL || gp->revoke_by_us > m->time_us)
            continue;
        g->rebalances.revocation_timeouts++;
        g->revocation_expired = true;
        group_partition_move(m, gp, gp->successor);
    }
}

static uint32_t count_pending(const struct member *member)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < member->assigned_count; i++)
        count += member->assigned[i]->successor != NULL;
    return count;
}

void apply_group_revoke(struct machine *m, const struct command_group_revoke *cmd,
                        struct arena *arena, struct result *out)
{
    (void)arena;
    struct group *g = machine_find_group(m, cmd->group);
    const struct member *member =
        g == NULL || cmd->expired ? NULL : group_find_member(g, cmd->member_id);
    if (g == NULL)
        out->status = ST_GROUP_NOT_FOUND;
    else if (member == NULL && !cmd->expired)
        out->status = ST_MEMBER_NOT_FOUND;
    else if (cmd->generation >= 0 && cmd->generation != (int64_t)g->generation)
        out->status = ST_STALE_GENERATION;
    if (out->status != ST_OK)
        return;
    uint64_t moved_before = g->rebalances.partitions_revoked;
    if (cmd->expired)
        revoke_expired(m, g);
    else
        revoke_asked(m, cmd, g, member);
    if (g->rebalances.partitions_revoked != moved_before)
        group_settle(m, g);
    out->revoke =
        (struct result_revoke){.generation = g->generation,
                               .pending_count = member == NULL ? 0 : count_pending(member),
                               .rebalancing = group_is_rebalancing(g)};
}
