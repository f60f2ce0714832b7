/* What the files of the machine share, and nobody else sees: the state itself and one function for
 * each command. */
#ifndef MACHINE_STATE_H
#define MACHINE_STATE_H

#include "machine/idempotency.h"
#include "machine/machine.h"
#include "machine/resolved.h"
#include "machine/transaction.h"
#include "std/map.h"

struct machine {
    struct machine_effects effects;
    uint64_t applied_index;
    int64_t time_us;
    uint32_t next_topic_id; /* 1 first */
    uint32_t next_group_id; /* 1 first */
    struct topic **topics;  /* owned; by id */
    uint32_t topic_count;
    uint32_t topic_capacity;
    struct group **groups; /* owned; by id */
    uint32_t group_count;
    uint32_t group_capacity;
    uint64_t partition_total;
    struct resolved_book resolved;
    struct producer_book producers;
    struct transaction_book transactions;
    struct idempotency_book idempotency;
    struct map topics_by_name;
    struct map topics_by_id;
    struct map groups_by_name;
    struct map groups_by_id;
};

/* Calls an effect if there is one. */
#define EFFECT(m, name, ...)                                                                       \
    do {                                                                                           \
        if ((m)->effects.name != NULL)                                                             \
            (m)->effects.name((m)->effects.user, __VA_ARGS__);                                     \
    } while (0)

/* One for each command, apply_*.c. `out` is zeroed: status is ST_OK. */
#define COMMAND(number, NAME, name)                                                                \
    void apply_##name(struct machine *m, const struct command_##name *cmd, struct arena *arena,    \
                      struct result *out);
#include "command/commands.def"
#undef COMMAND

/* topic.c */
struct topic *topic_new(uint32_t id, struct span name, uint32_t partition_count);
void topic_free(struct topic *t);
void machine_add_topic(struct machine *m, struct topic *t); /* takes t; its id is the highest */
void machine_remove_topic(struct machine *m, struct topic *t);
/* A new topic with the next id, as TOPIC_CREATE makes it. NULL: there are too many. */
struct topic *machine_create_topic(struct machine *m, struct span name, uint32_t partition_count,
                                   const struct topic_settings *settings);
/* More partitions, up to `partition_count`. False: there would be too many of all topics. */
bool machine_grow_topic(struct machine *m, struct topic *t, uint32_t partition_count);

/* partition.c */
void partition_fini(struct partition *p);
struct exceptions *partition_need_exceptions(struct partition *p);
/* How many records of the batch, which was decoded, are delayed beyond the machine's time. */
uint32_t partition_count_delayed(const struct machine *m, struct span batch,
                                 const struct batch_header *header);
/* Gives the batch its offsets, counts it in, and appends it. */
uint64_t partition_append(struct machine *m, struct partition *p, struct span batch);
/* The same for a batch of one message, which stays open: hidden until its transaction ends. Gives:
 * its offset, priority and time in *out. */
void partition_append_open(struct machine *m, struct partition *p, struct span batch,
                           struct transaction_message *out);
/* Open before: visible now, or pending. All of one partition; ascending. */
void partition_make_visible(struct machine *m, struct partition *p,
                            const struct transaction_message *messages, uint32_t count,
                            struct arena *arena);
/* Visible, pending or open before, gone now: no group waits for it any more. */
void partition_make_gone(struct machine *m, struct partition *p, uint64_t offset,
                         enum priority priority);

/* group.c */
struct group *group_new(uint32_t id, struct span name);
void group_free(struct group *g);
void machine_add_group(struct machine *m, struct group *g); /* takes g; its id is the highest */
void machine_remove_group(struct machine *m, struct group *g);

struct member *group_add_member(struct group *g, struct span id, struct span client_id);
void group_remove_member(struct group *g, struct member *member); /* frees it; it owns nothing */
/* The partition of the group, made without position and owner if there is none. */
struct group_partition *group_need_partition(struct group *g, struct partition *p);
void group_add_departed(struct group *g, struct span member_id, int64_t now_us);
void group_load_departed(struct group *g, struct span member_id, int64_t time_us); /* as it was */
void group_partition_free(struct group_partition *gp);

/* apply_producer.c: the producer, whose sign of life this is. NULL with a status. */
struct producer *machine_use_producer(struct machine *m, const struct producer_ref *ref,
                                      struct result *out);

/* save_transactions.c: producers and transactions, after topics and groups. */
void machine_save_transactions(const struct machine *m, struct buf *out);
void machine_load_transactions(struct machine *m, struct wire_reader *r);

/* apply_transaction.c: ends and frees it. */
void machine_end_transaction(struct machine *m, struct transaction *t, enum transaction_state state,
                             struct arena *arena);

/* apply_progress.c */

/* The partitions that a commit of offsets is about, one an entry; NULL with a status. */
struct group_partition **machine_find_committed(const struct machine *m,
                                                const struct command_offsets_commit *cmd,
                                                struct arena *arena, struct result *out);
/* Forward, what is done stays done: the position goes on over messages that were acked before.
 * Back, everything from the offset on is delivered again. */
void machine_set_position(struct machine *m, struct group_partition *gp, uint64_t offset);

/* progress.c */

/* The first offset >= from that is neither done nor gone. */
uint64_t group_partition_next_open(const struct group_partition *gp, uint64_t from);
/* Marks a message that is not done as such. True: the position rose. */
bool group_partition_mark_done(struct group_partition *gp, uint64_t offset);
/* The message has become gone: the position may rise. */
void group_partition_lose(struct group_partition *gp, uint64_t offset);
/* Back to the offset, by the command with this index: all from there on is to be delivered again.
 */
void group_partition_rewind(struct group_partition *gp, uint64_t offset, uint64_t index);
/* On to the offset: what is done beyond it stays done. */
void group_partition_advance(struct group_partition *gp, uint64_t offset);
struct retry *group_partition_need_retry(struct group_partition *gp, uint64_t offset);
void group_partition_drop_retry(struct group_partition *gp, uint64_t offset); /* if there is one */
void group_partition_clear_retries(struct group_partition *gp);
void retry_set_reason(struct retry *retry, struct span reason);
bool member_subscribes(const struct member *member, uint32_t topic_id);
/* Takes topic_ids, ascending. */
void member_subscribe(struct member *member, uint32_t *topic_ids, uint32_t topic_count);

/* rebalance.c */

/* Assigns anew, creates what members need of partitions, fills member->assigned. Partitions of
 * cooperative members are asked for; if there are none of those, or when they are let go of, a new
 * generation begins. Ends with the group_changed effect. */
void group_rebalance(struct machine *m, struct group *g, enum rebalance_reason reason);
/* Fills member->assigned of all members from the owners of partitions. `generation`: what
 * changed_generation becomes where that differs from before; 0: leave it. */
void group_fill_assigned(struct group *g, uint32_t generation);
/* Drops all that the group knows of the topic, subscriptions included. */
void group_drop_topic(struct machine *m, struct group *g, const struct topic *t);

/* handover.c */

/* The partition's owner is `to` from now on. */
void group_partition_move(const struct machine *m, struct group_partition *gp, struct member *to);
bool group_is_rebalancing(const struct group *g); /* partitions are still to be let go of */
/* Fills member->assigned after partitions were moved. A new generation begins unless some are still
 * to be let go of. Ends with the group_changed effect. */
void group_settle(struct machine *m, struct group *g);
/* The member is about to be removed: it owns nothing any more and gets nothing. */
void member_let_go(struct member *member);

/* query.c: what a member reads, copied into the arena; *out_count of them. */
struct assigned *member_copy_assigned(const struct member *member, struct arena *arena,
                                      uint32_t *out_count);

/* query_delayed.c */
void query_delayed(const struct topic *t, const struct query *q, struct arena *arena,
                   struct query_result *out);

/* query_transactions.c */
void query_transactions(const struct machine *m, const struct query *q, struct arena *arena,
                        struct query_result *out);
void query_transaction(const struct machine *m, const struct query *q, struct arena *arena,
                       struct query_result *out);

/* invariants.c: NULL, or which invariant does not hold. */
const char *machine_find_broken(const struct machine *m);

static inline struct span topic_name(const struct topic *t)
{
    return span_text(t->name);
}

#endif
