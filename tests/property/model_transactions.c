/* Producers and transactions of the naive machine. What a transaction holds is marked on the
 * messages themselves; its end walks through all that there is. */
#include "std/check.h"
#include "tests/property/model.h"

static struct model_producer *producer_of(struct model *m, uint64_t id)
{
    return id >= 1 && id <= m->producer_count ? &m->producers[id - 1] : NULL;
}

static struct model_transaction *transaction_of(struct model *m, uint64_t number)
{
    CHECK(number >= 1 && number <= m->transaction_count);
    return &m->transactions[number - 1];
}

static void touch(struct model *m, struct model_producer *producer)
{
    producer->used_us = m->now_us;
    producer->touched = ++m->touches;
}

/* Who asks; NULL when it is refused, as the result says. */
static struct model_producer *judge(struct model *m, const struct producer_ref *ref,
                                    const struct result *result)
{
    struct model_producer *producer = producer_of(m, ref->id);
    bool named = ref->transactional_id.size > 0;
    if (producer == NULL || !producer->alive ||
        !span_equal(ref->scope, span_text(producer->scope)) ||
        (named && !span_equal(ref->transactional_id, span_text(producer->name)))) {
        CHECK(result->status == ST_PRODUCER_NOT_FOUND);
        return NULL;
    }
    if (producer->epoch != ref->epoch) {
        CHECK(result->status == ST_PRODUCER_FENCED);
        return NULL;
    }
    touch(m, producer);
    return producer;
}

/* Its open transaction; NULL when there is none, as the result says. */
static struct model_transaction *judge_open(struct model *m, const struct producer_ref *ref,
                                            const struct result *result)
{
    struct model_producer *producer = judge(m, ref, result);
    if (producer == NULL)
        return NULL;
    if (producer->open > 0)
        return transaction_of(m, producer->open);
    bool timed_out =
        producer->last > 0 && transaction_of(m, producer->last)->state == TRANSACTION_TIMED_OUT;
    CHECK(result->status == (timed_out ? ST_TRANSACTION_ABORTED : ST_NO_TRANSACTION));
    return NULL;
}

static void forget(struct model *m, struct model_producer *producer)
{
    producer->alive = false;
    m->retired.committed_total += producer->committed;
    m->retired.aborted_total += producer->aborted;
    m->retired.timed_out_total += producer->timed_out;
    m->retired.duration_sum_us += producer->duration_us;
    for (uint32_t i = 0; i < m->sequence_count; i++)
        if (!m->sequences[i].transactional && producer_of(m, m->sequences[i].owner) == producer)
            m->sequences[i].alive = false;
}

/* Those that were not seen for 7 days, till one is open or was. */
static void forget_old_ones(struct model *m)
{
    for (;;) {
        struct model_producer *oldest = NULL;
        for (uint32_t i = 0; i < m->producer_count; i++)
            if (m->producers[i].alive &&
                (oldest == NULL || m->producers[i].touched < oldest->touched))
                oldest = &m->producers[i];
        if (oldest == NULL || oldest->open > 0 ||
            m->now_us - oldest->used_us <= 7LL * 24 * 3600 * 1000000)
            return;
        forget(m, oldest);
    }
}

/* In the order of topic ids, partitions and offsets, as delivery is told. */
static bool next_topic(const struct model *m, uint32_t *id, uint32_t *out_topic)
{
    for (; *id < m->next_topic_id; (*id)++) {
        int topic = model_topic_by_id(m, *id);
        if (topic == MODEL_NOBODY)
            continue;
        *out_topic = (uint32_t)topic;
        (*id)++;
        return true;
    }
    return false;
}

static void end_message(struct model *m, struct model_place place, bool committed)
{
    struct model_message *message =
        &m->topics[place.topic].partitions[place.partition].messages[place.offset];
    message->open = 0;
    if (!committed) {
        model_make_gone(m, place);
    } else if (message->due_us > m->now_us) {
        model_make_pending(m, place, message->due_us);
    } else {
        CHECK(m->effects.visible_count < MODEL_PARTITIONS * MODEL_OFFSETS);
        m->effects.visible[m->effects.visible_count++] = place;
    }
}

static void end_messages(struct model *m, uint64_t number, bool committed)
{
    uint32_t topic = 0;
    for (uint32_t id = 1; next_topic(m, &id, &topic);)
        for (uint32_t p = 0; p < m->topics[topic].partition_count; p++)
            for (uint64_t o = 0; o < m->topics[topic].partitions[p].next; o++)
                if (m->topics[topic].partitions[p].messages[o].open == number)
                    end_message(m, (struct model_place){topic, p, o}, committed);
}

static void end_ack(struct model *m, uint32_t group, struct model_place place, bool committed)
{
    struct model_progress *progress = &m->groups[group].progress[place.topic][place.partition];
    uint64_t index = progress->reserved_index[place.offset];
    progress->reserved[place.offset] = 0;
    if (!committed || index < progress->rewound_index || model_is_done(m, group, place))
        return;
    m->topics[place.topic].totals.acked++;
    model_mark_done(m, group, place);
}

static void end_acks(struct model *m, uint64_t number, bool committed)
{
    for (uint32_t g = 0; g < MODEL_GROUPS; g++)
        for (uint32_t t = 0; t < MODEL_TOPICS; t++)
            for (uint32_t p = 0; p < MODEL_PARTITIONS; p++)
                for (uint64_t o = 0; o < MODEL_OFFSETS; o++)
                    if (m->groups[g].progress[t][p].reserved[o] == number)
                        end_ack(m, g, (struct model_place){t, p, o}, committed);
}

static void end(struct model *m, uint64_t number, enum transaction_state state)
{
    struct model_transaction *t = transaction_of(m, number);
    struct model_producer *producer = producer_of(m, t->producer_id);
    bool committed = state == TRANSACTION_COMMITTED;
    CHECK(producer->open == number && t->state == TRANSACTION_ONGOING);
    end_messages(m, number, committed);
    end_acks(m, number, committed);
    for (uint32_t i = 0; committed && i < t->offset_count; i++) {
        int g = model_group_by_id(m, t->offsets[i].group_id);
        int topic = model_topic_by_id(m, t->offsets[i].topic_id);
        if (g != MODEL_NOBODY && topic != MODEL_NOBODY)
            model_set_position(m, (uint32_t)g,
                               (struct model_place){(uint32_t)topic, t->offsets[i].partition,
                                                    t->offsets[i].offset});
    }
    for (uint32_t i = 0; i < m->sequence_count; i++)
        if (m->sequences[i].transactional && m->sequences[i].owner == number)
            m->sequences[i].alive = false;
    t->state = state;
    t->ended_us = m->now_us;
    producer->open = 0;
    producer->last = number;
    producer->committed += committed;
    producer->aborted += !committed;
    producer->timed_out += state == TRANSACTION_TIMED_OUT;
    producer->duration_us += (uint64_t)(m->now_us - t->began_us);
    m->effects.ended++;
}

static const char *static_text(struct span text)
{
    static const char *const known[] = {"", "acme/", "one", "two", "three"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (span_equal(text, span_text(known[i])))
            return known[i];
    CHECK(false); /* a name that the steps do not use */
    return NULL;
}

void model_producer_init(struct model *m, const struct command_producer_init *cmd,
                         const struct result *result)
{
    struct model_producer *producer = NULL;
    for (uint32_t i = 0; i < m->producer_count && cmd->transactional_id.size > 0; i++)
        if (m->producers[i].alive && span_equal(cmd->scope, span_text(m->producers[i].scope)) &&
            span_equal(cmd->transactional_id, span_text(m->producers[i].name)))
            producer = &m->producers[i];
    if (producer == NULL) {
        forget_old_ones(m);
        CHECK(m->producer_count < MODEL_PRODUCERS);
        producer = &m->producers[m->producer_count++];
        *producer = (struct model_producer){.alive = true,
                                            .scope = static_text(cmd->scope),
                                            .name = static_text(cmd->transactional_id)};
    } else {
        if (producer->open > 0)
            end(m, producer->open, TRANSACTION_ABORTED);
        producer->epoch++;
        producer->last = 0;
    }
    producer->timeout_us = cmd->timeout_us;
    touch(m, producer);
    CHECK(result->status == ST_OK);
    CHECK(producer_of(m, result->producer.id) == producer);
    CHECK(result->producer.epoch == producer->epoch);
}

void model_producer_heartbeat(struct model *m, const struct command_producer_heartbeat *cmd,
                              const struct result *result)
{
    CHECK(judge(m, &cmd->producer, result) == NULL || result->status == ST_OK);
}

void model_begin(struct model *m, const struct command_transaction_begin *cmd,
                 const struct result *result)
{
    struct model_producer *producer = judge(m, &cmd->producer, result);
    if (producer == NULL)
        return;
    if (producer->name[0] == '\0') {
        CHECK(result->status == ST_INVALID_ARGUMENT);
        return;
    }
    if (producer->open == 0) {
        CHECK(m->transaction_count < MODEL_TRANSACTIONS);
        m->transactions[m->transaction_count++] =
            (struct model_transaction){.producer_id = cmd->producer.id,
                                       .epoch = producer->epoch,
                                       .began_us = m->now_us,
                                       .expires_us = m->now_us + producer->timeout_us};
        producer->open = m->transaction_count;
        producer->last = 0;
        m->effects.begun++;
    }
    const struct model_transaction *t = transaction_of(m, producer->open);
    bool empty = t->message_count + t->ack_count + t->offset_count == 0;
    CHECK(result->status == (empty ? ST_OK : ST_TRANSACTION_IN_PROGRESS));
    CHECK(!empty || result->transaction.number == producer->open);
}

static struct model_sequence *find_sequence(struct model *m, const struct model_sequence *like)
{
    for (uint32_t i = 0; i < m->sequence_count; i++) {
        struct model_sequence *s = &m->sequences[i];
        if (s->alive && s->transactional == like->transactional && s->owner == like->owner &&
            s->topic_id == like->topic_id && s->window == like->window && s->number == like->number)
            return s;
    }
    return NULL;
}

/* True: it was there before, and the result says so. */
static bool is_repeated(struct model *m, const struct model_sequence *like,
                        const struct result *result)
{
    const struct model_sequence *known = like->number < 0 ? NULL : find_sequence(m, like);
    if (known == NULL)
        return false;
    bool same = known->content == like->content;
    CHECK(result->status == (same ? ST_OK : ST_SEQUENCE_CONFLICT));
    CHECK(!same || (result->transaction_publish.duplicate &&
                    result->transaction_publish.partition == known->partition &&
                    result->transaction_publish.offset == known->offset));
    return true;
}

static void add_place(struct model_transaction *t, uint32_t topic_id, uint32_t partition)
{
    for (uint32_t i = 0; i < t->place_count; i++)
        if (t->places[i].topic_id == topic_id && t->places[i].partition == partition)
            return;
    CHECK(t->place_count < MODEL_SPREAD);
    t->places[t->place_count++] =
        (struct delivery_place){.topic_id = topic_id, .partition = partition};
}

/* Where it is appended; open if there is a transaction. */
static struct model_place append(struct model *m, uint32_t topic,
                                 const struct command_transaction_publish *cmd,
                                 const struct model_sent *sent, uint64_t number)
{
    struct model_topic *t = &m->topics[topic];
    struct model_place place = {topic, cmd->target, 0};
    if (cmd->target == PUBLISH_KEYLESS) {
        place.partition = t->round_robin;
        t->round_robin = (t->round_robin + 1) % t->partition_count;
    }
    if (number == 0) {
        place.offset = model_append(m, topic, place.partition, sent);
        return place;
    }
    struct model_partition *p = &t->partitions[place.partition];
    place.offset = p->next++;
    CHECK(place.offset < MODEL_OFFSETS);
    p->bytes += sent->size;
    p->messages[place.offset] = (struct model_message){.priority = sent->records[0].priority,
                                                       .due_us = model_due_of(m, sent->records),
                                                       .open = number};
    m->effects.appended[m->effects.appended_count++] = place;
    struct model_transaction *transaction = transaction_of(m, number);
    transaction->message_count++;
    add_place(transaction, t->id, place.partition);
    return place;
}

void model_send(struct model *m, const struct command_transaction_publish *cmd,
                const struct model_sent *sent, const struct result *result)
{
    const struct model_producer *producer = producer_of(m, cmd->producer.id);
    bool transactional = producer != NULL && producer->alive && producer->name[0] != '\0';
    if (transactional ? judge_open(m, &cmd->producer, result) == NULL
                      : judge(m, &cmd->producer, result) == NULL)
        return;
    int topic = model_topic_by_id(m, cmd->topic_id);
    if (topic == MODEL_NOBODY || m->topics[topic].partition_count != cmd->partition_count) {
        CHECK(result->status == ST_STALE);
        return;
    }
    struct model_sequence sequence = {.alive = true,
                                      .transactional = transactional,
                                      .owner = transactional ? producer->open : cmd->producer.id,
                                      .topic_id = cmd->topic_id,
                                      .window = cmd->target,
                                      .number = cmd->sequence,
                                      .content = cmd->content.data[0]};
    if (is_repeated(m, &sequence, result))
        return;
    if (model_due_of(m, sent->records) > 0 &&
        model_count_pending(&m->topics[topic]) >= m->topics[topic].settings.delayed_max) {
        CHECK(result->status == ST_DELAYED_FULL);
        return;
    }
    struct model_place place =
        append(m, (uint32_t)topic, cmd, sent, transactional ? producer->open : 0);
    CHECK(result->status == ST_OK && !result->transaction_publish.duplicate);
    CHECK(result->transaction_publish.partition == place.partition);
    CHECK(result->transaction_publish.offset == place.offset);
    CHECK(result->transaction_publish.time_us == m->now_us);
    sequence.partition = place.partition;
    sequence.offset = place.offset;
    if (cmd->sequence < 0)
        return;
    CHECK(m->sequence_count < MODEL_SEQUENCES);
    m->sequences[m->sequence_count++] = sequence;
}

static struct model_place place_in_model(const struct model *m, const struct ack_entry *entry)
{
    return (struct model_place){(uint32_t)model_topic_by_id(m, entry->topic_id), entry->partition,
                                entry->offset};
}

static enum status ack_status(struct model *m, uint32_t group_id, const struct ack_entry *entry,
                              uint64_t number)
{
    const struct model_progress *progress = model_find_place(
        m, &(struct delivery_place){group_id, entry->topic_id, entry->partition, entry->offset});
    if (progress == NULL ||
        model_is_done(m, (uint32_t)model_group_by_id(m, group_id), place_in_model(m, entry)))
        return ST_MESSAGE_NOT_FOUND;
    uint64_t by = progress->reserved[entry->offset];
    return by == 0 || by == number ? ST_OK : ST_TRANSACTION_IN_PROGRESS;
}

void model_transaction_ack(struct model *m, const struct command_transaction_ack *cmd,
                           const struct result *result)
{
    struct model_transaction *t = judge_open(m, &cmd->producer, result);
    if (t == NULL)
        return;
    uint64_t number = producer_of(m, cmd->producer.id)->open;
    enum status st = ST_OK;
    for (uint32_t i = 0; i < cmd->entry_count && st == ST_OK; i++)
        st = ack_status(m, cmd->group_id, &cmd->entries[i], number);
    CHECK(result->status == st);
    for (uint32_t i = 0; i < cmd->entry_count && st == ST_OK; i++) {
        struct model_place place = place_in_model(m, &cmd->entries[i]);
        struct model_progress *progress =
            &m->groups[model_group_by_id(m, cmd->group_id)].progress[place.topic][place.partition];
        t->ack_count += progress->reserved[place.offset] != number;
        progress->reserved[place.offset] = number;
        progress->reserved_index[place.offset] = m->index;
    }
}

void model_transaction_offsets(struct model *m, uint32_t group,
                               const struct command_transaction_offsets *cmd,
                               const struct result *result)
{
    struct model_transaction *t = judge_open(m, &cmd->producer, result);
    if (t == NULL)
        return;
    CHECK(result->status == model_commit_status(m, &m->groups[group], &cmd->commit));
    for (uint32_t i = 0; i < cmd->commit.entry_count && result->status == ST_OK; i++) {
        const struct offset_entry *entry = &cmd->commit.entries[i];
        CHECK(t->offset_count < MODEL_SPREAD);
        t->offsets[t->offset_count++] = (struct delivery_place){
            m->groups[group].id, m->topics[model_topic_by_name(m, entry->topic)].id,
            entry->partition, entry->offset};
    }
}

static void check_told(struct model *m, uint64_t number, bool already, const struct result *result)
{
    const struct result_transaction none = {0};
    const struct result_transaction *told = &result->transaction;
    CHECK(result->status == ST_OK && told->already == already);
    CHECK(told->number == number);
    const struct model_transaction *t = number == 0 ? NULL : transaction_of(m, number);
    CHECK(told->message_count == (t == NULL ? none.message_count : t->message_count));
    CHECK(told->partition_count == (t == NULL ? none.partition_count : t->place_count));
}

void model_end(struct model *m, const struct command_transaction_end *cmd,
               const struct result *result)
{
    if (cmd->how == TRANSACTION_EXPIRE) {
        CHECK(result->status == ST_OK);
        bool open = cmd->number >= 1 && cmd->number <= m->transaction_count &&
                    transaction_of(m, cmd->number)->state == TRANSACTION_ONGOING;
        if (open)
            end(m, cmd->number, TRANSACTION_TIMED_OUT);
        return;
    }
    struct model_producer *producer = judge(m, &cmd->producer, result);
    if (producer == NULL)
        return;
    bool commit = cmd->how == TRANSACTION_COMMIT;
    if (producer->open > 0) {
        end(m, producer->open, commit ? TRANSACTION_COMMITTED : TRANSACTION_ABORTED);
        check_told(m, producer->last, false, result);
        return;
    }
    bool committed =
        producer->last > 0 && transaction_of(m, producer->last)->state == TRANSACTION_COMMITTED;
    if (producer->last == 0 && commit)
        CHECK(result->status == ST_NO_TRANSACTION);
    else if (producer->last > 0 && committed != commit)
        CHECK(result->status == (commit ? ST_TRANSACTION_ABORTED : ST_TRANSACTION_COMMITTED));
    else
        check_told(m, producer->last, true, result);
}
