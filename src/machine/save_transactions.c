/* Producers and transactions as bytes, and back: part of the image (save.c). */
#include <string.h>

#include "machine/state.h"
#include "std/check.h"
#include "std/little_endian.h"

enum { /* the least that one of them takes */
       SEQUENCE_SIZE = 4 + CONTENT_SIZE + 4 + 8,
       AGED_SIZE = 8 + 4 + 4 + SEQUENCE_SIZE,
       PRODUCER_SIZE_MIN = 8 + 2 + 2 + 4 + 8 + 8 + 1 + 8 + 4 + 4 + 4 * 8,
       MESSAGE_SIZE = 4 + 4 + 8 + 8 + 1,
       PLACE_SIZE = 4 + 4 + 4 + 8,
       TRANSACTION_SIZE_MIN = 8 + 8 + 8 + 8 + 4 * 4,
       ENDED_SIZE_MIN = 8 + 8 + 2 + 2 + 4 + 1 + 8 + 8 + 4 + 4,
       KEY_AT_TOPIC = 9,
       KEY_AT_PARTITION = 13,
       KEY_AT_SEQUENCE = 17,
};

static void save_sequence(const struct sequence *s, struct buf *out)
{
    wire_put_u32(out, load_u32(s->key + KEY_AT_SEQUENCE));
    buf_put_span(out, span_of(s->content, CONTENT_SIZE));
    wire_put_u32(out, s->partition);
    wire_put_u64(out, s->offset);
}

/* All but the key; gives the number. */
static int64_t load_sequence(struct wire_reader *r, struct sequence *out)
{
    int64_t number = wire_get_u32(r);
    struct span content = wire_get_bytes(r, CONTENT_SIZE);
    out->partition = wire_get_u32(r);
    out->offset = wire_get_u64(r);
    wire_expect(r, number <= SEQUENCE_MAX && out->partition < PARTITIONS_MAX);
    if (wire_ok(r))
        memcpy(out->content, content.data, CONTENT_SIZE);
    return number;
}

static void save_producer(const struct producer *p, struct buf *out)
{
    wire_put_u64(out, p->id);
    wire_put_string(out, p->scope);
    wire_put_string(out, p->transactional_id);
    wire_put_u32(out, p->epoch);
    wire_put_i64(out, p->timeout_us);
    wire_put_i64(out, p->used_us);
    wire_put_u8(out, (uint8_t)p->last);
    wire_put_u64(out, p->last_result.number);
    wire_put_u32(out, p->last_result.message_count);
    wire_put_u32(out, p->last_result.partition_count);
    wire_put_u64(out, p->committed_count);
    wire_put_u64(out, p->aborted_count);
    wire_put_u64(out, p->timed_out_count);
    wire_put_u64(out, p->duration_sum_us);
}

/* Those who were used least lately first, as they are loaded; then the numbers of all, by age. */
static void save_producers(const struct producer_book *book, struct buf *out)
{
    wire_put_u64(out, book->next_id);
    wire_put_u64(out, book->retired.committed_total);
    wire_put_u64(out, book->retired.aborted_total);
    wire_put_u64(out, book->retired.timed_out_total);
    wire_put_u64(out, book->retired.duration_sum_us);
    wire_put_u32(out, book->count);
    for (struct list_node *n = book->by_use.next; n != &book->by_use; n = n->next)
        save_producer(list_entry(n, struct producer, by_use), out);
    wire_put_u32(out, book->aged_count);
    for (struct list_node *n = book->ages.next; n != &book->ages; n = n->next) {
        const struct sequence *s = list_entry(n, struct sequence, age);
        wire_put_u64(out, s->window->producer->id);
        wire_put_u32(out, s->window->topic_id);
        wire_put_u32(out, s->window->partition);
        save_sequence(s, out);
    }
}

static void save_place(const struct delivery_place *place, struct buf *out)
{
    wire_put_u32(out, place->group_id);
    wire_put_u32(out, place->topic_id);
    wire_put_u32(out, place->partition);
    wire_put_u64(out, place->offset);
}

static struct delivery_place load_place(struct wire_reader *r)
{
    struct delivery_place place = {.group_id = wire_get_u32(r)};
    place.topic_id = wire_get_u32(r);
    place.partition = wire_get_u32(r);
    place.offset = wire_get_u64(r);
    wire_expect(r, place.offset <= OFFSET_MAX);
    return place;
}

static void save_open(const struct transaction *t, struct buf *out)
{
    wire_put_u64(out, t->number);
    wire_put_u64(out, t->producer->id);
    wire_put_i64(out, t->began_us);
    wire_put_i64(out, t->expires_us);
    wire_put_u32(out, t->message_count);
    for (uint32_t i = 0; i < t->message_count; i++) {
        const struct transaction_message *message = &t->messages[i];
        wire_put_u32(out, message->topic_id);
        wire_put_u32(out, message->partition);
        wire_put_u64(out, message->offset);
        wire_put_i64(out, message->due_us);
        wire_put_u8(out, message->priority);
    }
    uint32_t sequence_count = 0;
    for (struct list_node *n = t->sequences.next; n != &t->sequences; n = n->next)
        sequence_count++;
    wire_put_u32(out, sequence_count);
    for (struct list_node *n = t->sequences.next; n != &t->sequences; n = n->next) {
        const struct sequence *s = list_entry(n, struct sequence, link);
        wire_put_u32(out, load_u32(s->key + KEY_AT_TOPIC));
        wire_put_u32(out, load_u32(s->key + KEY_AT_PARTITION));
        save_sequence(s, out);
    }
    wire_put_u32(out, t->ack_count);
    for (uint32_t i = 0; i < t->ack_count; i++) {
        save_place(&t->acks[i].place, out);
        wire_put_u64(out, t->acks[i].index);
    }
    wire_put_u32(out, t->offset_count);
    for (uint32_t i = 0; i < t->offset_count; i++)
        save_place(&t->offsets[i], out);
}

static void save_ended(const struct ended_transaction *t, struct buf *out)
{
    wire_put_u64(out, t->number);
    wire_put_u64(out, t->producer_id);
    wire_put_string(out, t->scope);
    wire_put_string(out, t->transactional_id);
    wire_put_u32(out, t->epoch);
    wire_put_u8(out, (uint8_t)t->state);
    wire_put_i64(out, t->began_us);
    wire_put_i64(out, t->ended_us);
    wire_put_u32(out, t->message_count);
    wire_put_u32(out, t->ack_count);
}

void machine_save_transactions(const struct machine *m, struct buf *out)
{
    const struct transaction_book *book = &m->transactions;
    save_producers(&m->producers, out);
    wire_put_u64(out, book->next_number);
    wire_put_u32(out, book->open_count);
    for (struct list_node *n = book->open.next; n != &book->open; n = n->next)
        save_open(list_entry(n, struct transaction, by_age), out);
    wire_put_u32(out, book->ended_count);
    for (struct list_node *n = book->ended.next; n != &book->ended; n = n->next)
        save_ended(list_entry(n, struct ended_transaction, by_age), out);
}

static enum transaction_state load_state(struct wire_reader *r)
{
    uint8_t state = wire_get_u8(r);
    wire_expect(r, state <= TRANSACTION_TIMED_OUT);
    return wire_ok(r) ? (enum transaction_state)state : TRANSACTION_ONGOING;
}

static void load_producer(struct machine *m, struct wire_reader *r, int64_t *last_used_us)
{
    struct producer_book *book = &m->producers;
    uint64_t next_id = book->next_id, id = wire_get_u64(r);
    struct span scope = wire_get_string(r, 0, TENANT_SCOPE_SIZE_MAX);
    wire_expect(r, scope.size == 0 || memchr(scope.data, 0, scope.size) == NULL);
    struct span transactional_id = wire_get_string(r, 0, TRANSACTIONAL_ID_SIZE_MAX);
    wire_expect(r, id >= 1 && id < next_id && map_find_number(&book->by_id, id) == NULL);
    wire_expect(r, transactional_id.size == 0 || !wire_ok(r) ||
                       producer_find_named(book, scope, transactional_id) == NULL);
    if (!wire_ok(r))
        return;
    book->next_id = id;
    struct producer *p = producer_add(book, scope, transactional_id, 0);
    book->next_id = next_id;
    CHECK(p != NULL);
    p->epoch = wire_get_u32(r);
    p->timeout_us = wire_get_i64(r);
    p->used_us = wire_get_i64(r);
    p->last = load_state(r);
    p->last_result.number = wire_get_u64(r);
    p->last_result.message_count = wire_get_u32(r);
    p->last_result.partition_count = wire_get_u32(r);
    p->committed_count = wire_get_u64(r);
    p->aborted_count = wire_get_u64(r);
    p->timed_out_count = wire_get_u64(r);
    p->duration_sum_us = wire_get_u64(r);
    wire_expect(r, p->epoch <= EPOCH_MAX);
    wire_expect(r, p->timeout_us >= 1 && p->timeout_us <= TRANSACTION_TIMEOUT_US_MAX);
    wire_expect(r, p->used_us >= *last_used_us && p->used_us <= m->time_us);
    *last_used_us = p->used_us;
}

static void load_aged(struct machine *m, struct wire_reader *r)
{
    struct producer *producer = map_find_number(&m->producers.by_id, wire_get_u64(r));
    uint32_t topic_id = wire_get_u32(r), partition = wire_get_u32(r);
    struct sequence s = {0};
    int64_t number = load_sequence(r, &s);
    wire_expect(r, producer != NULL);
    wire_expect(r, partition < PARTITIONS_MAX || partition == SEQUENCE_ANYWHERE);
    if (!wire_ok(r) || producer == NULL)
        return;
    sequence_set_key(&s, false, producer->id, topic_id, partition, number);
    wire_expect(r, sequence_find(&m->producers, &s) == NULL);
    if (wire_ok(r))
        sequence_add_to_window(&m->producers, producer, topic_id, partition, &s);
}

static void load_producers(struct machine *m, struct wire_reader *r)
{
    struct producer_book *book = &m->producers;
    book->next_id = wire_get_u64(r);
    book->retired.committed_total = wire_get_u64(r);
    book->retired.aborted_total = wire_get_u64(r);
    book->retired.timed_out_total = wire_get_u64(r);
    book->retired.duration_sum_us = wire_get_u64(r);
    wire_expect(r, book->next_id >= 1);
    uint32_t count = wire_get_count(r, 0, PRODUCERS_MAX, PRODUCER_SIZE_MIN);
    int64_t last_used_us = 0;
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_producer(m, r, &last_used_us);
    count = wire_get_count(r, 0, SEQUENCES_TOTAL_MAX, AGED_SIZE);
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_aged(m, r);
    wire_expect(r, book->aged_count == count); /* no window had to give one up */
}

static void load_message(struct machine *m, struct transaction *t, struct wire_reader *r)
{
    struct transaction_message message = {.topic_id = wire_get_u32(r)};
    message.partition = wire_get_u32(r);
    message.offset = wire_get_u64(r);
    message.due_us = wire_get_i64(r);
    message.priority = wire_get_u8(r);
    const struct topic *topic = machine_topic_by_id(m, message.topic_id);
    wire_expect(r, message.priority < PRIORITY_COUNT && message.due_us >= 0 &&
                       message.due_us <= DUE_US_MAX);
    wire_expect(r, topic == NULL || message.partition < topic->partition_count);
    if (topic != NULL && wire_ok(r)) { /* taken out till all are loaded: none is there twice */
        struct exceptions *e = topic->partitions[message.partition]->exceptions;
        wire_expect(r, e != NULL && offset_set_remove(&e->open, message.offset));
    }
    if (wire_ok(r))
        transaction_add_message(&m->transactions, t, &message);
}

static void load_ack(struct machine *m, struct transaction *t, struct wire_reader *r)
{
    struct transaction_ack ack = {.place = load_place(r)};
    ack.index = wire_get_u64(r);
    struct group_partition *gp = wire_ok(r) ? machine_find_place(m, &ack.place) : NULL;
    if (gp != NULL)
        wire_expect(r, offset_set_add(&gp->reserved, ack.place.offset));
    if (wire_ok(r))
        transaction_add_ack(&m->transactions, t, &ack);
}

/* They are saved in the order in which they were begun: so no number is there twice. */
static bool is_newest(const struct transaction_book *book, uint64_t number)
{
    return list_empty(&book->open) ||
           list_entry(book->open.prev, struct transaction, by_age)->number < number;
}

static void load_open(struct machine *m, struct wire_reader *r)
{
    struct transaction_book *book = &m->transactions;
    uint64_t next_number = book->next_number, number = wire_get_u64(r);
    struct producer *producer = map_find_number(&m->producers.by_id, wire_get_u64(r));
    wire_expect(r, number >= 1 && number < next_number && is_newest(book, number));
    wire_expect(r,
                producer != NULL && producer->open == NULL && producer->transactional_id.size > 0);
    if (!wire_ok(r) || producer == NULL)
        return;
    book->next_number = number;
    struct transaction *t = transaction_begin(book, producer, 0);
    book->next_number = next_number;
    t->began_us = wire_get_i64(r);
    t->expires_us = wire_get_i64(r);
    wire_expect(r, t->began_us >= 0 && t->began_us <= m->time_us && t->expires_us > t->began_us);
    uint32_t count = wire_get_count(r, 0, TRANSACTION_MESSAGES_MAX, MESSAGE_SIZE);
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_message(m, t, r);
    count = wire_get_count(r, 0, TRANSACTION_MESSAGES_MAX, 4 + 4 + SEQUENCE_SIZE);
    for (uint32_t i = 0; i < count && wire_ok(r); i++) {
        struct sequence s = {0};
        uint32_t topic_id = wire_get_u32(r), partition = wire_get_u32(r);
        int64_t sequence = load_sequence(r, &s);
        sequence_set_key(&s, true, number, topic_id, partition, sequence);
        wire_expect(r, sequence_find(&m->producers, &s) == NULL);
        if (wire_ok(r))
            sequence_add(&m->producers, &s, &t->sequences);
    }
    count = wire_get_count(r, 0, TRANSACTION_MESSAGES_MAX, PLACE_SIZE + 8);
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_ack(m, t, r);
    count = wire_get_count(r, 0, TRANSACTION_MESSAGES_MAX, PLACE_SIZE);
    for (uint32_t i = 0; i < count && wire_ok(r); i++) {
        struct delivery_place to = load_place(r);
        transaction_add_offset(book, t, &to);
    }
}

static void load_ended(struct machine *m, struct wire_reader *r, int64_t *last_ended_us)
{
    struct ended_transaction t = {.number = wire_get_u64(r)};
    t.producer_id = wire_get_u64(r);
    t.scope = wire_get_string(r, 0, TENANT_SCOPE_SIZE_MAX);
    t.transactional_id = wire_get_string(r, 1, TRANSACTIONAL_ID_SIZE_MAX);
    t.epoch = wire_get_u32(r);
    t.state = load_state(r);
    t.began_us = wire_get_i64(r);
    t.ended_us = wire_get_i64(r);
    t.message_count = wire_get_u32(r);
    t.ack_count = wire_get_u32(r);
    wire_expect(r, t.number >= 1 && t.number < m->transactions.next_number);
    wire_expect(r, t.state != TRANSACTION_ONGOING && t.epoch <= EPOCH_MAX);
    wire_expect(r,
                t.began_us <= t.ended_us && transaction_find(&m->transactions, t.number) == NULL);
    wire_expect(r, t.ended_us >= *last_ended_us && t.ended_us <= m->time_us);
    wire_expect(r, map_find_number(&m->transactions.ended_by_number, t.number) == NULL);
    *last_ended_us = t.ended_us;
    if (wire_ok(r))
        transaction_remember(&m->transactions, &t);
}

static void put_back_messages(struct machine *m)
{
    for (struct list_node *n = m->transactions.open.next; n != &m->transactions.open; n = n->next) {
        const struct transaction *t = list_entry(n, struct transaction, by_age);
        for (uint32_t i = 0; i < t->message_count; i++) {
            const struct transaction_message *message = &t->messages[i];
            const struct topic *topic = machine_topic_by_id(m, message->topic_id);
            if (topic != NULL)
                (void)offset_set_add(&topic->partitions[message->partition]->exceptions->open,
                                     message->offset);
        }
    }
}

void machine_load_transactions(struct machine *m, struct wire_reader *r)
{
    load_producers(m, r);
    m->transactions.next_number = wire_get_u64(r);
    wire_expect(r, m->transactions.next_number >= 1);
    uint32_t count = wire_get_count(r, 0, PRODUCERS_MAX, TRANSACTION_SIZE_MIN);
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_open(m, r);
    put_back_messages(m);
    count = wire_get_count(r, 0, ENDED_TRANSACTIONS_MAX, ENDED_SIZE_MIN);
    int64_t last_ended_us = 0;
    for (uint32_t i = 0; i < count && wire_ok(r); i++)
        load_ended(m, r, &last_ended_us);
    wire_expect(r, m->transactions.ended_count == count); /* none was too old beside newer ones */
}
