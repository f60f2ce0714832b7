#include "api/topic_cache.h"

#include <stdlib.h>
#include <xxhash.h>

#include "std/alloc.h"
#include "std/check.h"

struct topic_cache *topic_cache_new(void)
{
    return new_zero(struct topic_cache);
}

void topic_cache_free(struct topic_cache *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < TOPIC_CACHE_SLOTS; i++) {
        free(c->by_name[i].name);
        free(c->by_id[i].name);
    }
    free(c);
}

static size_t slot_of_name(struct span name)
{
    return XXH3_64bits(name.data, name.size) % TOPIC_CACHE_SLOTS;
}

static void known_set(struct topic_known *known, struct span name, uint32_t id,
                      uint32_t partition_count)
{
    free(known->name);
    *known = (struct topic_known){
        .name = alloc_string((const char *)name.data, name.size),
        .name_size = (uint32_t)name.size,
        .id = id,
        .partition_count = partition_count,
    };
}

void topic_cache_put(struct topic_cache *c, struct span name, uint32_t id, uint32_t partition_count)
{
    CHECK(name.size > 0 && partition_count > 0);
    known_set(&c->by_name[slot_of_name(name)], name, id, partition_count);
    known_set(&c->by_id[id % TOPIC_CACHE_SLOTS], name, id, partition_count);
}

void topic_cache_drop(struct topic_cache *c, struct span name)
{
    struct topic_known *known = &c->by_name[slot_of_name(name)];
    free(known->name);
    *known = (struct topic_known){0};
}

const struct topic_known *topic_cache_find(const struct topic_cache *c, struct span name)
{
    const struct topic_known *known = &c->by_name[slot_of_name(name)];
    if (known->name == NULL || !span_equal(span_of(known->name, known->name_size), name))
        return NULL;
    return known;
}

const struct topic_known *topic_cache_find_id(const struct topic_cache *c, uint32_t id)
{
    const struct topic_known *known = &c->by_id[id % TOPIC_CACHE_SLOTS];
    return known->name != NULL && known->id == id ? known : NULL;
}
