/* Who of a group reads what from now on. */
#include <stdlib.h>

#include "machine/assign.h"
#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

struct plan { /* the topics that the members subscribe to, all together, as assign() wants them */
    const struct machine *m;
    struct group *group;
    uint32_t *topic_ids; /* ascending */
    uint32_t topic_count;
    struct assign_topic *topics;
    struct assign_member *members;
    uint32_t *owners;        /* the memory of all topics' owners */
    uint32_t *subscriptions; /* the memory of all members' topics */
};

static int compare_ids(const void *left, const void *right)
{
    uint32_t a, b;
    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return (a > b) - (a < b);
}

static uint32_t sort_unique(uint32_t *ids, size_t count)
{
    qsort(ids, count, sizeof *ids, compare_ids);
    uint32_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || ids[kept - 1] != ids[i])
            ids[kept++] = ids[i];
    }
    return kept;
}

static uint32_t find_index(const struct plan *plan, uint32_t topic_id)
{
    uint32_t low = 0, end = plan->topic_count;
    while (low < end) {
        uint32_t middle = low + (end - low) / 2;
        if (plan->topic_ids[middle] < topic_id)
            low = middle + 1;
        else
            end = middle;
    }
    CHECK(low < plan->topic_count && plan->topic_ids[low] == topic_id);
    return low;
}

static void plan_members(struct plan *plan)
{
    const struct group *g = plan->group;
    size_t seats = 0;
    for (uint32_t i = 0; i < g->member_count; i++)
        seats += g->members[i]->topic_count;
    plan->topic_ids = alloc_array(seats + 1, sizeof *plan->topic_ids);
    plan->subscriptions = alloc_array(seats + 1, sizeof *plan->subscriptions);
    plan->members = alloc_array((size_t)g->member_count + 1, sizeof *plan->members);
    size_t at = 0;
    for (uint32_t i = 0; i < g->member_count; i++) {
        for (uint32_t k = 0; k < g->members[i]->topic_count; k++)
            plan->topic_ids[at++] = g->members[i]->topic_ids[k];
    }
    plan->topic_count = sort_unique(plan->topic_ids, seats);
    at = 0;
    for (uint32_t i = 0; i < g->member_count; i++) {
        const struct member *member = g->members[i];
        plan->members[i] = (struct assign_member){&plan->subscriptions[at], member->topic_count};
        for (uint32_t k = 0; k < member->topic_count; k++)
            plan->subscriptions[at++] = find_index(plan, member->topic_ids[k]);
    }
}

/* Who has the partition, or is about to get it, and wants it still; NULL: nobody. */
static const struct member *expected_owner(const struct group_partition *gp)
{
    uint32_t topic_id = gp->partition->topic->id;
    if (gp->successor != NULL && member_subscribes(gp->successor, topic_id))
        return gp->successor;
    return gp->owner != NULL && member_subscribes(gp->owner, topic_id) ? gp->owner : NULL;
}

static void plan_topics(struct plan *plan)
{
    size_t partitions = 0;
    plan->topics = alloc_array((size_t)plan->topic_count + 1, sizeof *plan->topics);
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        const struct topic *t = machine_topic_by_id(plan->m, plan->topic_ids[i]);
        CHECK(t != NULL);
        plan->topics[i].partition_count = t->partition_count;
        partitions += t->partition_count;
    }
    plan->owners = alloc_array(partitions + 1, sizeof *plan->owners);
    for (size_t i = 0; i < partitions; i++)
        plan->owners[i] = ASSIGN_NOBODY;
    uint32_t *owners = plan->owners;
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        plan->topics[i].owners = owners;
        owners += plan->topics[i].partition_count;
    }
    for (uint32_t i = 0; i < plan->group->partition_count; i++) {
        const struct group_partition *gp = plan->group->partitions[i];
        const struct partition *p = gp->partition;
        const struct member *owner = expected_owner(gp);
        if (owner != NULL)
            plan->topics[find_index(plan, p->topic->id)].owners[p->index] = owner->rank;
    }
}

static void plan_free(struct plan *plan)
{
    free(plan->topic_ids);
    free(plan->topics);
    free(plan->members);
    free(plan->owners);
    free(plan->subscriptions);
}

/* Gives the partition to `to`: now, or once its owner has let go of it. One that the group had not
 * before starts where its first owner wants it. */
static void hand_over(const struct machine *m, struct group *g, struct partition *p,
                      struct member *to)
{
    uint32_t known = g->partition_count;
    struct group_partition *gp = group_need_partition(g, p);
    if (g->partition_count != known)
        gp->position =
            group_partition_next_open(gp, to->from_latest ? p->next_offset : p->start_offset);
    if (gp->owner == to) {
        gp->successor = NULL;
        gp->revoke_by_us = 0;
    } else if (gp->owner != NULL && gp->owner->cooperative) {
        if (gp->successor == NULL)
            gp->revoke_by_us = m->time_us + REVOCATION_TIMEOUT_US;
        gp->successor = to;
    } else {
        group_partition_move(m, gp, to);
    }
}

static void plan_carry_out(const struct plan *plan)
{
    struct group *g = plan->group;
    for (uint32_t i = 0; i < g->partition_count; i++) { /* what its owner wants no more */
        struct group_partition *gp = g->partitions[i];
        if (gp->owner != NULL && !member_subscribes(gp->owner, gp->partition->topic->id))
            group_partition_move(plan->m, gp, NULL);
    }
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        struct topic *t = machine_topic_by_id(plan->m, plan->topic_ids[i]);
        for (uint32_t p = 0; p < t->partition_count; p++) {
            uint32_t rank = plan->topics[i].owners[p];
            CHECK(rank < g->member_count);
            hand_over(plan->m, g, t->partitions[p], g->members[rank]);
        }
    }
}

static int compare_by_name(const void *left, const void *right)
{
    const struct group_partition *a = *(struct group_partition *const *)left;
    const struct group_partition *b = *(struct group_partition *const *)right;
    int order = span_compare(topic_name(a->partition->topic), topic_name(b->partition->topic));
    if (order != 0)
        return order;
    return (a->partition->index > b->partition->index) -
           (a->partition->index < b->partition->index);
}

struct share { /* what one member reads */
    struct group_partition **partitions;
    uint32_t count;
};

static struct share *share_out(const struct group *g)
{
    struct share *shares = alloc_array((size_t)g->member_count + 1, sizeof *shares);
    for (uint32_t i = 0; i < g->partition_count; i++) {
        if (g->partitions[i]->owner != NULL)
            shares[g->partitions[i]->owner->rank].count++;
    }
    for (uint32_t i = 0; i < g->member_count; i++) {
        shares[i].partitions =
            alloc_array((size_t)shares[i].count + 1, sizeof(struct group_partition *));
        shares[i].count = 0;
    }
    for (uint32_t i = 0; i < g->partition_count; i++) {
        if (g->partitions[i]->owner == NULL)
            continue;
        struct share *share = &shares[g->partitions[i]->owner->rank];
        share->partitions[share->count++] = g->partitions[i];
    }
    return shares;
}

void group_fill_assigned(struct group *g, uint32_t generation)
{
    struct share *shares = share_out(g);
    for (uint32_t i = 0; i < g->member_count; i++) {
        struct member *member = g->members[i];
        struct share *share = &shares[i];
        size_t size = share->count * sizeof(struct group_partition *);
        qsort(share->partitions, share->count, sizeof(struct group_partition *), compare_by_name);
        bool same = member->assigned_count == share->count &&
                    (size == 0 || memcmp(member->assigned, share->partitions, size) == 0);
        if (!same && generation != 0)
            member->changed_generation = generation;
        free(member->assigned);
        member->assigned = share->partitions;
        member->assigned_count = share->count;
    }
    free(shares);
}

void group_rebalance(struct machine *m, struct group *g, enum rebalance_reason reason)
{
    if (g->open_rebalances++ == 0)
        g->rebalance_began_us = m->time_us;
    g->rebalances.total++;
    g->rebalances.by_reason[reason]++;
    struct plan plan = {.m = m, .group = g};
    plan_members(&plan);
    plan_topics(&plan);
    assign(plan.members, g->member_count, plan.topics, plan.topic_count);
    plan_carry_out(&plan);
    plan_free(&plan);
    group_settle(m, g);
}

/* Takes the topic out of the subscription; false if it was not there. */
static bool unsubscribe(struct member *member, uint32_t topic_id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < member->topic_count; i++) {
        if (member->topic_ids[i] != topic_id)
            member->topic_ids[kept++] = member->topic_ids[i];
    }
    bool was_there = kept < member->topic_count;
    member->topic_count = kept;
    return was_there;
}

/* Takes the topic's partitions off the member's list, before they are freed. */
static void unassign(struct member *member, uint32_t topic_id, uint32_t next_generation)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        if (member->assigned[i]->partition->topic->id != topic_id)
            member->assigned[kept++] = member->assigned[i];
    }
    if (kept < member->assigned_count)
        member->changed_generation = next_generation;
    member->assigned_count = kept;
}

void group_drop_topic(struct machine *m, struct group *g, const struct topic *t)
{
    for (uint32_t i = 0; i < g->partition_count; i++) {
        if (g->partitions[i]->partition->topic == t)
            EFFECT(m, group_partition_gone, g->partitions[i]);
    }
    bool subscribed = false;
    for (uint32_t i = 0; i < g->member_count; i++) {
        unassign(g->members[i], t->id, g->generation + 1);
        subscribed |= unsubscribe(g->members[i], t->id);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < g->partition_count; i++) {
        if (g->partitions[i]->partition->topic == t)
            group_partition_free(g->partitions[i]);
        else
            g->partitions[kept++] = g->partitions[i];
    }
    g->partition_count = kept;
    if (subscribed)
        group_rebalance(m, g, REBALANCE_TOPIC_DELETED);
}
