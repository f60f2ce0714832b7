#include <check.h>
#include <stdlib.h>

#include "delivery/readout.h"
#include "machine/state.h"

Suite *suite_readout(void);

enum { NOW_US = 1000, DEADLINE_US = 1000000, MESSAGES = 5000 };

static struct wheel wheel;
static struct lease_book book;
static struct lease_holder holder;
static struct topic topic;
static struct partition partition;
static struct group group;
static struct group_partition gp;
static struct delivered out[MESSAGES];

static void setup(void)
{
    wheel_init(&wheel, 0);
    lease_book_init(&book, &wheel, 1, 1000);
    list_init(&holder.leases);
    topic = (struct topic){0};
    partition =
        (struct partition){.topic = &topic, .next_offset = MESSAGES, .message_count = MESSAGES};
    group = (struct group){.ordering = ORDERING_NONE};
    gp = (struct group_partition){.group = &group, .partition = &partition};
    offset_set_init(&gp.done);
    offset_set_init(&gp.out);
    map_init(&gp.retries_by_offset);
}

static void teardown(void)
{
    readout_free(gp.readout, &book);
    ck_assert_ptr_null(gp.readout);
    lease_book_fini(&book);
    ck_assert_uint_eq(wheel.count, 0);
    ck_assert_uint_eq(holder.count, 0);
    offset_set_fini(&gp.done);
    offset_set_fini(&gp.out);
    group_partition_clear_retries(&gp);
    partition_fini(&partition);
}

static struct readout *begin(void)
{
    return readout_of(&gp, &book, NOW_US);
}

static uint32_t take_lane(struct readout *r, enum priority lane, uint32_t max)
{
    const struct lease_terms terms = {&holder, NOW_US, DEADLINE_US};
    uint32_t count = readout_take(r, &book, lane, &terms, max, out);
    readout_check(r);
    return count;
}

static uint32_t take(struct readout *r, uint32_t max)
{
    return take_lane(r, PRIORITY_NORMAL, max);
}

static bool available(struct readout *r, enum priority lane)
{
    return readout_available(r, &book, lane);
}

static struct lease *lease_at(const struct readout *r, uint64_t offset)
{
    struct lease *lease = readout_find(r, offset);
    ck_assert_ptr_nonnull(lease);
    ck_assert_uint_eq(lease->offset, offset);
    return lease;
}

/* The message's ack begins; it is applied by settled(). */
static void settle(struct readout *r, uint64_t offset)
{
    readout_settle(r, &book, lease_at(r, offset), SETTLEMENT_ACK);
    readout_check(r);
}

static struct lease *settled(struct readout *r, uint64_t offset)
{
    struct lease *lease = lease_at(r, offset);
    ck_assert(readout_settled(r, &book, &lease));
    return lease;
}

static void put_in_lane(uint64_t offset, enum priority lane)
{
    struct exceptions *e = partition_need_exceptions(&partition);
    ck_assert(offset_set_add(&e->lanes[lane], offset));
    e->counts[lane]++;
}

static void hide(uint64_t offset)
{
    ck_assert(offset_set_add(&partition_need_exceptions(&partition)->hidden, offset));
}

static void reveal(struct readout *r, uint64_t offset, enum priority lane)
{
    ck_assert(offset_set_remove(&partition.exceptions->hidden, offset));
    if (lane != PRIORITY_NORMAL)
        put_in_lane(offset, lane);
    readout_reveal(r, offset, lane);
    readout_check(r);
}

START_TEST(skips_what_is_done_or_not_retained)
{
    gp.position = 10;
    partition.start_offset = 20;
    for (uint64_t o = 21; o < 30; o += 2)
        offset_set_add(&gp.done, o);
    struct readout *r = begin();
    ck_assert_ptr_eq(begin(), r);
    ck_assert(available(r, PRIORITY_NORMAL));
    ck_assert_uint_eq(take(r, 6), 6);
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_uint_eq(out[i].offset, 20 + 2 * i);
    ck_assert_uint_eq(take(r, MESSAGES), MESSAGES - 31);
    ck_assert(!available(r, PRIORITY_NORMAL));
    partition.next_offset++;
    ck_assert_uint_eq(take(r, MESSAGES), 1);
}
END_TEST

START_TEST(redelivers_the_lowest_first)
{
    struct readout *r = begin();
    ck_assert_uint_eq(take(r, 100), 100);
    static const uint64_t order[] = {50, 10, 99, 0, 70, 11, 12};
    for (size_t i = 0; i < 7; i++) {
        if (i % 2 == 0)
            readout_expire(r, &book, lease_at(r, order[i]));
        else
            readout_release(r, &book, lease_at(r, order[i]), true);
        readout_check(r);
    }
    ck_assert_uint_eq(book.expired_total, 4);
    partition.start_offset = 10; /* 0 is gone before it came again */
    ck_assert_uint_eq(r->in_flight, 93);
    static const uint64_t expected[] = {10, 11, 12, 50, 70, 99, 100};
    ck_assert_uint_eq(take(r, 7), 7);
    for (size_t i = 0; i < 7; i++) {
        ck_assert_uint_eq(out[i].offset, expected[i]);
        ck_assert_uint_eq(out[i].delivery_count, i < 6 ? 2 : 1);
    }
    ck_assert_ptr_null(readout_find(r, 0));
}
END_TEST

START_TEST(finds_leases_while_they_come_and_go)
{
    struct readout *r = begin();
    unsigned random = 12345;
    static bool done[MESSAGES];
    ck_assert_uint_eq(take(r, MESSAGES), MESSAGES);
    for (unsigned i = 0; i < 20000; i++) {
        random = random * 1664525 + 1013904223;
        uint64_t offset = random >> 8 & 4095;
        struct lease *lease = readout_find(r, offset);
        ck_assert_int_eq(lease == NULL, done[offset]);
        if (lease == NULL || i % 3 == 0)
            continue;
        readout_settle(r, &book, lease, SETTLEMENT_ACK);
        offset_set_add(&gp.done, offset);
        ck_assert(readout_settled(r, &book, &lease));
        ck_assert_ptr_null(lease);
        done[offset] = true;
    }
    readout_check(r);
    for (uint64_t o = 0; o < MESSAGES; o++)
        ck_assert_int_eq(readout_find(r, o) == NULL, done[o]);
}
END_TEST

START_TEST(adopted_offsets_are_not_handed_out)
{
    struct readout *r = begin();
    struct receipt receipt = {.offset = 2, .lease_id = 7, .delivery_count = 3};
    ck_assert_ptr_eq(readout_adopt(r, &book, &receipt, DEADLINE_US), lease_at(r, 2));
    receipt = (struct receipt){.offset = 4, .lease_id = 8, .delivery_count = 1};
    (void)readout_adopt(r, &book, &receipt, DEADLINE_US);
    readout_check(r);
    ck_assert(lease_at(r, 2)->state == LEASE_LEASED && lease_at(r, 2)->id == 7);
    ck_assert_uint_eq(lease_at(r, 2)->delivery_count, 3);
    ck_assert_uint_eq(r->in_flight, 2);
    ck_assert_uint_eq(take(r, 4), 4);
    ck_assert_uint_eq(out[2].offset, 3);
    ck_assert_uint_eq(out[3].offset, 5);
    settle(r, 2);
    offset_set_add(&gp.done, 2);
    ck_assert_ptr_null(settled(r, 2));
    ck_assert_ptr_null(readout_find(r, 2));
    /* A commit went back behind the ack of 4: it is not done after all. */
    settle(r, 4);
    readout_release(r, &book, settled(r, 4), true);
    ck_assert_int_eq(lease_at(r, 4)->state, LEASE_RELEASED);
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert_uint_eq(out[0].offset, 4);
    ck_assert_uint_eq(out[0].delivery_count, 2);
}
END_TEST

START_TEST(last_of_the_commands_decides)
{
    struct readout *r = begin();
    ck_assert_uint_eq(take(r, 2), 2);
    settle(r, 0);
    settle(r, 0);
    struct lease *lease = lease_at(r, 0);
    ck_assert(!readout_settled(r, &book, &lease));
    ck_assert(lease != NULL && lease->state == LEASE_SETTLING && lease->commands == 1);
    lease = settled(r, 0);
    ck_assert_ptr_nonnull(lease);
    readout_delay(r, &book, lease, 5000);
    readout_check(r);
    ck_assert_int_eq(lease->state, LEASE_DELAYED);
    ck_assert_uint_eq(r->in_flight, 1);
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert_uint_eq(out[0].offset, 2); /* not before its time */
    readout_check(r);
    wheel_advance(&wheel, 10000);
    ck_assert_ptr_eq(wheel_pop(&wheel), &lease->timer);
    readout_expire(r, &book, lease);
    readout_check(r);
    ck_assert_int_eq(lease->state, LEASE_RELEASED);
    ck_assert_uint_eq(book.expired_total, 0); /* no deadline was missed */
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert(out[0].offset == 0 && out[0].delivery_count == 2 && out[0].first_us == NOW_US);
}
END_TEST

START_TEST(failed_settlement_resumes)
{
    struct readout *r = begin();
    ck_assert_uint_eq(take(r, 1), 1);
    settle(r, 0);
    readout_resume(r, &book, settled(r, 0), DEADLINE_US + 1);
    readout_check(r);
    ck_assert_int_eq(lease_at(r, 0)->state, LEASE_LEASED);
    ck_assert_uint_eq(lease_at(r, 0)->id, out[0].lease_id);
    ck_assert_uint_eq(r->in_flight, 1);
}
END_TEST

START_TEST(uncounted_release_takes_the_count_back)
{
    struct readout *r = begin();
    ck_assert_uint_eq(take(r, 2), 2);
    readout_release(r, &book, lease_at(r, 0), false);
    readout_release(r, &book, lease_at(r, 1), true);
    ck_assert_uint_eq(take(r, 2), 2);
    ck_assert(out[0].offset == 0 && out[0].delivery_count == 1);
    ck_assert(out[1].offset == 1 && out[1].delivery_count == 2);
}
END_TEST

START_TEST(commits_move_both_ways)
{
    struct readout *r = begin();
    ck_assert_uint_eq(take(r, 20), 20);
    settle(r, 3);
    readout_expire(r, &book, lease_at(r, 4));
    gp.position = 10;
    readout_moved(r, &book);
    readout_check(r);
    ck_assert_uint_eq(r->leases.count, 11); /* 10..19, and 3 until its ack is applied */
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert_uint_eq(out[0].offset, 20);
    ck_assert_ptr_null(settled(r, 3));
    ck_assert_ptr_null(readout_find(r, 3));
    gp.position = 0;
    gp.rewound_index = 7;
    readout_moved(r, &book);
    readout_check(r);
    ck_assert_uint_eq(r->leases.count, 0);
    ck_assert_uint_eq(take(r, 30), 30);
    ck_assert_uint_eq(out[0].offset, 0);
    ck_assert_uint_eq(out[0].delivery_count, 1);
    gp.position = 1ULL << 40; /* beyond the end */
    readout_moved(r, &book);
    ck_assert(!available(r, PRIORITY_NORMAL));
}
END_TEST

START_TEST(lanes_are_read_apart)
{
    static const uint64_t high[] = {3, 4, 100, 4999};
    for (size_t i = 0; i < 4; i++)
        put_in_lane(high[i], PRIORITY_HIGH);
    put_in_lane(0, PRIORITY_BACKGROUND);
    struct readout *r = begin();
    ck_assert(!available(r, PRIORITY_CRITICAL) && !available(r, PRIORITY_LOW));
    ck_assert(available(r, PRIORITY_HIGH) && available(r, PRIORITY_BACKGROUND));
    ck_assert_uint_eq(take_lane(r, PRIORITY_HIGH, 3), 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(out[i].offset, high[i]);
    ck_assert_uint_eq(take(r, 4), 4);
    static const uint64_t normal[] = {1, 2, 5, 6};
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(out[i].offset, normal[i]);
    readout_expire(r, &book, lease_at(r, 4));
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert_uint_eq(out[0].offset, 7); /* 4 waits in its own lane */
    ck_assert_uint_eq(take_lane(r, PRIORITY_HIGH, 9), 2);
    ck_assert(out[0].offset == 4 && out[1].offset == 4999);
    ck_assert(!available(r, PRIORITY_HIGH));
    ck_assert_uint_eq(take_lane(r, PRIORITY_BACKGROUND, 9), 1);
    ck_assert_uint_eq(take_lane(r, PRIORITY_CRITICAL, 9), 0);
}
END_TEST

START_TEST(late_messages_come_before_newer_ones)
{
    static const uint64_t pending[] = {2, 5, 6, 8};
    for (size_t i = 0; i < 4; i++)
        hide(pending[i]);
    struct readout *r = begin();
    ck_assert_uint_eq(take(r, 5), 5);
    static const uint64_t first[] = {0, 1, 3, 4, 7};
    for (size_t i = 0; i < 5; i++)
        ck_assert_uint_eq(out[i].offset, first[i]);
    reveal(r, 6, PRIORITY_NORMAL);
    reveal(r, 2, PRIORITY_NORMAL);
    reveal(r, 5, PRIORITY_LOW);
    reveal(r, 8, PRIORITY_NORMAL); /* the cursor has not come there */
    ck_assert_uint_eq(offset_set_count(&r->lanes[PRIORITY_NORMAL].late), 2);
    readout_expire(r, &book, lease_at(r, 3));
    ck_assert_uint_eq(take(r, 4), 4);
    static const uint64_t then[] = {2, 3, 6, 8};
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(out[i].offset, then[i]);
    ck_assert(offset_set_is_empty(&r->lanes[PRIORITY_NORMAL].late));
    ck_assert_uint_eq(take_lane(r, PRIORITY_LOW, 9), 1);
    ck_assert_uint_eq(out[0].offset, 5);
}
END_TEST

START_TEST(late_ones_that_are_done_are_not_delivered)
{
    hide(2);
    hide(3);
    hide(4);
    struct readout *r = begin();
    ck_assert_uint_eq(take(r, 5), 5);
    offset_set_add(&gp.done, 2); /* acked before its time, by whoever could */
    reveal(r, 2, PRIORITY_NORMAL);
    reveal(r, 3, PRIORITY_NORMAL);
    reveal(r, 4, PRIORITY_NORMAL);
    offset_set_add(&gp.done, 3); /* after it became visible */
    ck_assert(available(r, PRIORITY_NORMAL));
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert_uint_eq(out[0].offset, 4);
}
END_TEST

START_TEST(gone_messages_lose_their_leases)
{
    struct readout *r = begin();
    ck_assert_uint_eq(take(r, 6), 6);
    readout_expire(r, &book, lease_at(r, 1));
    settle(r, 2);
    settle(r, 3);
    readout_delay(r, &book, settled(r, 3), 5000);
    hide(0), hide(1), hide(2), hide(3);
    for (uint64_t i = 0; i < 4; i++)
        offset_set_add(&partition.exceptions->gone, i);
    gp.position = 4;
    for (uint64_t i = 0; i < 4; i++)
        readout_lose(r, &book, i);
    readout_lose(r, &book, 1000); /* has none */
    readout_check(r);
    ck_assert_uint_eq(r->leases.count, 3); /* 2 waits for its command */
    ck_assert_uint_eq(r->in_flight, 3);
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert_uint_eq(out[0].offset, 6);
    ck_assert_ptr_null(settled(r, 2));
}
END_TEST

START_TEST(room_follows_what_is_in_flight)
{
    struct readout *r = begin();
    ck_assert_uint_eq(readout_room(r), UINT32_MAX);
    topic.settings.in_flight_max = 3;
    ck_assert_uint_eq(readout_room(r), 3);
    ck_assert_uint_eq(take(r, 10), 3);
    ck_assert_uint_eq(readout_room(r), 0);
    ck_assert_uint_eq(take(r, 10), 0);
    settle(r, 0);
    ck_assert_uint_eq(readout_room(r), 0);
    readout_expire(r, &book, lease_at(r, 1));
    ck_assert_uint_eq(readout_room(r), 1);
    topic.settings.in_flight_max = 1; /* fewer than are out */
    ck_assert_uint_eq(readout_room(r), 0);
}
END_TEST

static struct retry *retry_of(uint64_t offset, uint32_t count, bool returned, int64_t not_before_us)
{
    struct retry *retry = group_partition_need_retry(&gp, offset);
    retry->delivery_count = count;
    retry->returned = returned;
    retry->not_before_us = not_before_us;
    retry->first_us = 77;
    return retry;
}

START_TEST(begins_with_what_the_machine_knows)
{
    offset_set_add_run(&gp.out, 0, 6); /* 1 is done since; 2 is a retry: it knows better */
    gp.out_until_us = DEADLINE_US;
    offset_set_add(&gp.done, 1);
    (void)retry_of(2, 2, false, 5000);
    (void)retry_of(7, 2, true, NOW_US + 1);
    (void)retry_of(8, 1, true, NOW_US);
    (void)retry_of(9, 3, true, 0);
    put_in_lane(9, PRIORITY_HIGH);
    struct readout *r = begin();
    readout_check(r);
    ck_assert_uint_eq(r->leases.count, 8);
    ck_assert_uint_eq(r->in_flight, 5);
    ck_assert_uint_eq(book.in_flight, 5);
    ck_assert(lease_at(r, 0)->state == LEASE_LEASED && lease_at(r, 0)->delivery_count == 1);
    ck_assert_ptr_null(lease_at(r, 0)->holder);
    ck_assert_ptr_null(readout_find(r, 1));
    ck_assert(lease_at(r, 2)->state == LEASE_LEASED && lease_at(r, 2)->delivery_count == 2);
    ck_assert_int_eq(lease_at(r, 2)->first_us, 77);
    ck_assert_int_eq(lease_at(r, 7)->state, LEASE_DELAYED);
    ck_assert_int_eq(lease_at(r, 8)->state, LEASE_RELEASED);
    ck_assert_int_eq(lease_at(r, 9)->state, LEASE_RELEASED);
    ck_assert_int_eq(lease_at(r, 9)->lane, PRIORITY_HIGH);
    ck_assert_uint_eq(take(r, 3), 3);
    ck_assert(out[0].offset == 6 && out[0].delivery_count == 1);
    ck_assert(out[1].offset == 8 && out[1].delivery_count == 2 && out[1].first_us == 77);
    ck_assert_uint_eq(out[2].offset, 10);
    ck_assert_uint_eq(take_lane(r, PRIORITY_HIGH, 9), 1);
    ck_assert_uint_eq(out[0].delivery_count, 4);
    wheel_advance(&wheel, 9000);
    uint32_t fired = 0;
    while (wheel_pop(&wheel) != NULL)
        fired++;
    ck_assert_uint_eq(fired, 2); /* the deadline of 2, and 7 */
}
END_TEST

Suite *suite_readout(void)
{
    Suite *suite = suite_create("readout");
    TCase *tcase = tcase_create("readout");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, skips_what_is_done_or_not_retained);
    tcase_add_test(tcase, redelivers_the_lowest_first);
    tcase_add_test(tcase, finds_leases_while_they_come_and_go);
    tcase_add_test(tcase, adopted_offsets_are_not_handed_out);
    tcase_add_test(tcase, last_of_the_commands_decides);
    tcase_add_test(tcase, failed_settlement_resumes);
    tcase_add_test(tcase, uncounted_release_takes_the_count_back);
    tcase_add_test(tcase, commits_move_both_ways);
    tcase_add_test(tcase, lanes_are_read_apart);
    tcase_add_test(tcase, late_messages_come_before_newer_ones);
    tcase_add_test(tcase, late_ones_that_are_done_are_not_delivered);
    tcase_add_test(tcase, gone_messages_lose_their_leases);
    tcase_add_test(tcase, room_follows_what_is_in_flight);
    tcase_add_test(tcase, begins_with_what_the_machine_knows);
    suite_add_tcase(suite, tcase);
    return suite;
}
