/* Random commands to the machine and to a naive model of it. After each: the results agree, all
 * that can be asked agrees, the effects are those that were to be expected, machine_check() passes.
 * At random points the state is saved and loaded; at the end the journal is replayed into a new
 * machine: same digest. */
#include "command/codec.h"
#include "std/check.h"
#include "tests/property/machine_world.h"

void property_machine_commands(uint64_t seed);

enum { STEPS = 1000 };
#define JOURNAL_SIZE_MAX (64UL * 1024 * 1024)
#define PAUSE_US         (2ULL * 3600 * 1000000)      /* ended transactions are forgotten */
#define LONG_PAUSE_US    (9ULL * 24 * 3600 * 1000000) /* producers are */

static struct seen_append seen_at(const struct partition *p, uint64_t offset)
{
    return (struct seen_append){p->topic->id, p->index, offset};
}

/* Who reads in strict order looks again. */
static void note_news(struct machine_world *w, const struct partition *p)
{
    int topic = model_topic_by_id(w->model, p->topic->id);
    if (topic != MODEL_NOBODY) /* else it is new with this command */
        w->seen.moving[topic][p->index] = true;
}

static void on_append(void *user, struct partition *p, uint64_t base_offset, int64_t time_us,
                      struct span batch)
{
    struct machine_world *w = user;
    struct batch_header header;
    CHECK(batch_verify(batch, &header) == ST_OK);
    CHECK(header.count == p->next_offset - base_offset);
    CHECK(time_us == w->model->now_us);
    CHECK(w->seen.appended_count < MODEL_ENTRIES);
    w->seen.appended[w->seen.appended_count++] = seen_at(p, base_offset);
    note_news(w, p);
}

static void on_became_visible(void *user, struct partition *p, const struct due_entry *entries,
                              uint32_t count)
{
    struct machine_world *w = user;
    CHECK(w->seen.visible_count + count <= VISIBLE_MAX);
    note_news(w, p);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(!partition_is_hidden(p, entries[i].offset));
        w->seen.visible[w->seen.visible_count++] = entries[i];
    }
}

static void on_due_changed(void *user, struct partition *p)
{
    struct machine_world *w = user;
    CHECK(w->seen.changed_count < CHANGED_MAX);
    w->seen.changed[w->seen.changed_count++] = seen_at(p, 0);
}

static void on_became_gone(void *user, struct partition *p, uint64_t offset)
{
    struct machine_world *w = user;
    CHECK(partition_is_gone(p, offset));
    note_news(w, p);
    CHECK(w->seen.gone_count < MODEL_GONE);
    w->seen.gone[w->seen.gone_count++] = seen_at(p, offset);
}

static void on_member_gone(void *user, struct group *g, struct member *member)
{
    struct machine_world *w = user;
    CHECK(group_find_member(g, member->id) == member);
    w->seen.members_gone++;
}

static void on_partition_gone(void *user, struct group_partition *gp)
{
    struct machine_world *w = user;
    CHECK(group_find_partition(gp->group, gp->partition->topic->id, gp->partition->index) == gp);
    w->seen.partitions_gone++;
}

static void on_position_moved(void *user, struct group_partition *gp)
{
    struct machine_world *w = user;
    CHECK(group_find_partition(gp->group, gp->partition->topic->id, gp->partition->index) == gp);
    w->seen.positions_moved++;
}

static void on_partitions_added(void *user, const struct topic *topic, uint32_t first)
{
    struct machine_world *w = user;
    for (uint32_t i = first; i < topic->partition_count; i++)
        CHECK(topic->partitions[i]->next_offset == 0 && topic->partitions[i]->readers == NULL);
    w->seen.partitions_added += topic->partition_count - first;
}

static void on_transaction_begun(void *user, struct transaction *t)
{
    struct machine_world *w = user;
    CHECK(t != NULL);
    w->seen.begun++;
}

static void on_transaction_ended(void *user, const struct transaction *t)
{
    struct machine_world *w = user;
    CHECK(t != NULL);
    w->seen.ended++;
}

static void on_group_changed(void *user, struct group *g)
{
    struct machine_world *w = user;
    uint32_t group = 0;
    while (strcmp(model_group_name(group), g->name) != 0)
        CHECK(++group < MODEL_GROUPS);
    w->seen.groups_changed[group] = true;
}

static struct machine *new_machine(struct machine_world *w)
{
    struct machine_effects effects = {.append = on_append,
                                      .partitions_added = on_partitions_added,
                                      .group_changed = on_group_changed,
                                      .member_gone = on_member_gone,
                                      .group_partition_gone = on_partition_gone,
                                      .position_moved = on_position_moved,
                                      .became_visible = on_became_visible,
                                      .due_changed = on_due_changed,
                                      .became_gone = on_became_gone,
                                      .transaction_begun = on_transaction_begun,
                                      .transaction_ended = on_transaction_ended,
                                      .user = w};
    return machine_new(&effects);
}

static int64_t first_due(const struct model *m, uint32_t topic, uint32_t partition)
{
    uint64_t offset;
    const struct model_message *first = model_first_pending(m, topic, partition, &offset);
    return first == NULL ? 0 : first->due_us;
}

/* Up to where readers in strict order get: the first open message, or the end. */
static uint64_t stable_end(const struct model *m, uint32_t topic, uint32_t partition)
{
    const struct model_partition *p = &m->topics[topic].partitions[partition];
    uint64_t end = 0;
    while (end < p->next && p->messages[end].open == 0)
        end++;
    return end;
}

void machine_world_apply(struct machine_world *w, struct command *cmd, struct result *out)
{
    struct model *m = w->model;
    uint64_t most_us = one_in(w, 50) ? 400000000 : one_in(w, 3) ? 2 : 1000;
    if (one_in(w, 500))
        most_us = one_in(w, 2) ? PAUSE_US : LONG_PAUSE_US;
    m->now_us += (int64_t)below(w, most_us);
    memset(&m->effects, 0, sizeof m->effects);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++) {
            w->first_due[t][p] = m->topics[t].alive ? first_due(m, t, p) : 0;
            w->stable_end[t][p] = m->topics[t].alive ? stable_end(m, t, p) : UINT64_MAX;
        }
    }
    size_t start = w->journal.size;
    command_encode(cmd, &w->journal);
    CHECK(!w->journal.overflowed);
    command_stamp(w->journal.data + start, m->now_us);
    struct command decoded;
    struct span record = span_of(w->journal.data + start, w->journal.size - start);
    CHECK(command_decode(record, &w->arena, &decoded) == ST_OK);
    w->seen = (struct seen){0};
    m->index = ++w->index;
    machine_apply(w->machine, &decoded, w->index, &w->arena, out);
}

static bool is_at(const struct model *m, struct model_place place, const struct seen_append *seen)
{
    return m->topics[place.topic].id == seen->topic_id && place.partition == seen->partition &&
           place.offset == seen->base_offset;
}

/* Delivery learns of everything that concerns it. */
static void compare_effects(const struct machine_world *w)
{
    const struct model *m = w->model;
    const struct model_effects *e = &m->effects;
    const struct seen *seen = &w->seen;
    CHECK(seen->appended_count == e->appended_count);
    for (uint32_t i = 0; i < e->appended_count; i++)
        CHECK(is_at(m, e->appended[i], &seen->appended[i]));
    CHECK(seen->gone_count == e->gone_count);
    for (uint32_t i = 0; i < e->gone_count; i++)
        CHECK(is_at(m, e->gone[i], &seen->gone[i]));
    CHECK(seen->visible_count == e->visible_count);
    for (uint32_t i = 0; i < e->visible_count; i++) {
        CHECK(seen->visible[i].offset == e->visible[i].offset);
        CHECK(seen->visible[i].priority == model_message_at(m, e->visible[i])->priority);
    }
    CHECK(seen->positions_moved == e->moved_count);
    CHECK(seen->begun == e->begun && seen->ended == e->ended);
    for (uint32_t g = 0; g < MODEL_GROUPS; g++)
        CHECK(seen->groups_changed[g] == e->groups_changed[g]);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++) {
            bool told = w->first_due[t][p] == first_due(m, t, p);
            for (uint32_t i = 0; i < seen->changed_count; i++)
                told |= is_at(m, (struct model_place){t, p, 0}, &seen->changed[i]);
            CHECK(told);
            CHECK(seen->moving[t][p] || stable_end(m, t, p) <= w->stable_end[t][p]);
        }
    }
}

static void step(struct machine_world *w)
{
    static const struct {
        void (*run)(struct machine_world *w);
        unsigned weight;
    } steps[] = {
        {step_publish, 19},
        {step_ack, 12},
        {step_commit, 7},
        {step_join, 9},
        {step_leave, 5},
        {step_topic_create, 4},
        {step_topic_delete, 2},
        {step_group_delete, 1},
        {step_lease, 8},
        {step_release, 8},
        {step_dead_letter, 5},
        {step_delay_due, 5},
        {step_delay_cancel, 3},
        {step_replay, 3},
        {step_add_partitions, 2},
        {step_revoke, 4},
        {step_revoke_expired, 1},
        {step_reset, 2},
        {step_producer_init, 3},
        {step_producer_heartbeat, 1},
        {step_begin, 9},
        {step_send, 18},
        {step_transaction_ack, 9},
        {step_transaction_offsets, 3},
        {step_end, 6},
        {step_expire, 1},
    };
    uint64_t dice = below(w, 150);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (dice < steps[i].weight) {
            steps[i].run(w);
            return;
        }
        dice -= steps[i].weight;
    }
}

static void save_and_load(struct machine_world *w)
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
    model_compare(w->model, loaded, &w->arena);
    if (one_in(w, 2)) { /* go on with the loaded one */
        struct machine *old = w->machine;
        w->machine = loaded;
        loaded = old;
    }
    machine_free(loaded);
    buf_fini(&image);
    buf_fini(&again);
}

static void replay(struct machine_world *w)
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
    model_init(&model, 1700000000000000);
    struct machine_world w = {.dice = dice_of(seed), .model = &model};
    w.cooperative = one_in(&w, 2);
    w.machine = new_machine(&w);
    buf_init(&w.journal, JOURNAL_SIZE_MAX);
    buf_init(&w.entries, JOURNAL_SIZE_MAX);
    arena_init(&w.arena);
    for (int i = 0; i < STEPS; i++) {
        uint64_t index = w.index;
        step(&w);
        machine_check(w.machine);
        if (w.index > index)
            compare_effects(&w);
        model_compare(&model, w.machine, &w.arena);
        if (one_in(&w, 50))
            save_and_load(&w);
        arena_clear(&w.arena);
    }
    model_compare(&model, w.machine, &w.arena);
    replay(&w);
    property_count_steps(w.index);
    machine_free(w.machine);
    buf_fini(&w.journal);
    buf_fini(&w.entries);
    arena_fini(&w.arena);
}
