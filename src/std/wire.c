#include "std/wire.h"

#include "std/check.h"
#include "std/little_endian.h"
#include "std/varint.h"

void wire_put_u8(struct buf *out, uint8_t value)
{
    buf_put_byte(out, value);
}

void wire_put_u16(struct buf *out, uint16_t value)
{
    uint8_t bytes[sizeof value];
    store_u16(bytes, value);
    buf_put(out, bytes, sizeof bytes);
}

void wire_put_u32(struct buf *out, uint32_t value)
{
    uint8_t bytes[sizeof value];
    store_u32(bytes, value);
    buf_put(out, bytes, sizeof bytes);
}

void wire_put_u64(struct buf *out, uint64_t value)
{
    uint8_t bytes[sizeof value];
    store_u64(bytes, value);
    buf_put(out, bytes, sizeof bytes);
}

void wire_put_i64(struct buf *out, int64_t value)
{
    wire_put_u64(out, (uint64_t)value);
}

void wire_put_varint(struct buf *out, uint64_t value)
{
    uint8_t bytes[VARINT_SIZE_MAX];
    buf_put(out, bytes, varint_put(bytes, value));
}

void wire_put_string(struct buf *out, struct span s)
{
    CHECK(s.size <= UINT16_MAX);
    wire_put_u16(out, (uint16_t)s.size);
    buf_put_span(out, s);
}

void wire_reader_init(struct wire_reader *r, struct span bytes)
{
    *r = (struct wire_reader){.left = bytes};
}

struct span wire_get_bytes(struct wire_reader *r, size_t size)
{
    wire_expect(r, size <= r->left.size);
    if (r->failed || size == 0)
        return span_of(NULL, 0);
    struct span bytes = span_of(r->left.data, size);
    r->left = span_of(r->left.data + size, r->left.size - size);
    return bytes;
}

uint8_t wire_get_u8(struct wire_reader *r)
{
    struct span bytes = wire_get_bytes(r, sizeof(uint8_t));
    return bytes.size == 0 ? 0 : bytes.data[0];
}

uint16_t wire_get_u16(struct wire_reader *r)
{
    struct span bytes = wire_get_bytes(r, sizeof(uint16_t));
    return bytes.size == 0 ? 0 : load_u16(bytes.data);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
    struct span bytes = wire_get_bytes(r, sizeof(uint32_t));
    return bytes.size == 0 ? 0 : load_u32(bytes.data);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
    struct span bytes = wire_get_bytes(r, sizeof(uint64_t));
    return bytes.size == 0 ? 0 : load_u64(bytes.data);
}

int64_t wire_get_i64(struct wire_reader *r)
{
    return (int64_t)wire_get_u64(r);
}

uint64_t wire_get_varint(struct wire_reader *r)
{
    uint64_t value = 0;
    if (!r->failed && !varint_get(&r->left, &value))
        r->failed = true;
    return r->failed ? 0 : value;
}

bool wire_get_bool(struct wire_reader *r)
{
    uint8_t value = wire_get_u8(r);
    wire_expect(r, value <= 1);
    return !r->failed && value == 1;
}

struct span wire_get_string(struct wire_reader *r, size_t size_min, size_t size_max)
{
    size_t size = wire_get_u16(r);
    wire_expect(r, size >= size_min && size <= size_max);
    return wire_get_bytes(r, r->failed ? 0 : size);
}

void wire_expect(struct wire_reader *r, bool holds)
{
    r->failed = r->failed || !holds;
}

uint32_t wire_get_count(struct wire_reader *r, uint32_t low, uint32_t high, size_t item_size)
{
    uint32_t count = wire_get_u32(r);
    wire_expect(r, count >= low && count <= high && count <= r->left.size / item_size);
    return r->failed ? 0 : count;
}
