/* A member asks what has become of its assignment. */
#include "delivery/session.h"
#include "delivery/state.h"

bool member_must_rebalance(const struct member *member, int64_t generation)
{
    int64_t current = member->group->generation;
    return generation >= 0 && generation != current &&
           (generation > current || member->changed_generation > generation);
}

static struct assigned describe(const struct group_partition *gp, struct arena *arena)
{
    const struct partition *partition = gp->partition;
    return (struct assigned){
        .topic = arena_copy(arena, span_text(partition->topic->name)),
        .topic_id = partition->topic->id,
        .partition = partition->index,
    };
}

/* Did it come since the member was told? What an earlier run has told is not known: the generation
 * says what the member knows. */
static bool is_gained(const struct session *s, const struct group_partition *gp, int64_t generation)
{
    if (s->told_index > 0)
        return gp->owner_index > s->told_index;
    return generation >= 0 && gp->owner_generation > generation;
}

static bool waits_for_others(const struct member *member)
{
    const struct group *g = member->group;
    for (uint32_t i = 0; g->open_rebalances > 0 && i < g->partition_count; i++)
        if (g->partitions[i]->successor == member)
            return true;
    return false;
}

static void describe_handover(const struct delivery *d, struct session *s,
                              struct heartbeat_request *beat)
{
    const struct member *member = s->member;
    beat->to_revoke = arena_array(beat->arena, member->assigned_count, sizeof *beat->to_revoke);
    beat->gained = arena_array(beat->arena, member->assigned_count, sizeof *beat->gained);
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        const struct group_partition *gp = member->assigned[i];
        if (is_gained(s, gp, beat->generation))
            beat->gained[beat->gained_count++] = beat->assigned[i];
        if (gp->successor == NULL)
            continue;
        beat->to_revoke[beat->to_revoke_count++] = beat->assigned[i];
        if (beat->revoke_by_us == 0 || gp->revoke_by_us < beat->revoke_by_us)
            beat->revoke_by_us = gp->revoke_by_us;
    }
    s->told_index = machine_applied_index(d->machine);
    beat->waits = waits_for_others(member);
    beat->member_cooperative = member->cooperative;
}

void delivery_heartbeat(struct delivery *d, struct heartbeat_request *beat, int64_t now_us)
{
    delivery_set_now(d, now_us);
    struct member *member = delivery_find_member(d, beat->group, beat->member_id, &beat->status);
    if (member == NULL)
        return;
    struct session *s = session_of(d, member);
    session_touch(d, s);
    beat->current_generation = member->group->generation;
    beat->rebalance_required = member_must_rebalance(member, beat->generation);
    beat->assigned_count = member->assigned_count;
    beat->assigned = arena_array(beat->arena, member->assigned_count, sizeof *beat->assigned);
    for (uint32_t i = 0; i < member->assigned_count; i++)
        beat->assigned[i] = describe(member->assigned[i], beat->arena);
    if (beat->cooperative)
        describe_handover(d, s, beat);
}
