/* Just enough JSON reading to judge replies at the speed they come in. A key is searched as the
 * bytes `"key":`, which cannot occur inside a JSON string, because there a quote is escaped. The
 * whole reply is looked at each time: a generator that trusts the broker's 200 measures nothing. */
#include <stdio.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "cli/bench.h"
#include "std/check.h"

enum {
    NEEDLE_MAX = 64,
    TAIL_SIZE = 256, /* what follows the long list of a reply, if anything */
};

static size_t needle_make(char out[NEEDLE_MAX], const char *key)
{
    int size = snprintf(out, NEEDLE_MAX, "\"%s\":", key);
    CHECK(size > 3);
    CHECK(size < NEEDLE_MAX);
    return (size_t)size;
}

#if defined(__SSE2__)
/* Compares the first two bytes of the needle at 16 places at once; candidates are rare, so this
 * runs at several bytes a cycle where memmem() needs several cycles a byte. Moves *at. */
static uint64_t count_wide(const uint8_t **at, const uint8_t *end, const char *needle, size_t size)
{
    const __m128i first = _mm_set1_epi8(needle[0]);
    const __m128i second = _mm_set1_epi8(needle[1]);
    const uint8_t *p = *at;
    uint64_t count = 0;
    for (; (size_t)(end - p) >= 16 + size; p += 16) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));
        __m128i both = _mm_and_si128(_mm_cmpeq_epi8(a, first), _mm_cmpeq_epi8(b, second));
        unsigned candidates = (unsigned)_mm_movemask_epi8(both);
        for (; candidates != 0; candidates &= candidates - 1)
            count += memcmp(p + __builtin_ctz(candidates), needle, size) == 0;
    }
    *at = p;
    return count;
}
#endif

uint64_t json_count_key(struct span json, const char *key)
{
    char needle[NEEDLE_MAX];
    size_t size = needle_make(needle, key);
    if (json.size < size)
        return 0;
    const uint8_t *at = json.data;
    const uint8_t *end = json.data + json.size;
    uint64_t count = 0;
#if defined(__SSE2__)
    count = count_wide(&at, end, needle, size);
#endif
    for (;;) {
        at = memmem(at, (size_t)(end - at), needle, size);
        if (at == NULL)
            return count;
        count++;
        at += size;
    }
}

/* Where the value of the next such key begins; NULL when there is none. */
static const uint8_t *find_value(struct span json, const char *key)
{
    char needle[NEEDLE_MAX];
    size_t size = needle_make(needle, key);
    if (json.size < size)
        return NULL;
    const uint8_t *at = memmem(json.data, json.size, needle, size);
    if (at == NULL)
        return NULL;
    at += size;
    while (at < json.data + json.size && *at == ' ')
        at++;
    return at;
}

bool json_find_u64(struct span json, const char *key, uint64_t *out)
{
    const uint8_t *end = json.data + json.size;
    const uint8_t *at = NULL;
    if (json.size > TAIL_SIZE) /* before the long way from the front */
        at = find_value(span_of(end - TAIL_SIZE, TAIL_SIZE), key);
    if (at == NULL)
        at = find_value(json, key);
    if (at == NULL || at == end || *at < '0' || *at > '9')
        return false;
    uint64_t value = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    *out = value;
    return true;
}

bool json_next_string(struct span json, const char *key, size_t *from, struct span *out)
{
    CHECK(*from <= json.size);
    const uint8_t *end = json.data + json.size;
    const uint8_t *at = find_value(span_of(json.data + *from, json.size - *from), key);
    if (at == NULL || at == end || *at != '"')
        return false;
    at++;
    const uint8_t *quote = memchr(at, '"', (size_t)(end - at));
    if (quote == NULL)
        return false;
    *out = span_of(at, (size_t)(quote - at));
    *from = (size_t)(quote - json.data) + 1;
    return true;
}
