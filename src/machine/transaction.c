#include "machine/transaction.h"

#include <stdlib.h>
#include <string.h>

#include "std/alloc.h"
#include "std/check.h"

void transaction_book_init(struct transaction_book *book)
{
    *book = (struct transaction_book){.next_number = 1};
    list_init(&book->open);
    list_init(&book->ended);
}

static void forget_ended(struct transaction_book *book, struct ended_transaction *ended)
{
    map_remove_number(&book->ended_by_number, ended->number);
    list_remove(&ended->by_age);
    book->ended_count--;
    free_span(ended->scope);
    free_span(ended->transactional_id);
    free(ended);
}

static uint64_t weight(const struct transaction *t)
{
    return (uint64_t)t->message_count + t->ack_count + t->offset_count;
}

static void forget_open(struct transaction_book *book, struct producer_book *producers,
                        struct transaction *t)
{
    CHECK(book->message_total >= weight(t));
    book->message_total -= weight(t);
    book->open_count--;
    list_remove(&t->by_age);
    map_remove_number(&book->open_by_number, t->number);
    t->producer->open = NULL;
    sequences_drop(producers, &t->sequences);
    free(t->messages);
    free(t->acks);
    free(t->offsets);
    free(t);
}

void transaction_book_fini(struct transaction_book *book, struct producer_book *producers)
{
    while (!list_empty(&book->open))
        forget_open(book, producers, list_entry(book->open.next, struct transaction, by_age));
    while (!list_empty(&book->ended))
        forget_ended(book, list_entry(book->ended.next, struct ended_transaction, by_age));
    map_fini(&book->open_by_number);
    map_fini(&book->ended_by_number);
}

struct transaction *transaction_begin(struct transaction_book *book, struct producer *producer,
                                      int64_t now_us)
{
    CHECK(producer->open == NULL);
    struct transaction *t = new_zero(struct transaction);
    t->number = book->next_number++;
    t->producer = producer;
    t->began_us = now_us;
    t->expires_us = now_us + producer->timeout_us;
    list_init(&t->sequences);
    list_push(&book->open, &t->by_age);
    map_put_number(&book->open_by_number, t->number, t);
    book->open_count++;
    producer->open = t;
    producer->last = TRANSACTION_ONGOING;
    return t;
}

struct transaction *transaction_find(const struct transaction_book *book, uint64_t number)
{
    return map_find_number(&book->open_by_number, number);
}

bool transaction_is_empty(const struct transaction *t)
{
    return weight(t) == 0;
}

bool transaction_has_room(const struct transaction_book *book, const struct transaction *t,
                          uint32_t count)
{
    return weight(t) + count <= TRANSACTION_MESSAGES_MAX &&
           book->message_total + count <= TRANSACTION_MESSAGES_TOTAL_MAX;
}

static void *grown(void *items, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    return alloc_resize(items, *capacity, size);
}

void transaction_add_message(struct transaction_book *book, struct transaction *t,
                             const struct transaction_message *message)
{
    t->messages = grown(t->messages, t->message_count, &t->message_capacity, sizeof *message);
    t->messages[t->message_count++] = *message;
    book->message_total++;
}

void transaction_add_ack(struct transaction_book *book, struct transaction *t,
                         const struct transaction_ack *ack)
{
    t->acks = grown(t->acks, t->ack_count, &t->ack_capacity, sizeof *ack);
    t->acks[t->ack_count++] = *ack;
    book->message_total++;
}

void transaction_add_offset(struct transaction_book *book, struct transaction *t,
                            const struct delivery_place *to)
{
    t->offsets = grown(t->offsets, t->offset_count, &t->offset_capacity, sizeof *to);
    t->offsets[t->offset_count++] = *to;
    book->message_total++;
}

static int by_partition(const void *left, const void *right)
{
    const struct transaction_message *a = left, *b = right;
    if (a->topic_id != b->topic_id)
        return a->topic_id < b->topic_id ? -1 : 1;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

void transaction_sort_messages(struct transaction *t)
{
    if (t->message_count > 0)
        qsort(t->messages, t->message_count, sizeof *t->messages, by_partition);
}

uint32_t transaction_partition_count(const struct transaction *t)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->message_count; i++) {
        const struct transaction_message *m = &t->messages[i], *before = m - 1;
        count += i == 0 || m->topic_id != before->topic_id || m->partition != before->partition;
    }
    return count;
}

void transaction_remember(struct transaction_book *book, const struct ended_transaction *like)
{
    struct ended_transaction *ended = new_zero(struct ended_transaction);
    *ended = *like;
    ended->scope = alloc_span(like->scope);
    ended->transactional_id = alloc_span(like->transactional_id);
    /* Takes away those whose time is over, and the oldest when there are too many. */
    while (!list_empty(&book->ended)) {
        struct ended_transaction *oldest =
            list_entry(book->ended.next, struct ended_transaction, by_age);
        if (book->ended_count < ENDED_TRANSACTIONS_MAX &&
            ended->ended_us - oldest->ended_us <= ENDED_TRANSACTION_KEPT_US)
            break;
        forget_ended(book, oldest);
    }
    list_push(&book->ended, &ended->by_age);
    map_put_number(&book->ended_by_number, ended->number, ended);
    book->ended_count++;
}

void transaction_end(struct transaction_book *book, struct producer_book *producers,
                     struct transaction *t, enum transaction_state state, int64_t now_us)
{
    struct producer *producer = t->producer;
    const struct ended_transaction ended = {.number = t->number,
                                            .producer_id = producer->id,
                                            .scope = producer->scope,
                                            .transactional_id = producer->transactional_id,
                                            .epoch = producer->epoch,
                                            .state = state,
                                            .began_us = t->began_us,
                                            .ended_us = now_us,
                                            .message_count = t->message_count,
                                            .ack_count = t->ack_count};
    producer->last = state;
    producer->last_result =
        (struct result_transaction){.number = t->number,
                                    .message_count = t->message_count,
                                    .partition_count = transaction_partition_count(t)};
    producer->committed_count += state == TRANSACTION_COMMITTED;
    producer->aborted_count += state != TRANSACTION_COMMITTED;
    producer->timed_out_count += state == TRANSACTION_TIMED_OUT;
    producer->duration_sum_us += (uint64_t)(now_us - t->began_us);
    forget_open(book, producers, t);
    transaction_remember(book, &ended);
}
