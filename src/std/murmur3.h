/* MurmurHash3, x86 variant, 32 bits, seed 0: decides which partition a key belongs to.
 *
 * Part of the contract with clients and of what is on disk, so it never changes. Not for tables
 * that a stranger can fill: its collisions are easy to make. Check values: "test" ba6bd213, "hello"
 * 248bfa47. */
#ifndef STD_MURMUR3_H
#define STD_MURMUR3_H

#include <stdint.h>

#include "std/span.h"

uint32_t murmur3_32(struct span key);

#endif
