/* Random commands about deliveries and delays: near the position, where it matters, with now and
 * then a place that is not there. */
#include "std/check.h"
#include "tests/property/machine_world.h"

static uint64_t pick_offset(struct machine_world *w, uint32_t group, uint32_t topic,
                            uint32_t partition)
{
    uint64_t next = w->model->topics[topic].partitions[partition].next;
    uint64_t position = w->model->groups[group].progress[topic][partition].position;
    if (one_in(w, 3) || position > next)
        return below(w, next + 2);
    return position + below(w, 6);
}

struct delivery_place pick_place(struct machine_world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS), topic = (uint32_t)below(w, MODEL_TOPICS);
    uint32_t partition = (uint32_t)below(w, MODEL_PARTITIONS);
    for (int tries = 0; tries < 8; tries++) { /* one that the group reads, if there is one */
        if (w->model->groups[group].progress[topic][partition].known)
            break;
        topic = (uint32_t)below(w, MODEL_TOPICS);
        partition = (uint32_t)below(w, MODEL_PARTITIONS);
    }
    struct delivery_place place = {.group_id = w->model->groups[group].id,
                                   .topic_id = w->model->topics[topic].id,
                                   .partition = partition,
                                   .offset = pick_offset(w, group, topic, partition)};
    if (one_in(w, 60))
        place.group_id = (uint32_t)below(w, 9);
    if (one_in(w, 60))
        place.topic_id = (uint32_t)below(w, 20);
    return place;
}

void step_ack(struct machine_world *w)
{
    struct ack_entry entries[ACKS_MAX];
    struct command cmd = {.type = COMMAND_ACK};
    cmd.ack.entries = entries;
    cmd.ack.entry_count = (uint32_t)below(w, ACKS_MAX) + 1;
    for (uint32_t i = 0; i < cmd.ack.entry_count; i++) {
        struct delivery_place place = pick_place(w);
        if (i == 0)
            cmd.ack.group_id = place.group_id;
        entries[i] = (struct ack_entry){place.topic_id, place.partition, place.offset};
    }
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_ack(w->model, &cmd.ack, &result);
}

bool pick_commit(struct machine_world *w, struct offset_entry *entries,
                 struct command_offsets_commit *out, uint32_t *out_group)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    const struct model_group *g = &w->model->groups[group];
    uint32_t number = pick_member(w, group);
    *out_group = group;
    out->group = span_text(model_group_name(group));
    out->member_id = member_id(w, number);
    out->generation = one_in(w, 2) ? -1 : (int64_t)g->generation - one_in(w, 9);
    if (out->generation < -1)
        out->generation = -1;
    out->entries = entries;
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
    out->entry_count = count;
    return count > 0;
}

void step_commit(struct machine_world *w)
{
    struct offset_entry entries[ACKS_MAX];
    struct command cmd = {.type = COMMAND_OFFSETS_COMMIT};
    uint32_t group = 0;
    if (!pick_commit(w, entries, &cmd.offsets_commit, &group))
        return;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_commit(w->model, group, &cmd.offsets_commit, &result);
}

static int64_t pick_time(struct machine_world *w)
{
    return one_in(w, 9) ? 0 : w->model->now_us + (int64_t)below(w, 3000000) - 1000000;
}

void step_lease(struct machine_world *w)
{
    struct lease_entry entries[ACKS_MAX];
    struct command cmd = {.type = COMMAND_LEASE, .lease = {.entries = entries}};
    cmd.lease.as_of_index = w->index - below(w, one_in(w, 3) && w->index > 20 ? 20 : 1);
    cmd.lease.entry_count = (uint32_t)below(w, ACKS_MAX) + 1;
    for (uint32_t i = 0; i < cmd.lease.entry_count; i++) {
        bool again = one_in(w, 3);
        entries[i] = (struct lease_entry){.place = pick_place(w),
                                          .count = again ? 1 : (uint32_t)below(w, 5) + 1,
                                          .delivery_count = again ? (uint32_t)below(w, 3) + 1 : 1,
                                          .extended = again && one_in(w, 2),
                                          .deadline_us = pick_time(w),
                                          .first_us = pick_time(w)};
    }
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_lease(w->model, &cmd.lease, &result);
}

void step_release(struct machine_world *w)
{
    static const char *const reasons[] = {"", "", "no", "later"};
    struct release_entry entries[ACKS_MAX];
    struct command cmd = {.type = COMMAND_RELEASE, .release = {.entries = entries}};
    cmd.release.as_of_index = w->index - below(w, one_in(w, 3) && w->index > 20 ? 20 : 1);
    cmd.release.entry_count = (uint32_t)below(w, ACKS_MAX) + 1;
    for (uint32_t i = 0; i < cmd.release.entry_count; i++) {
        bool nack = one_in(w, 2);
        entries[i] = (struct release_entry){
            .place = pick_place(w),
            .lease_id = below(w, LEASE_IDS),
            .delivery_count = nack ? (uint32_t)below(w, 3) + 1 : (uint32_t)below(w, 4),
            .kind = nack ? RELEASE_NACK : RELEASE_RETURNED,
            .not_before_us = pick_time(w),
            .first_us = pick_time(w),
            .reason = span_text(reasons[below(w, 4)]),
        };
    }
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_release(w->model, &cmd.release, &result);
}

void step_dead_letter(struct machine_world *w)
{
    struct dead_letter_entry entries[MODEL_ENTRIES];
    struct model_sent sent[MODEL_ENTRIES] = {0};
    size_t ends[MODEL_ENTRIES];
    struct command cmd = {.type = COMMAND_DEAD_LETTER, .dead_letter = {.entries = entries}};
    cmd.dead_letter.settings = (struct topic_settings){.retention_us = 336LL * 3600 * 1000000,
                                                       .retention_bytes = -1,
                                                       .visibility_us = 5,
                                                       .deliveries_max = 1,
                                                       .delayed_max = 3};
    cmd.dead_letter.entry_count = (uint32_t)below(w, 3) + 1;
    buf_clear(&w->entries);
    for (uint32_t i = 0; i < cmd.dead_letter.entry_count; i++) {
        unsigned how = (unsigned)below(w, 3);
        entries[i] = (struct dead_letter_entry){
            .place = pick_place(w),
            .lease_id = below(w, LEASE_IDS),
            .delivery_count = (uint32_t)below(w, 3) + 1,
            .reason = one_in(w, 2) ? DEAD_LETTER_REJECTED : DEAD_LETTER_MAX_RETRIES,
            .asked = how == 0,
            .nacked = how == 1,
            .hash = (uint32_t)below(w, UINT32_MAX),
        };
        int topic = model_topic_by_id(w->model, entries[i].place.topic_id);
        bool keep = topic != MODEL_NOBODY && topic < MODEL_NAMES && !one_in(w, 8);
        if (keep && !has_space(w, (uint32_t)topic + MODEL_NAMES))
            return; /* the model is full */
        if (keep)
            put_batch(w, 1, &sent[i]);
        ends[i] = w->entries.size;
    }
    for (uint32_t i = 0; i < cmd.dead_letter.entry_count; i++) { /* the buffer moves no more */
        size_t start = i == 0 ? 0 : ends[i - 1];
        if (ends[i] > start)
            entries[i].batch = span_of(w->entries.data + start, ends[i] - start);
    }
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_dead_letter(w->model, &cmd.dead_letter, sent, &result);
}

void step_delay_due(struct machine_world *w)
{
    const struct model_topic *t = &w->model->topics[below(w, MODEL_TOPICS)];
    struct command cmd = {.type = COMMAND_DELAY_DUE};
    cmd.delay_due.topic_id = one_in(w, 30) ? (uint32_t)below(w, 20) : t->id;
    cmd.delay_due.partition = (uint32_t)below(w, MODEL_PARTITIONS);
    cmd.delay_due.count_max = one_in(w, 3) ? DUE_PER_COMMAND_MAX : (uint32_t)below(w, 3) + 1;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_delay_due(w->model, &cmd.delay_due, &result);
}

void step_delay_cancel(struct machine_world *w)
{
    uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
    uint32_t partition = (uint32_t)below(w, MODEL_PARTITIONS);
    const struct model_partition *p = &w->model->topics[topic].partitions[partition];
    uint64_t offset = below(w, p->next + 1);
    for (int tries = 0; tries < 10 && offset < p->next && !p->messages[offset].pending; tries++)
        offset = below(w, p->next);
    struct command cmd = {.type = COMMAND_DELAY_CANCEL};
    cmd.delay_cancel.topic_id = w->model->topics[topic].id;
    cmd.delay_cancel.partition = partition;
    cmd.delay_cancel.offset = offset;
    cmd.delay_cancel.due_us = offset < p->next ? p->messages[offset].due_us : 0;
    if (one_in(w, 10))
        cmd.delay_cancel.due_us += cmd.delay_cancel.due_us < DUE_US_MAX;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_delay_cancel(w->model, &cmd.delay_cancel, &result);
}

void step_replay(struct machine_world *w)
{
    uint32_t target = (uint32_t)below(w, MODEL_NAMES);
    uint32_t source = one_in(w, 5) ? (uint32_t)below(w, MODEL_TOPICS) : target + MODEL_NAMES;
    uint32_t partition = (uint32_t)below(w, MODEL_PARTITIONS);
    if (!has_space(w, target))
        return; /* the model is full */
    struct replay_entry entries[MODEL_ENTRIES];
    struct model_sent sent[MODEL_ENTRIES];
    size_t ends[MODEL_ENTRIES];
    struct command cmd = {.type = COMMAND_REPLAY, .replay = {.entries = entries}};
    cmd.replay.topic_id = w->model->topics[source].id;
    cmd.replay.partition = partition;
    cmd.replay.target_topic_id = w->model->topics[target].id;
    cmd.replay.entry_count = (uint32_t)below(w, 4) + 1;
    uint64_t next = w->model->topics[source].partitions[partition].next;
    buf_clear(&w->entries);
    for (uint32_t i = 0; i < cmd.replay.entry_count; i++) {
        put_batch(w, 1, &sent[i]);
        ends[i] = w->entries.size;
        entries[i] = (struct replay_entry){.offset = below(w, next + 1),
                                           .hash = (uint32_t)below(w, UINT32_MAX)};
    }
    for (uint32_t i = 0; i < cmd.replay.entry_count; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];
        entries[i].batch = span_of(w->entries.data + start, ends[i] - start);
    }
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_replay(w->model, &cmd.replay, sent, &result);
}
