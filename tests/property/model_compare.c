/* Everything that the real machine can be asked, against the naive one. */
#include "std/check.h"
#include "tests/property/model.h"

enum { COMPARE_DELAYED = 7 }; /* a page */

static void compare_settings(const struct topic_settings *a, const struct topic_settings *b)
{
    CHECK(a->retention_us == b->retention_us && a->retention_bytes == b->retention_bytes);
    CHECK(a->visibility_us == b->visibility_us && a->deliveries_max == b->deliveries_max);
    CHECK(a->in_flight_max == b->in_flight_max && a->delayed_max == b->delayed_max);
    CHECK(a->cleanup == b->cleanup && a->priority_mode == b->priority_mode);
}

/* Of the visible messages, how many of each priority the group has done that did most. */
static void most_done(const struct model *m, uint32_t topic, uint32_t partition,
                      uint64_t most[PRIORITY_COUNT])
{
    for (uint32_t g = 0; g < MODEL_GROUPS; g++) {
        if (!m->groups[g].alive || !m->groups[g].progress[topic][partition].known)
            continue;
        uint64_t done[PRIORITY_COUNT] = {0};
        for (uint64_t o = 0; o < m->topics[topic].partitions[partition].next; o++) {
            struct model_place place = {topic, partition, o};
            done[model_message_at(m, place)->priority] +=
                model_is_visible(m, place) && model_is_done(m, g, place);
        }
        for (unsigned i = 0; i < PRIORITY_COUNT; i++)
            most[i] = done[i] > most[i] ? done[i] : most[i];
    }
}

static void compare_partition(const struct model *m, uint32_t topic, uint32_t partition,
                              const struct partition_info *info)
{
    const struct model_partition *p = &m->topics[topic].partitions[partition];
    uint64_t count = 0, pending = 0, by_priority[PRIORITY_COUNT] = {0};
    for (uint64_t o = 0; o < p->next; o++) {
        const struct model_message *message = &p->messages[o];
        count += !message->gone;
        pending += message->pending;
        by_priority[message->priority] += !message->gone;
    }
    CHECK(info->start_offset == 0);
    CHECK(info->next_offset == p->next);
    CHECK(info->size_bytes == p->bytes);
    CHECK(info->message_count == count);
    CHECK(info->pending_count == pending);
    for (unsigned i = 0; i < PRIORITY_COUNT; i++)
        CHECK(info->by_priority[i] == by_priority[i]);
    uint64_t most[PRIORITY_COUNT] = {0};
    most_done(m, topic, partition, most);
    for (unsigned i = 0; i < PRIORITY_COUNT; i++)
        CHECK(info->done_by_priority[i] == most[i]);
}

static void compare_topic(const struct model *m, uint32_t topic, const struct topic_info *info)
{
    const struct model_topic *t = &m->topics[topic];
    CHECK(info->id == t->id);
    CHECK(info->partition_count == t->partition_count);
    CHECK(info->created_us == t->created_us);
    CHECK(memcmp(&info->totals, &t->totals, sizeof t->totals) == 0);
    compare_settings(&info->settings, &t->settings);
    CHECK(info->has_dead_letter_topic ==
          (topic < MODEL_NAMES && m->topics[topic + MODEL_NAMES].alive));
    for (uint32_t p = 0; p < t->partition_count; p++)
        compare_partition(m, topic, p, &info->partitions[p]);
}

static void compare_topics(const struct model *m, const struct machine *machine,
                           struct arena *arena)
{
    struct query every = {.type = QUERY_TOPICS, .every_tenant = true};
    struct query acme = {.type = QUERY_TOPICS, .scope = span_text("acme/")};
    struct query default_tenant = {.type = QUERY_TOPICS};
    struct query_result got, got_acme, got_default;
    machine_query(machine, &every, arena, &got);
    machine_query(machine, &acme, arena, &got_acme);
    machine_query(machine, &default_tenant, arena, &got_default);
    CHECK(got.topic_count == got_acme.topic_count + got_default.topic_count);
    uint32_t alive = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        alive += m->topics[t].alive;
    CHECK(got.topic_count == alive);
    for (uint32_t i = 0; i < got.topic_count; i++) {
        CHECK(i == 0 || span_compare(got.topics[i - 1].name, got.topics[i].name) < 0);
        int topic = model_topic_by_name(m, got.topics[i].name);
        CHECK(topic != MODEL_NOBODY);
        compare_topic(m, (uint32_t)topic, &got.topics[i]);
    }
}

/* The pending messages in order: each time the first of those that were not yet. */
static bool next_delayed(const struct model *m, uint32_t topic, int64_t partition,
                         struct delayed_info *at)
{
    const struct model_topic *t = &m->topics[topic];
    struct delayed_info best = {.due_us = INT64_MAX};
    for (uint32_t p = 0; p < t->partition_count; p++) {
        for (uint64_t o = 0; o < t->partitions[p].next; o++) {
            const struct model_message *message = &t->partitions[p].messages[o];
            if (!message->pending || (partition >= 0 && partition != (int64_t)p))
                continue;
            bool behind = message->due_us != at->due_us ? message->due_us > at->due_us
                          : p != at->partition          ? p > at->partition
                                                        : o > at->offset;
            if (behind && message->due_us < best.due_us)
                best = (struct delayed_info){p, o, message->due_us, message->priority};
        }
    }
    *at = best;
    return best.due_us != INT64_MAX;
}

static void compare_delayed(struct model *m, const struct machine *machine, struct arena *arena)
{
    uint32_t topic = m->turn % MODEL_TOPICS;
    uint64_t skip = m->turn / 3 % (COMPARE_DELAYED + 1);
    struct query q = {.type = QUERY_DELAYED,
                      .name = span_text(model_topic_name(topic)),
                      .partition = (int64_t)(m->turn % (MODEL_PARTITIONS + 1)) - 1,
                      .skip = skip > COMPARE_DELAYED / 2 ? skip * 2 : skip,
                      .limit = m->turn % COMPARE_DELAYED};
    struct query_result got;
    machine_query(machine, &q, arena, &got);
    CHECK(got.status == (m->topics[topic].alive ? ST_OK : ST_TOPIC_NOT_FOUND));
    if (got.status != ST_OK)
        return;
    CHECK(got.topics->id == m->topics[topic].id);
    struct delayed_info at = {.due_us = INT64_MIN};
    uint64_t total = 0, listed = 0;
    for (; next_delayed(m, topic, q.partition, &at); total++) {
        if (total < q.skip || listed == q.limit)
            continue;
        CHECK(listed < got.delayed_count);
        const struct delayed_info *info = &got.delayed[listed++];
        CHECK(info->partition == at.partition && info->offset == at.offset);
        CHECK(info->due_us == at.due_us && info->priority == at.priority);
    }
    CHECK(got.delayed_count == listed);
    CHECK(got.delayed_total == total);
}

static void compare_offsets(const struct model *m, const struct machine *machine, uint32_t group,
                            int topic, struct arena *arena)
{
    struct query q = {.type = QUERY_OFFSETS, .name = span_text(model_group_name(group))};
    if (topic != MODEL_NOBODY)
        q.topic = span_text(model_topic_name((uint32_t)topic));
    struct query_result got;
    machine_query(machine, &q, arena, &got);
    const struct model_group *g = &m->groups[group];
    uint32_t known = 0;
    for (int t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t p = 0; p < MODEL_PARTITIONS && (topic == MODEL_NOBODY || topic == t); p++)
            known += g->progress[t][p].known;
    CHECK(got.status == ST_OK && got.offset_count == known);
    CHECK(got.generation == g->generation);
    for (uint32_t k = 0; k < known; k++) {
        const struct offset_info *info = &got.offsets[k];
        int t = model_topic_by_name(m, info->topic);
        CHECK(t != MODEL_NOBODY && m->topics[t].id == info->topic_id);
        CHECK(g->progress[t][info->partition].known);
        CHECK(info->offset == g->progress[t][info->partition].position);
        CHECK(info->next_offset == m->topics[t].partitions[info->partition].next);
        CHECK(info->lag == model_lag(m, group, (uint32_t)t, info->partition));
    }
}

/* Which lane each message is in, and the way through each lane. */
static void compare_lanes(const struct model *m, struct model_place at,
                          const struct partition *real)
{
    const uint64_t next = m->topics[at.topic].partitions[at.partition].next;
    uint64_t found = 0, stable_end = next, from[PRIORITY_COUNT] = {0};
    for (at.offset = 0; at.offset < next; at.offset++) {
        const struct model_message *message = model_message_at(m, at);
        CHECK(partition_is_gone(real, at.offset) == message->gone);
        CHECK(partition_is_hidden(real, at.offset) == !model_is_visible(m, at));
        CHECK(partition_is_pending(real, at.offset) == message->pending);
        if (message->open > 0 && stable_end == next)
            stable_end = at.offset;
        if (!model_is_visible(m, at))
            continue;
        enum priority lane = message->priority;
        CHECK(partition_lane_of(real, at.offset) == lane);
        CHECK(partition_next_in_lane(real, lane, from[lane], &found) && found == at.offset);
        from[lane] = at.offset + 1;
    }
    CHECK(partition_stable_end(real) == stable_end);
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
        CHECK(!partition_next_in_lane(real, (enum priority)lane, from[lane], &found));
    for (at.offset = 0; at.offset <= next; at.offset += 3) {
        struct model_place end = at, seen = at;
        while (end.offset < next && model_message_at(m, end)->gone)
            end.offset++;
        while (seen.offset < next && !model_is_visible(m, seen))
            seen.offset++;
        CHECK(partition_skip_gone(real, at.offset) == end.offset);
        CHECK(partition_skip_hidden(real, at.offset) == seen.offset);
    }
}

static void compare_retry(const struct model_retry *retry, const struct retry *real)
{
    CHECK((retry->count > 0) == (real != NULL));
    if (real == NULL)
        return;
    CHECK(real->delivery_count == retry->count);
    CHECK(real->not_before_us == retry->not_before_us);
    CHECK(real->returned == retry->returned);
    CHECK(real->first_us == retry->first_us);
    CHECK(span_equal(span_of(real->reason, real->reason_size), span_text(retry->reason)));
}

/* Who reads it, since when, and who is to. */
static void compare_owner(const struct model_group *g, const struct model_progress *progress,
                          const struct group_partition *real)
{
    CHECK(progress->owner == (real->owner == NULL ? MODEL_NOBODY : (int)real->owner->rank));
    CHECK(progress->successor ==
          (real->successor == NULL ? MODEL_NOBODY : (int)real->successor->rank));
    CHECK(real->revoke_by_us == progress->revoke_by_us);
    CHECK(g->open_rebalances > 0 || real->successor == NULL);
    if (real->owner == NULL)
        return;
    CHECK(real->owner_index == progress->owner_index);
    CHECK(real->owner_generation == progress->owner_generation);
}

static void compare_progress(const struct model *m, uint32_t group, struct model_place at,
                             const struct group_partition *real)
{
    const struct model_progress *progress = &m->groups[group].progress[at.topic][at.partition];
    CHECK(progress->known == (real != NULL));
    if (real == NULL)
        return;
    compare_owner(&m->groups[group], progress, real);
    CHECK(real->position == progress->position);
    CHECK(real->out_until_us == progress->out_until_us);
    CHECK(real->rewound_index == progress->rewound_index);
    uint64_t next = m->topics[at.topic].partitions[at.partition].next;
    uint32_t retries = 0;
    for (at.offset = 0; at.offset < next; at.offset++) {
        bool done = model_is_done(m, group, at);
        CHECK(group_partition_is_done(real, at.offset) == done);
        CHECK(done || offset_set_has(&real->out, at.offset) == progress->out[at.offset]);
        CHECK(!done || progress->retries[at.offset].count == 0);
        CHECK(offset_set_has(&real->reserved, at.offset) == (progress->reserved[at.offset] > 0));
        compare_retry(&progress->retries[at.offset], group_partition_find_retry(real, at.offset));
        retries += progress->retries[at.offset].count > 0;
    }
    CHECK(real->retry_count == retries);
}

static void compare_inside(const struct model *m, const struct machine *machine, uint32_t topic)
{
    const struct model_topic *t = &m->topics[topic];
    const struct topic *real = machine_topic_by_id(machine, t->id);
    for (uint32_t p = 0; t->alive && p < t->partition_count; p++) {
        struct model_place at = {topic, p, 0};
        compare_lanes(m, at, real->partitions[p]);
        for (uint32_t g = 0; g < MODEL_GROUPS; g++) {
            const struct group *group = machine_group_by_id(machine, m->groups[g].id);
            if (m->groups[g].alive)
                compare_progress(m, g, at, group_find_partition(group, t->id, p));
        }
    }
}

static void compare_resolved(const struct model *m, const struct machine *machine)
{
    for (uint32_t i = m->turn % 4; i < m->resolved_count; i += 4) {
        uint64_t lease_id = m->resolved[i].lease_id;
        const struct model_resolved *known = model_find_resolved(m, lease_id);
        const struct resolved *real = machine_find_resolved(machine, lease_id);
        CHECK((known != NULL) == (real != NULL));
        if (real == NULL)
            continue;
        CHECK((int)real->how == known->how && real->time_us == known->time_us);
        CHECK(real->delivery_count == known->delivery_count);
        CHECK(real->not_before_us == known->not_before_us);
    }
}

void model_compare(struct model *m, const struct machine *machine, struct arena *arena)
{
    m->turn++;
    model_adopt(m, machine, arena);
    compare_topics(m, machine, arena);
    compare_delayed(m, machine, arena);
    for (uint32_t g = 0; g < MODEL_GROUPS; g++)
        compare_offsets(m, machine, g,
                        m->turn % 3 == 0 ? (int)(m->turn / 3 % MODEL_TOPICS) : MODEL_NOBODY, arena);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        compare_inside(m, machine, t);
    compare_resolved(m, machine);
    model_compare_transactions(m, machine, arena);
}
