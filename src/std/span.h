/* A run of bytes that somebody else owns: pointer and size, never NUL-terminated. */
#ifndef STD_SPAN_H
#define STD_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
};

static inline struct span span_of(const void *data, size_t size)
{
    return (struct span){.data = data, .size = size};
}

static inline struct span span_text(const char *text)
{
    return span_of(text, strlen(text));
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Order of bytes, then shorter first; as strcmp for text. */
static inline int span_compare(struct span a, struct span b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* For printf's "%.*s": two arguments. */
#define SPAN_ARG(s) (int)(s).size, (const char *)(s).data

#endif
