#include "delivery/lease_table.h"

#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

enum { CAPACITY_MIN = 64 };

/* Eight offsets in a row share a cache line; lines are spread by Fibonacci hashing. */
static uint32_t slot_of(uint64_t offset, uint32_t capacity)
{
    uint64_t line = (offset >> 3) * 0x9E3779B97F4A7C15ULL >> 32;
    return (uint32_t)(line << 3 | (offset & 7)) & (capacity - 1);
}

static void place(struct lease_table *t, struct lease *lease)
{
    uint32_t mask = t->capacity - 1;
    uint32_t i = slot_of(lease->offset, t->capacity);
    while (t->slots[i] != NULL) {
        CHECK(t->slots[i]->offset != lease->offset);
        i = (i + 1) & mask;
    }
    t->slots[i] = lease;
}

static void resize(struct lease_table *t, uint32_t capacity)
{
    struct lease **old = t->slots;
    uint32_t old_capacity = t->capacity;
    t->slots = alloc_array(capacity, sizeof(struct lease *));
    t->capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++)
        if (old[i] != NULL)
            place(t, old[i]);
    free(old);
}

void lease_table_fini(struct lease_table *t)
{
    CHECK(t->count == 0);
    free(t->slots);
    *t = (struct lease_table){0};
}

void lease_table_add(struct lease_table *t, struct lease *lease)
{
    if (t->capacity == 0)
        resize(t, CAPACITY_MIN);
    else if (t->count >= t->capacity / 2)
        resize(t, t->capacity * 2);
    place(t, lease);
    t->count++;
}

void lease_table_remove(struct lease_table *t, const struct lease *lease)
{
    uint32_t mask = t->capacity - 1;
    uint32_t hole = slot_of(lease->offset, t->capacity);
    while (t->slots[hole] != lease) {
        CHECK(t->slots[hole] != NULL);
        hole = (hole + 1) & mask;
    }
    /* Close the gap: whatever follows without a break and may lie at the hole moves there. */
    for (uint32_t i = (hole + 1) & mask; t->slots[i] != NULL; i = (i + 1) & mask) {
        uint32_t home = slot_of(t->slots[i]->offset, t->capacity);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = NULL;
    t->count--;
    if (t->capacity > CAPACITY_MIN && t->count < t->capacity / 32)
        resize(t, t->capacity / 4);
}

struct lease *lease_table_find(const struct lease_table *t, uint64_t offset)
{
    if (t->count == 0)
        return NULL;
    uint32_t mask = t->capacity - 1;
    for (uint32_t i = slot_of(offset, t->capacity); t->slots[i] != NULL; i = (i + 1) & mask)
        if (t->slots[i]->offset == offset)
            return t->slots[i];
    return NULL;
}
