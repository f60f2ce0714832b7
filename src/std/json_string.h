/* The text between the quotes of a JSON string: validated once, then passed on as it came in.
 *
 * A struct json_string exists only for text that json_scan.h found valid: escapes are complete,
 * surrogates come in pairs, the rest is UTF-8 without control characters. */
#ifndef STD_JSON_STRING_H
#define STD_JSON_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "std/span.h"

struct json_string {
    struct span raw;       /* as in the document, without the quotes; borrowed from it */
    size_t unescaped_size; /* bytes of UTF-8 that it stands for; <= raw.size */
    bool has_escapes;      /* false: raw is that UTF-8 */
};

/* Writes the UTF-8 the string stands for, U+0000 included, and returns its size.
 * `out` has room for str.unescaped_size bytes and does not overlap the document. */
size_t json_unescape(struct json_string str, uint8_t *out);

bool json_string_equals_escaped(struct json_string str, struct span text);

/* Whether the string, its escapes resolved, is `text`. */
static inline bool json_string_equals(struct json_string str, const char *text)
{
    size_t size = strlen(text);
    if (str.unescaped_size != size)
        return false;
    if (str.has_escapes)
        return json_string_equals_escaped(str, span_of(text, size));
    return memcmp(str.raw.data, text, size) == 0;
}

/* Why a text is not valid, for a person, and where. */
struct json_text_error {
    const char *why;
    const uint8_t *at;
};

/* Scans a string from behind its opening quote to the closing one, which must come before `end`.
 * Gives: the position behind the closing quote and *out, or NULL and *error.
 * Cost:  32 bytes at a step where the CPU can; chosen when the program starts. */
typedef const uint8_t *json_text_scan_fn(const uint8_t *at, const uint8_t *end,
                                         struct json_string *out, struct json_text_error *error);
extern json_text_scan_fn *json_text_scan;

/* The variants that run on this CPU, the plain one first, the fastest last; NULL from `index` =
 * their number on. Tests assign one to json_text_scan, while nobody scans. */
json_text_scan_fn *json_text_scan_variant(unsigned index);

#endif
