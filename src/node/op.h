/* One request on its way through the shard.
 *
 * The I/O thread fills it in and hands it over with shard_submit(); from then on it belongs to the
 * shard until `done` is called, on the shard's thread, exactly once. `done` must be quick: it
 * resumes the connection. Results lie in the op's arena. */
#ifndef NODE_OP_H
#define NODE_OP_H

#include <stdatomic.h>

#include "command/command.h"
#include "command/query.h"
#include "delivery/delivery.h"
#include "journal/partition_log.h"
#include "std/arena.h"
#include "std/buf.h"
#include "std/list.h"

enum op_kind {
    OP_COMMAND, /* `record` holds an encoded command -> result, after it is durable and applied */
    OP_QUERY,   /* query -> query_result */
    OP_SEEK,    /* seek: where messages of a time begin */
    OP_FETCH,   /* fetch: where to read a partition from an offset, for simple consume */
    OP_POLL,    /* poll */
    OP_RELEASE, /* ack.receipts: leases given back uncounted */
    OP_ACK,     /* ack */
    OP_RESOLVE, /* resolve */
    OP_TRANSACTION_ACK, /* transaction_ack */
    OP_JOIN,            /* join */
    OP_HEARTBEAT,       /* heartbeat */
    OP_DEAD_LETTERS,    /* the shard's own: dead_letters, whose command is in `record` */
    OP_KEYS,            /* likewise: keys */
};

struct hidden_run { /* first <= offset < end: not visible */
    uint64_t first;
    uint64_t end;
};

struct fetch_request {
    struct span topic; /* qualified */
    uint32_t partition;
    uint64_t offset;
    int64_t wait_us;    /* 0: do not wait for a first message */
    enum status status; /* ST_OK, ST_TOPIC_NOT_FOUND, ST_PARTITION_NOT_FOUND */
    uint64_t start_offset;
    uint64_t next_offset;
    struct log_range range; /* to be released; segment NULL: nothing at or beyond offset */
    /* What of it is not to be shown: runs of hidden messages from `offset` on, ascending, in the
     * op's arena. Below hidden_end they are all told; from there on, ask again. */
    struct hidden_run *hidden;
    uint32_t hidden_count;
    uint64_t hidden_end;
    bool pending; /* the message at `offset` waits for its time */
    /* The shard's, while the request is parked. */
    int64_t due_us;
    struct list_node parked;    /* of all parked fetches */
    struct list_node slot_link; /* of those of this partition */
};

struct seek_found { /* of one partition: the offset, unless the range holds an earlier one */
    uint32_t partition;
    uint64_t offset;
    struct log_range range; /* to be looked into with log_range_find_time() and released */
};

struct seek_request {
    struct span topic; /* qualified */
    int64_t partition; /* -1: all */
    int64_t time_us;
    enum status status; /* ST_OK, ST_TOPIC_NOT_FOUND, ST_PARTITION_NOT_FOUND, ST_IO */
    struct seek_found *found;
    uint32_t found_count;
};

struct op {
    struct op *next;     /* the inbox's, then the shard's */
    size_t inbox_bytes;  /* the inbox's: what it counted for this op */
    struct shard *shard; /* the shard's, while it has the op */
    enum op_kind kind;
    int client_fd; /* to see whether the client is still there; -1: unknown */
    struct arena arena;
    void (*done)(struct op *op);
    void *user;
    struct buf record;    /* OP_COMMAND */
    struct result result; /* OP_COMMAND */
    enum status failed;   /* what is journalled: not ST_OK when the journal could not take it: no
                             other result */
    union {
        struct {
            struct query query;
            struct query_result query_result;
            struct delivery_stats delivery_stats; /* QUERY_STATS */
        };
        struct fetch_request fetch;
        struct seek_request seek;
        struct poll_request poll;
        struct ack_request ack;
        struct resolve_request resolve;
        struct transaction_ack_request transaction_ack;
        struct join_request join;
        struct heartbeat_request heartbeat;
        struct dead_letter_batch *dead_letters;
        struct keys_job *keys;
    };
};

#endif
