/* A naive machine: a small world in plain arrays, every answer computed by walking all of it.
 * Shares no code with the real one and has no assignment of its own: it judges what the real one
 * chose (model_adopt). */
#ifndef TESTS_PROPERTY_MODEL_H
#define TESTS_PROPERTY_MODEL_H

#include "machine/machine.h"

enum {
    MODEL_NAMES = 4,                /* of ordinary topics; each may have its dead-letter topic */
    MODEL_TOPICS = MODEL_NAMES * 2, /* at a time; index MODEL_NAMES + i: "<name of i>.dlq" */
    MODEL_PARTITIONS = 4,
    MODEL_GROUPS = 3,
    MODEL_MEMBERS = 7,     /* of a group at a time */
    MODEL_OFFSETS = 160,   /* of a partition */
    MODEL_DEPARTED = 512,  /* of a group */
    MODEL_RESOLVED = 2048, /* all there ever were */
    MODEL_ENTRIES = 6,     /* of a command that appends */
    MODEL_BATCH = 4,       /* messages of an entry */
    MODEL_MOVED = 64,      /* of a command */
    MODEL_GONE = 128,      /* likewise */
    MODEL_REASON_SIZE = 16,
    MODEL_PRODUCERS = 256, /* all there ever were, as the next four */
    MODEL_TRANSACTIONS = 512,
    MODEL_SEQUENCES = 1024,
    MODEL_KEYS = 512, /* of idempotent requests */
    MODEL_MEMO_SIZE = 8,
    MODEL_SPREAD = 48, /* of a transaction: positions to be set; partitions written to */
    MODEL_NOBODY = -1,
};

struct model_message {
    enum priority priority;
    int64_t due_us; /* of a pending one */
    bool pending;
    bool gone;
    uint64_t open; /* the number of its transaction, which has not ended; 0: none */
};

struct model_partition {
    uint64_t next;
    uint64_t bytes;
    struct model_message messages[MODEL_OFFSETS];
};

struct model_topic {
    bool alive;
    uint32_t id;
    uint32_t partition_count;
    uint32_t round_robin;
    int64_t created_us;
    struct topic_settings settings;
    struct topic_totals totals;
    struct model_partition partitions[MODEL_PARTITIONS];
};

struct model_member {
    uint32_t number; /* its id is "m<number>" */
    bool topics[MODEL_TOPICS];
    bool from_latest;
    bool cooperative;
    int64_t session_us;
    int64_t visibility_us;
    uint32_t in_flight_max;
    uint32_t deliveries_max;
    int64_t joined_us;
    uint32_t changed_generation;
};

struct model_retry {
    uint32_t count; /* 0: there is none */
    bool returned;
    int64_t not_before_us;
    int64_t first_us;
    char reason[MODEL_REASON_SIZE]; /* empty: none */
};

struct model_progress { /* of a group in a partition */
    bool known;
    int owner;                 /* index among the members */
    int successor;             /* to whom the owner is to hand it over; likewise */
    int64_t revoke_by_us;      /* until when; 0: no successor */
    uint64_t owner_index;      /* of the command that brought the owner */
    uint32_t owner_generation; /* the first in which it counts */
    uint64_t position;
    uint64_t rewound_index; /* of the command that went back last; 0: none did */
    int64_t out_until_us;
    bool done[MODEL_OFFSETS]; /* acknowledged one by one; nothing is said below the position */
    bool out[MODEL_OFFSETS];
    struct model_retry retries[MODEL_OFFSETS];
    uint64_t reserved[MODEL_OFFSETS];       /* by which open transaction; 0: none */
    uint64_t reserved_index[MODEL_OFFSETS]; /* by the command with this index */
};

struct model_group {
    bool alive;
    uint32_t id;
    uint32_t generation;
    enum ordering ordering;
    struct rebalance_stats rebalances;
    uint32_t open_rebalances; /* of those counted: begun, not ended */
    int64_t began_us;         /* the first of them */
    bool expired;             /* during them something was taken by force */
    int64_t created_us;
    uint32_t member_count;
    struct model_member members[MODEL_MEMBERS];
    struct model_progress progress[MODEL_TOPICS][MODEL_PARTITIONS];
    uint32_t departed[MODEL_DEPARTED];
    int64_t departed_us[MODEL_DEPARTED];
    uint32_t departed_count;
    bool stale; /* a rebalance began with this command: what was chosen is to be adopted */
};

struct model_resolved {
    uint64_t lease_id;
    int64_t time_us;
    uint32_t delivery_count;
    int how;
    int64_t not_before_us;
};

struct model_producer { /* its id is its index + 1 */
    bool alive;
    const char *scope;
    const char *name; /* empty: it has no transactions */
    uint32_t epoch;
    int64_t timeout_us;
    int64_t used_us;
    uint64_t touched; /* the latest has the highest */
    uint64_t open;    /* the number of its open transaction; 0: none */
    uint64_t last;    /* of the one that ended last in this epoch; 0: none did */
    uint64_t committed, aborted, timed_out, duration_us;
};

struct model_transaction { /* its number is its index + 1 */
    uint64_t producer_id;
    uint32_t epoch;
    enum transaction_state state;
    int64_t began_us, expires_us, ended_us;
    uint32_t message_count, ack_count, offset_count, place_count;
    struct delivery_place offsets[MODEL_SPREAD]; /* positions to be set */
    struct delivery_place places[MODEL_SPREAD];  /* partitions with messages; no group, no offset */
};

struct model_sequence { /* a message that was sent with a number */
    bool alive;
    bool transactional;
    uint64_t owner; /* transaction or producer */
    uint32_t topic_id;
    uint32_t window; /* the partition that was asked for */
    int64_t number;
    uint8_t content;
    uint32_t partition;
    uint64_t offset;
};

struct model_key { /* of a request that was done */
    uint8_t key;
    int64_t time_us;
    uint32_t count;
    struct placement placements[MODEL_ENTRIES];
    char memo[MODEL_MEMO_SIZE];
};

struct model_place { /* of a message in the model */
    uint32_t topic;
    uint32_t partition;
    uint64_t offset;
};

struct model_moved { /* a position that was set from outside */
    uint32_t group;
    uint32_t topic;
    uint32_t partition;
    uint64_t after; /* it rises over what is done or gone */
    bool back;      /* all from there on is to be delivered again */
};

struct model_effects { /* of the last command, in order */
    struct model_place appended[MODEL_ENTRIES];
    struct model_place visible[MODEL_PARTITIONS * MODEL_OFFSETS];
    struct model_place gone[MODEL_GONE];
    struct model_moved moved[MODEL_MOVED];
    uint32_t appended_count, visible_count, gone_count, moved_count;
    uint32_t begun, ended; /* transactions */
    bool groups_changed[MODEL_GROUPS];
};

struct model {
    int64_t now_us;
    uint64_t index; /* of the command at hand */
    uint32_t next_topic_id;
    uint32_t next_group_id;
    struct model_topic topics[MODEL_TOPICS];
    struct model_group groups[MODEL_GROUPS];
    struct model_resolved resolved[MODEL_RESOLVED];
    uint32_t resolved_count;
    struct model_producer producers[MODEL_PRODUCERS];
    uint32_t producer_count;
    uint64_t touches;
    struct transaction_stats retired; /* of producers that are forgotten */
    struct model_transaction transactions[MODEL_TRANSACTIONS];
    uint32_t transaction_count;
    struct model_sequence sequences[MODEL_SEQUENCES];
    uint32_t sequence_count;
    struct model_key keys[MODEL_KEYS];
    uint32_t key_count;
    struct model_effects effects;
    uint32_t turn; /* of model_compare() */
};

struct model_record { /* what the sender put in */
    enum priority priority;
    int64_t delay_us;
    int64_t deliver_at_us;
};

struct model_sent {  /* one entry of a command that appends, as its sender knows it */
    uint32_t target; /* of a PUBLISH */
    uint32_t size;
    uint32_t count;
    struct model_record records[MODEL_BATCH];
};

void model_init(struct model *m, int64_t now_us);
const char *model_topic_name(uint32_t topic); /* "acme/t3", "t0.dlq" */
const char *model_group_name(uint32_t group);
uint32_t model_member_number(struct span id);
int model_topic_by_name(const struct model *m, struct span name); /* MODEL_NOBODY: none alive */
int model_topic_by_id(const struct model *m, uint32_t id);        /* likewise */
int model_group_by_id(const struct model *m, uint32_t id);
int model_member_by_number(const struct model_group *g, uint32_t number);
/* NULL where the message is not there, or the group knows nothing of the partition. */
struct model_progress *model_find_place(struct model *m, const struct delivery_place *place);
const struct model_message *model_message_at(const struct model *m, struct model_place place);
bool model_is_done(const struct model *m, uint32_t group, struct model_place place);
bool model_is_visible(const struct model *m, struct model_place place);
const struct model_resolved *model_find_resolved(const struct model *m, uint64_t lease_id);
/* The pending message that is due first; NULL: none. */
const struct model_message *model_first_pending(const struct model *m, uint32_t topic,
                                                uint32_t partition, uint64_t *out_offset);

/* Each checks the real machine's result and follows. Times are in m->now_us. */
void model_topic_create(struct model *m, uint32_t topic, const struct command_topic_create *cmd,
                        const struct result *result);
void model_topic_delete(struct model *m, uint32_t topic, const struct result *result);
void model_add_partitions(struct model *m, uint32_t topic,
                          const struct command_topic_add_partitions *cmd,
                          const struct result *result);
void model_publish(struct model *m, const struct command_publish *cmd,
                   const struct model_sent *sent, const struct result *result);
void model_delay_due(struct model *m, const struct command_delay_due *cmd,
                     const struct result *result);
void model_delay_cancel(struct model *m, const struct command_delay_cancel *cmd,
                        const struct result *result);
void model_replay(struct model *m, const struct command_replay *cmd, const struct model_sent *sent,
                  const struct result *result);
void model_join(struct model *m, uint32_t group, const struct command_group_join *cmd,
                const struct result *result);
void model_leave(struct model *m, uint32_t group, const struct command_group_leave *cmd,
                 const struct result *result);
void model_group_delete(struct model *m, uint32_t group, const struct result *result);
void model_revoke(struct model *m, uint32_t group, const struct command_group_revoke *cmd,
                  const struct result *result);
void model_ack(struct model *m, const struct command_ack *cmd, const struct result *result);
void model_commit(struct model *m, uint32_t group, const struct command_offsets_commit *cmd,
                  const struct result *result);
void model_reset(struct model *m, uint32_t group, const struct command_offsets_reset *cmd,
                 const struct result *result);
void model_lease(struct model *m, const struct command_lease *cmd, const struct result *result);
void model_release(struct model *m, const struct command_release *cmd, const struct result *result);
void model_dead_letter(struct model *m, const struct command_dead_letter *cmd,
                       const struct model_sent *sent, const struct result *result);

/* model_transactions.c */
void model_producer_init(struct model *m, const struct command_producer_init *cmd,
                         const struct result *result);
void model_producer_heartbeat(struct model *m, const struct command_producer_heartbeat *cmd,
                              const struct result *result);
void model_begin(struct model *m, const struct command_transaction_begin *cmd,
                 const struct result *result);
void model_send(struct model *m, const struct command_transaction_publish *cmd,
                const struct model_sent *sent, const struct result *result);
void model_transaction_ack(struct model *m, const struct command_transaction_ack *cmd,
                           const struct result *result);
void model_transaction_offsets(struct model *m, uint32_t group,
                               const struct command_transaction_offsets *cmd,
                               const struct result *result);
void model_end(struct model *m, const struct command_transaction_end *cmd,
               const struct result *result);
/* Producers, transactions, and what can be asked of them. */
void model_compare_transactions(const struct model *m, const struct machine *machine,
                                struct arena *arena);

/* What the commands above share. Appends to the partition; the first offset. */
uint64_t model_append(struct model *m, uint32_t topic, uint32_t partition,
                      const struct model_sent *sent);
/* When the record is due; 0: it is visible at once. */
int64_t model_due_of(const struct model *m, const struct model_record *record);
uint64_t model_count_pending(const struct model_topic *t);
void model_make_pending(struct model *m, struct model_place place, int64_t due_us);
void model_make_gone(struct model *m, struct model_place place);
void model_mark_done(struct model *m, uint32_t group, struct model_place place);
/* May the member commit so? */
enum status model_commit_status(const struct model *m, const struct model_group *g,
                                const struct command_offsets_commit *cmd);
void model_set_position(struct model *m, uint32_t group, struct model_place place);
/* Where the position rises to when nothing but done and gone messages lie before it. */
void model_settle_position(struct model *m, uint32_t group, uint32_t topic, uint32_t partition);
void model_rise(struct model *m, uint32_t topic, uint32_t partition); /* of all groups */

/* Visible messages that the group has not done. */
uint64_t model_lag(const struct model *m, uint32_t group, uint32_t topic, uint32_t partition);

/* model_handover.c */

/* A rebalance begins; who is to read what is chosen by the real machine: model_adopt(). */
void model_begin_rebalance(struct model *m, uint32_t group, enum rebalance_reason reason);
/* Where a rebalance began, judges what was chosen, and hands over. */
void model_adopt(struct model *m, const struct machine *machine, struct arena *arena);
/* What joiners were told, after model_adopt(). */
void model_joined(const struct model *m, uint32_t group, const struct command_group_join *cmd,
                  const struct result *result);
/* Compares everything that can be asked, after model_adopt(). */
void model_compare(struct model *m, const struct machine *machine, struct arena *arena);

#endif
