#include "std/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "std/check.h"

void *alloc_bytes(size_t size_bytes)
{
    void *p = malloc(size_bytes == 0 ? 1 : size_bytes);
    CHECK(p != NULL);
    return p;
}

void *alloc_zero(size_t size_bytes)
{
    return alloc_array(1, size_bytes);
}

void *alloc_array(size_t count, size_t size_bytes)
{
    void *p = calloc(count == 0 ? 1 : count, size_bytes == 0 ? 1 : size_bytes);
    CHECK(p != NULL);
    return p;
}

void *alloc_resize(void *p, size_t count, size_t size_bytes)
{
    void *q = reallocarray(p, count == 0 ? 1 : count, size_bytes == 0 ? 1 : size_bytes);
    CHECK(q != NULL);
    return q;
}

char *alloc_string(const char *data, size_t size_bytes)
{
    char *s = alloc_bytes(size_bytes + 1);
    if (size_bytes > 0)
        memcpy(s, data, size_bytes);
    s[size_bytes] = '\0';
    return s;
}

struct span alloc_span(struct span s)
{
    return span_of(alloc_string((const char *)s.data, s.size), s.size);
}

void free_span(struct span owned)
{
    union {
        const uint8_t *borrowed;
        void *owned;
    } bytes = {.borrowed = owned.data};
    free(bytes.owned);
}
