#include "std/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

enum { CAPACITY_MIN = 256, DECIMAL_SIZE_MAX = 20 };

void buf_init(struct buf *b, size_t size_max)
{
    *b = (struct buf){.size_max = size_max};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->size = 0;
    b->overflowed = false;
}

uint8_t *buf_reserve(struct buf *b, size_t size)
{
    CHECK(b->size <= b->size_max);
    if (size > b->size_max - b->size) {
        b->overflowed = true;
        return NULL;
    }
    size_t need = b->size + size;
    if (need > b->capacity || b->data == NULL) {
        size_t grown = b->capacity < CAPACITY_MIN ? CAPACITY_MIN : b->capacity * 2;
        b->capacity = grown > need ? grown : need;
        b->data = alloc_resize(b->data, b->capacity, 1);
    }
    return b->data + b->size;
}

void buf_commit(struct buf *b, size_t size)
{
    CHECK(size <= b->capacity - b->size);
    b->size += size;
}

void buf_put(struct buf *b, const void *data, size_t size)
{
    uint8_t *to = buf_reserve(b, size);
    if (to == NULL || size == 0)
        return;
    memcpy(to, data, size);
    b->size += size;
}

void buf_put_byte(struct buf *b, uint8_t byte)
{
    buf_put(b, &byte, 1);
}

void buf_put_span(struct buf *b, struct span s)
{
    buf_put(b, s.data, s.size);
}

void buf_put_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_put_u64(struct buf *b, uint64_t value)
{
    uint8_t digits[DECIMAL_SIZE_MAX];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    buf_put(b, digits + at, sizeof digits - at);
}

void buf_put_i64(struct buf *b, int64_t value)
{
    if (value < 0)
        buf_put_byte(b, '-');
    buf_put_u64(b, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int size = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(size >= 0);
    /* vsnprintf writes a NUL, which is not counted. */
    uint8_t *to = buf_reserve(b, (size_t)size + 1);
    if (to == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf((char *)to, (size_t)size + 1, fmt, args);
    va_end(args);
    b->size += (size_t)size;
}

uint8_t *buf_take(struct buf *b, size_t *out_size)
{
    uint8_t *data = b->data;
    *out_size = b->size;
    *b = (struct buf){.size_max = b->size_max};
    return data;
}
