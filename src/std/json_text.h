/* Inside of json_string: the walk over a string's text, shared by its variants. Nobody else's.
 *
 * A variant looks at 32 bytes at once and says where in them are bytes that matter; the walk does
 * the rest, and the last bytes of the document, which are fewer than 32, one by one. */
#ifndef STD_JSON_TEXT_H
#define STD_JSON_TEXT_H

#include "std/json_string.h"

enum { JSON_BLOCK_SIZE = 32 };

/* One bit a byte, the lowest for the first. */
struct json_block {
    uint32_t special; /* quotes, backslashes, control characters */
    uint32_t high;    /* bytes of 0x80 and above */
};

/* The state of one walk. */
struct json_walk {
    const uint8_t *start, *end;
    size_t saved; /* bytes by which the escapes so far are longer than what they stand for */
    bool high;    /* a byte of 0x80 or above was seen */
    struct json_text *out;
};

/* Behind the escape that starts at `at`, or NULL and an error in *w->out. */
const uint8_t *json_walk_escape(struct json_walk *w, const uint8_t *at);
/* Behind the closing quote, from `at` on, byte by byte; NULL and an error. */
const uint8_t *json_walk_bytes(struct json_walk *w, const uint8_t *at);
/* The quote is at `quote`: checks the UTF-8 and fills *w->out. */
const uint8_t *json_walk_finish(struct json_walk *w, const uint8_t *quote);
const uint8_t *json_walk_fail(struct json_walk *w, const uint8_t *at, const char *why);

extern const uint8_t
    json_escape_byte[256]; /* what `\x` stands for, at index x; 0: no such escape */

/* What the variants that need certain instructions are called; NULL when the CPU lacks them. */
json_text_scan_fn *json_text_scan_avx2(void);
json_text_scan_fn *json_text_scan_sse2(void);

typedef struct json_block json_block_fn(const uint8_t *at);

/* Always inlined into each variant, so that `block` is no call and may use the variant's
 * instructions. */
__attribute__((always_inline)) static inline const uint8_t *
json_walk_blocks(const uint8_t *at, const uint8_t *end, struct json_text *out, json_block_fn *block)
{
    struct json_walk w = {.start = at, .end = end, .out = out};
    while (end - at >= JSON_BLOCK_SIZE) {
        struct json_block bits = block(at);
        const uint8_t *next = at + JSON_BLOCK_SIZE;
        while (bits.special != 0) {
            unsigned i = (unsigned)__builtin_ctz(bits.special);
            const uint8_t *special = at + i;
            if (*special == '"') {
                w.high |= (bits.high & ((1u << i) - 1)) != 0;
                return json_walk_finish(&w, special);
            }
            if (*special != '\\')
                return json_walk_fail(&w, special, "control character in a string");
            if (special + 1 < end && json_escape_byte[special[1]] != 0) {
                special += 2;
                w.saved++;
            } else {
                special = json_walk_escape(&w, special);
                if (special == NULL)
                    return NULL;
            }
            if (special >= next) {
                next = special;
                break;
            }
            bits.special &= UINT32_MAX << (special - at);
        }
        w.high |= bits.high != 0;
        at = next;
    }
    return json_walk_bytes(&w, at);
}

#endif
