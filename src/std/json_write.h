/* Writes JSON onto a buffer, and puts the commas.
 *
 *     struct json_writer w;
 *     json_writer_init(&w, &reply);
 *     json_write_object_begin(&w);
 *     json_write_key(&w, "topic");
 *     json_write_string(&w, topic->name);
 *     json_write_object_end(&w);
 *
 * No whitespace, members in the order of the calls. What does not fit the buffer's bound is dropped
 * and the buffer remembers it (buf.h), so no call here can fail. */
#ifndef STD_JSON_WRITE_H
#define STD_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "std/buf.h"
#include "std/span.h"

struct json_writer {
    struct buf *out;
    unsigned depth; /* containers open now */
    bool comma;     /* the next member or element is not the first */
};

/* Borrows: out, as long as the writer is used. */
void json_writer_init(struct json_writer *w, struct buf *out);

void json_write_object_begin(struct json_writer *w);
void json_write_object_end(struct json_writer *w);
void json_write_array_begin(struct json_writer *w);
void json_write_array_end(struct json_writer *w);

void json_write_key_span(struct json_writer *w, struct span plain);
/* The name of the next member, a literal of letters, digits and such: nothing in it needs an
 * escape. */
static inline void json_write_key(struct json_writer *w, const char *literal)
{
    json_write_key_span(w, span_of(literal, strlen(literal)));
}
/* The same for a name from outside, which is UTF-8. */
void json_write_key_string(struct json_writer *w, struct span utf8);

void json_write_string(struct json_writer *w, struct span utf8);
void json_write_text(struct json_writer *w, const char *utf8); /* the same, NUL-terminated */
/* A string whose text is escaped already, as struct json_string has it. */
void json_write_raw_string(struct json_writer *w, struct span escaped);
void json_write_int64(struct json_writer *w, int64_t value);
void json_write_uint64(struct json_writer *w, uint64_t value);
void json_write_double(struct json_writer *w, double value); /* finite; shortest of %.15g, %.17g */
void json_write_bool(struct json_writer *w, bool value);
void json_write_null(struct json_writer *w);
void json_write_raw(struct json_writer *w, struct span json); /* a whole value, as it stands */

/* Appends the text of a string, escaped and without quotes. Cost: 16 bytes at a step. */
void json_escape(struct buf *out, struct span utf8);
/* The same, byte by byte on any CPU; for tests. */
void json_escape_portable(struct buf *out, struct span utf8);

#endif
