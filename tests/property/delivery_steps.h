/* One random thing each, done to the real machine and delivery and judged by the picture. */
#ifndef TESTS_PROPERTY_DELIVERY_STEPS_H
#define TESTS_PROPERTY_DELIVERY_STEPS_H

#include "tests/property/picture.h"

void step_publish_messages(struct picture *p);
void step_cancel(struct picture *p);
void step_replay_dead(struct picture *p);
void step_create_topic(struct picture *p);
void step_delete(struct picture *p);
void step_join_group(struct picture *p);
void step_leave_group(struct picture *p);
void step_poll(struct picture *p);
void step_ack_receipts(struct picture *p);
void step_resolve(struct picture *p);
void step_give_back(struct picture *p);
void step_commit_offset(struct picture *p);
void step_dead_letters(struct picture *p);

/* delivery_groups.c */
void step_heartbeat(struct picture *p);
void step_revoke_some(struct picture *p);
void step_add_partition(struct picture *p);
void step_reset_offsets(struct picture *p);

/* delivery_transactions.c */
void step_transaction(struct picture *p);

enum { COMMITTED_MAX = 2 };

/* What they are made of. */
/* One of the last ones, mostly. False: there is none. */
bool picture_pick_receipt(struct picture *p, struct receipt *out);
/* Appends a batch with random records. */
void picture_put_messages(struct picture *p, uint32_t count, struct buf *out,
                          struct model_sent *sent);
/* Positions that a member may commit, mostly. False: none was found. */
bool picture_pick_commit(struct picture *p, struct offset_entry *entries,
                         struct command_offsets_commit *out);
uint32_t picture_pick_member(struct picture *p, uint32_t group); /* mostly one that is there */
int64_t picture_pick_generation(struct picture *p, uint32_t group);
struct span picture_id_of(struct picture *p,
                          uint32_t number); /* "m<number>", in the picture's arena */
bool picture_journal_is_full(const struct picture *p);
void join_with(struct picture *p, uint32_t group, uint32_t number, struct joiner joiner,
               const bool topics[MODEL_TOPICS]);
void poll_with(struct picture *p, uint32_t group, uint32_t number, int64_t generation,
               uint32_t messages_max, int64_t wait_us);
void ack_with(struct picture *p, const struct receipt *receipts, uint32_t count);

#endif
