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
    t = machine_create_topic(m, cmd->name, cmd->partition_count, &cmd->settings);
    if (t == NULL)
        out->status = ST_QUOTA_EXCEEDED;
    else
        describe(t, true, out);
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
