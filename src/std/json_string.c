#include "std/json_string.h"

#include "std/check.h"
#include "std/json_text.h"
#include "std/utf8.h"

const uint8_t json_escape_byte[256] = {
    ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
};

const uint8_t *json_walk_fail(struct json_walk *w, const uint8_t *at, const char *why)
{
    *w->error = (struct json_text_error){.why = why, .at = at};
    return NULL;
}

const uint8_t *json_walk_finish(struct json_walk *w, const uint8_t *quote)
{
    struct span raw = span_of(w->start, (size_t)(quote - w->start));
    if (w->high) { /* escapes are ASCII, so they do not matter here */
        size_t valid = utf8_valid_size(raw);
        if (valid < raw.size)
            return json_walk_fail(w, raw.data + valid, "string is not UTF-8");
    }
    *w->out = (struct json_string){
        .raw = raw, .unescaped_size = raw.size - w->saved, .has_escapes = w->saved > 0};
    return quote + 1;
}

/* The value of a hexadecimal digit, or -1. */
static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The four digits of a \u escape at `at`, or -1. */
static int32_t hex_unit(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4)
        return -1;
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static bool is_lead(int32_t unit)
{
    return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_trail(int32_t unit)
{
    return unit >= 0xdc00 && unit < 0xe000;
}

static uint32_t join_surrogates(int32_t lead, int32_t trail)
{
    return 0x10000u + ((uint32_t)(lead - 0xd800) << 10) + (uint32_t)(trail - 0xdc00);
}

const uint8_t *json_walk_escape(struct json_walk *w, const uint8_t *at)
{
    if (w->end - at < 2)
        return json_walk_fail(w, w->end, "unexpected end in a string");
    if (json_escape_byte[at[1]] != 0) {
        w->saved++;
        return at + 2;
    }
    if (at[1] != 'u')
        return json_walk_fail(w, at, "unknown escape in a string");
    int32_t unit = hex_unit(at + 2, w->end);
    if (unit < 0)
        return json_walk_fail(w, at, "\\u without four hexadecimal digits");
    if (!is_lead(unit) && !is_trail(unit)) {
        w->saved += 6u - (unit < 0x80 ? 1u : unit < 0x800 ? 2u : 3u);
        return at + 6;
    }
    bool pair = is_lead(unit) && w->end - at >= 12 && at[6] == '\\' && at[7] == 'u' &&
                is_trail(hex_unit(at + 8, w->end));
    if (!pair)
        return json_walk_fail(w, at, "surrogate without its other half");
    w->saved += 12 - 4;
    return at + 12;
}

/* A bit in each byte of `word` that is below `limit` <= 0x80, and sometimes in one above such a
 * byte; none when there is no such byte. */
static uint64_t below(uint64_t word, uint8_t limit)
{
    return (word - limit * 0x0101010101010101u) & ~word & 0x8080808080808080u;
}

/* Steps over 8 bytes at once while there is nothing in them to stop at. */
static const uint8_t *skip_words(struct json_walk *w, const uint8_t *at)
{
    for (uint64_t word; w->end - at >= (ptrdiff_t)sizeof word; at += sizeof word) {
        memcpy(&word, at, sizeof word);
        if ((below(word, 0x20) | below(word ^ 0x2222222222222222u, 1) |
             below(word ^ 0x5c5c5c5c5c5c5c5cu, 1)) != 0)
            break;
        w->high |= (word & 0x8080808080808080u) != 0;
    }
    return at;
}

const uint8_t *json_walk_bytes(struct json_walk *w, const uint8_t *at)
{
    while ((at = skip_words(w, at)) < w->end) {
        uint8_t byte = *at;
        if (byte == '"')
            return json_walk_finish(w, at);
        if (byte == '\\') {
            at = json_walk_escape(w, at);
            if (at == NULL)
                return NULL;
            continue;
        }
        if (byte < 0x20)
            return json_walk_fail(w, at, "control character in a string");
        w->high |= byte >= 0x80;
        at++;
    }
    return json_walk_fail(w, w->end, "unexpected end in a string");
}

static const uint8_t *scan_portable(const uint8_t *at, const uint8_t *end, struct json_string *out,
                                    struct json_text_error *error)
{
    struct json_walk w = {.start = at, .end = end, .out = out, .error = error};
    return json_walk_bytes(&w, at);
}

/* --- which variant ------------------------------------------------------------------------------
 */

json_text_scan_fn *json_text_scan = scan_portable;

__attribute__((constructor)) static void choose_variant(void)
{
    for (unsigned i = 0; json_text_scan_variant(i) != NULL; i++)
        json_text_scan = json_text_scan_variant(i);
}

json_text_scan_fn *json_text_scan_variant(unsigned index)
{
    json_text_scan_fn *const all[] = {scan_portable, json_text_scan_sse2(), json_text_scan_avx2()};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i] != NULL && index-- == 0)
            return all[i];
    }
    return NULL;
}

/* --- resolving escapes --------------------------------------------------------------------------
 */

/* Writes what the escape at *at stands for, moves *at behind it and returns the bytes written. The
 * text is valid, so nothing is checked twice. */
static size_t unescape_one(const uint8_t **at, const uint8_t *end, uint8_t *out)
{
    const uint8_t *escape = *at;
    CHECK(end - escape >= 2);
    if (escape[1] != 'u') {
        out[0] = json_escape_byte[escape[1]];
        *at = escape + 2;
        return 1;
    }
    int32_t unit = hex_unit(escape + 2, end);
    if (!is_lead(unit)) {
        *at = escape + 6;
        return utf8_put(out, (uint32_t)unit);
    }
    *at = escape + 12;
    return utf8_put(out, join_surrogates(unit, hex_unit(escape + 8, end)));
}

size_t json_unescape(struct json_string str, uint8_t *out)
{
    size_t size = 0;
    const uint8_t *at = str.raw.data;
    const uint8_t *end = at + str.raw.size;
    while (at < end) {
        const uint8_t *escape = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((escape != NULL ? escape : end) - at);
        memcpy(out + size, at, plain);
        size += plain;
        at += plain;
        if (at < end)
            size += unescape_one(&at, end, out + size);
    }
    CHECK(size == str.unescaped_size);
    return size;
}

bool json_string_equals_escaped(struct json_string str, struct span text)
{
    if (str.unescaped_size != text.size)
        return false;
    const uint8_t *at = str.raw.data;
    const uint8_t *end = at + str.raw.size;
    size_t done = 0;
    while (at < end) {
        uint8_t bytes[4] = {*at};
        size_t size = 1;
        if (*at == '\\')
            size = unescape_one(&at, end, bytes);
        else
            at++;
        if (size > text.size - done || memcmp(bytes, text.data + done, size) != 0)
            return false;
        done += size;
    }
    return done == text.size;
}
