/* Random commands for the machine and its naive model: what the files of this property share. */
#ifndef TESTS_PROPERTY_MACHINE_WORLD_H
#define TESTS_PROPERTY_MACHINE_WORLD_H

#include "command/record_batch.h"
#include "tests/property/model.h"
#include "tests/property/property.h"

enum {
    JOINERS_MAX = 3,
    ACKS_MAX = 8,
    VISIBLE_MAX = MODEL_PARTITIONS * MODEL_OFFSETS,
    CHANGED_MAX = MODEL_TOPICS * MODEL_PARTITIONS,
    REVOKED_MAX = 12,
    RESETS_MAX = 3,
    LEASE_IDS = 300, /* few, so that they meet again */
};

struct seen_append { /* as the effect reported it */
    uint32_t topic_id;
    uint32_t partition;
    uint64_t base_offset;
};

struct seen { /* effects of the last command */
    struct seen_append appended[MODEL_ENTRIES], gone[MODEL_GONE];
    struct due_entry visible[VISIBLE_MAX];
    bool moving[MODEL_TOPICS][MODEL_PARTITIONS]; /* readers in strict order were told of news */
    struct seen_append changed[CHANGED_MAX];     /* whose first pending message may have changed */
    uint32_t appended_count, gone_count, visible_count, changed_count;
    uint32_t members_gone, partitions_gone, positions_moved, partitions_added;
    uint32_t begun, ended; /* transactions */
    bool groups_changed[MODEL_GROUPS];
};

struct machine_world {
    struct dice dice;
    struct machine *machine;
    struct model *model;
    struct buf journal; /* every record, one after the other */
    struct buf entries; /* of the command at hand: its batches */
    struct arena arena;
    uint64_t index;
    uint32_t next_member;
    bool cooperative;                                    /* of this round: most members are */
    uint64_t stable_end[MODEL_TOPICS][MODEL_PARTITIONS]; /* before the command, as the next */
    int64_t first_due[MODEL_TOPICS][MODEL_PARTITIONS]; /* before the command; 0: nothing pending */
    struct seen seen;
};

static inline uint64_t below(struct machine_world *w, uint64_t bound)
{
    return dice_below(&w->dice, bound);
}

static inline bool one_in(struct machine_world *w, uint64_t n)
{
    return dice_one_in(&w->dice, n);
}

/* machine.c: applies it, by way of its encoding as in the broker. */
void machine_world_apply(struct machine_world *w, struct command *cmd, struct result *out);

/* machine_steps.c */
void step_topic_create(struct machine_world *w);
void step_topic_delete(struct machine_world *w);
void step_publish(struct machine_world *w);
void step_join(struct machine_world *w);
void step_leave(struct machine_world *w);
void step_group_delete(struct machine_world *w);
/* Mostly one of the group's members; else one that is new, left or never was. */
uint32_t pick_member(struct machine_world *w, uint32_t group);
struct span member_id(struct machine_world *w, uint32_t number);
/* Appends a batch with random records to w->entries and says what is in it. */
void put_batch(struct machine_world *w, uint32_t count, struct model_sent *out);
/* Is there room in the model for one more command that appends? */
bool has_space(const struct machine_world *w, uint32_t topic);

/* machine_handover.c */
void step_add_partitions(struct machine_world *w);
void step_revoke(struct machine_world *w);
void step_revoke_expired(struct machine_world *w);
void step_reset(struct machine_world *w);

/* machine_deliveries.c */

/* A message near the position of a group that reads it, if there is one. */
struct delivery_place pick_place(struct machine_world *w);
/* Positions that a member may commit, mostly. False: none was found. */
bool pick_commit(struct machine_world *w, struct offset_entry *entries,
                 struct command_offsets_commit *out, uint32_t *out_group);
void step_ack(struct machine_world *w);
void step_commit(struct machine_world *w);
void step_lease(struct machine_world *w);
void step_release(struct machine_world *w);
void step_dead_letter(struct machine_world *w);
void step_delay_due(struct machine_world *w);
void step_delay_cancel(struct machine_world *w);
void step_replay(struct machine_world *w);

/* machine_transactions.c */
void step_producer_init(struct machine_world *w);
void step_producer_heartbeat(struct machine_world *w);
void step_begin(struct machine_world *w);
void step_send(struct machine_world *w);
void step_transaction_ack(struct machine_world *w);
void step_transaction_offsets(struct machine_world *w);
void step_end(struct machine_world *w);
void step_expire(struct machine_world *w);

#endif
