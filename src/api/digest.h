/* What tells texts apart that are too long to be kept: 128 bits of XXH3. */
#ifndef API_DIGEST_H
#define API_DIGEST_H

#include "command/command.h"

enum { DIGEST_PARTS_MAX = 4 };

/* Of a list of texts, 1..DIGEST_PARTS_MAX: ("a", "bc") and ("ab", "c") differ. */
void digest_parts(const struct span *parts, size_t count, uint8_t out[CONTENT_SIZE]);

#endif
