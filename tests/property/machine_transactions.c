/* Random commands of producers: few names and numbers, so that they meet again; mostly with the
 * right epoch, and now and then somebody else's. */
#include "std/check.h"
#include "tests/property/machine_world.h"

enum { SEQUENCES_TRIED = 6, CONTENTS = 2, NAMES = 3, SCOPES = 2 };

static const char *const names[NAMES] = {"one", "two", "three"};
static const char *const scopes[SCOPES] = {"", "acme/"};

void step_producer_init(struct machine_world *w)
{
    if (w->model->producer_count + 1 >= MODEL_PRODUCERS)
        return; /* the model is full */
    struct command cmd = {.type = COMMAND_PRODUCER_INIT};
    cmd.producer_init.scope = span_text(scopes[one_in(w, 4)]);
    cmd.producer_init.transactional_id = span_text(one_in(w, 4) ? "" : names[below(w, NAMES)]);
    cmd.producer_init.timeout_us = 1 + (int64_t)below(w, 900000000);
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_producer_init(w->model, &cmd.producer_init, &result);
}

/* One that lives, and has a transaction open or not as is wished, if there is one. */
static const struct model_producer *pick_producer(struct machine_world *w, bool open)
{
    const struct model_producer *found = &w->model->producers[0];
    for (int tries = 0; tries < 60; tries++) {
        const struct model_producer *p = &w->model->producers[below(w, w->model->producer_count)];
        if (!p->alive)
            continue;
        found = p;
        /* Those without transactions become ever more, as each of theirs is a new one. */
        if ((p->open > 0) == open && (p->name[0] != '\0' || one_in(w, 9)))
            break;
    }
    return found;
}

/* False: there is none so far. */
static bool pick_ref(struct machine_world *w, bool open, struct producer_ref *out)
{
    if (w->model->producer_count == 0)
        return false;
    const struct model_producer *p = pick_producer(w, open);
    *out = (struct producer_ref){.scope = span_text(p->scope),
                                 .id = (uint64_t)(p - w->model->producers) + 1,
                                 .epoch = p->epoch};
    if (one_in(w, 2))
        out->transactional_id = span_text(p->name);
    if (one_in(w, 25))
        out->epoch = out->epoch == 0 || one_in(w, 4) ? out->epoch + 1 : out->epoch - 1;
    if (one_in(w, 50))
        out->scope = span_text(scopes[below(w, SCOPES)]);
    if (one_in(w, 50))
        out->transactional_id = span_text(names[below(w, NAMES)]);
    if (one_in(w, 50))
        out->id = below(w, w->model->producer_count + 2U);
    return true;
}

void step_producer_heartbeat(struct machine_world *w)
{
    struct command cmd = {.type = COMMAND_PRODUCER_HEARTBEAT};
    if (!pick_ref(w, one_in(w, 2), &cmd.producer_heartbeat.producer))
        return;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_producer_heartbeat(w->model, &cmd.producer_heartbeat, &result);
}

void step_begin(struct machine_world *w)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_BEGIN};
    if (w->model->transaction_count == MODEL_TRANSACTIONS ||
        !pick_ref(w, one_in(w, 5), &cmd.transaction_begin.producer))
        return;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_begin(w->model, &cmd.transaction_begin, &result);
}

/* Like one that was sent before and is still known, if there is one. */
static void repeat(struct machine_world *w, struct command_transaction_publish *send)
{
    const struct model_producer *p = &w->model->producers[send->producer.id - 1];
    for (uint32_t i = w->model->sequence_count; i-- > 0;) {
        const struct model_sequence *s = &w->model->sequences[i];
        int topic = model_topic_by_id(w->model, s->topic_id);
        if (!s->alive || topic == MODEL_NOBODY ||
            s->owner != (s->transactional ? p->open : send->producer.id))
            continue;
        send->sequence = s->number;
        send->target = s->window;
        send->topic_id = s->topic_id;
        send->partition_count = w->model->topics[topic].partition_count;
        if (one_in(w, 2))
            return;
    }
}

void step_send(struct machine_world *w)
{
    uint32_t topic = (uint32_t)below(w, MODEL_TOPICS);
    for (int tries = 0; tries < 5 && !w->model->topics[topic].alive; tries++)
        topic = (uint32_t)below(w, MODEL_TOPICS);
    const struct model_topic *t = &w->model->topics[topic];
    uint8_t content[CONTENT_SIZE] = {(uint8_t)below(w, CONTENTS)};
    struct model_sent sent;
    struct command cmd = {.type = COMMAND_TRANSACTION_PUBLISH};
    struct command_transaction_publish *send = &cmd.transaction_publish;
    if (w->model->sequence_count == MODEL_SEQUENCES || !has_space(w, topic) ||
        !pick_ref(w, !one_in(w, 4), &send->producer))
        return;
    buf_clear(&w->entries);
    put_batch(w, 1, &sent);
    send->topic_id = one_in(w, 30) ? (uint32_t)below(w, 20) : t->id;
    send->partition_count = one_in(w, 30) || t->partition_count == 0
                                ? 1 + (uint32_t)below(w, MODEL_PARTITIONS)
                                : t->partition_count;
    send->target = one_in(w, 3) ? PUBLISH_KEYLESS : (uint32_t)below(w, send->partition_count);
    send->sequence = one_in(w, 4) ? -1 : (int64_t)below(w, SEQUENCES_TRIED);
    if (one_in(w, 30))
        send->sequence = SEQUENCE_MAX;
    if (one_in(w, 3) && send->producer.id - 1 < w->model->producer_count)
        repeat(w, send);
    send->content = span_of(content, sizeof content);
    send->batch = buf_span(&w->entries);
    int named = model_topic_by_id(w->model, send->topic_id);
    if (named != MODEL_NOBODY && !has_space(w, (uint32_t)named))
        return; /* the model is full */
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_send(w->model, send, &sent, &result);
}

/* A message that may be acked, or is in a transaction already, if there is one. */
static struct delivery_place pick_unacked(struct machine_world *w)
{
    struct delivery_place place = pick_place(w);
    const bool reserved = one_in(w, 4);
    for (int tries = 0; tries < 30 && !one_in(w, 40); tries++) {
        const struct model_progress *progress = model_find_place(w->model, &place);
        const struct model_place at = {(uint32_t)model_topic_by_id(w->model, place.topic_id),
                                       place.partition, place.offset};
        if (progress != NULL && (!reserved || progress->reserved[at.offset] > 0) &&
            !model_is_done(w->model, (uint32_t)model_group_by_id(w->model, place.group_id), at))
            break;
        place = pick_place(w);
    }
    return place;
}

void step_transaction_ack(struct machine_world *w)
{
    struct ack_entry entries[ACKS_MAX];
    struct command cmd = {.type = COMMAND_TRANSACTION_ACK};
    if (!pick_ref(w, !one_in(w, 9), &cmd.transaction_ack.producer))
        return;
    cmd.transaction_ack.entries = entries;
    cmd.transaction_ack.entry_count = (uint32_t)below(w, one_in(w, 2) ? 1 : ACKS_MAX) + 1;
    for (uint32_t i = 0; i < cmd.transaction_ack.entry_count; i++) {
        struct delivery_place place = pick_unacked(w);
        if (i == 0)
            cmd.transaction_ack.group_id = place.group_id;
        /* All or none: without that, most commands would have one that cannot be. */
        if (i > 0 && !one_in(w, 8))
            place = (struct delivery_place){.topic_id = entries[i - 1].topic_id,
                                            .partition = entries[i - 1].partition,
                                            .offset = entries[i - 1].offset + below(w, 3)};
        entries[i] = (struct ack_entry){place.topic_id, place.partition, place.offset};
    }
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_transaction_ack(w->model, &cmd.transaction_ack, &result);
}

void step_transaction_offsets(struct machine_world *w)
{
    struct offset_entry entries[ACKS_MAX];
    struct command cmd = {.type = COMMAND_TRANSACTION_OFFSETS};
    struct command_transaction_offsets *offsets = &cmd.transaction_offsets;
    uint32_t group = 0;
    if (!pick_ref(w, !one_in(w, 9), &offsets->producer) ||
        !pick_commit(w, entries, &offsets->commit, &group))
        return;
    const struct model_producer *p =
        offsets->producer.id >= 1 && offsets->producer.id <= w->model->producer_count
            ? &w->model->producers[offsets->producer.id - 1]
            : NULL;
    if (p != NULL && p->open > 0 &&
        w->model->transactions[p->open - 1].offset_count + ACKS_MAX > MODEL_SPREAD)
        return; /* the model is full */
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_transaction_offsets(w->model, group, offsets, &result);
}

void step_end(struct machine_world *w)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_END};
    if (!pick_ref(w, !one_in(w, 4), &cmd.transaction_end.producer))
        return;
    cmd.transaction_end.how = one_in(w, 3) ? TRANSACTION_ABORT : TRANSACTION_COMMIT;
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_end(w->model, &cmd.transaction_end, &result);
}

void step_expire(struct machine_world *w)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_END};
    cmd.transaction_end.how = TRANSACTION_EXPIRE;
    cmd.transaction_end.number = below(w, w->model->transaction_count + 2U);
    for (int tries = 0; tries < 30; tries++) { /* one that is open, if there is one */
        uint64_t number = cmd.transaction_end.number;
        if (number >= 1 && number <= w->model->transaction_count &&
            w->model->transactions[number - 1].state == TRANSACTION_ONGOING)
            break;
        cmd.transaction_end.number = below(w, w->model->transaction_count + 2U);
    }
    struct result result;
    machine_world_apply(w, &cmd, &result);
    model_end(w->model, &cmd.transaction_end, &result);
}
