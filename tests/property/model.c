#include "tests/property/model.h"

#include <stdlib.h>

#include "std/check.h"

static const char *const topic_names[MODEL_TOPICS] = {"t0", "t1", "acme/t0", "acme/t3", "t10"};
static const char *const group_names[MODEL_GROUPS] = {"g0", "acme/g0", "g1"};

const char *model_topic_name(uint32_t topic)
{
    return topic_names[topic];
}

const char *model_group_name(uint32_t group)
{
    return group_names[group];
}

static int topic_by_name(const struct model *m, struct span name)
{
    for (int t = 0; t < MODEL_TOPICS; t++) {
        if (m->topics[t].alive && span_equal(span_text(topic_names[t]), name))
            return t;
    }
    return MODEL_NOBODY;
}

static uint32_t member_number(struct span id)
{
    CHECK(id.size >= 2 && id.data[0] == 'm');
    uint32_t number = 0;
    for (size_t i = 1; i < id.size; i++)
        number = number * 10 + (uint32_t)(id.data[i] - '0');
    return number;
}

static int member_by_number(const struct model_group *g, uint32_t number)
{
    for (uint32_t i = 0; i < g->member_count; i++) {
        if (g->members[i].number == number)
            return (int)i;
    }
    return MODEL_NOBODY;
}

void model_topic_create(struct model *m, uint32_t topic, const struct command_topic_create *cmd,
                        const struct result *result)
{
    struct model_topic *t = &m->topics[topic];
    bool existed = t->alive;
    if (existed) {
        CHECK(result->status == (cmd->if_absent ? ST_OK : ST_TOPIC_EXISTS));
    } else {
        CHECK(result->status == ST_OK);
        *t = (struct model_topic){.alive = true,
                                  .id = m->next_topic_id++,
                                  .partition_count = cmd->partition_count,
                                  .settings = cmd->settings};
    }
    CHECK(result->topic.created == !existed);
    CHECK(result->topic.id == t->id);
    CHECK(result->topic.partition_count == t->partition_count);
    CHECK(result->topic.settings.retention_us == t->settings.retention_us);
    CHECK(result->topic.settings.deliveries_max == t->settings.deliveries_max);
}

void model_topic_delete(struct model *m, uint32_t topic, const struct result *result)
{
    CHECK(result->status == (m->topics[topic].alive ? ST_OK : ST_TOPIC_NOT_FOUND));
    m->topics[topic].alive = false;
    for (uint32_t i = 0; i < MODEL_GROUPS; i++) {
        struct model_group *g = &m->groups[i];
        bool subscribed = false;
        for (uint32_t k = 0; k < g->member_count; k++) {
            for (uint32_t p = 0; p < MODEL_PARTITIONS; p++) {
                if (g->progress[topic][p].known && g->progress[topic][p].owner == (int)k)
                    g->members[k].changed_generation = g->generation + 1;
            }
            subscribed |= g->members[k].topics[topic];
            g->members[k].topics[topic] = false;
        }
        memset(g->progress[topic], 0, sizeof g->progress[topic]);
        g->generation += subscribed;
        g->stale |= subscribed;
    }
}

static struct model_topic *topic_by_id(struct model *m, uint32_t id)
{
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        if (m->topics[t].alive && m->topics[t].id == id)
            return &m->topics[t];
    }
    return NULL;
}

void model_publish(struct model *m, const struct command_publish *cmd, const uint32_t *targets,
                   const uint32_t *counts, const uint32_t *sizes, const struct result *result)
{
    struct model_topic *t = topic_by_id(m, cmd->topic_id);
    if (t == NULL || t->partition_count != cmd->partition_count) {
        CHECK(result->status == ST_STALE);
        return;
    }
    CHECK(result->status == ST_OK);
    CHECK(result->publish.count == cmd->entry_count);
    CHECK(result->publish.time_us == m->now_us);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        uint32_t p = targets[i];
        if (p & PUBLISH_KEYLESS)
            p = (t->round_robin + (p & ~PUBLISH_KEYLESS)) % t->partition_count;
        CHECK(result->publish.placements[i].partition == p);
        CHECK(result->publish.placements[i].base_offset == t->next[p]);
        t->next[p] += counts[i];
        t->bytes[p] += sizes[i];
    }
    for (uint32_t i = 0; i < cmd->keyless_count; i++)
        t->round_robin = t->round_robin + 1 == t->partition_count ? 0 : t->round_robin + 1;
}

static enum status join_one(struct model *m, struct model_group *g, const struct joiner *joiner)
{
    int at = member_by_number(g, member_number(joiner->member_id));
    if (joiner->rejoin && at == MODEL_NOBODY)
        return ST_MEMBER_NOT_FOUND;
    if (!joiner->rejoin && at != MODEL_NOBODY)
        return ST_INVALID_ARGUMENT;
    bool topics[MODEL_TOPICS] = {false};
    for (uint32_t i = 0; i < joiner->topic_count; i++) {
        int t = topic_by_name(m, joiner->topics[i]);
        if (t == MODEL_NOBODY)
            return ST_TOPIC_NOT_FOUND;
        topics[t] = true;
    }
    if (!g->alive) {
        memset(g, 0, sizeof *g);
        g->alive = true;
        g->id = m->next_group_id++;
    }
    if (at == MODEL_NOBODY) {
        CHECK(g->member_count < MODEL_MEMBERS);
        at = (int)g->member_count++;
        g->members[at] = (struct model_member){.number = member_number(joiner->member_id),
                                               .changed_generation = g->generation + 1};
        g->stale = true;
    }
    if (memcmp(g->members[at].topics, topics, sizeof topics) != 0)
        g->stale = true;
    memcpy(g->members[at].topics, topics, sizeof topics);
    g->members[at].from_latest = joiner->from_latest;
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
        CHECK(member_number(result->join.member_ids[i]) == g->members[i].number);
    for (uint32_t i = 0; i < cmd->joiner_count; i++) {
        const struct joined *joined = &result->join.joined[i];
        bool leads = member_number(joined->member_id) == g->members[0].number;
        CHECK(joined->leader == (joined->status == ST_OK && leads));
    }
    if (g->member_count > 0)
        CHECK(member_number(result->join.leader_id) == g->members[0].number);
}

void model_leave(struct model *m, uint32_t group, uint32_t number, const struct result *result)
{
    struct model_group *g = &m->groups[group];
    if (!g->alive) {
        CHECK(result->status == ST_GROUP_NOT_FOUND);
        return;
    }
    int at = member_by_number(g, number);
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

static bool is_done(const struct model_progress *progress, uint64_t offset)
{
    return offset < progress->position || progress->done[offset];
}

static void ack_one(struct model *m, struct model_group *g, const struct ack_entry *entry,
                    const struct acked *acked)
{
    const struct model_topic *t = topic_by_id(m, entry->topic_id);
    if (t == NULL) {
        CHECK(acked->status == ST_TOPIC_NOT_FOUND);
        return;
    }
    if (entry->partition >= t->partition_count) {
        CHECK(acked->status == ST_PARTITION_NOT_FOUND);
        return;
    }
    struct model_progress *progress = &g->progress[t - m->topics][entry->partition];
    if (!progress->known || entry->offset >= t->next[entry->partition]) {
        CHECK(acked->status == ST_MESSAGE_NOT_FOUND);
        return;
    }
    CHECK(acked->status == ST_OK);
    CHECK(acked->already == is_done(progress, entry->offset));
    progress->done[entry->offset] = true;
    uint64_t before = progress->position;
    while (progress->position < MODEL_OFFSETS && progress->done[progress->position])
        progress->position++;
    CHECK(acked->advanced == (progress->position > before));
    CHECK(acked->committed == progress->position);
}

void model_ack(struct model *m, const struct command_ack *cmd, const struct result *result)
{
    struct model_group *g = NULL;
    for (uint32_t i = 0; i < MODEL_GROUPS; i++) {
        if (m->groups[i].alive && m->groups[i].id == cmd->group_id)
            g = &m->groups[i];
    }
    CHECK(result->status == ST_OK && result->ack.count == cmd->entry_count);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        if (g == NULL)
            CHECK(result->ack.acked[i].status == ST_GROUP_NOT_FOUND);
        else
            ack_one(m, g, &cmd->entries[i], &result->ack.acked[i]);
    }
}

static enum status commit_status(const struct model *m, const struct model_group *g,
                                 const struct command_offsets_commit *cmd)
{
    if (!g->alive)
        return ST_GROUP_NOT_FOUND;
    int member = member_by_number(g, member_number(cmd->member_id));
    if (member == MODEL_NOBODY)
        return ST_MEMBER_NOT_FOUND;
    if (cmd->generation != -1 && (uint64_t)cmd->generation != g->generation)
        return ST_STALE_GENERATION;
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        int t = topic_by_name(m, cmd->entries[i].topic);
        if (t == MODEL_NOBODY)
            return ST_TOPIC_NOT_FOUND;
        if (cmd->entries[i].partition >= m->topics[t].partition_count)
            return ST_PARTITION_NOT_FOUND;
        const struct model_progress *progress = &g->progress[t][cmd->entries[i].partition];
        if (!progress->known || progress->owner != member)
            return ST_NOT_ASSIGNED;
    }
    return ST_OK;
}

static void commit_one(struct model_progress *progress, uint64_t offset)
{
    if (offset < progress->position) {
        for (uint64_t o = offset; o < MODEL_OFFSETS; o++)
            progress->done[o] = false;
    }
    for (uint64_t o = 0; o < offset && o < MODEL_OFFSETS; o++)
        progress->done[o] = true;
    progress->position = offset;
    while (progress->position < MODEL_OFFSETS && progress->done[progress->position])
        progress->position++;
}

void model_commit(struct model *m, uint32_t group, const struct command_offsets_commit *cmd,
                  const struct result *result)
{
    struct model_group *g = &m->groups[group];
    CHECK(result->status == commit_status(m, g, cmd));
    for (uint32_t i = 0; i < cmd->entry_count && result->status == ST_OK; i++) {
        int t = topic_by_name(m, cmd->entries[i].topic);
        commit_one(&g->progress[t][cmd->entries[i].partition], cmd->entries[i].offset);
    }
}

/* How many of its partitions each member holds, of `owners` [topic][partition]. */
static void count_loads(const struct model *m, const struct model_group *g,
                        int owners[MODEL_TOPICS][MODEL_PARTITIONS], uint32_t *loads)
{
    memset(loads, 0, MODEL_MEMBERS * sizeof *loads);
    (void)g;
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
    count_loads(m, g, owners, loads);
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
            int t = topic_by_name(m, a->topic);
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

static void adopt(const struct model *m, struct model_group *g,
                  int owners[MODEL_TOPICS][MODEL_PARTITIONS])
{
    judge_balance(m, g, owners);
    judge_stickiness(m, g, owners);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++) {
            struct model_progress *progress = &g->progress[t][p];
            int before = progress->known ? progress->owner : MODEL_NOBODY;
            int after = owners[t][p];
            if (before != MODEL_NOBODY && before != after)
                g->members[before].changed_generation = g->generation;
            if (after != MODEL_NOBODY && before != after)
                g->members[after].changed_generation = g->generation;
            if (after != MODEL_NOBODY && !progress->known) {
                progress->known = true;
                if (g->members[after].from_latest)
                    commit_one(progress, m->topics[t].next[p]);
            }
            progress->owner = after;
        }
    }
    g->stale = false;
}

static void compare_group(struct model *m, const struct machine *machine, uint32_t index,
                          const struct group_info *info)
{
    struct model_group *g = &m->groups[index];
    CHECK(span_equal(info->name, span_text(group_names[index])));
    CHECK(info->id == g->id && info->generation == g->generation);
    CHECK(info->member_count == g->member_count);
    int owners[MODEL_TOPICS][MODEL_PARTITIONS];
    read_owners(m, info, owners);
    if (g->stale)
        adopt(m, g, owners);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t p = 0; m->topics[t].alive && p < m->topics[t].partition_count; p++)
            CHECK(owners[t][p] == (g->progress[t][p].known ? g->progress[t][p].owner : -1));
    }
    const struct group *real = machine_group_by_id(machine, g->id);
    for (uint32_t i = 0; i < g->member_count; i++) {
        CHECK(member_number(info->members[i].member_id) == g->members[i].number);
        CHECK(real->members[i]->changed_generation == g->members[i].changed_generation);
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

static void compare_groups(struct model *m, const struct machine *machine, struct arena *arena)
{
    for (uint32_t i = 0; i < MODEL_GROUPS; i++) {
        struct query q = {.type = QUERY_GROUP, .name = span_text(group_names[i])};
        struct query_result got;
        machine_query(machine, &q, arena, &got);
        CHECK(got.status == (m->groups[i].alive ? ST_OK : ST_GROUP_NOT_FOUND));
        if (m->groups[i].alive)
            compare_group(m, machine, i, got.groups);
    }
    struct query default_tenant = {.type = QUERY_GROUPS};
    struct query acme = {.type = QUERY_GROUPS, .scope = span_text("acme/")};
    struct query_result got;
    machine_query(machine, &default_tenant, arena, &got);
    CHECK(got.group_count == (uint32_t)m->groups[0].alive + m->groups[2].alive);
    machine_query(machine, &acme, arena, &got);
    CHECK(got.group_count == m->groups[1].alive);
}

static void compare_offsets(const struct model *m, const struct machine *machine,
                            struct arena *arena)
{
    for (uint32_t i = 0; i < MODEL_GROUPS; i++) {
        struct query q = {.type = QUERY_OFFSETS, .name = span_text(group_names[i])};
        struct query_result got;
        machine_query(machine, &q, arena, &got);
        const struct model_group *g = &m->groups[i];
        uint32_t known = 0;
        for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
            for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
                known += g->progress[t][p].known;
        }
        CHECK(got.status == ST_OK && got.offset_count == known);
        CHECK(got.generation == g->generation);
        for (uint32_t k = 0; k < known; k++) {
            const struct offset_info *info = &got.offsets[k];
            int t = topic_by_name(m, info->topic);
            CHECK(t != MODEL_NOBODY && m->topics[t].id == info->topic_id);
            CHECK(g->progress[t][info->partition].known);
            CHECK(info->offset == g->progress[t][info->partition].position);
            CHECK(info->next_offset == m->topics[t].next[info->partition]);
        }
    }
}

static void compare_topics(const struct model *m, const struct machine *machine,
                           struct arena *arena)
{
    uint32_t alive = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        const struct model_topic *topic = &m->topics[t];
        struct query q = {.type = QUERY_TOPIC, .name = span_text(topic_names[t])};
        struct query_result got;
        machine_query(machine, &q, arena, &got);
        CHECK(got.status == (topic->alive ? ST_OK : ST_TOPIC_NOT_FOUND));
        if (!topic->alive)
            continue;
        alive++;
        CHECK(got.topics->id == topic->id);
        CHECK(got.topics->partition_count == topic->partition_count);
        for (uint32_t p = 0; p < topic->partition_count; p++) {
            CHECK(got.topics->partitions[p].start_offset == 0);
            CHECK(got.topics->partitions[p].next_offset == topic->next[p]);
            CHECK(got.topics->partitions[p].message_count == topic->next[p]);
            CHECK(got.topics->partitions[p].size_bytes == topic->bytes[p]);
        }
    }
    struct query default_tenant = {.type = QUERY_TOPICS};
    struct query acme = {.type = QUERY_TOPICS, .scope = span_text("acme/")};
    struct query_result got, got_acme;
    machine_query(machine, &default_tenant, arena, &got);
    machine_query(machine, &acme, arena, &got_acme);
    CHECK(got.topic_count + got_acme.topic_count == alive);
    for (uint32_t i = 1; i < got.topic_count; i++)
        CHECK(span_compare(got.topics[i - 1].name, got.topics[i].name) < 0);
}

void model_compare(struct model *m, const struct machine *machine, struct arena *arena)
{
    compare_topics(m, machine, arena);
    compare_groups(m, machine, arena);
    compare_offsets(m, machine, arena);
}
