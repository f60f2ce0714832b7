/* A hash table from a name or a number to a pointer: open addressing, linear probing, XXH3.
 *
 * The order inside depends on hashes and on history, so there is no way to walk it: whoever needs
 * an order keeps an array beside it. One table holds either names or numbers, not both. */
#ifndef STD_MAP_H
#define STD_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "std/span.h"

struct map_slot {
    void *value; /* NULL: the slot is free */
    uint64_t hash;
    struct span name; /* data NULL: the key is a number, its hash has no second preimage */
};

struct map {
    struct map_slot *slots; /* owned */
    size_t capacity;        /* a power of two, or 0 */
    size_t count;           /* <= capacity * 3/4 */
};

void map_init(struct map *m); /* allocates nothing; pair: map_fini */
void map_fini(struct map *m); /* the values are the caller's */

/* Borrows: name, until the entry is removed. The name is not empty, was not in the table and value
 * is not NULL. */
void map_put(struct map *m, struct span name, void *value);
/* Borrowed; NULL if there is none. Cost: O(1). */
void *map_find(const struct map *m, struct span name);
void map_remove(struct map *m, struct span name); /* it must be there */

void map_put_number(struct map *m, uint64_t number, void *value);
void *map_find_number(const struct map *m, uint64_t number);
void map_remove_number(struct map *m, uint64_t number);

#endif
