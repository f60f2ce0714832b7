/* Memory that is given back all at once: what one request, one command or one query allocates.
 *
 * One owner at a time; it moves between threads only with the request it belongs to. */
#ifndef STD_ARENA_H
#define STD_ARENA_H

#include <stddef.h>

#include "std/span.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *head; /* the chunk being filled, then the full ones */
    size_t used;              /* bytes used of head */
};

void arena_init(struct arena *a); /* allocates nothing; pair: arena_fini */
void arena_fini(struct arena *a);
void arena_clear(struct arena *a); /* frees all but one small chunk, for the next request */
/* Zeroed memory, aligned for any type, valid until arena_clear() or arena_fini(). */
void *arena_alloc(struct arena *a, size_t size_bytes) __attribute__((returns_nonnull));
void *arena_array(struct arena *a, size_t count, size_t size_bytes)
    __attribute__((returns_nonnull));
struct span arena_copy(struct arena *a, struct span s);
char *arena_string(struct arena *a, struct span s) __attribute__((returns_nonnull)); /* + NUL */

#define arena_new(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

#endif
