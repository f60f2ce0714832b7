#include "tests/unit/machine_fixture.h"

Suite *suite_machine(void);

START_TEST(machine_topics)
{
    ck_assert_int_eq(create("orders", 6, false), ST_OK);
    ck_assert(result.topic.created && result.topic.id == 1);
    ck_assert_str_eq(events, "created ");
    ck_assert_int_eq(create("orders", 3, false), ST_TOPIC_EXISTS);
    ck_assert(!result.topic.created && result.topic.partition_count == 6);
    ck_assert_int_eq(create("orders", 3, true), ST_OK);
    ck_assert(!result.topic.created);
    ck_assert_str_eq(events, "");
    ck_assert_int_eq(delete_topic("orders"), ST_OK);
    ck_assert_int_eq(delete_topic("orders"), ST_TOPIC_NOT_FOUND);
    ck_assert_int_eq(create("orders", 1, false), ST_OK);
    ck_assert_uint_eq(result.topic.id, 2); /* never reused */
}
END_TEST

START_TEST(machine_joiners_share_a_generation)
{
    (void)create("orders", 6, false);
    struct span orders[] = {span_text("orders")}, missing[] = {span_text("missing")};
    struct joiner joiners[] = {joiner("a", orders, 1), joiner("x", missing, 1),
                               joiner("b", orders, 1), joiner("c", orders, 1)};
    ck_assert_int_eq(join(joiners, 4), ST_OK);
    ck_assert_str_eq(events, "changed ");
    ck_assert_uint_eq(result.join.generation, 1);
    ck_assert_uint_eq(result.join.member_count, 3);
    ck_assert(span_equal(result.join.leader_id, span_text("a")));
    ck_assert_int_eq(result.join.joined[1].status, ST_TOPIC_NOT_FOUND);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(result.join.joined[i].assigned_count, i == 1 ? 0 : 2);
    ck_assert(result.join.joined[0].leader && !result.join.joined[2].leader);
    ck_assert_uint_eq(result.join.joined[2].assigned[0].partition, 1);
    ck_assert_uint_eq(result.join.joined[2].assigned[1].partition, 4);
}
END_TEST

START_TEST(machine_no_group_without_a_member)
{
    ck_assert_int_eq(join_one("a", "missing"), ST_TOPIC_NOT_FOUND);
    ck_assert_ptr_null(group());
    ck_assert_uint_eq(result.join.generation, 0);
    ck_assert_int_eq(leave("a"), ST_GROUP_NOT_FOUND);
    ck_assert_int_eq(commit("a", "t", 0, 0, -1), ST_GROUP_NOT_FOUND);
}
END_TEST

START_TEST(machine_rejoin)
{
    (void)create("a", 2, false);
    (void)create("b", 2, false);
    struct span topics[] = {span_text("b"), span_text("a"), span_text("b")};
    struct joiner one = joiner("m", topics, 1);
    one.rejoin = true;
    (void)join(&one, 1);
    ck_assert_int_eq(result.join.joined[0].status, ST_MEMBER_NOT_FOUND);
    one.rejoin = false;
    (void)join(&one, 1);
    ck_assert_uint_eq(result.join.generation, 1);
    (void)join(&one, 1);
    ck_assert_int_eq(result.join.joined[0].status, ST_INVALID_ARGUMENT);
    one.rejoin = true;
    one.session_us = 5;
    (void)join(&one, 1);
    ck_assert_uint_eq(result.join.generation, 1); /* nothing that others could see */
    ck_assert_str_eq(events, "");
    ck_assert_int_eq(group()->members[0]->session_us, 5);
    one.topic_count = 3; /* b twice */
    (void)join(&one, 1);
    ck_assert_uint_eq(result.join.generation, 2);
    ck_assert_uint_eq(result.join.joined[0].assigned_count, 4);
    ck_assert(span_equal(result.join.joined[0].assigned[0].topic, span_text("a")));
    ck_assert_uint_eq(group()->members[0]->changed_generation, 2);
}
END_TEST

START_TEST(machine_only_the_affected_are_told)
{
    (void)create("a", 4, false);
    (void)create("b", 4, false);
    (void)join_one("one", "a");
    (void)join_one("two", "b");
    ck_assert_uint_eq(group()->generation, 2);
    (void)join_one("three", "b");
    ck_assert_uint_eq(group()->generation, 3);
    ck_assert_uint_eq(group()->members[0]->changed_generation, 1);
    ck_assert_uint_eq(group()->members[1]->changed_generation, 3);
    ck_assert_uint_eq(group()->members[2]->changed_generation, 3);
}
END_TEST

START_TEST(machine_leave)
{
    (void)create("a", 2, false);
    (void)join_one("one", "a");
    (void)join_one("two", "a");
    ck_assert_int_eq(leave("one"), ST_OK);
    ck_assert_str_eq(events, "member_gone changed ");
    ck_assert_uint_eq(group()->generation, 3);
    ck_assert_uint_eq(group()->members[0]->assigned_count, 2);
    ck_assert_int_eq(leave("one"), ST_OK); /* again: harmless */
    ck_assert_uint_eq(group()->generation, 3);
    ck_assert_int_eq(leave("nobody"), ST_MEMBER_NOT_FOUND);
    now_us += 10 * MINUTE_US;
    ck_assert_int_eq(leave("one"), ST_OK);
    now_us += 1;
    ck_assert_int_eq(leave("one"), ST_MEMBER_NOT_FOUND);
    ck_assert_int_eq(commit("one", "a", 0, 0, -1), ST_MEMBER_NOT_FOUND);
    ck_assert_int_eq(leave("two"), ST_OK);
    ck_assert_ptr_nonnull(group()); /* dead, but it keeps its positions */
    ck_assert_uint_eq(group()->partition_count, 2);
    ck_assert_uint_eq(group()->departed_count, 1); /* what is too old was dropped */
}
END_TEST

START_TEST(machine_departed_are_bounded)
{
    (void)create("a", 1, false);
    for (int i = 0; i < DEPARTED_MAX + 10; i++) {
        char id[16];
        ck_assert_int_gt(snprintf(id, sizeof id, "m%d", i), 0);
        ck_assert_int_eq(join_one(id, "a"), ST_OK);
        ck_assert_int_eq(leave(id), ST_OK);
    }
    ck_assert_uint_eq(group()->departed_count, DEPARTED_MAX);
    ck_assert_int_eq(leave("m9"), ST_MEMBER_NOT_FOUND);
    ck_assert_int_eq(leave("m10"), ST_OK);
}
END_TEST

START_TEST(machine_member_ids_may_hold_any_byte)
{
    (void)create("a", 2, false);
    struct span topics[] = {span_text("a")};
    struct joiner two[] = {joiner("", topics, 1), joiner("", topics, 1)};
    two[0].member_id = span_of("m\0x", 3);
    two[1].member_id = span_of("m\0y", 3);
    (void)join(two, 2);
    ck_assert_uint_eq(result.join.member_count, 2);
    cmd = (struct command){.type = COMMAND_GROUP_LEAVE};
    cmd.group_leave =
        (struct command_group_leave){span_text("g"), span_of("m\0y", 3), LEAVE_SESSION_EXPIRED};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert(span_equal(group()->members[0]->id, span_of("m\0x", 3)));
    ck_assert_int_eq(leave("m"), ST_MEMBER_NOT_FOUND);
}
END_TEST

START_TEST(machine_acks)
{
    (void)create("a", 1, false);
    fill("a", 0, 10);
    (void)join_one("one", "a");
    struct acked acked = ack(2);
    ck_assert(acked.status == ST_OK && !acked.already && !acked.advanced && acked.committed == 0);
    acked = ack(1);
    ck_assert(!acked.advanced && acked.committed == 0);
    acked = ack(0);
    ck_assert(acked.advanced && acked.committed == 3);
    acked = ack(1);
    ck_assert(acked.status == ST_OK && acked.already && !acked.advanced && acked.committed == 3);
    ck_assert_int_eq(ack(10).status, ST_MESSAGE_NOT_FOUND);
    ck_assert_str_eq(events, "");
    ck_assert_int_eq(leave("one"), ST_OK); /* the receipt counts all the same */
    ck_assert(ack(3).advanced);
    ck_assert_int_eq(delete_topic("a"), ST_OK);
    ck_assert_int_eq(ack(4).status, ST_TOPIC_NOT_FOUND);
    ck_assert_int_eq(delete_group(), ST_OK);
    ck_assert_int_eq(ack(4).status, ST_GROUP_NOT_FOUND);
}
END_TEST

START_TEST(machine_commits)
{
    (void)create("a", 2, false);
    fill("a", 0, 10);
    (void)join_one("one", "a");
    (void)ack(4);
    ck_assert_int_eq(commit("one", "a", 0, 3, 1), ST_OK);
    ck_assert_str_eq(events, "moved ");
    ck_assert_uint_eq(group()->partitions[0]->position, 3);
    ck_assert(group_partition_is_done(group()->partitions[0], 4)); /* acked stays acked */
    ck_assert_int_eq(commit("one", "a", 0, 4, -1), ST_OK);
    ck_assert_uint_eq(group()->partitions[0]->position, 5);
    ck_assert_int_eq(commit("one", "a", 0, 5, -1), ST_OK);
    ck_assert_str_eq(events, ""); /* it is there already */
    (void)ack(7);
    ck_assert_int_eq(commit("one", "a", 0, 1, -1), ST_OK); /* back: all of it again */
    ck_assert_uint_eq(group()->partitions[0]->position, 1);
    ck_assert(!group_partition_is_done(group()->partitions[0], 4));
    ck_assert(!group_partition_is_done(group()->partitions[0], 7));
    ck_assert_int_eq(commit("one", "a", 0, 5000, -1), ST_OK); /* beyond the end */
    ck_assert_uint_eq(group()->partitions[0]->position, 5000);
}
END_TEST

START_TEST(machine_commits_all_or_none)
{
    (void)create("a", 2, false);
    fill("a", 0, 10);
    (void)join_one("one", "a");
    (void)join_one("two", "a");
    ck_assert_int_eq(commit("one", "a", 1, 3, -1), ST_NOT_ASSIGNED);
    ck_assert_int_eq(commit("one", "a", 2, 3, -1), ST_PARTITION_NOT_FOUND);
    ck_assert_int_eq(commit("one", "b", 0, 3, -1), ST_TOPIC_NOT_FOUND);
    ck_assert_int_eq(commit("one", "a", 0, 3, 1), ST_STALE_GENERATION);
    ck_assert_int_eq(commit("three", "a", 0, 3, 1), ST_MEMBER_NOT_FOUND);
    struct offset_entry entries[] = {{span_text("a"), 0, 3}, {span_text("a"), 1, 3}};
    cmd = (struct command){.type = COMMAND_OFFSETS_COMMIT};
    cmd.offsets_commit =
        (struct command_offsets_commit){span_text("g"), span_text("one"), entries, 2, -1};
    ck_assert_int_eq(apply(), ST_NOT_ASSIGNED);
    ck_assert_uint_eq(group()->partitions[0]->position, 0);
}
END_TEST

START_TEST(machine_where_a_group_starts)
{
    (void)create("a", 1, false);
    fill("a", 0, 10);
    struct span topics[] = {span_text("a")};
    struct joiner one = joiner("one", topics, 1);
    one.from_latest = true;
    (void)join(&one, 1);
    ck_assert_uint_eq(group()->partitions[0]->position, 10);
    ck_assert_int_eq(leave("one"), ST_OK);
    (void)join_one("two", "a"); /* from the earliest, but the group has a position */
    ck_assert_uint_eq(group()->partitions[0]->position, 10);
}
END_TEST

START_TEST(machine_topic_deleted_under_a_group)
{
    (void)create("a", 2, false);
    (void)create("b", 1, false);
    struct span both[] = {span_text("a"), span_text("b")};
    struct joiner one = joiner("one", both, 2);
    (void)join(&one, 1);
    (void)join_one("two", "b");
    ck_assert_int_eq(delete_topic("a"), ST_OK);
    ck_assert_str_eq(events, "partition_gone partition_gone changed deleted ");
    ck_assert_uint_eq(group()->generation, 3);
    ck_assert_uint_eq(group()->members[0]->changed_generation, 3);
    ck_assert_uint_eq(group()->members[0]->topic_count, 1);
    ck_assert_int_eq(delete_topic("b"), ST_OK);
    ck_assert_uint_eq(group()->members[0]->topic_count, 0); /* still a member */
    ck_assert_uint_eq(group()->partition_count, 0);
    ck_assert_uint_eq(group()->generation, 4);
}
END_TEST

START_TEST(machine_group_deleted)
{
    (void)create("a", 1, false);
    (void)join_one("one", "a");
    ck_assert_int_eq(delete_group(), ST_OK);
    ck_assert_str_eq(events, "member_gone partition_gone group_deleted ");
    ck_assert_int_eq(apply(), ST_GROUP_NOT_FOUND);
    (void)join_one("one", "a");
    ck_assert_uint_eq(result.join.group_id, 2);
    ck_assert_uint_eq(result.join.generation, 1);
}
END_TEST

START_TEST(machine_stats)
{
    (void)create("a", 1, false);
    struct query q = {.type = QUERY_STATS, .with_digest = true};
    struct query_result out;
    machine_query(machine, &q, &arena, &out);
    ck_assert(out.stats.topic_count == 1 && out.stats.group_count == 0);
    ck_assert(out.stats.applied_index == 1 && out.stats.digest == machine_digest(machine));
    q = (struct query){.type = QUERY_RESOLVE, .name = span_text("a")};
    machine_query(machine, &q, &arena, &out);
    ck_assert(out.status == ST_OK && out.topics->partitions == NULL && out.topics->id == 1);
}
END_TEST

START_TEST(machine_refuses_a_gap_in_the_journal)
{
    cmd = (struct command){.type = COMMAND_GROUP_DELETE};
    machine_apply(machine, &cmd, 2, &arena, &result);
}
END_TEST

Suite *suite_machine(void)
{
    Suite *suite = suite_create("machine");
    TCase *tcase = tcase_create("machine");
    tcase_set_timeout(tcase, 60); /* under sanitizers, on a busy machine */
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    tcase_add_test(tcase, machine_topics);
    tcase_add_test(tcase, machine_joiners_share_a_generation);
    tcase_add_test(tcase, machine_no_group_without_a_member);
    tcase_add_test(tcase, machine_rejoin);
    tcase_add_test(tcase, machine_only_the_affected_are_told);
    tcase_add_test(tcase, machine_leave);
    tcase_add_test(tcase, machine_departed_are_bounded);
    tcase_add_test(tcase, machine_member_ids_may_hold_any_byte);
    tcase_add_test(tcase, machine_acks);
    tcase_add_test(tcase, machine_commits);
    tcase_add_test(tcase, machine_commits_all_or_none);
    tcase_add_test(tcase, machine_where_a_group_starts);
    tcase_add_test(tcase, machine_topic_deleted_under_a_group);
    tcase_add_test(tcase, machine_group_deleted);
    tcase_add_test(tcase, machine_stats);
    tcase_add_test_raise_signal(tcase, machine_refuses_a_gap_in_the_journal, 6);
    suite_add_tcase(suite, tcase);
    return suite;
}
