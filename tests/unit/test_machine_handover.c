/* The machine: cooperative members, more partitions, and offsets that are set from outside. */
#include "tests/unit/machine_fixture.h"

Suite *suite_machine_handover(void);

static enum status join_as(const char *id, bool cooperative)
{
    struct span topics[] = {span_text("a")};
    struct joiner member = joiner(id, topics, 1);
    member.cooperative = cooperative;
    (void)join(&member, 1);
    return result.join.joined[0].status;
}

static enum status revoke_all(const char *id, const uint32_t *partitions, uint32_t count,
                              int64_t generation)
{
    struct revoked_entry entries[8];
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct revoked_entry){span_text("a"), partitions[i]};
    cmd = (struct command){.type = COMMAND_GROUP_REVOKE};
    cmd.group_revoke = (struct command_group_revoke){.group = span_text("g"),
                                                     .member_id = span_text(id),
                                                     .entries = entries,
                                                     .entry_count = count,
                                                     .generation = generation};
    return apply();
}

static enum status revoke(const char *id, uint32_t partition)
{
    return revoke_all(id, &partition, 1, -1);
}

static enum status expire(void)
{
    cmd = (struct command){.type = COMMAND_GROUP_REVOKE};
    cmd.group_revoke =
        (struct command_group_revoke){.group = span_text("g"), .generation = -1, .expired = true};
    return apply();
}

static const char *owner_of(uint32_t partition)
{
    const struct group_partition *gp = known("a", partition);
    return gp->owner == NULL ? "" : (const char *)gp->owner->id.data;
}

static const char *successor_of(uint32_t partition)
{
    const struct group_partition *gp = known("a", partition);
    return gp->successor == NULL ? "" : (const char *)gp->successor->id.data;
}

/* "one" has four partitions and is asked for two of them. */
static void setup(void)
{
    fixture_setup();
    ck_assert_int_eq(create("a", 4, false), ST_OK);
    ck_assert_int_eq(join_as("one", true), ST_OK);
    ck_assert_int_eq(join_as("two", true), ST_OK);
}

static void assert_parts(const char *owners[4], const char *successors[4])
{
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_str_eq(owner_of(i), owners[i]);
        ck_assert_str_eq(successor_of(i), successors[i]);
    }
}

START_TEST(owner_keeps_what_it_is_asked_for)
{
    assert_parts((const char *[]){"one", "one", "one", "one"},
                 (const char *[]){"", "", "two", "two"});
    ck_assert(result.join.joined[0].waits && result.join.joined[0].assigned_count == 0);
    ck_assert_uint_eq(result.join.generation, 1);
    ck_assert_uint_eq(group()->open_rebalances, 1);
    ck_assert_int_eq(known("a", 2)->revoke_by_us, now_us + REVOCATION_TIMEOUT_US);
}
END_TEST

START_TEST(generation_rises_when_all_are_let_go)
{
    now_us += SECOND_US;
    ck_assert_int_eq(revoke("one", 2), ST_OK);
    ck_assert(result.revoke.pending_count == 1 && result.revoke.rebalancing);
    assert_parts((const char *[]){"one", "one", "two", "one"}, (const char *[]){"", "", "", "two"});
    ck_assert_uint_eq(group()->generation, 1);
    ck_assert_uint_eq(group_find_member(group(), span_text("two"))->assigned_count, 1);
    ck_assert_int_eq(revoke("one", 3), ST_OK);
    ck_assert(result.revoke.pending_count == 0 && !result.revoke.rebalancing);
    ck_assert(result.revoke.generation == 2 && group()->generation == 2);
    ck_assert_str_eq(events, "changed ");
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_uint_eq(group()->members[i]->changed_generation, 2);
    const struct rebalance_stats *stats = &group()->rebalances;
    ck_assert(stats->total == 2 && stats->successful == 2 && stats->failed == 0);
    ck_assert(stats->partitions_revoked == 2 && stats->partitions_assigned == 6);
    ck_assert_int_eq(stats->last_duration_us, SECOND_US);
}
END_TEST

START_TEST(revoking_what_nobody_asked_for_changes_nothing)
{
    uint64_t digest = state_digest();
    ck_assert_int_eq(revoke("one", 0), ST_OK);
    ck_assert_uint_eq(result.revoke.pending_count, 2);
    ck_assert_int_eq(revoke("two", 2), ST_OK); /* not its own yet */
    ck_assert_int_eq(revoke_all("one", NULL, 0, 1), ST_OK);
    ck_assert_int_eq(revoke("one", 99), ST_OK);
    ck_assert_int_eq(revoke("nobody", 2), ST_MEMBER_NOT_FOUND);
    ck_assert_int_eq(revoke_all("one", (uint32_t[]){2}, 1, 7), ST_STALE_GENERATION);
    ck_assert_int_eq(expire(), ST_OK); /* too early */
    ck_assert_uint_eq(state_digest(), digest);
}
END_TEST

START_TEST(deadline_takes_what_is_not_let_go)
{
    now_us += SECOND_US;
    ck_assert_int_eq(revoke("one", 2), ST_OK);
    now_us += REVOCATION_TIMEOUT_US - SECOND_US;
    ck_assert_int_eq(expire(), ST_OK);
    assert_parts((const char *[]){"one", "one", "two", "two"}, (const char *[]){"", "", "", ""});
    const struct rebalance_stats *stats = &group()->rebalances;
    ck_assert(stats->failed == 1 && stats->successful == 1 && stats->revocation_timeouts == 1);
    ck_assert_uint_eq(group()->generation, 2);
}
END_TEST

START_TEST(leaving_owner_hands_over_at_once)
{
    ck_assert_int_eq(leave("one"), ST_OK);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_str_eq(owner_of(i), "two");
    ck_assert(group()->generation == 2 && group()->open_rebalances == 0);
    const struct rebalance_stats *stats = &group()->rebalances;
    ck_assert(stats->total == 3 && stats->successful == 3);
    ck_assert_uint_eq(stats->by_reason[REBALANCE_MEMBER_LEFT], 1);
}
END_TEST

START_TEST(leaving_successor_takes_the_asking_back)
{
    ck_assert_int_eq(leave("two"), ST_OK);
    assert_parts((const char *[]){"one", "one", "one", "one"}, (const char *[]){"", "", "", ""});
    ck_assert_uint_eq(group()->generation, 2);
    ck_assert_uint_eq(group()->rebalances.partitions_revoked, 0);
}
END_TEST

START_TEST(third_member_takes_over_the_asking)
{
    int64_t deadline_us = now_us + REVOCATION_TIMEOUT_US;
    now_us += SECOND_US;
    ck_assert_int_eq(join_as("three", true), ST_OK);
    uint32_t two = 0, three = 0;
    for (uint32_t i = 0; i < 4; i++) {
        two += strcmp(successor_of(i), "two") == 0;
        three += strcmp(successor_of(i), "three") == 0;
        ck_assert_str_eq(owner_of(i), "one");
        if (known("a", i)->successor != NULL) /* who was asked already is not given longer */
            ck_assert_int_le(known("a", i)->revoke_by_us, deadline_us + SECOND_US);
    }
    ck_assert(two + three >= 2 && two >= 1 && three >= 1);
    ck_assert(group()->generation == 1 && group()->open_rebalances == 2);
}
END_TEST

START_TEST(eager_members_lose_partitions_at_once)
{
    ck_assert_int_eq(delete_group(), ST_OK);
    ck_assert_int_eq(join_as("old", false), ST_OK);
    ck_assert_int_eq(join_as("new", true), ST_OK);
    ck_assert(!result.join.joined[0].waits && result.join.joined[0].assigned_count == 2);
    ck_assert_uint_eq(group()->generation, 2);
    ck_assert_int_eq(join_as("newer", false), ST_OK);
    ck_assert(group()->generation == 3 || group()->open_rebalances == 1);
}
END_TEST

START_TEST(turning_eager_ends_the_asking)
{
    struct span topics[] = {span_text("a")};
    struct joiner one = joiner("one", topics, 1);
    one.rejoin = true;
    (void)join(&one, 1);
    assert_parts((const char *[]){"one", "one", "two", "two"}, (const char *[]){"", "", "", ""});
    ck_assert_uint_eq(group()->generation, 2);
}
END_TEST

START_TEST(deleted_topic_ends_the_rebalance)
{
    ck_assert_int_eq(delete_topic("a"), ST_OK);
    ck_assert(group()->open_rebalances == 0 && group()->generation == 2);
    ck_assert_uint_eq(group()->rebalances.by_reason[REBALANCE_TOPIC_DELETED], 1);
}
END_TEST

START_TEST(ordering_is_the_last_that_was_asked_for)
{
    ck_assert_int_eq(group()->ordering, ORDERING_NONE);
    struct span topics[] = {span_text("a")};
    static const enum ordering asked[] = {ORDERING_UNSET, ORDERING_KEY, ORDERING_UNSET,
                                          ORDERING_NONE};
    static const enum ordering kept[] = {ORDERING_NONE, ORDERING_KEY, ORDERING_KEY, ORDERING_NONE};
    for (int i = 0; i < 4; i++) {
        struct joiner one = joiner("one", topics, 1);
        one.rejoin = true;
        one.cooperative = true;
        one.ordering = asked[i];
        (void)join(&one, 1);
        ck_assert_int_eq(group()->ordering, kept[i]);
        ck_assert_str_eq(events, i % 2 == 1 ? "changed " : "");
        ck_assert_uint_eq(group()->generation, 1);
    }
}
END_TEST

static enum status grow(const char *name, uint32_t count)
{
    cmd = (struct command){.type = COMMAND_TOPIC_ADD_PARTITIONS};
    cmd.topic_add_partitions = (struct command_topic_add_partitions){span_text(name), count};
    return apply();
}

START_TEST(grown_topic_is_read_at_once)
{
    ck_assert_int_eq(publish_one("a", 3, PRIORITY_NORMAL, 0), ST_OK);
    const struct partition *last = topic("a")->partitions[3];
    ck_assert_int_eq(grow("a", 7), ST_OK);
    ck_assert(result.add_partitions.old_count == 4 && result.add_partitions.new_count == 7);
    ck_assert_str_eq(events, "added:4-7 changed ");
    ck_assert(topic("a")->partition_count == 7 && topic("a")->partitions[3] == last);
    for (uint32_t i = 4; i < 7; i++)
        ck_assert(known("a", i)->owner != NULL && known("a", i)->position == 0);
    ck_assert_uint_eq(group()->rebalances.by_reason[REBALANCE_PARTITIONS_ADDED], 1);
    ck_assert_int_eq(publish_one("a", 6, PRIORITY_NORMAL, 0), ST_OK);
}
END_TEST

START_TEST(topic_only_grows)
{
    uint64_t digest = state_digest();
    ck_assert_int_eq(grow("a", 4), ST_INVALID_ARGUMENT);
    ck_assert(result.add_partitions.old_count == 4 && result.add_partitions.new_count == 4);
    ck_assert_int_eq(grow("a", 1), ST_INVALID_ARGUMENT);
    ck_assert_int_eq(grow("b", 9), ST_TOPIC_NOT_FOUND);
    ck_assert_uint_eq(state_digest(), digest);
}
END_TEST

/* A batch for as many partitions as there were goes nowhere. */
START_TEST(publish_to_the_old_count_is_stale)
{
    ck_assert_int_eq(publish_one("a", 0, PRIORITY_NORMAL, 0), ST_OK);
    struct command old = cmd;
    ck_assert_int_eq(grow("a", 5), ST_OK);
    cmd = old;
    ck_assert_int_eq(apply(), ST_STALE);
    ck_assert_uint_eq(topic("a")->partitions[0]->next_offset, 1);
}
END_TEST

static enum status reset(uint32_t partition, enum reset_to to, uint64_t offset)
{
    struct reset_entry entry = {partition, to, offset};
    cmd = (struct command){.type = COMMAND_OFFSETS_RESET};
    cmd.offsets_reset = (struct command_offsets_reset){span_text("g"), span_text("a"), &entry, 1};
    return apply();
}

START_TEST(reset_sets_every_partition)
{
    fill("a", 0, 10);
    fill("a", 2, 5);
    ck_assert_int_eq(reset(RESET_EVERY_PARTITION, RESET_LATEST, 0), ST_OK);
    ck_assert_uint_eq(result.reset.count, 4);
    static const uint64_t ends[] = {10, 0, 5, 0};
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(result.reset.positions[i].partition, i);
        ck_assert_uint_eq(result.reset.positions[i].offset, ends[i]);
        ck_assert_uint_eq(result.reset.positions[i].lag, 0);
    }
    ck_assert_int_eq(reset(RESET_EVERY_PARTITION, RESET_EARLIEST, 0), ST_OK);
    ck_assert(result.reset.positions[0].offset == 0 && result.reset.positions[0].lag == 10);
}
END_TEST

START_TEST(reset_stays_within_the_log)
{
    fill("a", 0, 10);
    topic("a")->partitions[0]->start_offset = 3;
    topic("a")->partitions[0]->message_count = 7;
    ck_assert_int_eq(reset(0, RESET_OFFSET, 6), ST_OK);
    ck_assert(result.reset.count == 1 && result.reset.positions[0].offset == 6);
    ck_assert_uint_eq(result.reset.positions[0].lag, 4);
    ck_assert_int_eq(reset(0, RESET_OFFSET, 1), ST_OK);
    ck_assert_uint_eq(result.reset.positions[0].offset, 3);
    ck_assert_int_eq(reset(0, RESET_OFFSET, 1000), ST_OK);
    ck_assert_uint_eq(result.reset.positions[0].offset, 10);
    ck_assert_int_eq(reset(0, RESET_EARLIEST, 0), ST_OK);
    ck_assert_uint_eq(result.reset.positions[0].offset, 3);
}
END_TEST

START_TEST(reset_back_forgets_what_was_done)
{
    fill("a", 0, 10);
    (void)ack(0);
    (void)ack(4);
    ck_assert_uint_eq(group_partition_lag(known("a", 0)), 8);
    ck_assert_int_eq(reset(0, RESET_EARLIEST, 0), ST_OK);
    ck_assert_str_eq(events, "moved ");
    ck_assert_uint_eq(group_partition_lag(known("a", 0)), 10);
    ck_assert_uint_eq(known("a", 0)->rewound_index, machine_applied_index(machine));
    (void)ack(3);
    ck_assert_int_eq(reset(0, RESET_EARLIEST, 0), ST_OK); /* it stands there, but not all is open */
    ck_assert_str_eq(events, "moved ");
    ck_assert_uint_eq(group_partition_lag(known("a", 0)), 10);
}
END_TEST

START_TEST(reset_is_all_or_nothing)
{
    fill("a", 0, 10);
    uint64_t digest = state_digest();
    struct reset_entry entries[] = {{0, RESET_LATEST, 0}, {4, RESET_LATEST, 0}};
    cmd = (struct command){.type = COMMAND_OFFSETS_RESET};
    cmd.offsets_reset = (struct command_offsets_reset){span_text("g"), span_text("a"), entries, 2};
    ck_assert_int_eq(apply(), ST_PARTITION_NOT_FOUND);
    cmd.offsets_reset.topic = span_text("b");
    ck_assert_int_eq(apply(), ST_TOPIC_NOT_FOUND);
    cmd.offsets_reset.group = span_text("h");
    ck_assert_int_eq(apply(), ST_GROUP_NOT_FOUND);
    ck_assert_uint_eq(state_digest(), digest);
}
END_TEST

/* Before anybody has read the partition: who joins later begins there. */
START_TEST(reset_of_an_unread_topic_holds)
{
    ck_assert_int_eq(create("b", 2, false), ST_OK);
    fill("b", 1, 7);
    struct reset_entry entry = {RESET_EVERY_PARTITION, RESET_OFFSET, 4};
    cmd = (struct command){.type = COMMAND_OFFSETS_RESET};
    cmd.offsets_reset = (struct command_offsets_reset){span_text("g"), span_text("b"), &entry, 1};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_int_eq(join_one("reader", "b"), ST_OK);
    ck_assert(known("b", 0)->position == 0 && known("b", 1)->position == 4);
}
END_TEST

/* Delayed messages that wait for their time are not behind. */
START_TEST(lag_counts_what_can_be_seen)
{
    const struct record records[] = {record_of(PRIORITY_NORMAL, 0),
                                     record_of(PRIORITY_LOW, MINUTE_US),
                                     record_of(PRIORITY_HIGH, 0), record_of(PRIORITY_NORMAL, 0)};
    ck_assert_int_eq(publish("a", 0, records, 4), ST_OK);
    ck_assert_uint_eq(group_partition_lag(known("a", 0)), 3);
    (void)ack(2);
    ck_assert_uint_eq(group_partition_lag(known("a", 0)), 2);
    now_us += MINUTE_US;
    cmd = (struct command){.type = COMMAND_DELAY_DUE};
    cmd.delay_due = (struct command_delay_due){1, 0, 10};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_uint_eq(group_partition_lag(known("a", 0)), 3);
}
END_TEST

Suite *suite_machine_handover(void)
{
    Suite *suite = suite_create("machine_handover");
    TCase *tcase = tcase_create("machine_handover");
    tcase_add_checked_fixture(tcase, setup, fixture_teardown);
    tcase_add_test(tcase, owner_keeps_what_it_is_asked_for);
    tcase_add_test(tcase, generation_rises_when_all_are_let_go);
    tcase_add_test(tcase, revoking_what_nobody_asked_for_changes_nothing);
    tcase_add_test(tcase, deadline_takes_what_is_not_let_go);
    tcase_add_test(tcase, leaving_owner_hands_over_at_once);
    tcase_add_test(tcase, leaving_successor_takes_the_asking_back);
    tcase_add_test(tcase, third_member_takes_over_the_asking);
    tcase_add_test(tcase, eager_members_lose_partitions_at_once);
    tcase_add_test(tcase, turning_eager_ends_the_asking);
    tcase_add_test(tcase, deleted_topic_ends_the_rebalance);
    tcase_add_test(tcase, ordering_is_the_last_that_was_asked_for);
    tcase_add_test(tcase, grown_topic_is_read_at_once);
    tcase_add_test(tcase, topic_only_grows);
    tcase_add_test(tcase, publish_to_the_old_count_is_stale);
    tcase_add_test(tcase, reset_sets_every_partition);
    tcase_add_test(tcase, reset_stays_within_the_log);
    tcase_add_test(tcase, reset_back_forgets_what_was_done);
    tcase_add_test(tcase, reset_is_all_or_nothing);
    tcase_add_test(tcase, reset_of_an_unread_topic_holds);
    tcase_add_test(tcase, lag_counts_what_can_be_seen);
    suite_add_tcase(suite, tcase);
    return suite;
}
