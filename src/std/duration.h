/* Lengths of time as people write them: "30s", "1h30m", "1.5s", after Go's time.Duration.
 *
 *     [+-]? ( "0" | ( (digits [ "." digits? ] | "." digits) unit )+ )
 *
 * with the units ns, us, µs (either code point for the sign), ms, s, m and h. Parts add up. */
#ifndef STD_DURATION_H
#define STD_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "std/span.h"

enum {
    DURATION_SIZE_MAX = 32
}; /* of the text with its NUL; the longest is -2562047h47m16.854775808s */

/* False, with *out_ns unchanged, when `text` is no duration or leaves int64 nanoseconds. A fraction
 * of a nanosecond is dropped. */
bool duration_parse(struct span text, int64_t *out_ns);

/* Writes the shortest exact form to `out` ("1.5ms", "850µs", "1m0s", "26h0m5s", "0s") with a NUL
 * and returns its size without it. */
size_t duration_format(char out[DURATION_SIZE_MAX], int64_t ns);

#endif
