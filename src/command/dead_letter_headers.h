/* The headers of a dead letter: those of the message, and why and from where it came.
 *
 * Headers are the text that a record holds (record_batch.h): a JSON object of strings without white
 * space, or nothing. The members that are added, all strings:
 *
 *     x-goqueue-dlq-reason          REJECTED or MAX_RETRIES_EXCEEDED
 *     x-goqueue-dlq-error           what the consumer said, if it did
 *     x-goqueue-original-topic      without the tenant
 *     x-goqueue-original-partition
 *     x-goqueue-original-offset
 *     x-goqueue-original-timestamp  of publishing
 *     x-goqueue-delivery-attempts
 *     x-goqueue-first-delivery      if it is known, as the next two
 *     x-goqueue-last-delivery
 *     x-goqueue-last-group          without the tenant
 *     x-goqueue-last-consumer       if it is known
 *     x-goqueue-dlq-time
 *
 * Anybody may publish headers of these names, so whatever is read here is a claim. Pure; fuzzed. */
#ifndef COMMAND_DEAD_LETTER_HEADERS_H
#define COMMAND_DEAD_LETTER_HEADERS_H

#include "command/command.h"
#include "std/buf.h"

struct dead_letter_facts { /* all borrowed */
    enum dead_letter_reason reason;
    struct span error; /* size 0: none; cut where it stops being UTF-8, as the other texts */
    struct span topic; /* of the message, qualified */
    uint32_t partition;
    uint64_t offset;
    int64_t published_us;
    uint32_t delivery_count;
    int64_t first_us;      /* of the first delivery; 0: not known */
    int64_t last_us;       /* of the last one; 0: not known */
    struct span group;     /* qualified */
    struct span member_id; /* size 0: not known */
    int64_t time_us;       /* of becoming a dead letter */
};

/* Where a dead letter says that it came from. */
struct dead_letter_origin {
    uint8_t
        topic[NAME_SIZE_MAX]; /* without the tenant; unescaped, but no rule of names was applied */
    uint32_t topic_size;      /* 0: it does not say, or not in a way that can be a name */
    uint32_t partition;
    bool has_partition; /* it says one, below PARTITIONS_MAX */
};

/* Appends the headers of a message that becomes a dead letter. Members of these names that it had
 * (it was replayed by a client, say) are left out. */
void dead_letter_headers_write(struct span headers, const struct dead_letter_facts *facts,
                               struct buf *out);

/* The way back: appends the headers without those members, nothing if none are left, and tells what
 * they said. */
void dead_letter_headers_strip(struct span headers, struct buf *out,
                               struct dead_letter_origin *out_origin);

#endif
