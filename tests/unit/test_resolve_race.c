/* Two requests for one delivery, the second before the first one's command is applied; and what
 * commits, leaves, deletions and replays do to a delivery whose end is under way. */
#include "tests/unit/delivery_client.h"

Suite *suite_resolve_race(void);

static struct receipt receipt; /* of the only message, held by alice */

static void setup(void)
{
    clients_setup();
    join_now(&alice, 100);
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
    receipt = poll_one(&alice);
    settle();
}

enum operation { ACK, NACK, REJECT, EXTEND };

struct answer {
    enum status status;
    bool already;
};

static void begin(struct client *c, enum operation operation)
{
    static const enum resolve_kind kinds[] = {
        [NACK] = RESOLVE_NACK, [REJECT] = RESOLVE_REJECT, [EXTEND] = RESOLVE_EXTEND};
    c->ack_receipt = receipt;
    if (operation == ACK)
        begin_ack(c, &c->ack_receipt, 1);
    else
        (void)begin_resolve(c, &c->resolve, kinds[operation], receipt, 5 * WORLD_SECOND);
}

static struct answer answer_of(const struct client *c, enum operation operation)
{
    if (operation == ACK)
        return (struct answer){c->ack.acked[0].status, c->ack.acked[0].already};
    return (struct answer){c->resolve.status, c->resolve.already};
}

static void assert_answer(const struct client *c, enum operation operation, struct answer expected)
{
    struct answer got = answer_of(c, operation);
    ck_assert_int_eq(got.status, expected.status);
    if (expected.status == ST_OK)
        ck_assert_int_eq(got.already, expected.already);
}

#define OK                                                                                         \
    {                                                                                              \
        ST_OK, false                                                                               \
    }
#define ALREADY                                                                                    \
    {                                                                                              \
        ST_OK, true                                                                                \
    }
#define EXPIRED                                                                                    \
    {                                                                                              \
        ST_RECEIPT_EXPIRED, false                                                                  \
    }
#define UNKNOWN                                                                                    \
    {                                                                                              \
        ST_MESSAGE_NOT_FOUND, false                                                                \
    }

/* The second one's answer; the first one always succeeds. */
static const struct {
    enum operation first, second;
    struct answer answer;
} pairs[] = {
    {ACK, ACK, ALREADY},     {ACK, NACK, UNKNOWN},      {ACK, REJECT, UNKNOWN},
    {ACK, EXTEND, UNKNOWN},  {NACK, ACK, EXPIRED},      {NACK, NACK, ALREADY},
    {NACK, REJECT, EXPIRED}, {NACK, EXTEND, EXPIRED},   {REJECT, ACK, ALREADY},
    {REJECT, NACK, UNKNOWN}, {REJECT, REJECT, ALREADY}, {REJECT, EXTEND, UNKNOWN},
    {EXTEND, ACK, OK},       {EXTEND, NACK, OK},        {EXTEND, REJECT, OK},
    {EXTEND, EXTEND, OK},
};

START_TEST(second_request_before_the_first_is_applied)
{
    enum operation first = pairs[_i].first, second = pairs[_i].second;
    begin(&alice, first);
    begin(&bob, second);
    settle();
    assert_answer(&alice, first, (struct answer)OK);
    assert_answer(&bob, second, pairs[_i].answer);
    enum operation won = first == EXTEND ? second : first;
    ck_assert_uint_eq(message_count("orders.dlq", 0), won == REJECT ? 1 : 0);
    ck_assert_uint_eq(group_partition("orders", 0)->position, won == ACK || won == REJECT ? 1 : 0);
    ck_assert_uint_eq(stats().in_flight, won == EXTEND ? 1 : 0);
    if (won == NACK)
        ck_assert_int_eq(lease_of(0, 0)->state, LEASE_DELAYED);
    const struct topic_totals *totals =
        &machine_find_topic(world.machine, span_text("orders"))->totals;
    ck_assert_uint_eq(totals->acked, won == ACK);
    ck_assert_uint_eq(totals->nacked, won == NACK);
    ck_assert_uint_eq(totals->rejected, won == REJECT);
}
END_TEST

/* The same two, the second after the first: with the same answers. */
START_TEST(second_request_after_the_first_is_applied)
{
    enum operation first = pairs[_i].first, second = pairs[_i].second;
    begin(&alice, first);
    settle();
    begin(&bob, second);
    settle();
    assert_answer(&alice, first, (struct answer)OK);
    assert_answer(&bob, second, pairs[_i].answer);
}
END_TEST

START_TEST(ack_overtakes_a_slow_dead_letter)
{
    begin(&alice, REJECT);
    begin(&bob, ACK);
    delay_job();
    settle();
    assert_answer(&bob, ACK, (struct answer)OK);
    assert_answer(&alice, REJECT, (struct answer)UNKNOWN);
    ck_assert_int_eq(alice.resolves_done, 1);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 0);
    ck_assert_ptr_null(lease_of(0, 0));
}
END_TEST

/* Gets the message delivered `count` times; `receipt` is the last one, *out_first the first. */
static void deliver_again(uint32_t count, struct receipt *out_first)
{
    *out_first = receipt;
    while (receipt.delivery_count < count) {
        (void)extend_now(&alice, receipt, WORLD_SECOND);
        delivery_touch(world.delivery, span_text("workers"), span_text("alice-1"), world.now_us);
        pass(WORLD_SECOND + 2000);
        receipt = poll_one(&alice);
    }
}

START_TEST(stale_ack_does_not_undo_a_dead_letter)
{
    struct receipt first;
    deliver_again(2, &first);
    begin(&alice, REJECT);
    bob.ack_receipt = first; /* redelivered since: void */
    begin_ack(&bob, &bob.ack_receipt, 1);
    if (jobs_under_way() > 0 && bob.ack.command.ack.entry_count > 0)
        delay_job();
    settle();
    ck_assert_int_eq(bob.ack.acked[0].status, ST_RECEIPT_EXPIRED);
    assert_answer(&alice, REJECT, (struct answer)OK);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
}
END_TEST

START_TEST(right_ack_beats_a_passed_deadline)
{
    struct receipt first;
    deliver_again(3, &first);
    (void)extend_now(&alice, receipt, WORLD_SECOND);
    world_pass(&world, 2 * WORLD_SECOND);
    ck_assert_uint_eq(jobs_under_way(), 1);
    begin(&bob, ACK);
    delay_job();
    settle();
    assert_answer(&bob, ACK, (struct answer)OK);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 0);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
}
END_TEST

START_TEST(requests_behind_a_passed_deadline)
{
    struct receipt first;
    deliver_again(3, &first);
    (void)extend_now(&alice, receipt, WORLD_SECOND);
    world_pass(&world, 2 * WORLD_SECOND);
    ck_assert_uint_eq(jobs_under_way(), 1);
    begin(&alice, REJECT);
    begin(&bob, NACK);
    settle();
    assert_answer(&alice, REJECT, (struct answer)UNKNOWN); /* nobody's dead letter */
    assert_answer(&bob, NACK, (struct answer)UNKNOWN);
    ck_assert_int_eq(alice.resolves_done + bob.resolves_done, 2);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(stats().in_flight, 0);
}
END_TEST

START_TEST(many_repeats_under_way)
{
    begin(&alice, NACK);
    (void)begin_resolve(&alice, &alice.second, RESOLVE_NACK, receipt, 0);
    begin(&bob, NACK);
    ck_assert_uint_eq(lease_of(0, 0)->commands, 3);
    ck_assert(world_apply(&world));
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_SETTLING); /* until the last of them */
    ck_assert_uint_eq(poll_now(&alice, 1), 0);
    settle();
    assert_answer(&alice, NACK, (struct answer)OK);
    ck_assert(alice.second.already && bob.resolve.already);
    ck_assert_int_eq(alice.second.next_us, alice.resolve.next_us);
    ck_assert_int_eq(bob.resolve.next_us, alice.resolve.next_us);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_DELAYED);
    pass(6 * WORLD_SECOND);
    ck_assert_uint_eq(poll_one(&alice).delivery_count, 2);
}
END_TEST

START_TEST(commit_over_it_meanwhile)
{
    submit_commit(&alice, 0, 1);
    begin(&alice, NACK);
    settle();
    assert_answer(&alice, NACK, (struct answer)UNKNOWN);
    ck_assert_ptr_null(lease_of(0, 0));
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
    receipt = poll_one(&alice);
    submit_commit(&alice, 0, 2);
    begin(&alice, REJECT);
    settle();
    assert_answer(&alice, REJECT, (struct answer)UNKNOWN);
    ck_assert_ptr_null(lease_of(0, 1));
    ck_assert_uint_eq(message_count("orders.dlq", 0), 0);
    ck_assert_uint_eq(stats().in_flight, 0);
}
END_TEST

START_TEST(commit_back_behind_it_meanwhile)
{
    submit_commit(&alice, 0, 1);
    submit_commit(&alice, 0, 0);
    begin(&alice, NACK); /* it comes last */
    settle();
    assert_answer(&alice, NACK, (struct answer)OK);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_DELAYED);
    pass(6 * WORLD_SECOND);
    receipt = poll_one(&alice);
    ck_assert_uint_eq(receipt.delivery_count, 2);
    begin(&alice, REJECT);
    submit_commit(&alice, 0, 0);
    settle();
    assert_answer(&alice, REJECT, (struct answer)OK);
    receipt = poll_one(&alice); /* the commit came last */
    ck_assert_uint_eq(receipt.delivery_count, 1);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
}
END_TEST

/* Two rejects with one handle, a commit back between their commands. */
START_TEST(commit_back_between_two_rejects)
{
    begin(&alice, REJECT);
    submit_commit(&alice, 0, 0);
    begin(&bob, REJECT);
    settle();
    assert_answer(&alice, REJECT, (struct answer)OK);
    ck_assert_int_eq(bob.resolve.status, ST_OK);
    ck_assert(bob.resolve.already);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(stats().in_flight, lease_of(0, 0) == NULL ? 0 : 1);
}
END_TEST

START_TEST(leave_meanwhile)
{
    begin(&bob, NACK);
    submit_leave(&alice);
    settle();
    assert_answer(&bob, NACK, (struct answer)OK);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_DELAYED);
    ck_assert_ptr_null(lease_of(0, 0)->holder);
    join_now(&carol, 10);
    pass(6 * WORLD_SECOND);
    receipt = poll_one(&carol);
    begin(&bob, REJECT);
    submit_leave(&carol);
    settle();
    assert_answer(&bob, REJECT, (struct answer)OK);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
}
END_TEST

START_TEST(topic_deleted_meanwhile)
{
    publish("orders", 0, PRIORITY_NORMAL, 0, 1);
    struct receipt second = poll_one(&alice);
    struct command cmd = {.type = COMMAND_TOPIC_DELETE,
                          .topic_delete = {.name = span_text("orders")}};
    world_submit(&world, &cmd);
    begin(&alice, NACK);
    (void)begin_resolve(&bob, &bob.resolve, RESOLVE_REJECT, second, 0);
    settle();
    assert_answer(&alice, NACK, (struct answer)UNKNOWN);
    assert_answer(&bob, REJECT, (struct answer)UNKNOWN);
    ck_assert_int_eq(bob.resolves_done, 1);
    ck_assert_uint_eq(stats().in_flight, 0);
    ck_assert_int_eq(nack_now(&alice, receipt, 0)->status, ST_MESSAGE_NOT_FOUND);
}
END_TEST

START_TEST(group_deleted_meanwhile)
{
    struct command cmd = {.type = COMMAND_GROUP_DELETE,
                          .group_delete = {.group = span_text("workers")}};
    world_submit(&world, &cmd);
    begin(&bob, REJECT);
    settle();
    assert_answer(&bob, REJECT, (struct answer)UNKNOWN);
    ck_assert_int_eq(extend_now(&alice, receipt, 1)->status, ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(stats().in_flight, 0);
}
END_TEST

static void submit_replay(uint64_t offset)
{
    const struct topic *t = machine_find_topic(world.machine, span_text("orders"));
    struct buf batch;
    struct batch_builder builder;
    buf_init(&batch, BATCH_SIZE_MAX);
    batch_begin(&builder, &batch);
    batch_add(&builder, &(struct record){.value = span_text("m"), .priority = PRIORITY_NORMAL});
    batch_end(&builder);
    struct replay_entry entry = {.offset = offset, .hash = 1, .batch = buf_span(&batch)};
    struct command cmd = {
        .type = COMMAND_REPLAY,
        .replay = {
            .topic_id = t->id, .target_topic_id = t->id, .entry_count = 1, .entries = &entry}};
    world_submit(&world, &cmd);
    buf_fini(&batch);
}

START_TEST(moved_away_while_it_is_out)
{
    leave(&alice);
    join_now(&carol, 1);
    receipt = poll_one(&carol);
    start_poll(&carol, 1, 20 * WORLD_SECOND); /* no room */
    submit_replay(0);
    settle();
    ck_assert_uint_eq(received(&carol), 1); /* the copy, in the other partition */
    ck_assert_uint_eq(carol.poll.runs[0].partition, 1);
    ck_assert_ptr_null(lease_of(0, 0));
    ck_assert_uint_eq(stats().in_flight, 1);
    ck_assert_int_eq(nack_now(&alice, receipt, 0)->status, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(reject_now(&alice, receipt)->status, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(extend_now(&alice, receipt, 1)->status, ST_MESSAGE_NOT_FOUND);
    ck_assert(ack_now(&alice, receipt)->already);
}
END_TEST

START_TEST(moved_away_while_its_end_is_under_way)
{
    submit_replay(0);
    begin(&alice, NACK);
    settle();
    assert_answer(&alice, NACK, (struct answer)UNKNOWN);
    ck_assert_ptr_null(lease_of(0, 0));
    receipt = poll_one(&alice);
    ck_assert_uint_eq(receipt.partition, 1);
    const struct topic *t = machine_find_topic(world.machine, span_text("orders"));
    submit_replay(0); /* gone already: skipped */
    begin(&alice, REJECT);
    settle();
    assert_answer(&alice, REJECT, (struct answer)OK);
    ck_assert_uint_eq(t->partitions[1]->message_count, 1);
    ck_assert_uint_eq(stats().in_flight, 0);
}
END_TEST

Suite *suite_resolve_race(void)
{
    Suite *suite = suite_create("resolve_race");
    TCase *tcase = tcase_create("resolve_race");
    enum { PAIRS = sizeof pairs / sizeof pairs[0] };
    tcase_add_checked_fixture(tcase, setup, clients_teardown);
    tcase_add_loop_test(tcase, second_request_before_the_first_is_applied, 0, PAIRS);
    tcase_add_loop_test(tcase, second_request_after_the_first_is_applied, 0, PAIRS);
    tcase_add_test(tcase, ack_overtakes_a_slow_dead_letter);
    tcase_add_test(tcase, stale_ack_does_not_undo_a_dead_letter);
    tcase_add_test(tcase, right_ack_beats_a_passed_deadline);
    tcase_add_test(tcase, requests_behind_a_passed_deadline);
    tcase_add_test(tcase, many_repeats_under_way);
    tcase_add_test(tcase, commit_over_it_meanwhile);
    tcase_add_test(tcase, commit_back_behind_it_meanwhile);
    tcase_add_test(tcase, commit_back_between_two_rejects);
    tcase_add_test(tcase, leave_meanwhile);
    tcase_add_test(tcase, topic_deleted_meanwhile);
    tcase_add_test(tcase, group_deleted_meanwhile);
    tcase_add_test(tcase, moved_away_while_it_is_out);
    tcase_add_test(tcase, moved_away_while_its_end_is_under_way);
    suite_add_tcase(suite, tcase);
    return suite;
}
