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
    QUALIFIED_NAME_SIZE_MAX = 336, /* tenant, '/', name, ".dlq" */
    MEMBER_ID_SIZE_MAX = 320,
    MESSAGES_PER_PUBLISH_MAX = 10000,
    TOPICS_PER_MEMBER_MAX = 256,
    MEMBERS_PER_GROUP_MAX = 4096,
    ACKS_PER_COMMAND_MAX = 1000,
    OFFSETS_PER_COMMIT_MAX = TOPICS_PER_MEMBER_MAX * PARTITIONS_MAX,
    REVOKED_PER_COMMAND_MAX = OFFSETS_PER_COMMIT_MAX,
    TOPICS_MAX = 100000, /* of all tenants; beyond: ST_QUOTA_EXCEEDED, as for the next two */
    PARTITIONS_TOTAL_MAX = 1000000,
    GROUPS_MAX = 100000,
    VALUE_SIZE_MAX = 16 * 1024 * 1024, /* unescaped UTF-8 */
    KEY_SIZE_MAX = 65535,
    HEADERS_SIZE_MAX = 65535, /* names and values together, unescaped */
    LEASES_PER_COMMAND_MAX = 4096,
    RELEASES_PER_COMMAND_MAX = 1000,
    DEAD_LETTERS_PER_COMMAND_MAX = 256,
    REPLAYS_PER_COMMAND_MAX = 256,
    DUE_PER_COMMAND_MAX = 4096, /* delayed messages that become visible with one command */
    REASON_SIZE_MAX = 1024,     /* of a nack or reject, in bytes; a longer one is cut */
    DELAYED_MAX_DEFAULT = 1000000,
    TENANT_SCOPE_SIZE_MAX = 65, /* a tenant and '/' */
    TRANSACTIONAL_ID_SIZE_MAX = 255,
    EPOCH_MAX = 32767,
    SEQUENCE_MAX = INT32_MAX,
    CONTENT_SIZE = 16, /* of what tells two of them apart: XXH3, 128 bits */
    PRODUCERS_MAX = 100000,
    TRANSACTION_MESSAGES_MAX = 100000,        /* of one transaction; acks and offsets likewise */
    TRANSACTION_MESSAGES_TOTAL_MAX = 1000000, /* of all that are open */
};

#define OFFSET_MAX                 ((uint64_t)INT64_MAX) /* offsets are JSON integers */
#define TRANSACTION_TIMEOUT_US_MAX (15LL * 60 * 1000 * 1000)
#define DUE_US_MAX                 ((1LL << 60) - 1) /* of a delayed message: a time some 36,000 years ahead */

enum command_type {
#define COMMAND(number, NAME, name) COMMAND_##NAME = (number),
#include "command/commands.def"
#undef COMMAND
};

enum cleanup_policy { CLEANUP_DELETE = 0, CLEANUP_COMPACT = 1 };

/* How a group gets messages with keys. */
enum ordering {
    ORDERING_UNSET = 0, /* of a joiner: the group's stays as it is */
    ORDERING_NONE = 1,
    ORDERING_KEY = 2 /* one message of a key at a time, until it is done */
};

enum priority_mode {
    PRIORITY_STRICT = 0,   /* a lane is empty before a lower one is looked at */
    PRIORITY_WEIGHTED = 1, /* lanes take turns by weight: none starves */
    PRIORITY_MODE_COUNT
};

struct topic_settings {
    int64_t retention_us;    /* -1: unlimited */
    int64_t retention_bytes; /* -1: unlimited */
    int64_t visibility_us;
    uint32_t deliveries_max; /* then dead letter */
    uint32_t in_flight_max;  /* of one partition, for one group; 0: unlimited */
    uint32_t delayed_max;    /* messages of the topic that wait for their time */
    enum cleanup_policy cleanup;
    enum priority_mode priority_mode;
};

struct topic_totals { /* counted since the topic was created */
    uint64_t acked;
    uint64_t nacked;
    uint64_t rejected;
    uint64_t dead_rejected; /* dead letters of it, by reason */
    uint64_t dead_max_retries;
    uint64_t dropped; /* failed messages of a dead-letter topic */
    uint64_t scheduled;
    uint64_t scheduled_delay_us; /* sum of the delays that were asked for */
    uint64_t due;                /* became visible */
    uint64_t cancelled;
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

/* Keys hash over the new count from now on; groups that subscribe to the topic rebalance. */
struct command_topic_add_partitions {
    struct span name;
    uint32_t partition_count; /* the new total, 1..PARTITIONS_MAX */
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
    /* Of a request with an idempotency key; else empty. The same key within IDEMPOTENCY_KEPT_US
     * changes nothing: the answer is what the first one was. */
    struct span idempotency_key; /* CONTENT_SIZE bytes, of key and path */
    struct span
        memo; /* the asker's own, kept for the answer: what it needs beside the placements */
};

struct joiner {
    struct span member_id; /* new and unique, or the one that rejoins */
    struct span client_id;
    struct span *topics; /* qualified; >= 1, no duplicates */
    uint32_t topic_count;
    int64_t session_us;
    int64_t visibility_us;   /* 0: each topic's own */
    uint32_t in_flight_max;  /* >= 1 */
    uint32_t deliveries_max; /* 0: each topic's own */
    bool rejoin;             /* must be a member already, else ST_MEMBER_NOT_FOUND */
    bool from_latest;        /* where partitions without a position start */
    bool cooperative;        /* it is asked before a partition is taken from it */
    enum ordering ordering;  /* of the whole group from now on */
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

struct revoked_entry {
    struct span topic; /* qualified */
    uint32_t partition;
};

/* A cooperative member has let go of partitions that it was asked for; or (`expired`, without
 * member and entries) the time to do so has passed for some of the group's. What is not asked for
 * is passed over. */
struct command_group_revoke {
    struct span group;
    struct span member_id;
    struct revoked_entry *entries;
    uint32_t entry_count;
    int64_t generation; /* -1: not compared */
    bool expired;
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

enum reset_to { RESET_EARLIEST = 0, RESET_LATEST = 1, RESET_OFFSET = 2 };

struct reset_entry {
    uint32_t partition; /* RESET_EVERY_PARTITION: all of the topic */
    enum reset_to to;
    uint64_t offset; /* RESET_OFFSET: clamped to what the log has */
};
#define RESET_EVERY_PARTITION UINT32_MAX

/* Sets positions of a group, whoever reads the partitions: all entries or none. */
struct command_offsets_reset {
    struct span group;
    struct span topic;
    struct reset_entry *entries;
    uint32_t entry_count; /* 1..PARTITIONS_MAX */
};

/* A delivery's address: which message, in which group. */
struct delivery_place {
    uint32_t group_id;
    uint32_t topic_id;
    uint32_t partition;
    uint64_t offset;
};

/* Messages `offset` .. `offset + count - 1` were handed out for the delivery_count-th time, or
 * their deadline was moved. Journalled without anybody waiting for it: what a crash loses of it
 * makes a message available earlier, never lost. Places that are gone, or done, are passed over. */
struct lease_entry {
    struct delivery_place place;
    uint32_t count;          /* >= 1; 1 if delivery_count > 1 or extended */
    uint32_t delivery_count; /* >= 1 */
    bool extended; /* the deadline was moved by a client: it is kept for this message alone */
    int64_t deadline_us;
    int64_t first_us; /* of the first delivery */
};

struct command_lease {
    uint64_t
        as_of_index; /* the last applied when it was noted: void where a commit went back since */
    uint32_t entry_count;
    struct lease_entry *entries;
};

enum release_kind {
    RELEASE_RETURNED = 0, /* by the broker: leave, eviction, answer not written */
    RELEASE_NACK = 1,     /* by the client: remembered, so that a repeat gets the same answer */
};

/* A delivery ended without success: the message is to be delivered again, not before not_before_us.
 */
struct release_entry {
    struct delivery_place place;
    uint64_t lease_id;
    uint32_t delivery_count; /* deliveries that count so far; 0: as if never delivered */
    enum release_kind kind;
    int64_t not_before_us; /* 0: at once */
    int64_t first_us;      /* of the first delivery; 0: none */
    struct span reason;    /* last nack's; size 0: leave what is known */
};

struct command_release {
    uint64_t as_of_index; /* as in command_lease, for RELEASE_RETURNED */
    uint32_t entry_count;
    struct release_entry *entries;
};

enum dead_letter_reason { DEAD_LETTER_REJECTED = 0, DEAD_LETTER_MAX_RETRIES = 1 };

/* The message is done for the group and, unless `batch` is empty (a dead-letter topic has none of
 * its own: the message is dropped), appended to "<topic>.dlq", which is created with the source's
 * partition count when it is not there. Both or neither. */
struct dead_letter_entry {
    struct delivery_place place;
    uint64_t lease_id;
    uint32_t delivery_count;
    enum dead_letter_reason reason;
    bool asked;        /* a reject: remembered, so that a repeat gets the same answer */
    bool nacked;       /* a nack that was the last allowed: likewise */
    uint32_t hash;     /* of the key, or the partition of a keyless message: where it goes */
    struct span batch; /* of one message */
};

struct command_dead_letter {
    struct topic_settings settings; /* of a dead-letter topic that is created */
    uint32_t entry_count;
    struct dead_letter_entry *entries;
};

/* Makes visible what is due at the command's time, the first count_max of the partition. */
struct command_delay_due {
    uint32_t topic_id;
    uint32_t partition;
    uint32_t count_max; /* 1..DUE_PER_COMMAND_MAX */
};

/* The message never becomes visible. */
struct command_delay_cancel {
    uint32_t topic_id;
    uint32_t partition;
    uint64_t offset;
    int64_t due_us; /* of the message, as its record says */
};

/* Moves messages of a dead-letter partition to a topic: appended there and gone here, or neither.
 */
struct replay_entry {
    uint64_t offset;
    uint32_t hash;     /* of the key, or the partition of a keyless message: where it goes */
    struct span batch; /* of one message */
};

struct command_replay {
    uint32_t topic_id; /* the source */
    uint32_t partition;
    uint32_t target_topic_id;
    uint32_t entry_count;
    struct replay_entry *entries;
};

/* Who publishes: found by id in the tenant's scope; the epoch must be the present one. */
struct producer_ref {
    struct span scope; /* "acme/"; empty: the default tenant */
    uint64_t id;
    uint32_t epoch;
    struct span transactional_id; /* must be the producer's; size 0: not compared */
};

struct command_producer_init {
    struct span scope;
    struct span transactional_id; /* size 0: a new producer that has no transactions */
    int64_t timeout_us;           /* of its transactions: 1..TRANSACTION_TIMEOUT_US_MAX */
};

struct command_producer_heartbeat {
    struct producer_ref producer;
};

struct command_transaction_begin {
    struct producer_ref producer;
};

/* One message: of the open transaction, or visible at once if the producer has no transactional id.
 * ST_STALE as for PUBLISH. */
struct command_transaction_publish {
    struct producer_ref producer;
    uint32_t topic_id;
    uint32_t partition_count;
    uint32_t target;     /* PUBLISH_KEYLESS: the topic's next partition; else the partition */
    int64_t sequence;    /* 0..SEQUENCE_MAX; -1: none */
    struct span content; /* CONTENT_SIZE bytes, of key and value */
    struct span batch;   /* of one message */
};

/* The messages are done for the group when the transaction is committed, and till then nobody else
 * gets them. */
struct command_transaction_ack {
    struct producer_ref producer;
    uint32_t group_id;
    uint32_t entry_count; /* 1..ACKS_PER_COMMAND_MAX */
    struct ack_entry *entries;
};

/* The positions are set when the transaction is committed. */
struct command_transaction_offsets {
    struct producer_ref producer;
    struct command_offsets_commit commit; /* judged now, as a commit without a transaction */
};

enum transaction_end { TRANSACTION_COMMIT = 0, TRANSACTION_ABORT = 1, TRANSACTION_EXPIRE = 2 };

struct command_transaction_end {
    struct producer_ref producer; /* TRANSACTION_EXPIRE: nobody asks, it is empty */
    enum transaction_end how;
    uint64_t number; /* TRANSACTION_EXPIRE: which */
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
    uint32_t delayed_room; /* ST_DELAYED_FULL: how many delayed messages the topic still takes */
    bool repeated;         /* of an idempotency key: this is the answer of the first request */
    struct span memo;      /* repeated: that request's */
};

struct result_producer {
    uint64_t id;
    uint32_t epoch;
};

struct result_transaction {
    uint64_t number;
    uint32_t message_count;
    uint32_t partition_count; /* that they are in */
    bool already;             /* the transaction had ended so before */
};

struct result_transaction_publish {
    uint32_t partition;
    uint64_t offset;
    int64_t time_us;
    bool duplicate;
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
    bool waits; /* for partitions that others have to let go of first */
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

struct result_add_partitions { /* filled on ST_INVALID_ARGUMENT, too */
    uint32_t old_count;
    uint32_t new_count;
};

struct result_revoke {
    uint32_t generation;    /* of the group, afterwards */
    uint32_t pending_count; /* partitions that the member still has to let go of */
    bool rebalancing;       /* somebody has */
};

struct reset_position {
    uint32_t partition;
    uint64_t offset; /* next to read */
    uint64_t lag;    /* as in struct offset_info */
};

struct result_reset {
    struct reset_position *positions; /* by partition, if they were asked for so */
    uint32_t count;
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

struct released {
    enum status status; /* OK; ST_MESSAGE_NOT_FOUND: done since, or gone */
    bool already;       /* this very delivery was nacked before */
    bool dead;          /* already: it was that nack which made it a dead letter */
    uint32_t delivery_count;
    int64_t not_before_us;
};

struct result_release {
    struct released *released; /* one an entry */
    uint32_t count;
};

struct dead_lettered {
    enum status status; /* OK; ST_MESSAGE_NOT_FOUND; ST_QUOTA_EXCEEDED: no dead-letter topic */
    bool already;       /* it was done before: nothing was appended */
    struct span topic;  /* qualified, of the dead letter; size 0: dropped */
    uint32_t partition; /* there, as the next */
    uint64_t offset;
};

struct result_dead_letter {
    struct dead_lettered *entries; /* one an entry */
    uint32_t count;
};

struct result_delay_due {
    uint32_t count; /* made visible */
    bool more;      /* there are more that are due */
};

struct result_delay_cancel {
    bool already; /* it was cancelled before */
};

struct result_replay {
    uint32_t moved;
    uint32_t skipped; /* gone already, e.g. moved by somebody else */
};

struct result {
    enum status status;
    const char *detail;
    union {
        struct result_topic topic; /* TOPIC_CREATE; also filled on ST_TOPIC_EXISTS */
        struct result_add_partitions add_partitions;
        struct result_publish publish;
        struct result_group_join join;
        struct result_revoke revoke;
        struct result_reset reset;
        struct result_ack ack;
        struct result_release release;
        struct result_dead_letter dead_letter;
        struct result_delay_due delay_due;
        struct result_delay_cancel delay_cancel;
        struct result_replay replay;
        struct result_producer producer;
        struct result_transaction transaction;
        struct result_transaction_publish transaction_publish;
    };
};

#endif
