/* Nack, reject and visibility: contract 4.3, column by column. */
#include "tests/unit/delivery_client.h"

Suite *suite_resolve(void);

/* One message in each partition of "orders", alice the only member. */
static void setup(void)
{
    clients_setup();
    join_now(&alice, 100);
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
}

static void assert_nacked(const struct resolve_request *resolve, bool already, int64_t next_us)
{
    ck_assert_int_eq(resolve->status, ST_OK);
    ck_assert_int_eq(resolve->already, already);
    ck_assert(!resolve->dead);
    ck_assert_int_eq(resolve->next_us, next_us);
    ck_assert(span_equal(resolve->topic, span_text("orders")));
}

static void assert_rejected(const struct resolve_request *resolve, bool already)
{
    ck_assert_int_eq(resolve->status, ST_OK);
    ck_assert_int_eq(resolve->already, already);
    ck_assert(resolve->dead);
    ck_assert(span_equal(resolve->topic, span_text("orders")));
    ck_assert(span_equal(resolve->dead_letter, span_text("orders.dlq")));
}

START_TEST(nack_with_a_delay_waits)
{
    struct receipt receipt = poll_one(&alice);
    ck_assert(!begin_resolve(&alice, &alice.resolve, RESOLVE_NACK, receipt, 5 * WORLD_SECOND));
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    ck_assert_uint_eq(stats().in_flight, 1); /* not before it is durable */
    settle();
    int64_t next_us = world.now_us + 5 * WORLD_SECOND;
    assert_nacked(&alice.resolve, false, next_us);
    ck_assert_uint_eq(alice.resolve.delivery_count, 1);
    ck_assert_int_eq(alice.resolves_done, 0); /* by the end of its command */
    ck_assert_uint_eq(stats().in_flight, 0);
    ck_assert_uint_eq(stats().waiting, 1);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_DELAYED);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    pass(5 * WORLD_SECOND - 1000);
    ck_assert_int_eq(alice.polls_done, 0); /* never early */
    pass(3000);
    ck_assert_uint_eq(received(&alice), 1); /* who waits is woken */
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 2);
    ck_assert_int_lt(message_of(&alice, 0, 0)->first_us, next_us - 5 * WORLD_SECOND + 1);
    ck_assert_uint_eq(stats().retries_total, 1);
    ck_assert_uint_eq(stats().expired_total, 0);
}
END_TEST

START_TEST(nack_with_a_short_delay_waits_too)
{
    struct receipt receipt = poll_one(&alice);
    assert_nacked(nack_now(&alice, receipt, 3000), false, world.now_us + 3000);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    pass(5000);
    ck_assert_uint_eq(poll_now(&alice, 10), 1);
}
END_TEST

START_TEST(nack_without_a_delay_is_at_once)
{
    publish("orders", 0, PRIORITY_NORMAL, 0, 2);
    struct receipt receipt = poll_one(&alice);
    start_poll(&alice, 10, 0); /* the other two */
    ck_assert_uint_eq(received(&alice), 2);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    assert_nacked(nack_now(&bob, receipt, 0), false, world.now_us);
    ck_assert_uint_eq(received(&alice), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 2);
}
END_TEST

START_TEST(nack_waits_for_the_visibility_timeout)
{
    struct receipt receipt = poll_one(&alice);
    assert_nacked(nack_now(&alice, receipt, -1), false, world.now_us + 30 * WORLD_SECOND);
}
END_TEST

START_TEST(nack_waits_for_the_members_own_timeout)
{
    leave(&alice);
    bob.join.joiner.visibility_us = 7 * WORLD_SECOND;
    join_now(&bob, 100);
    struct receipt receipt = poll_one(&bob);
    ck_assert_int_eq(bob.poll.runs[0].deadline_us, world.now_us + 7 * WORLD_SECOND);
    assert_nacked(nack_now(&bob, receipt, -1), false, world.now_us + 7 * WORLD_SECOND);
}
END_TEST

/* What all operations but ack say to the receipt now. */
static void assert_refused(struct receipt receipt, enum status nack, enum status reject,
                           enum status extend)
{
    ck_assert_int_eq(nack_now(&bob, receipt, 0)->status, nack);
    ck_assert_int_eq(reject_now(&bob, receipt)->status, reject);
    ck_assert_int_eq(extend_now(&bob, receipt, WORLD_SECOND)->status, extend);
}

START_TEST(nacked_receipts_are_void_but_for_a_repeat)
{
    struct receipt receipt = poll_one(&alice);
    int64_t next_us = world.now_us + 5 * WORLD_SECOND;
    (void)nack_now(&alice, receipt, 5 * WORLD_SECOND);
    for (int state = 0; state < 3; state++) { /* delayed, released, delivered again */
        assert_nacked(nack_now(&alice, receipt, 99), true, next_us);
        ck_assert_uint_eq(alice.resolve.delivery_count, 1);
        ck_assert_int_eq(reject_now(&alice, receipt)->status, ST_RECEIPT_EXPIRED);
        ck_assert_int_eq(extend_now(&alice, receipt, 1)->status, ST_RECEIPT_EXPIRED);
        ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_RECEIPT_EXPIRED);
        if (state == 0)
            pass(6 * WORLD_SECOND);
        else if (state == 1)
            ck_assert_uint_eq(poll_now(&alice, 1), 1);
    }
    ck_assert_int_eq(ack_now(&alice, receipt_of(&alice, 0, 0))->status, ST_OK);
    assert_nacked(nack_now(&alice, receipt, 0), true, next_us); /* still the same story */
    ck_assert(ack_now(&alice, receipt)->already);
    ck_assert_int_eq(reject_now(&alice, receipt)->status, ST_RECEIPT_EXPIRED);
}
END_TEST

START_TEST(repeat_is_known_for_ten_minutes)
{
    struct receipt receipt = poll_one(&alice);
    (void)nack_now(&alice, receipt, 0);
    world.now_us += 600 * WORLD_SECOND;
    publish("orders", 1, PRIORITY_NORMAL, 0, 1); /* the machine's time is that of its commands */
    ck_assert(nack_now(&alice, receipt, 0)->already);
    world.now_us += 1;
    publish("orders", 1, PRIORITY_NORMAL, 0, 1);
    ck_assert_int_eq(nack_now(&alice, receipt, 0)->status, ST_RECEIPT_EXPIRED);
}
END_TEST

START_TEST(third_nack_is_the_last)
{
    for (int i = 0; i < 2; i++)
        assert_nacked(nack_now(&alice, poll_one(&alice), 0), false, world.now_us);
    struct receipt receipt = poll_one(&alice);
    ck_assert_uint_eq(receipt.delivery_count, 3);
    ck_assert(!begin_resolve(&alice, &alice.resolve, RESOLVE_NACK, receipt, 0));
    ck_assert_uint_eq(alice.resolve.command.release.entry_count, 0);
    ck_assert_int_eq(alice.resolves_done, 0);
    ck_assert_int_eq(job_entry()->job->reason, DEAD_LETTER_MAX_RETRIES);
    settle();
    ck_assert_int_eq(alice.resolves_done, 1);
    assert_rejected(&alice.resolve, false);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    assert_rejected(nack_now(&alice, receipt, 0), true); /* a repeat */
    ck_assert_uint_eq(alice.resolve.delivery_count, 3);
    assert_refused(receipt, ST_OK, ST_MESSAGE_NOT_FOUND, ST_MESSAGE_NOT_FOUND);
    ck_assert(ack_now(&alice, receipt)->already);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(stats().in_flight, 0);
}
END_TEST

START_TEST(reject_makes_a_dead_letter)
{
    struct receipt receipt = poll_one(&alice);
    alice.resolve.reason = span_text("bad input");
    ck_assert(!begin_resolve(&alice, &alice.resolve, RESOLVE_REJECT, receipt, 0));
    const struct dead_letter_job *job = job_entry()->job;
    ck_assert_int_eq(job->reason, DEAD_LETTER_REJECTED);
    ck_assert(span_equal(job->error, span_text("bad input")));
    ck_assert(span_equal(job->topic, span_text("orders")));
    ck_assert(span_equal(job->group, span_text("workers")));
    ck_assert(span_equal(job->member_id, span_text("alice-1")));
    ck_assert_uint_eq(job->lease_id, receipt.lease_id);
    ck_assert_uint_eq(job->delivery_count, 1);
    ck_assert_int_eq(job->first_us, world.now_us);
    ck_assert_int_eq(job->last_us, world.now_us);
    ck_assert(!job->drop && job->asked == &alice.resolve);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    settle();
    ck_assert_int_eq(alice.resolves_done, 1);
    assert_rejected(&alice.resolve, false);
    assert_rejected(reject_now(&alice, receipt), true);
    assert_refused(receipt, ST_MESSAGE_NOT_FOUND, ST_OK, ST_MESSAGE_NOT_FOUND);
    ck_assert(ack_now(&alice, receipt)->already);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
}
END_TEST

START_TEST(reason_of_the_reject_comes_first)
{
    alice.resolve.reason = span_text("no stock");
    (void)nack_now(&alice, poll_one(&alice), 0);
    alice.second.reason = span_text("bad input");
    (void)begin_resolve(&alice, &alice.second, RESOLVE_REJECT, poll_one(&alice), 0);
    ck_assert(span_equal(job_entry()->job->error, span_text("bad input")));
}
END_TEST

/* No member can have got it, whatever the receipt says. */
START_TEST(receipt_of_a_pending_message)
{
    publish("orders", 0, PRIORITY_NORMAL, 60 * WORLD_SECOND, 1);
    struct receipt receipt = poll_one(&alice);
    receipt.offset = 1;
    receipt.lease_id = 12345; /* of an earlier run */
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_RECEIPT_EXPIRED);
    assert_refused(receipt, ST_RECEIPT_EXPIRED, ST_RECEIPT_EXPIRED, ST_RECEIPT_EXPIRED);
    ck_assert_ptr_null(lease_of(0, 1));
}
END_TEST

START_TEST(acked_receipts_are_void_but_for_an_ack)
{
    struct receipt receipt = poll_one(&alice);
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_OK);
    assert_refused(receipt, ST_MESSAGE_NOT_FOUND, ST_MESSAGE_NOT_FOUND, ST_MESSAGE_NOT_FOUND);
    ck_assert_ptr_null(machine_find_topic(world.machine, span_text("orders.dlq")));
}
END_TEST

START_TEST(late_receipts)
{
    struct receipt receipt = poll_one(&alice);
    world_pass(&world, 29 * WORLD_SECOND);
    delivery_touch(world.delivery, span_text("workers"), span_text("alice-1"), world.now_us);
    pass(2 * WORLD_SECOND);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_EXPIRED);
    ck_assert_int_eq(extend_now(&alice, receipt, WORLD_SECOND)->status, ST_RECEIPT_EXPIRED);
    assert_nacked(nack_now(&alice, receipt, WORLD_SECOND), false, world.now_us + WORLD_SECOND);
    pass(WORLD_SECOND + 2000);
    receipt = poll_one(&alice);
    ck_assert_uint_eq(receipt.delivery_count, 2);
    delivery_touch(world.delivery, span_text("workers"), span_text("alice-1"), world.now_us);
    pass(29 * WORLD_SECOND);
    delivery_touch(world.delivery, span_text("workers"), span_text("alice-1"), world.now_us);
    pass(2 * WORLD_SECOND);
    assert_rejected(reject_now(&alice, receipt), false);
}
END_TEST

START_TEST(receipts_of_another_delivery)
{
    struct receipt first = poll_one(&alice);
    (void)extend_now(&alice, first, 2 * WORLD_SECOND);
    pass(3 * WORLD_SECOND);
    struct receipt second = poll_one(&alice);
    ck_assert_uint_eq(second.delivery_count, 2);
    assert_refused(first, ST_RECEIPT_EXPIRED, ST_RECEIPT_EXPIRED, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(ack_now(&alice, first)->status, ST_RECEIPT_EXPIRED);
    (void)begin_resolve(&alice, &alice.resolve, RESOLVE_NACK, second, 0);
    assert_refused(first, ST_RECEIPT_EXPIRED, ST_RECEIPT_EXPIRED, ST_RECEIPT_EXPIRED);
}
END_TEST

START_TEST(left_members_receipts_are_void)
{
    struct receipt receipt = poll_one(&alice);
    join_now(&bob, 100);
    leave(&alice);
    assert_refused(receipt, ST_RECEIPT_EXPIRED, ST_RECEIPT_EXPIRED, ST_RECEIPT_EXPIRED);
    ck_assert_uint_eq(poll_one(&bob).delivery_count, 2); /* it counts */
}
END_TEST

START_TEST(places_that_are_not_there)
{
    struct receipt receipt = poll_one(&alice);
    struct receipt gone[] = {receipt, receipt, receipt, receipt};
    gone[0].group_id++;
    gone[1].topic_id += 1000;
    gone[2].partition = 2;
    gone[3].offset = 1;
    for (int i = 0; i < 4; i++)
        assert_refused(gone[i], ST_MESSAGE_NOT_FOUND, ST_MESSAGE_NOT_FOUND, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_OK);
}
END_TEST

START_TEST(extension_moves_the_deadline)
{
    struct receipt receipt = poll_one(&alice);
    const struct resolve_request *extended = extend_now(&alice, receipt, 40 * WORLD_SECOND);
    ck_assert(extended->status == ST_OK && !extended->already);
    ck_assert_int_eq(extended->next_us, world.now_us + 40 * WORLD_SECOND);
    ck_assert_uint_eq(extended->delivery_count, 1);
    pass(25 * WORLD_SECOND);
    delivery_touch(world.delivery, span_text("workers"), span_text("alice-1"), world.now_us);
    pass(14 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 1), 0); /* the first deadline is of no account */
    ck_assert_int_eq(extend_now(&alice, receipt, 3 * WORLD_SECOND)->status, ST_OK);
    pass(2 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 1), 0);
    ck_assert_int_eq(extend_now(&alice, receipt, 100 * WORLD_SECOND)->status, ST_OK);
    ck_assert_int_eq(extend_now(&alice, receipt, WORLD_SECOND)->status, ST_OK); /* or sooner */
    pass(WORLD_SECOND + 2000);
    struct receipt second = poll_one(&alice);
    ck_assert_uint_eq(second.delivery_count, 2);
    ck_assert_int_eq(extend_now(&alice, receipt, WORLD_SECOND)->status, ST_RECEIPT_EXPIRED);
    ck_assert_uint_eq(stats().extended_total, 4);
    ck_assert_uint_eq(stats().expired_total, 1);
}
END_TEST

START_TEST(receipts_are_signs_of_life)
{
    publish("orders", 0, PRIORITY_NORMAL, 0, 3);
    ck_assert_uint_eq(poll_now(&alice, 4), 4);
    struct receipt receipts[4];
    for (uint32_t i = 0; i < 4; i++)
        receipts[i] = receipt_of(&alice, 0, i);
    const struct group *group = machine_find_group(world.machine, span_text("workers"));
    (void)extend_now(&bob, receipts[1], 600 * WORLD_SECOND);
    (void)extend_now(&bob, receipts[2], 600 * WORLD_SECOND);
    pass(25 * WORLD_SECOND);
    (void)nack_now(&bob, receipts[0], 0);
    pass(25 * WORLD_SECOND);
    ck_assert_uint_eq(group->member_count, 1);
    (void)reject_now(&bob, receipts[1]);
    pass(25 * WORLD_SECOND);
    ck_assert_uint_eq(group->member_count, 1);
    (void)extend_now(&bob, receipts[2], WORLD_SECOND);
    pass(25 * WORLD_SECOND);
    ck_assert_uint_eq(group->member_count, 1);
    pass(6 * WORLD_SECOND);
    ck_assert_uint_eq(group->member_count, 0);
}
END_TEST

START_TEST(nack_makes_room)
{
    publish("orders", 0, PRIORITY_NORMAL, 0, 5);
    leave(&alice);
    join_now(&bob, 1);
    struct receipt receipt = poll_one(&bob);
    start_poll(&bob, 10, 20 * WORLD_SECOND);
    ck_assert_int_eq(bob.polls_done, 0);
    (void)nack_now(&alice, receipt, 60 * WORLD_SECOND);
    ck_assert_uint_eq(received(&bob), 1);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).offset, 1);
    receipt = receipt_of(&bob, 0, 0);
    start_poll(&bob, 10, 20 * WORLD_SECOND);
    (void)reject_now(&alice, receipt);
    ck_assert_uint_eq(received(&bob), 1);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).offset, 2);
}
END_TEST

Suite *suite_resolve(void)
{
    Suite *suite = suite_create("resolve");
    TCase *tcase = tcase_create("resolve");
    tcase_add_checked_fixture(tcase, setup, clients_teardown);
    tcase_add_test(tcase, nack_with_a_delay_waits);
    tcase_add_test(tcase, nack_with_a_short_delay_waits_too);
    tcase_add_test(tcase, nack_without_a_delay_is_at_once);
    tcase_add_test(tcase, nack_waits_for_the_visibility_timeout);
    tcase_add_test(tcase, nack_waits_for_the_members_own_timeout);
    tcase_add_test(tcase, nacked_receipts_are_void_but_for_a_repeat);
    tcase_add_test(tcase, repeat_is_known_for_ten_minutes);
    tcase_add_test(tcase, third_nack_is_the_last);
    tcase_add_test(tcase, reject_makes_a_dead_letter);
    tcase_add_test(tcase, reason_of_the_reject_comes_first);
    tcase_add_test(tcase, receipt_of_a_pending_message);
    tcase_add_test(tcase, acked_receipts_are_void_but_for_an_ack);
    tcase_add_test(tcase, late_receipts);
    tcase_add_test(tcase, receipts_of_another_delivery);
    tcase_add_test(tcase, left_members_receipts_are_void);
    tcase_add_test(tcase, places_that_are_not_there);
    tcase_add_test(tcase, extension_moves_the_deadline);
    tcase_add_test(tcase, receipts_are_signs_of_life);
    tcase_add_test(tcase, nack_makes_room);
    suite_add_tcase(suite, tcase);
    return suite;
}
