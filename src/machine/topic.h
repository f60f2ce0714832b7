/* Topics and their partitions, as the machine keeps them. Read by delivery; changed by apply only.
 *
 * A message is in one of four conditions. *Visible*: in the lane of its priority. *Pending*: it
 * waits for its time, in `due`. *Open*: its transaction has not ended. *Gone*: cancelled, aborted,
 * or moved out of a dead-letter topic; its offset is a gap. Plain partitions, all normal and
 * visible, keep nothing of it. */
#ifndef MACHINE_TOPIC_H
#define MACHINE_TOPIC_H

#include "command/command.h"
#include "command/record_batch.h"
#include "machine/due_index.h"
#include "machine/offset_set.h"
#include "std/arena.h"

#define DEAD_LETTER_SUFFIX ".dlq"

/* What a partition has beside plain messages. */
struct exceptions {
    struct offset_set lanes[PRIORITY_COUNT]; /* visible, by priority; that of normal is empty */
    uint64_t counts[PRIORITY_COUNT]; /* of retained messages, pending ones too; 0 for normal */
    struct offset_set hidden;        /* pending, gone or open */
    struct offset_set gone;
    struct due_index due;   /* the pending ones: hidden, not gone */
    struct offset_set open; /* of transactions that have not ended: hidden, not gone, not pending */
};

struct partition {
    struct topic *topic; /* borrowed: its owner */
    uint32_t index;
    uint64_t start_offset;           /* of the oldest retained message */
    uint64_t next_offset;            /* which the next message gets */
    uint64_t message_count;          /* retained, pending ones included, gone ones not */
    uint64_t size_bytes;             /* of retained batches */
    struct exceptions *exceptions;   /* owned; NULL: none so far */
    struct group_partition *readers; /* borrowed list: what groups know of it */
    void *log;                       /* the shard's partition log; not part of the state */
    void *delivery;                  /* delivery's; not part of the state */
};

struct topic {
    uint32_t id; /* never reused */
    char *name;  /* qualified, owned, NUL-terminated */
    uint32_t partition_count;
    struct partition **partitions; /* owned; each stays where it is while the topic lives */
    uint32_t round_robin;          /* partition of the next keyless message */
    uint64_t pending_count;        /* messages of all partitions that wait for their time */
    struct topic_settings settings;
    int64_t created_us;
    struct topic_totals totals;
};

/* Is it "<something>.dlq"? Its messages have no further dead-letter topic. */
bool topic_is_dead_letter(const struct topic *t);

/* "<its name>.dlq", in the arena. */
struct span topic_dead_letter_name(const struct topic *t, struct arena *arena);

bool partition_is_hidden(const struct partition *p, uint64_t offset); /* pending, gone or open */
bool partition_is_pending(const struct partition *p, uint64_t offset);
bool partition_is_gone(const struct partition *p, uint64_t offset);
/* Who reads in strict order reads below it: the first open message, or the end of the log. */
uint64_t partition_stable_end(const struct partition *p);
/* The first offset >= from that is not gone; may be next_offset or beyond. */
uint64_t partition_skip_gone(const struct partition *p, uint64_t from);
/* The first offset >= from that is not hidden, whatever its lane; may be next_offset or beyond. */
uint64_t partition_skip_hidden(const struct partition *p, uint64_t from);
/* The first visible message of the lane at or behind `from`; false: none below next_offset. */
bool partition_next_in_lane(const struct partition *p, enum priority lane, uint64_t from,
                            uint64_t *out);
/* The lane that a visible message is in. */
enum priority partition_lane_of(const struct partition *p, uint64_t offset);
uint64_t partition_priority_count(const struct partition *p, enum priority priority);

#endif
