/* Acks in transactions: who has the message while one is open, and what becomes of it at its end.
 */
#include "tests/unit/key_client.h"

Suite *suite_delivery_transaction(void);

#define TIMEOUT_US (60 * WORLD_SECOND)

static struct producer { /* as a client knows itself: the first is 1, the next 2 */
    struct producer_ref ref;
    const char *name;
} first, second;

static uint64_t boot_id;

static enum status apply(const struct command *cmd)
{
    world_submit(&world, cmd);
    settle();
    return world.last_status;
}

static void begin(const struct producer *p)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_BEGIN};
    cmd.transaction_begin.producer = p->ref;
    ck_assert_int_eq(apply(&cmd), ST_OK);
}

static struct producer init(const char *name, uint64_t id)
{
    struct command cmd = {.type = COMMAND_PRODUCER_INIT};
    cmd.producer_init =
        (struct command_producer_init){(struct span){0}, span_text(name), TIMEOUT_US};
    ck_assert_int_eq(apply(&cmd), ST_OK);
    struct producer p = {.ref = {.id = id}, .name = name};
    begin(&p);
    return p;
}

/* Three messages, alice the only member, two producers with an open transaction each. */
static void setup(void)
{
    boot_id = 42;
    clients_setup();
    join_now(&alice, 100);
    publish("orders", 0, PRIORITY_NORMAL, 0, 3);
    first = init("one", 1);
    second = init("two", 2);
}

static void submit_end(const struct producer *p, enum transaction_end how)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_END};
    cmd.transaction_end = (struct command_transaction_end){.producer = p->ref, .how = how};
    world_submit(&world, &cmd);
}

static void end(const struct producer *p, enum transaction_end how)
{
    submit_end(p, how);
    settle();
    ck_assert_int_eq(world.last_status, ST_OK);
}

static struct transaction_ack_request request;

/* True: it is answered already. */
static bool begin_ack_in(const struct producer *p, struct receipt *receipts, uint32_t count)
{
    request = (struct transaction_ack_request){
        .producer = p->ref, .receipts = receipts, .count = count, .arena = &alice.arena};
    bool answered = delivery_transaction_ack_begin(world.delivery, &request, world.now_us);
    if (!answered)
        world_submit(&world, &request.command)->transaction_ack = &request;
    delivery_check(world.delivery);
    return answered;
}

static enum status ack_in(const struct producer *p, struct receipt receipt)
{
    (void)begin_ack_in(p, &receipt, 1);
    settle();
    return request.status;
}

static void restart(void)
{
    settle();
    boot_id += 1ULL << 32; /* ids of two runs never meet */
    world_restart(&world, boot_id);
    delivery_check(world.delivery);
}

/* The same, with the state by way of a snapshot. */
static void reload(void)
{
    settle();
    world_stop(&world);
    world_reload(&world);
    boot_id += 1ULL << 32;
    world_start(&world, boot_id);
    delivery_check(world.delivery);
}

/* What everything but an ack in that transaction is answered. */
static void assert_answers(struct receipt receipt, enum status ack, enum status other)
{
    ck_assert_int_eq(ack_now(&bob, receipt)->status, ack);
    ck_assert_int_eq(nack_now(&bob, receipt, 0)->status, other);
    ck_assert_int_eq(reject_now(&bob, receipt)->status, other);
    ck_assert_int_eq(extend_now(&bob, receipt, WORLD_SECOND)->status, other);
}

static void assert_reserved(struct receipt receipt)
{
    assert_answers(receipt, ST_TRANSACTION_IN_PROGRESS, ST_TRANSACTION_IN_PROGRESS);
}

START_TEST(acked_is_nobodys_till_the_commit)
{
    struct receipt receipt = poll_one(&alice);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    assert_reserved(receipt);
    live(40 * WORLD_SECOND); /* beyond its deadline */
    assert_reserved(receipt);
    ck_assert_uint_eq(poll_now(&alice, 10), 2); /* the others */
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 1);
    end(&first, TRANSACTION_COMMIT);
    ck_assert_ptr_null(lease_of(0, 0));
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
    ck_assert(ack_now(&alice, receipt)->already);
    ck_assert_int_eq(alice.ack.acked[0].status, ST_OK);
    assert_answers(receipt, ST_OK, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(ack_in(&second, receipt), ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(request.refused, 0);
}
END_TEST

START_TEST(aborted_goes_on_till_its_deadline)
{
    struct receipt receipt = poll_one(&alice);
    live(10 * WORLD_SECOND);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    ck_assert_uint_eq(stats().in_flight, 1);
    live(10 * WORLD_SECOND);
    end(&first, TRANSACTION_ABORT);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_LEASED);
    live(9 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 1), 1); /* not that one */
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 1);
    live(2 * WORLD_SECOND);
    ck_assert_uint_eq(stats().expired_total, 1);
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).delivery_count, 2);
}
END_TEST

START_TEST(after_an_abort_its_receipt_is_good)
{
    for (int i = 0; i < 4; i++) {
        struct receipt receipt = poll_one(&alice);
        ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
        end(&first, TRANSACTION_ABORT);
        begin(&first);
        if (i == 0) {
            ck_assert_int_eq(nack_now(&alice, receipt, 0)->status, ST_OK);
        } else if (i == 1) {
            ck_assert_int_eq(extend_now(&alice, receipt, WORLD_SECOND)->status, ST_OK);
            ck_assert_int_eq(reject_now(&alice, receipt)->status, ST_OK);
        } else if (i == 2) {
            ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_OK);
        } else {
            ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
            end(&first, TRANSACTION_COMMIT);
        }
    }
    ck_assert_uint_eq(group_partition("orders", 0)->position, 3);
}
END_TEST

START_TEST(expiry_is_an_abort)
{
    struct receipt receipt = poll_one(&alice);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    live(59 * WORLD_SECOND);
    assert_reserved(receipt);
    live(3 * WORLD_SECOND); /* the deadline is long over */
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
    ck_assert_int_eq(ack_in(&first, receipt_of(&alice, 0, 0)), ST_TRANSACTION_ABORTED);
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_RECEIPT_EXPIRED);
    ck_assert_int_eq(ack_now(&alice, receipt_of(&alice, 0, 0))->status, ST_OK);
}
END_TEST

START_TEST(all_receipts_or_none)
{
    ck_assert_uint_eq(poll_now(&alice, 3), 3);
    struct receipt receipts[] = {receipt_of(&alice, 0, 0), receipt_of(&alice, 0, 1),
                                 receipt_of(&alice, 0, 2)};
    ck_assert_int_eq(ack_now(&bob, receipts[1])->status, ST_OK);
    ck_assert(begin_ack_in(&first, receipts, 3));
    ck_assert(request.status == ST_MESSAGE_NOT_FOUND && request.refused == 1);
    receipts[1] = receipts[0];
    receipts[1].lease_id += 100; /* of this run, and nobody's */
    ck_assert(begin_ack_in(&first, receipts, 3));
    ck_assert(request.status != ST_OK && request.refused == 1);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_LEASED);
    ck_assert_int_eq(lease_of(0, 2)->state, LEASE_LEASED);
    receipts[1] = receipts[0]; /* twice in one request is once */
    ck_assert(!begin_ack_in(&first, receipts, 3));
    settle();
    ck_assert(request.status == ST_OK && request.refused == 3);
    assert_reserved(receipts[0]);
    ck_assert_int_eq(ack_in(&first, receipts[2]), ST_OK); /* a repeat */
    ck_assert_uint_eq(stats().in_flight, 2);
    end(&first, TRANSACTION_COMMIT);
    ck_assert_uint_eq(stats().in_flight, 0);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 3);
    ck_assert_uint_eq(group_partition("orders", 0)->partition->topic->totals.acked, 3);
}
END_TEST

START_TEST(refused_by_the_machine_changes_nothing)
{
    struct receipt receipt = poll_one(&alice);
    struct producer other = first;
    other.ref.epoch++;
    ck_assert_int_eq(ack_in(&other, receipt), ST_PRODUCER_FENCED);
    ck_assert_uint_eq(request.refused, 1);  /* it is not the receipt's fault */
    submit_end(&first, TRANSACTION_COMMIT); /* comes before it */
    ck_assert_int_eq(ack_in(&first, receipt), ST_NO_TRANSACTION);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_LEASED);
    live(29 * WORLD_SECOND);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_LEASED); /* with its deadline */
    live(2 * WORLD_SECOND);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_EXPIRED);
}
END_TEST

START_TEST(one_transaction_at_a_time)
{
    struct receipt receipt = poll_one(&alice);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    ck_assert_int_eq(ack_in(&second, receipt), ST_TRANSACTION_IN_PROGRESS);
    assert_reserved(receipt);
    end(&first, TRANSACTION_ABORT);
    ck_assert_int_eq(ack_in(&second, receipt), ST_OK);
    end(&second, TRANSACTION_COMMIT);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
}
END_TEST

/* Both requests are under way when the first one's transaction ends. */
START_TEST(the_end_overtakes_a_second_ack)
{
    static struct transaction_ack_request late;
    struct receipt receipt = poll_one(&alice);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    submit_end(&first, TRANSACTION_ABORT);
    late = (struct transaction_ack_request){
        .producer = second.ref, .receipts = &receipt, .count = 1, .arena = &alice.arena};
    ck_assert(!delivery_transaction_ack_begin(world.delivery, &late, world.now_us));
    world_submit(&world, &late.command)->transaction_ack = &late;
    settle();
    ck_assert_int_eq(late.status, ST_OK);
    assert_reserved(receipt);
    end(&second, TRANSACTION_ABORT);
    ck_assert_int_eq(ack_now(&alice, receipt)->status, ST_OK);
}
END_TEST

START_TEST(an_ack_under_way_comes_first)
{
    struct receipt receipt = poll_one(&alice);
    begin_ack(&alice, &receipt, 1);
    ck_assert(begin_ack_in(&first, &receipt, 1));
    ck_assert_int_eq(request.status, ST_RECEIPT_EXPIRED);
    settle();
    ck_assert_int_eq(alice.ack.acked[0].status, ST_OK);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
}
END_TEST

START_TEST(late_but_before_another_delivery)
{
    struct receipt receipt = poll_one(&alice);
    live(31 * WORLD_SECOND);
    ck_assert_int_eq(lease_of(0, 0)->state, LEASE_EXPIRED);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 1);
    end(&first, TRANSACTION_ABORT);
    live(1000);
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
    ck_assert_int_eq(ack_in(&second, receipt), ST_RECEIPT_EXPIRED); /* delivered again since */
}
END_TEST

START_TEST(members_may_go_meanwhile)
{
    ck_assert_uint_eq(poll_now(&alice, 2), 2);
    struct receipt receipts[] = {receipt_of(&alice, 0, 0), receipt_of(&alice, 0, 1)};
    ck_assert_int_eq(ack_in(&first, receipts[0]), ST_OK);
    ck_assert_int_eq(ack_in(&second, receipts[1]), ST_OK);
    leave(&alice);
    join_now(&bob, 100);
    ck_assert_uint_eq(poll_now(&bob, 10), 1); /* the one that was never out */
    end(&first, TRANSACTION_COMMIT);
    end(&second, TRANSACTION_ABORT);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
    live(1000); /* nobody has it any more */
    ck_assert_uint_eq(poll_now(&bob, 10), 1);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).offset, 1);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).delivery_count, 2);
}
END_TEST

START_TEST(room_comes_with_the_commit)
{
    leave(&alice);
    join_now(&bob, 1);
    struct receipt receipt = poll_one(&bob);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    start_poll(&bob, 10, 20 * WORLD_SECOND);
    ck_assert_int_eq(bob.polls_done, 0); /* it holds one still */
    end(&first, TRANSACTION_COMMIT);
    ck_assert_uint_eq(received(&bob), 1);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).offset, 1);
}
END_TEST

static void outlives_a_restart(void (*again)(void))
{
    ck_assert_uint_eq(poll_now(&alice, 3), 3);
    struct receipt receipts[] = {receipt_of(&alice, 0, 0), receipt_of(&alice, 0, 1),
                                 receipt_of(&alice, 0, 2)};
    live(5 * WORLD_SECOND);
    ck_assert_int_eq(ack_in(&first, receipts[0]), ST_OK);
    ck_assert_int_eq(ack_in(&second, receipts[1]), ST_OK);
    again();
    assert_reserved(receipts[0]);
    assert_reserved(receipts[1]);
    ck_assert_uint_eq(stats().in_flight, 3);
    ck_assert_int_eq(ack_in(&first, receipts[0]), ST_OK); /* a repeat */
    ck_assert_int_eq(ack_in(&first, receipts[1]), ST_TRANSACTION_IN_PROGRESS);
    end(&first, TRANSACTION_COMMIT);
    ck_assert(ack_now(&alice, receipts[0])->already);
    end(&second, TRANSACTION_ABORT);
    live(20 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 0); /* till the old deadline */
    ck_assert_int_eq(ack_now(&alice, receipts[1])->status, ST_OK);
    live(6 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 2);
}

START_TEST(acks_outlive_a_restart)
{
    outlives_a_restart(restart);
}
END_TEST

START_TEST(acks_outlive_a_snapshot)
{
    outlives_a_restart(reload);
}
END_TEST

START_TEST(timers_outlive_a_restart)
{
    struct receipt receipt = poll_one(&alice);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    live(40 * WORLD_SECOND);
    restart();
    live(19 * WORLD_SECOND);
    assert_reserved(receipt);
    live(3 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 1), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
    begin(&first);
    ck_assert_int_eq(ack_in(&first, receipt_of(&alice, 0, 0)), ST_OK);
    world_stop(&world);
    world.now_us += 2 * TIMEOUT_US; /* it was down when the time came */
    world_start(&world, boot_id + (1ULL << 40));
    live(1000);
    begin(&first);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 0);
    ck_assert(offset_set_is_empty(&group_partition("orders", 0)->reserved));
}
END_TEST

/* It ends without having been started: as when the journal cannot be read. */
START_TEST(delivery_may_end_before_its_start)
{
    struct receipt receipt = poll_one(&alice);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    world_stop(&world);
    world_reload(&world);
    struct delivery_options options = {.boot_id = 7,
                                       .submit = world_option_submit,
                                       .connected = world_option_connected,
                                       .read_keys = world_option_read_keys,
                                       .user = &world};
    delivery_free(delivery_new(world.machine, &options));
    world_start(&world, 9);
}
END_TEST

START_TEST(rewinds_make_it_void)
{
    ck_assert_uint_eq(poll_now(&alice, 2), 2);
    struct receipt receipt = receipt_of(&alice, 0, 1);
    ck_assert_int_eq(ack_now(&bob, receipt_of(&alice, 0, 0))->status, ST_OK);
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    ck_assert_int_eq(commit(&alice, 0, 0), ST_OK);
    ck_assert_uint_eq(poll_now(&alice, 10), 2); /* still not the one in the transaction */
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 0);
    ck_assert_uint_eq(receipt_of(&alice, 0, 1).offset, 2);
    end(&first, TRANSACTION_COMMIT);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 0);
    live(31 * WORLD_SECOND);
    ck_assert_uint_eq(poll_now(&alice, 10), 3); /* at its deadline at the latest */
}
END_TEST

START_TEST(offsets_move_the_position_at_the_commit)
{
    struct receipt receipt = poll_one(&alice);
    struct offset_entry entry = {.topic = span_text("orders"), .partition = 0, .offset = 2};
    struct command cmd = {.type = COMMAND_TRANSACTION_OFFSETS};
    cmd.transaction_offsets =
        (struct command_transaction_offsets){.producer = first.ref,
                                             .commit = {.group = span_text("workers"),
                                                        .member_id = span_text("alice-1"),
                                                        .entries = &entry,
                                                        .entry_count = 1,
                                                        .generation = -1}};
    ck_assert_int_eq(apply(&cmd), ST_OK);
    ck_assert_int_eq(ack_in(&second, receipt), ST_OK);
    end(&first, TRANSACTION_COMMIT);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 2);
    ck_assert_uint_eq(poll_now(&alice, 10), 1);
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 2);
    end(&second, TRANSACTION_COMMIT); /* what it acked is done already */
    ck_assert_ptr_null(lease_of(0, 0));
}
END_TEST

static void submit_delete(enum command_type type)
{
    struct command cmd = {.type = type};
    if (type == COMMAND_TOPIC_DELETE)
        cmd.topic_delete.name = span_text("orders");
    else
        cmd.group_delete.group = span_text("workers");
    world_submit(&world, &cmd);
}

START_TEST(topics_and_groups_may_go_meanwhile)
{
    ck_assert_uint_eq(poll_now(&alice, 2), 2);
    struct receipt receipts[] = {receipt_of(&alice, 0, 0), receipt_of(&alice, 0, 1)};
    ck_assert_int_eq(ack_in(&first, receipts[0]), ST_OK);
    submit_delete(_i == 0 ? COMMAND_TOPIC_DELETE : COMMAND_GROUP_DELETE);
    ck_assert_int_eq(ack_in(&first, receipts[1]), ST_MESSAGE_NOT_FOUND); /* it came too late */
    ck_assert_uint_eq(stats().in_flight, 0);
    end(&first, TRANSACTION_COMMIT);
    ck_assert_int_eq(ack_in(&second, receipts[0]), ST_MESSAGE_NOT_FOUND);
}
END_TEST

START_TEST(the_last_delivery_becomes_a_dead_letter_after_the_end)
{
    struct receipt receipt = {0};
    for (int i = 0; i < 3; i++) {
        receipt = poll_one(&alice);
        ck_assert_uint_eq(receipt.offset, 0);
        if (i < 2)
            ck_assert_int_eq(nack_now(&alice, receipt, 0)->status, ST_OK);
    }
    ck_assert_int_eq(ack_in(&first, receipt), ST_OK);
    live(31 * WORLD_SECOND);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 0); /* the deadline is not at work */
    end(&first, TRANSACTION_ABORT);
    live(1000);
    ck_assert_uint_eq(message_count("orders.dlq", 0), 1);
    ck_assert_uint_eq(group_partition("orders", 0)->position, 1);
}
END_TEST

START_TEST(a_key_waits_for_the_end)
{
    leave(&alice);
    send(0, PRIORITY_NORMAL, 0, "aab");
    join_as(&bob, ORDERING_KEY);
    expect(&bob, "0 1 2 3 5"); /* those without a key, the first a, the b */
    ck_assert_int_eq(ack_in(&first, at(0, 3)), ST_OK);
    expect(&bob, "");
    end(&first, _i == 0 ? TRANSACTION_COMMIT : TRANSACTION_ABORT);
    expect(&bob, _i == 0 ? "4" : "");
    if (_i > 0)
        ck_assert_int_eq(ack_now(&bob, at(0, 3))->status, ST_OK);
    expect(&bob, _i == 0 ? "" : "4");
}
END_TEST

/* One message, without a lease to speak of till the end. */
static void send_in(const struct producer *p, const char *key)
{
    const struct record record = {
        .key = span_text(key), .value = span_text("m"), .priority = PRIORITY_NORMAL};
    struct buf batch;
    struct batch_builder builder;
    buf_init(&batch, BATCH_SIZE_MAX);
    batch_begin(&builder, &batch);
    batch_add(&builder, &record);
    batch_end(&builder);
    const struct topic *topic = machine_find_topic(world.machine, span_text("orders"));
    struct command cmd = {.type = COMMAND_TRANSACTION_PUBLISH};
    cmd.transaction_publish =
        (struct command_transaction_publish){.producer = p->ref,
                                             .topic_id = topic->id,
                                             .partition_count = topic->partition_count,
                                             .sequence = -1,
                                             .content = span_text("0123456789abcdef"),
                                             .batch = buf_span(&batch)};
    ck_assert_int_eq(apply(&cmd), ST_OK);
    buf_fini(&batch);
}

/* A key's order is that in which its messages became visible. */
START_TEST(open_messages_hold_no_key)
{
    leave(&alice);
    join_as(&bob, ORDERING_KEY);
    expect(&bob, "0 1 2");
    send_in(&first, "a"); /* 3 */
    send_in(&second, "b");
    send(0, PRIORITY_NORMAL, 0, "ab");
    expect(&bob, "5 6");
    start_poll(&bob, 10, 20 * WORLD_SECOND);
    end(&first, TRANSACTION_COMMIT);
    end(&second, TRANSACTION_ABORT);
    ck_assert_int_eq(bob.polls_done, 0); /* another a is out */
    ck_assert_int_eq(ack_now(&bob, at(0, 6))->status, ST_OK);
    ck_assert_int_eq(bob.polls_done, 0); /* there is no other b */
    ck_assert_int_eq(ack_now(&bob, at(0, 5))->status, ST_OK);
    ck_assert_uint_eq(received(&bob), 1);
    ck_assert_uint_eq(receipt_of(&bob, 0, 0).offset, 3);
}
END_TEST

START_TEST(the_commit_wakes_who_waits)
{
    publish("orders", 1, PRIORITY_NORMAL, 0, 1);
    ck_assert_uint_eq(poll_now(&alice, 10), 4);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    send_in(&first, "k");
    send_in(&second, "k");
    ck_assert_int_eq(alice.polls_done, 0);
    end(&second, TRANSACTION_COMMIT);
    ck_assert_uint_eq(received(&alice), 1); /* not held back by the one before it */
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 4);
    start_poll(&alice, 10, 20 * WORLD_SECOND);
    end(&first, TRANSACTION_COMMIT);
    ck_assert_uint_eq(received(&alice), 1); /* behind the cursor */
    ck_assert_uint_eq(receipt_of(&alice, 0, 0).offset, 3);
}
END_TEST

Suite *suite_delivery_transaction(void)
{
    Suite *suite = suite_create("delivery_transaction");
    TCase *tcase = tcase_create("delivery_transaction");
    tcase_set_timeout(tcase, 60); /* under sanitizers, on a busy machine */
    tcase_add_checked_fixture(tcase, setup, clients_teardown);
    tcase_add_test(tcase, acked_is_nobodys_till_the_commit);
    tcase_add_test(tcase, aborted_goes_on_till_its_deadline);
    tcase_add_test(tcase, after_an_abort_its_receipt_is_good);
    tcase_add_test(tcase, expiry_is_an_abort);
    tcase_add_test(tcase, all_receipts_or_none);
    tcase_add_test(tcase, refused_by_the_machine_changes_nothing);
    tcase_add_test(tcase, one_transaction_at_a_time);
    tcase_add_test(tcase, the_end_overtakes_a_second_ack);
    tcase_add_test(tcase, an_ack_under_way_comes_first);
    tcase_add_test(tcase, late_but_before_another_delivery);
    tcase_add_test(tcase, members_may_go_meanwhile);
    tcase_add_test(tcase, room_comes_with_the_commit);
    tcase_add_test(tcase, acks_outlive_a_restart);
    tcase_add_test(tcase, acks_outlive_a_snapshot);
    tcase_add_test(tcase, timers_outlive_a_restart);
    tcase_add_test(tcase, delivery_may_end_before_its_start);
    tcase_add_test(tcase, rewinds_make_it_void);
    tcase_add_test(tcase, offsets_move_the_position_at_the_commit);
    tcase_add_loop_test(tcase, topics_and_groups_may_go_meanwhile, 0, 2);
    tcase_add_test(tcase, the_last_delivery_becomes_a_dead_letter_after_the_end);
    tcase_add_loop_test(tcase, a_key_waits_for_the_end, 0, 2);
    tcase_add_test(tcase, open_messages_hold_no_key);
    tcase_add_test(tcase, the_commit_wakes_who_waits);
    suite_add_tcase(suite, tcase);
    return suite;
}
