/* Transactions: begun, filled, ended. */
#include "machine/state.h"
#include "std/check.h"

void apply_transaction_begin(struct machine *m, const struct command_transaction_begin *cmd,
                             struct arena *arena, struct result *out)
{
    (void)arena;
    struct producer *producer = machine_use_producer(m, &cmd->producer, out);
    if (producer == NULL)
        return;
    if (producer->transactional_id.size == 0) {
        out->status = ST_INVALID_ARGUMENT;
        out->detail = "a producer without transactional_id cannot begin a transaction";
        return;
    }
    if (producer->open == NULL) {
        struct transaction *t = transaction_begin(&m->transactions, producer, m->time_us);
        EFFECT(m, transaction_begun, t);
    } else if (!transaction_is_empty(producer->open)) {
        out->status = ST_TRANSACTION_IN_PROGRESS;
        return;
    }
    out->transaction.number = producer->open->number;
}

/* The producer's open transaction; NULL with a status: there is none. */
static struct transaction *find_open(const struct producer *producer, struct result *out)
{
    if (producer->open == NULL)
        out->status =
            producer->last == TRANSACTION_TIMED_OUT ? ST_TRANSACTION_ABORTED : ST_NO_TRANSACTION;
    return producer->open;
}

static bool has_room(const struct machine *m, const struct transaction *t, uint32_t count,
                     struct result *out)
{
    if (transaction_has_room(&m->transactions, t, count))
        return true;
    out->status = ST_PAYLOAD_TOO_LARGE;
    out->detail = "the transaction is full, or open ones are altogether: commit or abort";
    return false;
}

struct publishing { /* one TRANSACTION_PUBLISH on its way */
    struct machine *m;
    const struct command_transaction_publish *cmd;
    struct producer *producer;
    struct transaction *transaction; /* NULL: the producer has none */
    struct topic *topic;
    struct partition *partition;
    uint32_t window; /* which partition its number belongs to */
    struct sequence sequence;
};

/* Has the number come before? Then the answer is in *out. */
static bool is_repeated(const struct publishing *in, struct result *out)
{
    if (in->cmd->sequence < 0)
        return false;
    const struct sequence *known = sequence_find(&in->m->producers, &in->sequence);
    if (known == NULL)
        return false;
    if (memcmp(known->content, in->cmd->content.data, CONTENT_SIZE) != 0) {
        out->status = ST_SEQUENCE_CONFLICT;
        return true;
    }
    out->transaction_publish = (struct result_transaction_publish){
        .partition = known->partition, .offset = known->offset, .duplicate = true};
    return true;
}

static void note_sequence(struct publishing *in, uint64_t offset)
{
    if (in->cmd->sequence < 0)
        return;
    in->sequence.partition = in->partition->index;
    in->sequence.offset = offset;
    memcpy(in->sequence.content, in->cmd->content.data, CONTENT_SIZE);
    if (in->transaction != NULL)
        sequence_add(&in->m->producers, &in->sequence, &in->transaction->sequences);
    else
        sequence_add_to_window(&in->m->producers, in->producer, in->topic->id, in->window,
                               &in->sequence);
}

static uint64_t append(struct publishing *in)
{
    if (in->transaction == NULL)
        return partition_append(in->m, in->partition, in->cmd->batch);
    struct transaction_message message;
    partition_append_open(in->m, in->partition, in->cmd->batch, &message);
    transaction_add_message(&in->m->transactions, in->transaction, &message);
    return message.offset;
}

static bool is_delayed_beyond_room(const struct publishing *in)
{
    struct batch_header header;
    enum status st = batch_header_read(in->cmd->batch, &header);
    CHECK(st == ST_OK);
    return partition_count_delayed(in->m, in->cmd->batch, &header) > 0 &&
           in->topic->pending_count >= in->topic->settings.delayed_max;
}

/* False: it cannot be, or was before; *out says so. */
static bool may_publish(struct publishing *in, struct result *out)
{
    const struct command_transaction_publish *cmd = in->cmd;
    if (in->producer->transactional_id.size > 0) {
        in->transaction = find_open(in->producer, out);
        if (in->transaction == NULL)
            return false;
    }
    in->topic = machine_topic_by_id(in->m, cmd->topic_id);
    if (in->topic == NULL || in->topic->partition_count != cmd->partition_count) {
        out->status = ST_STALE;
        return false;
    }
    bool keyless = cmd->target == PUBLISH_KEYLESS;
    in->partition = in->topic->partitions[keyless ? in->topic->round_robin : cmd->target];
    in->window = keyless ? SEQUENCE_ANYWHERE : cmd->target;
    sequence_set_key(&in->sequence, in->transaction != NULL,
                     in->transaction != NULL ? in->transaction->number : in->producer->id,
                     in->topic->id, in->window, cmd->sequence);
    if (is_repeated(in, out))
        return false;
    if (is_delayed_beyond_room(in)) {
        out->status = ST_DELAYED_FULL;
        return false;
    }
    return in->transaction == NULL || has_room(in->m, in->transaction, 1, out);
}

void apply_transaction_publish(struct machine *m, const struct command_transaction_publish *cmd,
                               struct arena *arena, struct result *out)
{
    (void)arena;
    struct publishing in = {
        .m = m, .cmd = cmd, .producer = machine_use_producer(m, &cmd->producer, out)};
    if (in.producer == NULL || !may_publish(&in, out))
        return;
    uint64_t offset = append(&in);
    note_sequence(&in, offset);
    if (cmd->target == PUBLISH_KEYLESS)
        in.topic->round_robin = (in.topic->round_robin + 1) % in.topic->partition_count;
    out->transaction_publish = (struct result_transaction_publish){
        .partition = in.partition->index, .offset = offset, .time_us = m->time_us};
}

/* NULL: the message is not acked in the transaction. */
static struct transaction_ack *find_ack(const struct transaction *t,
                                        const struct delivery_place *place)
{
    for (uint32_t i = t->ack_count; i-- > 0;) { /* mostly a repeat of the last ones */
        const struct delivery_place *known = &t->acks[i].place;
        if (known->group_id == place->group_id && known->topic_id == place->topic_id &&
            known->partition == place->partition && known->offset == place->offset)
            return &t->acks[i];
    }
    return NULL;
}

/* May the message be acked in the transaction? *out_gp: NULL if it is in it already. */
static enum status judge_ack(const struct machine *m, const struct transaction *t,
                             const struct delivery_place *place, struct group_partition **out_gp)
{
    struct group_partition *gp = machine_find_place(m, place);
    *out_gp = NULL;
    if (gp == NULL || group_partition_is_done(gp, place->offset))
        return ST_MESSAGE_NOT_FOUND; /* done is too late: somebody else has done it */
    if (offset_set_has(&gp->reserved, place->offset))
        return find_ack(t, place) != NULL ? ST_OK : ST_TRANSACTION_IN_PROGRESS;
    *out_gp = gp;
    return ST_OK;
}

static struct delivery_place place_of(const struct command_transaction_ack *cmd, uint32_t i)
{
    const struct ack_entry *entry = &cmd->entries[i];
    return (struct delivery_place){cmd->group_id, entry->topic_id, entry->partition, entry->offset};
}

/* The message is in it from now on; again, if a commit of offsets went back in between. */
static void add_ack(struct machine *m, struct transaction *t, struct group_partition *gp,
                    const struct delivery_place *place)
{
    struct transaction_ack *known = gp == NULL ? find_ack(t, place) : NULL;
    if (known != NULL)
        known->index = m->applied_index;
    else if (gp != NULL && offset_set_add(&gp->reserved, place->offset)) /* else twice in one */
        transaction_add_ack(&m->transactions, t,
                            &(struct transaction_ack){*place, m->applied_index});
}

void apply_transaction_ack(struct machine *m, const struct command_transaction_ack *cmd,
                           struct arena *arena, struct result *out)
{
    const struct producer *producer = machine_use_producer(m, &cmd->producer, out);
    struct transaction *t = producer == NULL ? NULL : find_open(producer, out);
    if (t == NULL || !has_room(m, t, cmd->entry_count, out))
        return;
    struct group_partition **found =
        arena_array(arena, cmd->entry_count, sizeof(struct group_partition *));
    for (uint32_t i = 0; i < cmd->entry_count && out->status == ST_OK; i++) {
        const struct delivery_place place = place_of(cmd, i);
        out->status = judge_ack(m, t, &place, &found[i]);
    }
    for (uint32_t i = 0; i < cmd->entry_count && out->status == ST_OK; i++) {
        const struct delivery_place place = place_of(cmd, i);
        add_ack(m, t, found[i], &place);
    }
}

void apply_transaction_offsets(struct machine *m, const struct command_transaction_offsets *cmd,
                               struct arena *arena, struct result *out)
{
    const struct producer *producer = machine_use_producer(m, &cmd->producer, out);
    struct transaction *t = producer == NULL ? NULL : find_open(producer, out);
    if (t == NULL || !has_room(m, t, cmd->commit.entry_count, out))
        return;
    struct group_partition **found = machine_find_committed(m, &cmd->commit, arena, out);
    for (uint32_t i = 0; found != NULL && i < cmd->commit.entry_count; i++) {
        const struct delivery_place to = {found[i]->group->id, found[i]->partition->topic->id,
                                          found[i]->partition->index,
                                          cmd->commit.entries[i].offset};
        transaction_add_offset(&m->transactions, t, &to);
    }
}

/* Of one partition: messages[0..count). Their topic may be gone. */
static void end_messages(struct machine *m, const struct transaction_message *messages,
                         uint32_t count, bool committed, struct arena *arena)
{
    const struct topic *topic = machine_topic_by_id(m, messages->topic_id);
    if (topic == NULL)
        return;
    struct partition *p = topic->partitions[messages->partition];
    if (committed) {
        partition_make_visible(m, p, messages, count, arena);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        partition_make_gone(m, p, messages[i].offset, (enum priority)messages[i].priority);
}

static void end_ack(const struct machine *m, const struct transaction_ack *ack, bool committed)
{
    struct group_partition *gp = machine_find_place(m, &ack->place);
    if (gp == NULL)
        return; /* the group or the topic is gone */
    (void)offset_set_remove(&gp->reserved, ack->place.offset);
    if (!committed || ack->index < gp->rewound_index ||
        group_partition_is_done(gp, ack->place.offset))
        return;
    (void)group_partition_mark_done(gp, ack->place.offset);
    gp->partition->topic->totals.acked++;
}

void machine_end_transaction(struct machine *m, struct transaction *t, enum transaction_state state,
                             struct arena *arena)
{
    bool committed = state == TRANSACTION_COMMITTED;
    transaction_sort_messages(t);
    for (uint32_t begin = 0, end = 1; end <= t->message_count; end++) {
        const struct transaction_message *first = &t->messages[begin];
        if (end < t->message_count && t->messages[end].topic_id == first->topic_id &&
            t->messages[end].partition == first->partition)
            continue;
        end_messages(m, first, end - begin, committed, arena);
        begin = end;
    }
    for (uint32_t i = 0; i < t->ack_count; i++)
        end_ack(m, &t->acks[i], committed);
    EFFECT(m, transaction_ended, t);
    for (uint32_t i = 0; committed && i < t->offset_count; i++) {
        const struct delivery_place *to = &t->offsets[i];
        const struct group *g = machine_group_by_id(m, to->group_id);
        struct group_partition *gp =
            g == NULL ? NULL : group_find_partition(g, to->topic_id, to->partition);
        if (gp != NULL)
            machine_set_position(m, gp, to->offset);
    }
    transaction_end(&m->transactions, &m->producers, t, state, m->time_us);
}

/* Its transaction was not there to be ended: perhaps it ended so before. */
static void answer_ended(const struct producer *producer, bool commit, struct result *out)
{
    bool committed = producer->last == TRANSACTION_COMMITTED;
    out->transaction = producer->last_result;
    out->transaction.already = true;
    if (producer->last == TRANSACTION_ONGOING) { /* there never was one */
        out->transaction = (struct result_transaction){.already = true};
        out->status = commit ? ST_NO_TRANSACTION : ST_OK;
    } else if (committed != commit) {
        out->status = commit ? ST_TRANSACTION_ABORTED : ST_TRANSACTION_COMMITTED;
    }
}

static void expire(struct machine *m, uint64_t number, struct arena *arena)
{
    struct transaction *t = transaction_find(&m->transactions, number);
    if (t != NULL)
        machine_end_transaction(m, t, TRANSACTION_TIMED_OUT, arena);
}

void apply_transaction_end(struct machine *m, const struct command_transaction_end *cmd,
                           struct arena *arena, struct result *out)
{
    if (cmd->how == TRANSACTION_EXPIRE) {
        expire(m, cmd->number, arena);
        return;
    }
    struct producer *producer = machine_use_producer(m, &cmd->producer, out);
    if (producer == NULL)
        return;
    bool commit = cmd->how == TRANSACTION_COMMIT;
    if (producer->open == NULL) {
        answer_ended(producer, commit, out);
        return;
    }
    machine_end_transaction(m, producer->open, commit ? TRANSACTION_COMMITTED : TRANSACTION_ABORTED,
                            arena);
    out->transaction = producer->last_result;
}
