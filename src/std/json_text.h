/* Inside of json_string: the walk over a string's text, shared by its variants. Nobody else's.
 *
 * A variant looks at 32 bytes at once and says where in them are bytes that matter; the walk does
 * the rest, and the last bytes of the document, which are fewer than 32, in smaller steps. */
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
    struct json_string *out;
    struct json_text_error *error;
};

/* Behind the escape that starts at `at`, or NULL and an error in *w->error. */
const uint8_t *json_walk_escape(struct json_walk *w, const uint8_t *at);
/* Behind the closing quote, from `at` on, without SIMD; NULL and an error. */
const uint8_t *json_walk_bytes(struct json_walk *w, const uint8_t *at);
/* The quote is at `quote`: checks the UTF-8 and fills *w->out. */
const uint8_t *json_walk_finish(struct json_walk *w, const uint8_t *quote);
const uint8_t *json_walk_fail(struct json_walk *w, const uint8_t *at, const char *why);

/* What `\x` stands for, at index x; 0: no such escape. */
extern const uint8_t json_escape_byte[256];

/* What the variants that need certain instructions are called; NULL when the CPU lacks them. */
json_text_scan_fn *json_text_scan_avx2(void);
json_text_scan_fn *json_text_scan_sse2(void);

typedef struct json_block json_block_fn(const uint8_t *at);

/* The walk from the block at `at` on, whatever it holds. Both are inlined into each variant, so
 * that `block` is no call and may use the variant's instructions. */
__attribute__((always_inline)) static inline const uint8_t *
json_walk_blocks(struct json_walk *w, const uint8_t *at, json_block_fn *block)
{
    while (w->end - at >= JSON_BLOCK_SIZE) {
        struct json_block bits = block(at);
        const uint8_t *next = at + JSON_BLOCK_SIZE;
        while (bits.special != 0) {
            unsigned i = (unsigned)__builtin_ctz(bits.special);
            const uint8_t *special = at + i;
            if (*special == '"') {
                w->high |= (bits.high & ((1u << i) - 1)) != 0;
                return json_walk_finish(w, special);
            }
            if (*special != '\\')
                return json_walk_fail(w, special, "control character in a string");
            if (special + 1 < w->end && json_escape_byte[special[1]] != 0) {
                special += 2;
                w->saved++;
            } else {
                special = json_walk_escape(w, special);
                if (special == NULL)
                    return NULL;
            }
            if (special >= next) {
                next = special;
                break;
            }
            bits.special &= UINT32_MAX << (special - at);
        }
        w->high |= bits.high != 0;
        at = next;
    }
    return json_walk_bytes(w, at);
}

/* The most common string, ASCII without escapes: true with *out filled and *at behind the closing
 * quote, or false with *at at the block that shows it to be another. */
__attribute__((always_inline)) static inline bool json_walk_plain(const uint8_t **at,
                                                                  const uint8_t *end,
                                                                  json_block_fn *block,
                                                                  struct json_string *out)
{
    const uint8_t *start = *at;
    for (; end - *at >= JSON_BLOCK_SIZE; *at += JSON_BLOCK_SIZE) {
        struct json_block bits = block(*at);
        uint32_t any = bits.special | bits.high;
        if (any == 0)
            continue;
        const uint8_t *quote = *at + __builtin_ctz(any);
        if (*quote != '"')
            return false;
        size_t size = (size_t)(quote - start);
        *out = (struct json_string){.raw = {start, size}, .unescaped_size = size};
        *at = quote + 1;
        return true;
    }
    return false;
}

#endif
