/* UTF-8, as RFC 3629 has it: no over-long forms, no surrogates, nothing above U+10FFFF. */
#ifndef STD_UTF8_H
#define STD_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "std/span.h"

/* How many bytes at the front are whole, valid characters; text.size when all of it is valid.
 * Cost: ASCII runs at the speed of memory, other characters one by one. */
size_t utf8_valid_size(struct span text);

static inline bool utf8_valid(struct span text)
{
    return utf8_valid_size(text) == text.size;
}

/* The most of a valid text that is whole characters and at most size_max bytes. */
struct span utf8_cut(struct span text, size_t size_max);

/* Writes the 1..4 bytes of a Unicode scalar value to `out` and returns how many they are. */
size_t utf8_put(uint8_t *out, uint32_t scalar);

#endif
