#include <check.h>
#include <stdio.h>

#include "machine/machine.h"
#include "std/check.h"
#include "std/wire.h"
#include "tests/unit/golden.h"

Suite *suite_machine(void);

#define START_US  1700000000000000LL
#define MINUTE_US (60LL * 1000 * 1000)
enum { EVENTS_SIZE = 1024 };

static struct machine *machine;
static struct arena arena;
static struct command cmd;
static struct result result;
static int64_t now_us;
static char events[EVENTS_SIZE]; /* what the effects said, one word each */

static void event(const char *name)
{
    size_t used = strlen(events);
    int size = snprintf(events + used, sizeof events - used, "%s ", name);
    CHECK(size > 0 && used + (size_t)size < sizeof events);
}

static void on_created(void *user, const struct topic *t)
{
    (void)user, (void)t;
    event("created");
}

static void on_deleted(void *user, const struct topic *t)
{
    (void)user, (void)t;
    event("deleted");
}

static void on_changed(void *user, struct group *g)
{
    (void)user, (void)g;
    event("changed");
}

static void on_gone(void *user, struct group *g, struct member *member)
{
    (void)user, (void)g, (void)member;
    event("member_gone");
}

static void on_group_deleted(void *user, struct group *g)
{
    (void)user, (void)g;
    event("group_deleted");
}

static void on_moved(void *user, struct group_partition *gp)
{
    (void)user, (void)gp;
    event("moved");
}

static void on_partition_gone(void *user, struct group_partition *gp)
{
    (void)user, (void)gp;
    event("partition_gone");
}

static void setup(void)
{
    static const struct machine_effects effects = {.topic_created = on_created,
                                                   .topic_deleted = on_deleted,
                                                   .group_changed = on_changed,
                                                   .member_gone = on_gone,
                                                   .group_deleted = on_group_deleted,
                                                   .position_moved = on_moved,
                                                   .group_partition_gone = on_partition_gone};
    machine = machine_new(&effects);
    arena_init(&arena);
    now_us = START_US;
    events[0] = '\0';
}

static void teardown(void)
{
    machine_free(machine);
    arena_fini(&arena);
}

static enum status apply(void)
{
    cmd.time_us = now_us;
    events[0] = '\0';
    machine_apply(machine, &cmd, machine_applied_index(machine) + 1, &arena, &result);
    machine_check(machine);
    return result.status;
}

static enum status create(const char *name, uint32_t partitions, bool if_absent)
{
    cmd = (struct command){.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create = (struct command_topic_create){
        span_text(name), partitions, if_absent, {604800000000, -1, 30000000, 3, CLEANUP_DELETE}};
    return apply();
}

static enum status delete_topic(const char *name)
{
    cmd = (struct command){.type = COMMAND_TOPIC_DELETE};
    cmd.topic_delete.name = span_text(name);
    return apply();
}

static struct joiner joiner(const char *id, struct span *topics, uint32_t count)
{
    return (struct joiner){.member_id = span_text(id),
                           .client_id = span_text("client"),
                           .topics = topics,
                           .topic_count = count,
                           .session_us = 30000000,
                           .in_flight_max = 1000};
}

static enum status join(struct joiner *joiners, uint32_t count)
{
    cmd = (struct command){.type = COMMAND_GROUP_JOIN};
    cmd.group_join = (struct command_group_join){span_text("g"), joiners, count};
    return apply();
}

static enum status join_one(const char *id, const char *topic)
{
    struct span topics[] = {span_text(topic)};
    struct joiner one = joiner(id, topics, 1);
    (void)join(&one, 1);
    return result.join.joined[0].status;
}

static enum status leave(const char *id)
{
    cmd = (struct command){.type = COMMAND_GROUP_LEAVE};
    cmd.group_leave = (struct command_group_leave){span_text("g"), span_text(id), LEAVE_ASKED};
    return apply();
}

static enum status commit(const char *id, const char *topic, uint32_t partition, uint64_t offset,
                          int64_t generation)
{
    struct offset_entry entry = {span_text(topic), partition, offset};
    cmd = (struct command){.type = COMMAND_OFFSETS_COMMIT};
    cmd.offsets_commit =
        (struct command_offsets_commit){span_text("g"), span_text(id), &entry, 1, generation};
    return apply();
}

static struct acked ack(uint64_t offset)
{
    struct ack_entry entry = {1, 0, offset};
    cmd = (struct command){.type = COMMAND_ACK};
    cmd.ack = (struct command_ack){1, 1, &entry};
    ck_assert_int_eq(apply(), ST_OK);
    return result.ack.acked[0];
}

/* Any number of messages: the partition's counters move as if they had been published. */
static void fill(const char *topic, uint32_t partition, uint64_t count)
{
    struct partition *p = &machine_find_topic(machine, span_text(topic))->partitions[partition];
    p->next_offset += count;
    p->message_count += count;
}

static struct group *group(void)
{
    return machine_find_group(machine, span_text("g"));
}

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
    cmd = (struct command){.type = COMMAND_GROUP_DELETE};
    cmd.group_delete.group = span_text("g");
    ck_assert_int_eq(apply(), ST_OK);
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
    cmd = (struct command){.type = COMMAND_GROUP_DELETE};
    cmd.group_delete.group = span_text("g");
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_str_eq(events, "member_gone partition_gone group_deleted ");
    ck_assert_int_eq(apply(), ST_GROUP_NOT_FOUND);
    (void)join_one("one", "a");
    ck_assert_uint_eq(result.join.group_id, 2);
    ck_assert_uint_eq(result.join.generation, 1);
}
END_TEST

/* A state with something of everything. */
static void build_golden_state(void)
{
    (void)create("acme/orders", 2, false);
    (void)create("orders", 3, false);
    fill("orders", 0, 100000);
    machine_find_topic(machine, span_text("orders"))->partitions[0].size_bytes = 4321;
    machine_find_topic(machine, span_text("orders"))->round_robin = 2;
    (void)join_one("one", "orders");
    (void)join_one("two", "orders");
    (void)join_one("gone", "orders");
    now_us += MINUTE_US;
    (void)leave("gone");
    static const uint64_t acked[] = {0, 1, 3, 5, 6, 99999};
    for (size_t i = 0; i < sizeof acked / sizeof acked[0]; i++) {
        struct ack_entry entry = {2, 0, acked[i]};
        cmd = (struct command){.type = COMMAND_ACK};
        cmd.ack = (struct command_ack){1, 1, &entry};
        (void)apply();
    }
}

START_TEST(machine_golden_snapshot)
{
    build_golden_state();
    struct buf image, golden, again;
    buf_init(&image, SIZE_MAX);
    buf_init(&again, SIZE_MAX);
    machine_save(machine, &image);
    golden_read("machine-v1.bin", buf_span(&image), &golden);
    ck_assert(span_equal(buf_span(&image), buf_span(&golden)));

    machine_free(machine);
    machine = machine_new(NULL);
    ck_assert_int_eq(machine_load(machine, buf_span(&golden)), ST_OK);
    machine_check(machine);
    machine_save(machine, &again);
    ck_assert(span_equal(buf_span(&again), buf_span(&golden)));
    ck_assert_uint_eq(machine_digest(machine), 4871038759102866224ULL);
    ck_assert_uint_eq(machine_applied_index(machine), 12);
    ck_assert_int_eq(machine_time_us(machine), START_US + MINUTE_US);
    const struct topic *t = machine_find_topic(machine, span_text("orders"));
    ck_assert(t->id == 2 && t->partition_count == 3 && t->round_robin == 2);
    ck_assert(t->created_us == START_US && t->settings.retention_us == 604800000000);
    ck_assert(t->partitions[0].next_offset == 100000 && t->partitions[0].size_bytes == 4321);
    const struct group *g = group();
    ck_assert(g->generation == 4 && g->member_count == 2 && g->departed_count == 1);
    ck_assert(span_equal(g->members[1]->id, span_text("two")));
    ck_assert(span_equal(g->departed[0].member_id, span_text("gone")));
    const struct group_partition *gp = group_find_partition(g, 2, 0);
    ck_assert_uint_eq(gp->position, 2);
    ck_assert_uint_eq(offset_set_count(&gp->done), 4);
    ck_assert(group_partition_is_done(gp, 99999) && !group_partition_is_done(gp, 4));
    buf_fini(&image);
    buf_fini(&golden);
    buf_fini(&again);
}
END_TEST

START_TEST(machine_load_refuses_every_cut)
{
    build_golden_state();
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    for (size_t size = 0; size < image.size; size++) {
        struct machine *m = machine_new(NULL);
        ck_assert_int_eq(machine_load(m, span_of(image.data, size)), ST_CORRUPT);
        machine_free(m);
    }
    buf_fini(&image);
}
END_TEST

START_TEST(machine_load_survives_every_flip)
{
    build_golden_state();
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    for (size_t bit = 0; bit < image.size * 8; bit++) {
        struct machine *m = machine_new(NULL);
        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (machine_load(m, buf_span(&image)) == ST_OK)
            machine_check(m);
        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        machine_free(m);
    }
    buf_fini(&image);
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
    tcase_add_checked_fixture(tcase, setup, teardown);
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
    tcase_add_test(tcase, machine_golden_snapshot);
    tcase_add_test(tcase, machine_load_refuses_every_cut);
    tcase_add_test(tcase, machine_load_survives_every_flip);
    tcase_add_test(tcase, machine_stats);
    tcase_add_test_raise_signal(tcase, machine_refuses_a_gap_in_the_journal, 6);
    suite_add_tcase(suite, tcase);
    return suite;
}
