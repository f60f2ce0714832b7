#include "std/map.h"

#define XXH_INLINE_ALL
#include <stdlib.h>
#include <xxhash.h>

#include "std/alloc.h"
#include "std/check.h"

enum { CAPACITY_MIN = 16 };

static uint64_t hash_name(struct span name)
{
    CHECK(name.data != NULL && name.size > 0);
    return XXH3_64bits(name.data, name.size);
}

/* Every step can be undone, so two numbers never share a hash. */
static uint64_t hash_number(uint64_t number)
{
    number ^= number >> 33;
    number *= 0xff51afd7ed558ccdULL;
    number ^= number >> 33;
    number *= 0xc4ceb9fe1a85ec53ULL;
    return number ^ number >> 33;
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_fini(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

static bool slot_is(const struct map_slot *slot, uint64_t hash, struct span name)
{
    return slot->hash == hash && (name.data == NULL) == (slot->name.data == NULL) &&
           span_equal(slot->name, name);
}

/* Where the key is, or the free slot where it would go. The table has a free slot. */
static size_t find_slot(const struct map *m, uint64_t hash, struct span name)
{
    size_t mask = m->capacity - 1;
    size_t at = (size_t)hash & mask;
    while (m->slots[at].value != NULL && !slot_is(&m->slots[at], hash, name))
        at = (at + 1) & mask;
    return at;
}

static void grow(struct map *m)
{
    struct map old = *m;
    m->capacity = old.capacity == 0 ? CAPACITY_MIN : old.capacity * 2;
    m->slots = alloc_array(m->capacity, sizeof *m->slots);
    for (size_t i = 0; i < old.capacity; i++) {
        const struct map_slot *slot = &old.slots[i];
        if (slot->value != NULL)
            m->slots[find_slot(m, slot->hash, slot->name)] = *slot;
    }
    free(old.slots);
}

static void put(struct map *m, uint64_t hash, struct span name, void *value)
{
    CHECK(value != NULL);
    if (m->count + 1 > m->capacity / 4 * 3)
        grow(m);
    struct map_slot *slot = &m->slots[find_slot(m, hash, name)];
    CHECK(slot->value == NULL);
    *slot = (struct map_slot){.value = value, .hash = hash, .name = name};
    m->count++;
}

static void *find(const struct map *m, uint64_t hash, struct span name)
{
    return m->count == 0 ? NULL : m->slots[find_slot(m, hash, name)].value;
}

/* No tombstones: what probed past the hole moves back into it. */
static void remove_key(struct map *m, uint64_t hash, struct span name)
{
    CHECK(m->count > 0);
    size_t mask = m->capacity - 1;
    size_t hole = find_slot(m, hash, name);
    CHECK(m->slots[hole].value != NULL);
    for (size_t at = (hole + 1) & mask; m->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t home = (size_t)m->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            m->slots[hole] = m->slots[at];
            hole = at;
        }
    }
    m->slots[hole] = (struct map_slot){0};
    m->count--;
}

void map_put(struct map *m, struct span name, void *value)
{
    put(m, hash_name(name), name, value);
}

void *map_find(const struct map *m, struct span name)
{
    return name.size == 0 ? NULL : find(m, hash_name(name), name);
}

void map_remove(struct map *m, struct span name)
{
    remove_key(m, hash_name(name), name);
}

void map_put_number(struct map *m, uint64_t number, void *value)
{
    put(m, hash_number(number), span_of(NULL, 0), value);
}

void *map_find_number(const struct map *m, uint64_t number)
{
    return find(m, hash_number(number), span_of(NULL, 0));
}

void map_remove_number(struct map *m, uint64_t number)
{
    remove_key(m, hash_number(number), span_of(NULL, 0));
}
