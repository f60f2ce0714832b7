#include "tests/unit/delivery_client.h"

Suite *suite_delivery(void);

START_TEST(joins_share_a_window)
{
    start_join(&alice, 100);
    world_pass(&world, 200000);
    start_join(&bob, 100);
    world_pass(&world, 200000);
    start_join(&carol, 100); /* the window is prolonged twice */
    world_pass(&world, 240000);
    world_settle(&world);
    ck_assert_int_eq(alice.joins_done + bob.joins_done + carol.joins_done, 0);
    world_pass(&world, 20000);
    world_settle(&world);
    ck_assert_int_eq(alice.joins_done + bob.joins_done + carol.joins_done, 3);
    ck_assert_uint_eq(alice.generation, 1);
    ck_assert_uint_eq(bob.generation, 1);
    ck_assert_uint_eq(carol.generation, 1);
    uint32_t shares = alice.join.result.join.joined[alice.join.index].assigned_count +
                      bob.join.result.join.joined[bob.join.index].assigned_count +
                      carol.join.result.join.joined[carol.join.index].assigned_count;
    ck_assert_uint_eq(shares, 2);
    ck_assert_uint_eq(alice.join.result.join.member_count, 3);
}
END_TEST

START_TEST(join_window_ends_after_a_second)
{
    static struct client many[8];
    for (int i = 0; i < 8; i++) {
        arena_init(&many[i].arena);
        snprintf(many[i].member_id, sizeof many[i].member_id, "m-%d", i);
        start_join(&many[i], 10);
        world_pass(&world, 200000);
    }
    world_settle(&world);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(many[i].joins_done, 1);
    world_pass(&world, 300000);
    world_settle(&world);
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(many[i].joins_done, 1);
        arena_fini(&many[i].arena);
    }
}
END_TEST

START_TEST(join_to_members_is_at_once)
{
    join_now(&alice, 100);
    start_join(&bob, 100);
    world_settle(&world);
    ck_assert_int_eq(bob.joins_done, 1);
    ck_assert_uint_eq(bob.generation, alice.generation + 1);
    /* alice has lost a partition and is told; with the new generation she is not. */
    alice.beat = (struct heartbeat_request){.group = span_text("workers"),
                                            .member_id = span_text("alice-1"),
                                            .generation = alice.generation,
                                            .arena = &alice.arena};
    delivery_heartbeat(world.delivery, &alice.beat, world.now_us);
    ck_assert_int_eq(alice.beat.status, ST_OK);
    ck_assert(alice.beat.rebalance_required);
    ck_assert_uint_eq(alice.beat.assigned_count, 1);
    alice.beat.generation = bob.generation;
    delivery_heartbeat(world.delivery, &alice.beat, world.now_us);
    ck_assert(!alice.beat.rebalance_required);
    alice.beat.generation = bob.generation + 1;
    delivery_heartbeat(world.delivery, &alice.beat, world.now_us);
    ck_assert(alice.beat.rebalance_required);
}
END_TEST

START_TEST(poll_delivers_once_and_ack_settles)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 3);
    world_publish(&world, "orders", 1, 2);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 5);
    ck_assert_uint_eq(alice.poll.run_count, 2);
    struct receipt first = receipt_of(&alice, 0, 0);
    ck_assert_uint_eq(first.delivery_count, 1);
    ck_assert_uint_eq(first.offset, 0);
    ck_assert_int_eq(alice.poll.runs[0].deadline_us, world.now_us + 30 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 100), 0);
    const struct acked *acked = ack_now(&alice, first);
    ck_assert_int_eq(acked->status, ST_OK);
    ck_assert(!acked->already);
    ck_assert(acked->advanced);
    ck_assert_uint_eq(acked->committed, 1);
    acked = ack_now(&alice, first);
    ck_assert_int_eq(acked->status, ST_OK);
    ck_assert(acked->already);
    ck_assert_uint_eq(acked->committed, 1);
    ck_assert_uint_eq(stats().in_flight, 4);
    ck_assert_uint_eq(stats().leases_total, 5);
}
END_TEST

START_TEST(partitions_take_turns)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 10);
    world_publish(&world, "orders", 1, 10);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    uint32_t first = alice.poll.runs[0].partition;
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(alice.poll.runs[0].partition, 1 - first);
    ck_assert_uint_eq(poll_now(&alice, 8), 8); /* an equal share of each */
    ck_assert_uint_eq(alice.poll.run_count, 2);
    ck_assert_uint_eq(alice.poll.runs[0].count, 4);
}
END_TEST

START_TEST(deadline_passed_delivers_again)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 2);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 2);
    struct receipt first = receipt_of(&alice, 0, 0);
    struct receipt second = receipt_of(&alice, 0, 1);
    world_pass(&world, 29 * WORLD_SECOND);
    delivery_touch(world.delivery, span_text("workers"), span_text("alice-1"), world.now_us);
    ck_assert_uint_eq(poll_now(&alice, 100), 0);
    world_pass(&world, 2 * WORLD_SECOND);
    /* Late, but nobody else got it. */
    ck_assert_int_eq(ack_now(&alice, first)->status, ST_OK);
    ck_assert_uint_eq(poll_now(&alice, 100), 1);
    struct receipt again = receipt_of(&alice, 0, 0);
    ck_assert_uint_eq(again.offset, 1);
    ck_assert_uint_eq(again.delivery_count, 2);
    ck_assert_int_eq(ack_now(&alice, second)->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(ack_now(&alice, again)->status, ST_OK);
    ck_assert(ack_now(&alice, second)->already); /* the message counts as done */
}
END_TEST

START_TEST(parked_poll_wakes_on_publish)
{
    join_now(&alice, 100);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    ck_assert_int_eq(alice.polls_done, 0);
    world_publish(&world, "orders", 1, 1);
    ck_assert_int_eq(alice.polls_done, 0);
    world_settle(&world);
    ck_assert_uint_eq(received(&alice), 1);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    world_pass(&world, 19 * WORLD_SECOND);
    ck_assert_int_eq(alice.polls_done, 0);
    world_pass(&world, WORLD_SECOND + 10000);
    ck_assert_uint_eq(received(&alice), 0);
}
END_TEST

START_TEST(parked_poll_of_a_lost_client_leases_nothing)
{
    join_now(&alice, 100);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    world.connected = false;
    world_publish(&world, "orders", 0, 1);
    world_settle(&world);
    ck_assert_uint_eq(received(&alice), 0);
    ck_assert_uint_eq(poll_now(&alice, 10), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 1);
}
END_TEST

START_TEST(in_flight_limit_parks_until_an_ack)
{
    join_now(&alice, 2);
    world_publish(&world, "orders", 0, 5);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 10), 2);
    struct receipt first = receipt_of(&alice, 0, 0);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    ck_assert_int_eq(alice.polls_done, 0);
    begin_ack(&bob, &first, 1);
    delivery_settle(world.delivery, world.now_us);
    ck_assert_int_eq(alice.polls_done, 0); /* not before it is durable */
    world_settle(&world);
    ck_assert_uint_eq(received(&alice), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 2);
}
END_TEST

START_TEST(parked_polls_per_member_are_bounded)
{
    join_now(&alice, 100);
    enum { COUNT = 70 };
    static struct client polls[COUNT];
    int done = 0;
    for (int i = 0; i < COUNT; i++) {
        memcpy(polls[i].member_id, alice.member_id, sizeof alice.member_id);
        start_poll(&polls[i], 1, 20 * WORLD_SECOND);
    }
    for (int i = 0; i < COUNT; i++)
        done += polls[i].polls_done;
    ck_assert_int_eq(done, COUNT - 64);
    ck_assert_int_eq(polls[0].polls_done, 1);
    ck_assert_int_eq(polls[COUNT - 1].polls_done, 0);
    world_publish(&world, "orders", 0, 1);
    world_settle(&world);
    ck_assert_int_eq(polls[COUNT - 64].polls_done, 1); /* the oldest first */
    ck_assert_uint_eq(received(&polls[COUNT - 64]), 1);
    delivery_drain(world.delivery);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(polls[i].polls_done, 1);
        arena_fini(&polls[i].arena);
    }
}
END_TEST

START_TEST(leave_releases_at_once)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 2);
    world_publish(&world, "orders", 1, 2);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 4);
    struct receipt old = receipt_of(&alice, 0, 0);
    start_join(&bob, 100);
    world_settle(&world);
    start_poll(&bob, 100, 20 * WORLD_SECOND);
    ck_assert_int_eq(bob.polls_done, 0); /* in flight with alice, also what is bob's now */
    leave(&alice);
    ck_assert_uint_eq(received(&bob), 4);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).delivery_count, 2);
    ck_assert_int_eq(ack_now(&alice, old)->status, ST_RECEIPT_EXPIRED);
    start_poll(&alice, 1, 0);
    ck_assert_int_eq(alice.poll.status, ST_MEMBER_NOT_FOUND);
}
END_TEST

START_TEST(session_ends_without_a_sign_of_life)
{
    join_now(&alice, 100);
    start_poll(&alice, 10, 60 * WORLD_SECOND);
    world_pass(&world, 35 * WORLD_SECOND); /* parked: alive */
    world_settle(&world);
    world_pass(&world, 26 * WORLD_SECOND);
    ck_assert_uint_eq(received(&alice), 0);
    world_pass(&world, 29 * WORLD_SECOND);
    world_settle(&world);
    const struct group *group = machine_find_group(world.machine, span_text("workers"));
    ck_assert_uint_eq(group->member_count, 1);
    world_pass(&world, 2 * WORLD_SECOND);
    world_pass(&world, 60 * WORLD_SECOND); /* the leave is submitted once */
    world_settle(&world);
    ck_assert_uint_eq(group->member_count, 0);
    ck_assert_uint_eq(stats().sessions_expired_total, 1);
}
END_TEST

START_TEST(commit_moves_both_ways)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 10);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 6), 6);
    struct receipt second = receipt_of(&alice, 0, 1);
    struct receipt last = receipt_of(&alice, 0, 5);
    ck_assert_int_eq(commit(&alice, 0, 3), ST_OK);
    ck_assert(ack_now(&alice, second)->already);
    ck_assert_int_eq(ack_now(&alice, last)->status, ST_OK);
    ck_assert_int_eq(commit(&alice, 0, 0), ST_OK);
    ck_assert_uint_eq(poll_now(&alice, 100), 10);
    ck_assert_int_eq(ack_now(&alice, last)->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(commit(&alice, 0, 50), ST_OK); /* beyond the end */
    world_publish(&world, "orders", 0, 10);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 0);
}
END_TEST

START_TEST(rewind_while_an_ack_is_on_its_way)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 3);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 3);
    struct receipt receipt = receipt_of(&alice, 0, 0);
    begin_ack(&alice, &receipt, 1);
    submit_commit(&alice, 0, 0);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 3); /* the commit came last */
}
END_TEST

START_TEST(receipt_of_an_earlier_run_still_acks)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 3);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 3);
    struct receipt receipt = receipt_of(&alice, 0, 1);
    struct receipt beyond = receipt;
    beyond.offset = 3;
    world_restart(&world, 42);
    begin_ack(&bob, &receipt, 1);
    ck_assert_uint_eq(bob.ack.command.ack.entry_count, 1);
    ck_assert_uint_eq(poll_now(&alice, 100), 2); /* not handed out while the ack is on its way */
    ck_assert_uint_eq(receipt_of(&alice, 0, 1).offset, 2);
    world_settle(&world);
    ck_assert_int_eq(bob.ack.acked[0].status, ST_OK);
    ck_assert_uint_eq(bob.ack.in_flight[0], 2);
    ck_assert_int_eq(ack_now(&alice, beyond)->status, ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(poll_now(&alice, 100), 0);
}
END_TEST

START_TEST(one_receipt_twice_in_a_batch)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 3);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 3);
    struct receipt batch[4] = {receipt_of(&alice, 0, 0), receipt_of(&alice, 0, 0),
                               receipt_of(&alice, 0, 2), receipt_of(&alice, 0, 1)};
    batch[3].topic_id += 1000;
    begin_ack(&alice, batch, 4);
    struct receipt same = batch[0];
    begin_ack(&bob, &same, 1); /* another request with it, before the first is durable */
    ck_assert_uint_eq(bob.ack.command.ack.entry_count, 1);
    world_settle(&world);
    ck_assert(!alice.ack.acked[0].already);
    ck_assert(alice.ack.acked[1].already);
    ck_assert(!alice.ack.acked[2].already);
    ck_assert_int_eq(alice.ack.acked[3].status, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(bob.ack.acked[0].status, ST_OK);
    ck_assert(bob.ack.acked[0].already);
    ck_assert_uint_eq(bob.ack.in_flight[0], 1);
}
END_TEST

START_TEST(unwritten_answer_is_not_counted)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 1);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 1);
    struct receipt receipt = receipt_of(&alice, 0, 0);
    delivery_release(world.delivery, &receipt, 1, world.now_us);
    delivery_release(world.delivery, &receipt, 1, world.now_us); /* again: nothing */
    delivery_check(world.delivery);
    ck_assert_uint_eq(poll_now(&alice, 100), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 1);
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_RECEIPT_EXPIRED);
}
END_TEST

START_TEST(deletions_answer_parked_polls)
{
    join_now(&alice, 100);
    world_publish(&world, "orders", 0, 1);
    world_settle(&world);
    ck_assert_uint_eq(poll_now(&alice, 100), 1);
    struct receipt receipt = receipt_of(&alice, 0, 0);
    begin_ack(&bob, &receipt, 1);
    start_poll(&alice, 1, 20 * WORLD_SECOND);
    struct command topic = {.type = COMMAND_TOPIC_DELETE,
                            .topic_delete = {.name = span_text("orders")}};
    world_submit(&world, &topic);
    world_settle(&world);
    ck_assert_int_eq(bob.ack.acked[0].status, ST_OK); /* it came first */
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(alice.polls_done, 0);
    struct command group = {.type = COMMAND_GROUP_DELETE,
                            .group_delete = {.group = span_text("workers")}};
    world_submit(&world, &group);
    world_settle(&world);
    ck_assert_int_eq(alice.polls_done, 1);
    ck_assert_int_eq(alice.poll.status, ST_GROUP_NOT_FOUND);
}
END_TEST

Suite *suite_delivery(void)
{
    Suite *suite = suite_create("delivery");
    TCase *tcase = tcase_create("delivery");
    tcase_add_checked_fixture(tcase, clients_setup, clients_teardown);
    tcase_add_test(tcase, joins_share_a_window);
    tcase_add_test(tcase, join_window_ends_after_a_second);
    tcase_add_test(tcase, join_to_members_is_at_once);
    tcase_add_test(tcase, poll_delivers_once_and_ack_settles);
    tcase_add_test(tcase, partitions_take_turns);
    tcase_add_test(tcase, deadline_passed_delivers_again);
    tcase_add_test(tcase, parked_poll_wakes_on_publish);
    tcase_add_test(tcase, parked_poll_of_a_lost_client_leases_nothing);
    tcase_add_test(tcase, in_flight_limit_parks_until_an_ack);
    tcase_add_test(tcase, parked_polls_per_member_are_bounded);
    tcase_add_test(tcase, leave_releases_at_once);
    tcase_add_test(tcase, session_ends_without_a_sign_of_life);
    tcase_add_test(tcase, commit_moves_both_ways);
    tcase_add_test(tcase, rewind_while_an_ack_is_on_its_way);
    tcase_add_test(tcase, receipt_of_an_earlier_run_still_acks);
    tcase_add_test(tcase, one_receipt_twice_in_a_batch);
    tcase_add_test(tcase, unwritten_answer_is_not_counted);
    tcase_add_test(tcase, deletions_answer_parked_polls);
    suite_add_tcase(suite, tcase);
    return suite;
}
