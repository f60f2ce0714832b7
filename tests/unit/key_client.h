/* Clients of the world that send messages with keys, for the suites about their order. */
#ifndef TESTS_UNIT_KEY_CLIENT_H
#define TESTS_UNIT_KEY_CLIENT_H

#include "tests/unit/delivery_client.h"

enum { MANY = 1000 };

/* A message for each letter, with that as its key; without one for '.'. */
static inline void send(uint32_t partition, enum priority priority, int64_t delay_us,
                        const char *keys)
{
    struct record records[MANY];
    while (*keys != '\0') {
        uint32_t count = 0;
        for (; count < MANY && *keys != '\0'; keys++)
            records[count++] = (struct record){
                .key = span_of((const uint8_t *)keys, *keys == '.' ? 0 : 1),
                .value = span_text("m"),
                .priority = priority,
                .delay_us = delay_us,
            };
        publish_records("orders", partition, records, count);
    }
}

static inline void join_as(struct client *c, enum ordering ordering)
{
    c->join.joiner.ordering = ordering;
    join_now(c, MANY * 100);
}

/* The same member again, with another ordering and nothing else. */
static inline void reorder(struct client *c, enum ordering ordering)
{
    c->join.joiner.rejoin = true;
    c->joins_done = 0;
    join_as(c, ordering);
    settle();
}

/* Polls what there is and checks that it is just this, in the order of offsets. */
static inline void expect(struct client *c, const char *offsets)
{
    char got[256] = "";
    for (uint32_t count;
         (count = poll_now(c, MANY)) > 0;) /* it ends early where a key is asked for */
        for (uint32_t i = 0; i < count; i++)
            (void)snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d",
                           got[0] == '\0' ? "" : " ", (int)message_of(c, 0, i)->offset);
    ck_assert_str_eq(got, offsets);
}

/* The receipt of the message's delivery at hand. */
static struct receipt at(uint32_t partition, uint64_t offset)
{
    const struct lease *lease = lease_of(partition, offset);
    ck_assert_ptr_nonnull(lease);
    const struct group_partition *gp = lease->readout->gp;
    return (struct receipt){.group_id = gp->group->id,
                            .topic_id = gp->partition->topic->id,
                            .partition = partition,
                            .delivery_count = lease->delivery_count,
                            .offset = offset,
                            .lease_id = lease->id};
}

/* Time passes while all members are alive. */
static inline void live(int64_t us)
{
    struct client *clients[] = {&alice, &bob, &carol};
    for (; us > 0; us -= WORLD_SECOND) {
        for (int i = 0; i < 3; i++)
            delivery_touch(world.delivery, span_text("workers"), span_text(clients[i]->member_id),
                           world.now_us);
        pass(us < WORLD_SECOND ? us : WORLD_SECOND);
    }
}

static inline const struct member *alice_member(void)
{
    const struct group *group = machine_find_group(world.machine, span_text("workers"));
    return group_find_member(group, span_text(alice.member_id));
}

static inline void done(uint64_t offset)
{
    ck_assert_int_eq(ack_now(&alice, at(0, offset))->status, ST_OK);
}

static inline enum lease_state state_of(uint32_t partition, uint64_t offset)
{
    const struct lease *lease = lease_of(partition, offset);
    return lease == NULL ? LEASE_FREE : (enum lease_state)lease->state;
}

#endif
