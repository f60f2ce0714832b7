#include "std/json_text.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* A byte below 0x20 is one that stays the same when capped at 0x1f. */
static inline struct json_block block_sse2(const uint8_t *at)
{
    struct json_block bits = {0, 0};
    for (unsigned i = 0; i < JSON_BLOCK_SIZE; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(at + i));
        __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
        __m128i backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
        __m128i special = _mm_or_si128(_mm_or_si128(quote, backslash), control);
        bits.special |= (uint32_t)_mm_movemask_epi8(special) << i;
        bits.high |= (uint32_t)_mm_movemask_epi8(v) << i;
    }
    return bits;
}

__attribute__((noinline)) static const uint8_t *rest_sse2(const uint8_t *start, const uint8_t *at,
                                                          const uint8_t *end,
                                                          struct json_string *out,
                                                          struct json_text_error *error)
{
    struct json_walk w = {.start = start, .end = end, .out = out, .error = error};
    return json_walk_blocks(&w, at, block_sse2);
}

static const uint8_t *scan_sse2(const uint8_t *at, const uint8_t *end, struct json_string *out,
                                struct json_text_error *error)
{
    const uint8_t *start = at;
    if (json_walk_plain(&at, end, block_sse2, out))
        return at;
    return rest_sse2(start, at, end, out, error);
}

json_text_scan_fn *json_text_scan_sse2(void)
{
    return scan_sse2; /* part of x86-64 itself */
}

#define TARGET __attribute__((target("avx2,bmi")))

TARGET static inline struct json_block block_avx2(const uint8_t *at)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)at);
    __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
    __m256i backslash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
    __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
    __m256i special = _mm256_or_si256(_mm256_or_si256(quote, backslash), control);
    return (struct json_block){.special = (uint32_t)_mm256_movemask_epi8(special),
                               .high = (uint32_t)_mm256_movemask_epi8(v)};
}

TARGET __attribute__((noinline)) static const uint8_t *
rest_avx2(const uint8_t *start, const uint8_t *at, const uint8_t *end, struct json_string *out,
          struct json_text_error *error)
{
    struct json_walk w = {.start = start, .end = end, .out = out, .error = error};
    return json_walk_blocks(&w, at, block_avx2);
}

TARGET static const uint8_t *scan_avx2(const uint8_t *at, const uint8_t *end,
                                       struct json_string *out, struct json_text_error *error)
{
    const uint8_t *start = at;
    if (json_walk_plain(&at, end, block_avx2, out))
        return at;
    return rest_avx2(start, at, end, out, error);
}

json_text_scan_fn *json_text_scan_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") ? scan_avx2 : NULL;
}

#else

json_text_scan_fn *json_text_scan_sse2(void)
{
    return NULL;
}

json_text_scan_fn *json_text_scan_avx2(void)
{
    return NULL;
}

#endif
