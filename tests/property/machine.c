/* Random commands to the machine and to a naive model of it. After each: the results agree, all
 * that can be asked agrees, machine_check() passes. At random points the state is saved and loaded;
 * at the end the journal is replayed into a new machine: same digest. */
#include <stdio.h>

#include "command/codec.h"
#include "command/record_batch.h"
#include "std/check.h"
#include "tests/property/model.h"

void property_machine_commands(uint64_t seed);

enum { STEPS = 1000, ENTRIES_MAX = 6, JOINERS_MAX = 3, ACKS_MAX = 8, ID_SIZE = 16 };
#define JOURNAL_SIZE_MAX (64UL * 1024 * 1024)

struct append { /* as the effect reported it */
    uint32_t topic_id;
    uint32_t partition;
    uint64_t base_offset;
};

struct world {
    uint64_t state; /* xorshift64* */
    struct machine *machine;
    struct model *model;
    struct buf journal; /* every record, one after the other */
    struct buf entries; /* of the PUBLISH at hand */
    struct arena arena;
    uint64_t index;
    uint32_t next_member;
    struct append appended[ENTRIES_MAX];
    uint32_t appended_count;
    uint32_t members_gone, partitions_gone, positions_moved;
};

static uint64_t below(struct world *w, uint64_t bound)
{
    w->state ^= w->state >> 12;
    w->state ^= w->state << 25;
    w->state ^= w->state >> 27;
    return (w->state * 2685821657736338717U >> 32) % bound;
}

static bool one_in(struct world *w, uint64_t n)
{
    return below(w, n) == 0;
}

static void on_append(void *user, struct partition *p, uint64_t base_offset, int64_t time_us,
                      struct span batch)
{
    struct world *w = user;
    struct batch_header header;
    CHECK(batch_verify(batch, &header) == ST_OK);
    CHECK(header.count == p->next_offset - base_offset);
    CHECK(time_us == w->model->now_us);
    CHECK(w->appended_count < ENTRIES_MAX);
    w->appended[w->appended_count++] = (struct append){p->topic->id, p->index, base_offset};
}

static void on_member_gone(void *user, struct group *g, struct member *member)
{
    struct world *w = user;
    CHECK(group_find_member(g, member->id) == member);
    w->members_gone++;
}

static void on_partition_gone(void *user, struct group_partition *gp)
{
    struct world *w = user;
    CHECK(group_find_partition(gp->group, gp->partition->topic->id, gp->partition->index) == gp);
    w->partitions_gone++;
}

static void on_position_moved(void *user, struct group_partition *gp)
{
    struct world *w = user;
    CHECK(gp->owner != NULL);
    w->positions_moved++;
}

static struct machine *new_machine(struct world *w)
{
    struct machine_effects effects = {.append = on_append,
                                      .member_gone = on_member_gone,
                                      .group_partition_gone = on_partition_gone,
                                      .position_moved = on_position_moved,
                                      .user = w};
    return machine_new(&effects);
}

/* Through the encoding, as in the broker. */
static void apply(struct world *w, struct command *cmd, struct result *out)
{
    w->model->now_us += (int64_t)(one_in(w, 50) ? below(w, 400) * 1000000 : below(w, 1000));
    size_t start = w->journal.size;
    command_encode(cmd, &w->journal);
    CHECK(!w->journal.overflowed);
    command_stamp(w->journal.data + start, w->model->now_us);
    struct command decoded;
    struct span record = span_of(w->journal.data + start, w->journal.size - start);
    CHECK(command_decode(record, &w->arena, &decoded) == ST_OK);
    w->appended_count = 0;
    machine_apply(w->machine, &decoded, ++w->index, &w->arena, out);
}

static void step_topic_create(struct world *w)
{
    uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
    struct command cmd = {.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create.name = span_text(model_topic_name(topic));
    cmd.topic_create.partition_count = (uint32_t)below(w, MODEL_PARTITIONS) + 1;
    cmd.topic_create.if_absent = one_in(w, 2);
    cmd.topic_create.settings = (struct topic_settings){.retention_us = (int64_t)below(w, 99) - 1,
                                                        .retention_bytes = -1,
                                                        .visibility_us = 1000,
                                                        .deliveries_max = 3,
                                                        .cleanup = CLEANUP_COMPACT};
    struct result result;
    apply(w, &cmd, &result);
    model_topic_create(w->model, topic, &cmd.topic_create, &result);
}

static void step_topic_delete(struct world *w)
{
    uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
    struct command cmd = {.type = COMMAND_TOPIC_DELETE};
    cmd.topic_delete.name = span_text(model_topic_name(topic));
    uint32_t known = 0;
    for (uint32_t g = 0; g < MODEL_GROUPS; g++) {
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
            known += w->model->groups[g].progress[topic][p].known;
    }
    w->partitions_gone = 0;
    struct result result;
    apply(w, &cmd, &result);
    CHECK(w->partitions_gone == known);
    model_topic_delete(w->model, topic, &result);
}

static uint32_t put_batch(struct world *w, uint32_t count)
{
    static const struct record record = {
        .key = {(const uint8_t *)"k", 1}, .value = {(const uint8_t *)"v", 1}, .priority = 2};
    struct batch_builder builder;
    batch_begin(&builder, &w->entries);
    for (uint32_t i = 0; i < count; i++)
        batch_add(&builder, &record);
    uint32_t size = batch_size(&builder);
    batch_end(&builder);
    return size;
}

static void step_publish(struct world *w)
{
    uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
    const struct model_topic *t = &w->model->topics[topic];
    struct command cmd = {.type = COMMAND_PUBLISH};
    cmd.publish.topic_id = one_in(w, 30) ? (uint32_t)below(w, 20) : t->id;
    cmd.publish.partition_count =
        one_in(w, 30) || t->partition_count == 0 ? MODEL_PARTITIONS : t->partition_count;
    cmd.publish.entry_count = (uint32_t)below(w, ENTRIES_MAX) + 1;
    uint32_t targets[ENTRIES_MAX], counts[ENTRIES_MAX], sizes[ENTRIES_MAX];
    buf_clear(&w->entries);
    for (uint32_t i = 0; i < cmd.publish.entry_count; i++) {
        counts[i] = (uint32_t)below(w, 4) + 1;
        bool keyless = one_in(w, 2) && cmd.publish.keyless_count < cmd.publish.partition_count;
        targets[i] = keyless ? PUBLISH_KEYLESS | cmd.publish.keyless_count++
                             : (uint32_t)below(w, cmd.publish.partition_count);
        wire_put_u32(&w->entries, targets[i]);
        size_t size_at = w->entries.size;
        wire_put_u32(&w->entries, 0);
        sizes[i] = put_batch(w, counts[i]);
        memcpy(w->entries.data + size_at, &sizes[i], sizeof sizes[i]);
    }
    cmd.publish.entries = buf_span(&w->entries);
    for (uint32_t i = 0; i < MODEL_TOPICS; i++) {
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++) {
            if (w->model->topics[i].next[p] + ENTRIES_MAX * 4ULL >= MODEL_OFFSETS)
                return; /* the model is full */
        }
    }
    struct result result;
    apply(w, &cmd, &result);
    CHECK(w->appended_count == (result.status == ST_OK ? cmd.publish.entry_count : 0));
    for (uint32_t i = 0; i < w->appended_count; i++) {
        CHECK(w->appended[i].topic_id == cmd.publish.topic_id);
        CHECK(w->appended[i].partition == result.publish.placements[i].partition);
        CHECK(w->appended[i].base_offset == result.publish.placements[i].base_offset);
    }
    model_publish(w->model, &cmd.publish, targets, counts, sizes, &result);
}

/* Mostly one of the group's members; else one that is new, left or never was. */
static uint32_t pick_member(struct world *w, uint32_t group)
{
    const struct model_group *g = &w->model->groups[group];
    if (g->member_count > 0 && !one_in(w, 5))
        return g->members[below(w, g->member_count)].number;
    return (uint32_t)below(w, w->next_member + 1);
}

static struct span member_id(struct world *w, uint32_t number)
{
    char text[ID_SIZE];
    int size = snprintf(text, sizeof text, "m%u", number);
    return arena_copy(&w->arena, span_of(text, (size_t)size));
}

static struct joiner random_joiner(struct world *w, uint32_t group, bool may_be_new)
{
    bool rejoin = !may_be_new || one_in(w, 3);
    struct joiner joiner = {
        .rejoin = rejoin,
        .client_id = span_text("client"),
        .session_us = 30000000,
        .in_flight_max = 10,
        .from_latest = one_in(w, 3),
        .topic_count = (uint32_t)below(w, 3) + 1,
    };
    uint32_t number = rejoin || one_in(w, 10) ? pick_member(w, group) : w->next_member++;
    joiner.member_id = member_id(w, number);
    joiner.topics = arena_array(&w->arena, joiner.topic_count, sizeof *joiner.topics);
    bool usual = one_in(w, 2); /* equal subscriptions are the usual case */
    uint32_t first = usual ? 0 : (uint32_t)below(w, MODEL_TOPICS);
    for (uint32_t i = 0; i < joiner.topic_count; i++) {
        uint32_t topic = (first + i) % MODEL_TOPICS;
        if (!w->model->topics[topic].alive && !one_in(w, 20))
            topic = first;
        joiner.topics[i] = span_text(model_topic_name(topic));
    }
    return joiner;
}

static void step_join(struct world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    struct joiner joiners[JOINERS_MAX];
    struct command cmd = {.type = COMMAND_GROUP_JOIN};
    cmd.group_join.group = span_text(model_group_name(group));
    cmd.group_join.joiners = joiners;
    cmd.group_join.joiner_count = (uint32_t)below(w, JOINERS_MAX) + 1;
    uint32_t room = MODEL_MEMBERS - w->model->groups[group].member_count;
    for (uint32_t i = 0; i < cmd.group_join.joiner_count; i++)
        joiners[i] = random_joiner(w, group, i < room);
    struct result result;
    apply(w, &cmd, &result);
    model_join(w->model, group, &cmd.group_join, &result);
}

static void step_leave(struct world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    uint32_t number = pick_member(w, group);
    uint32_t members = w->model->groups[group].member_count;
    struct command cmd = {.type = COMMAND_GROUP_LEAVE};
    cmd.group_leave.group = span_text(model_group_name(group));
    cmd.group_leave.member_id = member_id(w, number);
    cmd.group_leave.reason = one_in(w, 2) ? LEAVE_ASKED : LEAVE_SESSION_EXPIRED;
    w->members_gone = 0;
    struct result result;
    apply(w, &cmd, &result);
    model_leave(w->model, group, number, &result);
    CHECK(w->members_gone == members - w->model->groups[group].member_count);
}

static void step_group_delete(struct world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    uint32_t members = w->model->groups[group].member_count;
    struct command cmd = {.type = COMMAND_GROUP_DELETE};
    cmd.group_delete.group = span_text(model_group_name(group));
    w->members_gone = 0;
    struct result result;
    apply(w, &cmd, &result);
    CHECK(w->members_gone == members);
    model_group_delete(w->model, group, &result);
}

/* Near the position, where it matters. */
static uint64_t pick_offset(struct world *w, uint32_t group, uint32_t topic, uint32_t partition)
{
    uint64_t next = w->model->topics[topic].next[partition];
    uint64_t position = w->model->groups[group].progress[topic][partition].position;
    if (one_in(w, 3) || position > next)
        return below(w, next + 2);
    return position + below(w, 6);
}

static void step_ack(struct world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    struct ack_entry entries[ACKS_MAX];
    struct command cmd = {.type = COMMAND_ACK};
    cmd.ack.group_id = one_in(w, 30) ? (uint32_t)below(w, 9) : w->model->groups[group].id;
    cmd.ack.entries = entries;
    cmd.ack.entry_count = (uint32_t)below(w, ACKS_MAX) + 1;
    for (uint32_t i = 0; i < cmd.ack.entry_count; i++) {
        uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
        uint32_t partition = (uint32_t)below(w, MODEL_PARTITIONS);
        uint32_t id = w->model->topics[topic].id;
        entries[i].topic_id = one_in(w, 30) ? (uint32_t)below(w, 20) : id;
        entries[i].partition = partition;
        entries[i].offset = pick_offset(w, group, topic, partition);
    }
    struct result result;
    apply(w, &cmd, &result);
    model_ack(w->model, &cmd.ack, &result);
}

static void step_commit(struct world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    const struct model_group *g = &w->model->groups[group];
    uint32_t number = pick_member(w, group);
    struct offset_entry entries[ACKS_MAX];
    struct command cmd = {.type = COMMAND_OFFSETS_COMMIT};
    cmd.offsets_commit.group = span_text(model_group_name(group));
    cmd.offsets_commit.member_id = member_id(w, number);
    cmd.offsets_commit.generation = one_in(w, 2) ? -1 : (int64_t)g->generation - one_in(w, 9);
    if (cmd.offsets_commit.generation < -1)
        cmd.offsets_commit.generation = -1;
    cmd.offsets_commit.entries = entries;
    uint32_t wanted = (uint32_t)below(w, 3) + 1, count = 0;
    for (uint32_t tries = 0; tries < 60 && count < wanted; tries++) {
        uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
        uint32_t partition = (uint32_t)below(w, MODEL_PARTITIONS);
        const struct model_progress *progress = &g->progress[topic][partition];
        bool owned = progress->known && progress->owner != MODEL_NOBODY &&
                     g->members[progress->owner].number == number;
        if (!owned && !one_in(w, 60))
            continue;
        uint64_t offset = pick_offset(w, group, topic, partition);
        entries[count++] = (struct offset_entry){
            .topic = span_text(model_topic_name(topic)),
            .partition = partition,
            .offset = one_in(w, 50) ? OFFSET_MAX - below(w, 3) : offset,
        };
    }
    if (count == 0)
        return;
    cmd.offsets_commit.entry_count = count;
    struct result result;
    apply(w, &cmd, &result);
    model_commit(w->model, group, &cmd.offsets_commit, &result);
}

static void step(struct world *w)
{
    static const struct {
        void (*run)(struct world *w);
        unsigned weight;
    } steps[] = {
        {step_publish, 30}, {step_ack, 30},         {step_commit, 12},      {step_join, 10},
        {step_leave, 8},    {step_topic_create, 6}, {step_topic_delete, 3}, {step_group_delete, 1},
    };
    uint64_t dice = below(w, 100);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (dice < steps[i].weight) {
            steps[i].run(w);
            return;
        }
        dice -= steps[i].weight;
    }
}

static void save_and_load(struct world *w)
{
    struct buf image, again;
    buf_init(&image, SIZE_MAX);
    buf_init(&again, SIZE_MAX);
    machine_save(w->machine, &image);
    struct machine *loaded = new_machine(w);
    CHECK(machine_load(loaded, buf_span(&image)) == ST_OK);
    machine_check(loaded);
    machine_save(loaded, &again);
    CHECK(span_equal(buf_span(&image), buf_span(&again)));
    CHECK(machine_digest(loaded) == machine_digest(w->machine));
    if (one_in(w, 2)) { /* go on with the loaded one */
        struct machine *old = w->machine;
        w->machine = loaded;
        loaded = old;
    }
    machine_free(loaded);
    buf_fini(&image);
    buf_fini(&again);
}

static void replay(struct world *w)
{
    struct machine_effects none = {0};
    struct machine *replica = machine_new(&none);
    uint64_t index = 0;
    for (size_t at = 0; at < w->journal.size;) {
        uint32_t size;
        memcpy(&size, w->journal.data + at, sizeof size);
        struct command cmd;
        struct result result;
        CHECK(command_decode(span_of(w->journal.data + at, size), &w->arena, &cmd) == ST_OK);
        machine_apply(replica, &cmd, ++index, &w->arena, &result);
        at += size;
    }
    CHECK(index == w->index);
    CHECK(machine_digest(replica) == machine_digest(w->machine));
    machine_free(replica);
}

void property_machine_commands(uint64_t seed)
{
    static struct model model; /* too large for the stack */
    model = (struct model){.now_us = 1700000000000000, .next_topic_id = 1, .next_group_id = 1};
    struct world w = {.state = seed * 0x9e3779b97f4a7c15U | 1, .model = &model};
    for (int i = 0; i < 8; i++)
        (void)below(&w, 2);
    w.machine = new_machine(&w);
    buf_init(&w.journal, JOURNAL_SIZE_MAX);
    buf_init(&w.entries, JOURNAL_SIZE_MAX);
    arena_init(&w.arena);
    for (int i = 0; i < STEPS; i++) {
        step(&w);
        machine_check(w.machine);
        model_compare(&model, w.machine, &w.arena);
        if (one_in(&w, 50))
            save_and_load(&w);
        arena_clear(&w.arena);
    }
    replay(&w);
    machine_free(w.machine);
    buf_fini(&w.journal);
    buf_fini(&w.entries);
    arena_fini(&w.arena);
}
