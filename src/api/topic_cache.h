/* What an I/O thread remembers of topics, so that most requests need not ask the shard.
 *
 * A bounded guess: a new entry takes the place of whatever was in its slot. Ids are never reused,
 * so a wrong guess shows: a publish to an old id or count is answered with ST_STALE. One thread. */
#ifndef API_TOPIC_CACHE_H
#define API_TOPIC_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "std/span.h"

enum { TOPIC_CACHE_SLOTS = 4096 };

struct topic_known {
    char *name; /* owned, qualified; NULL: an empty slot */
    uint32_t name_size;
    uint32_t id;
    uint32_t partition_count;
};

struct topic_cache {
    struct topic_known by_name[TOPIC_CACHE_SLOTS];
    struct topic_known by_id[TOPIC_CACHE_SLOTS];
};

struct topic_cache *topic_cache_new(void); /* pair: topic_cache_free */
void topic_cache_free(struct topic_cache *c);

void topic_cache_put(struct topic_cache *c, struct span name, uint32_t id,
                     uint32_t partition_count);
void topic_cache_drop(struct topic_cache *c, struct span name);
/* Borrowed until the next put or drop; NULL if it is not known. */
const struct topic_known *topic_cache_find(const struct topic_cache *c, struct span name);
const struct topic_known *topic_cache_find_id(const struct topic_cache *c, uint32_t id);

#endif
