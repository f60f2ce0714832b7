/* What is delivered next: priorities, delayed messages, limits. */
#include "tests/unit/delivery_client.h"

Suite *suite_lanes(void);

static struct topic_settings settings_of(enum priority_mode mode, uint32_t in_flight_max)
{
    struct topic_settings settings = WORLD_SETTINGS;
    settings.priority_mode = mode;
    settings.in_flight_max = in_flight_max;
    settings.delayed_max = 100000;
    return settings;
}

static void setup(void)
{
    clients_setup();
    create_topic("fair", 2, settings_of(PRIORITY_WEIGHTED, 0));
    create_topic("slow", 2, settings_of(PRIORITY_STRICT, 1));
    create_topic("many", 2, settings_of(PRIORITY_STRICT, 0));
}

static enum priority lane_of(const struct delivered_run *run, uint32_t index)
{
    return partition_lane_of(run->source, run->messages[index].offset);
}

/* Every run is a piece of one lane, ascending. */
static void check_runs(const struct client *c)
{
    for (uint32_t i = 0; i < c->poll.run_count; i++) {
        const struct delivered_run *run = &c->poll.runs[i];
        for (uint32_t k = 1; k < run->count; k++) {
            ck_assert_uint_gt(run->messages[k].offset, run->messages[k - 1].offset);
            ck_assert_int_eq(lane_of(run, k), lane_of(run, 0));
        }
    }
}

/* How many messages of each lane came with the last poll. */
static void count_lanes(const struct client *c, uint32_t counts[PRIORITY_COUNT])
{
    check_runs(c);
    memset(counts, 0, PRIORITY_COUNT * sizeof *counts);
    for (uint32_t i = 0; i < c->poll.run_count; i++)
        counts[lane_of(&c->poll.runs[i], 0)] += c->poll.runs[i].count;
}

START_TEST(higher_lanes_first_over_all_partitions)
{
    join_now(&alice, 1000);
    static const enum priority order[] = {PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_CRITICAL,
                                          PRIORITY_BACKGROUND, PRIORITY_HIGH};
    for (int i = 0; i < 5; i++)
        for (uint32_t p = 0; p < 2; p++)
            publish("orders", p, order[i], 0, 3);
    for (int lane = 0; lane < PRIORITY_COUNT; lane++) {
        for (int i = 0; i < 3; i++) { /* two at a time: an equal share of both partitions */
            ck_assert_uint_eq(poll_now(&alice, 2), 2);
            ck_assert_uint_eq(alice.poll.run_count, 2);
            ck_assert_int_eq(lane_of(&alice.poll.runs[0], 0), lane);
            ck_assert_int_eq(lane_of(&alice.poll.runs[1], 0), lane);
        }
    }
    ck_assert_uint_eq(poll_now(&alice, 2), 0);
}
END_TEST

START_TEST(one_poll_goes_from_lane_to_lane)
{
    join_now(&alice, 1000);
    publish("orders", 0, PRIORITY_NORMAL, 0, 4);
    publish("orders", 1, PRIORITY_HIGH, 0, 2);
    publish("orders", 0, PRIORITY_HIGH, 0, 1);
    ck_assert_uint_eq(poll_now(&alice, 5), 5);
    uint32_t counts[PRIORITY_COUNT];
    count_lanes(&alice, counts);
    ck_assert(counts[PRIORITY_HIGH] == 3 && counts[PRIORITY_NORMAL] == 2);
    ck_assert_int_eq(lane_of(&alice.poll.runs[0], 0), PRIORITY_HIGH);
    publish("orders", 1, PRIORITY_CRITICAL, 0, 1); /* before the two that are left */
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_int_eq(lane_of(&alice.poll.runs[0], 0), PRIORITY_CRITICAL);
}
END_TEST

START_TEST(redelivery_before_newer_ones_of_its_lane)
{
    join_now(&alice, 1000);
    publish("orders", 0, PRIORITY_LOW, 0, 3);
    struct receipt receipt = poll_one(&alice);
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
    (void)nack_now(&alice, receipt, 0);
    ck_assert_int_eq(lane_of(&alice.poll.runs[0], 0), PRIORITY_LOW);
    static const uint64_t expected[] = {3, 0, 1, 2};
    for (int i = 0; i < 4; i++) {
        receipt = poll_one(&alice);
        ck_assert_uint_eq(receipt.offset, expected[i]);
        ck_assert_uint_eq(receipt.delivery_count, i == 1 ? 2 : 1);
    }
}
END_TEST

START_TEST(weighted_lanes_share_a_poll)
{
    alice.topics[0] = span_text("fair");
    join_now(&alice, 10000);
    for (int lane = 0; lane < PRIORITY_COUNT; lane++)
        for (uint32_t p = 0; p < 2; p++)
            publish("fair", p, (enum priority)lane, 0, 400);
    static const uint32_t weights[] = {50, 25, 15, 7, 3};
    uint32_t counts[PRIORITY_COUNT], sums[PRIORITY_COUNT] = {0};
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(poll_now(&alice, 100), 100);
        count_lanes(&alice, counts);
        for (int lane = 0; lane < PRIORITY_COUNT; lane++)
            ck_assert_uint_eq(counts[lane], weights[lane]);
    }
    for (int i = 0; i < 100; i++) { /* one at a time: the same in the long run */
        (void)poll_one(&alice);
        sums[lane_of(&alice.poll.runs[0], 0)]++;
    }
    for (int lane = 0; lane < PRIORITY_COUNT; lane++)
        ck_assert_uint_eq(sums[lane], weights[lane]);
}
END_TEST

START_TEST(weighted_lanes_leave_their_share)
{
    alice.topics[0] = span_text("fair");
    join_now(&alice, 10000);
    uint32_t counts[PRIORITY_COUNT];
    publish("fair", 0, PRIORITY_BACKGROUND, 0, 100);
    ck_assert_uint_eq(poll_now(&alice, 40), 40); /* nobody else has anything */
    publish("fair", 1, PRIORITY_CRITICAL, 0, 5);
    ck_assert_uint_eq(poll_now(&alice, 40), 40);
    count_lanes(&alice, counts);
    ck_assert(counts[PRIORITY_CRITICAL] == 5 && counts[PRIORITY_BACKGROUND] == 35);
    ck_assert_uint_eq(poll_now(&alice, 40), 25);
}
END_TEST

START_TEST(strict_topics_come_before_weighted_ones)
{
    alice.topics[0] = span_text("fair");
    alice.topics[1] = span_text("many");
    join_now(&alice, 10000);
    uint32_t counts[PRIORITY_COUNT];
    publish("fair", 0, PRIORITY_CRITICAL, 0, 100);
    publish("fair", 0, PRIORITY_LOW, 0, 100);
    publish("many", 0, PRIORITY_CRITICAL, 0, 10);
    publish("many", 1, PRIORITY_BACKGROUND, 0, 10);
    ck_assert_uint_eq(poll_now(&alice, 20), 20);
    count_lanes(&alice, counts);
    ck_assert(span_equal(alice.poll.runs[0].topic, span_text("many")));
    ck_assert_uint_eq(delivery_in_flight(world.delivery, group_partition("many", 0)), 10);
    ck_assert_uint_eq(counts[PRIORITY_BACKGROUND], 0);
    ck_assert_uint_eq(counts[PRIORITY_CRITICAL] + counts[PRIORITY_LOW], 20);
    uint32_t left = 220 - 20;
    while (left > 0) {
        uint32_t count = poll_now(&alice, 50);
        ck_assert_uint_gt(count, 0);
        left -= count;
    }
    ck_assert_uint_eq(poll_now(&alice, 50), 0);
}
END_TEST

START_TEST(delayed_message_behind_the_cursor)
{
    join_now(&alice, 1000);
    publish("orders", 0, PRIORITY_NORMAL, 5 * WORLD_SECOND, 1);
    publish("orders", 0, PRIORITY_HIGH, 7 * WORLD_SECOND, 1);
    publish("orders", 0, PRIORITY_NORMAL, 0, 3);
    ck_assert_uint_eq(poll_one(&alice).offset, 2);
    start_poll(&alice, 1, 0);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 3);
    world_pass(&world, 5 * WORLD_SECOND - 2000);
    ck_assert_uint_eq(world.journal_count, 2); /* two polls' notes, nothing that is due */
    world_pass(&world, 4000);
    ck_assert_uint_eq(world.journal_count, 3);
    ck_assert(partition_is_hidden(group_partition("orders", 0)->partition, 0));
    settle();
    struct receipt receipt = poll_one(&alice);
    ck_assert_uint_eq(receipt.offset, 0); /* before the newer one */
    ck_assert_uint_eq(receipt.delivery_count, 1);
    pass(2 * WORLD_SECOND);
    ck_assert_uint_eq(poll_one(&alice).offset, 1); /* high: before 4 */
    ck_assert_uint_eq(poll_one(&alice).offset, 4);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 0);
}
END_TEST

START_TEST(due_message_wakes_a_poll)
{
    join_now(&alice, 1000);
    publish("orders", 1, PRIORITY_LOW, 10 * WORLD_SECOND, 1);
    publish("orders", 1, PRIORITY_LOW, 5 * WORLD_SECOND, 1); /* due first: the timer is set anew */
    start_poll(&alice, 10, 25 * WORLD_SECOND);
    pass(5 * WORLD_SECOND - 1000);
    ck_assert_int_eq(alice.polls_done, 0);
    pass(3000);
    ck_assert_uint_eq(received(&alice), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 1);
    start_poll(&alice, 10, 25 * WORLD_SECOND);
    pass(5 * WORLD_SECOND + 2000);
    ck_assert_uint_eq(received(&alice), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
}
END_TEST

static void cancel(const char *topic, uint32_t partition, uint64_t offset, int64_t due_us)
{
    struct command cmd = {.type = COMMAND_DELAY_CANCEL,
                          .delay_cancel = {machine_find_topic(world.machine, span_text(topic))->id,
                                           partition, offset, due_us}};
    world_submit(&world, &cmd);
    settle();
    ck_assert_int_eq(world.last_status, ST_OK);
}

START_TEST(cancelled_message_is_never_due)
{
    join_now(&alice, 1000);
    int64_t now_us = world.now_us;
    publish("orders", 0, PRIORITY_NORMAL, 5 * WORLD_SECOND, 1);
    publish("orders", 0, PRIORITY_NORMAL, 6 * WORLD_SECOND, 1);
    publish("orders", 1, PRIORITY_NORMAL, 5 * WORLD_SECOND, 1);
    cancel("orders", 0, 0, now_us + 5 * WORLD_SECOND);
    cancel("orders", 1, 0, now_us + 5 * WORLD_SECOND);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
    world_pass(&world, 5 * WORLD_SECOND + 3000);
    ck_assert_uint_eq(world.journal_count, 0); /* no timer is left for it */
    pass(WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 1);
}
END_TEST

START_TEST(many_are_due_at_once)
{
    alice.topics[0] = span_text("many");
    join_now(&alice, 100000);
    enum { COUNT = 10000 };
    publish("many", 0, PRIORITY_NORMAL, 5 * WORLD_SECOND, COUNT);
    world_pass(&world, 5 * WORLD_SECOND + 2000);
    uint32_t seen = 0, commands = 0;
    while (world.journal_count > 0) { /* other work comes in between */
        ck_assert_uint_eq(world.journal_count, 1);
        world_settle(&world);
        commands++;
        uint32_t visible = 0;
        for (uint32_t count; (count = poll_now(&alice, 1000)) > 0;) {
            while (world.journal_count > 0)
                ck_assert(world_apply(&world)); /* the notes of the polls */
            visible += count;
        }
        ck_assert_uint_le(visible, DUE_PER_COMMAND_MAX);
        seen += visible;
        world_pass(&world, 0);
    }
    ck_assert_uint_eq(seen, COUNT);
    ck_assert_uint_eq(commands, 3);
    ck_assert_uint_eq(stats().in_flight, COUNT);
}
END_TEST

START_TEST(topic_deleted_while_messages_are_due)
{
    join_now(&alice, 1000);
    publish("orders", 0, PRIORITY_NORMAL, 5 * WORLD_SECOND, 1);
    publish("orders", 1, PRIORITY_NORMAL, 6 * WORLD_SECOND, 1);
    struct command cmd = {.type = COMMAND_TOPIC_DELETE,
                          .topic_delete = {.name = span_text("orders")}};
    world_submit(&world, &cmd);
    world_pass(&world, 5 * WORLD_SECOND + 3000); /* DELAY_DUE is behind it */
    ck_assert_uint_eq(world.journal_count, 2);
    settle();
    ck_assert_int_eq(world.last_status, ST_TOPIC_NOT_FOUND);
    pass(10 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
}
END_TEST

START_TEST(topic_lets_out_so_many)
{
    alice.topics[0] = span_text("slow");
    join_now(&alice, 1000);
    publish("slow", 0, PRIORITY_NORMAL, 0, 5);
    publish("slow", 1, PRIORITY_HIGH, 0, 5);
    ck_assert_uint_eq(poll_now(&alice, 10), 2); /* one of each partition */
    struct receipt high = receipt_of(&alice, 0, 0), normal = receipt_of(&alice, 1, 0);
    ck_assert(high.partition == 1 && normal.partition == 0);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    ck_assert_int_eq(alice.polls_done, 0);
    ck_assert_int_eq(ack_now(&bob, high)->status, ST_OK); /* an ack makes room */
    ck_assert_uint_eq(received(&alice), 1);
    high = receipt_of(&alice, 0, 0);
    ck_assert(high.partition == 1 && high.offset == 1);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    (void)nack_now(&bob, normal, 60 * WORLD_SECOND); /* so does a nack */
    ck_assert_uint_eq(received(&alice), 1);
    normal = receipt_of(&alice, 0, 0);
    ck_assert(normal.partition == 0 && normal.offset == 1);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    (void)reject_now(&bob, high); /* and a reject */
    ck_assert_uint_eq(received(&alice), 1);
    high = receipt_of(&alice, 0, 0);
    ck_assert(high.partition == 1 && high.offset == 2);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    (void)extend_now(&bob, normal, WORLD_SECOND);
    pass(WORLD_SECOND + 2000); /* and a deadline: the same one again */
    ck_assert_uint_eq(received(&alice), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 2);
}
END_TEST

START_TEST(limit_is_for_each_group)
{
    alice.topics[0] = span_text("slow");
    join_now(&alice, 1000);
    publish("slow", 0, PRIORITY_NORMAL, 0, 5);
    struct receipt receipt = poll_one(&alice);
    bob.topics[0] = span_text("slow");
    bob.join = (struct join_request){
        .group = span_text("others"),
        .joiner = {.member_id = span_text(bob.member_id),
                   .client_id = span_text("client"),
                   .topics = bob.topics,
                   .topic_count = 1,
                   .session_us = 30 * WORLD_SECOND,
                   .in_flight_max = 10},
        .arena = &bob.arena,
        .done = on_join,
    };
    delivery_join(world.delivery, &bob.join, world.now_us);
    pass(JOIN_WINDOW_US + 2000);
    bob.poll = (struct poll_request){.group = span_text("others"),
                                     .member_id = span_text(bob.member_id),
                                     .generation = -1,
                                     .messages_max = 10,
                                     .arena = &bob.arena,
                                     .done = on_poll};
    delivery_poll(world.delivery, &bob.poll, world.now_us);
    settle();
    ck_assert_uint_eq(received(&bob), 1);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).offset, receipt.offset);

    struct arena arena;
    struct in_flight_info info;
    arena_init(&arena);
    const struct topic *t = machine_find_topic(world.machine, span_text("slow"));
    delivery_fill_in_flight(world.delivery, t, &arena, &info);
    ck_assert(info.partitions[0].count == 2 && info.partitions[1].count == 0);
    ck_assert_int_eq(info.partitions[0].oldest_us, world.now_us - JOIN_WINDOW_US - 2000);
    ck_assert_int_eq(info.partitions[1].oldest_us, 0);
    ck_assert_uint_eq(info.group_count, 2);
    ck_assert(span_equal(info.groups[0].name, span_text("others")) && info.groups[0].count == 1);
    ck_assert(span_equal(info.groups[1].name, span_text("workers")) && info.groups[1].count == 1);
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_OK);
    delivery_fill_in_flight(world.delivery, t, &arena, &info);
    ck_assert(info.partitions[0].count == 1 && info.groups[1].count == 0);
    ck_assert_int_eq(info.partitions[0].oldest_us, world.now_us);
    t = machine_find_topic(world.machine, span_text("many")); /* nobody reads it */
    delivery_fill_in_flight(world.delivery, t, &arena, &info);
    ck_assert(info.group_count == 0 && info.partitions[0].count == 0);
    arena_fini(&arena);
}
END_TEST

START_TEST(lanes_after_a_rewind)
{
    join_now(&alice, 1000);
    publish("orders", 0, PRIORITY_NORMAL, 0, 3);
    publish("orders", 0, PRIORITY_HIGH, 0, 2);
    publish("orders", 0, PRIORITY_LOW, WORLD_SECOND, 1);
    pass(2 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 6);
    ck_assert_int_eq(commit(&alice, 0, 4), ST_OK); /* forward */
    ck_assert_uint_eq(stats().in_flight, 2);
    ck_assert_int_eq(commit(&alice, 0, 1), ST_OK); /* back */
    static const uint64_t expected[] = {3, 4, 1, 2, 5};
    for (int i = 0; i < 5; i++) {
        struct receipt receipt = poll_one(&alice);
        ck_assert_uint_eq(receipt.offset, expected[i]);
        ck_assert_uint_eq(receipt.delivery_count, 1);
    }
    ck_assert_uint_eq(poll_now(&alice, 10), 0);
}
END_TEST

/* What became visible late is not remembered as such behind a rewind. */
START_TEST(late_message_and_a_rewind)
{
    join_now(&alice, 1000);
    publish("orders", 0, PRIORITY_NORMAL, 0, 3);
    publish("orders", 0, PRIORITY_NORMAL, WORLD_SECOND, 1);
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
    ck_assert_uint_eq(poll_now(&alice, 10), 4);
    pass(2 * WORLD_SECOND);
    ck_assert_int_eq(commit(&alice, 0, 1), ST_OK); /* forward: it is late still, or found anew */
    ck_assert_uint_eq(poll_one(&alice).offset, 3);
    ck_assert_int_eq(commit(&alice, 0, 0), ST_OK);
    for (uint64_t i = 0; i < 5; i++)
        ck_assert_uint_eq(poll_one(&alice).offset, i);
    publish("orders", 0, PRIORITY_NORMAL, WORLD_SECOND, 1);
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
    (void)poll_one(&alice);
    pass(2 * WORLD_SECOND);
    ck_assert_int_eq(commit(&alice, 0, 4), ST_OK);
    ck_assert_int_eq(commit(&alice, 0, 3), ST_OK); /* back, the late one not yet delivered */
    for (uint64_t i = 3; i < 7; i++)
        ck_assert_uint_eq(poll_one(&alice).offset, i);
}
END_TEST

/* Bob holds a message of the partition that carol reads now, and it was that which kept him from
 * polling more. */
static void hold_another_ones_message(struct receipt *out_held, uint32_t *out_own)
{
    join_now(&bob, 2);
    publish("orders", 0, PRIORITY_NORMAL, 0, 3);
    publish("orders", 1, PRIORITY_NORMAL, 0, 3);
    ck_assert_uint_eq(poll_now(&bob, 2), 2);
    struct receipt receipts[2] = {receipt_of(&bob, 0, 0), receipt_of(&bob, 0, 1)};
    join_now(&carol, 100);
    ck_assert_uint_eq(poll_now(&carol, 10), 2); /* all of hers but that one */
    uint32_t hers = carol.poll.runs[0].partition;
    *out_own = 1 - hers;
    *out_held = receipts[0].partition == hers ? receipts[0] : receipts[1];
    start_poll(&bob, 10, 20 * WORLD_SECOND);
    ck_assert_int_eq(bob.polls_done, 0);
}

START_TEST(holder_gets_room_though_another_one_reads)
{
    struct receipt held;
    uint32_t own = 0;
    hold_another_ones_message(&held, &own);
    if (_i == 0)
        (void)nack_now(&alice, held, 60 * WORLD_SECOND);
    else if (_i == 1)
        (void)reject_now(&alice, held);
    else if (_i == 2)
        ck_assert_int_eq(ack_now(&alice, held)->status, ST_OK);
    else
        (void)extend_now(&alice, held, WORLD_SECOND);
    if (_i == 3)
        pass(2 * WORLD_SECOND);
    ck_assert_uint_eq(received(&bob), 1);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).partition, own);
}
END_TEST

START_TEST(holder_gets_room_when_it_is_moved_away)
{
    struct receipt held;
    uint32_t own = 0;
    hold_another_ones_message(&held, &own);
    struct buf batch;
    struct batch_builder builder;
    buf_init(&batch, BATCH_SIZE_MAX);
    batch_begin(&builder, &batch);
    batch_add(&builder, &(struct record){.value = span_text("m"), .priority = PRIORITY_NORMAL});
    batch_end(&builder);
    struct replay_entry entry = {.offset = held.offset, .batch = buf_span(&batch)};
    struct command cmd = {.type = COMMAND_REPLAY,
                          .replay = {held.topic_id, held.partition,
                                     machine_find_topic(world.machine, span_text("many"))->id, 1,
                                     &entry}};
    world_submit(&world, &cmd);
    buf_fini(&batch);
    settle();
    ck_assert_uint_eq(received(&bob), 1);
}
END_TEST

Suite *suite_lanes(void)
{
    Suite *suite = suite_create("lanes");
    TCase *tcase = tcase_create("lanes");
    tcase_add_checked_fixture(tcase, setup, clients_teardown);
    tcase_add_test(tcase, higher_lanes_first_over_all_partitions);
    tcase_add_test(tcase, one_poll_goes_from_lane_to_lane);
    tcase_add_test(tcase, redelivery_before_newer_ones_of_its_lane);
    tcase_add_test(tcase, weighted_lanes_share_a_poll);
    tcase_add_test(tcase, weighted_lanes_leave_their_share);
    tcase_add_test(tcase, strict_topics_come_before_weighted_ones);
    tcase_add_test(tcase, delayed_message_behind_the_cursor);
    tcase_add_test(tcase, due_message_wakes_a_poll);
    tcase_add_test(tcase, cancelled_message_is_never_due);
    tcase_add_test(tcase, many_are_due_at_once);
    tcase_add_test(tcase, topic_deleted_while_messages_are_due);
    tcase_add_test(tcase, topic_lets_out_so_many);
    tcase_add_test(tcase, limit_is_for_each_group);
    tcase_add_test(tcase, lanes_after_a_rewind);
    tcase_add_test(tcase, late_message_and_a_rewind);
    tcase_add_loop_test(tcase, holder_gets_room_though_another_one_reads, 0, 4);
    tcase_add_test(tcase, holder_gets_room_when_it_is_moved_away);
    suite_add_tcase(suite, tcase);
    return suite;
}
