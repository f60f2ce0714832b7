/* Writing short text into memory that was reserved, for the replies that are written most. */
#ifndef API_TEXT_H
#define API_TEXT_H

#include <stdint.h>
#include <string.h>

#include "std/span.h"

/* All return the position behind what they wrote. */
static inline uint8_t *text_copy(uint8_t *to, const void *data, size_t size)
{
    if (size > 0)
        memcpy(to, data, size);
    return to + size;
}

#define TEXT_LITERAL(to, literal) text_copy((to), (literal), sizeof(literal) - 1)

static inline uint8_t *text_u64(uint8_t *to, uint64_t value)
{
    uint8_t digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return text_copy(to, digits + at, sizeof digits - at);
}

#endif
