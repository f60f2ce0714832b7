/* Who has how much of a topic in flight: an answer for operators. */
#include <stdlib.h>

#include "delivery/readout.h"
#include "delivery/state.h"

static int by_group_name(const void *left, const void *right)
{
    const struct in_flight_group *a = left, *b = right;
    return span_compare(a->name, b->name);
}

/* Adds what one group has out of one partition. */
static void add_in_flight(const struct readout *r, struct in_flight_info *info, uint32_t partition,
                          struct in_flight_group *group)
{
    group->count += r->in_flight;
    info->partitions[partition].count += r->in_flight;
    int64_t *oldest_us = &info->partitions[partition].oldest_us;
    for (uint32_t i = 0; r->in_flight > 0 && i < r->leases.capacity; i++) {
        const struct lease *lease = r->leases.slots[i];
        if (lease != NULL && lease_in_flight(lease) && lease->last_us > 0 &&
            (*oldest_us == 0 || lease->last_us < *oldest_us))
            *oldest_us = lease->last_us;
    }
}

struct in_flight_walk {
    const struct topic *topic;
    struct arena *arena;
    struct in_flight_info *info;
    uint32_t group_capacity;
};

static void walk_in_flight(void *user, struct group *group)
{
    struct in_flight_walk *walk = user;
    struct in_flight_info *info = walk->info;
    struct in_flight_group found = {0};
    for (uint32_t p = 0; p < walk->topic->partition_count; p++) {
        const struct group_partition *gp = group_find_partition(group, walk->topic->id, p);
        if (gp == NULL)
            continue;
        found.name = span_text(group->name);
        if (gp->readout != NULL)
            add_in_flight(gp->readout, info, p, &found);
    }
    if (found.name.size == 0)
        return;
    if (info->group_count == walk->group_capacity) {
        walk->group_capacity = walk->group_capacity == 0 ? 8 : walk->group_capacity * 2;
        struct in_flight_group *grown =
            arena_array(walk->arena, walk->group_capacity, sizeof *grown);
        if (info->group_count > 0)
            memcpy(grown, info->groups, info->group_count * sizeof *grown);
        info->groups = grown;
    }
    found.name = arena_copy(walk->arena, found.name);
    info->groups[info->group_count++] = found;
}

void delivery_fill_in_flight(const struct delivery *d, const struct topic *topic,
                             struct arena *arena, struct in_flight_info *info)
{
    *info = (struct in_flight_info){0};
    info->partitions = arena_array(arena, topic->partition_count, sizeof *info->partitions);
    struct in_flight_walk walk = {.topic = topic, .arena = arena, .info = info};
    machine_each_group(d->machine, walk_in_flight, &walk);
    if (info->group_count > 0)
        qsort(info->groups, info->group_count, sizeof *info->groups, by_group_name);
}
