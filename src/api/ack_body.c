#include "api/ack_body.h"

#include <stdarg.h>
#include <stdio.h>

enum { DETAIL_SIZE = 160 };

/* One body while it is read. Of duplicate members the last counts, so a problem with one is
 * forgotten when it comes again. */
struct reading {
    struct json_scan scan;
    struct arena *arena;
    struct ack_body *out;
    bool found;
    bool too_many;
    const char *handle_problem; /* of the member with the handles */
    const char *other_problem;  /* of consumer_id */
};

__attribute__((format(printf, 2, 3))) static const char *problem_text(struct reading *in,
                                                                      const char *fmt, ...)
{
    char text[DETAIL_SIZE];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return arena_string(in->arena, span_text(text));
}

/* One that is longer than any handle stays as it is: receipt_read() refuses it. */
static struct span handle_text(struct reading *in, struct json_string text)
{
    if (!text.has_escapes || text.unescaped_size > ACK_HANDLE_SIZE_MAX)
        return text.raw;
    uint8_t *plain = arena_alloc(in->arena, text.unescaped_size);
    return span_of(plain, json_unescape(text, plain));
}

static void read_handle(struct reading *in)
{
    struct json_string text;
    in->found = false;
    in->handle_problem = NULL;
    if (json_scan_string(&in->scan, &text)) {
        in->out->handles[0] = handle_text(in, text);
        in->out->count = 1;
        in->found = true;
    } else if (!json_scan_null(&in->scan)) {
        in->handle_problem =
            problem_text(in, "invalid JSON: receipt_handle must be a string, not %s",
                         json_kind_text(json_scan_peek(&in->scan)));
    }
}

static void read_handles(struct reading *in)
{
    in->found = false;
    in->too_many = false;
    in->handle_problem = NULL;
    in->out->count = 0;
    if (!json_scan_array_begin(&in->scan)) {
        if (!json_scan_null(&in->scan))
            in->handle_problem =
                problem_text(in, "invalid JSON: receipt_handles must be an array, not %s",
                             json_kind_text(json_scan_peek(&in->scan)));
        return;
    }
    in->found = true;
    while (json_scan_next(&in->scan)) {
        struct json_string text;
        if (in->out->count == ACK_HANDLES_MAX)
            in->too_many = true; /* the scanner steps over it */
        else if (json_scan_string(&in->scan, &text))
            in->out->handles[in->out->count++] = handle_text(in, text);
        else if (in->handle_problem == NULL)
            in->handle_problem =
                problem_text(in, "invalid JSON: receipt_handles[%u] must be a string, not %s",
                             in->out->count, json_kind_text(json_scan_peek(&in->scan)));
    }
}

static void read_consumer_id(struct reading *in)
{
    struct json_string text;
    in->other_problem = NULL;
    if (!json_scan_string(&in->scan, &text) && !json_scan_null(&in->scan))
        in->other_problem = problem_text(in, "invalid JSON: consumer_id must be a string, not %s",
                                         json_kind_text(json_scan_peek(&in->scan)));
}

static enum status read_body(struct reading *in, struct span body, const char *name,
                             void (*read)(struct reading *in), const char **out_detail)
{
    json_scan_init(&in->scan, body);
    enum json_kind kind = json_scan_peek(&in->scan);
    if (json_scan_object_begin(&in->scan)) {
        struct json_string member;
        while (json_scan_member(&in->scan, &member)) {
            if (json_string_equals(member, name))
                read(in);
            else if (json_string_equals(member, "consumer_id"))
                read_consumer_id(in);
        }
    }
    if (!json_scan_end(&in->scan))
        *out_detail = problem_text(in, "%s", json_scan_error(&in->scan));
    else if (kind != JSON_KIND_OBJECT)
        *out_detail = problem_text(in, "invalid JSON: the body must be an object, not %s",
                                   json_kind_text(kind));
    else if (in->handle_problem != NULL)
        *out_detail = in->handle_problem;
    else if (in->other_problem != NULL)
        *out_detail = in->other_problem;
    else
        return ST_OK;
    return ST_INVALID_JSON;
}

enum status ack_body_read_one(struct span body, struct arena *arena, struct ack_body *out,
                              const char **out_detail)
{
    struct reading in = {.arena = arena, .out = out};
    out->handles = arena_new(arena, struct span);
    out->count = 0;
    enum status st = read_body(&in, body, "receipt_handle", read_handle, out_detail);
    if (st != ST_OK || in.found)
        return st;
    *out_detail = "receipt_handle is required";
    return ST_INVALID_ARGUMENT;
}

enum status ack_body_read_batch(struct span body, struct arena *arena, struct ack_body *out,
                                const char **out_detail)
{
    struct reading in = {.arena = arena, .out = out};
    out->handles = arena_array(arena, ACK_HANDLES_MAX, sizeof *out->handles);
    out->count = 0;
    enum status st = read_body(&in, body, "receipt_handles", read_handles, out_detail);
    if (st != ST_OK)
        return st;
    if (!in.found)
        *out_detail = "receipt_handles is required";
    else if (in.too_many || out->count == 0)
        *out_detail = "receipt_handles must have 1 to 1000 elements";
    else
        return ST_OK;
    return ST_INVALID_ARGUMENT;
}
