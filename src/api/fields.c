#include "api/fields.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "api/reply.h"
#include "std/duration.h"
#include "std/json_scan.h"
#include "std/timestamp.h"

enum { PARTITION_DIGITS_MAX = 9 };

void fields_problem(struct fields *f, const char *fmt, ...)
{
    if (f->status != ST_OK)
        return;
    f->status = ST_INVALID_ARGUMENT;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
}

void fields_init(struct fields *f, struct request *r, bool optional)
{
    *f = (struct fields){.r = r};
    struct span body = buf_span(&r->body);
    if (body.size == 0 && optional) {
        f->root = json_object();
        return;
    }
    if (body.size == 0) {
        f->status = ST_INVALID_JSON;
        (void)snprintf(f->text, sizeof f->text, "invalid JSON: the body is empty");
        return;
    }
    /* Our scanner is the judge of what is JSON (depth, surrogates, trailing bytes); jansson builds.
     */
    struct json_scan scan;
    json_scan_init(&scan, body);
    if (!json_scan_skip(&scan, NULL) || !json_scan_end(&scan)) {
        f->status = ST_INVALID_JSON;
        (void)snprintf(f->text, sizeof f->text, "%s", json_scan_error(&scan));
        return;
    }
    json_error_t error;
    f->root =
        json_loadb((const char *)body.data, body.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (f->root == NULL) {
        f->status = ST_INVALID_JSON;
        (void)snprintf(f->text, sizeof f->text, "invalid JSON: %s", error.text);
    } else if (!json_is_object(f->root)) {
        f->status = ST_INVALID_JSON;
        (void)snprintf(f->text, sizeof f->text, "invalid JSON: the body must be an object");
    }
}

void fields_fini(struct fields *f)
{
    json_decref(f->root);
    f->root = NULL;
}

bool fields_failed(const struct fields *f)
{
    return f->status != ST_OK;
}

bool fields_reply(struct fields *f)
{
    if (f->status == ST_OK)
        return false;
    reply_error_text(f->r, f->status, "%s", f->text);
    fields_fini(f);
    return true;
}

json_t *fields_get(struct fields *f, const char *name)
{
    if (f->status != ST_OK)
        return NULL;
    json_t *value = json_object_get(f->root, name);
    return json_is_null(value) ? NULL : value;
}

/* NULL: absent (reported when required) or of another type (reported). */
static json_t *get_typed(struct fields *f, const char *name, bool required, json_type type,
                         const char *what)
{
    json_t *value = fields_get(f, name);
    if (value == NULL) {
        if (required)
            fields_problem(f, "%s: is required", name);
        return NULL;
    }
    if (json_typeof(value) != type) {
        fields_problem(f, "%s: must be %s", name, what);
        return NULL;
    }
    return value;
}

struct span fields_text_of(const json_t *string)
{
    return span_of(json_string_value(string), json_string_length(string));
}

bool fields_string(struct fields *f, const char *name, bool required, struct span *out)
{
    const json_t *value = get_typed(f, name, required, JSON_STRING, "a string");
    if (value == NULL)
        return false;
    *out = fields_text_of(value);
    return true;
}

bool fields_int(struct fields *f, const char *name, bool required, int64_t lowest, int64_t highest,
                int64_t *out)
{
    const json_t *value = get_typed(f, name, required, JSON_INTEGER, "an integer");
    if (value == NULL)
        return false;
    int64_t got = json_integer_value(value);
    if (got < lowest || got > highest) {
        if (highest == INT64_MAX)
            fields_problem(f, "%s: must be at least %" PRId64, name, lowest);
        else
            fields_problem(f, "%s: must be %" PRId64 " to %" PRId64, name, lowest, highest);
        return false;
    }
    *out = got;
    return true;
}

bool fields_duration(struct fields *f, const char *name, int64_t lowest_us, int64_t highest_us,
                     int64_t *out_us)
{
    struct span text;
    if (!fields_string(f, name, false, &text))
        return false;
    int64_t ns = 0;
    if (!duration_parse(text, &ns)) {
        fields_problem(f, "%s: must be a duration such as 30s, 1h30m or 500ms", name);
        return false;
    }
    if (ns < lowest_us * 1000 || ns / 1000 > highest_us) {
        char low[DURATION_SIZE_MAX], high[DURATION_SIZE_MAX];
        (void)duration_format(low, lowest_us * 1000);
        (void)duration_format(high, highest_us * 1000);
        fields_problem(f, "%s: must be %s to %s", name, low, high);
        return false;
    }
    *out_us = ns / 1000;
    return true;
}

bool fields_time(struct fields *f, const char *name, bool required, int64_t *out_us)
{
    struct span text;
    if (!fields_string(f, name, required, &text))
        return false;
    if (timestamp_parse(text, out_us))
        return true;
    fields_problem(f, "%s: must be a timestamp such as 2006-01-02T15:04:05Z", name);
    return false;
}

bool fields_array(struct fields *f, const char *name, bool required, json_t **out)
{
    json_t *value = get_typed(f, name, required, JSON_ARRAY, "an array");
    if (value == NULL)
        return false;
    *out = value;
    return true;
}

bool fields_object(struct fields *f, const char *name, bool required, json_t **out)
{
    json_t *value = get_typed(f, name, required, JSON_OBJECT, "an object");
    if (value == NULL)
        return false;
    *out = value;
    return true;
}

bool fields_partition_name(const char *name, uint32_t *out)
{
    const size_t size = strlen(name);
    if (size == 0 || size > PARTITION_DIGITS_MAX || (name[0] == '0' && size > 1))
        return false;
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(name[i] - '0');
    }
    *out = value;
    return true;
}
