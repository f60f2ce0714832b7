/* Random joins, leaves, hand-overs, polls, acks, nacks, rejects, extensions, commits, resets,
 * transactions, publishes, cancellations, replays, deletions, new partitions, restarts and time
 * steps over a machine and its delivery, against a naive picture of them (picture.h). Commands are
 * applied late and in order, as behind a journal.
 *
 * After every step: machine_check(), delivery_check(), and every answer, every parked poll, every
 * command that delivery asked for and every number that can be asked is what the picture says. At
 * the end all messages come to the member that is left, or are dead letters, or cancelled. */
#include "std/alloc.h"
#include "std/check.h"
#include "tests/property/delivery_steps.h"

#include <stdlib.h>

void property_delivery(uint64_t seed);

enum { STEPS = 500, DRAIN_ROUNDS = 40 };

static void check(struct picture *p)
{
    machine_check(p->world.machine);
    delivery_check(p->world.delivery);
    model_compare(&p->model, p->world.machine, &p->arena);
    picture_compare(p);
    picture_end_requests(p);
    arena_clear(&p->arena);
}

static void apply_some(struct picture *p, uint64_t count)
{
    while (count-- > 0 && world_apply(&p->world))
        ;
}

static void pick_and_run(struct picture *p)
{
    static const struct {
        void (*run)(struct picture *p);
        unsigned weight;
    } steps[] = {
        {step_publish_messages, 13}, {step_cancel, 2},       {step_replay_dead, 3},
        {step_create_topic, 6},      {step_join_group, 8},   {step_leave_group, 2},
        {step_heartbeat, 6},         {step_poll, 22},        {step_ack_receipts, 12},
        {step_resolve, 12},          {step_give_back, 2},    {step_commit_offset, 3},
        {step_dead_letters, 5},      {step_revoke_some, 2},  {step_add_partition, 1},
        {step_reset_offsets, 1},     {step_transaction, 25},
    };
    uint64_t dice = roll(p, 125);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (dice < steps[i].weight) {
            steps[i].run(p);
            return;
        }
        dice -= steps[i].weight;
    }
}

static void step(struct picture *p)
{
    uint64_t dice = roll(p, 1000);
    p->index++;
    p->world.connected = roll(p, 10) > 0;
    if (dice < 5)
        step_delete(p);
    else if (dice < 18)
        picture_restart(p, roll(p, 2) == 0 ? RESTART_SHUTDOWN : RESTART_CRASH, roll(p, 2) == 0);
    else if (dice < 20)
        picture_pass(p, (int64_t)roll(p, 700 * WORLD_SECOND));
    else if (dice < 26)
        picture_pass(p, (int64_t)roll(p, 70 * WORLD_SECOND));
    else if (dice < 80)
        picture_pass(p, (int64_t)roll(p, 12 * WORLD_SECOND));
    else if (dice < 250)
        picture_pass(p, (int64_t)roll(p, 400000));
    else
        for (uint64_t i = 1 + roll(p, 2) * roll(p, 3); i > 0; i--)
            pick_and_run(p);
    if (roll(p, 2) == 0)
        apply_some(p, roll(p, 2) == 0 ? 1 + roll(p, 3) : UINT64_MAX);
    picture_settle(p);
    check(p);
}

static void settle_all(struct picture *p)
{
    for (;;) {
        apply_some(p, UINT64_MAX);
        picture_settle(p);
        check(p);
        if (p->world.journal_count == 0 && p->job_count == 0)
            break;
        picture_make_jobs(p, MODEL_ENTRIES);
    }
}

static void ack_last(struct picture *p, uint64_t count)
{
    struct receipt receipts[RECEIPTS_PER_ACK];
    while (count > 0) {
        uint32_t used = 0;
        for (; used < RECEIPTS_PER_ACK && count > 0; count--)
            receipts[used++] = p->receipts[(p->receipt_count - count) % RECEIPTS_MAX];
        ack_with(p, receipts, used);
    }
}

static bool is_drained(struct picture *p)
{
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
        struct model_place at = {0};
        for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++) {
            const struct model_topic *t = &p->model.topics[at.topic];
            for (at.partition = 0; t->alive && at.partition < t->partition_count; at.partition++)
                for (at.offset = 0; at.offset < t->partitions[at.partition].next; at.offset++)
                    if (!model_is_done(&p->model, g, at))
                        return false;
        }
    }
    return true;
}

/* One new member a group reads all topics until every message is done, a dead letter (and done in
 * its own topic) or cancelled. */
static void drain(struct picture *p)
{
    for (unsigned i = 0; i < 13; i++) { /* sessions and deadlines end: no new dead letters */
        picture_pass(p, 30 * WORLD_SECOND);
        settle_all(p);
    }
    bool topics[MODEL_TOPICS] = {false};
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        topics[t] = p->model.topics[t].alive;
    if (memchr(topics, true, sizeof topics) == NULL)
        return;
    uint32_t numbers[PICTURE_GROUPS];
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
        numbers[g] = ++p->next_member;
        join_with(p, g, numbers[g],
                  (struct joiner){.session_us = 3600 * WORLD_SECOND,
                                  .in_flight_max = 1000,
                                  .deliveries_max = 1000},
                  topics);
    }
    for (uint32_t round = 0; round < DRAIN_ROUNDS; round++) {
        picture_pass(p, 11 * WORLD_SECOND);
        settle_all(p);
        for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
            uint64_t got;
            do { /* a topic may let out no more than one message at a time */
                got = p->receipt_count;
                poll_with(p, g, numbers[g], -1, 100, 0);
                got = p->receipt_count - got;
                picture_settle(p);
                ack_last(p, got);
                settle_all(p);
            } while (got > 0);
        }
        if (is_drained(p)) {
            for (uint32_t g = 0; g < PICTURE_GROUPS; g++)
                CHECK(p->model.groups[g].member_count == 1);
            return;
        }
    }
    CHECK(false); /* something is stuck */
}

void property_delivery(uint64_t seed)
{
    struct picture *p = new_zero(struct picture);
    picture_init(p, seed);
    for (unsigned i = 0; i < STEPS; i++)
        step(p);
    drain(p);
    property_count_steps(STEPS);
    picture_fini(p);
    free(p);
}
