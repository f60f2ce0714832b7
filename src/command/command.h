/* The vocabulary of change: one struct for each command, and what applying it answers.
 *
 * An I/O thread builds a command and encodes it (codec.h); the shard stamps the time, the journal
 * makes it durable, the machine decodes and applies it. A replay goes through the very same decode
 * and apply. Spans in a decoded command point into the encoded bytes; arrays into the decoder's
 * arena.
 *
 * Names of topics and groups are *qualified*: the default tenant's "orders" is "orders", tenant
 * acme's is "acme/orders" ('/' is in no name). Only the API adds and strips the prefix. Times are
 * microseconds since 1970 UTC (`_us`); 0 means "the default" where a field says so. */
#ifndef COMMAND_COMMAND_H
#define COMMAND_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "std/span.h"
#include "std/status.h"

enum {
    PARTITIONS_MAX = 1024,         /* of a topic */
    NAME_SIZE_MAX = 255,           /* of a topic, group or client id, in bytes */
    QUALIFIED_NAME_SIZE_MAX = 320, /* tenant, '/', name */
    MEMBER_ID_SIZE_MAX = 320,
    MESSAGES_PER_PUBLISH_MAX = 10000,
    TOPICS_PER_MEMBER_MAX = 256,
    MEMBERS_PER_GROUP_MAX = 4096,
    ACKS_PER_COMMAND_MAX = 1000,
    OFFSETS_PER_COMMIT_MAX = TOPICS_PER_MEMBER_MAX * PARTITIONS_MAX,
    TOPICS_MAX = 100000, /* of all tenants; beyond: ST_QUOTA_EXCEEDED, as for the next two */
    PARTITIONS_TOTAL_MAX = 1000000,
    GROUPS_MAX = 100000,
    VALUE_SIZE_MAX = 16 * 1024 * 1024, /* unescaped UTF-8 */
    KEY_SIZE_MAX = 65535,
    HEADERS_SIZE_MAX = 65535, /* names and values together, unescaped */
};

#define OFFSET_MAX ((uint64_t)INT64_MAX) /* offsets are JSON integers */

enum command_type {
#define COMMAND(number, NAME, name) COMMAND_##NAME = (number),
#include "command/commands.def"
#undef COMMAND
};

enum cleanup_policy { CLEANUP_DELETE = 0, CLEANUP_COMPACT = 1 };

struct topic_settings {
    int64_t retention_us;    /* -1: unlimited */
    int64_t retention_bytes; /* -1: unlimited */
    int64_t visibility_us;
    uint32_t deliveries_max;
    enum cleanup_policy cleanup;
};

struct command_topic_create {
    struct span name;
    uint32_t partition_count; /* 1..PARTITIONS_MAX */
    bool if_absent; /* an existing topic is success (auto-creation), not ST_TOPIC_EXISTS */
    struct topic_settings settings;
};

struct command_topic_delete {
    struct span name;
};

/* The messages of one request, already grouped into record batches (record_batch.h) in the order in
 * which they are to be appended. Keyless messages are placed at apply: batch entry with slot s >= 0
 * goes to partition (topic.round_robin + s) % partition_count, then the counter rises by
 * keyless_count. The sender grouped by partition for `partition_count` partitions of topic
 * `topic_id`; if the topic is gone or has another count by now, nothing is appended and the answer
 * is ST_STALE: look it up again. */
struct publish_entry {
    uint32_t target; /* PUBLISH_KEYLESS | slot, or the partition */
    uint32_t size;   /* bytes of the batch */
};
#define PUBLISH_KEYLESS 0x80000000U

struct command_publish {
    uint32_t topic_id;
    uint32_t partition_count;
    uint32_t keyless_count;
    uint32_t entry_count;
    struct span entries; /* entry_count times: struct publish_entry as 2 x u32 LE, then its batch */
};

struct joiner {
    struct span member_id; /* new and unique, or the one that rejoins */
    struct span client_id;
    struct span *topics; /* qualified; >= 1, no duplicates */
    uint32_t topic_count;
    int64_t session_us;
    int64_t visibility_us;  /* 0: each topic's own */
    uint32_t in_flight_max; /* >= 1 */
    bool rejoin;            /* must be a member already, else ST_MEMBER_NOT_FOUND */
    bool from_latest;       /* where partitions without a position start */
};

struct command_group_join { /* creates the group; all joiners of one command share a generation */
    struct span group;
    struct joiner *joiners;
    uint32_t joiner_count;
};

enum leave_reason { LEAVE_ASKED = 0, LEAVE_SESSION_EXPIRED = 1 };

struct command_group_leave {
    struct span group;
    struct span member_id;
    enum leave_reason reason;
};

struct command_group_delete {
    struct span group;
};

struct ack_entry {
    uint32_t topic_id;
    uint32_t partition;
    uint64_t offset;
};

struct command_ack { /* marks messages done for one group; one that is done already stays so */
    uint32_t group_id;
    uint32_t entry_count;
    struct ack_entry *entries;
};

struct offset_entry {
    struct span topic; /* qualified */
    uint32_t partition;
    uint64_t offset; /* next to read; everything below is done, everything from it on is not */
};

struct command_offsets_commit { /* all entries or none */
    struct span group;
    struct span member_id;
    struct offset_entry *entries;
    uint32_t entry_count;
    int64_t generation; /* -1: not compared */
};

struct command {
    enum command_type type;
    int64_t time_us; /* stamped by the leader's shard; never falls along the journal */
    union {
#define COMMAND(number, NAME, name) struct command_##name name;
#include "command/commands.def"
#undef COMMAND
    };
};

/* Answers. `detail` is NULL or a sentence for people in the arena, instead of status_text().
 * Everything that is pointed to lies in the arena that was given to machine_apply(). */
struct result_topic {
    uint32_t id;
    uint32_t partition_count;
    bool created;
    struct topic_settings settings;
};

struct placement {
    uint32_t partition;
    uint64_t base_offset;
};

struct result_publish {
    struct placement *placements; /* one an entry, in the command's order */
    uint32_t count;
    int64_t time_us;
};

struct assigned {      /* a partition that a member reads */
    struct span topic; /* qualified */
    uint32_t topic_id;
    uint32_t partition;
};

struct joined {
    enum status status;
    struct span member_id;
    struct assigned *assigned; /* by topic name, then partition */
    uint32_t assigned_count;
    bool leader;
};

struct result_group_join {
    uint32_t group_id;
    uint32_t generation;
    struct span leader_id;
    struct span *member_ids; /* all members, longest-serving first */
    uint32_t member_count;
    struct joined *joined; /* one a joiner, in the command's order */
    uint32_t joined_count;
};

struct acked {
    enum status status; /* OK, or ST_TOPIC_NOT_FOUND, ... when it is gone since */
    bool already;       /* it was done before */
    bool advanced;      /* the position rose */
    uint64_t committed; /* next offset to read for the group */
};

struct result_ack {
    struct acked *acked; /* one an entry */
    uint32_t count;
};

struct result {
    enum status status;
    const char *detail;
    union {
        struct result_topic topic; /* TOPIC_CREATE; also filled on ST_TOPIC_EXISTS */
        struct result_publish publish;
        struct result_group_join join;
        struct result_ack ack;
    };
};

#endif
