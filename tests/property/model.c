/* Topics of the naive machine: names, messages, and what becomes of them for all groups alike. */
#include "tests/property/model.h"

#include "std/check.h"

static const char *const topic_names[MODEL_TOPICS] = {
    "t0", "acme/t0", "acme/t3", "t10", "t0.dlq", "acme/t0.dlq", "acme/t3.dlq", "t10.dlq"};
static const char *const group_names[MODEL_GROUPS] = {"g0", "acme/g0", "g1"};

void model_init(struct model *m, int64_t now_us)
{
    memset(m, 0, sizeof *m);
    m->now_us = now_us;
    m->next_topic_id = 1;
    m->next_group_id = 1;
}

const char *model_topic_name(uint32_t topic)
{
    return topic_names[topic];
}

const char *model_group_name(uint32_t group)
{
    return group_names[group];
}

int model_topic_by_name(const struct model *m, struct span name)
{
    for (int t = 0; t < MODEL_TOPICS; t++)
        if (m->topics[t].alive && span_equal(span_text(topic_names[t]), name))
            return t;
    return MODEL_NOBODY;
}

int model_topic_by_id(const struct model *m, uint32_t id)
{
    for (int t = 0; t < MODEL_TOPICS; t++)
        if (m->topics[t].alive && m->topics[t].id == id)
            return t;
    return MODEL_NOBODY;
}

int model_group_by_id(const struct model *m, uint32_t id)
{
    for (int g = 0; g < MODEL_GROUPS; g++)
        if (m->groups[g].alive && m->groups[g].id == id)
            return g;
    return MODEL_NOBODY;
}

uint32_t model_member_number(struct span id)
{
    CHECK(id.size >= 2 && id.data[0] == 'm');
    uint32_t number = 0;
    for (size_t i = 1; i < id.size; i++)
        number = number * 10 + (uint32_t)(id.data[i] - '0');
    return number;
}

int model_member_by_number(const struct model_group *g, uint32_t number)
{
    for (uint32_t i = 0; i < g->member_count; i++)
        if (g->members[i].number == number)
            return (int)i;
    return MODEL_NOBODY;
}

struct model_progress *model_find_place(struct model *m, const struct delivery_place *place)
{
    int g = model_group_by_id(m, place->group_id), t = model_topic_by_id(m, place->topic_id);
    if (g == MODEL_NOBODY || t == MODEL_NOBODY ||
        place->partition >= m->topics[t].partition_count ||
        place->offset >= m->topics[t].partitions[place->partition].next)
        return NULL;
    struct model_progress *progress = &m->groups[g].progress[t][place->partition];
    return progress->known ? progress : NULL;
}

const struct model_message *model_message_at(const struct model *m, struct model_place place)
{
    return &m->topics[place.topic].partitions[place.partition].messages[place.offset];
}

bool model_is_done(const struct model *m, uint32_t group, struct model_place place)
{
    const struct model_progress *progress =
        &m->groups[group].progress[place.topic][place.partition];
    return place.offset < progress->position || progress->done[place.offset] ||
           model_message_at(m, place)->gone;
}

bool model_is_visible(const struct model *m, struct model_place place)
{
    const struct model_message *message = model_message_at(m, place);
    return !message->pending && !message->gone && message->open == 0;
}

const struct model_message *model_first_pending(const struct model *m, uint32_t topic,
                                                uint32_t partition, uint64_t *out_offset)
{
    const struct model_partition *p = &m->topics[topic].partitions[partition];
    const struct model_message *first = NULL;
    for (uint64_t o = 0; o < p->next; o++) {
        const struct model_message *message = &p->messages[o];
        if (!message->pending || (first != NULL && message->due_us >= first->due_us))
            continue;
        first = message;
        *out_offset = o;
    }
    return first;
}

uint64_t model_count_pending(const struct model_topic *t)
{
    uint64_t count = 0;
    for (uint32_t p = 0; p < t->partition_count; p++)
        for (uint64_t o = 0; o < t->partitions[p].next; o++)
            count += t->partitions[p].messages[o].pending;
    return count;
}

void model_settle_position(struct model *m, uint32_t group, uint32_t topic, uint32_t partition)
{
    struct model_progress *progress = &m->groups[group].progress[topic][partition];
    const struct model_partition *p = &m->topics[topic].partitions[partition];
    while (progress->position < p->next &&
           (progress->done[progress->position] || p->messages[progress->position].gone))
        progress->position++;
}

void model_rise(struct model *m, uint32_t topic, uint32_t partition)
{
    for (uint32_t g = 0; g < MODEL_GROUPS; g++)
        if (m->groups[g].alive && m->groups[g].progress[topic][partition].known)
            model_settle_position(m, g, topic, partition);
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
                                  .created_us = m->now_us,
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
        if (subscribed)
            model_begin_rebalance(m, i, REBALANCE_TOPIC_DELETED);
    }
}

void model_add_partitions(struct model *m, uint32_t topic,
                          const struct command_topic_add_partitions *cmd,
                          const struct result *result)
{
    struct model_topic *t = &m->topics[topic];
    if (!t->alive) {
        CHECK(result->status == ST_TOPIC_NOT_FOUND);
        return;
    }
    bool grows = cmd->partition_count > t->partition_count;
    CHECK(result->status == (grows ? ST_OK : ST_INVALID_ARGUMENT));
    CHECK(result->add_partitions.old_count == t->partition_count);
    if (grows)
        t->partition_count = cmd->partition_count; /* the new ones were zero all along */
    CHECK(result->add_partitions.new_count == t->partition_count);
    for (uint32_t i = 0; grows && i < MODEL_GROUPS; i++) {
        bool subscribed = false;
        for (uint32_t k = 0; k < m->groups[i].member_count; k++)
            subscribed |= m->groups[i].members[k].topics[topic];
        if (subscribed)
            model_begin_rebalance(m, i, REBALANCE_PARTITIONS_ADDED);
    }
}

int64_t model_due_of(const struct model *m, const struct model_record *record)
{
    int64_t due_us = record->deliver_at_us;
    if (record->delay_us > 0)
        due_us =
            record->delay_us > DUE_US_MAX - m->now_us ? DUE_US_MAX : m->now_us + record->delay_us;
    if (due_us > DUE_US_MAX)
        due_us = DUE_US_MAX;
    return due_us > m->now_us ? due_us : 0;
}

void model_make_pending(struct model *m, struct model_place place, int64_t due_us)
{
    struct model_topic *t = &m->topics[place.topic];
    t->partitions[place.partition].messages[place.offset].pending = true;
    t->totals.scheduled++;
    t->totals.scheduled_delay_us += (uint64_t)(due_us - m->now_us);
}

uint64_t model_append(struct model *m, uint32_t topic, uint32_t partition,
                      const struct model_sent *sent)
{
    struct model_partition *p = &m->topics[topic].partitions[partition];
    uint64_t base = p->next;
    CHECK(base + sent->count <= MODEL_OFFSETS);
    for (uint32_t i = 0; i < sent->count; i++) {
        int64_t due_us = model_due_of(m, &sent->records[i]);
        p->messages[p->next++] =
            (struct model_message){.priority = sent->records[i].priority, .due_us = due_us};
        if (due_us > 0)
            model_make_pending(m, (struct model_place){topic, partition, p->next - 1}, due_us);
    }
    p->bytes += sent->size;
    struct model_effects *e = &m->effects;
    CHECK(e->appended_count < MODEL_ENTRIES);
    e->appended[e->appended_count++] = (struct model_place){topic, partition, base};
    return base;
}

static bool has_room(const struct model *m, const struct model_topic *t, uint32_t entry_count,
                     const struct model_sent *sent, const struct result *result)
{
    uint64_t delayed = 0, pending = model_count_pending(t);
    for (uint32_t i = 0; i < entry_count; i++)
        for (uint32_t k = 0; k < sent[i].count; k++)
            delayed += model_due_of(m, &sent[i].records[k]) > 0;
    if (pending + delayed <= t->settings.delayed_max || delayed == 0)
        return true;
    CHECK(result->status == ST_DELAYED_FULL);
    bool full = pending >= t->settings.delayed_max;
    CHECK(result->publish.delayed_room == (full ? 0 : t->settings.delayed_max - pending));
    return false;
}

/* The key was used lately: the answer is the one that it had then. */
static bool is_repeated(const struct model *m, const struct command_publish *cmd,
                        const struct result *result)
{
    const struct result_publish *told = &result->publish;
    for (uint32_t i = m->key_count; cmd->idempotency_key.size > 0 && i-- > 0;) {
        const struct model_key *known = &m->keys[i];
        if (known->key != cmd->idempotency_key.data[0])
            continue;
        if (m->now_us - known->time_us > 10LL * 60 * 1000000)
            return false;
        CHECK(result->status == ST_OK && told->repeated);
        CHECK(told->time_us == known->time_us && told->count == known->count);
        CHECK(span_equal(told->memo, span_text(known->memo)));
        for (uint32_t k = 0; k < known->count; k++) {
            CHECK(told->placements[k].partition == known->placements[k].partition);
            CHECK(told->placements[k].base_offset == known->placements[k].base_offset);
        }
        return true;
    }
    return false;
}

static void note_key(struct model *m, const struct command_publish *cmd,
                     const struct result *result)
{
    CHECK(!result->publish.repeated);
    if (cmd->idempotency_key.size == 0)
        return;
    CHECK(m->key_count < MODEL_KEYS && cmd->memo.size < MODEL_MEMO_SIZE);
    struct model_key *key = &m->keys[m->key_count++];
    *key = (struct model_key){
        .key = cmd->idempotency_key.data[0], .time_us = m->now_us, .count = cmd->entry_count};
    if (cmd->memo.size > 0)
        memcpy(key->memo, cmd->memo.data, cmd->memo.size);
    memcpy(key->placements, result->publish.placements, cmd->entry_count * sizeof *key->placements);
}

void model_publish(struct model *m, const struct command_publish *cmd,
                   const struct model_sent *sent, const struct result *result)
{
    if (is_repeated(m, cmd, result))
        return;
    int topic = model_topic_by_id(m, cmd->topic_id);
    struct model_topic *t = topic == MODEL_NOBODY ? NULL : &m->topics[topic];
    if (t == NULL || t->partition_count != cmd->partition_count) {
        CHECK(result->status == ST_STALE);
        return;
    }
    if (!has_room(m, t, cmd->entry_count, sent, result))
        return;
    CHECK(result->status == ST_OK);
    CHECK(result->publish.count == cmd->entry_count);
    CHECK(result->publish.time_us == m->now_us);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        uint32_t p = sent[i].target;
        if (p & PUBLISH_KEYLESS)
            p = (t->round_robin + (p & ~PUBLISH_KEYLESS)) % t->partition_count;
        CHECK(result->publish.placements[i].partition == p);
        uint64_t base = model_append(m, (uint32_t)topic, p, &sent[i]);
        CHECK(result->publish.placements[i].base_offset == base);
    }
    for (uint32_t i = 0; i < cmd->keyless_count; i++)
        t->round_robin = t->round_robin + 1 == t->partition_count ? 0 : t->round_robin + 1;
    note_key(m, cmd, result);
}

/* The partition that a command names, or the status of its refusal. */
static struct model_partition *find_partition(struct model *m, uint32_t topic_id,
                                              uint32_t partition, int *out_topic,
                                              const struct result *result)
{
    *out_topic = model_topic_by_id(m, topic_id);
    if (*out_topic == MODEL_NOBODY) {
        CHECK(result->status == ST_TOPIC_NOT_FOUND);
        return NULL;
    }
    if (partition >= m->topics[*out_topic].partition_count) {
        CHECK(result->status == ST_PARTITION_NOT_FOUND);
        return NULL;
    }
    return &m->topics[*out_topic].partitions[partition];
}

void model_delay_due(struct model *m, const struct command_delay_due *cmd,
                     const struct result *result)
{
    int topic;
    struct model_partition *p = find_partition(m, cmd->topic_id, cmd->partition, &topic, result);
    if (p == NULL)
        return;
    CHECK(result->status == ST_OK);
    struct model_effects *e = &m->effects;
    for (;;) { /* the first by time, then offset */
        uint64_t offset = 0;
        const struct model_message *first =
            model_first_pending(m, (uint32_t)topic, cmd->partition, &offset);
        bool due = first != NULL && first->due_us <= m->now_us;
        if (!due || e->visible_count == cmd->count_max) {
            CHECK(result->delay_due.more == due);
            break;
        }
        p->messages[offset].pending = false;
        m->topics[topic].totals.due++;
        e->visible[e->visible_count++] =
            (struct model_place){(uint32_t)topic, cmd->partition, offset};
    }
    CHECK(result->delay_due.count == e->visible_count);
}

void model_make_gone(struct model *m, struct model_place place)
{
    m->topics[place.topic].partitions[place.partition].messages[place.offset].pending = false;
    m->topics[place.topic].partitions[place.partition].messages[place.offset].open = 0;
    m->topics[place.topic].partitions[place.partition].messages[place.offset].gone = true;
    for (uint32_t g = 0; g < MODEL_GROUPS; g++)
        m->groups[g].progress[place.topic][place.partition].retries[place.offset].count = 0;
    model_rise(m, place.topic, place.partition);
    CHECK(m->effects.gone_count < MODEL_GONE);
    m->effects.gone[m->effects.gone_count++] = place;
}

void model_delay_cancel(struct model *m, const struct command_delay_cancel *cmd,
                        const struct result *result)
{
    int topic;
    struct model_partition *p = find_partition(m, cmd->topic_id, cmd->partition, &topic, result);
    if (p == NULL)
        return;
    struct model_message *message = cmd->offset < p->next ? &p->messages[cmd->offset] : NULL;
    if (message != NULL && message->pending && message->due_us == cmd->due_us) {
        CHECK(result->status == ST_OK && !result->delay_cancel.already);
        m->topics[topic].totals.cancelled++;
        model_make_gone(m, (struct model_place){(uint32_t)topic, cmd->partition, cmd->offset});
        return;
    }
    bool gone = message != NULL && message->gone;
    CHECK(result->status == (gone ? ST_OK : ST_DELAYED_NOT_FOUND));
    CHECK(result->delay_cancel.already == gone);
}

void model_replay(struct model *m, const struct command_replay *cmd, const struct model_sent *sent,
                  const struct result *result)
{
    int target = model_topic_by_id(m, cmd->target_topic_id);
    int source = model_topic_by_id(m, cmd->topic_id);
    if (source == MODEL_NOBODY || target == MODEL_NOBODY) {
        CHECK(result->status == ST_TOPIC_NOT_FOUND);
        return;
    }
    if (cmd->partition >= m->topics[source].partition_count) {
        CHECK(result->status == ST_PARTITION_NOT_FOUND);
        return;
    }
    CHECK(result->status == ST_OK);
    uint32_t moved = 0;
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        struct model_place place = {(uint32_t)source, cmd->partition, cmd->entries[i].offset};
        if (place.offset >= m->topics[source].partitions[cmd->partition].next ||
            !model_is_visible(m, place))
            continue;
        moved++;
        uint32_t p = cmd->entries[i].hash % m->topics[target].partition_count;
        (void)model_append(m, (uint32_t)target, p, &sent[i]);
        model_make_gone(m, place);
    }
    CHECK(result->replay.moved == moved);
    CHECK(result->replay.skipped == cmd->entry_count - moved);
}
