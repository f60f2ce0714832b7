/* The body of a publish request, read into one struct a message: contract 4.3. Also a body that is
 * itself one message, with further members of its own (contract 4.8): the same rules.
 *
 * Two kinds of faults. The whole request is refused when it is not JSON, has no, too many or no
 * array of messages, a message that is not an object, or a field of the wrong JSON type. Anything
 * else is the fault of one message, kept in its `error`; the others go on. What needs the topic
 * (the partition's number) is judged later, by publish_builder.h. */
#ifndef API_PUBLISH_MESSAGE_H
#define API_PUBLISH_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/publish_headers.h"
#include "std/arena.h"
#include "std/json_scan.h"
#include "std/span.h"
#include "std/status.h"

/* Spans point into the body or into the reader's arena. */
struct publish_message {
    struct span value;     /* JSON string text as it came in, without quotes */
    struct span key;       /* UTF-8, unescaped; size 0: none */
    struct span headers;   /* JSON object text; size 0: none */
    const char *error;     /* NULL, or a sentence that lives for ever or in the request's arena */
    int64_t delay_us;      /* 0: none */
    int64_t deliver_at_us; /* 0: none; not together with delay_us */
    int64_t partition;     /* if has_partition */
    uint32_t value_size;   /* of the UTF-8 that the value stands for */
    uint32_t target;       /* publish_builder's */
    uint32_t next;         /* publish_builder's */
    uint8_t priority;      /* enum priority */
    bool has_partition;
    bool value_escaped;
    bool too_large; /* it has an error, which is the size of something */
};

/* Who reads the members of a single message that are not its own. May leave the value unread; of
 * duplicate members the last counts. */
struct publish_members {
    void (*read)(void *user, struct json_string name, struct json_scan *scan);
    void *user;
};

/* Scratch memory, for one body after the other on one thread. */
struct publish_reader {
    struct publish_message *messages; /* owned */
    uint32_t count;
    uint32_t capacity;
    struct header_reader headers;
    struct arena arena; /* unescaped keys, texts of headers */
};

void publish_reader_init(struct publish_reader *r); /* pair: publish_reader_fini */
void publish_reader_fini(struct publish_reader *r);

/* Reads the whole body; now_us decides which deliverAt is in the past.
 * Borrows: body, as long as r->messages is used.
 * Errors:  ST_INVALID_JSON, ST_INVALID_ARGUMENT, with *out_detail, in the arena. */
enum status publish_reader_read(struct publish_reader *r, struct span body, int64_t now_us,
                                struct arena *arena, const char **out_detail);

/* The same for a body that is one message: r->messages[0]. */
enum status publish_reader_read_one(struct publish_reader *r, struct span body, int64_t now_us,
                                    const struct publish_members *others, struct arena *arena,
                                    const char **out_detail);

const char *priority_text(uint8_t priority); /* "critical" */

#endif
