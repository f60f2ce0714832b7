/* Deliveries: who holds which message until when, who waits for one, who is alive.
 *
 * Runs on the shard's thread next to the machine, whose state it reads and never changes: what must
 * outlive a crash leaves as a command through `submit`. The rest is lost on a crash without harm.
 *
 * One message's life in a group (the table is in lease.c):
 *   ready -> leased (poll) -> settling (ack, nack, reject: command on its way) -> done, or waits
 * again
 *                         -> ready (deadline, leave, eviction, released)
 * What a restart must know of it, deadlines and counts, leaves as LEASE and RELEASE commands.
 *
 * Invariants (delivery_check): a message is leased to at most one member of a group; every lease
 * has a timer; a parked poll is on its member's list and has a timer; settling leases have none.
 *
 * Times given to it never need to rise; the latest counts. `done` callbacks run inside these
 * functions and must not call back into delivery. */
#ifndef DELIVERY_DELIVERY_H
#define DELIVERY_DELIVERY_H

#include "command/command.h"
#include "command/query.h"
#include "machine/machine.h"
#include "std/arena.h"
#include "std/list.h"

struct delivery;

struct poll_request;
struct dead_letter_job;
struct keys_job;

struct delivery_options {
    uint64_t boot_id; /* random, so that lease ids of two runs never meet */
    /* Delivery's own commands (join windows, evictions, leases, due messages): encoded and
     * journalled by the shard. Copies. */
    void (*submit)(void *user, const struct command *cmd);
    /* Is that client still connected? Asked before messages are leased to a poll that was parked.
     */
    bool (*connected)(void *user, struct poll_request *poll);
    /* Have the message read and a DEAD_LETTER command for it journalled; takes the job until
     * delivery_dead_letter_end(). */
    void (*dead_letter)(void *user, struct dead_letter_job *job);
    /* Have the keys of messages read; takes the job until delivery_keys_end(). */
    void (*read_keys)(void *user, struct keys_job *job);
    void *user;
};

/* A poll, owned by the asker until `done` is called (on the shard's thread, at once or later). */
struct poll_request {
    struct span group; /* qualified */
    struct span member_id;
    int64_t generation; /* -1: not compared; else ST_STALE_GENERATION when old */
    uint32_t messages_max;
    int64_t wait_us;     /* 0: do not wait */
    struct arena *arena; /* results are allocated here */
    void (*done)(struct poll_request *poll);
    /* Results. */
    enum status status;
    struct delivered_run *runs;
    uint32_t run_count;
    uint32_t current_generation;
    bool rebalance_required; /* only when generation was given */
    /* Delivery's own. */
    struct poll_wait *wait;
};

struct delivered { /* one message of a run */
    uint64_t offset;
    uint64_t lease_id;
    uint32_t delivery_count;
    int64_t first_us; /* when it was delivered first */
};

/* Ascending offsets of one partition, in the order of delivery. A partition may have several runs:
 * one ends where the next offset is far away. */
struct delivered_run {
    struct span topic; /* qualified */
    uint32_t group_id;
    uint32_t topic_id;
    uint32_t partition;
    struct partition *source; /* for the shard, to find the log; not for other threads */
    void *range;              /* the shard's: struct log_range of where to read */
    struct delivered *messages;
    uint32_t count;
    int64_t deadline_us;
};

/* A receipt, opened and authenticated by the I/O thread. */
struct receipt {
    uint32_t group_id;
    uint32_t topic_id;
    uint32_t partition;
    uint32_t delivery_count;
    uint64_t offset;
    uint64_t lease_id;
};

/* Acks: one or many, all of one group (an ACK command is for one group; the asker splits).
 * delivery_ack_begin() judges each receipt and gives the command for those that need one
 * (command.ack.entry_count 0: none, no end); after its apply, delivery_ack_end() frees the leases.
 * If the journal fails in between, the broker stops, so there is no way back. */
struct ack_request {
    struct receipt *receipts;
    uint32_t count;
    struct arena *arena;
    /* Results, one a receipt. */
    struct acked *acked; /* status: ST_OK, ST_RECEIPT_EXPIRED (410), ST_MESSAGE_NOT_FOUND (404);
                            ST_INVALID_ARGUMENT: not of the first receipt's group */
    uint32_t *in_flight; /* of the group's partition, afterwards */
    /* Between begin and end. */
    struct command command; /* its ack.entries[i] belongs to receipts[entry_receipt[i]] */
    uint32_t *entry_receipt;
};

/* Acks in a transaction: all of the receipts, which are of one group, or none. */
struct transaction_ack_request {
    struct producer_ref producer;
    struct receipt *receipts;
    uint32_t count; /* 1..ACKS_PER_COMMAND_MAX */
    struct arena *arena;
    /* Results. */
    enum status status; /* of the receipt: ST_RECEIPT_EXPIRED, ST_MESSAGE_NOT_FOUND,
                           ST_TRANSACTION_IN_PROGRESS: it is in another one's; of the transaction:
                           ST_PRODUCER_*, ST_NO_TRANSACTION, ... */
    uint32_t refused;   /* index of the receipt that is to blame; count: none is */
    /* Between begin and end. */
    struct command command; /* entry_count 0: none */
};

/* What a client does with one delivery instead of acknowledging it. */
enum resolve_kind {
    RESOLVE_NACK,   /* to be delivered again, after delay_us */
    RESOLVE_REJECT, /* never again: a dead letter */
    RESOLVE_EXTEND, /* the deadline is delay_us from now */
};

/* Owned by the asker until it is answered. A nack goes through the journal in between:
 * delivery_resolve_begin() leaves `command` for it. */
struct resolve_request {
    enum resolve_kind kind;
    struct receipt receipt;
    int64_t delay_us; /* RESOLVE_NACK: -1: the visibility timeout of the delivery */
    struct span reason;
    struct arena *arena;
    void (*done)(struct resolve_request *resolve); /* after a dead letter; the shard's thread */
    /* Results. */
    enum status status; /* ST_OK, ST_RECEIPT_EXPIRED (410), ST_MESSAGE_NOT_FOUND (404),
                           ST_QUOTA_EXCEEDED: no dead-letter topic can be made, ST_IO */
    bool already;       /* a repeat: nothing happened */
    bool dead;          /* the message is a dead letter; of a nack: it was the last allowed one */
    struct span topic;  /* qualified, of the message */
    struct span dead_letter; /* qualified, its dead-letter topic; size 0: dropped */
    uint32_t delivery_count;
    int64_t next_us; /* RESOLVE_NACK: delivered again from then on; RESOLVE_EXTEND: the deadline */
    /* Between begin and end. */
    struct command command; /* entry_count 0: none */
    struct release_entry entry;
};

/* A message on its way to the dead-letter topic. One allocation; the spans lie behind the struct.
 */
struct dead_letter_job {
    struct list_node link; /* whose job it is */
    struct delivery_place place;
    uint64_t lease_id;
    uint32_t delivery_count;
    enum dead_letter_reason reason;
    struct span topic; /* qualified, of the message, as the next two */
    struct span group;
    struct span member_id;         /* who had it last; size 0: not known */
    struct span error;             /* of the reject, or of the last nack */
    int64_t first_us;              /* of the first delivery; 0: not known */
    int64_t last_us;               /* of the last */
    bool drop;                     /* nothing is appended: it comes from a dead-letter topic */
    struct resolve_request *asked; /* who waits for it; NULL: a deadline passed */
    struct partition *source;      /* for the shard, to find the log; not for other threads */
    void *range;                   /* the shard's: struct log_range of where to read */
};

/* Keys that delivery needs for keeping an order, on their way from the log. */
struct keys_job {
    struct list_node link; /* whose job it is */
    uint64_t id;           /* delivery's, as `window` */
    uint8_t window;
    struct delivery_place place; /* offset: of the first message */
    uint32_t count_max;
    uint32_t *keys;           /* owned: key_hash() of the messages from there on; malloc */
    uint32_t count;           /* of those; 1 at least, so that there is progress */
    struct partition *source; /* for the shard, to find the log; not for other threads */
    void *range;              /* the shard's: struct log_range of where to read */
};

/* Joins wait here while their group is empty (join window 250 ms, prolonged, 1 s at most). */
struct join_request {
    struct span group;
    struct joiner joiner;
    struct arena *arena;
    void (*done)(struct join_request *join);
    struct result result; /* of the GROUP_JOIN command; joined[index] is this one's */
    uint32_t index;
    struct join_request *next; /* delivery's */
};

struct heartbeat_request {
    struct span group;
    struct span member_id;
    int64_t generation; /* -1: not compared */
    struct arena *arena;
    bool cooperative;   /* the route for it: what was gained counts as told from now on */
    enum status status; /* ST_OK, ST_GROUP_NOT_FOUND, ST_MEMBER_NOT_FOUND */
    bool rebalance_required;
    uint32_t current_generation;
    struct assigned *assigned;
    uint32_t assigned_count;
    /* The rest for cooperative ones only. */
    struct assigned *to_revoke; /* of `assigned`: to be let go of */
    uint32_t to_revoke_count;
    struct assigned *gained; /* of `assigned`: new since the last cooperative heartbeat or join */
    uint32_t gained_count;
    int64_t revoke_by_us;    /* the earliest time for those to revoke; 0: none */
    bool waits;              /* others are still to let go of partitions for this member */
    bool member_cooperative; /* else partitions are taken from it without asking */
};

struct delivery_stats {
    uint64_t in_flight;
    uint64_t parked_polls;
    uint64_t leases_total;
    uint64_t expired_total;
    uint64_t extended_total;
    uint64_t retries_total; /* deliveries beyond a message's first */
    uint64_t waiting;       /* messages that wait to be delivered again */
    uint64_t held_back;     /* messages that wait for their key */
    uint64_t
        dead_topic_errors_total; /* dead letters that failed: no topic could be made for them */
    uint64_t dead_letter_errors_total; /* likewise: could not be read or journalled */
    uint64_t sessions_expired_total;
};

/* Borrows: machine, which must outlive it. Copies options. Pair: delivery_free(). */
struct delivery *delivery_new(struct machine *machine, const struct delivery_options *options);
/* Before machine_free(). Joins that are still waiting get ST_NOT_READY; polls must have been
 * drained. Accepts NULL. */
void delivery_free(struct delivery *d);

/* Takes over after a restart: sessions of all members start now. */
void delivery_start(struct delivery *d, int64_t now_us);

void delivery_poll(struct delivery *d, struct poll_request *poll, int64_t now_us);
/* The messages of a poll that could not be answered: available again at once, the delivery
 * uncounted. */
void delivery_release(struct delivery *d, const struct receipt *receipts, uint32_t count,
                      int64_t now_us);
void delivery_ack_begin(struct delivery *d, struct ack_request *ack, int64_t now_us);
void delivery_ack_end(struct delivery *d, struct ack_request *ack, const struct result *result,
                      int64_t now_us);
/* True: it is answered. False: its command is to be journalled, and then the end. */
bool delivery_transaction_ack_begin(struct delivery *d, struct transaction_ack_request *ack,
                                    int64_t now_us);
void delivery_transaction_ack_end(struct delivery *d, struct transaction_ack_request *ack,
                                  const struct result *result, int64_t now_us);
/* True: it is answered, without a call of `done`. False: if command.release.entry_count is 1, that
 * command is to be journalled and delivery_resolve_end() called with its result; else `done` is
 * called when the dead letter is made. */
bool delivery_resolve_begin(struct delivery *d, struct resolve_request *resolve, int64_t now_us);
/* Fills in the results; does not call `done`. */
void delivery_resolve_end(struct delivery *d, struct resolve_request *resolve,
                          const struct result *result, int64_t now_us);
/* The job's DEAD_LETTER command was applied (`dead`: its entry of the result), or it failed on the
 * way (dead->status is not ST_OK). Frees the job. */
void delivery_dead_letter_end(struct delivery *d, struct dead_letter_job *job,
                              const struct dead_lettered *dead, int64_t now_us);
/* The job's keys are there. Frees it. */
void delivery_keys_end(struct delivery *d, struct keys_job *job, int64_t now_us);
void delivery_join(struct delivery *d, struct join_request *join, int64_t now_us);
void delivery_heartbeat(struct delivery *d, struct heartbeat_request *beat, int64_t now_us);
/* A sign of life that comes with another request (commit). */
void delivery_touch(struct delivery *d, struct span group, struct span member_id, int64_t now_us);

/* The machine's effects that concern delivery; the shard forwards them during apply. Polls that can
 * be served by them are answered in delivery_settle(), after the commands of a journal batch are
 * applied. */
void delivery_on_append(struct delivery *d, struct partition *partition, uint64_t base_offset,
                        struct span batch);
void delivery_on_group_changed(struct delivery *d, struct group *group);
void delivery_on_member_gone(struct delivery *d, struct group *group, struct member *member);
void delivery_on_group_deleted(struct delivery *d, struct group *group);
void delivery_on_group_partition_gone(struct delivery *d, struct group_partition *gp);
void delivery_on_position_moved(struct delivery *d, struct group_partition *gp);
void delivery_on_became_visible(struct delivery *d, struct partition *partition,
                                const struct due_entry *entries, uint32_t count);
void delivery_on_due_changed(struct delivery *d, struct partition *partition);
void delivery_on_became_gone(struct delivery *d, struct partition *partition, uint64_t offset);
void delivery_on_transaction_begun(struct delivery *d, struct transaction *t);
void delivery_on_transaction_ended(struct delivery *d, const struct transaction *t);
void delivery_on_topic_deleted(struct delivery *d, const struct topic *topic);
/* The result of a command that came from delivery's own submit. */
void delivery_on_own_applied(struct delivery *d, const struct command *cmd,
                             const struct result *result, int64_t now_us);
void delivery_settle(struct delivery *d, int64_t now_us);

/* Runs what is due (expired leases and sessions, ended waits, join windows), a bounded number of
 * things a call. Gives the time of the next thing to do, INT64_MAX if none; it may have passed:
 * call again after other work. */
int64_t delivery_run_timers(struct delivery *d, int64_t now_us);
/* Answers every parked poll with an empty list and open join windows with ST_NOT_READY: the broker
 * is going down. Joins whose command is under way still get its result; nothing is parked any more.
 */
void delivery_drain(struct delivery *d);

void delivery_fill_group_info(const struct delivery *d, struct group_info *info); /* last_seen_us */
void delivery_fill_in_flight(const struct delivery *d, const struct topic *topic,
                             struct arena *arena, struct in_flight_info *info);
void delivery_stats_get(const struct delivery *d, struct delivery_stats *out);
uint64_t delivery_in_flight(const struct delivery *d, const struct group_partition *gp);
void delivery_check(const struct delivery *d);

#endif
