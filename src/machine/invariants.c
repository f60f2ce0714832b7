/* What always holds. Each check names the rule it found broken, so that a snapshot from a disk can
 * be refused by the same rules that abort on a bug of ours. */
#include "command/codec.h"
#include "machine/state.h"
#include "std/check.h"

#define MUST(rule)                                                                                 \
    do {                                                                                           \
        if (!(rule))                                                                               \
            return #rule;                                                                          \
    } while (0)

static const char *check_partition(const struct topic *t, uint32_t i)
{
    const struct partition *p = &t->partitions[i];
    MUST(p->topic == t);
    MUST(p->index == i);
    MUST(p->next_offset <= OFFSET_MAX);
    MUST(p->start_offset <= p->next_offset);
    MUST(p->message_count <= p->next_offset - p->start_offset);
    return NULL;
}

static const char *check_topic(const struct machine *m, const struct topic *t)
{
    MUST(t->id > 0 && t->id < m->next_topic_id);
    MUST(machine_topic_by_id(m, t->id) == t);
    MUST(machine_find_topic(m, topic_name(t)) == t);
    MUST(t->partition_count >= 1 && t->partition_count <= PARTITIONS_MAX);
    MUST(t->round_robin < t->partition_count);
    MUST(t->created_us <= m->time_us);
    for (uint32_t i = 0; i < t->partition_count; i++) {
        const char *broken = check_partition(t, i);
        if (broken != NULL)
            return broken;
    }
    return NULL;
}

static const char *check_assigned(const struct member *member)
{
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        const struct group_partition *gp = member->assigned[i];
        MUST(gp->owner == member);
        if (i == 0)
            continue;
        const struct group_partition *before = member->assigned[i - 1];
        int order =
            span_compare(topic_name(before->partition->topic), topic_name(gp->partition->topic));
        MUST(order < 0 || (order == 0 && before->partition->index < gp->partition->index));
    }
    return NULL;
}

static const char *check_member(const struct machine *m, const struct group *g, uint32_t rank)
{
    const struct member *member = g->members[rank];
    MUST(member->group == g);
    MUST(member->rank == rank);
    MUST(group_find_member(g, member->id) == member);
    MUST(member->topic_count <= TOPICS_PER_MEMBER_MAX);
    MUST(member->session_us >= 1 && member->visibility_us >= 0 && member->in_flight_max >= 1);
    MUST(member->changed_generation >= 1 && member->changed_generation <= g->generation);
    MUST(member->joined_us <= m->time_us);
    for (uint32_t i = 0; i < member->topic_count; i++) {
        MUST(i == 0 || member->topic_ids[i - 1] < member->topic_ids[i]);
        const struct topic *t = machine_topic_by_id(m, member->topic_ids[i]);
        MUST(t != NULL);
        for (uint32_t p = 0; p < t->partition_count; p++) {
            const struct group_partition *gp = group_find_partition(g, t->id, p);
            MUST(gp != NULL);
            MUST(gp->owner != NULL);
        }
    }
    return check_assigned(member);
}

static const char *check_group_partition(const struct machine *m, const struct group *g, uint32_t i)
{
    const struct group_partition *gp = g->partitions[i];
    const struct partition *p = gp->partition;
    MUST(gp->group == g);
    MUST(machine_topic_by_id(m, p->topic->id) == p->topic);
    MUST(group_find_partition(g, p->topic->id, p->index) == gp);
    MUST(gp->owner == NULL || member_subscribes(gp->owner, p->topic->id));
    MUST(gp->position <= OFFSET_MAX);
    uint64_t first_done;
    if (offset_set_next(&gp->done, 0, &first_done)) {
        MUST(first_done > gp->position);
        MUST(!offset_set_next(&gp->done, p->next_offset, &first_done));
    }
    return NULL;
}

static const char *check_departed(const struct machine *m, const struct group *g)
{
    MUST(g->departed_count <= DEPARTED_MAX);
    for (uint32_t i = 0; i < g->departed_count; i++) {
        MUST(g->departed[i].time_us <= m->time_us);
        MUST(i == 0 || g->departed[i - 1].time_us <= g->departed[i].time_us);
    }
    return NULL;
}

static const char *check_group(const struct machine *m, const struct group *g)
{
    MUST(g->id > 0 && g->id < m->next_group_id);
    MUST(machine_group_by_id(m, g->id) == g);
    MUST(machine_find_group(m, span_text(g->name)) == g);
    MUST(g->generation >= 1);
    MUST(g->rebalance_count <= g->generation);
    MUST(g->created_us <= m->time_us);
    MUST(g->member_count <= MEMBERS_PER_GROUP_MAX);
    MUST(g->by_member_id.count == g->member_count);
    uint64_t owned = 0, assigned = 0;
    const char *broken = NULL;
    for (uint32_t i = 0; i < g->partition_count && broken == NULL; i++) {
        owned += g->partitions[i]->owner != NULL;
        broken = check_group_partition(m, g, i);
    }
    for (uint32_t i = 0; i < g->member_count && broken == NULL; i++) {
        assigned += g->members[i]->assigned_count;
        broken = check_member(m, g, i);
    }
    if (broken != NULL)
        return broken;
    MUST(owned == assigned); /* each on its owner's list: as many, all of them theirs, no doubles */
    return check_departed(m, g);
}

const char *machine_find_broken(const struct machine *m)
{
    MUST(m->topic_count <= TOPICS_MAX && m->partition_total <= PARTITIONS_TOTAL_MAX);
    MUST(m->group_count <= GROUPS_MAX);
    MUST(m->topics_by_name.count == m->topic_count);
    MUST(m->topics_by_id.count == m->topic_count);
    MUST(m->groups_by_name.count == m->group_count);
    MUST(m->groups_by_id.count == m->group_count);
    uint64_t partition_total = 0;
    const char *broken = NULL;
    for (uint32_t i = 0; i < m->topic_count && broken == NULL; i++) {
        MUST(i == 0 || m->topics[i - 1]->id < m->topics[i]->id);
        partition_total += m->topics[i]->partition_count;
        broken = check_topic(m, m->topics[i]);
    }
    for (uint32_t i = 0; i < m->group_count && broken == NULL; i++) {
        MUST(i == 0 || m->groups[i - 1]->id < m->groups[i]->id);
        broken = check_group(m, m->groups[i]);
    }
    if (broken != NULL)
        return broken;
    MUST(partition_total == m->partition_total);
    return NULL;
}

void machine_check(const struct machine *m)
{
    const char *broken = machine_find_broken(m);
    if (broken != NULL)
        check_failed(broken, __FILE__, __LINE__, __func__);
}
