/* The last allowed delivery: however it ends in vain, the message becomes a dead letter. */
#include "tests/unit/delivery_client.h"

Suite *suite_delivery_end(void);

static void setup(void)
{
    clients_setup();
    join_now(&alice, 100);
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
}

static void touch(const struct client *c)
{
    delivery_touch(world.delivery, span_text("workers"), span_text(c->member_id), world.now_us);
}

/* The delivery's deadline passes; the member lives on. */
static void let_it_lapse(struct client *c, struct receipt receipt)
{
    (void)extend_now(c, receipt, WORLD_SECOND);
    touch(c);
    world_pass(&world, WORLD_SECOND + 2000);
}

START_TEST(third_deadline_is_the_last)
{
    int64_t first_us = world.now_us;
    struct receipt receipt = poll_one(&alice);
    alice.resolve.reason = span_text("no stock");
    (void)nack_now(&alice, receipt, 0);
    alice.resolve.reason = span_text("");
    let_it_lapse(&alice, poll_one(&alice));
    ck_assert_uint_eq(jobs_under_way(), 0);
    int64_t last_us = world.now_us;
    receipt = poll_one(&alice);
    ck_assert_uint_eq(receipt.delivery_count, 3);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    let_it_lapse(&alice, receipt);
    ck_assert_int_eq(alice.polls_done, 0);
    ck_assert_uint_eq(jobs_under_way(), 1);
    const struct dead_letter_job *job = job_entry()->job;
    ck_assert_int_eq(job->reason, DEAD_LETTER_MAX_RETRIES);
    ck_assert(span_equal(job->error, span_text("no stock"))); /* the last nack's */
    ck_assert(span_equal(job->member_id, span_text("alice-1")));
    ck_assert_uint_eq(job->delivery_count, 3);
    ck_assert_int_eq(job->first_us, first_us);
    ck_assert_int_eq(job->last_us, last_us);
    ck_assert_ptr_null(job->asked);
    settle();
    ck_assert_int_eq(alice.polls_done, 0);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
    ck_assert_ptr_null(lease_of(0, 0));
    ck_assert_uint_eq(stats().in_flight, 0);
    ck_assert_uint_eq(stats().expired_total, 2);
    ck_assert_int_eq(nack_now(&alice, receipt, 0)->status, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(reject_now(&alice, receipt)->status, ST_MESSAGE_NOT_FOUND);
    ck_assert(ack_now(&alice, receipt)->already);
}
END_TEST

START_TEST(leave_at_the_last_delivery)
{
    (void)nack_now(&alice, poll_one(&alice), 0);
    (void)nack_now(&alice, poll_one(&alice), 0);
    publish("orders", 1, PRIORITY_NORMAL, 0, 1);
    ck_assert_uint_eq(poll_now(&alice, 10), 2);
    join_now(&bob, 100);
    submit_leave(&alice);
    while (jobs_under_way() == 0)
        ck_assert(world_apply(&world));
    ck_assert(span_equal(job_entry()->job->member_id, span_text("alice-1")));
    settle();
    ck_assert_uint_eq(message_count("orders.dlq", 0) + message_count("orders.dlq", 1), 1);
    ck_assert_uint_eq(poll_now(&bob, 10), 1); /* the other one */
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).delivery_count, 2);
}
END_TEST

START_TEST(eviction_at_the_last_delivery)
{
    for (int i = 0; i < 2; i++)
        (void)nack_now(&alice, poll_one(&alice), 0);
    struct receipt receipt = poll_one(&alice);
    (void)extend_now(&alice, receipt, 600 * WORLD_SECOND);
    pass(31 * WORLD_SECOND);
    ck_assert_uint_eq(stats().sessions_expired_total, 1);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(stats().in_flight, 0);
}
END_TEST

START_TEST(members_own_bound_may_be_lower)
{
    leave(&alice);
    bob.join.joiner.deliveries_max = 1;
    join_now(&bob, 100);
    ck_assert(nack_now(&bob, poll_one(&bob), 0)->dead);
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
    let_it_lapse(&bob, poll_one(&bob));
    settle();
    ck_assert_uint_eq(message_count("orders.dlq", 0), 2);
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
    (void)poll_one(&bob);
    leave(&bob);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 3);
}
END_TEST

START_TEST(members_own_bound_may_be_higher)
{
    leave(&alice);
    bob.join.joiner.deliveries_max = 5;
    join_now(&bob, 100);
    for (uint32_t count = 1; count < 5; count++) {
        struct receipt receipt = poll_one(&bob);
        ck_assert_uint_eq(receipt.delivery_count, count);
        if (count % 2 == 0)
            ck_assert(!nack_now(&bob, receipt, 0)->dead);
        else
            let_it_lapse(&bob, receipt);
        settle();
    }
    ck_assert_uint_eq(message_count("orders.dlq", 0), 0);
    ck_assert(nack_now(&bob, poll_one(&bob), 0)->dead);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
}
END_TEST

/* Its deadline passed, nobody else got it: a late nack is judged as one in time. */
START_TEST(late_nack_knows_the_members_bound)
{
    leave(&alice);
    bob.join.joiner.deliveries_max = 5;
    bob.join.joiner.visibility_us = 9 * WORLD_SECOND;
    join_now(&bob, 100);
    for (int i = 0; i < 3; i++)
        (void)nack_now(&bob, poll_one(&bob), 0);
    struct receipt receipt = poll_one(&bob);
    ck_assert_uint_eq(receipt.delivery_count, 4);
    let_it_lapse(&bob, receipt);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_EXPIRED);
    const struct resolve_request *nack = nack_now(&bob, receipt, -1);
    ck_assert_int_eq(nack->status, ST_OK);
    ck_assert(!nack->dead);
    ck_assert_int_eq(nack->next_us, world.now_us + 9 * WORLD_SECOND);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 0);
}
END_TEST

START_TEST(dead_letters_that_fail_again_are_dropped)
{
    (void)reject_now(&alice, poll_one(&alice));
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    bob.topics[0] = span_text("orders.dlq");
    join_now(&bob, 100);
    struct receipt receipt = poll_one(&bob);
    ck_assert(!begin_resolve(&bob, &bob.resolve, RESOLVE_REJECT, receipt, 0));
    ck_assert(job_entry()->job->drop);
    settle();
    ck_assert(bob.resolve.status == ST_OK && bob.resolve.dead && !bob.resolve.already);
    ck_assert_uint_eq(bob.resolve.dead_letter.size, 0);
    ck_assert(span_equal(bob.resolve.topic, span_text("orders.dlq")));
    ck_assert_ptr_null(machine_find_topic(world.machine, span_text("orders.dlq.dlq")));
    const struct topic *t = machine_find_topic(world.machine, span_text("orders.dlq"));
    ck_assert_uint_eq(t->totals.dropped, 1);
    ck_assert_uint_eq(poll_now(&bob, 10), 0);
    ck_assert(reject_now(&bob, receipt)->already);
    ck_assert_uint_eq(bob.resolve.dead_letter.size, 0);
}
END_TEST

START_TEST(reject_that_fails_can_be_repeated)
{
    struct receipt receipt = poll_one(&alice);
    ck_assert(!begin_resolve(&alice, &alice.resolve, RESOLVE_REJECT, receipt, 0));
    fail_job(ST_IO);
    ck_assert_int_eq(alice.resolves_done, 1);
    ck_assert_int_eq(alice.resolve.status, ST_IO);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_LEASED); /* it goes on */
    ck_assert_uint_eq(lease_of(0, 0)->id, receipt.lease_id);
    ck_assert_uint_eq(stats().in_flight, 1);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    const struct resolve_request *again = reject_now(&alice, receipt);
    ck_assert(again->status == ST_OK && !again->already && again->dead);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
}
END_TEST

START_TEST(failed_reject_ends_by_its_deadline)
{
    struct receipt receipt = poll_one(&alice);
    (void)begin_resolve(&alice, &alice.resolve, RESOLVE_REJECT, receipt, 0);
    fail_job(ST_QUOTA_EXCEEDED);
    ck_assert_int_eq(alice.resolve.status, ST_QUOTA_EXCEEDED);
    pass(29 * WORLD_SECOND);
    touch(&alice);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    pass(2 * WORLD_SECOND);
    ck_assert_uint_eq(poll_one(&alice).delivery_count, 2);
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_RECEIPT_EXPIRED);
}
END_TEST

START_TEST(passed_deadline_is_tried_again)
{
    for (int i = 0; i < 2; i++)
        (void)nack_now(&alice, poll_one(&alice), 0);
    let_it_lapse(&alice, poll_one(&alice));
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(jobs_under_way(), 1);
        fail_job(ST_IO);
        ck_assert_uint_eq(poll_now(&alice, 10), 0); /* it was the last delivery */
        touch(&alice);
        pass(29 * WORLD_SECOND);
        touch(&alice);
        ck_assert_uint_eq(jobs_under_way(), 0);
        world_pass(&world, 2 * WORLD_SECOND); /* another visibility timeout */
    }
    settle();
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(stats().in_flight, 0);
}
END_TEST

/* The deadline's dead letter cannot be made; the nack that came behind it counts as one of the last
 * delivery, not as a reject. */
START_TEST(nack_behind_a_deadline_that_fails)
{
    for (int i = 0; i < 2; i++)
        (void)nack_now(&alice, poll_one(&alice), 0);
    struct receipt receipt = poll_one(&alice);
    let_it_lapse(&alice, receipt);
    ck_assert(!begin_resolve(&alice, &alice.resolve, RESOLVE_NACK, receipt, 0));
    ck_assert_uint_eq(jobs_under_way(), 2);
    fail_job(ST_IO);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_SETTLING);
    ck_assert_int_eq(job_entry()->job->reason, DEAD_LETTER_MAX_RETRIES);
    settle();
    ck_assert(alice.resolve.status == ST_OK && alice.resolve.dead && !alice.resolve.already);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
}
END_TEST

START_TEST(rewind_after_a_dead_letter)
{
    for (int i = 0; i < 3; i++)
        (void)nack_now(&alice, poll_one(&alice), 0);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    ck_assert_int_eq(commit(&alice, 0, 0), ST_OK);
    struct receipt receipt = poll_one(&alice);
    ck_assert_uint_eq(receipt.delivery_count, 1); /* counts start over */
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_OK);
}
END_TEST

START_TEST(failure_after_the_member_left)
{
    struct receipt receipt = poll_one(&alice);
    (void)begin_resolve(&bob, &bob.resolve, RESOLVE_REJECT, receipt, 0);
    submit_leave(&alice);
    delay_job();
    while (world.journal_count > 1)
        ck_assert(world_apply(&world));
    fail_job(ST_IO);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_LEASED);
    ck_assert_ptr_null(lease_of(0, 0)->holder);
    ck_assert_int_eq(reject_now(&bob, receipt)->status, ST_OK);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
}
END_TEST

Suite *suite_delivery_end(void)
{
    Suite *suite = suite_create("delivery_end");
    TCase *tcase = tcase_create("delivery_end");
    tcase_add_checked_fixture(tcase, setup, clients_teardown);
    tcase_add_test(tcase, third_deadline_is_the_last);
    tcase_add_test(tcase, leave_at_the_last_delivery);
    tcase_add_test(tcase, eviction_at_the_last_delivery);
    tcase_add_test(tcase, members_own_bound_may_be_lower);
    tcase_add_test(tcase, members_own_bound_may_be_higher);
    tcase_add_test(tcase, late_nack_knows_the_members_bound);
    tcase_add_test(tcase, dead_letters_that_fail_again_are_dropped);
    tcase_add_test(tcase, reject_that_fails_can_be_repeated);
    tcase_add_test(tcase, failed_reject_ends_by_its_deadline);
    tcase_add_test(tcase, passed_deadline_is_tried_again);
    tcase_add_test(tcase, nack_behind_a_deadline_that_fails);
    tcase_add_test(tcase, rewind_after_a_dead_letter);
    tcase_add_test(tcase, failure_after_the_member_left);
    suite_add_tcase(suite, tcase);
    return suite;
}
