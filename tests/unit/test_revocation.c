/* Hand-overs as delivery sees them: the deadline of those who do not let go, and what cooperative
 * members are told. */
#include "delivery/revocation.h"
#include "tests/unit/delivery_client.h"

Suite *suite_revocation(void);

static uint32_t commands_seen; /* GROUP_REVOKEs that were applied */

static void on_applied(void *user, const struct world_entry *entry)
{
    (void)user;
    if (entry->cmd.type != COMMAND_GROUP_REVOKE)
        return;
    ck_assert_int_eq(entry->status, ST_OK);
    commands_seen++;
}

static void join_cooperative(struct client *c)
{
    if (c->topics[0].size == 0)
        c->topics[0] = span_text("orders");
    c->joins_done = 0;
    c->join = (struct join_request){
        .group = span_text("workers"),
        .joiner = {.member_id = span_text(c->member_id),
                   .client_id = span_text("client"),
                   .topics = c->topics,
                   .topic_count = c->topics[1].size == 0 ? 1 : 2,
                   .session_us = 600 * WORLD_SECOND,
                   .in_flight_max = 10,
                   .cooperative = true},
        .arena = &c->arena,
        .done = on_join,
    };
    delivery_join(world.delivery, &c->join, world.now_us);
    pass(JOIN_WINDOW_US + 2000);
    ck_assert_int_eq(c->joins_done, 1);
    ck_assert_int_eq(c->join.result.join.joined[c->join.index].status, ST_OK);
}

static void heartbeat(struct client *c, int64_t generation)
{
    c->beat = (struct heartbeat_request){.group = span_text("workers"),
                                         .member_id = span_text(c->member_id),
                                         .generation = generation,
                                         .arena = &c->arena,
                                         .cooperative = true};
    delivery_heartbeat(world.delivery, &c->beat, world.now_us);
    ck_assert_int_eq(c->beat.status, ST_OK);
}

static void revoke(const struct client *c, const struct assigned *list, uint32_t count)
{
    struct revoked_entry entries[8];
    ck_assert_uint_le(count, 8);
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct revoked_entry){list[i].topic, list[i].partition};
    struct command cmd = {
        .type = COMMAND_GROUP_REVOKE,
        .group_revoke = {.group = span_text("workers"),
                         .member_id = span_text(c->member_id),
                         .entries = entries,
                         .entry_count = count,
                         .generation = -1},
    };
    world_submit(&world, &cmd);
    settle();
    ck_assert_int_eq(world.last_status, ST_OK);
}

static struct group *group(void)
{
    return machine_find_group(world.machine, span_text("workers"));
}

static const struct revocation_timer *timer(void)
{
    return group() == NULL ? NULL : group()->revocation;
}

/* "many" has four partitions; alice has them all, and is asked for two by bob's join. */
static int64_t asked_us;

static void setup(void)
{
    clients_setup();
    commands_seen = 0;
    world.applied = on_applied;
    create_topic("many", 4, WORLD_SETTINGS);
    alice.topics[0] = bob.topics[0] = carol.topics[0] = span_text("many");
    join_cooperative(&alice);
    ck_assert_ptr_null(timer());
    join_cooperative(&bob);
    asked_us = world.now_us;
    ck_assert_int_eq(group()->open_rebalances, 1);
    ck_assert_ptr_nonnull(timer());
    ck_assert(wheel_armed(&timer()->timer));
}

START_TEST(deadline_is_kept_once)
{
    pass(REVOCATION_TIMEOUT_US - 1);
    ck_assert_uint_eq(commands_seen, 0);
    ck_assert_uint_eq(group()->generation, 1);
    pass(2000); /* a tick of the wheel */
    ck_assert_uint_eq(commands_seen, 1);
    ck_assert(group()->generation == 2 && group()->open_rebalances == 0);
    ck_assert_uint_eq(group()->rebalances.revocation_timeouts, 2);
    ck_assert_ptr_null(timer());
    pass(2 * REVOCATION_TIMEOUT_US);
    ck_assert_uint_eq(commands_seen, 1);
}
END_TEST

/* The command is slow: nothing is asked for again meanwhile. */
START_TEST(timer_rests_while_its_command_is_under_way)
{
    world_pass(&world, REVOCATION_TIMEOUT_US + 2000);
    ck_assert_uint_eq(world.journal_count, 1);
    world_pass(&world, REVOCATION_TIMEOUT_US);
    ck_assert_uint_eq(world.journal_count, 1);
    ck_assert(!wheel_armed(&timer()->timer));
    settle();
    ck_assert_uint_eq(commands_seen, 1);
    ck_assert_ptr_null(timer());
}
END_TEST

START_TEST(letting_go_takes_the_timer_off)
{
    heartbeat(&alice, 1);
    ck_assert_uint_eq(alice.beat.to_revoke_count, 2);
    revoke(&alice, alice.beat.to_revoke, 1);
    ck_assert_ptr_nonnull(timer());
    revoke(&alice, alice.beat.to_revoke + 1, 1);
    ck_assert_ptr_null(timer());
    ck_assert_uint_eq(commands_seen, 2);
    pass(2 * REVOCATION_TIMEOUT_US);
    ck_assert_uint_eq(commands_seen, 2);
    ck_assert_uint_eq(group()->rebalances.failed, 0);
}
END_TEST

/* Two are asked for at one time, more at a later one: each set has a minute. */
START_TEST(timer_is_set_to_the_earliest)
{
    pass(20 * WORLD_SECOND);
    heartbeat(&alice, 1);
    revoke(&alice, alice.beat.to_revoke, 1);
    const int64_t second_us = world.now_us;
    struct command cmd = {.type = COMMAND_TOPIC_ADD_PARTITIONS,
                          .topic_add_partitions = {span_text("many"), 7}};
    world_submit(&world, &cmd);
    settle();
    join_cooperative(&carol); /* asks for one of those that are not asked for yet */
    int64_t first = INT64_MAX, last = 0;
    for (uint32_t i = 0; i < group()->partition_count; i++) {
        int64_t by_us = group()->partitions[i]->revoke_by_us;
        first = by_us > 0 && by_us < first ? by_us : first;
        last = by_us > last ? by_us : last;
    }
    ck_assert_int_lt(first, second_us + REVOCATION_TIMEOUT_US);
    ck_assert_int_gt(last, second_us + REVOCATION_TIMEOUT_US);
    uint32_t before = commands_seen;
    pass(first - world.now_us + 2000);
    ck_assert_uint_eq(commands_seen, before + 1);
    ck_assert(group()->open_rebalances > 0 && wheel_armed(&timer()->timer));
    pass(last - world.now_us + 2000);
    ck_assert_uint_eq(commands_seen, before + 2);
    ck_assert(group()->open_rebalances == 0 && timer() == NULL);
}
END_TEST

START_TEST(restart_keeps_the_deadline)
{
    pass(30 * WORLD_SECOND);
    world_stop(&world);
    world_reload(&world);
    ck_assert_ptr_null(timer());
    world_start(&world, 77);
    ck_assert(wheel_armed(&timer()->timer));
    pass(asked_us + REVOCATION_TIMEOUT_US - 1 - world.now_us);
    ck_assert_uint_eq(commands_seen, 0);
    pass(2000);
    ck_assert_uint_eq(commands_seen, 1);
    ck_assert_uint_eq(group()->open_rebalances, 0);
}
END_TEST

/* The broker was down when the time passed. */
START_TEST(deadline_that_passed_meanwhile_is_made_up_for)
{
    world_stop(&world);
    world.now_us += 2 * REVOCATION_TIMEOUT_US;
    world_start(&world, 77);
    pass(2000);
    ck_assert_uint_eq(commands_seen, 1);
    ck_assert_uint_eq(group()->open_rebalances, 0);
}
END_TEST

/* A command that did not become durable is submitted again by the next run. */
START_TEST(crash_before_the_command_counts)
{
    world_pass(&world, REVOCATION_TIMEOUT_US + 2000);
    ck_assert_uint_eq(world.journal_count, 1);
    crash(77);
    pass(2000);
    ck_assert_uint_eq(commands_seen, 1);
    ck_assert_uint_eq(group()->open_rebalances, 0);
}
END_TEST

START_TEST(deleted_group_has_no_deadline)
{
    struct command cmd = {.type = COMMAND_GROUP_DELETE,
                          .group_delete = {.group = span_text("workers")}};
    world_submit(&world, &cmd);
    settle();
    ck_assert_ptr_null(group());
    pass(2 * REVOCATION_TIMEOUT_US);
    ck_assert_uint_eq(commands_seen, 0);
}
END_TEST

/* The timer's command meets a group that is no more. */
START_TEST(group_is_deleted_before_the_command)
{
    struct command cmd = {.type = COMMAND_GROUP_DELETE,
                          .group_delete = {.group = span_text("workers")}};
    world_submit(&world, &cmd);
    world.applied = NULL;
    world_pass(&world, REVOCATION_TIMEOUT_US + 2000);
    ck_assert_uint_eq(world.journal_count, 2);
    settle();
    ck_assert_int_eq(world.last_status, ST_GROUP_NOT_FOUND);
}
END_TEST

START_TEST(owner_leaves_nothing_to_wait_for)
{
    leave(&alice);
    ck_assert_ptr_null(timer());
    heartbeat(&bob, 1);
    ck_assert(bob.beat.gained_count == 4 && !bob.beat.waits);
    pass(2 * REVOCATION_TIMEOUT_US);
    ck_assert_uint_eq(commands_seen, 0);
}
END_TEST

/* Who reads on is not cut short; who waits is served as soon as it may. */
START_TEST(messages_follow_their_partition)
{
    for (uint32_t i = 0; i < 4; i++)
        publish("many", i, PRIORITY_NORMAL, 0, 1);
    start_poll(&bob, 10, 200 * WORLD_SECOND);
    ck_assert_int_eq(bob.polls_done, 0);
    heartbeat(&alice, 1);
    revoke(&alice, alice.beat.to_revoke, 2);
    ck_assert_uint_eq(received(&bob), 2);
    ck_assert_uint_eq(poll_now(&alice, 10), 2);
}
END_TEST

START_TEST(owner_is_told_until_it_lets_go)
{
    for (int i = 0; i < 2; i++) {
        heartbeat(&alice, 1);
        ck_assert(alice.beat.to_revoke_count == 2 && alice.beat.assigned_count == 4);
        ck_assert(alice.beat.gained_count == 0 && alice.beat.member_cooperative);
        ck_assert(!alice.beat.waits && !alice.beat.rebalance_required);
        ck_assert_int_eq(alice.beat.revoke_by_us, asked_us + REVOCATION_TIMEOUT_US);
    }
    revoke(&alice, alice.beat.to_revoke, 2);
    heartbeat(&alice, 1);
    ck_assert(alice.beat.to_revoke_count == 0 && alice.beat.revoke_by_us == 0);
    ck_assert(alice.beat.rebalance_required && alice.beat.assigned_count == 2);
}
END_TEST

START_TEST(gain_is_told_once)
{
    heartbeat(&bob, 1);
    ck_assert(bob.beat.waits && bob.beat.gained_count == 0 && bob.beat.assigned_count == 0);
    heartbeat(&alice, 1);
    revoke(&alice, alice.beat.to_revoke, 1);
    heartbeat(&bob, 1);
    ck_assert(bob.beat.waits && bob.beat.gained_count == 1 && bob.beat.assigned_count == 1);
    ck_assert_uint_eq(bob.beat.gained[0].partition, alice.beat.to_revoke[0].partition);
    heartbeat(&bob, 1);
    ck_assert(bob.beat.waits && bob.beat.gained_count == 0 && bob.beat.assigned_count == 1);
    revoke(&alice, alice.beat.to_revoke + 1, 1);
    heartbeat(&bob, -1);
    ck_assert(!bob.beat.waits && bob.beat.gained_count == 1);
    ck_assert_uint_eq(bob.beat.gained[0].partition, alice.beat.to_revoke[1].partition);
    heartbeat(&bob, 2);
    ck_assert(bob.beat.gained_count == 0 && bob.beat.current_generation == 2);
}
END_TEST

/* What the answer to a join lists is known. */
START_TEST(join_tells_of_gains)
{
    const struct joined *joined = &alice.join.result.join.joined[alice.join.index];
    ck_assert_uint_eq(joined->assigned_count, 4);
    heartbeat(&alice, -1);
    ck_assert_uint_eq(alice.beat.gained_count, 0);
    leave(&alice);
    carol.topics[1] = span_text("orders"); /* free: hers at once; the others bob is asked for */
    join_cooperative(&carol);
    joined = &carol.join.result.join.joined[carol.join.index];
    ck_assert(joined->waits && joined->assigned_count == 2);
    heartbeat(&carol, group()->generation);
    ck_assert(carol.beat.gained_count == 0 && carol.beat.assigned_count == 2 && carol.beat.waits);
}
END_TEST

/* An ordinary heartbeat tells of the assignment, not of gains. */
START_TEST(plain_heartbeat_does_not_count)
{
    heartbeat(&alice, 1);
    revoke(&alice, alice.beat.to_revoke, 2);
    bob.beat = (struct heartbeat_request){.group = span_text("workers"),
                                          .member_id = span_text(bob.member_id),
                                          .generation = 1,
                                          .arena = &bob.arena};
    delivery_heartbeat(world.delivery, &bob.beat, world.now_us);
    ck_assert(bob.beat.status == ST_OK && bob.beat.rebalance_required);
    ck_assert(bob.beat.gained_count == 0 && bob.beat.to_revoke_count == 0);
    heartbeat(&bob, 1);
    ck_assert_uint_eq(bob.beat.gained_count, 2);
}
END_TEST

/* A run does not know what the one before has told: the member's generation tells. */
START_TEST(gain_after_a_restart)
{
    heartbeat(&alice, 1);
    revoke(&alice, alice.beat.to_revoke, 2); /* generation 2 */
    world_stop(&world);
    world_reload(&world);
    world_start(&world, 77);
    heartbeat(&alice, 2);
    ck_assert(alice.beat.gained_count == 0 && alice.beat.to_revoke_count == 0);
    heartbeat(&bob, 1); /* never heard of it */
    ck_assert_uint_eq(bob.beat.gained_count, 2);
    heartbeat(&bob, 1);
    ck_assert_uint_eq(bob.beat.gained_count, 0);
    world_restart(&world, 78);
    heartbeat(&bob, 2);
    ck_assert_uint_eq(bob.beat.gained_count, 0);
    world_restart(&world, 79);
    heartbeat(&bob, -1); /* says nothing of what it knows: its assignment is in the answer */
    ck_assert(bob.beat.gained_count == 0 && bob.beat.assigned_count == 2);
}
END_TEST

START_TEST(nobody_is_told)
{
    heartbeat(&alice, 1);
    struct heartbeat_request beat = alice.beat;
    beat.member_id = span_text("nobody");
    delivery_heartbeat(world.delivery, &beat, world.now_us);
    ck_assert_int_eq(beat.status, ST_MEMBER_NOT_FOUND);
    beat.group = span_text("nobody");
    delivery_heartbeat(world.delivery, &beat, world.now_us);
    ck_assert_int_eq(beat.status, ST_GROUP_NOT_FOUND);
}
END_TEST

Suite *suite_revocation(void)
{
    Suite *suite = suite_create("revocation");
    TCase *tcase = tcase_create("revocation");
    tcase_add_checked_fixture(tcase, setup, clients_teardown);
    tcase_add_test(tcase, deadline_is_kept_once);
    tcase_add_test(tcase, timer_rests_while_its_command_is_under_way);
    tcase_add_test(tcase, letting_go_takes_the_timer_off);
    tcase_add_test(tcase, timer_is_set_to_the_earliest);
    tcase_add_test(tcase, restart_keeps_the_deadline);
    tcase_add_test(tcase, deadline_that_passed_meanwhile_is_made_up_for);
    tcase_add_test(tcase, crash_before_the_command_counts);
    tcase_add_test(tcase, deleted_group_has_no_deadline);
    tcase_add_test(tcase, group_is_deleted_before_the_command);
    tcase_add_test(tcase, owner_leaves_nothing_to_wait_for);
    tcase_add_test(tcase, messages_follow_their_partition);
    tcase_add_test(tcase, owner_is_told_until_it_lets_go);
    tcase_add_test(tcase, gain_is_told_once);
    tcase_add_test(tcase, join_tells_of_gains);
    tcase_add_test(tcase, plain_heartbeat_does_not_count);
    tcase_add_test(tcase, gain_after_a_restart);
    tcase_add_test(tcase, nobody_is_told);
    suite_add_tcase(suite, tcase);
    return suite;
}
