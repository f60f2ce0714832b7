/* Topics: create, grow and delete. */
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
    t = machine_create_topic(m, cmd->name, cmd->partition_count, &cmd->settings);
    if (t == NULL)
        out->status = ST_QUOTA_EXCEEDED;
    else
        describe(t, true, out);
}

static bool is_subscribed(const struct group *g, uint32_t topic_id)
{
    for (uint32_t i = 0; i < g->member_count; i++)
        if (member_subscribes(g->members[i], topic_id))
            return true;
    return false;
}

void apply_topic_add_partitions(struct machine *m, const struct command_topic_add_partitions *cmd,
                                struct arena *arena, struct result *out)
{
    (void)arena;
    struct topic *t = machine_find_topic(m, cmd->name);
    if (t == NULL) {
        out->status = ST_TOPIC_NOT_FOUND;
        return;
    }
    out->add_partitions = (struct result_add_partitions){t->partition_count, t->partition_count};
    if (cmd->partition_count <= t->partition_count) {
        out->status = ST_INVALID_ARGUMENT;
        out->detail = "count: must be above the current number of partitions";
        return;
    }
    if (!machine_grow_topic(m, t, cmd->partition_count)) {
        out->status = ST_QUOTA_EXCEEDED;
        return;
    }
    out->add_partitions.new_count = t->partition_count;
    for (uint32_t i = 0; i < m->group_count; i++)
        if (is_subscribed(m->groups[i], t->id))
            group_rebalance(m, m->groups[i], REBALANCE_PARTITIONS_ADDED);
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
