/* A message's key as a number, for whoever compares keys without having them at hand.
 *
 * Equal keys have equal numbers; different ones may share one. The lowest two are no keys. */
#ifndef COMMAND_KEY_HASH_H
#define COMMAND_KEY_HASH_H

#include "std/murmur3.h"

enum {
    KEY_UNKNOWN = 0, /* nobody has looked yet */
    KEY_NONE = 1,    /* a message without a key */
    KEY_HASH_MIN = 2,
};

static inline uint32_t key_hash(struct span key)
{
    if (key.size == 0)
        return KEY_NONE;
    const uint32_t hash = murmur3_32(key);
    return hash >= KEY_HASH_MIN ? hash : hash + KEY_HASH_MIN;
}

#endif
