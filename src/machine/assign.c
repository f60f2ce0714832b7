#include "machine/assign.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "std/alloc.h"
#include "std/check.h"

/* First every partition without an owner goes to the least loaded subscriber, topics with few
 * subscribers first, as they have the least choice. Then the most loaded member that can gives one
 * partition to the least loaded member that may take it, until nobody can: a giver has at least two
 * more than the taker. Each move lowers the sum of squared loads, so this ends. With unequal
 * subscriptions a later move may make an earlier one needless: last, what can go back to its owner
 * does. */

struct work {
    const struct assign_member *members;
    struct assign_topic *topics;
    uint32_t member_count;
    uint32_t topic_count;
    uint32_t *loads;        /* partitions of each member */
    bool *stuck;            /* the member has nothing that it could give away now */
    uint32_t *first_seat;   /* of each member in `held`; a seat is a member's place in a topic */
    uint32_t *held;         /* of each seat: partitions of the topic that the member owns */
    uint32_t **before;      /* of each topic: the owners that its partitions came with */
    uint32_t *first_reader; /* of each topic in `readers`, and one past the last */
    uint32_t *readers;      /* subscribers of each topic, ascending */
    uint32_t *least;        /* of each topic: its least loaded subscriber, or ASSIGN_NOBODY for
                               "look again" */
};

/* The member's count of partitions in that topic; NULL if it does not subscribe. */
static uint32_t *find_held(const struct work *w, uint32_t member, uint32_t topic)
{
    const struct assign_member *m = &w->members[member];
    uint32_t low = 0, end = m->topic_count;
    while (low < end) {
        uint32_t middle = low + (end - low) / 2;
        if (m->topics[middle] < topic)
            low = middle + 1;
        else
            end = middle;
    }
    bool found = low < m->topic_count && m->topics[low] == topic;
    return found ? &w->held[w->first_seat[member] + low] : NULL;
}

static void list_readers(struct work *w)
{
    w->first_reader = alloc_array((size_t)w->topic_count + 1, sizeof *w->first_reader);
    uint32_t *fill = alloc_array((size_t)w->topic_count + 1, sizeof *fill);
    uint32_t seats = 0;
    for (uint32_t m = 0; m < w->member_count; m++) {
        w->first_seat[m] = seats;
        seats += w->members[m].topic_count;
        for (uint32_t i = 0; i < w->members[m].topic_count; i++) {
            CHECK(w->members[m].topics[i] < w->topic_count);
            w->first_reader[w->members[m].topics[i] + 1]++;
        }
    }
    for (uint32_t t = 0; t < w->topic_count; t++) {
        w->first_reader[t + 1] += w->first_reader[t];
        fill[t] = w->first_reader[t];
    }
    w->held = alloc_array((size_t)seats + 1, sizeof *w->held);
    w->readers = alloc_array((size_t)seats + 1, sizeof *w->readers);
    for (uint32_t m = 0; m < w->member_count; m++) {
        for (uint32_t i = 0; i < w->members[m].topic_count; i++)
            w->readers[fill[w->members[m].topics[i]]++] = m;
    }
    free(fill);
}

/* Drops owners that are none any more and counts the others. */
static void count_loads(struct work *w)
{
    for (uint32_t t = 0; t < w->topic_count; t++) {
        struct assign_topic *topic = &w->topics[t];
        w->least[t] = ASSIGN_NOBODY;
        for (uint32_t p = 0; p < topic->partition_count; p++) {
            uint32_t owner = topic->owners[p];
            if (owner == ASSIGN_NOBODY)
                continue;
            CHECK(owner < w->member_count);
            uint32_t *held = find_held(w, owner, t);
            if (held == NULL) {
                topic->owners[p] = ASSIGN_NOBODY;
                continue;
            }
            ++*held;
            w->loads[owner]++;
        }
        w->before[t] = alloc_array((size_t)topic->partition_count + 1, sizeof *w->before[t]);
        memcpy(w->before[t], topic->owners, topic->partition_count * sizeof *topic->owners);
    }
}

static uint32_t find_least(struct work *w, uint32_t topic)
{
    if (w->least[topic] != ASSIGN_NOBODY)
        return w->least[topic];
    uint32_t best = ASSIGN_NOBODY;
    for (uint32_t i = w->first_reader[topic]; i < w->first_reader[topic + 1]; i++) {
        uint32_t member = w->readers[i];
        if (best == ASSIGN_NOBODY || w->loads[member] < w->loads[best])
            best = member;
    }
    w->least[topic] = best;
    return best;
}

static void load_changed(struct work *w, uint32_t member)
{
    for (uint32_t i = 0; i < w->members[member].topic_count; i++)
        w->least[w->members[member].topics[i]] = ASSIGN_NOBODY;
}

static void take(struct work *w, uint32_t topic, uint32_t partition, uint32_t member)
{
    w->topics[topic].owners[partition] = member;
    uint32_t *held = find_held(w, member, topic);
    CHECK(held != NULL);
    ++*held;
    w->loads[member]++;
    load_changed(w, member);
}

static void give_up(struct work *w, uint32_t topic, uint32_t member)
{
    uint32_t *held = find_held(w, member, topic);
    CHECK(held != NULL && *held > 0);
    --*held;
    w->loads[member]--;
    load_changed(w, member);
}

struct choice { /* a topic, and by how many it is subscribed */
    uint32_t topic;
    uint32_t reader_count;
};

static int compare_choices(const void *left, const void *right)
{
    const struct choice *a = left, *b = right;
    if (a->reader_count != b->reader_count)
        return a->reader_count < b->reader_count ? -1 : 1;
    return (a->topic > b->topic) - (a->topic < b->topic);
}

static void place_free_ones(struct work *w)
{
    struct choice *order = alloc_array((size_t)w->topic_count + 1, sizeof *order);
    for (uint32_t t = 0; t < w->topic_count; t++)
        order[t] = (struct choice){t, w->first_reader[t + 1] - w->first_reader[t]};
    qsort(order, w->topic_count, sizeof *order, compare_choices);
    for (uint32_t i = 0; i < w->topic_count; i++) {
        uint32_t t = order[i].topic;
        for (uint32_t p = 0; p < w->topics[t].partition_count && order[i].reader_count > 0; p++) {
            if (w->topics[t].owners[p] == ASSIGN_NOBODY)
                take(w, t, p, find_least(w, t));
        }
    }
    free(order);
}

/* The most loaded member that is not stuck, the youngest of several. */
static uint32_t find_giver(const struct work *w)
{
    uint32_t best = ASSIGN_NOBODY;
    for (uint32_t m = 0; m < w->member_count; m++) {
        if (!w->stuck[m] && (best == ASSIGN_NOBODY || w->loads[m] >= w->loads[best]))
            best = m;
    }
    return best;
}

/* The topic of which the giver has something that the least loaded member may take; ASSIGN_NOBODY
 * if nobody has at least two partitions fewer. */
static uint32_t find_gift(struct work *w, uint32_t giver)
{
    uint32_t best = ASSIGN_NOBODY;
    for (uint32_t i = 0; i < w->members[giver].topic_count; i++) {
        uint32_t topic = w->members[giver].topics[i];
        if (w->held[w->first_seat[giver] + i] == 0)
            continue;
        uint32_t taker = find_least(w, topic);
        if (w->loads[taker] + 2 > w->loads[giver])
            continue;
        if (best == ASSIGN_NOBODY || w->loads[taker] <= w->loads[find_least(w, best)])
            best = topic;
    }
    return best;
}

static void give(struct work *w, uint32_t giver, uint32_t topic)
{
    uint32_t taker = find_least(w, topic);
    uint32_t p = w->topics[topic].partition_count;
    while (w->topics[topic].owners[--p] != giver)
        CHECK(p > 0);
    give_up(w, topic, giver);
    take(w, topic, p, taker);
    w->stuck[taker] = false;
    for (uint32_t m = 0; m < w->member_count; m++) {
        if (w->loads[m] >= w->loads[giver] + 2) /* it may give to the giver now */
            w->stuck[m] = false;
    }
}

static uint32_t lowest_load(const struct work *w)
{
    uint32_t lowest = UINT32_MAX;
    for (uint32_t m = 0; m < w->member_count; m++)
        lowest = w->loads[m] < lowest ? w->loads[m] : lowest;
    return lowest;
}

static void balance(struct work *w)
{
    uint32_t giver;
    while ((giver = find_giver(w)) != ASSIGN_NOBODY) {
        if (w->loads[giver] < lowest_load(w) + 2)
            return; /* nobody could take from it, nor from those that have less */
        uint32_t topic = find_gift(w, giver);
        if (topic == ASSIGN_NOBODY)
            w->stuck[giver] = true;
        else
            give(w, giver, topic);
    }
}

/* Does the balance hold with one partition more for `to`, a subscriber, and one fewer for `from`,
 * who has one of that topic? It does now. */
static bool may_go_back(const struct work *w, uint32_t topic, uint32_t from, uint32_t to)
{
    if (w->loads[to] >= w->loads[from])
        return false;
    for (uint32_t i = 0; i < w->members[to].topic_count; i++) {
        uint32_t t = w->members[to].topics[i];
        if (t != topic && w->held[w->first_seat[to] + i] == 0)
            continue;
        for (uint32_t k = w->first_reader[t]; k < w->first_reader[t + 1]; k++)
            if (w->loads[w->readers[k]] < w->loads[to])
                return false; /* it would want one of those that `to` has */
    }
    for (uint32_t i = 0; i < w->members[from].topic_count; i++) {
        uint32_t t = w->members[from].topics[i];
        for (uint32_t k = w->first_reader[t]; k < w->first_reader[t + 1]; k++) {
            uint32_t other = w->readers[k];
            if (w->loads[other] > w->loads[from] && *find_held(w, other, t) > 0)
                return false; /* `from` would want one of its */
        }
    }
    return true;
}

/* Each return makes one move fewer, so this ends. */
static void give_back(struct work *w)
{
    for (bool again = true; again;) {
        again = false;
        for (uint32_t t = 0; t < w->topic_count; t++) {
            for (uint32_t p = 0; p < w->topics[t].partition_count; p++) {
                uint32_t from = w->topics[t].owners[p], to = w->before[t][p];
                if (to == ASSIGN_NOBODY || to == from || !may_go_back(w, t, from, to))
                    continue;
                give_up(w, t, from);
                take(w, t, p, to);
                again = true;
            }
        }
    }
}

void assign(const struct assign_member *members, uint32_t member_count, struct assign_topic *topics,
            uint32_t topic_count)
{
    struct work w = {.members = members,
                     .topics = topics,
                     .member_count = member_count,
                     .topic_count = topic_count};
    w.loads = alloc_array((size_t)member_count + 1, sizeof *w.loads);
    w.stuck = alloc_array((size_t)member_count + 1, sizeof *w.stuck);
    w.first_seat = alloc_array((size_t)member_count + 1, sizeof *w.first_seat);
    w.least = alloc_array((size_t)topic_count + 1, sizeof *w.least);
    w.before = alloc_array((size_t)topic_count + 1, sizeof(uint32_t *));
    list_readers(&w);
    count_loads(&w);
    place_free_ones(&w);
    balance(&w);
    give_back(&w);
    for (uint32_t t = 0; t < topic_count; t++)
        free(w.before[t]);
    free(w.before);
    free(w.loads);
    free(w.stuck);
    free(w.first_seat);
    free(w.least);
    free(w.first_reader);
    free(w.readers);
    free(w.held);
}
