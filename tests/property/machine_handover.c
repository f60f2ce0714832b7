/* Random commands that take partitions from one member to the next, make more of them, or set
 * positions from outside. */
#include "std/check.h"
#include "tests/property/machine_world.h"

void step_add_partitions(struct machine_world *w)
{
    uint32_t topic = (uint32_t)below(w, one_in(w, 3) ? MODEL_TOPICS : MODEL_NAMES);
    uint32_t before = w->model->topics[topic].partition_count;
    struct command cmd = {.type = COMMAND_TOPIC_ADD_PARTITIONS};
    cmd.topic_add_partitions.name = span_text(model_topic_name(topic));
    cmd.topic_add_partitions.partition_count = (uint32_t)below(w, MODEL_PARTITIONS) + 1;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_add_partitions(w->model, topic, &cmd.topic_add_partitions, &result);
    uint32_t added = result.status == ST_OK ? w->model->topics[topic].partition_count - before : 0;
    CHECK(w->seen.partitions_added == added);
}

/* Some of what somebody in the group is asked for, and some of anything else. */
static uint32_t pick_revoked(struct machine_world *w, uint32_t group, struct revoked_entry *out)
{
    const struct model_group *g = &w->model->groups[group];
    uint32_t count = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; p < MODEL_PARTITIONS && count < REVOKED_MAX; p++) {
            bool asked = g->progress[t][p].known && g->progress[t][p].successor != MODEL_NOBODY;
            if (asked ? !one_in(w, 3) : one_in(w, 20))
                out[count++] = (struct revoked_entry){span_text(model_topic_name(t)), p};
        }
    }
    if (count > 0 && one_in(w, 8))
        out[count - 1].partition += (uint32_t)below(w, 3) * MODEL_PARTITIONS;
    return count;
}

static void revoke(struct machine_world *w, uint32_t group, struct command *cmd)
{
    const struct model_group *g = &w->model->groups[group];
    struct command_group_revoke *body = &cmd->group_revoke;
    body->group = span_text(model_group_name(group));
    body->generation = one_in(w, 2) ? -1 : (int64_t)g->generation - one_in(w, 9);
    if (body->generation < -1)
        body->generation = -1;
    struct result result;
    machine_world_apply(w, cmd, &result);
    model_revoke(w->model, group, body, &result);
}

/* Who is asked for something, if anybody is. */
static uint32_t pick_asked(struct machine_world *w, uint32_t group)
{
    const struct model_group *g = &w->model->groups[group];
    for (uint32_t tries = 0; tries < 20; tries++) {
        const struct model_progress *progress =
            &g->progress[below(w, MODEL_TOPICS)][below(w, MODEL_PARTITIONS)];
        if (progress->known && progress->successor != MODEL_NOBODY)
            return g->members[progress->owner].number;
    }
    return pick_member(w, group);
}

static uint32_t pick_busy_group(struct machine_world *w)
{
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS);
    for (uint32_t tries = 0; tries < 4 && w->model->groups[group].open_rebalances == 0; tries++)
        group = (uint32_t)below(w, MODEL_GROUPS);
    return group;
}

void step_revoke(struct machine_world *w)
{
    struct revoked_entry entries[REVOKED_MAX];
    uint32_t group = pick_busy_group(w);
    struct command cmd = {.type = COMMAND_GROUP_REVOKE};
    cmd.group_revoke.member_id = member_id(w, pick_asked(w, group));
    cmd.group_revoke.entries = entries;
    cmd.group_revoke.entry_count = pick_revoked(w, group, entries);
    revoke(w, group, &cmd);
}

/* Around the time at which something is to be let go of, or at any other. */
void step_revoke_expired(struct machine_world *w)
{
    uint32_t group = pick_busy_group(w);
    const struct model_group *g = &w->model->groups[group];
    int64_t revoke_by_us = 0;
    for (uint32_t tries = 0; tries < 20 && revoke_by_us == 0; tries++)
        revoke_by_us = g->progress[below(w, MODEL_TOPICS)][below(w, MODEL_PARTITIONS)].revoke_by_us;
    if (revoke_by_us > w->model->now_us + 3 && !one_in(w, 3))
        w->model->now_us = revoke_by_us - (int64_t)below(w, 4);
    struct command cmd = {.type = COMMAND_GROUP_REVOKE};
    cmd.group_revoke.expired = true;
    revoke(w, group, &cmd);
}

void step_reset(struct machine_world *w)
{
    struct reset_entry entries[RESETS_MAX];
    uint32_t group = (uint32_t)below(w, MODEL_GROUPS), topic = (uint32_t)below(w, MODEL_TOPICS);
    struct command cmd = {.type = COMMAND_OFFSETS_RESET};
    cmd.offsets_reset.group = span_text(model_group_name(group));
    cmd.offsets_reset.topic = span_text(model_topic_name(topic));
    cmd.offsets_reset.entries = entries;
    cmd.offsets_reset.entry_count = (uint32_t)below(w, RESETS_MAX) + 1;
    for (uint32_t i = 0; i < cmd.offsets_reset.entry_count; i++) {
        uint32_t count = w->model->topics[topic].partition_count;
        uint32_t partition = (uint32_t)below(w, count == 0 ? 1 : count) + one_in(w, 60);
        entries[i] = (struct reset_entry){
            .partition = partition,
            .to = (enum reset_to)below(w, 3),
            .offset =
                one_in(w, 30)
                    ? OFFSET_MAX
                    : below(w,
                            w->model->topics[topic].partitions[partition % MODEL_PARTITIONS].next +
                                2)};
    }
    if (one_in(w, 3)) {
        cmd.offsets_reset.entry_count = 1;
        entries[0].partition = RESET_EVERY_PARTITION;
    }
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_reset(w->model, group, &cmd.offsets_reset, &result);
}
