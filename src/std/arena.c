#include "std/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    alignas(max_align_t) uint8_t data[];
};

/* The first is small: most requests need no more, and a parked one keeps it for a minute. */
enum { FIRST_CHUNK_SIZE = 1024 - sizeof(struct arena_chunk), CHUNK_SIZE = 4096 };

static void chunk_push(struct arena *a, size_t size)
{
    struct arena_chunk *chunk = alloc_bytes(sizeof *chunk + size);
    chunk->next = a->head;
    chunk->size = size;
    a->head = chunk;
    a->used = 0;
}

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_fini(struct arena *a)
{
    while (a->head != NULL) {
        struct arena_chunk *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    a->used = 0;
}

void arena_clear(struct arena *a)
{
    struct arena_chunk *kept = NULL;
    while (a->head != NULL) {
        struct arena_chunk *next = a->head->next;
        if (kept == NULL && a->head->size <= CHUNK_SIZE) /* the newest such is the largest */
            kept = a->head;
        else
            free(a->head);
        a->head = next;
    }
    if (kept != NULL)
        kept->next = NULL;
    a->head = kept;
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
    const size_t align = alignof(max_align_t);
    CHECK(size_bytes <= SIZE_MAX - align);
    size_t size = (size_bytes + align - 1) / align * align;
    if (a->head == NULL || size > a->head->size - a->used) {
        const size_t usual = a->head == NULL ? FIRST_CHUNK_SIZE : CHUNK_SIZE;
        chunk_push(a, size > usual ? size : usual);
    }
    void *p = a->head->data + a->used;
    a->used += size;
    return size == 0 ? p : memset(p, 0, size);
}

void *arena_array(struct arena *a, size_t count, size_t size_bytes)
{
    CHECK(size_bytes == 0 || count <= SIZE_MAX / size_bytes);
    return arena_alloc(a, count * size_bytes);
}

struct span arena_copy(struct arena *a, struct span s)
{
    uint8_t *data = arena_alloc(a, s.size);
    if (s.size > 0)
        memcpy(data, s.data, s.size);
    return span_of(data, s.size);
}

char *arena_string(struct arena *a, struct span s)
{
    char *text = arena_alloc(a, s.size + 1);
    if (s.size > 0)
        memcpy(text, s.data, s.size);
    return text;
}
