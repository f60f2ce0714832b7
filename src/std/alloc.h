/* Allocation that cannot fail: every queue and buffer has a limit, so running out is a bug.
 * Memory from here is given back with free(). */
#ifndef STD_ALLOC_H
#define STD_ALLOC_H

#include <stddef.h>

#include "std/span.h"

void *alloc_bytes(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *alloc_zero(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *alloc_array(size_t count, size_t size_bytes)
    __attribute__((malloc, returns_nonnull)); /* zeroed */
/* Grows or shrinks a block; p may be NULL. The old pointer is dead afterwards. */
void *alloc_resize(void *p, size_t count, size_t size_bytes) __attribute__((returns_nonnull));
char *alloc_string(const char *data, size_t size_bytes)
    __attribute__((returns_nonnull)); /* + NUL */
/* A copy of its own, with a NUL behind it. Pair: free_span(), which takes one of no bytes, too. */
struct span alloc_span(struct span s);
void free_span(struct span owned);

#define new_zero(type) ((type *)alloc_zero(sizeof(type)))

#endif
