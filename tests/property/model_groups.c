/* Groups of the naive machine: who is in, and a judgement of how the real one shares out. */
#include "std/check.h"
#include "tests/property/model.h"

static enum status join_one(struct model *m, struct model_group *g, const struct joiner *joiner)
{
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
    }
    if (at == MODEL_NOBODY) {
        CHECK(g->member_count < MODEL_MEMBERS);
        at = (int)g->member_count++;
        g->members[at] = (struct model_member){.number = model_member_number(joiner->member_id),
                                               .joined_us = m->now_us,
                                               .changed_generation = g->generation + 1};
        g->stale = true;
    }
    if (memcmp(g->members[at].topics, topics, sizeof topics) != 0)
        g->stale = true;
    struct model_member *member = &g->members[at];
    memcpy(member->topics, topics, sizeof topics);
    member->from_latest = joiner->from_latest;
    member->session_us = joiner->session_us;
    member->visibility_us = joiner->visibility_us;
    member->in_flight_max = joiner->in_flight_max;
    member->deliveries_max = joiner->deliveries_max;
    return ST_OK;
}

void model_join(struct model *m, uint32_t group, const struct command_group_join *cmd,
                const struct result *result)
{
    struct model_group *g = &m->groups[group];
    CHECK(result->status == ST_OK && result->join.joined_count == cmd->joiner_count);
    for (uint32_t i = 0; i < cmd->joiner_count; i++) {
        enum status st = join_one(m, g, &cmd->joiners[i]);
        CHECK(result->join.joined[i].status == st);
        CHECK(span_equal(result->join.joined[i].member_id, cmd->joiners[i].member_id));
    }
    if (!g->alive) {
        CHECK(result->join.group_id == 0 && result->join.generation == 0);
        return;
    }
    g->generation += g->stale;
    CHECK(result->join.group_id == g->id && result->join.generation == g->generation);
    CHECK(result->join.member_count == g->member_count);
    for (uint32_t i = 0; i < g->member_count; i++)
        CHECK(model_member_number(result->join.member_ids[i]) == g->members[i].number);
    for (uint32_t i = 0; i < cmd->joiner_count; i++) {
        const struct joined *joined = &result->join.joined[i];
        bool leads = model_member_number(joined->member_id) == g->members[0].number;
        CHECK(joined->leader == (joined->status == ST_OK && leads));
    }
    if (g->member_count > 0)
        CHECK(model_member_number(result->join.leader_id) == g->members[0].number);
}

void model_leave(struct model *m, uint32_t group, uint32_t number, const struct result *result)
{
    struct model_group *g = &m->groups[group];
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
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++) {
            struct model_progress *progress = &g->progress[t][p];
            if (progress->known && progress->owner == at)
                progress->owner = MODEL_NOBODY;
            else if (progress->known && progress->owner > at)
                progress->owner--;
        }
    }
    g->member_count--;
    for (uint32_t i = (uint32_t)at; i < g->member_count; i++)
        g->members[i] = g->members[i + 1];
    g->generation++;
    g->stale = true;
}

void model_group_delete(struct model *m, uint32_t group, const struct result *result)
{
    CHECK(result->status == (m->groups[group].alive ? ST_OK : ST_GROUP_NOT_FOUND));
    memset(&m->groups[group], 0, sizeof m->groups[group]);
}

/* How many of its partitions each member holds, of `owners` [topic][partition]. */
static void count_loads(const struct model *m, int owners[MODEL_TOPICS][MODEL_PARTITIONS],
                        uint32_t *loads)
{
    memset(loads, 0, MODEL_MEMBERS * sizeof *loads);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++) {
            if (owners[t][p] != MODEL_NOBODY)
                loads[owners[t][p]]++;
        }
    }
}

static void judge_balance(const struct model *m, const struct model_group *g,
                          int owners[MODEL_TOPICS][MODEL_PARTITIONS])
{
    uint32_t loads[MODEL_MEMBERS];
    count_loads(m, owners, loads);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++) {
            bool wanted = false;
            for (uint32_t i = 0; i < g->member_count; i++) {
                wanted |= g->members[i].topics[t];
                if (owners[t][p] != MODEL_NOBODY && g->members[i].topics[t])
                    CHECK(loads[owners[t][p]] <= loads[i] + 1);
            }
            CHECK(wanted == (owners[t][p] != MODEL_NOBODY));
            CHECK(!wanted || g->members[owners[t][p]].topics[t]);
        }
    }
}

/* With equal subscriptions, as few partitions move between live members as balance allows. */
static void judge_stickiness(const struct model *m, const struct model_group *g,
                             int owners[MODEL_TOPICS][MODEL_PARTITIONS])
{
    for (uint32_t i = 1; i < g->member_count; i++) {
        if (memcmp(g->members[i].topics, g->members[0].topics, sizeof g->members[0].topics) != 0)
            return;
    }
    uint32_t kept[MODEL_MEMBERS] = {0}, total = 0, moved = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS && g->member_count > 0; t++) {
        if (!g->members[0].topics[t])
            continue;
        for (uint32_t p = 0; p < m->topics[t].partition_count; p++) {
            const struct model_progress *progress = &g->progress[t][p];
            total++;
            if (!progress->known || progress->owner == MODEL_NOBODY)
                continue;
            kept[progress->owner]++;
            moved += progress->owner != owners[t][p];
        }
    }
    /* `extra` members may hold one more than the floor: best are those who hold more already. */
    uint32_t least = 0, over_floor = 0, extra = 0, floor = 0;
    if (g->member_count > 0) {
        floor = total / g->member_count;
        extra = total % g->member_count;
    }
    for (uint32_t i = 0; i < g->member_count; i++) {
        over_floor += kept[i] > floor;
        least += kept[i] > floor ? kept[i] - floor : 0;
    }
    least -= over_floor < extra ? over_floor : extra;
    CHECK(moved == least);
}

static void read_owners(const struct model *m, const struct group_info *info,
                        int owners[MODEL_TOPICS][MODEL_PARTITIONS])
{
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
            owners[t][p] = MODEL_NOBODY;
    }
    for (uint32_t i = 0; i < info->member_count; i++) {
        const struct member_info *member = &info->members[i];
        for (uint32_t k = 0; k < member->assigned_count; k++) {
            const struct assigned *a = &member->assigned[k];
            int t = model_topic_by_name(m, a->topic);
            CHECK(t != MODEL_NOBODY && m->topics[t].id == a->topic_id);
            CHECK(a->partition < m->topics[t].partition_count);
            CHECK(owners[t][a->partition] == MODEL_NOBODY);
            owners[t][a->partition] = (int)i;
            if (k > 0) {
                const struct assigned *b = &member->assigned[k - 1];
                int order = span_compare(b->topic, a->topic);
                CHECK(order < 0 || (order == 0 && b->partition < a->partition));
            }
        }
    }
}

/* What the group had before is kept: where it goes on is known. */
static bool hand_over(struct model *m, uint32_t group, uint32_t t, uint32_t p, int after)
{
    struct model_group *g = &m->groups[group];
    struct model_progress *progress = &g->progress[t][p];
    int before = progress->known ? progress->owner : MODEL_NOBODY;
    if (before != MODEL_NOBODY && before != after)
        g->members[before].changed_generation = g->generation;
    if (after != MODEL_NOBODY && before != after)
        g->members[after].changed_generation = g->generation;
    if (after != MODEL_NOBODY && !progress->known) {
        progress->known = true;
        progress->position = g->members[after].from_latest ? m->topics[t].partitions[p].next : 0;
        model_settle_position(m, group, t, p);
    }
    progress->owner = after;
    return before != after;
}

static void adopt(struct model *m, uint32_t group, const struct group_info *info)
{
    struct model_group *g = &m->groups[group];
    int owners[MODEL_TOPICS][MODEL_PARTITIONS];
    read_owners(m, info, owners);
    if (g->stale) {
        judge_balance(m, g, owners);
        judge_stickiness(m, g, owners);
        bool moved = false;
        for (uint32_t t = 0; t < MODEL_TOPICS; t++)
            for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++)
                moved |= hand_over(m, group, t, p, owners[t][p]);
        g->rebalance_count += moved;
        g->stale = false;
    }
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++) {
            const struct model_progress *progress = &g->progress[t][p];
            CHECK(owners[t][p] == (progress->known ? progress->owner : MODEL_NOBODY));
        }
    }
}

static void compare_group(const struct model *m, const struct machine *machine, uint32_t index,
                          const struct group_info *info)
{
    const struct model_group *g = &m->groups[index];
    CHECK(span_equal(info->name, span_text(model_group_name(index))));
    CHECK(info->id == g->id && info->generation == g->generation);
    CHECK(info->created_us == g->created_us && info->rebalance_count == g->rebalance_count);
    CHECK(info->member_count == g->member_count);
    const struct group *real = machine_group_by_id(machine, g->id);
    for (uint32_t i = 0; i < g->member_count; i++) {
        const struct model_member *member = &g->members[i];
        CHECK(model_member_number(info->members[i].member_id) == member->number);
        CHECK(info->members[i].joined_us == member->joined_us);
        CHECK(real->members[i]->changed_generation == member->changed_generation);
        CHECK(real->members[i]->session_us == member->session_us);
        CHECK(real->members[i]->visibility_us == member->visibility_us);
        CHECK(real->members[i]->in_flight_max == member->in_flight_max);
        CHECK(real->members[i]->deliveries_max == member->deliveries_max);
    }
    uint32_t topic_count = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        bool read = false;
        for (uint32_t i = 0; i < g->member_count; i++)
            read |= g->members[i].topics[t];
        topic_count += read;
    }
    CHECK(info->topic_count == topic_count);
    for (uint32_t i = 1; i < topic_count; i++)
        CHECK(span_compare(info->topics[i - 1], info->topics[i]) < 0);
}

void model_adopt(struct model *m, const struct machine *machine, struct arena *arena)
{
    uint32_t count[2] = {0, 0}; /* of the default tenant, of acme */
    for (uint32_t i = 0; i < MODEL_GROUPS; i++) {
        struct query q = {.type = QUERY_GROUP, .name = span_text(model_group_name(i))};
        struct query_result got;
        machine_query(machine, &q, arena, &got);
        CHECK(got.status == (m->groups[i].alive ? ST_OK : ST_GROUP_NOT_FOUND));
        if (!m->groups[i].alive)
            continue;
        adopt(m, i, got.groups);
        compare_group(m, machine, i, got.groups);
        count[strchr(model_group_name(i), '/') != NULL]++;
    }
    struct query default_tenant = {.type = QUERY_GROUPS};
    struct query acme = {.type = QUERY_GROUPS, .scope = span_text("acme/")};
    struct query_result got;
    machine_query(machine, &default_tenant, arena, &got);
    CHECK(got.group_count == count[0]);
    machine_query(machine, &acme, arena, &got);
    CHECK(got.group_count == count[1]);
}
