/* Fields one after the other: what command records and snapshots are made of. Fixed-size
 * little-endian integers, varints, and strings with their size in two bytes before them.
 *
 * A reader that runs out of bytes, or meets a value over the bound it was told, remembers that it
 * failed and gives zeros from then on: ask wire_ok() once at the end, and before trusting a count
 * for an allocation. */
#ifndef STD_WIRE_H
#define STD_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "std/buf.h"
#include "std/span.h"

void wire_put_u8(struct buf *out, uint8_t value);
void wire_put_u16(struct buf *out, uint16_t value);
void wire_put_u32(struct buf *out, uint32_t value);
void wire_put_u64(struct buf *out, uint64_t value);
void wire_put_i64(struct buf *out, int64_t value);
void wire_put_varint(struct buf *out, uint64_t value);
void wire_put_string(struct buf *out, struct span s); /* at most 65535 bytes */

struct wire_reader {
    struct span left; /* borrowed: what was not read yet */
    bool failed;
    uint16_t version; /* the caller's: of the layout that is read */
};

void wire_reader_init(struct wire_reader *r, struct span bytes);
uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
int64_t wire_get_i64(struct wire_reader *r);
uint64_t wire_get_varint(struct wire_reader *r); /* only the shortest form */
bool wire_get_bool(struct wire_reader *r);       /* only 0 and 1 */
/* The next `size` bytes, borrowed; empty when there are fewer. */
struct span wire_get_bytes(struct wire_reader *r, size_t size);
/* A string of size_min..size_max bytes, borrowed; empty when it failed. */
struct span wire_get_string(struct wire_reader *r, size_t size_min, size_t size_max);
/* Fails the reader unless `holds`. */
void wire_expect(struct wire_reader *r, bool holds);
/* A count of things of at least `item_size` bytes each, so that it is not over what the bytes can
 * hold; low..high. Zero when it failed. */
uint32_t wire_get_count(struct wire_reader *r, uint32_t low, uint32_t high, size_t item_size);

static inline bool wire_ok(const struct wire_reader *r)
{
    return !r->failed;
}

static inline bool wire_at_end(const struct wire_reader *r)
{
    return !r->failed && r->left.size == 0;
}

#endif
