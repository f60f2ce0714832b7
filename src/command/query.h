/* Questions about the state: asked by the API, answered on the shard's thread between two commands,
 * by copying into the asker's arena. A question changes nothing.
 *
 * `scope` is the tenant's prefix ("acme/") or empty for the default tenant, whose names have no
 * '/'; lists contain only names in that scope, with the prefix. */
#ifndef COMMAND_QUERY_H
#define COMMAND_QUERY_H

#include "command/command.h"
#include "command/record_batch.h"

enum query_type {
    QUERY_TOPICS,  /* scope -> topics: all topics with their partitions, by name */
    QUERY_TOPIC,   /* name -> topics, one; ST_TOPIC_NOT_FOUND */
    QUERY_RESOLVE, /* name -> topics, one, without partitions (cheap); ST_TOPIC_NOT_FOUND */
    QUERY_GROUPS,  /* scope -> groups: all groups with members, by name */
    QUERY_GROUP,   /* name -> groups, one; ST_GROUP_NOT_FOUND */
    QUERY_OFFSETS, /* name = group, [topic] -> offsets; an unknown group has none */
    QUERY_STATS,   /* -> stats, the digest only if asked for: its cost is that of a snapshot */
    QUERY_DELAYED, /* name, partition, skip, limit -> topics, one (without partitions); delayed, by
                      due time, partition, offset; delayed_total; ST_TOPIC_NOT_FOUND */
    QUERY_TRANSACTIONS, /* scope, limit, number -> transactions: the open ones, oldest first;
                           statistics of the scope, or of all tenants */
    QUERY_TRANSACTION,  /* scope, number -> transactions, one, open or ended lately;
                           ST_TRANSACTION_NOT_FOUND */
    QUERY_IN_FLIGHT,    /* name -> topics, one; in_flight; ST_TOPIC_NOT_FOUND */
};

struct query {
    enum query_type type;
    struct span scope;
    bool every_tenant; /* lists: scope is ignored, all names are given */
    struct span name;
    struct span topic; /* QUERY_OFFSETS: only this one; size 0: all */
    bool with_digest;  /* QUERY_STATS */
    int64_t partition; /* QUERY_DELAYED: only this one; -1: all */
    uint64_t skip;     /* QUERY_DELAYED */
    uint32_t limit;    /* QUERY_DELAYED, QUERY_TRANSACTIONS */
    uint64_t number;   /* QUERY_TRANSACTION; QUERY_TRANSACTIONS: only this producer's; 0: all */
};

struct partition_info {
    uint64_t start_offset;
    uint64_t next_offset;
    uint64_t message_count; /* retained */
    uint64_t size_bytes;
    uint64_t by_priority[PRIORITY_COUNT];      /* of message_count */
    uint64_t pending_count;                    /* of message_count: wait for their time */
    uint64_t done_by_priority[PRIORITY_COUNT]; /* of visible ones, at most by one group */
};

struct topic_info {
    struct span name;
    uint32_t id;
    uint32_t partition_count;
    struct partition_info *partitions; /* partition_count of them; NULL for QUERY_RESOLVE */
    struct topic_settings settings;
    int64_t created_us;
    struct topic_totals totals;
    bool has_dead_letter_topic; /* "<name>.dlq" exists */
};

struct delayed_info {
    uint32_t partition;
    uint64_t offset;
    int64_t due_us;
    enum priority priority;
};

struct in_flight_partition {
    uint64_t count;
    int64_t oldest_us; /* when the oldest of them was handed out; 0: not known, or none is out */
};

struct in_flight_group {
    struct span name; /* qualified */
    uint64_t count;
};

struct in_flight_info {                     /* filled by delivery */
    struct in_flight_partition *partitions; /* of the topic */
    struct in_flight_group *groups;         /* those that read the topic, by name */
    uint32_t group_count;
};

struct member_info {
    struct span member_id;
    struct span client_id;
    struct assigned *assigned;
    uint32_t assigned_count;
    bool cooperative;
    int64_t joined_us;
    int64_t last_seen_us; /* filled by delivery; 0 if it has not been seen since the start */
};

enum rebalance_reason {
    REBALANCE_MEMBER_JOINED = 0, /* or changed its subscription */
    REBALANCE_MEMBER_LEFT,
    REBALANCE_SESSION_TIMEOUT,
    REBALANCE_PARTITIONS_ADDED,
    REBALANCE_TOPIC_DELETED,
    REBALANCE_REASON_COUNT
};

/* Counted since the group was created. A rebalance ends at once, unless a cooperative member has to
 * let go of partitions; one that begins meanwhile ends with it. */
struct rebalance_stats {
    uint64_t total;
    uint64_t successful;
    uint64_t failed; /* partitions had to be taken away when the time for it had passed */
    uint64_t by_reason[REBALANCE_REASON_COUNT];
    uint64_t partitions_revoked; /* taken from a member that stayed */
    uint64_t partitions_assigned;
    uint64_t revocation_timeouts; /* of partitions_revoked */
    int64_t last_us;              /* when the last one ended; 0: none yet */
    int64_t last_duration_us;
    int64_t duration_sum_us; /* of those that ended */
};

struct group_info {
    struct span name;
    uint32_t id;
    uint32_t generation;
    int64_t created_us;
    struct member_info *members; /* longest-serving first */
    uint32_t member_count;
    struct span *topics; /* union of the subscriptions, by name */
    uint32_t topic_count;
    enum ordering ordering;
    bool rebalancing; /* partitions are still to be let go of */
    struct rebalance_stats rebalances;
};

struct offset_info {
    struct span topic;
    uint32_t topic_id;
    uint32_t partition;
    uint64_t offset;      /* next to read */
    uint64_t next_offset; /* of the log */
    uint64_t lag;         /* visible messages that the group has not done */
};

enum transaction_state {
    TRANSACTION_ONGOING,
    TRANSACTION_COMMITTED,
    TRANSACTION_ABORTED,
    TRANSACTION_TIMED_OUT /* aborted, since its time was over */
};

struct transaction_place { /* a partition with messages of a transaction */
    struct span topic;
    uint32_t partition;
};

struct transaction_info {
    uint64_t number;
    uint64_t producer_id;
    uint32_t epoch;
    struct span transactional_id;
    enum transaction_state state;
    int64_t began_us;
    int64_t ended_us; /* 0: ongoing */
    uint32_t message_count;
    uint32_t ack_count;
    struct transaction_place *places; /* of ongoing ones */
    uint32_t place_count;
};

struct transaction_stats { /* of a tenant's producers, or of all there ever were */
    uint64_t active;
    uint64_t committed_total;
    uint64_t aborted_total; /* those that timed out, too */
    uint64_t timed_out_total;
    uint64_t duration_sum_us; /* of those that ended */
    uint64_t producers;
};

struct stats_info {
    uint32_t topic_count;
    uint32_t group_count;
    uint64_t applied_index;
    uint64_t digest; /* of the whole durable state, machine_digest() */
};

struct query_result {
    enum status status;
    struct topic_info *topics;
    uint32_t topic_count;
    struct group_info *groups;
    uint32_t group_count;
    struct offset_info *offsets; /* by topic, then partition */
    uint32_t offset_count;
    uint32_t generation; /* QUERY_OFFSETS: of the group */
    struct stats_info stats;
    struct delayed_info *delayed;
    uint32_t delayed_count;
    uint64_t delayed_total;
    struct in_flight_info in_flight;
    struct transaction_info *transactions;
    uint32_t transaction_count;
    struct transaction_stats transaction_stats;
};

#endif
