/* Topics: create and delete. */
#include "machine/state.h"
#include "std/check.h"

static void describe(const struct topic *t, bool created, struct result *out)
{
    out->topic = (struct result_topic){.id = t->id,
                                       .partition_count = t->partition_count,
                                       .created = created,
                                       .settings = t->settings};
}

void apply_topic_create(struct machine *m, const struct command_topic_create *cmd,
                        struct arena *arena, struct result *out)
{
    (void)arena;
    struct topic *t = machine_find_topic(m, cmd->name);
    if (t != NULL) {
        out->status = cmd->if_absent ? ST_OK : ST_TOPIC_EXISTS;
        describe(t, false, out);
        return;
    }
    if (m->topic_count >= TOPICS_MAX ||
        m->partition_total + cmd->partition_count > PARTITIONS_TOTAL_MAX) {
        out->status = ST_QUOTA_EXCEEDED;
        return;
    }
    t = topic_new(m->next_topic_id, cmd->name, cmd->partition_count);
    CHECK(m->next_topic_id < UINT32_MAX);
    m->next_topic_id++;
    t->settings = cmd->settings;
    t->created_us = m->time_us;
    machine_add_topic(m, t);
    describe(t, true, out);
    EFFECT(m, topic_created, t);
}

void apply_topic_delete(struct machine *m, const struct command_topic_delete *cmd,
                        struct arena *arena, struct result *out)
{
    (void)arena;
    struct topic *t = machine_find_topic(m, cmd->name);
    if (t == NULL) {
        out->status = ST_TOPIC_NOT_FOUND;
        return;
    }
    for (uint32_t i = 0; i < m->group_count; i++)
        group_drop_topic(m, m->groups[i], t);
    EFFECT(m, topic_deleted, t);
    machine_remove_topic(m, t);
}
