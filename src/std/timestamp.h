/* Points in time as text, after RFC 3339, and as microseconds since 1970-01-01T00:00:00Z.
 *
 * The calendar is the proleptic Gregorian one, years 0000..9999. Leap seconds count as Unix counts
 * them: 23:59:60Z is the same as the midnight after it. */
#ifndef STD_TIMESTAMP_H
#define STD_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "std/span.h"

enum { TIMESTAMP_SIZE_MAX = 28 }; /* of the text with its NUL */

/* Reads "2006-01-02T15:04:05", a fraction of any length or none, and "Z" or "+hh:mm" or "-hh:mm";
 * digits behind the microseconds are dropped. False, with *out_us unchanged, when it is not that.
 */
bool timestamp_parse(struct span text, int64_t *out_us);

/* Writes UTC with a "Z" and no, three or six digits of a fraction, as many as are needed, plus a
 * NUL; returns the size without it. What lies outside the years is written as their nearer end. */
size_t timestamp_format(char out[TIMESTAMP_SIZE_MAX], int64_t us);

#endif
