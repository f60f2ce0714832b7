#include "machine/topic.h"

#include <stdio.h>
#include <stdlib.h>

#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

static void add_partition(struct topic *t)
{
    struct partition *p = new_zero(struct partition);
    p->topic = t;
    p->index = t->partition_count;
    t->partitions[t->partition_count++] = p;
}

static void grow(struct topic *t, uint32_t partition_count)
{
    CHECK(partition_count > t->partition_count && partition_count <= PARTITIONS_MAX);
    t->partitions = alloc_resize(t->partitions, partition_count, sizeof(struct partition *));
    while (t->partition_count < partition_count)
        add_partition(t);
}

struct topic *topic_new(uint32_t id, struct span name, uint32_t partition_count)
{
    struct topic *t = new_zero(struct topic);
    t->id = id;
    t->name = alloc_string((const char *)name.data, name.size);
    grow(t, partition_count);
    return t;
}

void topic_free(struct topic *t)
{
    for (uint32_t i = 0; i < t->partition_count; i++) {
        partition_fini(t->partitions[i]);
        free(t->partitions[i]);
    }
    free(t->partitions);
    free(t->name);
    free(t);
}

void machine_add_topic(struct machine *m, struct topic *t)
{
    CHECK(m->topic_count == 0 || m->topics[m->topic_count - 1]->id < t->id);
    if (m->topic_count == m->topic_capacity) {
        m->topic_capacity = m->topic_capacity == 0 ? 16 : m->topic_capacity * 2;
        m->topics = alloc_resize(m->topics, m->topic_capacity, sizeof(struct topic *));
    }
    m->topics[m->topic_count++] = t;
    m->partition_total += t->partition_count;
    map_put(&m->topics_by_name, topic_name(t), t);
    map_put_number(&m->topics_by_id, t->id, t);
}

void machine_remove_topic(struct machine *m, struct topic *t)
{
    map_remove(&m->topics_by_name, topic_name(t));
    map_remove_number(&m->topics_by_id, t->id);
    uint32_t i = 0;
    while (m->topics[i] != t)
        CHECK(++i < m->topic_count);
    m->topic_count--;
    memmove(&m->topics[i], &m->topics[i + 1], (m->topic_count - i) * sizeof(struct topic *));
    m->partition_total -= t->partition_count;
    topic_free(t);
}

struct topic *machine_create_topic(struct machine *m, struct span name, uint32_t partition_count,
                                   const struct topic_settings *settings)
{
    if (m->topic_count >= TOPICS_MAX || m->partition_total + partition_count > PARTITIONS_TOTAL_MAX)
        return NULL;
    struct topic *t = topic_new(m->next_topic_id, name, partition_count);
    CHECK(m->next_topic_id < UINT32_MAX);
    m->next_topic_id++;
    t->settings = *settings;
    t->created_us = m->time_us;
    machine_add_topic(m, t);
    EFFECT(m, topic_created, t);
    return t;
}

bool machine_grow_topic(struct machine *m, struct topic *t, uint32_t partition_count)
{
    uint32_t before = t->partition_count;
    if (m->partition_total - before + partition_count > PARTITIONS_TOTAL_MAX)
        return false;
    grow(t, partition_count);
    m->partition_total += partition_count - before;
    EFFECT(m, partitions_added, t, before);
    return true;
}

struct span topic_dead_letter_name(const struct topic *t, struct arena *arena)
{
    const size_t size = strlen(t->name), suffix_size = strlen(DEAD_LETTER_SUFFIX);
    char *name = arena_alloc(arena, size + suffix_size + 1);
    int written = snprintf(name, size + suffix_size + 1, "%s" DEAD_LETTER_SUFFIX, t->name);
    CHECK(written >= 0 && (size_t)written == size + suffix_size);
    return span_of(name, size + suffix_size);
}

bool topic_is_dead_letter(const struct topic *t)
{
    const size_t size = strlen(t->name), suffix = strlen(DEAD_LETTER_SUFFIX);
    return size > suffix && memcmp(t->name + size - suffix, DEAD_LETTER_SUFFIX, suffix) == 0;
}
