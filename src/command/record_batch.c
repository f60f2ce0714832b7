#include "command/record_batch.h"

#include "std/check.h"
#include "std/crc32c.h"
#include "std/little_endian.h"
#include "std/varint.h"

enum {
    AT_BASE_OFFSET = 0,
    AT_TIME = 8,
    AT_SIZE = 16,
    AT_CRC = 20,
    AT_COUNT = 24,
    AT_FLAGS = 28,
    RECORD_SIZE_MIN = 2, /* attributes and the size of nothing */
    BATCH_FLAGS_ALL = BATCH_HAS_KEYS | BATCH_HAS_DELAYS | BATCH_HAS_PRIORITIES | BATCH_HAS_HEADERS,
};
_Static_assert(AT_CRC + 4 == BATCH_PATCH_SIZE, "the checksum is patched last");
_Static_assert(AT_FLAGS + 4 == BATCH_HEADER_SIZE, "the header has no gaps");

/* What apply patches is checksummed apart, so that patching need not read the records again. */
static uint32_t head_crc(const uint8_t *batch)
{
    return crc32c(0, batch, AT_CRC);
}

static uint32_t batch_crc(const uint8_t *batch, size_t size)
{
    return head_crc(batch) ^ crc32c(0, batch + AT_COUNT, size - AT_COUNT);
}

void batch_begin(struct batch_builder *b, struct buf *out)
{
    *b = (struct batch_builder){.out = out, .start = out->size};
    if (buf_reserve(out, BATCH_HEADER_SIZE) != NULL)
        buf_commit(out, BATCH_HEADER_SIZE);
}

static uint8_t record_attributes(const struct record *r)
{
    unsigned attributes = r->priority;
    attributes |= r->key.size > 0 ? RECORD_KEY : 0;
    attributes |= r->headers.size > 0 ? RECORD_HEADERS : 0;
    attributes |= r->value_escaped ? RECORD_ESCAPED : 0;
    attributes |= r->delay_us != 0 ? RECORD_DELAY : 0;
    attributes |= r->deliver_at_us != 0 ? RECORD_DUE : 0;
    return (uint8_t)attributes;
}

static uint32_t record_flags(uint8_t attributes)
{
    uint32_t flags = 0;
    flags |= attributes & RECORD_KEY ? BATCH_HAS_KEYS : 0;
    flags |= attributes & RECORD_HEADERS ? BATCH_HAS_HEADERS : 0;
    flags |= attributes & (RECORD_DELAY | RECORD_DUE) ? BATCH_HAS_DELAYS : 0;
    flags |= (attributes & RECORD_PRIORITY_MASK) != PRIORITY_NORMAL ? BATCH_HAS_PRIORITIES : 0;
    return flags;
}

static size_t sized_span_size(struct span s)
{
    return s.size > 0 ? varint_size(s.size) + s.size : 0;
}

static uint8_t *put_sized_span(uint8_t *at, struct span s)
{
    if (s.size == 0)
        return at;
    at += varint_put(at, s.size);
    memcpy(at, s.data, s.size);
    return at + s.size;
}

void batch_add(struct batch_builder *b, const struct record *r)
{
    CHECK(r->priority < PRIORITY_COUNT);
    CHECK(r->delay_us >= 0 && r->deliver_at_us >= 0);
    CHECK(r->delay_us == 0 || r->deliver_at_us == 0);
    uint8_t attributes = record_attributes(r);
    size_t size = sized_span_size(r->key) + sized_span_size(r->headers) + r->value.size;
    if (attributes & RECORD_DELAY)
        size += varint_size((uint64_t)r->delay_us);
    if (attributes & RECORD_DUE)
        size += varint_size((uint64_t)r->deliver_at_us);

    uint8_t *start = buf_reserve(b->out, 1 + varint_size(size) + size);
    if (start == NULL)
        return; /* the buffer remembers */
    uint8_t *at = start;
    *at++ = attributes;
    at += varint_put(at, size);
    if (attributes & RECORD_DELAY)
        at += varint_put(at, (uint64_t)r->delay_us);
    if (attributes & RECORD_DUE)
        at += varint_put(at, (uint64_t)r->deliver_at_us);
    at = put_sized_span(at, r->key);
    at = put_sized_span(at, r->headers);
    if (r->value.size > 0)
        memcpy(at, r->value.data, r->value.size);
    at += r->value.size;
    buf_commit(b->out, (size_t)(at - start));
    b->count++;
    b->flags |= record_flags(attributes);
}

uint32_t batch_size(const struct batch_builder *b)
{
    return (uint32_t)(b->out->size - b->start);
}

void batch_end(struct batch_builder *b)
{
    if (b->out->overflowed)
        return; /* its owner drops all of it */
    CHECK(b->count >= 1);
    CHECK(batch_size(b) <= BATCH_SIZE_MAX);
    uint8_t *batch = b->out->data + b->start;
    store_u64(batch + AT_BASE_OFFSET, 0);
    store_u64(batch + AT_TIME, 0);
    store_u32(batch + AT_SIZE, batch_size(b));
    store_u32(batch + AT_COUNT, b->count);
    store_u32(batch + AT_FLAGS, b->flags);
    store_u32(batch + AT_CRC, batch_crc(batch, batch_size(b)));
}

enum status batch_header_read(struct span bytes, struct batch_header *out)
{
    *out = (struct batch_header){0};
    if (bytes.size < BATCH_HEADER_SIZE)
        return ST_TORN;
    out->base_offset = load_u64(bytes.data + AT_BASE_OFFSET);
    out->time_us = (int64_t)load_u64(bytes.data + AT_TIME);
    out->size = load_u32(bytes.data + AT_SIZE);
    out->crc = load_u32(bytes.data + AT_CRC);
    out->count = load_u32(bytes.data + AT_COUNT);
    out->flags = load_u32(bytes.data + AT_FLAGS);
    if (out->size < BATCH_HEADER_SIZE || out->size > BATCH_SIZE_MAX || out->count == 0 ||
        out->count > (out->size - BATCH_HEADER_SIZE) / RECORD_SIZE_MIN ||
        (out->flags & ~(uint32_t)BATCH_FLAGS_ALL) != 0 || out->time_us < 0 ||
        out->base_offset > UINT64_MAX - out->count)
        return ST_CORRUPT;
    return bytes.size < out->size ? ST_TORN : ST_OK;
}

enum status batch_verify(struct span bytes, struct batch_header *out)
{
    enum status st = batch_header_read(bytes, out);
    if (st != ST_OK)
        return st;
    return batch_crc(bytes.data, out->size) == out->crc ? ST_OK : ST_CORRUPT;
}

void batch_patch(uint8_t *batch, uint64_t base_offset, int64_t time_us)
{
    CHECK(time_us >= 0);
    uint32_t crc = load_u32(batch + AT_CRC) ^ head_crc(batch);
    store_u64(batch + AT_BASE_OFFSET, base_offset);
    store_u64(batch + AT_TIME, (uint64_t)time_us);
    store_u32(batch + AT_CRC, crc ^ head_crc(batch));
}

/* The attributes and the body of the record at *cursor, which moves behind it. */
static bool record_step(struct span batch, size_t *cursor, uint8_t *out_attributes,
                        struct span *out_body)
{
    size_t at = *cursor == 0 ? BATCH_HEADER_SIZE : *cursor;
    if (at >= batch.size)
        return false;
    struct span rest = span_of(batch.data + at + 1, batch.size - at - 1);
    uint64_t size = 0;
    if (!varint_get(&rest, &size) || size > rest.size) {
        *cursor = SIZE_MAX;
        return false;
    }
    *out_attributes = batch.data[at];
    *out_body = span_of(rest.data, (size_t)size);
    *cursor = (size_t)(rest.data - batch.data) + (size_t)size;
    return true;
}

static bool take_time(struct span *in, int64_t *out)
{
    uint64_t value = 0;
    if (!varint_get(in, &value) || value == 0 || value > INT64_MAX)
        return false;
    *out = (int64_t)value;
    return true;
}

static bool take_sized_span(struct span *in, struct span *out)
{
    uint64_t size = 0;
    if (!varint_get(in, &size) || size == 0 || size > in->size)
        return false;
    *out = span_of(in->data, (size_t)size);
    in->data += size;
    in->size -= (size_t)size;
    return true;
}

static bool record_decode(uint8_t attributes, struct span body, struct record *out)
{
    *out = (struct record){.value_escaped = (attributes & RECORD_ESCAPED) != 0,
                           .priority = attributes & RECORD_PRIORITY_MASK};
    if (out->priority >= PRIORITY_COUNT ||
        ((attributes & RECORD_DELAY) && (attributes & RECORD_DUE)))
        return false;
    if ((attributes & RECORD_DELAY) && !take_time(&body, &out->delay_us))
        return false;
    if ((attributes & RECORD_DUE) && !take_time(&body, &out->deliver_at_us))
        return false;
    if ((attributes & RECORD_KEY) && !take_sized_span(&body, &out->key))
        return false;
    if ((attributes & RECORD_HEADERS) && !take_sized_span(&body, &out->headers))
        return false;
    out->value = body;
    return true;
}

bool batch_next(struct span batch, size_t *cursor, struct record *out)
{
    uint8_t attributes = 0;
    struct span body = {0};
    if (*cursor == SIZE_MAX || !record_step(batch, cursor, &attributes, &body))
        return false;
    if (record_decode(attributes, body, out))
        return true;
    *cursor = SIZE_MAX;
    return false;
}

bool batch_skip(struct span batch, size_t *cursor, uint32_t count)
{
    uint8_t attributes = 0;
    struct span body = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (*cursor == SIZE_MAX || !record_step(batch, cursor, &attributes, &body))
            return false;
    }
    return true;
}

enum status batch_check(struct span bytes, struct batch_header *out)
{
    enum status st = batch_verify(bytes, out);
    if (st != ST_OK)
        return st;
    struct span batch = span_of(bytes.data, out->size);
    uint32_t count = 0, flags = 0;
    uint8_t attributes = 0;
    struct span body = {0};
    struct record record;
    size_t cursor = 0;
    while (record_step(batch, &cursor, &attributes, &body)) {
        if (!record_decode(attributes, body, &record))
            return ST_CORRUPT;
        flags |= record_flags(attributes);
        count++;
    }
    return cursor == batch.size && count == out->count && flags == out->flags ? ST_OK : ST_CORRUPT;
}
