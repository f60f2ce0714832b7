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
void step_heartbeat(struct picture *p);
void step_poll(struct picture *p);
void step_ack_receipts(struct picture *p);
void step_resolve(struct picture *p);
void step_give_back(struct picture *p);
void step_commit_offset(struct picture *p);
void step_dead_letters(struct picture *p);

/* What they are made of. */
void join_with(struct picture *p, uint32_t group, uint32_t number, struct joiner joiner,
               const bool topics[MODEL_TOPICS]);
void poll_with(struct picture *p, uint32_t group, uint32_t number, int64_t generation,
               uint32_t messages_max, int64_t wait_us);
void ack_with(struct picture *p, const struct receipt *receipts, uint32_t count);

#endif
