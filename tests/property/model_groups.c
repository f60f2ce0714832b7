/* Groups of the naive machine: who is in. */
#include "std/check.h"
#include "tests/property/model.h"

/* `changed` becomes true where somebody is new or reads otherwise. */
static enum status join_one(struct model *m, uint32_t group, const struct joiner *joiner,
                            bool *changed)
{
    struct model_group *g = &m->groups[group];
    int at = model_member_by_number(g, model_member_number(joiner->member_id));
    if (joiner->rejoin && at == MODEL_NOBODY)
        return ST_MEMBER_NOT_FOUND;
    if (!joiner->rejoin && at != MODEL_NOBODY)
        return ST_INVALID_ARGUMENT;
    bool topics[MODEL_TOPICS] = {false};
    for (uint32_t i = 0; i < joiner->topic_count; i++) {
        int t = model_topic_by_name(m, joiner->topics[i]);
        if (t == MODEL_NOBODY)
            return ST_TOPIC_NOT_FOUND;
        topics[t] = true;
    }
    if (!g->alive) {
        memset(g, 0, sizeof *g);
        g->alive = true;
        g->id = m->next_group_id++;
        g->created_us = m->now_us;
        g->ordering = ORDERING_NONE;
    }
    if (at == MODEL_NOBODY) {
        CHECK(g->member_count < MODEL_MEMBERS);
        at = (int)g->member_count++;
        g->members[at] = (struct model_member){.number = model_member_number(joiner->member_id),
                                               .joined_us = m->now_us,
                                               .changed_generation = g->generation + 1};
        *changed = true;
    }
    struct model_member *member = &g->members[at];
    if (memcmp(member->topics, topics, sizeof topics) != 0 ||
        member->cooperative != joiner->cooperative)
        *changed = true;
    memcpy(member->topics, topics, sizeof topics);
    member->from_latest = joiner->from_latest;
    member->session_us = joiner->session_us;
    member->visibility_us = joiner->visibility_us;
    member->in_flight_max = joiner->in_flight_max;
    member->deliveries_max = joiner->deliveries_max;
    member->cooperative = joiner->cooperative;
    if (joiner->ordering != ORDERING_UNSET && joiner->ordering != g->ordering) {
        g->ordering = joiner->ordering;
        m->effects.groups_changed[group] = true;
    }
    return ST_OK;
}

void model_join(struct model *m, uint32_t group, const struct command_group_join *cmd,
                const struct result *result)
{
    CHECK(result->status == ST_OK && result->join.joined_count == cmd->joiner_count);
    bool changed = false;
    for (uint32_t i = 0; i < cmd->joiner_count; i++) {
        enum status st = join_one(m, group, &cmd->joiners[i], &changed);
        CHECK(result->join.joined[i].status == st);
        CHECK(span_equal(result->join.joined[i].member_id, cmd->joiners[i].member_id));
    }
    if (changed)
        model_begin_rebalance(m, group, REBALANCE_MEMBER_JOINED);
}

/* The member is not there any more: what it had nobody has, what it was to get it does not. */
static void forget_member(struct model_progress *progress, int at)
{
    if (progress->owner == at)
        progress->owner = MODEL_NOBODY;
    if (progress->successor == at) {
        progress->successor = MODEL_NOBODY;
        progress->revoke_by_us = 0;
    }
    progress->owner -= progress->owner > at;
    progress->successor -= progress->successor > at;
}

void model_leave(struct model *m, uint32_t group, const struct command_group_leave *cmd,
                 const struct result *result)
{
    struct model_group *g = &m->groups[group];
    const uint32_t number = model_member_number(cmd->member_id);
    if (!g->alive) {
        CHECK(result->status == ST_GROUP_NOT_FOUND);
        return;
    }
    int at = model_member_by_number(g, number);
    if (at == MODEL_NOBODY) {
        bool lately = false;
        for (uint32_t i = 0; i < g->departed_count; i++) {
            bool in_time = m->now_us - g->departed_us[i] <= DEPARTED_KEPT_US;
            lately |= in_time && g->departed[i] == number;
        }
        CHECK(result->status == (lately ? ST_OK : ST_MEMBER_NOT_FOUND));
        return;
    }
    CHECK(result->status == ST_OK);
    CHECK(g->departed_count < MODEL_DEPARTED);
    g->departed[g->departed_count] = number;
    g->departed_us[g->departed_count++] = m->now_us;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
            if (g->progress[t][p].known)
                forget_member(&g->progress[t][p], at);
    g->member_count--;
    for (uint32_t i = (uint32_t)at; i < g->member_count; i++)
        g->members[i] = g->members[i + 1];
    model_begin_rebalance(
        m, group, cmd->reason == LEAVE_ASKED ? REBALANCE_MEMBER_LEFT : REBALANCE_SESSION_TIMEOUT);
}

void model_group_delete(struct model *m, uint32_t group, const struct result *result)
{
    CHECK(result->status == (m->groups[group].alive ? ST_OK : ST_GROUP_NOT_FOUND));
    memset(&m->groups[group], 0, sizeof m->groups[group]);
}
