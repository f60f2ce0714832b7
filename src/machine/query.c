/* Answers to questions, copied into the asker's arena. */
#include <stdlib.h>

#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

static struct span copy_text(struct arena *arena, const char *text)
{
    return arena_copy(arena, span_text(text));
}

/* "acme/" holds what begins so; the empty scope, the default tenant's, what has no '/'. */
static bool in_scope(const struct query *q, struct span name)
{
    const struct span scope = q->scope;
    if (q->every_tenant)
        return true;
    if (scope.size == 0)
        return memchr(name.data, '/', name.size) == NULL;
    return name.size > scope.size && memcmp(name.data, scope.data, scope.size) == 0;
}

/* Of the visible messages of each priority, how many this group has done. */
static void count_done(const struct group_partition *gp, uint64_t done[PRIORITY_COUNT])
{
    const struct partition *p = gp->partition;
    const struct exceptions *e = p->exceptions;
    uint64_t end = gp->position < p->next_offset ? gp->position : p->next_offset;
    if (end < p->start_offset)
        end = p->start_offset;
    uint64_t normal = end - p->start_offset + offset_set_count(&gp->done);
    if (e != NULL)
        normal -= offset_set_count_between(&e->hidden, p->start_offset, end) +
                  offset_set_count_common(&e->hidden, &gp->done);
    for (unsigned i = 0; e != NULL && i < PRIORITY_COUNT; i++) {
        done[i] = offset_set_count_between(&e->lanes[i], p->start_offset, end) +
                  offset_set_count_common(&e->lanes[i], &gp->done);
        normal -= done[i];
    }
    done[PRIORITY_NORMAL] = normal;
}

/* The group that is furthest tells, priority by priority. */
static void describe_done(const struct partition *p, struct partition_info *out)
{
    for (const struct group_partition *gp = p->readers; gp != NULL; gp = gp->next_reader) {
        uint64_t done[PRIORITY_COUNT] = {0};
        count_done(gp, done);
        for (unsigned i = 0; i < PRIORITY_COUNT; i++) {
            CHECK(done[i] <= out->by_priority[i]);
            if (done[i] > out->done_by_priority[i])
                out->done_by_priority[i] = done[i];
        }
    }
}

static void describe_topic(const struct machine *m, const struct topic *t, bool with_partitions,
                           struct arena *arena, struct topic_info *out)
{
    *out = (struct topic_info){.name = copy_text(arena, t->name),
                               .id = t->id,
                               .partition_count = t->partition_count,
                               .settings = t->settings,
                               .created_us = t->created_us,
                               .totals = t->totals,
                               .has_dead_letter_topic =
                                   machine_find_topic(m, topic_dead_letter_name(t, arena)) != NULL};
    if (!with_partitions)
        return;
    out->partitions = arena_array(arena, t->partition_count, sizeof *out->partitions);
    for (uint32_t i = 0; i < t->partition_count; i++) {
        const struct partition *p = t->partitions[i];
        out->partitions[i] = (struct partition_info){
            .start_offset = p->start_offset,
            .next_offset = p->next_offset,
            .message_count = p->message_count,
            .size_bytes = p->size_bytes,
        };
        for (unsigned priority = 0; priority < PRIORITY_COUNT; priority++)
            out->partitions[i].by_priority[priority] =
                partition_priority_count(p, (enum priority)priority);
        describe_done(p, &out->partitions[i]);
        if (p->exceptions != NULL)
            out->partitions[i].pending_count = due_index_count(&p->exceptions->due);
    }
}

static void query_one_topic(const struct machine *m, const struct query *q, struct arena *arena,
                            struct query_result *out)
{
    const struct topic *t = machine_find_topic(m, q->name);
    if (t == NULL) {
        out->status = ST_TOPIC_NOT_FOUND;
        return;
    }
    out->topics = arena_new(arena, struct topic_info);
    out->topic_count = 1;
    describe_topic(m, t, q->type == QUERY_TOPIC, arena, out->topics);
}

static int compare_topics(const void *left, const void *right)
{
    const struct topic_info *a = left, *b = right;
    return span_compare(a->name, b->name);
}

static void query_topics(const struct machine *m, const struct query *q, struct arena *arena,
                         struct query_result *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->topic_count; i++)
        count += in_scope(q, topic_name(m->topics[i]));
    out->topics = arena_array(arena, count, sizeof *out->topics);
    for (uint32_t i = 0; i < m->topic_count; i++) {
        if (in_scope(q, topic_name(m->topics[i])))
            describe_topic(m, m->topics[i], true, arena, &out->topics[out->topic_count++]);
    }
    qsort(out->topics, out->topic_count, sizeof *out->topics, compare_topics);
}

struct assigned *member_copy_assigned(const struct member *member, struct arena *arena,
                                      uint32_t *out_count)
{
    struct assigned *list = arena_array(arena, member->assigned_count, sizeof *list);
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        const struct partition *p = member->assigned[i]->partition;
        bool same_topic = i > 0 && list[i - 1].topic_id == p->topic->id;
        list[i].topic = same_topic ? list[i - 1].topic : copy_text(arena, p->topic->name);
        list[i].topic_id = p->topic->id;
        list[i].partition = p->index;
    }
    *out_count = member->assigned_count;
    return list;
}

static int compare_spans(const void *left, const void *right)
{
    const struct span *a = left, *b = right;
    return span_compare(*a, *b);
}

static int compare_ids(const void *left, const void *right)
{
    uint32_t a, b;
    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return (a > b) - (a < b);
}

/* The union of the subscriptions, by name. */
static void describe_topics_of(const struct machine *m, const struct group *g, struct arena *arena,
                               struct group_info *out)
{
    size_t seats = 0;
    for (uint32_t i = 0; i < g->member_count; i++)
        seats += g->members[i]->topic_count;
    uint32_t *ids = alloc_array(seats + 1, sizeof *ids);
    size_t at = 0;
    for (uint32_t i = 0; i < g->member_count; i++) {
        for (uint32_t k = 0; k < g->members[i]->topic_count; k++)
            ids[at++] = g->members[i]->topic_ids[k];
    }
    qsort(ids, seats, sizeof *ids, compare_ids);
    uint32_t count = 0;
    for (size_t i = 0; i < seats; i++) {
        if (count == 0 || ids[count - 1] != ids[i])
            ids[count++] = ids[i];
    }
    out->topics = arena_array(arena, count, sizeof *out->topics);
    out->topic_count = count;
    for (uint32_t i = 0; i < count; i++)
        out->topics[i] = copy_text(arena, machine_topic_by_id(m, ids[i])->name);
    qsort(out->topics, count, sizeof *out->topics, compare_spans);
    free(ids);
}

static void describe_group(const struct machine *m, const struct group *g, struct arena *arena,
                           struct group_info *out)
{
    *out = (struct group_info){.name = copy_text(arena, g->name),
                               .id = g->id,
                               .generation = g->generation,
                               .created_us = g->created_us,
                               .member_count = g->member_count,
                               .ordering = g->ordering,
                               .rebalancing = group_is_rebalancing(g),
                               .rebalances = g->rebalances};
    out->members = arena_array(arena, g->member_count, sizeof *out->members);
    for (uint32_t i = 0; i < g->member_count; i++) {
        const struct member *member = g->members[i];
        struct member_info *info = &out->members[i];
        info->member_id = arena_copy(arena, member->id);
        info->client_id = arena_copy(arena, member->client_id);
        info->cooperative = member->cooperative;
        info->joined_us = member->joined_us;
        info->assigned = member_copy_assigned(member, arena, &info->assigned_count);
    }
    describe_topics_of(m, g, arena, out);
}

static void query_group(const struct machine *m, const struct query *q, struct arena *arena,
                        struct query_result *out)
{
    const struct group *g = machine_find_group(m, q->name);
    if (g == NULL) {
        out->status = ST_GROUP_NOT_FOUND;
        return;
    }
    out->groups = arena_new(arena, struct group_info);
    out->group_count = 1;
    describe_group(m, g, arena, out->groups);
}

static int compare_groups(const void *left, const void *right)
{
    const struct group_info *a = left, *b = right;
    return span_compare(a->name, b->name);
}

static void query_groups(const struct machine *m, const struct query *q, struct arena *arena,
                         struct query_result *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->group_count; i++)
        count += in_scope(q, span_text(m->groups[i]->name));
    out->groups = arena_array(arena, count, sizeof *out->groups);
    for (uint32_t i = 0; i < m->group_count; i++) {
        if (in_scope(q, span_text(m->groups[i]->name)))
            describe_group(m, m->groups[i], arena, &out->groups[out->group_count++]);
    }
    qsort(out->groups, out->group_count, sizeof *out->groups, compare_groups);
}

static int compare_offsets(const void *left, const void *right)
{
    const struct offset_info *a = left, *b = right;
    int order = span_compare(a->topic, b->topic);
    return order != 0 ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

static void query_offsets(const struct machine *m, const struct query *q, struct arena *arena,
                          struct query_result *out)
{
    const struct group *g = machine_find_group(m, q->name);
    if (g == NULL)
        return;
    out->generation = g->generation;
    out->offsets = arena_array(arena, g->partition_count, sizeof *out->offsets);
    for (uint32_t i = 0; i < g->partition_count; i++) {
        const struct group_partition *gp = g->partitions[i];
        const struct topic *t = gp->partition->topic;
        if (q->topic.size > 0 && !span_equal(q->topic, topic_name(t)))
            continue;
        const struct offset_info *last = out->offsets + out->offset_count - 1;
        bool same_topic = out->offset_count > 0 && last->topic_id == t->id;
        out->offsets[out->offset_count++] = (struct offset_info){
            .topic = same_topic ? last->topic : copy_text(arena, t->name),
            .topic_id = t->id,
            .partition = gp->partition->index,
            .offset = gp->position,
            .next_offset = gp->partition->next_offset,
            .lag = group_partition_lag(gp),
        };
    }
    qsort(out->offsets, out->offset_count, sizeof *out->offsets, compare_offsets);
}

void machine_query(const struct machine *m, const struct query *q, struct arena *arena,
                   struct query_result *out)
{
    *out = (struct query_result){.status = ST_OK};
    switch (q->type) {
    case QUERY_TOPICS:
        query_topics(m, q, arena, out);
        break;
    case QUERY_TOPIC:
    case QUERY_RESOLVE:
    case QUERY_IN_FLIGHT: /* delivery adds the rest */
        query_one_topic(m, q, arena, out);
        break;
    case QUERY_DELAYED:
        query_one_topic(m, q, arena, out);
        if (out->status == ST_OK)
            query_delayed(machine_find_topic(m, q->name), q, arena, out);
        break;
    case QUERY_GROUPS:
        query_groups(m, q, arena, out);
        break;
    case QUERY_GROUP:
        query_group(m, q, arena, out);
        break;
    case QUERY_OFFSETS:
        query_offsets(m, q, arena, out);
        break;
    case QUERY_TRANSACTIONS:
        query_transactions(m, q, arena, out);
        break;
    case QUERY_TRANSACTION:
        query_transaction(m, q, arena, out);
        break;
    case QUERY_STATS:
        out->stats = (struct stats_info){.topic_count = m->topic_count,
                                         .group_count = m->group_count,
                                         .applied_index = m->applied_index,
                                         .digest = q->with_digest ? machine_digest(m) : 0};
        break;
    }
}
