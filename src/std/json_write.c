#include "std/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "std/check.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out};
}

/* Room for a value of `size` bytes; puts the comma in front of it. NULL over the bound. */
static inline uint8_t *value_reserve(struct json_writer *w, size_t size)
{
    uint8_t *to = buf_reserve(w->out, size + 1);
    if (to != NULL && w->comma) {
        *to++ = ',';
        buf_commit(w->out, 1);
    }
    w->comma = true;
    return to;
}

static inline void put_comma(struct json_writer *w)
{
    if (w->comma)
        buf_put_byte(w->out, ',');
    w->comma = true;
}

static void put_value(struct json_writer *w, const char *text, size_t size)
{
    uint8_t *to = value_reserve(w, size);
    if (to == NULL)
        return;
    memcpy(to, text, size);
    buf_commit(w->out, size);
}

/* --- containers ---------------------------------------------------------------------------------
 */

static void container_begin(struct json_writer *w, const char *bracket)
{
    put_value(w, bracket, 1);
    w->comma = false;
    w->depth++;
}

static void container_end(struct json_writer *w, uint8_t bracket)
{
    CHECK(w->depth > 0);
    buf_put_byte(w->out, bracket);
    w->comma = true;
    w->depth--;
}

void json_write_object_begin(struct json_writer *w)
{
    container_begin(w, "{");
}

void json_write_object_end(struct json_writer *w)
{
    container_end(w, '}');
}

void json_write_array_begin(struct json_writer *w)
{
    container_begin(w, "[");
}

void json_write_array_end(struct json_writer *w)
{
    container_end(w, ']');
}

void json_write_key_span(struct json_writer *w, struct span plain)
{
    uint8_t *to = value_reserve(w, plain.size + 3);
    w->comma = false;
    if (to == NULL)
        return;
    to[0] = '"';
    memcpy(to + 1, plain.data, plain.size);
    to[plain.size + 1] = '"';
    to[plain.size + 2] = ':';
    buf_commit(w->out, plain.size + 3);
}

void json_write_key_string(struct json_writer *w, struct span utf8)
{
    json_write_string(w, utf8);
    buf_put_byte(w->out, ':');
    w->comma = false;
}

/* --- scalars ------------------------------------------------------------------------------------
 */

void json_write_string(struct json_writer *w, struct span utf8)
{
    put_comma(w);
    buf_put_byte(w->out, '"');
    json_escape(w->out, utf8);
    buf_put_byte(w->out, '"');
}

void json_write_text(struct json_writer *w, const char *utf8)
{
    json_write_string(w, span_text(utf8));
}

void json_write_raw_string(struct json_writer *w, struct span escaped)
{
    uint8_t *to = value_reserve(w, escaped.size + 2);
    if (to == NULL)
        return;
    to[0] = '"';
    if (escaped.size > 0)
        memcpy(to + 1, escaped.data, escaped.size);
    to[escaped.size + 1] = '"';
    buf_commit(w->out, escaped.size + 2);
}

void json_write_int64(struct json_writer *w, int64_t value)
{
    put_comma(w);
    buf_put_i64(w->out, value);
}

void json_write_uint64(struct json_writer *w, uint64_t value)
{
    put_comma(w);
    buf_put_u64(w->out, value);
}

void json_write_double(struct json_writer *w, double value)
{
    CHECK(isfinite(value));
    char text[32];
    (void)snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        (void)snprintf(text, sizeof text, "%.17g", value);
    put_value(w, text, strlen(text));
}

void json_write_bool(struct json_writer *w, bool value)
{
    put_value(w, value ? "true" : "false", value ? 4 : 5);
}

void json_write_null(struct json_writer *w)
{
    put_value(w, "null", 4);
}

void json_write_raw(struct json_writer *w, struct span json)
{
    put_comma(w);
    buf_put_span(w->out, json);
}

/* --- escaping -----------------------------------------------------------------------------------
 */

enum { ESCAPE_SIZE_MAX = 6, CHUNK_SIZE = 4096, STORE_SIZE = 16 };

/* Writes the escape of `byte`, or the byte itself when it needs none; returns the size. */
static size_t escape_byte(uint8_t *out, uint8_t byte)
{
    static const uint8_t letters[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
        ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
    };
    static const char hex[] = "0123456789abcdef";
    if (letters[byte] != 0) {
        out[0] = '\\';
        out[1] = letters[byte];
        return 2;
    }
    if (byte >= 0x20) {
        out[0] = byte;
        return 1;
    }
    static const uint8_t prefix[4] = {'\\', 'u', '0', '0'};
    memcpy(out, prefix, sizeof prefix);
    out[4] = (uint8_t)hex[byte >> 4];
    out[5] = (uint8_t)hex[byte & 15];
    return ESCAPE_SIZE_MAX;
}

void json_escape_portable(struct buf *out, struct span utf8)
{
    uint8_t bytes[ESCAPE_SIZE_MAX];
    for (size_t i = 0; i < utf8.size; i++)
        buf_put(out, bytes, escape_byte(bytes, utf8.data[i]));
}

#if defined(__SSE2__)

/* A bit for each of 16 bytes that needs an escape. */
static inline unsigned special_mask(__m128i bytes)
{
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control));
}

/* Copies 16 bytes blindly and steps over those before the first that needs an escape: `out` has
 * room for the worst case and one more store. Returns the size. */
static size_t escape_chunk(uint8_t *out, struct span utf8)
{
    uint8_t *to = out;
    size_t at = 0;
    while (utf8.size - at >= STORE_SIZE) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(utf8.data + at));
        _mm_storeu_si128((__m128i *)(void *)to, bytes);
        unsigned special = special_mask(bytes);
        size_t plain = special == 0 ? STORE_SIZE : (size_t)__builtin_ctz(special);
        to += plain;
        at += plain;
        if (special != 0)
            to += escape_byte(to, utf8.data[at++]);
    }
    for (; at < utf8.size; at++)
        to += escape_byte(to, utf8.data[at]);
    return (size_t)(to - out);
}

void json_escape(struct buf *out, struct span utf8)
{
    while (utf8.size > 0) {
        struct span chunk = span_of(utf8.data, utf8.size < CHUNK_SIZE ? utf8.size : CHUNK_SIZE);
        size_t worst = chunk.size * ESCAPE_SIZE_MAX + STORE_SIZE;
        if (worst > out->size_max - out->size) { /* it may fit all the same */
            json_escape_portable(out, utf8);
            return;
        }
        buf_commit(out, escape_chunk(buf_reserve(out, worst), chunk));
        utf8 = span_of(utf8.data + chunk.size, utf8.size - chunk.size);
    }
}

#else

void json_escape(struct buf *out, struct span utf8)
{
    json_escape_portable(out, utf8);
}

#endif
