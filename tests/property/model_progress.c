/* What the groups of the naive machine have done of their partitions, and what they know of
 * messages that are out or came back. */
#include <stdio.h>

#include "std/check.h"
#include "tests/property/model.h"

const struct model_resolved *model_find_resolved(const struct model *m, uint64_t lease_id)
{
    for (uint32_t i = 0; i < m->resolved_count; i++)
        if (m->resolved[i].lease_id == lease_id &&
            m->now_us - m->resolved[i].time_us <= 10LL * 60 * 1000000)
            return &m->resolved[i];
    return NULL;
}

static void resolve(struct model *m, uint64_t lease_id, int how, uint32_t delivery_count,
                    int64_t not_before_us)
{
    CHECK(m->resolved_count < MODEL_RESOLVED);
    m->resolved[m->resolved_count++] =
        (struct model_resolved){lease_id, m->now_us, delivery_count, how, not_before_us};
}

void model_mark_done(struct model *m, uint32_t group, struct model_place place)
{
    struct model_progress *progress = &m->groups[group].progress[place.topic][place.partition];
    progress->done[place.offset] = true;
    progress->retries[place.offset].count = 0;
    model_settle_position(m, group, place.topic, place.partition);
}

static void ack_one(struct model *m, uint32_t group, const struct ack_entry *entry,
                    const struct acked *acked)
{
    int topic = model_topic_by_id(m, entry->topic_id);
    if (topic == MODEL_NOBODY) {
        CHECK(acked->status == ST_TOPIC_NOT_FOUND);
        return;
    }
    if (entry->partition >= m->topics[topic].partition_count) {
        CHECK(acked->status == ST_PARTITION_NOT_FOUND);
        return;
    }
    struct model_place place = {(uint32_t)topic, entry->partition, entry->offset};
    struct model_progress *progress = &m->groups[group].progress[topic][entry->partition];
    if (!progress->known || entry->offset >= m->topics[topic].partitions[entry->partition].next) {
        CHECK(acked->status == ST_MESSAGE_NOT_FOUND);
        return;
    }
    uint64_t before = progress->position;
    bool already = model_is_done(m, group, place);
    CHECK(acked->status == ST_OK);
    CHECK(acked->already == already);
    if (!already) {
        m->topics[topic].totals.acked++;
        model_mark_done(m, group, place);
    }
    CHECK(acked->advanced == (progress->position > before));
    CHECK(acked->committed == progress->position);
}

void model_ack(struct model *m, const struct command_ack *cmd, const struct result *result)
{
    int group = model_group_by_id(m, cmd->group_id);
    CHECK(result->status == ST_OK && result->ack.count == cmd->entry_count);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        if (group == MODEL_NOBODY)
            CHECK(result->ack.acked[i].status == ST_GROUP_NOT_FOUND);
        else
            ack_one(m, (uint32_t)group, &cmd->entries[i], &result->ack.acked[i]);
    }
}

enum status model_commit_status(const struct model *m, const struct model_group *g,
                                const struct command_offsets_commit *cmd)
{
    if (!g->alive)
        return ST_GROUP_NOT_FOUND;
    int member = model_member_by_number(g, model_member_number(cmd->member_id));
    if (member == MODEL_NOBODY)
        return ST_MEMBER_NOT_FOUND;
    if (cmd->generation != -1 && (uint64_t)cmd->generation != g->generation)
        return ST_STALE_GENERATION;
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        int t = model_topic_by_name(m, cmd->entries[i].topic);
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

uint64_t model_lag(const struct model *m, uint32_t group, uint32_t topic, uint32_t partition)
{
    uint64_t lag = 0;
    struct model_place place = {topic, partition, 0};
    for (; place.offset < m->topics[topic].partitions[partition].next; place.offset++)
        lag += model_is_visible(m, place) && !model_is_done(m, group, place);
    return lag;
}

/* Back: all from the offset on is to be delivered, as if it never had been. */
static void move_position(struct model *m, uint32_t group, struct model_place place, bool back)
{
    struct model_progress *progress = &m->groups[group].progress[place.topic][place.partition];
    for (uint64_t o = 0; o < MODEL_OFFSETS; o++) {
        progress->done[o] = progress->done[o] && !back;
        progress->out[o] = progress->out[o] && !back;
        if (back)
            progress->retries[o].count = 0;
    }
    if (back) {
        progress->out_until_us = 0;
        progress->rewound_index = m->index;
    }
    progress->position = place.offset;
    model_settle_position(m, group, place.topic, place.partition);
    for (uint64_t o = 0; o < MODEL_OFFSETS && o < progress->position; o++) {
        progress->out[o] = false;
        progress->retries[o].count = 0;
    }
    CHECK(m->effects.moved_count < MODEL_MOVED);
    m->effects.moved[m->effects.moved_count++] =
        (struct model_moved){group, place.topic, place.partition, progress->position, back};
}

void model_set_position(struct model *m, uint32_t group, struct model_place place)
{
    uint64_t before = m->groups[group].progress[place.topic][place.partition].position;
    if (place.offset != before)
        move_position(m, group, place, place.offset < before);
}

void model_commit(struct model *m, uint32_t group, const struct command_offsets_commit *cmd,
                  const struct result *result)
{
    CHECK(result->status == model_commit_status(m, &m->groups[group], cmd));
    for (uint32_t i = 0; i < cmd->entry_count && result->status == ST_OK; i++) {
        const struct offset_entry *entry = &cmd->entries[i];
        uint32_t topic = (uint32_t)model_topic_by_name(m, entry->topic);
        model_set_position(m, group, (struct model_place){topic, entry->partition, entry->offset});
    }
}

static void reset_one(struct model *m, uint32_t group, uint32_t topic, uint32_t partition,
                      const struct reset_entry *entry)
{
    struct model_progress *progress = &m->groups[group].progress[topic][partition];
    const uint64_t next = m->topics[topic].partitions[partition].next;
    uint64_t offset = 0;
    if (entry->to == RESET_LATEST)
        offset = next;
    else if (entry->to == RESET_OFFSET)
        offset = entry->offset < next ? entry->offset : next;
    if (progress->known) {
        const struct model_place place = {topic, partition, offset};
        move_position(m, group, place, offset <= progress->position);
        return;
    }
    *progress = (struct model_progress){
        .known = true, .owner = MODEL_NOBODY, .successor = MODEL_NOBODY, .position = offset};
    model_settle_position(m, group, topic, partition);
}

static enum status reset_status(const struct model *m, uint32_t group,
                                const struct command_offsets_reset *cmd, int topic)
{
    if (!m->groups[group].alive)
        return ST_GROUP_NOT_FOUND;
    if (topic == MODEL_NOBODY)
        return ST_TOPIC_NOT_FOUND;
    for (uint32_t i = 0; i < cmd->entry_count; i++)
        if (cmd->entries[i].partition != RESET_EVERY_PARTITION &&
            cmd->entries[i].partition >= m->topics[topic].partition_count)
            return ST_PARTITION_NOT_FOUND;
    return ST_OK;
}

void model_reset(struct model *m, uint32_t group, const struct command_offsets_reset *cmd,
                 const struct result *result)
{
    int topic = model_topic_by_name(m, cmd->topic);
    CHECK(result->status == reset_status(m, group, cmd, topic));
    if (result->status != ST_OK)
        return;
    uint32_t count = 0;
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        for (uint32_t p = 0; p < m->topics[topic].partition_count; p++) {
            if (cmd->entries[i].partition != RESET_EVERY_PARTITION &&
                cmd->entries[i].partition != p)
                continue;
            reset_one(m, group, (uint32_t)topic, p, &cmd->entries[i]);
            const struct reset_position *told = &result->reset.positions[count++];
            CHECK(told->partition == p);
            CHECK(told->offset == m->groups[group].progress[topic][p].position);
            CHECK(told->lag == model_lag(m, group, (uint32_t)topic, p));
        }
    }
    CHECK(result->reset.count == count);
}

/* The groups and topics of a place that was found. */
static struct model_place place_in_model(const struct model *m, const struct delivery_place *place)
{
    return (struct model_place){(uint32_t)model_topic_by_id(m, place->topic_id), place->partition,
                                place->offset};
}

static void lease_run(const struct model *m, struct model_progress *progress,
                      const struct lease_entry *entry)
{
    struct model_place place = place_in_model(m, &entry->place);
    bool any = false;
    for (uint64_t o = 0; o < MODEL_OFFSETS; o++) {
        progress->out[o] = progress->out[o] && o >= progress->position;
        any |= progress->out[o];
    }
    if (!any)
        progress->out_until_us = 0;
    bool added = false;
    uint64_t next = m->topics[place.topic].partitions[place.partition].next;
    for (uint64_t o = place.offset; o < place.offset + entry->count && o < next; o++) {
        if (o < progress->position)
            continue;
        progress->out[o] = true;
        progress->retries[o].count = 0; /* counts started over */
        added = true;
    }
    if (added && entry->deadline_us > progress->out_until_us)
        progress->out_until_us = entry->deadline_us;
}

void model_lease(struct model *m, const struct command_lease *cmd, const struct result *result)
{
    CHECK(result->status == ST_OK);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        const struct lease_entry *entry = &cmd->entries[i];
        struct model_progress *progress = model_find_place(m, &entry->place);
        if (progress == NULL || cmd->as_of_index < progress->rewound_index)
            continue;
        uint64_t o = entry->place.offset;
        if (entry->delivery_count == 1 && !entry->extended) {
            lease_run(m, progress, entry);
        } else if (!model_is_done(m, (uint32_t)model_group_by_id(m, entry->place.group_id),
                                  place_in_model(m, &entry->place))) {
            progress->out[o] = false;
            if (progress->retries[o].count == 0)
                progress->retries[o].reason[0] = 0; /* a new one */
            progress->retries[o].count = entry->delivery_count;
            progress->retries[o].returned = false;
            progress->retries[o].not_before_us = entry->deadline_us;
            progress->retries[o].first_us = entry->first_us;
        }
    }
}

static void give_back(struct model_progress *progress, const struct release_entry *entry)
{
    struct model_retry *retry = &progress->retries[entry->place.offset];
    progress->out[entry->place.offset] = false;
    if (retry->count == 0)
        retry->reason[0] = 0; /* a new one */
    retry->count = entry->delivery_count;
    retry->returned = true;
    retry->not_before_us = entry->not_before_us;
    retry->first_us = entry->first_us;
    if (entry->reason.size > 0)
        CHECK(snprintf(retry->reason, sizeof retry->reason, "%.*s", SPAN_ARG(entry->reason)) <
              MODEL_REASON_SIZE);
}

static void release_one(struct model *m, const struct release_entry *entry, uint64_t as_of_index,
                        const struct released *released)
{
    bool nacked = entry->kind == RELEASE_NACK;
    const struct model_resolved *before = model_find_resolved(m, entry->lease_id);
    if (nacked && before != NULL) { /* a repeat */
        bool rejected = before->how == RESOLVED_REJECTED;
        CHECK(released->status == (rejected ? ST_MESSAGE_NOT_FOUND : ST_OK));
        CHECK(released->already == !rejected);
        CHECK(rejected || released->dead == (before->how == RESOLVED_NACKED_DEAD));
        CHECK(rejected || released->delivery_count == before->delivery_count);
        CHECK(rejected || released->not_before_us == before->not_before_us);
        return;
    }
    struct model_progress *progress = model_find_place(m, &entry->place);
    bool stale = progress != NULL && !nacked && as_of_index < progress->rewound_index;
    if (progress == NULL || stale ||
        model_is_done(m, (uint32_t)model_group_by_id(m, entry->place.group_id),
                      place_in_model(m, &entry->place))) {
        CHECK(released->status == ST_MESSAGE_NOT_FOUND);
        return;
    }
    CHECK(released->status == ST_OK && !released->already && !released->dead);
    CHECK(released->delivery_count == entry->delivery_count);
    CHECK(released->not_before_us == entry->not_before_us);
    give_back(progress, entry);
    if (!nacked)
        return;
    m->topics[place_in_model(m, &entry->place).topic].totals.nacked++;
    resolve(m, entry->lease_id, RESOLVED_NACKED, entry->delivery_count, entry->not_before_us);
}

void model_release(struct model *m, const struct command_release *cmd, const struct result *result)
{
    CHECK(result->status == ST_OK && result->release.count == cmd->entry_count);
    for (uint32_t i = 0; i < cmd->entry_count; i++)
        release_one(m, &cmd->entries[i], cmd->as_of_index, &result->release.released[i]);
}

/* The dead-letter topic of the place's topic, made when it is not there. */
static uint32_t need_dead_letter_topic(struct model *m, uint32_t source,
                                       const struct topic_settings *settings)
{
    CHECK(source < MODEL_NAMES);
    uint32_t topic = source + MODEL_NAMES;
    if (!m->topics[topic].alive)
        m->topics[topic] =
            (struct model_topic){.alive = true,
                                 .id = m->next_topic_id++,
                                 .partition_count = m->topics[source].partition_count,
                                 .created_us = m->now_us,
                                 .settings = *settings};
    return topic;
}

static void dead_letter_one(struct model *m, const struct command_dead_letter *cmd, uint32_t i,
                            const struct model_sent *sent, const struct dead_lettered *dead)
{
    const struct dead_letter_entry *entry = &cmd->entries[i];
    struct model_progress *progress = model_find_place(m, &entry->place);
    if (progress == NULL) {
        CHECK(dead->status == ST_MESSAGE_NOT_FOUND);
        return;
    }
    struct model_place place = place_in_model(m, &entry->place);
    uint32_t group = (uint32_t)model_group_by_id(m, entry->place.group_id);
    /* One that a client asked for counts once, even if a commit went back in between. */
    bool asked = entry->asked || entry->nacked;
    bool repeat = asked && model_find_resolved(m, entry->lease_id) != NULL;
    CHECK(dead->status == ST_OK);
    CHECK(dead->already == (repeat || model_is_done(m, group, place)));
    if (dead->already)
        return;
    if (entry->batch.size > 0) {
        uint32_t topic = need_dead_letter_topic(m, place.topic, &cmd->settings);
        uint32_t p = entry->hash % m->topics[topic].partition_count;
        CHECK(span_equal(dead->topic, span_text(model_topic_name(topic))));
        CHECK(dead->partition == p);
        CHECK(dead->offset == model_append(m, topic, p, &sent[i]));
    } else {
        CHECK(dead->topic.size == 0);
    }
    model_mark_done(m, group, place);
    struct topic_totals *totals = &m->topics[place.topic].totals;
    totals->nacked += entry->nacked;
    totals->rejected += entry->asked;
    totals->dropped += entry->batch.size == 0;
    totals->dead_rejected += entry->batch.size > 0 && entry->reason == DEAD_LETTER_REJECTED;
    totals->dead_max_retries += entry->batch.size > 0 && entry->reason == DEAD_LETTER_MAX_RETRIES;
    if (asked)
        resolve(m, entry->lease_id, entry->asked ? RESOLVED_REJECTED : RESOLVED_NACKED_DEAD,
                entry->delivery_count, 0);
}

void model_dead_letter(struct model *m, const struct command_dead_letter *cmd,
                       const struct model_sent *sent, const struct result *result)
{
    CHECK(result->status == ST_OK && result->dead_letter.count == cmd->entry_count);
    for (uint32_t i = 0; i < cmd->entry_count; i++)
        dead_letter_one(m, cmd, i, sent, &result->dead_letter.entries[i]);
}
