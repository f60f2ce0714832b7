#include "std/murmur3.h"

static uint32_t rotate_left(uint32_t value, unsigned bits)
{
    return (value << bits) | (value >> (32 - bits));
}

static uint32_t scramble(uint32_t word)
{
    return rotate_left(word * 0xcc9e2d51u, 15) * 0x1b873593u;
}

/* Little-endian on every CPU: the hash is part of the contract. */
static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t murmur3_32(struct span key)
{
    uint32_t hash = 0;
    size_t at = 0;
    for (; key.size - at >= 4; at += 4)
        hash = rotate_left(hash ^ scramble(load_u32(key.data + at)), 13) * 5 + 0xe6546b64u;

    uint32_t tail = 0;
    for (size_t i = key.size; i > at; i--)
        tail = tail << 8 | key.data[i - 1];
    hash ^= scramble(tail); /* scramble(0) is 0: no tail, no change */

    hash ^= (uint32_t)key.size;
    hash = (hash ^ hash >> 16) * 0x85ebca6bu;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
    return hash ^ hash >> 16;
}
