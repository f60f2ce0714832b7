/* Groups: join, leave, delete. */
#include <stdlib.h>

#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

static int compare_ids(const void *left, const void *right)
{
    uint32_t a, b;
    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return (a > b) - (a < b);
}

/* Gives the ids of the joiner's topics, ascending, without duplicates. NULL: one does not exist. */
static uint32_t *find_topics(const struct machine *m, const struct joiner *joiner,
                             uint32_t *out_count)
{
    uint32_t *ids = alloc_array((size_t)joiner->topic_count + 1, sizeof *ids);
    for (uint32_t i = 0; i < joiner->topic_count; i++) {
        const struct topic *t = machine_find_topic(m, joiner->topics[i]);
        if (t == NULL) {
            free(ids);
            return NULL;
        }
        ids[i] = t->id;
    }
    qsort(ids, joiner->topic_count, sizeof *ids, compare_ids);
    uint32_t count = 0;
    for (uint32_t i = 0; i < joiner->topic_count; i++) {
        if (count == 0 || ids[count - 1] != ids[i])
            ids[count++] = ids[i];
    }
    *out_count = count;
    return ids;
}

struct joining { /* one GROUP_JOIN on its way */
    struct machine *m;
    struct group *group; /* NULL: to be created by the first who may join */
    struct span name;
    bool changed;   /* a new generation is due */
    bool reordered; /* messages are delivered in another order */
};

static enum status may_join(const struct joining *join, const struct joiner *joiner,
                            const struct member *member)
{
    if (joiner->rejoin)
        return member == NULL ? ST_MEMBER_NOT_FOUND : ST_OK;
    if (member != NULL)
        return ST_INVALID_ARGUMENT; /* ids of new members are unique */
    if (join->group == NULL)
        return join->m->group_count < GROUPS_MAX ? ST_OK : ST_QUOTA_EXCEEDED;
    return join->group->member_count < MEMBERS_PER_GROUP_MAX ? ST_OK : ST_QUOTA_EXCEEDED;
}

static void need_group(struct joining *join)
{
    if (join->group != NULL)
        return;
    struct machine *m = join->m;
    join->group = group_new(m->next_group_id, join->name);
    CHECK(m->next_group_id < UINT32_MAX);
    m->next_group_id++;
    join->group->created_us = m->time_us;
    machine_add_group(m, join->group);
}

static enum status join_one(struct joining *join, const struct joiner *joiner)
{
    struct member *member =
        join->group == NULL ? NULL : group_find_member(join->group, joiner->member_id);
    enum status st = may_join(join, joiner, member);
    if (st != ST_OK)
        return st;
    uint32_t topic_count = 0;
    uint32_t *topic_ids = find_topics(join->m, joiner, &topic_count);
    if (topic_ids == NULL)
        return ST_TOPIC_NOT_FOUND;

    need_group(join);
    if (member == NULL) {
        member = group_add_member(join->group, joiner->member_id, joiner->client_id);
        member->joined_us = join->m->time_us;
        member->changed_generation = join->group->generation + 1;
        join->changed = true;
    } else if (member->topic_count != topic_count || member->cooperative != joiner->cooperative ||
               memcmp(member->topic_ids, topic_ids, topic_count * sizeof *topic_ids) != 0) {
        join->changed = true;
    }
    member_subscribe(member, topic_ids, topic_count);
    member->session_us = joiner->session_us;
    member->visibility_us = joiner->visibility_us;
    member->in_flight_max = joiner->in_flight_max;
    member->deliveries_max = joiner->deliveries_max;
    member->from_latest = joiner->from_latest;
    member->cooperative = joiner->cooperative;
    if (joiner->ordering != ORDERING_UNSET && joiner->ordering != join->group->ordering) {
        join->group->ordering = joiner->ordering;
        join->reordered = true;
    }
    return ST_OK;
}

static void describe_group(const struct group *g, struct arena *arena,
                           struct result_group_join *out)
{
    out->group_id = g->id;
    out->generation = g->generation;
    out->member_count = g->member_count;
    out->member_ids = arena_array(arena, g->member_count, sizeof *out->member_ids);
    for (uint32_t i = 0; i < g->member_count; i++)
        out->member_ids[i] = arena_copy(arena, g->members[i]->id);
    if (g->member_count > 0)
        out->leader_id = out->member_ids[0];
}

/* Is somebody still to let go of a partition for this member? */
static bool member_waits(const struct member *member)
{
    const struct group *g = member->group;
    for (uint32_t i = 0; group_is_rebalancing(g) && i < g->partition_count; i++)
        if (g->partitions[i]->successor == member)
            return true;
    return false;
}

void apply_group_join(struct machine *m, const struct command_group_join *cmd, struct arena *arena,
                      struct result *out)
{
    struct joining join = {.m = m, .group = machine_find_group(m, cmd->group), .name = cmd->group};
    struct joined *joined = arena_array(arena, cmd->joiner_count, sizeof *joined);
    for (uint32_t i = 0; i < cmd->joiner_count; i++) {
        joined[i].member_id = arena_copy(arena, cmd->joiners[i].member_id);
        joined[i].status = join_one(&join, &cmd->joiners[i]);
    }
    out->join.joined = joined;
    out->join.joined_count = cmd->joiner_count;
    if (join.group == NULL)
        return;

    if (join.changed)
        group_rebalance(m, join.group, REBALANCE_MEMBER_JOINED);
    else if (join.reordered)
        EFFECT(m, group_changed, join.group);
    describe_group(join.group, arena, &out->join);
    for (uint32_t i = 0; i < cmd->joiner_count; i++) {
        if (joined[i].status != ST_OK)
            continue;
        const struct member *member = group_find_member(join.group, joined[i].member_id);
        CHECK(member != NULL);
        joined[i].leader = member->rank == 0;
        joined[i].waits = member_waits(member);
        joined[i].assigned = member_copy_assigned(member, arena, &joined[i].assigned_count);
    }
}

void apply_group_leave(struct machine *m, const struct command_group_leave *cmd,
                       struct arena *arena, struct result *out)
{
    (void)arena;
    struct group *g = machine_find_group(m, cmd->group);
    if (g == NULL) {
        out->status = ST_GROUP_NOT_FOUND;
        return;
    }
    struct member *member = group_find_member(g, cmd->member_id);
    if (member == NULL) {
        bool departed = group_has_departed(g, cmd->member_id, m->time_us);
        out->status = departed ? ST_OK : ST_MEMBER_NOT_FOUND;
        return;
    }
    EFFECT(m, member_gone, g, member);
    member_let_go(member);
    group_remove_member(g, member);
    group_add_departed(g, cmd->member_id, m->time_us);
    group_rebalance(m, g,
                    cmd->reason == LEAVE_SESSION_EXPIRED ? REBALANCE_SESSION_TIMEOUT
                                                         : REBALANCE_MEMBER_LEFT);
}

void apply_group_delete(struct machine *m, const struct command_group_delete *cmd,
                        struct arena *arena, struct result *out)
{
    (void)arena;
    struct group *g = machine_find_group(m, cmd->group);
    if (g == NULL) {
        out->status = ST_GROUP_NOT_FOUND;
        return;
    }
    for (uint32_t i = 0; i < g->member_count; i++)
        EFFECT(m, member_gone, g, g->members[i]);
    for (uint32_t i = 0; i < g->partition_count; i++)
        EFFECT(m, group_partition_gone, g->partitions[i]);
    EFFECT(m, group_deleted, g);
    machine_remove_group(m, g);
}
