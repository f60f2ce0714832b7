/* The bounds of what is kept of producers, their sequence numbers and transactions. */
#include <check.h>
#include <stdio.h>

#include "machine/transaction.h"

Suite *suite_producer(void);

#define START_US 1700000000000000LL

static struct producer_book book;
static struct transaction_book transactions;

static void setup(void)
{
    producer_book_init(&book);
    transaction_book_init(&transactions);
}

static void teardown(void)
{
    transaction_book_fini(&transactions, &book);
    producer_book_fini(&book);
}

static struct producer *add(const char *id, int64_t now_us)
{
    return producer_add(&book, span_text(""), span_text(id), now_us);
}

static struct sequence numbered(const struct producer *producer, uint32_t partition, int64_t number)
{
    struct sequence s = {.offset = (uint64_t)number};
    sequence_set_key(&s, false, producer->id, 1, partition, number);
    return s;
}

static void send(struct producer *producer, uint32_t partition, int64_t number)
{
    const struct sequence s = numbered(producer, partition, number);
    sequence_add_to_window(&book, producer, 1, partition, &s);
}

static bool knows(const struct producer *producer, uint32_t partition, int64_t number)
{
    const struct sequence like = numbered(producer, partition, number);
    const struct sequence *s = sequence_find(&book, &like);
    ck_assert(s == NULL || s->offset == (uint64_t)number);
    return s != NULL;
}

START_TEST(a_window_keeps_its_last)
{
    struct producer *p = add("", START_US);
    for (int64_t i = 0; i < SEQUENCES_PER_WINDOW; i++)
        send(p, 0, i);
    send(p, 1, 7); /* another window takes nothing from it */
    ck_assert(knows(p, 0, 0) && knows(p, 1, 7) && !knows(p, 1, 0));
    send(p, 0, SEQUENCES_PER_WINDOW);
    ck_assert(!knows(p, 0, 0) && knows(p, 0, 1) && knows(p, 0, SEQUENCES_PER_WINDOW));
    ck_assert_uint_eq(book.aged_count, SEQUENCES_PER_WINDOW + 1);
    ck_assert_uint_eq(p->window_count, 2);
}
END_TEST

/* Beyond what is kept for all, the oldest of all go, with their windows. */
START_TEST(all_windows_keep_so_many)
{
    struct producer *old = add("", START_US), *busy = add("", START_US);
    send(old, 3, 1);
    for (uint32_t i = 0; i < SEQUENCES_TOTAL_MAX - 1; i++)
        send(busy, i / SEQUENCES_PER_WINDOW, i % SEQUENCES_PER_WINDOW);
    ck_assert(book.aged_count == SEQUENCES_TOTAL_MAX && knows(old, 3, 1));
    send(busy, PARTITIONS_MAX, 0);
    ck_assert(book.aged_count == SEQUENCES_TOTAL_MAX && !knows(old, 3, 1));
    ck_assert(old->window_count == 0 && knows(busy, 0, 0));
    send(old, 3, 1);
    ck_assert(knows(old, 3, 1) && !knows(busy, 0, 0) && knows(busy, 0, 1));
    producer_remove(&book, busy);
    ck_assert(book.aged_count == 1 && book.sequences.count == 1);
}
END_TEST

START_TEST(idle_producers_make_room)
{
    struct producer *open = add("open", START_US);
    (void)transaction_begin(&transactions, open, START_US);
    for (uint32_t i = 1; i < PRODUCERS_MAX; i++)
        ck_assert_ptr_nonnull(add("", START_US + 1));
    ck_assert_uint_eq(book.count, PRODUCERS_MAX);
    producer_use(&book, open, START_US + 2);
    ck_assert_ptr_null(add("", START_US + 1 + PRODUCER_SAFE_US)); /* all were used lately */
    struct producer *late = add("", START_US + 2 + PRODUCER_SAFE_US);
    ck_assert_ptr_nonnull(late);
    ck_assert_uint_eq(book.count, PRODUCERS_MAX); /* no more than had to go */
    ck_assert_uint_eq(late->id, PRODUCERS_MAX + 1);
    ck_assert_ptr_nonnull(add("", START_US + 2 + PRODUCER_KEPT_US));
    ck_assert_uint_eq(book.count, 3); /* the open one, the late one, and this */
    ck_assert_ptr_eq(producer_find_named(&book, span_text(""), span_text("open")), open);
}
END_TEST

START_TEST(transactions_have_bounds)
{
    enum { EACH = TRANSACTION_MESSAGES_MAX, ALL = TRANSACTION_MESSAGES_TOTAL_MAX };
    const struct transaction_message message = {.topic_id = 1};
    const struct transaction_ack ack = {.index = 1};
    const struct delivery_place place = {.group_id = 1};
    struct transaction *last = NULL;
    char id[16];
    for (uint32_t total = 0; total < ALL;) {
        (void)snprintf(id, sizeof id, "p%u", total);
        last = transaction_begin(&transactions, add(id, START_US), START_US);
        ck_assert(transaction_is_empty(last));
        ck_assert(transaction_has_room(&transactions, last, EACH));
        ck_assert(!transaction_has_room(&transactions, last, EACH + 1));
        for (uint32_t i = 0; i < EACH; i++, total++) {
            if (i % 3 == 0)
                transaction_add_message(&transactions, last, &message);
            else if (i % 3 == 1)
                transaction_add_ack(&transactions, last, &ack);
            else
                transaction_add_offset(&transactions, last, &place);
        }
        ck_assert(!transaction_has_room(&transactions, last, 1));
    }
    struct transaction *one_more = transaction_begin(&transactions, add("x", START_US), START_US);
    ck_assert(!transaction_has_room(&transactions, one_more, 1)); /* of all together */
    transaction_end(&transactions, &book, last, TRANSACTION_ABORTED, START_US + 1);
    ck_assert(transaction_has_room(&transactions, one_more, EACH));
}
END_TEST

START_TEST(ended_ones_are_remembered_so_many_and_so_long)
{
    const struct ended_transaction like = {.state = TRANSACTION_COMMITTED, .ended_us = START_US};
    for (uint64_t i = 1; i <= ENDED_TRANSACTIONS_MAX; i++) {
        struct ended_transaction ended = like;
        ended.number = i;
        transaction_remember(&transactions, &ended);
    }
    ck_assert_ptr_nonnull(map_find_number(&transactions.ended_by_number, 1));
    struct ended_transaction ended = like;
    ended.number = ENDED_TRANSACTIONS_MAX + 1;
    transaction_remember(&transactions, &ended);
    ck_assert_ptr_null(map_find_number(&transactions.ended_by_number, 1));
    ck_assert_uint_eq(transactions.ended_count, ENDED_TRANSACTIONS_MAX);
    ended.number++;
    ended.ended_us += ENDED_TRANSACTION_KEPT_US + 1;
    transaction_remember(&transactions, &ended);
    ck_assert_uint_eq(transactions.ended_count, 1);
}
END_TEST

Suite *suite_producer(void)
{
    Suite *suite = suite_create("producer");
    TCase *tcase = tcase_create("producer");
    tcase_set_timeout(tcase, 60); /* under sanitizers, on a busy machine */
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_window_keeps_its_last);
    tcase_add_test(tcase, all_windows_keep_so_many);
    tcase_add_test(tcase, idle_producers_make_room);
    tcase_add_test(tcase, transactions_have_bounds);
    tcase_add_test(tcase, ended_ones_are_remembered_so_many_and_so_long);
    suite_add_tcase(suite, tcase);
    return suite;
}
