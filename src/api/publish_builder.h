/* From the body of a publish request to one encoded PUBLISH command (codec.h): the values are
 * copied once, from the body into their record batches.
 *
 * Messages with the same target (a partition, or a slot for keyless ones) share batches of about
 * BATCH_SIZE_AIM. A keyless message may land, at apply, in the very partition that a placed one of
 * the same request names; so that array order holds there too, a batch never spans a change between
 * keyless and placed messages. */
#ifndef API_PUBLISH_BUILDER_H
#define API_PUBLISH_BUILDER_H

#include "api/publish_message.h"
#include "command/command.h"
#include "std/buf.h"

struct publish_builder { /* scratch memory, for one request after the other on one thread */
    struct publish_reader reader;
    uint32_t first[PARTITIONS_MAX]; /* messages of the run at hand, a list for each target */
    uint32_t last[PARTITIONS_MAX];
    uint32_t touched[PARTITIONS_MAX]; /* targets with a list, in order of their first message */
    uint32_t touched_count;
};

struct publish_target {
    uint32_t topic_id;
    uint32_t partition_count;
    uint32_t delayed_max; /* the topic's limit, for the error of those over it */
    uint64_t
        delayed_room; /* so many delayed messages are stored, the first ones; UINT64_MAX: all */
};

struct publish_outcome {   /* one a message */
    const char *error;     /* NULL: it is in the command */
    uint32_t entry;        /* index of its batch among the command's entries */
    uint32_t index;        /* in the batch */
    int64_t delay_us;      /* 0: none */
    int64_t deliver_at_us; /* 0: none */
    uint8_t priority;      /* enum priority */
};

struct publish_plan {
    struct publish_outcome *outcomes; /* in order of the request; in the request's arena */
    uint32_t count;
    uint32_t stored_count;    /* 0: there is no command */
    uint32_t no_room_count;   /* delayed messages that are not stored for want of room */
    uint32_t misplaced_count; /* messages for a partition that the topic has not */
    uint64_t stored_bytes;    /* of their keys, values and headers */
};

void publish_builder_init(struct publish_builder *b); /* pair: publish_builder_fini */
void publish_builder_fini(struct publish_builder *b);

/* Reads the body, as publish_reader_read(). */
enum status publish_builder_read(struct publish_builder *b, struct span body, int64_t now_us,
                                 struct arena *arena, const char **out_detail);
/* Appends the command for what was read last, unless no message is to be stored. The body must
 * still be there. Once for each read.
 * Borrows: nothing afterwards. Errors: ST_TOO_BIG: over the bound of `out`. */
enum status publish_builder_build(struct publish_builder *b, const struct publish_target *target,
                                  struct arena *arena, struct buf *out,
                                  struct publish_plan *out_plan);

/* The same for a message that was read with publish_reader_read_one(), without a fault: appends its
 * batch. Gives: *out_target as in struct publish_entry; plan->stored_count is 0 if only the topic
 * has something against it, which is messages[0].error then. */
void publish_builder_build_one(struct publish_builder *b, const struct publish_target *target,
                               struct arena *arena, struct buf *out, uint32_t *out_target,
                               struct publish_plan *out_plan);

#endif
