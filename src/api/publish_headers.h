/* The "headers" of one published message: an object of strings, read into the compact text that is
 * stored and given back to consumers.
 *
 * A header that is null is absent; of several with the same name the last counts, at the place of
 * the first. Escapes stay as they came in. */
#ifndef API_PUBLISH_HEADERS_H
#define API_PUBLISH_HEADERS_H

#include <stdbool.h>
#include <stdint.h>

#include "std/arena.h"
#include "std/json_scan.h"

struct header {       /* one name */
    struct span name; /* unescaped */
    struct json_string raw_name;
    struct json_string value;
    enum { HEADER_TEXT, HEADER_NULL, HEADER_WRONG } state;
};

/* Scratch memory, for one object after the other on one thread. */
struct header_reader {
    struct header *headers; /* owned; distinct names in order of appearance */
    uint32_t count;
    uint32_t capacity;
    size_t names_size;   /* unescaped, together */
    uint32_t *slots;     /* owned; open addressing, index + 1 into headers, 0: free */
    uint32_t slot_count; /* a power of 2; 0: no table yet, few names are compared one by one */
};

enum headers_problem { HEADERS_FINE, HEADERS_NOT_STRINGS, HEADERS_TOO_LARGE };

void header_reader_init(struct header_reader *r); /* pair: header_reader_fini */
void header_reader_fini(struct header_reader *r);

/* Reads the object that is the scanner's next value, whole. A malformed document shows in the
 * scanner only.
 * Gives: *out_text, in the arena; size 0 when no header is left. */
enum headers_problem header_reader_read(struct header_reader *r, struct json_scan *s,
                                        struct arena *arena, struct span *out_text);

#endif
