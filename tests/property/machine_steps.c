/* Random commands about topics, messages and members. */
#include <stdio.h>

#include "std/check.h"
#include "tests/property/machine_world.h"

enum { ID_SIZE = 16, IDEMPOTENCY_KEYS = 12 };

void step_topic_create(struct machine_world *w)
{
    uint32_t topic = (uint32_t)below(w, one_in(w, 3) ? MODEL_TOPICS : MODEL_NAMES);
    struct command cmd = {.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create.name = span_text(model_topic_name(topic));
    cmd.topic_create.partition_count = (uint32_t)below(w, MODEL_PARTITIONS) + 1;
    cmd.topic_create.if_absent = one_in(w, 2);
    cmd.topic_create.settings = (struct topic_settings){
        .retention_us = (int64_t)below(w, 99) - 1,
        .retention_bytes = -1,
        .visibility_us = 1000,
        .deliveries_max = 3,
        .in_flight_max = (uint32_t)below(w, 4),
        .delayed_max = one_in(w, 3) ? (uint32_t)below(w, 9) : 1000,
        .cleanup = one_in(w, 2) ? CLEANUP_COMPACT : CLEANUP_DELETE,
        .priority_mode = one_in(w, 2) ? PRIORITY_WEIGHTED : PRIORITY_STRICT};
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_topic_create(w->model, topic, &cmd.topic_create, &result);
}

void step_topic_delete(struct machine_world *w)
{
    uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
    struct command cmd = {.type = COMMAND_TOPIC_DELETE};
    cmd.topic_delete.name = span_text(model_topic_name(topic));
    uint32_t known = 0;
    for (uint32_t g = 0; g < MODEL_GROUPS; g++)
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
            known += w->model->groups[g].progress[topic][p].known;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    CHECK(w->seen.partitions_gone == known);
    model_topic_delete(w->model, topic, &result);
}

static struct model_record random_record(struct machine_world *w)
{
    struct model_record record = {.priority = PRIORITY_NORMAL};
    if (one_in(w, 2))
        record.priority = (enum priority)below(w, PRIORITY_COUNT);
    if (!one_in(w, 3))
        return record;
    int64_t ahead_us = (int64_t)below(w, one_in(w, 3) ? 3 : one_in(w, 2) ? 5000 : 60000000);
    if (one_in(w, 20))
        ahead_us = one_in(w, 2) ? INT64_MAX : DUE_US_MAX;
    if (one_in(w, 2))
        record.delay_us = ahead_us;
    else if (one_in(w, 4))
        record.deliver_at_us = w->model->now_us - (int64_t)below(w, 1000000);
    else
        record.deliver_at_us = ahead_us < DUE_US_MAX ? w->model->now_us + ahead_us : ahead_us;
    return record;
}

void put_batch(struct machine_world *w, uint32_t count, struct model_sent *out)
{
    struct batch_builder builder;
    batch_begin(&builder, &w->entries);
    CHECK(count <= MODEL_BATCH);
    bool plain = one_in(w, 3);
    for (uint32_t i = 0; i < count; i++) {
        out->records[i] =
            plain ? (struct model_record){.priority = PRIORITY_NORMAL} : random_record(w);
        struct record record = {.key = {(const uint8_t *)"k", 1},
                                .value = {(const uint8_t *)"v", 1},
                                .priority = out->records[i].priority,
                                .delay_us = out->records[i].delay_us,
                                .deliver_at_us = out->records[i].deliver_at_us};
        batch_add(&builder, &record);
    }
    out->count = count;
    out->size = batch_size(&builder);
    batch_end(&builder);
}

bool has_space(const struct machine_world *w, uint32_t topic)
{
    for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
        if (w->model->topics[topic].partitions[p].next + MODEL_ENTRIES * MODEL_BATCH >
            MODEL_OFFSETS)
            return false;
    return true;
}

void step_publish(struct machine_world *w)
{
    uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
    const struct model_topic *t = &w->model->topics[topic];
    struct command cmd = {.type = COMMAND_PUBLISH};
    cmd.publish.topic_id = one_in(w, 30) ? (uint32_t)below(w, 20) : t->id;
    cmd.publish.partition_count = one_in(w, 30) || t->partition_count == 0
                                      ? 1 + (uint32_t)below(w, MODEL_PARTITIONS)
                                      : t->partition_count;
    cmd.publish.entry_count = (uint32_t)below(w, MODEL_ENTRIES) + 1;
    struct model_sent sent[MODEL_ENTRIES];
    buf_clear(&w->entries);
    for (uint32_t i = 0; i < cmd.publish.entry_count; i++) {
        bool keyless = one_in(w, 2) && cmd.publish.keyless_count < cmd.publish.partition_count;
        sent[i].target = keyless ? PUBLISH_KEYLESS | cmd.publish.keyless_count++
                                 : (uint32_t)below(w, cmd.publish.partition_count);
        wire_put_u32(&w->entries, sent[i].target);
        size_t size_at = w->entries.size;
        wire_put_u32(&w->entries, 0);
        put_batch(w, (uint32_t)below(w, MODEL_BATCH) + 1, &sent[i]);
        memcpy(w->entries.data + size_at, &sent[i].size, sizeof sent[i].size);
    }
    cmd.publish.entries = buf_span(&w->entries);
    uint8_t key[CONTENT_SIZE] = {(uint8_t)below(w, IDEMPOTENCY_KEYS)};
    if (one_in(w, 3)) {
        cmd.publish.idempotency_key = span_of(key, sizeof key);
        cmd.publish.memo = span_text(one_in(w, 3) ? "" : one_in(w, 2) ? "memo" : "other");
    }
    int named = model_topic_by_id(w->model, cmd.publish.topic_id);
    if (named != MODEL_NOBODY && !has_space(w, (uint32_t)named))
        return; /* the model is full */
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_publish(w->model, &cmd.publish, sent, &result);
}

uint32_t pick_member(struct machine_world *w, uint32_t group)
{
    const struct model_group *g = &w->model->groups[group];
    if (g->member_count > 0 && !one_in(w, 5))
        return g->members[below(w, g->member_count)].number;
    return (uint32_t)below(w, w->next_member + 1);
}

struct span member_id(struct machine_world *w, uint32_t number)
{
    char text[ID_SIZE];
    int size = snprintf(text, sizeof text, "m%u", number);
    return arena_copy(&w->arena, span_of(text, (size_t)size));
}

static struct joiner random_joiner(struct machine_world *w, uint32_t group, bool may_be_new)
{
    bool rejoin = !may_be_new || one_in(w, 3);
    struct joiner joiner = {
        .rejoin = rejoin,
        .client_id = span_text("client"),
        .session_us = 1 + (int64_t)below(w, 30000000),
        .visibility_us = (int64_t)below(w, 3) * 1000,
        .in_flight_max = 1 + (uint32_t)below(w, 10),
        .deliveries_max = (uint32_t)below(w, 4),
        .from_latest = one_in(w, 3),
        .cooperative = w->cooperative ? !one_in(w, 5) : one_in(w, 5),
        .ordering = one_in(w, 4) ? (enum ordering)below(w, 3) : ORDERING_UNSET,
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

void step_join(struct machine_world *w)
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
    machine_world_apply(w, &cmd, &result);
    model_join(w->model, group, &cmd.group_join, &result);
    model_adopt(w->model, w->machine, &w->arena);
    model_joined(w->model, group, &cmd.group_join, &result);
}

void step_leave(struct machine_world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    uint32_t number = pick_member(w, group);
    uint32_t members = w->model->groups[group].member_count;
    struct command cmd = {.type = COMMAND_GROUP_LEAVE};
    cmd.group_leave.group = span_text(model_group_name(group));
    cmd.group_leave.member_id = member_id(w, number);
    cmd.group_leave.reason = one_in(w, 2) ? LEAVE_ASKED : LEAVE_SESSION_EXPIRED;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_leave(w->model, group, &cmd.group_leave, &result);
    CHECK(w->seen.members_gone == members - w->model->groups[group].member_count);
}

void step_group_delete(struct machine_world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    uint32_t members = w->model->groups[group].member_count;
    struct command cmd = {.type = COMMAND_GROUP_DELETE};
    cmd.group_delete.group = span_text(model_group_name(group));
    struct result result;
    machine_world_apply(w, &cmd, &result);
    CHECK(w->seen.members_gone == members);
    model_group_delete(w->model, group, &result);
}
