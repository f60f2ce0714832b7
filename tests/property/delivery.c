/* Random joins, polls, acks, commits, leaves, deletions and time steps over a machine and its
 * delivery, against a naive picture of who holds what: plain arrays, no tables, no wheel. Commands
 * are applied late and in order, as behind a journal.
 *
 * Held after every step: machine_check(), delivery_check(); a message is leased to one member at a
 * time and never once it is done; every ack answers as contract 4.3 says; no poll stays parked
 * while there is something for it. At the end every message comes to the one member that is left.
 */
#include <stdio.h>

#include "../unit/delivery_world.h"

void property_delivery(uint64_t seed);

enum {
    GROUPS = 2,
    TOPICS = 2,
    PARTITIONS = 2,
    MEMBERS = 6, /* of both groups */
    MESSAGES_MAX = 120,
    FACTS = 200, /* a partition; commands under way may take it over MESSAGES_MAX */
    JOURNAL_MAX = 8,
    STEPS = 400,
    RECEIPTS_MAX = 4000,
    REQUESTS_MAX = 1200,
    SESSION_SECONDS = 40,
    VISIBILITY_SECONDS = 30,
};

enum fact_state { IDLE, HELD, SETTLING, LAPSED, RELEASED };

struct fact { /* what we believe of one message in one group */
    enum fact_state state;
    uint64_t lease_id;
    uint64_t holder; /* the member's number */
    int64_t deadline_us;
    uint32_t acks;
};

struct readings { /* of one partition in one group */
    uint32_t group_id;
    uint32_t topic_id;
    uint32_t partition;
    uint64_t position_seen;
    struct fact facts[FACTS];
};

struct person {
    char id[32];
    unsigned group;
    uint64_t number;
    bool asked; /* a join is on its way */
    bool in;
    uint32_t generation;
};

struct request {
    struct arena arena;
    struct person *person;
    uint64_t person_number;
    bool done;
    bool parked;
    struct span topics[TOPICS];
    struct poll_request poll;
    struct join_request join;
    struct ack_request ack;
    struct receipt receipts[4];
    enum { EXPECT_COMMAND, EXPECT_ALREADY, EXPECT_EXPIRED, EXPECT_MISSING } expected[4];
};

static struct {
    struct world world;
    uint64_t random;
    struct readings *readings;
    unsigned reading_count;
    struct person people[MEMBERS];
    uint64_t person_numbers;
    struct receipt receipts[RECEIPTS_MAX];
    unsigned receipt_count;
    struct request *requests;
    unsigned request_count;
    uint64_t boot;
} t;

enum { READINGS_MAX = 256 };

static const char *const group_names[GROUPS] = {"acme/red", "blue"};
static const char *const topic_names[TOPICS] = {"acme/left", "right"};

static uint64_t roll(uint64_t sides)
{
    t.random ^= t.random << 13;
    t.random ^= t.random >> 7;
    t.random ^= t.random << 17;
    return (t.random >> 16) % sides;
}

static struct readings *readings_of(uint32_t group_id, uint32_t topic_id, uint32_t partition)
{
    for (unsigned i = 0; i < t.reading_count; i++) {
        struct readings *r = &t.readings[i];
        if (r->group_id == group_id && r->topic_id == topic_id && r->partition == partition)
            return r;
    }
    CHECK(t.reading_count < READINGS_MAX);
    struct readings *r = &t.readings[t.reading_count++];
    *r = (struct readings){.group_id = group_id, .topic_id = topic_id, .partition = partition};
    return r;
}

static struct readings *readings_of_gp(const struct group_partition *gp)
{
    return readings_of(gp->group->id, gp->partition->topic->id, gp->partition->index);
}

static struct group_partition *partition_of(const struct receipt *receipt)
{
    const struct group *group = machine_group_by_id(t.world.machine, receipt->group_id);
    return group == NULL ? NULL
                         : group_find_partition(group, receipt->topic_id, receipt->partition);
}

static struct request *request_new(struct person *person)
{
    CHECK(t.request_count < REQUESTS_MAX);
    struct request *request = &t.requests[t.request_count++];
    *request = (struct request){.person = person};
    arena_init(&request->arena);
    if (person != NULL)
        request->person_number = person->number;
    return request;
}

/* The machine's effects, seen by the picture. */
static void on_member_gone(void *user, struct group *group, struct member *member)
{
    CHECK(user == &t);
    uint64_t number = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct person *person = &t.people[i];
        if (span_equal(span_text(person->id), member->id)) {
            number = person->number;
            person->in = false;
        }
    }
    for (unsigned i = 0; i < t.reading_count; i++)
        for (unsigned o = 0; o < FACTS; o++) {
            struct fact *fact = &t.readings[i].facts[o];
            if (t.readings[i].group_id == group->id && fact->state == HELD &&
                fact->holder == number)
                fact->state = RELEASED;
        }
}

static void on_partition_gone(void *user, struct group_partition *gp)
{
    CHECK(user == &t);
    memset(readings_of_gp(gp)->facts, 0, sizeof readings_of_gp(gp)->facts);
}

static void on_moved(void *user, struct group_partition *gp)
{
    CHECK(user == &t);
    struct readings *r = readings_of_gp(gp);
    bool rewound = gp->position < r->position_seen;
    r->position_seen = gp->position;
    for (uint64_t o = 0; o < FACTS; o++)
        if (r->facts[o].state != SETTLING && (rewound || o < gp->position))
            r->facts[o].state = IDLE;
}

static void on_applied(void *user, const struct world_entry *entry)
{
    CHECK(user == &t);
    if (entry->ack == NULL)
        return;
    struct ack_request *ack = entry->ack;
    const struct command_ack *cmd = &ack->command.ack;
    for (uint32_t e = 0; e < cmd->entry_count; e++) {
        const struct receipt *receipt = &ack->receipts[ack->entry_receipt[e]];
        const struct acked *acked = &ack->acked[ack->entry_receipt[e]];
        struct group_partition *gp = partition_of(receipt);
        CHECK(acked->status == (gp == NULL ? ST_MESSAGE_NOT_FOUND : ST_OK));
        if (gp == NULL)
            continue;
        struct readings *r = readings_of_gp(gp);
        struct fact *fact = &r->facts[receipt->offset];
        r->position_seen = gp->position;
        CHECK(group_partition_is_done(gp, receipt->offset));
        CHECK(fact->state == SETTLING);
        if (--fact->acks == 0)
            fact->state = IDLE;
    }
}

static void on_poll(struct poll_request *poll)
{
    struct request *request = list_entry(poll, struct request, poll);
    CHECK(!request->done);
    request->done = true;
    for (uint32_t i = 0; i < poll->run_count; i++) {
        const struct delivered_run *run = &poll->runs[i];
        struct readings *r = readings_of(run->group_id, run->topic_id, run->partition);
        for (uint32_t m = 0; m < run->count; m++) {
            const struct delivered *message = &run->messages[m];
            struct fact *fact = &r->facts[message->offset];
            const struct receipt receipt = {.group_id = run->group_id,
                                            .topic_id = run->topic_id,
                                            .partition = run->partition,
                                            .delivery_count = message->delivery_count,
                                            .offset = message->offset,
                                            .lease_id = message->lease_id};
            const struct group_partition *gp = partition_of(&receipt);
            CHECK(gp != NULL);
            CHECK(message->offset < gp->partition->next_offset);
            CHECK(!group_partition_is_done(gp, message->offset));
            CHECK(fact->state != HELD);
            CHECK(fact->state != SETTLING);
            CHECK(m == 0 || run->messages[m - 1].offset < message->offset);
            CHECK((message->delivery_count == 1) == (fact->state == IDLE));
            *fact = (struct fact){.state = HELD,
                                  .lease_id = message->lease_id,
                                  .holder = request->person_number,
                                  .deadline_us = run->deadline_us};
            if (t.receipt_count < RECEIPTS_MAX)
                t.receipts[t.receipt_count++] = receipt;
        }
    }
}

static void on_join(struct join_request *join)
{
    struct request *request = list_entry(join, struct request, join);
    struct person *person = request->person;
    request->done = true;
    person->asked = false;
    if (join->result.status != ST_OK || join->result.join.joined[join->index].status != ST_OK)
        return;
    person->in = machine_find_group(t.world.machine, join->group) != NULL;
    person->generation = join->result.join.generation;
}

/* Steps. */
static void step_publish(void)
{
    const char *topic = topic_names[roll(TOPICS)];
    uint32_t partition = (uint32_t)roll(PARTITIONS);
    const struct topic *found = machine_find_topic(t.world.machine, span_text(topic));
    if (found == NULL) {
        world_create_topic(&t.world, topic, PARTITIONS);
        return;
    }
    uint32_t count = 1 + (uint32_t)roll(9);
    if (t.world.journal_count <= JOURNAL_MAX &&
        found->partitions[partition].next_offset + count <= MESSAGES_MAX)
        world_publish(&t.world, topic, partition, count);
}

static void step_join(void)
{
    struct person *person = &t.people[roll(MEMBERS)];
    if (person->asked || person->in)
        return;
    person->number = ++t.person_numbers;
    person->asked = true;
    person->group = (unsigned)roll(GROUPS);
    CHECK(snprintf(person->id, sizeof person->id, "m-%llu", (unsigned long long)person->number) >
          0);
    struct request *request = request_new(person);
    char *id = arena_string(&request->arena, span_text(person->id));
    uint32_t count = 1 + (uint32_t)roll(TOPICS);
    for (unsigned i = 0; i < count; i++)
        request->topics[i] = span_text(topic_names[i]);
    request->join = (struct join_request){
        .group = span_text(group_names[person->group]),
        .joiner = {.member_id = span_text(id),
                   .client_id = span_text("c"),
                   .topics = request->topics,
                   .topic_count = count,
                   .session_us = SESSION_SECONDS * WORLD_SECOND,
                   .visibility_us = VISIBILITY_SECONDS * WORLD_SECOND,
                   .in_flight_max = 1 + (uint32_t)roll(60)},
        .arena = &request->arena,
        .done = on_join,
    };
    delivery_join(t.world.delivery, &request->join, t.world.now_us);
}

static void step_poll(void)
{
    struct person *person = &t.people[roll(MEMBERS)];
    if (!person->in)
        return;
    struct request *request = request_new(person);
    request->poll = (struct poll_request){
        .group = span_text(group_names[person->group]),
        .member_id = span_text(arena_string(&request->arena, span_text(person->id))),
        .generation = roll(8) == 0 ? (int64_t)person->generation : -1,
        .messages_max = 1 + (uint32_t)roll(20),
        .wait_us = roll(2) == 0 ? 0 : (int64_t)roll(60) * WORLD_SECOND,
        .arena = &request->arena,
        .done = on_poll,
    };
    delivery_poll(t.world.delivery, &request->poll, t.world.now_us);
}

static unsigned expect(const struct receipt *receipt)
{
    struct group_partition *gp = partition_of(receipt);
    if (gp == NULL)
        return EXPECT_MISSING;
    struct fact *fact = &readings_of_gp(gp)->facts[receipt->offset];
    if (group_partition_is_done(gp, receipt->offset))
        return EXPECT_ALREADY;
    bool same = fact->lease_id == receipt->lease_id;
    bool ours = receipt->lease_id - t.boot < 1U << 30;
    if (fact->state == SETTLING || (same && (fact->state == HELD || fact->state == LAPSED)) ||
        (fact->state == IDLE && !ours)) {
        if (fact->state == IDLE)
            fact->lease_id = receipt->lease_id;
        fact->state = SETTLING;
        fact->acks++;
        return EXPECT_COMMAND;
    }
    return EXPECT_EXPIRED;
}

static void step_ack(void)
{
    if (t.receipt_count == 0)
        return;
    struct request *request = request_new(NULL);
    unsigned count = 1 + (unsigned)roll(4);
    unsigned used = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned last = t.receipt_count < 40 ? t.receipt_count : 40;
        unsigned back = roll(3) == 0 ? t.receipt_count : last;
        const struct receipt *receipt = &t.receipts[t.receipt_count - 1 - roll(back)];
        if (used > 0 && receipt->group_id != request->receipts[0].group_id)
            continue;
        request->receipts[used] = *receipt;
        request->expected[used++] = expect(receipt);
    }
    request->ack = (struct ack_request){
        .receipts = request->receipts, .count = used, .arena = &request->arena};
    delivery_ack_begin(t.world.delivery, &request->ack, t.world.now_us);
    uint32_t entries = 0;
    for (unsigned i = 0; i < used; i++) {
        const struct acked *acked = &request->ack.acked[i];
        entries += request->expected[i] == EXPECT_COMMAND ? 1 : 0;
        CHECK((request->expected[i] == EXPECT_MISSING) == (acked->status == ST_MESSAGE_NOT_FOUND));
        CHECK((request->expected[i] == EXPECT_EXPIRED) == (acked->status == ST_RECEIPT_EXPIRED));
        CHECK((request->expected[i] == EXPECT_ALREADY) == acked->already);
    }
    CHECK(request->ack.command.ack.entry_count == entries);
    if (entries > 0)
        world_submit(&t.world, &request->ack.command)->ack = &request->ack;
}

static void step_release(void)
{
    if (t.receipt_count == 0)
        return;
    const struct receipt *receipt = &t.receipts[t.receipt_count - 1];
    struct group_partition *gp = partition_of(receipt);
    if (gp != NULL) {
        struct fact *fact = &readings_of_gp(gp)->facts[receipt->offset];
        if (fact->state != HELD || fact->lease_id != receipt->lease_id ||
            receipt->delivery_count < 2)
            return; /* counts are checked: only what stays a redelivery */
        fact->state = RELEASED;
    }
    delivery_release(t.world.delivery, receipt, 1, t.world.now_us);
}

static void step_leave(void)
{
    const struct person *person = &t.people[roll(MEMBERS)];
    struct command cmd = {.type = COMMAND_GROUP_LEAVE,
                          .group_leave = {.group = span_text(group_names[person->group]),
                                          .member_id = span_text(person->id)}};
    if (person->in)
        world_submit(&t.world, &cmd);
}

static void step_commit(void)
{
    const struct person *person = &t.people[roll(MEMBERS)];
    if (!person->in)
        return;
    static struct offset_entry entries[REQUESTS_MAX];
    static unsigned used;
    struct offset_entry *entry = &entries[used++ % REQUESTS_MAX];
    *entry = (struct offset_entry){.topic = span_text(topic_names[roll(TOPICS)]),
                                   .partition = (uint32_t)roll(PARTITIONS),
                                   .offset = roll(MESSAGES_MAX)};
    struct command cmd = {
        .type = COMMAND_OFFSETS_COMMIT,
        .offsets_commit = {.group = span_text(group_names[person->group]),
                           .member_id = span_text(person->id),
                           .entries = entry,
                           .entry_count = 1,
                           .generation = -1},
    };
    world_submit(&t.world, &cmd);
}

static void step_delete(void)
{
    struct command cmd = {.type = COMMAND_TOPIC_DELETE,
                          .topic_delete = {.name = span_text(topic_names[roll(TOPICS)])}};
    if (roll(2) == 0)
        cmd = (struct command){.type = COMMAND_GROUP_DELETE,
                               .group_delete = {.group = span_text(group_names[roll(GROUPS)])}};
    world_submit(&t.world, &cmd);
}

static void pass(int64_t us)
{
    int64_t until = t.world.now_us + us;
    while (t.world.now_us < until) { /* in small steps, so that what falls due in between is seen */
        int64_t step = until - t.world.now_us < 50000 ? until - t.world.now_us : 50000;
        int64_t now_us = t.world.now_us + step;
        for (unsigned i = 0; i < t.reading_count; i++)
            for (unsigned o = 0; o < FACTS; o++) {
                struct fact *fact = &t.readings[i].facts[o];
                if (fact->state == HELD && (fact->deadline_us + 1023) >> 10 <= now_us >> 10)
                    fact->state = LAPSED;
            }
        world_pass(&t.world, step);
    }
}

static void see_positions(void *user, struct group *group)
{
    CHECK(user == NULL);
    for (uint32_t i = 0; i < group->partition_count; i++)
        readings_of_gp(group->partitions[i])->position_seen = group->partitions[i]->position;
}

static void step_restart(void)
{
    while (world_apply(&t.world))
        ;
    t.boot += 1ULL << 40; /* no two runs share ids */
    world_restart(&t.world, t.boot);
    memset(t.readings, 0, t.reading_count * sizeof *t.readings);
    t.reading_count = 0;
    machine_each_group(t.world.machine, see_positions, NULL);
    for (unsigned i = 0; i < MEMBERS; i++)
        t.people[i].asked = false;
}

static bool something_for(const struct member *member)
{
    uint32_t held = 0;
    for (unsigned i = 0; i < t.reading_count; i++)
        for (unsigned o = 0; o < FACTS; o++) {
            const struct fact *fact = &t.readings[i].facts[o];
            for (unsigned p = 0; p < MEMBERS; p++)
                if (span_equal(span_text(t.people[p].id), member->id) &&
                    fact->holder == t.people[p].number &&
                    (fact->state == HELD || fact->state == SETTLING))
                    held++;
        }
    if (held >= member->in_flight_max)
        return false;
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        const struct group_partition *gp = member->assigned[i];
        const struct readings *r = readings_of_gp(gp);
        for (uint64_t o = gp->position; o < gp->partition->next_offset; o++)
            if (r->facts[o].state != HELD && r->facts[o].state != SETTLING &&
                !group_partition_is_done(gp, o))
                return true;
    }
    return false;
}

/* No poll waits in vain. */
static void check_parked(void)
{
    for (unsigned i = 0; i < t.request_count; i++) {
        const struct request *request = &t.requests[i];
        if (request->poll.done == NULL || request->done)
            continue;
        const struct group *group = machine_find_group(t.world.machine, request->poll.group);
        CHECK(group != NULL);
        const struct member *member = group_find_member(group, request->poll.member_id);
        CHECK(member != NULL);
        CHECK(!something_for(member));
    }
}

static void step(void)
{
    static void (*const steps[])(void) = {
        step_publish, step_publish, step_publish, step_join,  step_join,   step_poll,
        step_poll,    step_poll,    step_poll,    step_poll,  step_ack,    step_ack,
        step_ack,     step_ack,     step_ack,     step_leave, step_commit, step_release,
    };
    uint64_t which = roll(100);
    if (which == 0)
        step_delete();
    else if (which == 1)
        step_restart();
    else if (which < 12)
        pass((int64_t)roll(20 * (uint64_t)WORLD_SECOND));
    else if (which < 40)
        pass((int64_t)roll(500000));
    else
        steps[roll(sizeof steps / sizeof steps[0])]();
    t.world.connected = true;
    if (roll(2) == 0)
        for (uint64_t i = roll(4); i > 0 && world_apply(&t.world); i--)
            ;
    delivery_settle(t.world.delivery, t.world.now_us);
    machine_check(t.world.machine);
    delivery_check(t.world.delivery);
    check_parked();
}

/* Everybody goes; one new member a group gets whatever is not done, and acks it. */
static void finish(unsigned group_index)
{
    struct person *person = &t.people[group_index];
    struct person last = *person;
    for (int round = 0; round < 3; round++) {
        pass(70 * WORLD_SECOND); /* sessions and deadlines end */
        world_settle(&t.world);
    }
    for (unsigned i = 0; i < TOPICS; i++)
        world_create_topic(&t.world, topic_names[i], PARTITIONS);
    last.number = ++t.person_numbers;
    last.group = group_index;
    CHECK(snprintf(last.id, sizeof last.id, "m-%llu", (unsigned long long)last.number) > 0);
    *person = last;
    struct request *joining = request_new(person);
    for (unsigned i = 0; i < TOPICS; i++)
        joining->topics[i] = span_text(topic_names[i]);
    joining->join = (struct join_request){
        .group = span_text(group_names[group_index]),
        .joiner = {.member_id = span_text(person->id),
                   .client_id = span_text("c"),
                   .topics = joining->topics,
                   .topic_count = TOPICS,
                   .session_us = SESSION_SECONDS * WORLD_SECOND,
                   .in_flight_max = 1000},
        .arena = &joining->arena,
        .done = on_join,
    };
    delivery_join(t.world.delivery, &joining->join, t.world.now_us);
    pass(300000);
    world_settle(&t.world);
    CHECK(joining->done);
    CHECK(person->in);
    struct request *polling = request_new(person);
    polling->poll = (struct poll_request){.group = span_text(group_names[group_index]),
                                          .member_id = span_text(person->id),
                                          .generation = -1,
                                          .messages_max = 1000,
                                          .arena = &polling->arena,
                                          .done = on_poll};
    delivery_poll(t.world.delivery, &polling->poll, t.world.now_us);
    CHECK(polling->done);
    const struct group *group =
        machine_find_group(t.world.machine, span_text(group_names[group_index]));
    for (uint32_t i = 0; i < group->partition_count; i++) {
        const struct group_partition *gp = group->partitions[i];
        const struct readings *r = readings_of_gp(gp);
        for (uint64_t o = 0; o < gp->partition->next_offset; o++)
            CHECK(group_partition_is_done(gp, o) || r->facts[o].state == HELD);
    }
}

void property_delivery(uint64_t seed)
{
    t.random = seed * 0x9E3779B97F4A7C15ULL + 0x2545F4914F6CDD1DULL;
    t.reading_count = 0;
    t.receipt_count = 0;
    t.request_count = 0;
    t.person_numbers = 0;
    memset(t.people, 0, sizeof t.people);
    t.readings = alloc_array(READINGS_MAX, sizeof *t.readings);
    t.requests = alloc_array(REQUESTS_MAX, sizeof *t.requests);
    world_init(&t.world);
    t.boot = 0xFEDCBA9876543210ULL;
    t.world.user = &t;
    t.world.member_gone = on_member_gone;
    t.world.partition_gone = on_partition_gone;
    t.world.position_moved = on_moved;
    t.world.applied = on_applied;
    for (unsigned i = 0; i < TOPICS; i++)
        world_create_topic(&t.world, topic_names[i], PARTITIONS);
    for (unsigned i = 0; i < STEPS; i++)
        step();
    for (unsigned i = 0; i < GROUPS; i++)
        finish(i);
    world_fini(&t.world);
    for (unsigned i = 0; i < t.request_count; i++)
        arena_fini(&t.requests[i].arena);
    free(t.requests);
    free(t.readings);
}
