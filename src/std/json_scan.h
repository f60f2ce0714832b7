/* A pull scanner for one JSON document that lies complete in memory: no tree, no copies.
 *
 * Strict RFC 8259: everything up to the end of the document is validated, UTF-8 included, whether
 * the caller looks at it or not; at most JSON_DEPTH_MAX levels of nesting. Use:
 *
 *     struct json_scan s;
 *     json_scan_init(&s, body);
 *     if (!json_scan_object_begin(&s)) ...not an object...
 *     while (json_scan_member(&s, &key)) {
 *         if (json_string_equals(key, "value") && !json_scan_string(&s, &value)) ...not a string...
 *     }
 *     if (!json_scan_end(&s)) ...json_scan_error(&s)...
 *
 * The rules:
 *   - A reader (object_begin, array_begin, string, int64, bool, null, skip) takes the next value
 * and returns true. It returns false, and leaves the value unread, when that is of another kind.
 *   - The first malformed byte ends the scan: from then on all calls return false (peek:
 * JSON_KIND_NONE) and json_scan_failed() is true. A loop over members or elements simply ends.
 *   - An unread value is skipped, and validated, by the next call that moves on. So unknown members
 *     need no code, and a member of the wrong kind can be reported after the whole document.
 *   - Reading where there is no value (twice, or before json_scan_member) is our mistake: CHECK.
 *
 * Everything given out borrows from the document. */
#ifndef STD_JSON_SCAN_H
#define STD_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "std/json_string.h"
#include "std/span.h"

enum { JSON_DEPTH_MAX = 64, JSON_ERROR_SIZE_MAX = 96 };

enum json_kind {
    JSON_KIND_NONE, /* no value: the document is malformed here */
    JSON_KIND_OBJECT,
    JSON_KIND_ARRAY,
    JSON_KIND_STRING,
    JSON_KIND_NUMBER,
    JSON_KIND_BOOL,
    JSON_KIND_NULL
};

enum json_state { JSON_AT_VALUE, JSON_AFTER_BEGIN, JSON_AFTER_VALUE, JSON_FAILED };

struct json_scan { /* private, but for json_scan.c */
    const uint8_t *at, *start, *end;
    enum json_state state;
    unsigned depth;   /* containers open now */
    uint64_t objects; /* bit d: the container at depth d + 1 is an object */
    char error[JSON_ERROR_SIZE_MAX];
};

void json_scan_init(struct json_scan *s, struct span document);

/* The kind of the next value, which stays unread. */
enum json_kind json_scan_peek(struct json_scan *s);
const char *json_kind_text(enum json_kind kind); /* "an object", "a string", ... */

bool json_scan_object_begin(struct json_scan *s);
/* Moves to the next member of the innermost object: true with its name, and its value is next;
 * false behind the last one. */
bool json_scan_member(struct json_scan *s, struct json_string *out_name);

bool json_scan_array_begin(struct json_scan *s);
/* Moves to the next element of the innermost array: true and it is next; false behind the last. */
bool json_scan_next(struct json_scan *s);

bool json_scan_string(struct json_scan *s, struct json_string *out);
/* An integer without fraction and exponent. A number of another form, or outside int64, is left
 * unread as well: then peek says JSON_KIND_NUMBER. */
bool json_scan_int64(struct json_scan *s, int64_t *out);
bool json_scan_bool(struct json_scan *s, bool *out);
bool json_scan_null(struct json_scan *s);
/* Any value; its text goes to *out_raw unless that is NULL. */
bool json_scan_skip(struct json_scan *s, struct span *out_raw);

/* Scans what is left, to the end of the document: whether all of it was valid. */
bool json_scan_end(struct json_scan *s);

bool json_scan_failed(const struct json_scan *s);
/* "invalid JSON: <why> at byte <offset>"; "" when nothing failed. Lives as long as `s`. */
const char *json_scan_error(const struct json_scan *s);

#endif
