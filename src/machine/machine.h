/* The broker's durable state: apply(command) -> result. The only door to it.
 *
 * Deterministic: no I/O, no clock, no randomness, no threads; time is in the command. The same
 * commands give the same state, byte for byte, on any machine (machine_digest()). Runs on the
 * shard's thread; on one thread in tests. Message bodies pass through untouched, as an effect.
 *
 * Invariants, walked by machine_check():
 *   - a partition's offsets are dense at assignment and never reused: next_offset only rises;
 *   - start_offset <= next_offset; message_count <= next_offset - start_offset;
 *   - every subscribed partition of a group with members has exactly one owner, who subscribes to
 * it;
 *   - done sets lie above the position; position itself is never in the set;
 *   - a message is visible, pending, open or gone; visible ones of a priority other than normal are
 *     in that lane's set and no other; pending ones are in the due index, and in it once; open ones
 *     are in one open transaction, and in it once;
 *   - ids of topics and groups are unique and below the next id;
 *   - a generation never falls. */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "command/command.h"
#include "command/query.h"
#include "machine/group.h"
#include "machine/topic.h"
#include "std/arena.h"
#include "std/buf.h"

struct transaction; /* transaction.h */

/* What applying does to the world outside, in order, during machine_apply(). None may call back
 * into the machine's door. Any may be NULL. Pointers are valid during the call only. */
struct machine_effects {
    void (*topic_created)(void *user, const struct topic *topic);
    void (*topic_deleted)(void *user, const struct topic *topic); /* before it is freed */
    /* Partitions first .. partition_count - 1 are new. Before groups get to know of them. */
    void (*partitions_added)(void *user, const struct topic *topic, uint32_t first);
    /* `batch` is appended to the partition's log with this base offset and time. */
    void (*append)(void *user, struct partition *partition, uint64_t base_offset, int64_t time_us,
                   struct span batch);
    void (*group_changed)(void *user, struct group *group); /* created; members, assignment */
    /* A member left or was evicted, or its group goes; called before it is freed. */
    void (*member_gone)(void *user, struct group *group, struct member *member);
    void (*group_deleted)(void *user, struct group *group); /* before it is freed */
    /* Its position was set by a commit, possibly back. Acks do not come here. */
    void (*position_moved)(void *user, struct group_partition *gp);
    /* Messages became visible: pending ones, in the order of their time, or those of a transaction,
     * by offset. Those may be none, when all are pending now: what is behind them can be read. */
    void (*became_visible)(void *user, struct partition *partition, const struct due_entry *entries,
                           uint32_t count);
    /* The partition's first pending message, or whether there is one, is not what it was. */
    void (*due_changed)(void *user, struct partition *partition);
    /* A message was cancelled or moved away: it will not be delivered any more. */
    void (*became_gone)(void *user, struct partition *partition, uint64_t offset);
    /* A transaction has begun; or has ended, with its messages visible or gone and its acks done or
     * not. It lives till then. */
    void (*transaction_begun)(void *user, struct transaction *t);
    void (*transaction_ended)(void *user, const struct transaction *t);
    /* The partition of a group is about to be freed (topic or group deleted). */
    void (*group_partition_gone)(void *user, struct group_partition *gp);
    void *user;
};

struct machine;

struct machine *
machine_new(const struct machine_effects *effects); /* copies it; pair: machine_free */
void machine_free(struct machine *m);

/* Applies the command with journal index `index` (one more than the last).
 * Borrows: cmd and arena; *out points into the arena. Thread: the owner's. Cost: PUBLISH
 * O(batches). */
void machine_apply(struct machine *m, const struct command *cmd, uint64_t index,
                   struct arena *arena, struct result *out);
uint64_t machine_applied_index(const struct machine *m); /* 0: none yet */
int64_t machine_time_us(const struct machine *m);        /* of the last command */

void machine_query(const struct machine *m, const struct query *q, struct arena *arena,
                   struct query_result *out);

/* Borrowed; NULL if there is none. Valid until the next machine_apply(). */
struct topic *machine_find_topic(const struct machine *m, struct span qualified_name);
struct topic *machine_topic_by_id(const struct machine *m, uint32_t id);
struct group *machine_find_group(const struct machine *m, struct span qualified_name);
struct group *machine_group_by_id(const struct machine *m, uint32_t id);
/* NULL as well where the message is not there yet, or the group knows nothing of the partition. */
struct group_partition *machine_find_place(const struct machine *m,
                                           const struct delivery_place *place);
/* Calls fn for each group, in order of id. */
void machine_each_topic(const struct machine *m, void (*fn)(void *user, struct topic *),
                        void *user);
void machine_each_group(const struct machine *m, void (*fn)(void *user, struct group *),
                        void *user);

/* Those that are open, the oldest first. */
void machine_each_transaction(const struct machine *m, void (*fn)(void *user, struct transaction *),
                              void *user);

/* What became of a delivery that a client ended with nack or reject in the last 10 minutes, so that
 * a repeat of the request gets the same answer. Borrowed; NULL: not known. */
struct resolved {
    uint64_t lease_id;
    int64_t time_us;
    uint32_t delivery_count;
    enum { RESOLVED_NACKED, RESOLVED_NACKED_DEAD, RESOLVED_REJECTED } how;
    int64_t not_before_us; /* RESOLVED_NACKED */
};
const struct resolved *machine_find_resolved(const struct machine *m, uint64_t lease_id);

/* Snapshot encoding, versioned (docs/disk-format.md): the whole state after
 * machine_applied_index(). */
void machine_save(const struct machine *m, struct buf *out);
/* Into a new machine. Errors: ST_CORRUPT (nothing is trusted: every count and reference is
 * checked). */
enum status machine_load(struct machine *m, struct span bytes);
/* XXH3 over the snapshot encoding: equal states, equal digests. Cost: as machine_save(). */
uint64_t machine_digest(const struct machine *m);
/* Walks the whole state and aborts where an invariant does not hold. */
void machine_check(const struct machine *m);

#endif
