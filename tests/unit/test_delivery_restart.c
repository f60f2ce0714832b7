/* The broker's run ends and another begins: what comes back, when, and which receipts still count.
 */
#include "tests/unit/delivery_client.h"

Suite *suite_delivery_restart(void);

static void setup(void)
{
    clients_setup();
    join_now(&alice, 100);
    publish("orders", 0, PRIORITY_NORMAL, 0, 3);
}

static void restart(void)
{
    static uint64_t boot_id = 42;
    settle();
    boot_id += 1ULL << 32; /* ids of two runs never meet */
    world_restart(&world, boot_id);
    delivery_check(world.delivery);
}

static void touch(void)
{
    delivery_touch(world.delivery, span_text("workers"), span_text("alice-1"), world.now_us);
}

/* Time goes on, and alice lives. */
static void live(int64_t us)
{
    touch();
    world_pass(&world, us);
    settle();
    touch();
}

START_TEST(first_deliveries_keep_their_deadline)
{
    ck_assert_uint_eq(poll_now(&alice, 2), 2);
    live(10 * WORLD_SECOND);
    restart();
    ck_assert_uint_eq(stats().in_flight, 2);
    ck_assert_uint_eq(poll_now(&alice, 10), 1); /* the one that was never out */
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 2);
    ck_assert_int_eq(ack_now(&alice, receipt_of(&alice, 0, 0))->status, ST_OK);
    live(19 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    live(2 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 2);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 2);
    ck_assert_uint_eq(receipt_of(&alice, 0, 1).offset, 1);
}
END_TEST

START_TEST(later_deliveries_keep_their_own)
{
    struct receipt receipt = poll_one(&alice);
    (void)nack_now(&alice, receipt, 0);
    live(5 * WORLD_SECOND);
    receipt = poll_one(&alice); /* until 35 */
    live(5 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 2); /* until 40 */
    restart();
    live(24 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    live(2 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 3);
    ck_assert_int_eq(message_of(&alice, 0, 0)->first_us,
                     world.now_us - 36 * WORLD_SECOND); /* that is known, too */
    live(5 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 2);
}
END_TEST

START_TEST(extended_deadlines_are_kept)
{
    ck_assert_uint_eq(poll_now(&alice, 2), 2);
    struct receipt receipt = receipt_of(&alice, 0, 1);
    (void)extend_now(&alice, receipt, 100 * WORLD_SECOND);
    restart();
    for (int i = 0; i < 4; i++)
        live(20 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
    ck_assert_int_eq(lease_of(0, 1)->state, LEASE_LEASED);
    live(19 * WORLD_SECOND);
    ck_assert_int_eq(lease_of(0, 1)->state, LEASE_LEASED);
    live(2 * WORLD_SECOND);
    ck_assert_int_eq(lease_of(0, 1)->state, LEASE_EXPIRED);
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_OK); /* late, nobody else has it */
}
END_TEST

START_TEST(nacks_are_kept)
{
    struct receipt first = poll_one(&alice), second = poll_one(&alice);
    (void)nack_now(&alice, first, 50 * WORLD_SECOND);
    (void)nack_now(&alice, second, 0);
    int64_t next_us = world.now_us + 50 * WORLD_SECOND;
    live(WORLD_SECOND);
    restart();
    ck_assert_uint_eq(stats().in_flight, 0);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_DELAYED);
    ck_assert_int_eq(lease_of(0, 1)->state, LEASE_RELEASED);
    ck_assert_uint_eq(poll_now(&alice, 10), 2);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 2);
    ck_assert_int_eq(message_of(&alice, 0, 0)->first_us, world.now_us - WORLD_SECOND);
    ck_assert_uint_eq(receipt_of(&alice, 0, 1).delivery_count, 1);
    const struct resolve_request *again = nack_now(&alice, first, 0); /* the lost answer */
    ck_assert(again->status == ST_OK && again->already && again->delivery_count == 1);
    ck_assert_int_eq(again->next_us, next_us);
    ck_assert_int_eq(ack_now(&alice, first)->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(reject_now(&alice, second)->status, ST_RECEIPT_EXPIRED);
    live(25 * WORLD_SECOND);
    live(24 * WORLD_SECOND);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_DELAYED);
    live(2 * WORLD_SECOND);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_RELEASED);
}
END_TEST

/* A commit went back over it: of its deliveries nothing is known any more. */
START_TEST(nacked_receipt_after_a_restart_and_a_rewind)
{
    struct receipt receipt = poll_one(&alice);
    (void)nack_now(&alice, receipt, 50 * WORLD_SECOND);
    ck_assert_int_eq(ack_now(&alice, poll_one(&alice))->status, ST_OK);
    restart();
    ck_assert_int_eq(commit(&alice, 0, 1), ST_OK);
    ck_assert_int_eq(commit(&alice, 0, 0), ST_OK);
    ck_assert_ptr_null(lease_of(0, 0));
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_RECEIPT_EXPIRED);
    ck_assert(nack_now(&alice, receipt, 0)->already);
    ck_assert_uint_eq(poll_now(&alice, 10), 3);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 1);
}
END_TEST

/* What is handed out together has gaps where another lane's messages lie. */
START_TEST(gaps_are_not_in_flight)
{
    publish("orders", 0, PRIORITY_HIGH, 0, 1);
    publish("orders", 0, PRIORITY_NORMAL, 0, 2);
    ck_assert_uint_eq(poll_now(&alice, 100), 6);
    struct receipt high = receipt_of(&alice, 0, 0);
    ck_assert_uint_eq(high.offset, 3);
    ck_assert_int_eq(nack_now(&alice, high, 0)->status, ST_OK);
    restart();
    ck_assert_int_eq(lease_of(0, 3)->state, LEASE_RELEASED);
    for (uint64_t i = 0; i < 6; i++)
        ck_assert(i == 3 || lease_of(0, i)->state == LEASE_LEASED);
    ck_assert_uint_eq(poll_now(&alice, 100), 1);
}
END_TEST

/* Handed out, given back, another one handed out: journalled in that order. */
START_TEST(notes_are_in_order)
{
    publish("orders", 1, PRIORITY_NORMAL, 0, 1);
    for (int i = 0; i < 2; i++) {
        alice.poll = (struct poll_request){.group = span_text("workers"),
                                           .member_id = span_text(alice.member_id),
                                           .generation = -1,
                                           .messages_max = 1,
                                           .arena = &alice.arena,
                                           .done = on_poll};
        delivery_poll(world.delivery, &alice.poll, world.now_us);
        struct receipt receipt = receipt_of(&alice, 0, 0);
        ck_assert_uint_eq(receipt.partition, (uint32_t)i);
        if (i == 0)
            delivery_release(world.delivery, &receipt, 1, world.now_us);
    }
    delivery_settle(world.delivery, world.now_us);
    ck_assert_uint_eq(world.journal_count, 3);
    restart();
    ck_assert_uint_eq(stats().in_flight, 1);
    ck_assert_ptr_null(lease_of(0, 0));
    ck_assert_int_eq(lease_of(1, 0)->state, LEASE_LEASED);
}
END_TEST

/* As poll_now(), but what it notes is not submitted yet. */
static uint32_t poll_unnoted(uint32_t max)
{
    alice.polls_done = 0;
    alice.poll = (struct poll_request){.group = span_text("workers"),
                                       .member_id = span_text(alice.member_id),
                                       .generation = -1,
                                       .messages_max = max,
                                       .arena = &alice.arena,
                                       .done = on_poll};
    delivery_poll(world.delivery, &alice.poll, world.now_us);
    return received(&alice);
}

/* What was handed out before a commit went back is not in flight any more, in whatever order the
 * two are journalled; what was handed out after it is. */
START_TEST(notes_of_deliveries_around_a_rewind)
{
    publish("orders", 1, PRIORITY_LOW, 0, 1);
    ck_assert_int_eq(ack_now(&alice, poll_one(&alice))->status, ST_OK);
    submit_commit(&alice, 0, 0);
    if (_i == 0) { /* noted and submitted, behind the commit */
        ck_assert_uint_eq(poll_now(&alice, 2), 2);
    } else if (_i == 1) { /* noted, and not submitted when the commit is applied */
        ck_assert_uint_eq(poll_unnoted(2), 2);
    } else if (_i == 2) { /* likewise, and then there is more to note */
        ck_assert_uint_eq(poll_unnoted(2), 2);
        ck_assert(world_apply(&world));
        ck_assert_uint_eq(poll_unnoted(1), 1);
    } else { /* just after it */
        ck_assert(world_apply(&world));
        ck_assert_uint_eq(poll_now(&alice, 3), 3);
    }
    restart();
    static const uint32_t in_flight[] = {0, 0, 1, 3};
    ck_assert_uint_eq(stats().in_flight, in_flight[_i]);
    ck_assert_uint_eq(poll_now(&alice, 10), 4 - in_flight[_i]);
}
END_TEST

START_TEST(nack_under_way_when_the_broker_dies)
{
    struct receipt receipt = poll_one(&alice);
    settle();
    (void)begin_resolve(&alice, &alice.resolve, RESOLVE_NACK, receipt, 0);
    crash(43); /* before it was durable */
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 1); /* 0 is in flight still */
    const struct resolve_request *again = nack_now(&alice, receipt, 0);
    ck_assert(again->status == ST_OK && !again->already);
    ck_assert_uint_eq(poll_one(&alice).delivery_count, 2);
}
END_TEST

START_TEST(receipts_of_the_last_run)
{
    ck_assert_uint_eq(poll_now(&alice, 3), 3);
    struct receipt receipts[3];
    for (uint32_t i = 0; i < 3; i++)
        receipts[i] = receipt_of(&alice, 0, i);
    restart();
    ck_assert_int_eq(ack_now(&alice, receipts[0])->status, ST_OK);
    ck_assert_int_eq(extend_now(&alice, receipts[1], 100 * WORLD_SECOND)->status, ST_OK);
    ck_assert_int_eq(nack_now(&alice, receipts[2], 0)->status, ST_OK);
    ck_assert_int_eq(reject_now(&alice, receipts[1])->status, ST_OK);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    struct receipt again = poll_one(&alice);
    ck_assert(again.offset == 2 && again.delivery_count == 2);
    restart();
    ck_assert_int_eq(ack_now(&alice, receipts[2])->status, ST_RECEIPT_EXPIRED); /* of delivery 1 */
    again.delivery_count++; /* no such delivery */
    ck_assert_int_eq(extend_now(&alice, again, WORLD_SECOND)->status, ST_RECEIPT_EXPIRED);
    again.delivery_count--;
    ck_assert_int_eq(ack_now(&alice, again)->status, ST_OK);
    ck_assert(ack_now(&alice, receipts[0])->already);
    ck_assert(reject_now(&alice, receipts[1])->already);
    ck_assert(nack_now(&alice, receipts[2], 0)->already);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 3);
}
END_TEST

START_TEST(receipts_of_two_runs)
{
    struct receipt old = poll_one(&alice);
    restart();
    live(29 * WORLD_SECOND);
    live(2 * WORLD_SECOND);
    struct receipt fresh = poll_one(&alice);
    ck_assert(fresh.offset == old.offset && fresh.delivery_count == 2);
    ck_assert_int_eq(ack_now(&alice, old)->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(nack_now(&alice, old, 0)->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(extend_now(&alice, old, 1)->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(ack_now(&alice, fresh)->status, ST_OK);
}
END_TEST

START_TEST(lost_notes_make_messages_available)
{
    ck_assert_uint_eq(poll_now(&alice, 3), 3);
    struct receipt receipts[3];
    for (uint32_t i = 0; i < 3; i++)
        receipts[i] = receipt_of(&alice, 0, i);
    crash(44); /* the notes of the poll never were durable */
    ck_assert_uint_eq(stats().in_flight, 0);
    ck_assert_int_eq(extend_now(&alice, receipts[1], 50 * WORLD_SECOND)->status, ST_OK);
    ck_assert_uint_eq(stats().in_flight, 1); /* the receipt tells of it */
    ck_assert_int_eq(nack_now(&alice, receipts[2], 50 * WORLD_SECOND)->status, ST_OK);
    ck_assert_uint_eq(poll_now(&alice, 3), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 1); /* uncounted */
    ck_assert_int_eq(ack_now(&alice, receipts[0])->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(ack_now(&alice, receipts[1])->status, ST_OK);
    restart();
    ck_assert_int_eq(lease_of(0, 2)->state, LEASE_DELAYED);
    ck_assert_uint_eq(lease_of(0, 2)->delivery_count, 1);
}
END_TEST

START_TEST(deadline_passed_while_the_broker_was_down)
{
    ck_assert_uint_eq(poll_now(&alice, 3), 3);
    settle();
    world.now_us += 3600 * WORLD_SECOND;
    restart();
    live(0);
    ck_assert_uint_eq(poll_now(&alice, 10), 3);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 2);
}
END_TEST

START_TEST(last_deadline_passed_while_the_broker_was_down)
{
    for (int i = 0; i < 2; i++)
        (void)nack_now(&alice, poll_one(&alice), 0);
    ck_assert_uint_eq(poll_one(&alice).delivery_count, 3);
    settle();
    world.now_us += 3600 * WORLD_SECOND;
    restart();
    world_pass(&world, 0);
    ck_assert_uint_eq(jobs_under_way(), 1);
    ck_assert_uint_eq(job_entry()->job->member_id.size, 0); /* not known any more */
    ck_assert_uint_eq(job_entry()->job->delivery_count, 3);
    settle();
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(poll_now(&alice, 10), 2);
}
END_TEST

/* Who had it is not known any more; the partition's reader is. */
START_TEST(members_own_bounds_after_a_restart)
{
    leave(&alice);
    bob.join.joiner.deliveries_max = 5;
    bob.join.joiner.visibility_us = 9 * WORLD_SECOND;
    join_now(&bob, 100);
    for (int i = 0; i < 3; i++)
        (void)nack_now(&bob, poll_one(&bob), 0);
    struct receipt other = poll_one(&bob);
    ck_assert_uint_eq(other.delivery_count, 4);
    other = poll_one(&bob);
    restart();
    ck_assert_int_eq(nack_now(&bob, other, -1)->next_us, world.now_us + 9 * WORLD_SECOND);
    world.now_us += 31 * WORLD_SECOND;
    delivery_touch(world.delivery, span_text("workers"), span_text("bob-1"), world.now_us);
    pass(2000);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 0);
    ck_assert_uint_eq(poll_one(&bob).delivery_count, 5);
    leave(&bob);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
}
END_TEST

START_TEST(leave_and_lost_answers_are_noted)
{
    ck_assert_uint_eq(poll_now(&alice, 3), 3);
    struct receipt receipt = receipt_of(&alice, 0, 1);
    delivery_release(world.delivery, &receipt, 1, world.now_us); /* could not be written */
    delivery_settle(world.delivery, world.now_us);
    settle();
    leave(&alice);
    restart();
    ck_assert_uint_eq(stats().in_flight, 0);
    join_now(&bob, 100);
    ck_assert_uint_eq(poll_now(&bob, 10), 3);
    uint32_t counts[3];
    for (uint32_t i = 0; i < 3; i++) {
        receipt = receipt_of(&bob, 0, i);
        ck_assert_uint_lt(receipt.offset, 3);
        counts[receipt.offset] = receipt.delivery_count;
    }
    ck_assert(counts[0] == 2 && counts[1] == 1 && counts[2] == 2);
}
END_TEST

/* Offset 0 was given back uncounted, 1 was nacked: after a restart nothing is known of 0, and it
 * comes first all the same. */
START_TEST(order_is_kept_over_a_restart)
{
    ck_assert_uint_eq(poll_now(&alice, 2), 2);
    struct receipt first = receipt_of(&alice, 0, 0), second = receipt_of(&alice, 0, 1);
    delivery_release(world.delivery, &first, 1, world.now_us);
    (void)nack_now(&alice, second, 0);
    restart();
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_uint_eq(poll_one(&alice).offset, i);
}
END_TEST

START_TEST(delays_are_kept)
{
    publish("orders", 1, PRIORITY_HIGH, 50 * WORLD_SECOND, 1);
    publish("orders", 0, PRIORITY_HIGH, 20 * WORLD_SECOND, 1);
    world.now_us += 25 * WORLD_SECOND; /* due while the broker was down */
    restart();
    ck_assert_uint_eq(world.journal_count, 0);
    live(0);
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 3); /* high: first */
    live(24 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 3);
    live(2 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 1);
    ck_assert_uint_eq(alice.poll.runs[0].partition, 1);
}
END_TEST

START_TEST(in_flight_is_told_after_a_restart)
{
    ck_assert_uint_eq(poll_now(&alice, 2), 2);
    restart();
    live(WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 2), 1);
    struct arena arena;
    struct in_flight_info info;
    arena_init(&arena);
    const struct topic *t = machine_find_topic(world.machine, span_text("orders"));
    delivery_fill_in_flight(world.delivery, t, &arena, &info);
    ck_assert_uint_eq(info.partitions[0].count, 3);
    ck_assert_int_eq(info.partitions[0].oldest_us, world.now_us); /* as far as it is known */
    ck_assert(info.group_count == 1 && info.groups[0].count == 3);
    arena_fini(&arena);
}
END_TEST

/* Every kind of delivery at once, restarted at every step; at the end all is done. */
START_TEST(restarts_lose_nothing)
{
    publish("orders", 1, PRIORITY_LOW, 0, 20);
    publish("orders", 0, PRIORITY_CRITICAL, 3 * WORLD_SECOND, 5);
    for (int round = 0; round < 60; round++) {
        uint32_t count = poll_now(&alice, 4);
        for (uint32_t i = 0; i < count; i++) {
            struct receipt receipt = receipt_of(&alice, 0, i);
            if (receipt.delivery_count == 3 || (round + (int)i) % 5 == 0)
                ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_OK);
            else if (i % 3 == 0)
                ck_assert_int_eq(nack_now(&alice, receipt, WORLD_SECOND)->status, ST_OK);
            else if (i % 3 == 1)
                ck_assert_int_eq(extend_now(&alice, receipt, 2 * WORLD_SECOND)->status, ST_OK);
        }
        restart();
        live(4 * WORLD_SECOND);
    }
    for (int i = 0; i < 3; i++) {
        live(29 * WORLD_SECOND);
        live(2 * WORLD_SECOND);
        uint32_t count = poll_now(&alice, 100);
        for (uint32_t k = 0; k < count; k++)
            ck_assert_int_eq(ack_now(&alice, receipt_of(&alice, 0, k))->status, ST_OK);
    }
    ck_assert_uint_eq(group_partition("orders", 0)->position, 8);
    ck_assert_uint_eq(group_partition("orders", 1)->position, 20);
    ck_assert_uint_eq(message_count("orders.dlq", 0) + message_count("orders.dlq", 1), 0);
    ck_assert_uint_eq(stats().in_flight + stats().waiting, 0);
    for (uint32_t p = 0; p < 2; p++)
        ck_assert_uint_eq(group_partition("orders", p)->retry_count, 0);
}
END_TEST

Suite *suite_delivery_restart(void)
{
    Suite *suite = suite_create("delivery_restart");
    TCase *tcase = tcase_create("delivery_restart");
    tcase_add_checked_fixture(tcase, setup, clients_teardown);
    tcase_add_test(tcase, first_deliveries_keep_their_deadline);
    tcase_add_test(tcase, later_deliveries_keep_their_own);
    tcase_add_test(tcase, extended_deadlines_are_kept);
    tcase_add_test(tcase, nacks_are_kept);
    tcase_add_test(tcase, nacked_receipt_after_a_restart_and_a_rewind);
    tcase_add_test(tcase, gaps_are_not_in_flight);
    tcase_add_test(tcase, notes_are_in_order);
    tcase_add_loop_test(tcase, notes_of_deliveries_around_a_rewind, 0, 4);
    tcase_add_test(tcase, nack_under_way_when_the_broker_dies);
    tcase_add_test(tcase, receipts_of_the_last_run);
    tcase_add_test(tcase, receipts_of_two_runs);
    tcase_add_test(tcase, lost_notes_make_messages_available);
    tcase_add_test(tcase, deadline_passed_while_the_broker_was_down);
    tcase_add_test(tcase, last_deadline_passed_while_the_broker_was_down);
    tcase_add_test(tcase, members_own_bounds_after_a_restart);
    tcase_add_test(tcase, leave_and_lost_answers_are_noted);
    tcase_add_test(tcase, order_is_kept_over_a_restart);
    tcase_add_test(tcase, delays_are_kept);
    tcase_add_test(tcase, in_flight_is_told_after_a_restart);
    tcase_add_test(tcase, restarts_lose_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}
