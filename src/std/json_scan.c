#include "std/json_scan.h"

#include <inttypes.h>
#include <stdio.h>

#include "std/check.h"

static bool fail(struct json_scan *s, const uint8_t *at, const char *why)
{
    (void)snprintf(s->error, sizeof s->error, "invalid JSON: %s at byte %zu", why,
                   (size_t)(at - s->start));
    s->state = JSON_FAILED;
    return false;
}

/* `what` was expected; says what is there instead. */
static bool fail_expected(struct json_scan *s, const char *what)
{
    char why[JSON_ERROR_SIZE_MAX / 2];
    if (s->at == s->end)
        (void)snprintf(why, sizeof why, "unexpected end, expected %s", what);
    else
        (void)snprintf(why, sizeof why, "expected %s", what);
    return fail(s, s->at, why);
}

static inline void skip_whitespace(struct json_scan *s)
{
    const uint8_t *at = s->at;
    while (at < s->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    s->at = at;
}

/* Whether there is a value to read; moves to it. */
static inline bool at_value(struct json_scan *s)
{
    if (s->state != JSON_AT_VALUE) {
        CHECK(s->state == JSON_FAILED);
        return false;
    }
    skip_whitespace(s);
    return true;
}

/* As at_value(), and the value starts with `first`. */
static inline bool at_value_with(struct json_scan *s, uint8_t first)
{
    if (!at_value(s))
        return false;
    if (s->at < s->end && *s->at == first)
        return true;
    (void)json_scan_peek(s); /* fails on what starts no value at all */
    return false;
}

static inline bool in_object(const struct json_scan *s)
{
    return s->depth > 0 && (s->objects >> (s->depth - 1) & 1) != 0;
}

void json_scan_init(struct json_scan *s, struct span document)
{
    static const uint8_t nothing[1] = {0};
    s->start = document.size > 0 ? document.data : nothing;
    s->at = s->start;
    s->end = s->start + document.size;
    s->state = JSON_AT_VALUE;
    s->depth = 0;
    s->objects = 0;
    s->error[0] = '\0';
}

bool json_scan_failed(const struct json_scan *s)
{
    return s->state == JSON_FAILED;
}

const char *json_scan_error(const struct json_scan *s)
{
    return s->error;
}

const char *json_kind_text(enum json_kind kind)
{
    static const char *const texts[] = {
        [JSON_KIND_NONE] = "nothing",    [JSON_KIND_OBJECT] = "an object",
        [JSON_KIND_ARRAY] = "an array",  [JSON_KIND_STRING] = "a string",
        [JSON_KIND_NUMBER] = "a number", [JSON_KIND_BOOL] = "a boolean",
        [JSON_KIND_NULL] = "null",
    };
    CHECK((size_t)kind < sizeof texts / sizeof texts[0]);
    return texts[kind];
}

static enum json_kind kind_of(uint8_t first)
{
    switch (first) {
    case '{':
        return JSON_KIND_OBJECT;
    case '[':
        return JSON_KIND_ARRAY;
    case '"':
        return JSON_KIND_STRING;
    case 't':
    case 'f':
        return JSON_KIND_BOOL;
    case 'n':
        return JSON_KIND_NULL;
    default:
        return first == '-' || (first >= '0' && first <= '9') ? JSON_KIND_NUMBER : JSON_KIND_NONE;
    }
}

enum json_kind json_scan_peek(struct json_scan *s)
{
    if (!at_value(s))
        return JSON_KIND_NONE;
    enum json_kind kind = s->at < s->end ? kind_of(*s->at) : JSON_KIND_NONE;
    if (kind == JSON_KIND_NONE)
        (void)fail_expected(s, "a value");
    return kind;
}

/* --- containers ---------------------------------------------------------------------------------
 */

static inline bool container_begin(struct json_scan *s, uint8_t first)
{
    if (!at_value_with(s, first))
        return false;
    if (s->depth == JSON_DEPTH_MAX)
        return fail(s, s->at, "nested too deep");
    uint64_t bit = 1ull << s->depth;
    s->objects = first == '{' ? s->objects | bit : s->objects & ~bit;
    s->depth++;
    s->at++;
    s->state = JSON_AFTER_BEGIN;
    return true;
}

/* Moves to where the next member or element starts; false behind the last one. */
static inline bool container_next(struct json_scan *s, uint8_t last, const char *expected)
{
    if (s->state == JSON_AT_VALUE)
        (void)json_scan_skip(s, NULL);
    if (s->state == JSON_FAILED)
        return false;
    CHECK(s->depth > 0);
    skip_whitespace(s);
    if (s->at < s->end && *s->at == last) {
        s->at++;
        s->depth--;
        s->state = JSON_AFTER_VALUE;
        return false;
    }
    if (s->state == JSON_AFTER_VALUE) {
        if (s->at == s->end || *s->at != ',')
            return fail_expected(s, expected);
        s->at++;
    }
    return true;
}

bool json_scan_object_begin(struct json_scan *s)
{
    return container_begin(s, '{');
}

bool json_scan_array_begin(struct json_scan *s)
{
    return container_begin(s, '[');
}

/* The string whose opening quote is at s->at. */
static inline bool take_string(struct json_scan *s, struct json_string *out)
{
    struct json_text_error error;
    const uint8_t *behind = json_text_scan(s->at + 1, s->end, out, &error);
    if (behind == NULL)
        return fail(s, error.at, error.why);
    s->at = behind;
    return true;
}

bool json_scan_member(struct json_scan *s, struct json_string *out_name)
{
    CHECK(s->state == JSON_FAILED || in_object(s));
    if (!container_next(s, '}', "',' or '}'"))
        return false;
    skip_whitespace(s);
    if (s->at == s->end || *s->at != '"')
        return fail_expected(s, "a member name");
    if (!take_string(s, out_name))
        return false;
    skip_whitespace(s);
    if (s->at == s->end || *s->at != ':')
        return fail_expected(s, "':'");
    s->at++;
    s->state = JSON_AT_VALUE;
    return true;
}

bool json_scan_next(struct json_scan *s)
{
    CHECK(s->state == JSON_FAILED || (s->depth > 0 && !in_object(s)));
    if (!container_next(s, ']', "',' or ']'"))
        return false;
    s->state = JSON_AT_VALUE;
    return true;
}

/* --- scalars ------------------------------------------------------------------------------------
 */

bool json_scan_string(struct json_scan *s, struct json_string *out)
{
    if (!at_value_with(s, '"') || !take_string(s, out))
        return false;
    s->state = JSON_AFTER_VALUE;
    return true;
}

static const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* Finds the end of the number at s->at, and of its integer part; NULL and failed when malformed. */
static const uint8_t *number_end(struct json_scan *s, const uint8_t **out_integer_end)
{
    const uint8_t *at = s->at + (*s->at == '-');
    const uint8_t *digits = at;
    at = skip_digits(at, s->end);
    if (at == digits) {
        (void)fail(s, at, "expected a digit");
        return NULL;
    }
    if (*digits == '0' && at - digits > 1) {
        (void)fail(s, digits, "number with a leading zero");
        return NULL;
    }
    *out_integer_end = at;
    if (at < s->end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, s->end);
        if (at == digits) {
            (void)fail(s, at, "expected a digit after the point");
            return NULL;
        }
    }
    if (at < s->end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < s->end && (*at == '+' || *at == '-'))
            at++;
        digits = at;
        at = skip_digits(at, s->end);
        if (at == digits) {
            (void)fail(s, at, "expected a digit in the exponent");
            return NULL;
        }
    }
    return at;
}

static bool parse_int64(const uint8_t *at, const uint8_t *end, int64_t *out)
{
    bool negative = *at == '-';
    uint64_t magnitude = 0;
    for (at += negative; at < end; at++) {
        if (__builtin_mul_overflow(magnitude, 10u, &magnitude) ||
            __builtin_add_overflow(magnitude, (uint64_t)(*at - '0'), &magnitude))
            return false;
    }
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *out = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

bool json_scan_int64(struct json_scan *s, int64_t *out)
{
    if (json_scan_peek(s) != JSON_KIND_NUMBER)
        return false;
    const uint8_t *integer_end;
    const uint8_t *end = number_end(s, &integer_end);
    if (end == NULL || end != integer_end || !parse_int64(s->at, end, out))
        return false;
    s->at = end;
    s->state = JSON_AFTER_VALUE;
    return true;
}

static bool take_literal(struct json_scan *s, const char *literal, size_t size)
{
    if ((size_t)(s->end - s->at) < size || memcmp(s->at, literal, size) != 0)
        return fail_expected(s, "a value");
    s->at += size;
    s->state = JSON_AFTER_VALUE;
    return true;
}

bool json_scan_bool(struct json_scan *s, bool *out)
{
    if (json_scan_peek(s) != JSON_KIND_BOOL)
        return false;
    bool value = *s->at == 't';
    if (!(value ? take_literal(s, "true", 4) : take_literal(s, "false", 5)))
        return false;
    *out = value;
    return true;
}

bool json_scan_null(struct json_scan *s)
{
    return at_value_with(s, 'n') && take_literal(s, "null", 4);
}

/* Takes a scalar or the opening bracket of a container. */
static void skip_one(struct json_scan *s)
{
    struct json_string string;
    const uint8_t *end, *integer_end;
    bool value;
    switch (json_scan_peek(s)) {
    case JSON_KIND_OBJECT:
        (void)json_scan_object_begin(s);
        break;
    case JSON_KIND_ARRAY:
        (void)json_scan_array_begin(s);
        break;
    case JSON_KIND_STRING:
        (void)json_scan_string(s, &string);
        break;
    case JSON_KIND_NUMBER:
        end = number_end(s, &integer_end);
        if (end == NULL)
            break;
        s->at = end;
        s->state = JSON_AFTER_VALUE;
        break;
    case JSON_KIND_BOOL:
        (void)json_scan_bool(s, &value);
        break;
    case JSON_KIND_NULL:
        (void)json_scan_null(s);
        break;
    case JSON_KIND_NONE:
        break;
    }
}

/* Walks the innermost container to its next value; behind its end when there is none. */
static void skip_to_next(struct json_scan *s)
{
    struct json_string name;
    if (in_object(s))
        (void)json_scan_member(s, &name);
    else
        (void)json_scan_next(s);
}

bool json_scan_skip(struct json_scan *s, struct span *out_raw)
{
    if (!at_value(s))
        return false;
    const uint8_t *start = s->at;
    unsigned floor = s->depth;
    skip_one(s);
    while (s->state != JSON_FAILED && s->depth > floor) {
        if (s->state == JSON_AT_VALUE)
            skip_one(s);
        else
            skip_to_next(s);
    }
    if (s->state == JSON_FAILED)
        return false;
    if (out_raw != NULL)
        *out_raw = span_of(start, (size_t)(s->at - start));
    return true;
}

bool json_scan_end(struct json_scan *s)
{
    if (s->state == JSON_AT_VALUE)
        (void)json_scan_skip(s, NULL);
    while (s->state != JSON_FAILED && s->depth > 0)
        skip_to_next(s);
    if (s->state == JSON_FAILED)
        return false;
    skip_whitespace(s);
    if (s->at != s->end)
        return fail(s, s->at, "unexpected text after the value");
    return true;
}
