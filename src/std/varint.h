/* Integers in as few bytes as they need: little-endian base 128 (LEB128), and zigzag for signed
 * ones.
 *
 * Seven bits a byte, lowest first; the top bit says that another byte follows. Each value has
 * exactly one encoding, the shortest: varint_get() refuses the others, so equal values are equal
 * bytes. */
#ifndef STD_VARINT_H
#define STD_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "std/span.h"

enum { VARINT_SIZE_MAX = 10 };

/* How many bytes varint_put() will write, 1..VARINT_SIZE_MAX. */
static inline size_t varint_size(uint64_t value)
{
    return ((size_t)(63 - __builtin_clzll(value | 1)) + 7) / 7;
}

/* Writes `value` to `out`, which has room for VARINT_SIZE_MAX bytes; returns how many it took. */
static inline size_t varint_put(uint8_t *out, uint64_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        out[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (uint8_t)value;
    return size;
}

/* Takes one integer off the front of `*in`. False, with `*in` and `*out_value` unchanged, when the
 * bytes end too early, do not fit 64 bits or are not the shortest encoding. */
static inline bool varint_get(struct span *in, uint64_t *out_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < in->size && i < VARINT_SIZE_MAX; i++) {
        uint8_t byte = in->data[i];
        if (i == VARINT_SIZE_MAX - 1 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte >= 0x80)
            continue;
        if (byte == 0 && i > 0)
            return false;
        in->data += i + 1;
        in->size -= i + 1;
        *out_value = value;
        return true;
    }
    return false;
}

/* Small magnitudes, of either sign, to small unsigned numbers: 0 -1 1 -2 2 ... */
static inline uint64_t zigzag_encode(int64_t value)
{
    return (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int64_t zigzag_decode(uint64_t value)
{
    uint64_t half = value >> 1;
    return value & 1 ? -1 - (int64_t)half : (int64_t)half;
}

#endif
