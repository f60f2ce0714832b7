/* Keys that are out at a partition's last owner; and the keys that are asked for. */
#include <check.h>

#include "delivery/waiting.h"
#include "tests/unit/key_client.h"

Suite *suite_key_handover(void);

/* alice had both partitions and `taken` messages of each, then bob joined. Gives his partition. */
static uint32_t hand_over(const char *keys, const char *taken)
{
    join_as(&alice, ORDERING_UNSET);
    send(0, PRIORITY_NORMAL, 0, keys);
    send(1, PRIORITY_NORMAL, 0, keys);
    ck_assert_uint_eq(poll_now(&alice, (uint32_t)strlen(taken) * 2), strlen(taken) * 2);
    join_as(&bob, ORDERING_UNSET);
    settle();
    return group_partition("orders", 0)->owner == alice_member() ? 1 : 0;
}

START_TEST(keys_out_at_the_last_owner_are_held_back)
{
    const uint32_t moved = hand_over("abab.c", "ab");
    expect(&bob, "4 5");
    ck_assert_uint_eq(stats().held_back, 2);
    expect(&alice, "2 3 4 5"); /* nothing has changed for her */
    ck_assert_int_eq(ack_now(&alice, at(moved, 0))->status, ST_OK);
    expect(&bob, "2");
    live(31 * WORLD_SECOND); /* her other one expires: it holds nothing back any more */
    ck_assert_uint_eq(stats().held_back, 0);
    ck_assert_ptr_null(lease_of(moved, 1)->readout->keys);
    start_poll(&bob, MANY, 0);
    ck_assert_uint_eq(received(&bob), 5);
}
END_TEST

START_TEST(an_earlier_message_does_not_wait_for_a_later_one_at_the_last_owner)
{
    const uint32_t moved = hand_over("aaa", "aa");
    nack_now(&alice, at(moved, 0), 0);
    expect(&bob, "0"); /* 1 is still out, but later */
    expect(&bob, "");
    ck_assert_int_eq(ack_now(&alice, at(moved, 1))->status, ST_OK);
    expect(&bob, "2");
}
END_TEST

START_TEST(a_partition_that_comes_back_holds_nothing_back)
{
    const uint32_t moved = hand_over("aab", "a");
    expect(&bob, "2");
    expect(&bob, "");
    ck_assert_int_eq(state_of(moved, 1), LEASE_HELD);
    ck_assert_int_eq(ack_now(&bob, at(moved, 2))->status, ST_OK);
    leave(&bob);
    ck_assert_int_eq(state_of(moved, 1), LEASE_RELEASED);
    ck_assert_ptr_null(lease_of(moved, 1)->readout->keys);
    ck_assert_uint_eq(poll_now(&alice, MANY), 3); /* 1 of it, 1 and 2 of the other */
}
END_TEST

START_TEST(a_partition_moves_on_while_keys_are_out)
{
    const uint32_t moved = hand_over("aabb", "a");
    expect(&bob, "2 3");
    leave(&alice); /* hers come back; bob's are not foreign */
    ck_assert_ptr_null(lease_of(moved, 2)->readout->keys);
    join_as(&carol, ORDERING_UNSET);
    settle();
    const struct group_partition *gp = group_partition("orders", moved);
    ck_assert_uint_gt(poll_now(span_equal(gp->owner->id, span_text("carol-1")) ? &carol : &bob, 9),
                      0);
    delivery_check(world.delivery);
}
END_TEST

START_TEST(ordering_holds_across_a_hand_over)
{
    const uint32_t moved = hand_over("aabb.", "a");
    reorder(&alice, ORDERING_KEY);
    expect(&bob, "2 4");
    reorder(&alice, ORDERING_NONE); /* hers is still out over there */
    expect(&bob, "3");
    ck_assert_int_eq(ack_now(&alice, at(moved, 0))->status, ST_OK);
    expect(&bob, "1");
}
END_TEST

START_TEST(only_the_keys_of_what_is_foreign_are_asked_for)
{
    join_as(&alice, ORDERING_UNSET);
    send(0, PRIORITY_NORMAL, 0, "abcda");
    send(1, PRIORITY_NORMAL, 0, "abcda");
    ck_assert_uint_eq(poll_now(&alice, 8), 8);
    for (uint32_t p = 0; p < 2; p++)
        for (uint64_t offset = 1; offset < 4; offset++)
            nack_now(&alice, at(p, offset), 0);
    join_as(&bob, ORDERING_UNSET);
    settle();
    world.keys_per_job = 1;
    const uint32_t jobs = world.keys_jobs_total;
    start_poll(&bob, 1, 0);
    ck_assert_uint_eq(received(&bob), 1);
    ck_assert_uint_eq(message_of(&bob, 0, 0)->offset, 1);
    ck_assert_uint_le(world.keys_jobs_total - jobs, 3); /* of 0, of 1 and perhaps of the next */
}
END_TEST

START_TEST(a_poll_that_is_not_to_wait_waits_for_keys)
{
    world.keys_are_slow = true;
    send(0, PRIORITY_NORMAL, 0, "aa");
    join_as(&alice, ORDERING_KEY);
    start_poll(&alice, 10, 0);
    ck_assert_int_eq(alice.polls_done, 0);
    ck_assert(world_answer_keys(&world));
    settle();
    ck_assert_uint_eq(received(&alice), 1);
    ck_assert_uint_eq(poll_now(&alice, 10), 0); /* known: nothing */
    ck_assert(!world_answer_keys(&world));
}
END_TEST

START_TEST(keys_that_tell_there_is_nothing_answer_an_empty_poll)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aa");
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    settle();
    world.keys_are_slow = true;
    crash(4711); /* 0 is out, its key is to be asked for */
    start_poll(&alice, 10, 0);
    ck_assert_int_eq(alice.polls_done, 0);
    int answers = 0;
    for (; alice.polls_done == 0 && world_answer_keys(&world); answers++)
        settle();
    ck_assert_int_gt(answers, 0);
    ck_assert_uint_eq(received(&alice), 0);
}
END_TEST

START_TEST(a_poll_waits_for_keys_no_longer_than_this)
{
    world.keys_are_slow = true;
    send(0, PRIORITY_NORMAL, 0, "aa");
    join_as(&alice, ORDERING_KEY);
    start_poll(&alice, 10, 0);
    ck_assert_int_eq(alice.polls_done, 0);
    live(POLL_FOR_KEYS_US + 2000);
    ck_assert_uint_eq(received(&alice), 0);
    start_poll(&alice, 10, 0);
    ck_assert_int_eq(alice.polls_done, 0);
    delivery_drain(world.delivery);
    ck_assert_uint_eq(received(&alice), 0);
    ck_assert(world_answer_keys(&world)); /* comes after the end, and harms nobody */
}
END_TEST

START_TEST(keys_come_back_to_a_partition_that_is_gone)
{
    world.keys_are_slow = true;
    send(0, PRIORITY_NORMAL, 0, "aa");
    join_as(&alice, ORDERING_KEY);
    start_poll(&alice, 10, 0);
    struct command cmd = {.type = COMMAND_TOPIC_DELETE,
                          .topic_delete = {.name = span_text("orders")}};
    world_submit(&world, &cmd);
    settle();
    ck_assert_int_eq(alice.polls_done, 1);
    ck_assert(world_answer_keys(&world));
    settle();
}
END_TEST

START_TEST(keys_come_back_after_a_commit_and_a_switch)
{
    world.keys_are_slow = true;
    world.keys_per_job = 3;
    send(0, PRIORITY_NORMAL, 0, "aabbccaa");
    join_as(&alice, ORDERING_KEY);
    start_poll(&alice, 10, 10 * WORLD_SECOND);
    ck_assert_int_eq(commit(&alice, 0, 5), ST_OK);
    ck_assert(world_answer_keys(&world)); /* of 0, but it is at 5 now */
    settle();
    ck_assert(world_answer_keys(&world));
    settle();
    ck_assert_uint_eq(received(&alice), 2);
    ck_assert_uint_eq(message_of(&alice, 0, 0)->offset, 5);
    ck_assert_int_eq(commit(&alice, 0, 0), ST_OK);
    start_poll(&alice, 10, 10 * WORLD_SECOND);
    reorder(&alice, ORDERING_NONE);
    reorder(&alice, ORDERING_KEY); /* a job of the one before is under way */
    while (world_answer_keys(&world))
        settle();
    ck_assert_uint_gt(received(&alice), 0);
}
END_TEST

Suite *suite_key_handover(void)
{
    Suite *s = suite_create("key_handover");
    TCase *tc = tcase_create("key_handover");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, clients_setup, clients_teardown);
    tcase_add_test(tc, keys_out_at_the_last_owner_are_held_back);
    tcase_add_test(tc, an_earlier_message_does_not_wait_for_a_later_one_at_the_last_owner);
    tcase_add_test(tc, a_partition_that_comes_back_holds_nothing_back);
    tcase_add_test(tc, a_partition_moves_on_while_keys_are_out);
    tcase_add_test(tc, ordering_holds_across_a_hand_over);
    tcase_add_test(tc, only_the_keys_of_what_is_foreign_are_asked_for);
    tcase_add_test(tc, a_poll_that_is_not_to_wait_waits_for_keys);
    tcase_add_test(tc, keys_that_tell_there_is_nothing_answer_an_empty_poll);
    tcase_add_test(tc, a_poll_waits_for_keys_no_longer_than_this);
    tcase_add_test(tc, keys_come_back_to_a_partition_that_is_gone);
    tcase_add_test(tc, keys_come_back_after_a_commit_and_a_switch);
    suite_add_tcase(s, tc);
    return s;
}
