#include "api/digest.h"

#include <xxhash.h>

#include "std/check.h"

static void put_digest(struct span text, uint8_t out[CONTENT_SIZE])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(text.data, text.size));
    _Static_assert(sizeof canonical == CONTENT_SIZE, "of 128 bits");
    memcpy(out, &canonical, sizeof canonical);
}

/* The digest of the parts' digests, which are all of one size: nothing runs into the next. */
void digest_parts(const struct span *parts, size_t count, uint8_t out[CONTENT_SIZE])
{
    uint8_t list[DIGEST_PARTS_MAX * CONTENT_SIZE];
    CHECK(count >= 1 && count <= DIGEST_PARTS_MAX);
    for (size_t i = 0; i < count; i++)
        put_digest(parts[i], list + i * CONTENT_SIZE);
    put_digest(span_of(list, count * CONTENT_SIZE), out);
}
