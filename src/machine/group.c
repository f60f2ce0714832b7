#include "machine/group.h"

#include <stdlib.h>

#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

struct group *group_new(uint32_t id, struct span name)
{
    struct group *g = new_zero(struct group);
    g->id = id;
    g->name = alloc_string((const char *)name.data, name.size);
    g->ordering = ORDERING_NONE;
    return g;
}

static void member_free(struct member *member)
{
    free_span(member->id);
    free_span(member->client_id);
    free(member->topic_ids);
    free(member->assigned);
    free(member);
}

void group_partition_free(struct group_partition *gp)
{
    *gp->reader_slot = gp->next_reader;
    if (gp->next_reader != NULL)
        gp->next_reader->reader_slot = gp->reader_slot;
    offset_set_fini(&gp->done);
    offset_set_fini(&gp->out);
    offset_set_fini(&gp->reserved);
    group_partition_clear_retries(gp);
    free(gp);
}

void group_free(struct group *g)
{
    for (uint32_t i = 0; i < g->member_count; i++)
        member_free(g->members[i]);
    for (uint32_t i = 0; i < g->partition_count; i++)
        group_partition_free(g->partitions[i]);
    for (uint32_t i = 0; i < g->departed_count; i++)
        free_span(g->departed[i].member_id);
    map_fini(&g->by_member_id);
    free(g->members);
    free(g->partitions);
    free(g->departed);
    free(g->name);
    free(g);
}

void machine_add_group(struct machine *m, struct group *g)
{
    CHECK(m->group_count == 0 || m->groups[m->group_count - 1]->id < g->id);
    if (m->group_count == m->group_capacity) {
        m->group_capacity = m->group_capacity == 0 ? 16 : m->group_capacity * 2;
        m->groups = alloc_resize(m->groups, m->group_capacity, sizeof(struct group *));
    }
    m->groups[m->group_count++] = g;
    map_put(&m->groups_by_name, span_text(g->name), g);
    map_put_number(&m->groups_by_id, g->id, g);
}

void machine_remove_group(struct machine *m, struct group *g)
{
    map_remove(&m->groups_by_name, span_text(g->name));
    map_remove_number(&m->groups_by_id, g->id);
    uint32_t i = 0;
    while (m->groups[i] != g)
        CHECK(++i < m->group_count);
    m->group_count--;
    memmove(&m->groups[i], &m->groups[i + 1], (m->group_count - i) * sizeof(struct group *));
    group_free(g);
}

struct member *group_find_member(const struct group *g, struct span member_id)
{
    return map_find(&g->by_member_id, member_id);
}

struct member *group_add_member(struct group *g, struct span id, struct span client_id)
{
    CHECK(g->member_count < MEMBERS_PER_GROUP_MAX);
    struct member *member = new_zero(struct member);
    member->group = g;
    member->rank = g->member_count;
    member->id = alloc_span(id);
    member->client_id = alloc_span(client_id);
    g->members = alloc_resize(g->members, (size_t)g->member_count + 1, sizeof(struct member *));
    g->members[g->member_count++] = member;
    map_put(&g->by_member_id, member->id, member);
    return member;
}

void group_remove_member(struct group *g, struct member *member)
{
    CHECK(g->members[member->rank] == member);
    map_remove(&g->by_member_id, member->id);
    g->member_count--;
    for (uint32_t i = member->rank; i < g->member_count; i++) {
        g->members[i] = g->members[i + 1];
        g->members[i]->rank = i;
    }
    member_free(member);
}

/* Index of the first one that is not before (topic_id, partition). */
static uint32_t partition_lower_bound(const struct group *g, uint32_t topic_id, uint32_t partition)
{
    uint32_t low = 0, end = g->partition_count;
    while (low < end) {
        uint32_t middle = low + (end - low) / 2;
        const struct partition *p = g->partitions[middle]->partition;
        if (p->topic->id < topic_id || (p->topic->id == topic_id && p->index < partition))
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

static bool partition_at_is(const struct group *g, uint32_t i, uint32_t topic_id,
                            uint32_t partition)
{
    return i < g->partition_count && g->partitions[i]->partition->topic->id == topic_id &&
           g->partitions[i]->partition->index == partition;
}

struct group_partition *group_find_partition(const struct group *g, uint32_t topic_id,
                                             uint32_t partition)
{
    uint32_t i = partition_lower_bound(g, topic_id, partition);
    return partition_at_is(g, i, topic_id, partition) ? g->partitions[i] : NULL;
}

struct group_partition *group_need_partition(struct group *g, struct partition *p)
{
    uint32_t i = partition_lower_bound(g, p->topic->id, p->index);
    if (partition_at_is(g, i, p->topic->id, p->index))
        return g->partitions[i];
    struct group_partition *gp = new_zero(struct group_partition);
    gp->group = g;
    gp->partition = p;
    offset_set_init(&gp->done);
    offset_set_init(&gp->out);
    offset_set_init(&gp->reserved);
    map_init(&gp->retries_by_offset);
    gp->next_reader = p->readers;
    gp->reader_slot = &p->readers;
    if (gp->next_reader != NULL)
        gp->next_reader->reader_slot = &gp->next_reader;
    p->readers = gp;
    g->partitions = alloc_resize(g->partitions, (size_t)g->partition_count + 1,
                                 sizeof(struct group_partition *));
    memmove(&g->partitions[i + 1], &g->partitions[i],
            (g->partition_count - i) * sizeof(struct group_partition *));
    g->partitions[i] = gp;
    g->partition_count++;
    return gp;
}

bool group_has_departed(const struct group *g, struct span member_id, int64_t now_us)
{
    for (uint32_t i = g->departed_count; i-- > 0;) {
        if (now_us - g->departed[i].time_us > DEPARTED_KEPT_US)
            return false; /* so are all before it */
        if (span_equal(g->departed[i].member_id, member_id))
            return true;
    }
    return false;
}

void group_load_departed(struct group *g, struct span member_id, int64_t time_us)
{
    CHECK(g->departed_count < DEPARTED_MAX);
    g->departed = alloc_resize(g->departed, (size_t)g->departed_count + 1, sizeof *g->departed);
    g->departed[g->departed_count++] =
        (struct departed){.member_id = alloc_span(member_id), .time_us = time_us};
}

void group_add_departed(struct group *g, struct span member_id, int64_t now_us)
{
    uint32_t dead = g->departed_count == DEPARTED_MAX ? 1 : 0;
    while (dead < g->departed_count && now_us - g->departed[dead].time_us > DEPARTED_KEPT_US)
        dead++;
    for (uint32_t i = 0; i < dead; i++)
        free_span(g->departed[i].member_id);
    g->departed_count -= dead;
    if (dead > 0)
        memmove(g->departed, g->departed + dead, g->departed_count * sizeof *g->departed);
    group_load_departed(g, member_id, now_us);
}

bool member_subscribes(const struct member *member, uint32_t topic_id)
{
    uint32_t low = 0, end = member->topic_count;
    while (low < end) {
        uint32_t middle = low + (end - low) / 2;
        if (member->topic_ids[middle] < topic_id)
            low = middle + 1;
        else
            end = middle;
    }
    return low < member->topic_count && member->topic_ids[low] == topic_id;
}

void member_subscribe(struct member *member, uint32_t *topic_ids, uint32_t topic_count)
{
    free(member->topic_ids);
    member->topic_ids = topic_ids;
    member->topic_count = topic_count;
}
