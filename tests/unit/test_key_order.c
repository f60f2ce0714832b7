/* One message of a key at a time. */
#include <check.h>

#include "tests/unit/key_client.h"

Suite *suite_key_order(void);

START_TEST(one_of_a_key_is_out_at_a_time)
{
    join_as(&alice, ORDERING_KEY);
    expect(&alice, "");
    send(0, PRIORITY_NORMAL, 0, "aab.ab.");
    expect(&alice, "0 2 3 6");
    expect(&alice, "");
    ck_assert_uint_eq(stats().held_back, 3);
    ck_assert_uint_eq(stats().waiting, 0);
    ck_assert_uint_eq(stats().in_flight, 4);
    done(0);
    expect(&alice, "1");
    done(2);
    done(1);
    expect(&alice, "4 5");
    ck_assert_uint_eq(stats().held_back, 0);
    ck_assert_uint_eq(world.keys_jobs_total, 0); /* it kept up */
}
END_TEST

START_TEST(a_settling_message_still_holds_its_key)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aa");
    expect(&alice, "0");
    alice.ack_receipt = at(0, 0);
    begin_ack(&alice, &alice.ack_receipt, 1);
    expect(&alice, "");
    settle();
    expect(&alice, "1");
}
END_TEST

START_TEST(a_nacked_message_is_waited_for)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aab");
    expect(&alice, "0 2");
    nack_now(&alice, at(0, 0), 10 * WORLD_SECOND);
    expect(&alice, "");
    live(11 * WORLD_SECOND);
    expect(&alice, "0");
    ck_assert_uint_eq(lease_of(0, 0)->delivery_count, 2);
    nack_now(&alice, at(0, 0), 0);
    expect(&alice, "0");
    ck_assert_int_eq(reject_now(&alice, at(0, 0))->status, ST_OK); /* a dead letter is done */
    expect(&alice, "1");
}
END_TEST

START_TEST(a_message_comes_again_before_the_next_of_its_key)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aab");
    expect(&alice, "0 2");
    live(31 * WORLD_SECOND);
    ck_assert_int_eq(state_of(0, 0), LEASE_EXPIRED);
    expect(&alice, "0 2");
    ck_assert_int_eq(state_of(0, 1), LEASE_HELD);
    done(0);
    expect(&alice, "1");
}
END_TEST

START_TEST(a_late_ack_frees_the_key)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aa");
    expect(&alice, "0");
    const struct receipt late = at(0, 0);
    live(31 * WORLD_SECOND);
    ck_assert_int_eq(state_of(0, 0), LEASE_EXPIRED);
    ck_assert_int_eq(ack_now(&alice, late)->status, ST_OK);
    expect(&alice, "1");
}
END_TEST

START_TEST(a_leaver_gives_back_in_order)
{
    start_join(&alice, MANY);
    bob.join.joiner.ordering = ORDERING_KEY;
    join_now(&bob, MANY);
    settle();
    send(0, PRIORITY_NORMAL, 0, "aaa");
    send(1, PRIORITY_NORMAL, 0, "aaa");
    ck_assert_uint_eq(poll_now(&alice, 10), 1);
    ck_assert_uint_eq(poll_now(&bob, 10), 1);
    leave(&bob);
    ck_assert_uint_eq(poll_now(&alice, 10), 1); /* what bob had */
    ck_assert_uint_eq(message_of(&alice, 0, 0)->offset, 0);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
}
END_TEST

START_TEST(an_answer_that_was_not_written_counts_for_nothing)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aa");
    expect(&alice, "0");
    const struct receipt back = at(0, 0);
    delivery_release(world.delivery, &back, 1, world.now_us);
    settle();
    send(0, PRIORITY_CRITICAL, 0, "a"); /* may go first, as nobody has got the other one */
    expect(&alice, "2");
    ck_assert_int_eq(state_of(0, 0), LEASE_HELD);
    done(2);
    expect(&alice, "0");
    ck_assert_uint_eq(lease_of(0, 0)->delivery_count, 1);
}
END_TEST

START_TEST(priorities_come_first_among_the_held)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_LOW, 0, "aa");
    expect(&alice, "0");
    send(0, PRIORITY_CRITICAL, 0, "aa");
    expect(&alice, "");
    done(0);
    expect(&alice, "2");
    done(2);
    expect(&alice, "3");
    done(3);
    settle(); /* 1 is let go, but its turn has not come */
    ck_assert_int_eq(state_of(0, 1), LEASE_RELEASED);
    send(0, PRIORITY_HIGH, 0, "aa");
    expect(&alice, "4");
    ck_assert_int_eq(state_of(0, 1), LEASE_HELD);
    expect(&alice, "");
    done(4);
    expect(&alice, "5");
    done(5);
    expect(&alice, "1");
}
END_TEST

START_TEST(delayed_messages_take_their_place)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 5 * WORLD_SECOND, "ab");
    send(0, PRIORITY_NORMAL, 0, "aaa");
    expect(&alice, "2");
    live(6 * WORLD_SECOND);
    expect(&alice, "1");
    done(2);
    expect(&alice, "0");
    done(0);
    expect(&alice, "3");
}
END_TEST

START_TEST(late_messages_whose_keys_are_not_at_hand_are_asked_for)
{
    send(0, PRIORITY_NORMAL, 5 * WORLD_SECOND, "ab");
    join_as(&alice, ORDERING_KEY);
    world.keys_per_job = 2;
    send(0, PRIORITY_NORMAL, 0, "aaccdd");
    expect(&alice, "2 4 6");
    live(6 * WORLD_SECOND);
    expect(&alice, "1");
    done(2);
    expect(&alice, "0");
}
END_TEST

START_TEST(a_commit_back_begins_anew)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aaab");
    expect(&alice, "0 3");
    done(0);
    expect(&alice, "1");
    alice.ack_receipt = at(0, 1);
    begin_ack(&alice, &alice.ack_receipt, 1); /* under way while the commit comes */
    ck_assert_int_eq(commit(&alice, 0, 0), ST_OK);
    settle();
    expect(&alice, "0 3");
    done(0);
    ck_assert_int_eq(commit(&alice, 0, 2), ST_OK);
    settle();
    expect(&alice, "2");
    ck_assert_int_eq(commit(&alice, 0, 4), ST_OK);
    settle();
    ck_assert_uint_eq(stats().held_back, 0);
    ck_assert_uint_eq(stats().in_flight, 0);
}
END_TEST

START_TEST(a_restart_asks_for_the_keys_of_what_is_out)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aabb.");
    expect(&alice, "0 2 4");
    settle();
    const struct receipt a = at(0, 0), b = at(0, 2);
    nack_now(&alice, b, 20 * WORLD_SECOND);
    crash(4711);
    world.keys_per_job = 1;
    const uint32_t jobs = world.keys_jobs_total;
    expect(&alice, "");
    ck_assert_uint_gt(world.keys_jobs_total, jobs);
    ck_assert_int_eq(ack_now(&alice, a)->status, ST_OK);
    expect(&alice, "1");
    live(21 * WORLD_SECOND);
    expect(&alice, "2");
}
END_TEST

START_TEST(a_receipt_of_the_last_run_is_good_for_a_held_message)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aab");
    expect(&alice, "0 2");
    settle();
    done(0);
    expect(&alice, "1");
    const struct receipt lost = at(0, 1); /* its LEASE command gets lost */
    crash(4711);
    send(0, PRIORITY_CRITICAL, 0, "a");
    expect(&alice, "3");
    expect(&alice, "");
    ck_assert_int_eq(state_of(0, 1), LEASE_HELD);
    struct receipt wrong = lost;
    wrong.lease_id = 4711; /* of this run, of another message */
    ck_assert_int_eq(ack_now(&alice, wrong)->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(ack_now(&alice, lost)->status, ST_OK);
    ck_assert_ptr_null(lease_of(0, 1));
    ck_assert_int_eq(ack_now(&alice, lost)->already, true);
}
END_TEST

START_TEST(many_messages_of_few_keys_come_in_order)
{
    char keys[MANY + 1] = "";
    for (int i = 0; i < MANY; i++)
        keys[i] = (char)('a' + (i * 7 + i / 13) % 5);
    world.keys_per_job = 100;
    send(0, PRIORITY_NORMAL, 0, keys);
    join_as(&alice, ORDERING_KEY);
    uint64_t next[5] = {0};
    for (int got = 0; got < MANY;) {
        const uint32_t count = poll_now(&alice, MANY);
        ck_assert_uint_gt(count, 0);
        ck_assert_uint_le(count, 5);
        for (uint32_t i = 0; i < count; i++) {
            const uint64_t offset = message_of(&alice, 0, i)->offset;
            uint64_t *first = &next[keys[offset] - 'a'];
            while (keys[*first] != keys[offset])
                ++*first;
            ck_assert_uint_eq(offset, *first);
            ++*first;
        }
        uint64_t offsets[5];
        for (uint32_t i = 0; i < count; i++)
            offsets[i] = message_of(&alice, 0, i)->offset;
        for (uint32_t i = 0; i < count; i++)
            done(offsets[i]);
        got += (int)count;
    }
    ck_assert_uint_eq(stats().held_back, 0);
}
END_TEST

START_TEST(so_many_are_held_back_and_no_more)
{
    enum { BEFORE = HELD_PER_READOUT_MAX + 3 };
    char *keys = alloc_bytes(BEFORE + 2);
    memset(keys, 'a', BEFORE);
    memcpy(keys + BEFORE, "b", 2);
    send(0, PRIORITY_NORMAL, 0, keys);
    free(keys);
    join_as(&alice, ORDERING_KEY);
    expect(&alice, "0");
    expect(&alice, "");
    ck_assert_uint_eq(stats().held_back, HELD_PER_READOUT_MAX);
    done(0);
    expect(&alice, "1");
    start_poll(&alice, MANY, 10 * WORLD_SECOND);
    ck_assert_int_eq(alice.polls_done, 0);
    ck_assert_int_eq(commit(&alice, 0, 3), ST_OK); /* frees two places, and moves on */
    settle();
    ck_assert_uint_eq(received(&alice), 2);
    ck_assert_uint_eq(message_of(&alice, 0, 0)->offset, 3);
    ck_assert_uint_eq(message_of(&alice, 0, 1)->offset, BEFORE);
    ck_assert_uint_le(stats().held_back, HELD_PER_READOUT_MAX);
}
END_TEST

START_TEST(a_stopped_lane_goes_on_when_there_is_room)
{
    enum { BEFORE = HELD_PER_READOUT_MAX + 1 };
    char *keys = alloc_bytes(BEFORE + 3);
    memset(keys, 'a', BEFORE);
    memcpy(keys + BEFORE, "ab", 3);
    send(0, PRIORITY_NORMAL, 0, keys);
    free(keys);
    join_as(&alice, ORDERING_KEY);
    expect(&alice, "0");
    const struct receipt receipt = at(0, 0);
    expect(&alice, "");
    start_poll(&alice, 1, 10 * WORLD_SECOND);
    ck_assert_int_eq(alice.polls_done, 0);
    bob.ack_receipt = receipt;
    begin_ack(&bob, &bob.ack_receipt, 1);
    settle();
    ck_assert_uint_eq(received(&alice), 1);
    ck_assert_uint_eq(message_of(&alice, 0, 0)->offset, 1);
    expect(&alice, "16386");
}
END_TEST

START_TEST(a_stopped_lane_goes_on_when_another_key_is_free)
{
    char *keys = alloc_zero(HELD_PER_READOUT_MAX + 4);
    memset(keys, 'a', HELD_PER_READOUT_MAX + 2);
    keys[0] = 'b';
    keys[HELD_PER_READOUT_MAX + 2] = 'b'; /* there is no room for it among the held */
    send(0, PRIORITY_NORMAL, 0, keys);
    free(keys);
    join_as(&alice, ORDERING_KEY);
    expect(&alice, "0 1");
    ck_assert_uint_eq(stats().held_back, HELD_PER_READOUT_MAX);
    start_poll(&alice, 1, 10 * WORLD_SECOND);
    ck_assert_int_eq(alice.polls_done, 0);
    bob.ack_receipt = at(0, 0);
    begin_ack(&bob, &bob.ack_receipt, 1);
    settle();
    ck_assert_uint_eq(received(&alice), 1);
    ck_assert_uint_eq(message_of(&alice, 0, 0)->offset, HELD_PER_READOUT_MAX + 2);
}
END_TEST

/* What is appended is kept while there is room, and taken for what it is afterwards. */
START_TEST(who_does_not_keep_up_gets_the_right_keys)
{
    enum { BEFORE = KEYS_PER_JOB_MAX + 400 };
    join_as(&alice, ORDERING_KEY);
    expect(&alice, "");
    char *keys = alloc_zero(BEFORE + 1);
    memset(keys, '.', BEFORE);
    send(0, PRIORITY_NORMAL, 0, keys);
    free(keys);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(poll_now(&alice, MANY), MANY);
    send(0, PRIORITY_NORMAL, 0, "ab");
    while (poll_now(&alice, MANY) > 0)
        send(0, PRIORITY_NORMAL, 0, "c");
    ck_assert_int_eq(state_of(0, BEFORE), LEASE_LEASED);
    ck_assert_int_eq(state_of(0, BEFORE + 1), LEASE_LEASED);
    for (uint64_t offset = 0; offset <= BEFORE + 1; offset++)
        ck_assert_uint_eq(lease_of(0, offset)->key,
                          offset < BEFORE ? KEY_NONE
                                          : key_hash(span_text(offset == BEFORE ? "a" : "b")));
}
END_TEST

START_TEST(switching_on_orders_what_is_out_already)
{
    join_as(&alice, ORDERING_UNSET);
    send(0, PRIORITY_NORMAL, 0, "aaab");
    expect(&alice, "0 1 2 3");
    reorder(&alice, ORDERING_KEY);
    nack_now(&alice, at(0, 0), 0);
    nack_now(&alice, at(0, 1), 0);
    const struct receipt second = at(0, 1);
    expect(&alice, ""); /* 2 is out */
    ck_assert_int_eq(state_of(0, 0), LEASE_HELD);
    ck_assert_int_eq(state_of(0, 1), LEASE_HELD);
    ck_assert_int_eq(ack_now(&alice, second)->status, ST_RECEIPT_EXPIRED);
    done(2);
    expect(&alice, "0");
    done(0);
    expect(&alice, "1");
}
END_TEST

START_TEST(an_expired_message_may_have_to_wait_for_another_of_its_key)
{
    join_as(&alice, ORDERING_UNSET);
    send(0, PRIORITY_NORMAL, 0, "aa");
    expect(&alice, "0 1");
    reorder(&alice, ORDERING_KEY);
    ck_assert_int_eq(extend_now(&alice, at(0, 1), 100 * WORLD_SECOND)->status, ST_OK);
    const struct receipt first = at(0, 0);
    live(31 * WORLD_SECOND);
    ck_assert_int_eq(state_of(0, 0), LEASE_EXPIRED);
    expect(&alice, "");
    ck_assert_int_eq(state_of(0, 0), LEASE_HELD);
    ck_assert_int_eq(ack_now(&alice, first)->status, ST_RECEIPT_EXPIRED);
    done(1);
    expect(&alice, "0");
    ck_assert_uint_eq(lease_of(0, 0)->delivery_count, 2);
}
END_TEST

START_TEST(switching_off_lets_all_go)
{
    join_as(&alice, ORDERING_KEY);
    send(0, PRIORITY_NORMAL, 0, "aaaa");
    expect(&alice, "0");
    expect(&alice, "");
    start_poll(&alice, 2, 10 * WORLD_SECOND);
    reorder(&alice, ORDERING_NONE);
    ck_assert_uint_eq(received(&alice), 2);
    ck_assert_uint_eq(message_of(&alice, 0, 0)->offset, 1);
    expect(&alice, "3");
    ck_assert_uint_eq(stats().held_back, 0);
    reorder(&alice, ORDERING_KEY); /* and on again, with all of them out */
    send(0, PRIORITY_NORMAL, 0, "ab");
    expect(&alice, "5");
}
END_TEST

Suite *suite_key_order(void)
{
    Suite *s = suite_create("key_order");
    TCase *tc = tcase_create("key_order");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, clients_setup, clients_teardown);
    tcase_add_test(tc, one_of_a_key_is_out_at_a_time);
    tcase_add_test(tc, a_settling_message_still_holds_its_key);
    tcase_add_test(tc, a_nacked_message_is_waited_for);
    tcase_add_test(tc, a_message_comes_again_before_the_next_of_its_key);
    tcase_add_test(tc, a_late_ack_frees_the_key);
    tcase_add_test(tc, a_leaver_gives_back_in_order);
    tcase_add_test(tc, an_answer_that_was_not_written_counts_for_nothing);
    tcase_add_test(tc, priorities_come_first_among_the_held);
    tcase_add_test(tc, delayed_messages_take_their_place);
    tcase_add_test(tc, late_messages_whose_keys_are_not_at_hand_are_asked_for);
    tcase_add_test(tc, a_commit_back_begins_anew);
    tcase_add_test(tc, a_restart_asks_for_the_keys_of_what_is_out);
    tcase_add_test(tc, a_receipt_of_the_last_run_is_good_for_a_held_message);
    tcase_add_test(tc, many_messages_of_few_keys_come_in_order);
    tcase_add_test(tc, so_many_are_held_back_and_no_more);
    tcase_add_test(tc, a_stopped_lane_goes_on_when_there_is_room);
    tcase_add_test(tc, a_stopped_lane_goes_on_when_another_key_is_free);
    tcase_add_test(tc, who_does_not_keep_up_gets_the_right_keys);
    tcase_add_test(tc, switching_on_orders_what_is_out_already);
    tcase_add_test(tc, an_expired_message_may_have_to_wait_for_another_of_its_key);
    tcase_add_test(tc, switching_off_lets_all_go);
    suite_add_tcase(s, tc);
    return s;
}
