/* Answering a request. A handler writes JSON with r->json (an object or any value) and then calls
 * reply_send(); errors have one shape: {"error", "status", "code", ...}. */
#ifndef API_REPLY_H
#define API_REPLY_H

#include "api/request.h"

/* What was written to r->out goes out with this HTTP code. */
void reply_send(struct request *r, unsigned http_status);
/* Drops what was written and answers the error; internal statuses become 500 "internal" or 503.
 * detail: for people, NULL for the status's own text; a printf format. */
void reply_error(struct request *r, enum status st);
void reply_error_text(struct request *r, enum status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same in two halves, for extra members: begin opens the object with error, status and code. */
void reply_error_begin(struct request *r, enum status st, const char *text);
void reply_error_end(struct request *r, enum status st);
/* True if the op failed on the way to the journal or its result is an error: then it is answered.
 */
bool reply_if_failed(struct request *r);
/* The same for a query, whose own status may be an error. */
bool reply_if_query_failed(struct request *r);

/* Members of common shape. */
void json_member_text(struct request *r, const char *name, const char *value);
void json_member_span(struct request *r, const char *name, struct span value);
void json_member_u64(struct request *r, const char *name, uint64_t value);
void json_member_i64(struct request *r, const char *name, int64_t value);
void json_member_bool(struct request *r, const char *name, bool value);
void json_member_time(struct request *r, const char *name, int64_t time_us);
void json_member_duration(struct request *r, const char *name, int64_t duration_us);

#endif
