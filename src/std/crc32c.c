#include "std/crc32c.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

/* Reflected Castagnoli polynomial: bit 31 is the coefficient of x^0. */
enum { SLICES = 8 };
static const uint32_t POLYNOMIAL = 0x82f63b78u;

static uint32_t slice[SLICES][256]; /* slice[k][b]: the CRC of byte b followed by k zero bytes */
#if defined(__x86_64__)
static bool have_instructions;
#endif

__attribute__((constructor)) static void crc32c_setup(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        slice[0][byte] = crc;
    }
    for (int k = 1; k < SLICES; k++) {
        for (uint32_t byte = 0; byte < 256; byte++)
            slice[k][byte] = slice[k - 1][byte] >> 8 ^ slice[0][slice[k - 1][byte] & 0xff];
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
    have_instructions = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
#endif
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);
        crc = slice[7][low & 0xff] ^ slice[6][low >> 8 & 0xff] ^ slice[5][low >> 16 & 0xff] ^
              slice[4][low >> 24] ^ slice[3][p[4]] ^ slice[2][p[5]] ^ slice[1][p[6]] ^
              slice[0][p[7]];
    }
    for (; size > 0; size--, p++)
        crc = crc >> 8 ^ slice[0][(crc ^ *p) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)

#define TARGET __attribute__((target("sse4.2,pclmul")))

/* The instruction takes three cycles but a new one can start each cycle, so three runs of bytes are
 * checksummed side by side and joined afterwards. */
#define RUN_LONG  ((size_t)1024)
#define RUN_SHORT ((size_t)128)

/* x^(8n - 33) mod P for n = one and two runs: what a CRC is multiplied by to append n zero bytes
 * (see append_zeros). */
struct run_shift {
    uint32_t one, two;
};
static const struct run_shift SHIFT_LONG = {.one = 0x170076fau, .two = 0xa51b6135u};
static const struct run_shift SHIFT_SHORT = {.one = 0x0d3b6092u, .two = 0xb9e02b86u};

static inline uint64_t load_u64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* The product of two reflected polynomials of 32 bits comes out times x, and the CRC instruction
 * multiplies by x^32 before it reduces: 33 in all, which `shift` makes up for. */
TARGET static inline uint32_t append_zeros(uint32_t crc, uint32_t shift)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)crc), _mm_cvtsi32_si128((int)shift), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

TARGET static inline uint32_t three_runs(uint32_t crc, const uint8_t *p, size_t run,
                                         struct run_shift shift)
{
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < run; i += 8) {
        a = _mm_crc32_u64(a, load_u64(p + i));
        b = _mm_crc32_u64(b, load_u64(p + run + i));
        c = _mm_crc32_u64(c, load_u64(p + 2 * run + i));
    }
    return append_zeros((uint32_t)a, shift.two) ^ append_zeros((uint32_t)b, shift.one) ^
           (uint32_t)c;
}

TARGET static uint32_t crc32c_instructions(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; size >= 3 * RUN_LONG; size -= 3 * RUN_LONG, p += 3 * RUN_LONG)
        crc = three_runs(crc, p, RUN_LONG, SHIFT_LONG);
    for (; size >= 3 * RUN_SHORT; size -= 3 * RUN_SHORT, p += 3 * RUN_SHORT)
        crc = three_runs(crc, p, RUN_SHORT, SHIFT_SHORT);
    for (; size >= 8; size -= 8, p += 8)
        crc = (uint32_t)_mm_crc32_u64(crc, load_u64(p));
    for (; size > 0; size--, p++)
        crc = _mm_crc32_u8(crc, *p);
    return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return have_instructions ? crc32c_instructions(crc, data, size)
                             : crc32c_portable(crc, data, size);
}

#elif defined(__ARM_FEATURE_CRC32)

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        crc = __crc32cd(crc, word);
    }
    for (; size > 0; size--, p++)
        crc = __crc32cb(crc, *p);
    return ~crc;
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return crc32c_portable(crc, data, size);
}

#endif
