/* What only the leader knows: who holds which message until when, who waits for one, who is alive.
 *
 * Runs on the shard's thread next to the machine, whose state it reads and never changes: what must
 * outlive a crash leaves as a command through `submit`. Lost on a crash without harm: messages that
 * were in flight are delivered again.
 *
 * One message's life in a group (the table is in lease.c):
 *   ready -> leased (poll) -> settling (ack: command on its way) -> done
 *                         -> ready (deadline, leave, eviction, released)
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

struct delivery;

struct poll_request;

struct delivery_options {
    uint64_t boot_id; /* random, so that lease ids of two runs never meet */
    /* Leader's own commands (join windows, evictions): encoded and journalled by the shard. Copies.
     */
    void (*submit)(void *user, const struct command *cmd);
    /* Is that client still connected? Asked before messages are leased to a poll that was parked.
     */
    bool (*connected)(void *user, struct poll_request *poll);
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
    enum status status; /* ST_OK, ST_GROUP_NOT_FOUND, ST_MEMBER_NOT_FOUND */
    bool rebalance_required;
    uint32_t current_generation;
    struct assigned *assigned;
    uint32_t assigned_count;
};

struct delivery_stats {
    uint64_t in_flight;
    uint64_t parked_polls;
    uint64_t leases_total;
    uint64_t expired_total;
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
void delivery_join(struct delivery *d, struct join_request *join, int64_t now_us);
void delivery_heartbeat(struct delivery *d, struct heartbeat_request *beat, int64_t now_us);
/* A sign of life that comes with another request (commit). */
void delivery_touch(struct delivery *d, struct span group, struct span member_id, int64_t now_us);

/* The machine's effects that concern delivery; the shard forwards them during apply. Polls that can
 * be served by them are answered in delivery_settle(), after the commands of a journal batch are
 * applied. */
void delivery_on_append(struct delivery *d, struct partition *partition);
void delivery_on_group_changed(struct delivery *d, struct group *group);
void delivery_on_member_gone(struct delivery *d, struct group *group, struct member *member);
void delivery_on_group_deleted(struct delivery *d, struct group *group);
void delivery_on_group_partition_gone(struct delivery *d, struct group_partition *gp);
void delivery_on_position_moved(struct delivery *d, struct group_partition *gp);
/* The result of a command that came from delivery's own submit (a GROUP_JOIN of a window). */
void delivery_on_joined(struct delivery *d, const struct command *cmd, const struct result *result,
                        int64_t now_us);
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
void delivery_stats_get(const struct delivery *d, struct delivery_stats *out);
uint64_t delivery_in_flight(const struct delivery *d, const struct group_partition *gp);
void delivery_check(const struct delivery *d);

#endif
