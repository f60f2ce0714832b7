/* A growing byte buffer with a bound, for requests, replies and encodings.
 *
 * A buffer that would grow over its bound keeps what it has, drops what does not fit and remembers:
 * writers need not check each call, only buf_overflowed() at the end. */
#ifndef STD_BUF_H
#define STD_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "std/span.h"

struct buf {
    uint8_t *data;   /* owned; NULL when nothing was written yet */
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t size_max; /* the bound; size <= size_max */
    bool overflowed;
};

void buf_init(struct buf *b, size_t size_max); /* allocates nothing; pair: buf_fini */
void buf_fini(struct buf *b);                  /* accepts a zeroed one; may be called twice */
void buf_clear(struct buf *b);                 /* keeps the memory */
/* Gives a pointer to at least `size` writable bytes behind the end, NULL over the bound.
 * Follow with buf_commit(). The pointer dies at the next call on the buffer. */
uint8_t *buf_reserve(struct buf *b, size_t size);
void buf_commit(struct buf *b, size_t size);
void buf_put(struct buf *b, const void *data, size_t size);
void buf_put_byte(struct buf *b, uint8_t byte);
void buf_put_span(struct buf *b, struct span s);
void buf_put_text(struct buf *b, const char *text);
void buf_put_u64(struct buf *b, uint64_t value); /* decimal */
void buf_put_i64(struct buf *b, int64_t value);  /* decimal */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The memory, now the caller's to free(); the buffer is empty afterwards. */
uint8_t *buf_take(struct buf *b, size_t *out_size);

static inline struct span buf_span(const struct buf *b)
{
    return span_of(b->data, b->size);
}

#endif
