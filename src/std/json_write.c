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

enum { INTEGER_SIZE_MAX = 20, DOUBLE_SIZE_MAX = 32 };

/* As buf_reserve(), without the call when there is room: this is most of what writing costs. */
static inline uint8_t *reserve(struct buf *b, size_t size)
{
    if (size <= b->size_max - b->size && size < b->capacity - b->size)
        return b->data + b->size;
    return buf_reserve(b, size);
}

/* Room for a value of `size` bytes; puts the comma in front of it. NULL over the bound. The caller
 * writes and adds to w->out->size. */
static inline uint8_t *value_reserve(struct json_writer *w, size_t size)
{
    uint8_t *to = reserve(w->out, size + 1);
    if (to != NULL && w->comma) {
        *to++ = ',';
        w->out->size++;
    }
    w->comma = true;
    return to;
}

static inline void put_value(struct json_writer *w, const char *text, size_t size)
{
    uint8_t *to = value_reserve(w, size);
    if (to == NULL)
        return;
    memcpy(to, text, size);
    w->out->size += size;
}

/* --- containers ---------------------------------------------------------------------------------
 */

static inline void container_begin(struct json_writer *w, const char *bracket)
{
    put_value(w, bracket, 1);
    w->comma = false;
    w->depth++;
}

static inline void container_end(struct json_writer *w, uint8_t bracket)
{
    CHECK(w->depth > 0);
    uint8_t *to = reserve(w->out, 1);
    if (to != NULL) {
        *to = bracket;
        w->out->size++;
    }
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
    w->out->size += plain.size + 3;
}

/* --- scalars ------------------------------------------------------------------------------------
 */

void json_write_raw_string(struct json_writer *w, struct span escaped)
{
    uint8_t *to = value_reserve(w, escaped.size + 2);
    if (to == NULL)
        return;
    to[0] = '"';
    if (escaped.size > 0)
        memcpy(to + 1, escaped.data, escaped.size);
    to[escaped.size + 1] = '"';
    w->out->size += escaped.size + 2;
}

static void put_integer(struct json_writer *w, uint64_t magnitude, bool negative)
{
    char digits[INTEGER_SIZE_MAX];
    char *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude != 0);
    if (negative)
        *--at = '-';
    put_value(w, at, (size_t)(digits + sizeof digits - at));
}

void json_write_int64(struct json_writer *w, int64_t value)
{
    put_integer(w, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

void json_write_uint64(struct json_writer *w, uint64_t value)
{
    put_integer(w, value, false);
}

void json_write_double(struct json_writer *w, double value)
{
    CHECK(isfinite(value));
    char text[DOUBLE_SIZE_MAX];
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
    CHECK(json.size > 0);
    put_value(w, (const char *)json.data, json.size);
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
        out->size += escape_chunk(reserve(out, worst), chunk);
        utf8 = span_of(utf8.data + chunk.size, utf8.size - chunk.size);
    }
}

#else

void json_escape(struct buf *out, struct span utf8)
{
    json_escape_portable(out, utf8);
}

#endif

/* --- strings ------------------------------------------------------------------------------------
 */

void json_write_string(struct json_writer *w, struct span utf8)
{
    uint8_t *quote = value_reserve(w, 1);
    if (quote == NULL)
        return;
    *quote = '"';
    w->out->size++;
    json_escape(w->out, utf8);
    quote = reserve(w->out, 1);
    if (quote == NULL)
        return;
    *quote = '"';
    w->out->size++;
}

void json_write_text(struct json_writer *w, const char *utf8)
{
    json_write_string(w, span_text(utf8));
}

void json_write_key_string(struct json_writer *w, struct span utf8)
{
    json_write_string(w, utf8);
    buf_put_byte(w->out, ':');
    w->comma = false;
}
