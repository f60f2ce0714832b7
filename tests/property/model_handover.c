/* Rebalances of the naive machine: a judgement of how the real one shares out, and how partitions
 * pass from one member to the next. */
#include "std/check.h"
#include "tests/property/model.h"

/* Who is to read each partition once all is handed over; MODEL_NOBODY: nobody. */
struct shares {
    int of[MODEL_TOPICS][MODEL_PARTITIONS];
};

void model_begin_rebalance(struct model *m, uint32_t group, enum rebalance_reason reason)
{
    struct model_group *g = &m->groups[group];
    if (g->open_rebalances == 0)
        g->began_us = m->now_us;
    g->open_rebalances++;
    g->rebalances.total++;
    g->rebalances.by_reason[reason]++;
    g->stale = true;
    m->effects.groups_changed[group] = true;
}

/* A rebalance that nobody has to let go of anything for has ended. */
static void settle(const struct model *m, struct model_group *g)
{
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
            if (g->progress[t][p].known && g->progress[t][p].successor != MODEL_NOBODY)
                return;
    if (g->open_rebalances == 0)
        return;
    if (g->expired)
        g->rebalances.failed += g->open_rebalances;
    else
        g->rebalances.successful += g->open_rebalances;
    g->rebalances.last_us = m->now_us;
    g->rebalances.last_duration_us = m->now_us - g->began_us;
    g->rebalances.duration_sum_us += m->now_us - g->began_us;
    g->open_rebalances = 0;
    g->began_us = 0;
    g->expired = false;
    g->generation++;
}

static bool is_balanced(const struct model *m, const struct model_group *g,
                        const struct shares *shares)
{
    uint32_t loads[MODEL_MEMBERS] = {0};
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++)
            if (shares->of[t][p] != MODEL_NOBODY)
                loads[shares->of[t][p]]++;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++)
            for (uint32_t i = 0; i < g->member_count; i++)
                if (g->members[i].topics[t] && shares->of[t][p] != MODEL_NOBODY &&
                    loads[shares->of[t][p]] > loads[i] + 1)
                    return false;
    return true;
}

/* Each partition that somebody subscribes to goes to one who does, others to nobody. */
static void judge_owners(const struct model *m, const struct model_group *g,
                         const struct shares *shares)
{
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++) {
            bool wanted = false;
            for (uint32_t i = 0; i < g->member_count; i++)
                wanted |= g->members[i].topics[t];
            CHECK(wanted == (shares->of[t][p] != MODEL_NOBODY));
            CHECK(!wanted || g->members[shares->of[t][p]].topics[t]);
        }
    }
}

/* Who was to read the partition before, and may still. */
static int reader_before(const struct model_group *g, uint32_t t, uint32_t p)
{
    const struct model_progress *progress = &g->progress[t][p];
    if (!progress->known)
        return MODEL_NOBODY;
    if (progress->successor != MODEL_NOBODY && g->members[progress->successor].topics[t])
        return progress->successor;
    bool stays = progress->owner != MODEL_NOBODY && g->members[progress->owner].topics[t];
    return stays ? progress->owner : MODEL_NOBODY;
}

static bool subscribe_equally(const struct model_group *g)
{
    for (uint32_t i = 1; i < g->member_count; i++)
        if (memcmp(g->members[i].topics, g->members[0].topics, sizeof g->members[0].topics) != 0)
            return false;
    return g->member_count > 0;
}

/* With equal subscriptions, as few partitions move between live members as balance allows. */
static void judge_count(const struct model *m, const struct model_group *g,
                        const struct shares *shares)
{
    uint32_t kept[MODEL_MEMBERS] = {0}, total = 0, moved = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        if (!g->members[0].topics[t])
            continue;
        for (uint32_t p = 0; p < m->topics[t].partition_count; p++) {
            int before = reader_before(g, t, p);
            total++;
            if (before == MODEL_NOBODY)
                continue;
            kept[before]++;
            moved += before != shares->of[t][p];
        }
    }
    /* `extra` members may hold one more than the floor: best are those who hold more already. */
    uint32_t least = 0, over_floor = 0;
    uint32_t floor = total / g->member_count, extra = total % g->member_count;
    for (uint32_t i = 0; i < g->member_count; i++) {
        over_floor += kept[i] > floor;
        least += kept[i] > floor ? kept[i] - floor : 0;
    }
    least -= over_floor < extra ? over_floor : extra;
    CHECK(moved == least);
}

/* Whatever the subscriptions: none of those that moved could have stayed where it was. */
static void judge_moves(const struct model *m, const struct model_group *g,
                        const struct shares *shares)
{
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++) {
            int before = reader_before(g, t, p);
            if (before == MODEL_NOBODY || before == shares->of[t][p])
                continue;
            struct shares back = *shares;
            back.of[t][p] = before;
            CHECK(!is_balanced(m, g, &back));
        }
    }
}

/* What the real machine chose. */
static struct shares read_shares(const struct model *m, const struct group *real)
{
    struct shares shares;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++) {
            const struct group_partition *gp =
                m->topics[t].alive ? group_find_partition(real, m->topics[t].id, p) : NULL;
            const struct member *reader = gp == NULL              ? NULL
                                          : gp->successor != NULL ? gp->successor
                                                                  : gp->owner;
            shares.of[t][p] = reader == NULL ? MODEL_NOBODY : (int)reader->rank;
        }
    }
    return shares;
}

/* The partition has this owner from now on, and nobody waits for it. */
static void pass_on(const struct model *m, struct model_group *g, struct model_progress *progress,
                    int to)
{
    g->rebalances.partitions_revoked += progress->owner != MODEL_NOBODY;
    g->rebalances.partitions_assigned += to != MODEL_NOBODY;
    if (progress->owner != MODEL_NOBODY)
        g->members[progress->owner].changed_generation = g->generation + 1;
    if (to != MODEL_NOBODY)
        g->members[to].changed_generation = g->generation + 1;
    progress->owner = to;
    progress->owner_index = m->index;
    progress->owner_generation = g->generation + 1;
    progress->successor = MODEL_NOBODY;
    progress->revoke_by_us = 0;
}

static void hand_over(struct model *m, uint32_t group, uint32_t t, uint32_t p, int to)
{
    struct model_group *g = &m->groups[group];
    struct model_progress *progress = &g->progress[t][p];
    if (!progress->known && to != MODEL_NOBODY) {
        *progress = (struct model_progress){
            .known = true,
            .owner = MODEL_NOBODY,
            .successor = MODEL_NOBODY,
            .position = g->members[to].from_latest ? m->topics[t].partitions[p].next : 0};
        model_settle_position(m, group, t, p);
    }
    if (!progress->known)
        return;
    if (progress->owner != MODEL_NOBODY && !g->members[progress->owner].topics[t])
        pass_on(m, g, progress, MODEL_NOBODY); /* it does not want it any more: nobody is asked */
    if (progress->owner == to) {
        progress->successor = MODEL_NOBODY;
        progress->revoke_by_us = 0;
    } else if (progress->owner != MODEL_NOBODY && g->members[progress->owner].cooperative) {
        if (progress->successor == MODEL_NOBODY)
            progress->revoke_by_us = m->now_us + 60 * 1000000;
        progress->successor = to;
    } else {
        pass_on(m, g, progress, to);
    }
}

static void adopt(struct model *m, uint32_t group, const struct group *real)
{
    struct model_group *g = &m->groups[group];
    if (!g->stale)
        return;
    struct shares shares = read_shares(m, real);
    judge_owners(m, g, &shares);
    CHECK(is_balanced(m, g, &shares));
    judge_moves(m, g, &shares);
    if (subscribe_equally(g))
        judge_count(m, g, &shares);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++)
            hand_over(m, group, t, p, shares.of[t][p]);
    settle(m, g);
    g->stale = false;
}

static enum status revoke_status(const struct model_group *g,
                                 const struct command_group_revoke *cmd, int *out_member)
{
    *out_member = MODEL_NOBODY;
    if (!g->alive)
        return ST_GROUP_NOT_FOUND;
    if (!cmd->expired) {
        *out_member = model_member_by_number(g, model_member_number(cmd->member_id));
        if (*out_member == MODEL_NOBODY)
            return ST_MEMBER_NOT_FOUND;
    }
    bool stale = cmd->generation != -1 && (uint64_t)cmd->generation != g->generation;
    return stale ? ST_STALE_GENERATION : ST_OK;
}

static bool is_named(const struct model *m, const struct command_group_revoke *cmd, uint32_t t,
                     uint32_t p)
{
    for (uint32_t i = 0; i < cmd->entry_count; i++)
        if (cmd->entries[i].partition == p &&
            model_topic_by_name(m, cmd->entries[i].topic) == (int)t)
            return true;
    return false;
}

void model_revoke(struct model *m, uint32_t group, const struct command_group_revoke *cmd,
                  const struct result *result)
{
    struct model_group *g = &m->groups[group];
    int member = MODEL_NOBODY;
    CHECK(result->status == revoke_status(g, cmd, &member));
    if (result->status != ST_OK)
        return;
    uint32_t pending = 0, all = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++) {
            struct model_progress *progress = &g->progress[t][p];
            if (!progress->known || progress->successor == MODEL_NOBODY)
                continue;
            bool too_late = cmd->expired && progress->revoke_by_us <= m->now_us;
            bool let_go = !cmd->expired && progress->owner == member && is_named(m, cmd, t, p);
            g->rebalances.revocation_timeouts += too_late;
            g->expired |= too_late;
            if (too_late || let_go) {
                pass_on(m, g, progress, progress->successor);
                m->effects.groups_changed[group] = true;
                continue;
            }
            all++;
            pending += progress->owner == member;
        }
    }
    settle(m, g);
    CHECK(result->revoke.generation == g->generation);
    CHECK(result->revoke.pending_count == pending);
    CHECK(result->revoke.rebalancing == (all > 0));
}

void model_joined(const struct model *m, uint32_t group, const struct command_group_join *cmd,
                  const struct result *result)
{
    const struct model_group *g = &m->groups[group];
    const struct result_group_join *join = &result->join;
    if (!g->alive) {
        CHECK(join->group_id == 0 && join->generation == 0);
        return;
    }
    CHECK(join->group_id == g->id && join->generation == g->generation);
    CHECK(join->member_count == g->member_count);
    for (uint32_t i = 0; i < g->member_count; i++)
        CHECK(model_member_number(join->member_ids[i]) == g->members[i].number);
    if (g->member_count > 0)
        CHECK(model_member_number(join->leader_id) == g->members[0].number);
    for (uint32_t i = 0; i < cmd->joiner_count; i++) {
        const struct joined *joined = &join->joined[i];
        int at = joined->status == ST_OK
                     ? model_member_by_number(g, model_member_number(joined->member_id))
                     : MODEL_NOBODY;
        uint32_t owned = 0, awaited = 0;
        for (uint32_t t = 0; t < MODEL_TOPICS && at != MODEL_NOBODY; t++) {
            for (uint32_t p = 0; p < MODEL_PARTITIONS; p++) {
                owned += g->progress[t][p].known && g->progress[t][p].owner == at;
                awaited += g->progress[t][p].known && g->progress[t][p].successor == at;
            }
        }
        CHECK(joined->leader == (at == 0));
        CHECK(joined->assigned_count == owned);
        CHECK(joined->waits == (awaited > 0));
    }
}

/* What each member is told to read is what it owns, in order. */
static void compare_assigned(const struct model *m, const struct model_group *g,
                             const struct group_info *info)
{
    uint32_t told = 0, owned = 0;
    for (uint32_t i = 0; i < info->member_count; i++) {
        const struct member_info *member = &info->members[i];
        told += member->assigned_count;
        for (uint32_t k = 0; k < member->assigned_count; k++) {
            const struct assigned *a = &member->assigned[k];
            int t = model_topic_by_name(m, a->topic);
            CHECK(t != MODEL_NOBODY && m->topics[t].id == a->topic_id);
            CHECK(a->partition < m->topics[t].partition_count);
            CHECK(g->progress[t][a->partition].known);
            CHECK(g->progress[t][a->partition].owner == (int)i);
            if (k == 0)
                continue;
            const struct assigned *b = &member->assigned[k - 1];
            int order = span_compare(b->topic, a->topic);
            CHECK(order < 0 || (order == 0 && b->partition < a->partition));
        }
    }
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
            owned += g->progress[t][p].known && g->progress[t][p].owner != MODEL_NOBODY;
    CHECK(told == owned); /* none twice */
}

static void compare_group(const struct model *m, const struct machine *machine, uint32_t index,
                          const struct group_info *info)
{
    const struct model_group *g = &m->groups[index];
    CHECK(span_equal(info->name, span_text(model_group_name(index))));
    CHECK(info->id == g->id && info->generation == g->generation);
    CHECK(info->created_us == g->created_us && info->ordering == g->ordering);
    CHECK(info->rebalancing == (g->open_rebalances > 0));
    CHECK(memcmp(&info->rebalances, &g->rebalances, sizeof g->rebalances) == 0);
    CHECK(info->member_count == g->member_count);
    const struct group *real = machine_group_by_id(machine, g->id);
    for (uint32_t i = 0; i < g->member_count; i++) {
        const struct model_member *member = &g->members[i];
        CHECK(model_member_number(info->members[i].member_id) == member->number);
        CHECK(info->members[i].joined_us == member->joined_us);
        CHECK(info->members[i].cooperative == member->cooperative);
        CHECK(real->members[i]->changed_generation == member->changed_generation);
        CHECK(real->members[i]->session_us == member->session_us);
        CHECK(real->members[i]->visibility_us == member->visibility_us);
        CHECK(real->members[i]->in_flight_max == member->in_flight_max);
        CHECK(real->members[i]->deliveries_max == member->deliveries_max);
    }
    compare_assigned(m, g, info);
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
        adopt(m, i, machine_group_by_id(machine, m->groups[i].id));
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
