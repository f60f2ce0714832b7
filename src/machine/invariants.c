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

/* Lanes, hidden and gone: each message in one place. */
static const char *check_exceptions(const struct partition *p)
{
    const struct exceptions *e = p->exceptions;
    if (e == NULL)
        return NULL;
    MUST(e->counts[PRIORITY_NORMAL] == 0);
    uint64_t others = 0;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        MUST(e->counts[lane] <= p->message_count - others);
        others += e->counts[lane];
    }
    due_index_check(&e->due);
    MUST(offset_set_is_empty(&e->lanes[PRIORITY_NORMAL]));
    MUST(offset_set_count(&e->hidden) ==
         offset_set_count(&e->gone) + due_index_count(&e->due) + offset_set_count(&e->open));
    MUST(!offset_set_meets(&e->open, &e->gone));
    uint64_t offset = 0;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        MUST(offset_set_count(&e->lanes[lane]) <= e->counts[lane]);
        MUST(!offset_set_next(&e->lanes[lane], p->next_offset, &offset));
        MUST(!offset_set_meets(&e->lanes[lane], &e->hidden));
        for (unsigned other = 0; other < lane; other++)
            MUST(!offset_set_meets(&e->lanes[lane], &e->lanes[other]));
    }
    for (uint64_t at = 0; offset_set_next(&e->gone, at, &offset); at = offset + 1)
        MUST(offset < p->next_offset && offset_set_has(&e->hidden, offset));
    struct due_entry pending[64];
    uint32_t count = 0;
    for (uint64_t skip = 0; (count = due_index_list(&e->due, skip, 64, pending)) > 0; skip += count)
        for (uint32_t i = 0; i < count; i++)
            MUST(offset_set_has(&e->hidden, pending[i].offset) &&
                 !offset_set_has(&e->gone, pending[i].offset) &&
                 !offset_set_has(&e->open, pending[i].offset));
    return NULL;
}

static const char *check_partition(const struct topic *t, uint32_t i)
{
    const struct partition *p = t->partitions[i];
    MUST(p->topic == t);
    MUST(p->index == i);
    MUST(p->next_offset <= OFFSET_MAX);
    MUST(p->start_offset <= p->next_offset);
    MUST(p->message_count <= p->next_offset - p->start_offset);
    for (const struct group_partition *gp = p->readers; gp != NULL; gp = gp->next_reader)
        MUST(gp->partition == p);
    return check_exceptions(p);
}

static const char *check_topic(const struct machine *m, const struct topic *t)
{
    MUST(t->id > 0 && t->id < m->next_topic_id);
    MUST(machine_topic_by_id(m, t->id) == t);
    MUST(machine_find_topic(m, topic_name(t)) == t);
    MUST(t->partition_count >= 1 && t->partition_count <= PARTITIONS_MAX);
    MUST(t->round_robin < t->partition_count);
    MUST(t->created_us <= m->time_us);
    uint64_t pending = 0;
    for (uint32_t i = 0; i < t->partition_count; i++) {
        const char *broken = check_partition(t, i);
        if (broken != NULL)
            return broken;
        if (t->partitions[i]->exceptions != NULL)
            pending += due_index_count(&t->partitions[i]->exceptions->due);
    }
    MUST(pending == t->pending_count);
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
    MUST(member->changed_generation >= 1);
    MUST(member->changed_generation <= g->generation + group_is_rebalancing(g));
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
    MUST(gp->owner_index <= m->applied_index);
    MUST(gp->owner_generation <= g->generation + group_is_rebalancing(g));
    MUST((gp->successor != NULL) == (gp->revoke_by_us > 0));
    if (gp->successor != NULL) {
        MUST(gp->owner != NULL && gp->owner->cooperative && gp->owner != gp->successor);
        MUST(member_subscribes(gp->successor, p->topic->id));
        MUST(group_is_rebalancing(g));
    }
    MUST(gp->position <= OFFSET_MAX);
    MUST(!partition_is_gone(p, gp->position));
    uint64_t first_done;
    if (offset_set_next(&gp->done, 0, &first_done)) {
        MUST(first_done > gp->position);
        MUST(!offset_set_next(&gp->done, p->next_offset, &first_done));
    }
    MUST(!offset_set_next(&gp->out, p->next_offset, &first_done));
    MUST(gp->out_until_us >= 0);
    MUST(gp->rewound_index <= m->applied_index);
    MUST(gp->retries_by_offset.count == gp->retry_count);
    for (uint32_t k = 0; k < gp->retry_count; k++) {
        const struct retry *retry = gp->retries[k];
        MUST(retry->index == k);
        MUST(group_partition_find_retry(gp, retry->offset) == retry);
        MUST(retry->offset < p->next_offset && !group_partition_is_done(gp, retry->offset));
        MUST(retry->delivery_count >= 1);
        MUST(retry->not_before_us >= 0 && retry->first_us >= 0);
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
    MUST(g->rebalances.total ==
         g->rebalances.successful + g->rebalances.failed + g->open_rebalances);
    MUST(g->open_rebalances > 0 || g->rebalance_began_us == 0);
    MUST(g->created_us <= m->time_us);
    MUST(g->member_count <= MEMBERS_PER_GROUP_MAX);
    MUST(g->by_member_id.count == g->member_count);
    uint64_t owned = 0, assigned = 0, handed_over = 0;
    const char *broken = NULL;
    for (uint32_t i = 0; i < g->partition_count && broken == NULL; i++) {
        owned += g->partitions[i]->owner != NULL;
        handed_over += g->partitions[i]->successor != NULL;
        broken = check_group_partition(m, g, i);
    }
    for (uint32_t i = 0; i < g->member_count && broken == NULL; i++) {
        assigned += g->members[i]->assigned_count;
        broken = check_member(m, g, i);
    }
    if (broken != NULL)
        return broken;
    MUST((handed_over > 0) == group_is_rebalancing(g));
    MUST(owned == assigned); /* each on its owner's list: as many, all of them theirs, no doubles */
    return check_departed(m, g);
}

struct open_totals {
    uint64_t messages; /* of topics that are still there */
    uint64_t weight;
    uint32_t count;
};

static const char *check_transaction(const struct machine *m, const struct transaction *t,
                                     struct open_totals *totals)
{
    MUST(t->producer->open == t && transaction_find(&m->transactions, t->number) == t);
    MUST(t->number >= 1 && t->number < m->transactions.next_number);
    MUST(t->began_us <= m->time_us && t->expires_us > t->began_us);
    for (uint32_t i = 0; i < t->message_count; i++) {
        const struct transaction_message *message = &t->messages[i];
        const struct topic *topic = machine_topic_by_id(m, message->topic_id);
        if (topic == NULL)
            continue;
        MUST(message->partition < topic->partition_count);
        const struct exceptions *e = topic->partitions[message->partition]->exceptions;
        MUST(e != NULL && offset_set_has(&e->open, message->offset));
        totals->messages++;
    }
    for (uint32_t i = 0; i < t->ack_count; i++) {
        const struct group_partition *gp = machine_find_place(m, &t->acks[i].place);
        MUST(gp == NULL || offset_set_has(&gp->reserved, t->acks[i].place.offset));
        MUST(t->acks[i].index <= m->applied_index);
    }
    totals->count++;
    totals->weight += (uint64_t)t->message_count + t->ack_count + t->offset_count;
    return NULL;
}

static uint64_t count_open(const struct machine *m)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < m->topic_count; i++)
        for (uint32_t p = 0; p < m->topics[i]->partition_count; p++) {
            const struct exceptions *e = m->topics[i]->partitions[p]->exceptions;
            count += e == NULL ? 0 : offset_set_count(&e->open);
        }
    return count;
}

static const char *check_transactions(const struct machine *m)
{
    struct open_totals totals = {0};
    const char *broken = NULL;
    uint32_t producers = 0;
    for (struct list_node *n = m->transactions.open.next; n != &m->transactions.open && !broken;
         n = n->next)
        broken = check_transaction(m, list_entry(n, struct transaction, by_age), &totals);
    if (broken != NULL)
        return broken;
    MUST(totals.count == m->transactions.open_count);
    MUST(totals.weight == m->transactions.message_total);
    MUST(totals.messages == count_open(m)); /* each is of one transaction */
    for (struct list_node *n = m->producers.by_use.next; n != &m->producers.by_use; n = n->next) {
        const struct producer *p = list_entry(n, struct producer, by_use);
        MUST(map_find_number(&m->producers.by_id, p->id) == p && p->id < m->producers.next_id);
        MUST(p->open == NULL || p->transactional_id.size > 0);
        MUST(p->used_us <= m->time_us);
        producers++;
    }
    MUST(producers == m->producers.count);
    return NULL;
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
    return check_transactions(m);
}

void machine_check(const struct machine *m)
{
    const char *broken = machine_find_broken(m);
    if (broken != NULL)
        check_failed(broken, __FILE__, __LINE__, __func__);
}
