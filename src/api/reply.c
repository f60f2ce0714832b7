#include "api/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "std/check.h"
#include "std/duration.h"
#include "std/timestamp.h"

enum { TEXT_SIZE_MAX = 1024, RETRY_AFTER_S = 1, HTTP_TOO_MANY = 429, HTTP_UNAVAILABLE = 503 };

void reply_send(struct request *r, unsigned http_status)
{
    CHECK(r->http_status == 0); /* once */
    CHECK(http_status >= 200);
    r->http_status = http_status;
    if (r->out.overflowed) {
        buf_clear(&r->out);
        json_writer_init(&r->json, &r->out);
        r->http_status = 0;
        reply_error_text(r, ST_INTERNAL, "the reply is too large");
    }
}

void reply_error_begin(struct request *r, enum status st, const char *text)
{
    buf_clear(&r->out);
    json_writer_init(&r->json, &r->out);
    json_write_object_begin(&r->json);
    if (strcmp(status_code(st), status_code(ST_INTERNAL)) == 0)
        text =
            status_text(ST_INTERNAL); /* what went wrong inside is for the log, not for clients */
    json_member_text(r, "error", text != NULL ? text : status_text(st));
    json_member_i64(r, "status", status_http(st));
    json_member_text(r, "code", status_code(st));
}

void reply_error_end(struct request *r, enum status st)
{
    json_write_object_end(&r->json);
    if (status_http(st) == HTTP_UNAVAILABLE || status_http(st) == HTTP_TOO_MANY)
        r->retry_after_s = RETRY_AFTER_S;
    reply_send(r, (unsigned)status_http(st));
}

void reply_error(struct request *r, enum status st)
{
    reply_error_begin(r, st, NULL);
    reply_error_end(r, st);
}

void reply_error_text(struct request *r, enum status st, const char *fmt, ...)
{
    char text[TEXT_SIZE_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    reply_error_begin(r, st, text);
    reply_error_end(r, st);
}

bool reply_if_failed(struct request *r)
{
    enum status st = r->op.failed != ST_OK ? r->op.failed : r->op.result.status;
    if (st == ST_OK)
        return false;
    reply_error_begin(r, st, r->op.failed != ST_OK ? NULL : r->op.result.detail);
    reply_error_end(r, st);
    return true;
}

bool reply_if_query_failed(struct request *r)
{
    if (reply_if_failed(r))
        return true;
    if (r->op.query_result.status == ST_OK)
        return false;
    reply_error(r, r->op.query_result.status);
    return true;
}

void json_member_text(struct request *r, const char *name, const char *value)
{
    json_write_key(&r->json, name);
    json_write_text(&r->json, value);
}

void json_member_span(struct request *r, const char *name, struct span value)
{
    json_write_key(&r->json, name);
    json_write_string(&r->json, value);
}

void json_member_u64(struct request *r, const char *name, uint64_t value)
{
    json_write_key(&r->json, name);
    json_write_uint64(&r->json, value);
}

void json_member_i64(struct request *r, const char *name, int64_t value)
{
    json_write_key(&r->json, name);
    json_write_int64(&r->json, value);
}

void json_member_bool(struct request *r, const char *name, bool value)
{
    json_write_key(&r->json, name);
    json_write_bool(&r->json, value);
}

void json_member_time(struct request *r, const char *name, int64_t time_us)
{
    char text[TIMESTAMP_SIZE_MAX];
    size_t size = timestamp_format(text, time_us);
    json_member_span(r, name, span_of(text, size));
}

void json_member_duration(struct request *r, const char *name, int64_t duration_us)
{
    char text[DURATION_SIZE_MAX];
    size_t size = duration_format(text, duration_us * 1000);
    json_member_span(r, name, span_of(text, size));
}
