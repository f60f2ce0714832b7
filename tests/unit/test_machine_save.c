/* The machine's image: golden files of each version, and images that are broken. */
#include "machine/state.h"
#include "tests/unit/golden.h"
#include "tests/unit/machine_fixture.h"

Suite *suite_machine_save(void);

static void create_with_everything(void)
{
    cmd = (struct command){.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create =
        (struct command_topic_create){span_text("orders"), 3, false, fixture_settings()};
    cmd.topic_create.settings.in_flight_max = 7;
    cmd.topic_create.settings.priority_mode = PRIORITY_WEIGHTED;
    cmd.topic_create.settings.cleanup = CLEANUP_COMPACT;
    ck_assert_int_eq(apply(), ST_OK);
}

static void ack_some(void)
{
    static const uint64_t acked[] = {0, 1, 3, 5, 6, 99999};
    for (size_t i = 0; i < sizeof acked / sizeof acked[0]; i++)
        (void)ack_at(2, 0, acked[i]);
}

static void deliver_some(void)
{
    struct lease_entry leases[] = {
        {{1, 2, 0, 10}, 5, 1, false, now_us + 30 * SECOND_US, now_us},
        {{1, 2, 0, 7}, 1, 2, false, now_us + 31 * SECOND_US, START_US},
        {{1, 2, 0, 8}, 1, 1, true, now_us + MINUTE_US, START_US + 1},
    };
    cmd = (struct command){.type = COMMAND_LEASE};
    cmd.lease = (struct command_lease){UINT64_MAX, 3, leases};
    (void)apply();
    struct release_entry releases[] = {
        {{1, 2, 0, 20}, 500, 2, RELEASE_NACK, now_us + 9, START_US + 2, span_text("no stock")},
        {{1, 2, 0, 21}, 501, 1, RELEASE_RETURNED, 0, 0, span_text("")},
    };
    cmd = (struct command){.type = COMMAND_RELEASE};
    cmd.release = (struct command_release){UINT64_MAX, 2, releases};
    (void)apply();
    struct dead_letter_entry dead[] = {
        {{1, 2, 0, 30}, 600, 1, DEAD_LETTER_REJECTED, true, false, 4, batch_of_one("d")},
        {{1, 2, 0, 31}, 601, 3, DEAD_LETTER_MAX_RETRIES, false, true, 4, batch_of_one("e")},
        {{1, 2, 0, 32}, 602, 3, DEAD_LETTER_MAX_RETRIES, false, false, 4, {0}},
    };
    cmd = (struct command){.type = COMMAND_DEAD_LETTER};
    cmd.dead_letter = (struct command_dead_letter){fixture_settings(), 3, dead};
    (void)apply();
}

static void delay_some(void)
{
    const struct record records[] = {
        record_of(PRIORITY_NORMAL, 0),          record_of(PRIORITY_CRITICAL, 0),
        record_of(PRIORITY_LOW, 2 * MINUTE_US), record_of(PRIORITY_NORMAL, MINUTE_US),
        record_of(PRIORITY_HIGH, SECOND_US),    record_of(PRIORITY_BACKGROUND, 0)};
    (void)publish("orders", 1, records, 6);
    cmd = (struct command){.type = COMMAND_DELAY_CANCEL};
    cmd.delay_cancel = (struct command_delay_cancel){2, 1, 3, now_us + MINUTE_US};
    (void)apply();
    now_us += SECOND_US;
    cmd = (struct command){.type = COMMAND_DELAY_DUE};
    cmd.delay_due = (struct command_delay_due){2, 1, 10};
    (void)apply();
    struct replay_entry replay = {0, 2, batch_of_one("d")};
    cmd = (struct command){.type = COMMAND_REPLAY};
    cmd.replay = (struct command_replay){3, 1, 2, 1, &replay};
    (void)apply();
}

static void begin_handover(void)
{
    struct span topics[] = {span_text("orders")};
    const char *ids[] = {"first", "second"};
    for (int i = 0; i < 2; i++) {
        struct joiner member = joiner(ids[i], topics, 1);
        member.cooperative = true;
        member.ordering = ORDERING_KEY;
        cmd = (struct command){.type = COMMAND_GROUP_JOIN};
        cmd.group_join = (struct command_group_join){span_text("handover"), &member, 1};
        ck_assert_int_eq(apply(), ST_OK);
    }
}

static struct producer_ref init_producer(const char *id)
{
    cmd = (struct command){.type = COMMAND_PRODUCER_INIT};
    cmd.producer_init =
        (struct command_producer_init){span_text("acme/"), span_text(id), 60 * SECOND_US};
    ck_assert_int_eq(apply(), ST_OK);
    return (struct producer_ref){
        .scope = span_text("acme/"), .id = result.producer.id, .epoch = result.producer.epoch};
}

static void publish_as(struct producer_ref who)
{
    cmd = (struct command){.type = COMMAND_TRANSACTION_PUBLISH};
    cmd.transaction_publish =
        (struct command_transaction_publish){.producer = who,
                                             .topic_id = 2,
                                             .partition_count = 3,
                                             .target = 2,
                                             .sequence = 7,
                                             .content = span_text("sixteen bytes ok"),
                                             .batch = batch_of_one("t")};
    ck_assert_int_eq(apply(), ST_OK);
}

static void publish_once(void)
{
    struct span batch = batch_of_one("once");
    struct buf entry;
    buf_init(&entry, BATCH_SIZE_MAX);
    wire_put_u32(&entry, 0);
    wire_put_u32(&entry, (uint32_t)batch.size);
    buf_put_span(&entry, batch);
    cmd = (struct command){.type = COMMAND_PUBLISH};
    cmd.publish = (struct command_publish){.topic_id = 1,
                                           .partition_count = 2,
                                           .entry_count = 1,
                                           .entries = arena_copy(&arena, buf_span(&entry)),
                                           .idempotency_key = span_text("0123456789abcdef"),
                                           .memo = span_text("memo")};
    buf_fini(&entry);
    ck_assert_int_eq(apply(), ST_OK);
}

/* One that is committed, one that is open, numbers outside of them, and an idempotency key. */
static void begin_transactions(void)
{
    (void)init_producer("transfer");
    struct producer_ref who = init_producer("transfer");
    for (int i = 0; i < 2; i++) {
        cmd = (struct command){.type = COMMAND_TRANSACTION_BEGIN};
        cmd.transaction_begin.producer = who;
        ck_assert_int_eq(apply(), ST_OK);
        publish_as(who);
        if (i == 1)
            break;
        cmd = (struct command){.type = COMMAND_TRANSACTION_END};
        cmd.transaction_end = (struct command_transaction_end){.producer = who};
        ck_assert_int_eq(apply(), ST_OK);
    }
    struct ack_entry entry = {2, 0, 4};
    cmd = (struct command){.type = COMMAND_TRANSACTION_ACK};
    cmd.transaction_ack = (struct command_transaction_ack){who, 1, 1, &entry};
    ck_assert_int_eq(apply(), ST_OK);
    publish_as(init_producer(""));
    publish_once();
}

/* A state with something of everything. */
static void build_golden_state(void)
{
    (void)create("acme/orders", 2, false);
    create_with_everything();
    fill("orders", 0, 100000);
    topic("orders")->partitions[0]->size_bytes = 4321;
    topic("orders")->round_robin = 2;
    (void)join_one("one", "orders");
    struct span topics[] = {span_text("orders")};
    struct joiner two = joiner("two", topics, 1);
    two.deliveries_max = 9;
    two.visibility_us = 5 * SECOND_US;
    (void)join(&two, 1);
    (void)join_one("gone", "orders");
    now_us += MINUTE_US;
    (void)leave("gone");
    ack_some();
    deliver_some();
    delay_some();
    begin_handover();
    begin_transactions();
}

static struct buf load_golden(const char *name)
{
    struct buf image, golden;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    golden_read(name, buf_span(&image), &golden);
    buf_fini(&image);
    machine_free(machine);
    machine = machine_new(NULL);
    ck_assert_int_eq(machine_load(machine, buf_span(&golden)), ST_OK);
    machine_check(machine);
    check_image();
    return golden;
}

/* What images of all versions have. */
static void check_golden_basics(void)
{
    const struct topic *t = topic("orders");
    ck_assert(t->id == 2 && t->partition_count == 3 && t->round_robin == 2);
    ck_assert(t->created_us == START_US && t->settings.retention_us == 604800000000);
    ck_assert(t->partitions[0]->next_offset == 100000 && t->partitions[0]->size_bytes == 4321);
    const struct group *g = group();
    ck_assert(g->generation == 4 && g->member_count == 2 && g->departed_count == 1);
    ck_assert(span_equal(g->members[1]->id, span_text("two")));
    ck_assert(span_equal(g->departed[0].member_id, span_text("gone")));
    const struct group_partition *gp = group_find_partition(g, 2, 0);
    ck_assert_uint_eq(gp->position, 2);
    ck_assert(group_partition_is_done(gp, 99999) && !group_partition_is_done(gp, 4));
}

START_TEST(golden_image_of_version_1)
{
    struct buf golden = load_golden("machine-v1.bin");
    ck_assert_uint_eq(golden.data[0], 1);
    check_golden_basics();
    ck_assert_uint_eq(machine_applied_index(machine), 12);
    ck_assert_int_eq(machine_time_us(machine), START_US + MINUTE_US);
    const struct topic *t = topic("orders");
    ck_assert_uint_eq(t->settings.in_flight_max, 0);
    ck_assert_uint_eq(t->settings.delayed_max, DELAYED_MAX_DEFAULT);
    ck_assert_int_eq(t->settings.priority_mode, PRIORITY_STRICT);
    ck_assert(t->totals.acked == 0 && t->totals.scheduled == 0);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_ptr_null(t->partitions[i]->exceptions);
    const struct group_partition *gp = known("orders", 0);
    ck_assert_uint_eq(offset_set_count(&gp->done), 4);
    ck_assert(gp->retry_count == 0 && offset_set_is_empty(&gp->out) && gp->out_until_us == 0);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_uint_eq(group()->members[i]->deliveries_max, 0);
    ck_assert_ptr_null(machine_find_resolved(machine, 500));
    now_us = START_US + MINUTE_US; /* and it goes on with it */
    ck_assert(ack_at(2, 0, 2).advanced);
    ck_assert_int_eq(publish_one("orders", 0, PRIORITY_HIGH, SECOND_US), ST_OK);
    ck_assert_uint_eq(topic("orders")->pending_count, 1);
    buf_fini(&golden);
}
END_TEST

static void check_golden_deliveries(void)
{
    const struct group_partition *gp = known("orders", 0);
    ck_assert_uint_eq(offset_set_count(&gp->done), 7);
    ck_assert_uint_eq(offset_set_count(&gp->out), 5);
    ck_assert_int_eq(gp->out_until_us, START_US + MINUTE_US + 30 * SECOND_US);
    ck_assert_uint_eq(gp->retry_count, 4);
    const struct retry *retry = group_partition_find_retry(gp, 20);
    ck_assert(retry->returned && retry->delivery_count == 2);
    ck_assert_int_eq(retry->not_before_us, START_US + MINUTE_US + 9);
    ck_assert_int_eq(retry->first_us, START_US + 2);
    assert_reason(retry, "no stock");
    retry = group_partition_find_retry(gp, 8);
    ck_assert(!retry->returned && retry->delivery_count == 1 && retry->reason_size == 0);
    retry = group_partition_find_retry(gp, 21);
    ck_assert(retry->returned && retry->not_before_us == 0 && retry->first_us == 0);
    const struct resolved *resolved = machine_find_resolved(machine, 500);
    ck_assert(resolved != NULL && resolved->how == RESOLVED_NACKED);
    resolved = machine_find_resolved(machine, 600);
    ck_assert(resolved != NULL && resolved->how == RESOLVED_REJECTED);
    ck_assert(resolved->delivery_count == 1 && resolved->time_us == START_US + MINUTE_US);
    resolved = machine_find_resolved(machine, 601);
    ck_assert(resolved != NULL && resolved->how == RESOLVED_NACKED_DEAD);
    ck_assert_ptr_null(machine_find_resolved(machine, 602));
    ck_assert(group()->members[0]->deliveries_max == 0 && group()->members[1]->deliveries_max == 9);
}

static void check_golden_delays(void)
{
    const struct partition *p = topic("orders")->partitions[1];
    ck_assert_uint_eq(p->message_count, 5);
    ck_assert_uint_eq(topic("orders")->pending_count, 1);
    ck_assert(partition_is_gone(p, 3) && !partition_is_gone(p, 2) && partition_is_hidden(p, 2));
    ck_assert(due_index_has(&p->exceptions->due, START_US + 3 * MINUTE_US, 2));
    static const enum priority lanes[] = {PRIORITY_NORMAL, PRIORITY_CRITICAL, PRIORITY_NORMAL,
                                          PRIORITY_NORMAL, PRIORITY_HIGH,     PRIORITY_BACKGROUND};
    for (uint64_t i = 0; i < 6; i++)
        ck_assert_int_eq(partition_lane_of(p, i), lanes[i]);
    ck_assert_uint_eq(partition_priority_count(p, PRIORITY_LOW), 1);
    const struct topic_totals *totals = &topic("orders")->totals;
    ck_assert(totals->acked == 6 && totals->nacked == 2 && totals->rejected == 1);
    ck_assert(totals->dead_rejected == 1 && totals->dead_max_retries == 1);
    ck_assert(totals->dropped == 1 && totals->scheduled == 3 && totals->due == 1);
    ck_assert(totals->cancelled == 1);
    ck_assert_uint_eq(totals->scheduled_delay_us, 3 * MINUTE_US + SECOND_US);
    const struct topic *dead = topic("orders.dlq");
    ck_assert(dead->id == 3 && dead->partitions[1]->message_count == 1);
    ck_assert(partition_is_gone(dead->partitions[1], 0));
}

static void check_golden_settings(void)
{
    ck_assert_int_eq(machine_time_us(machine), START_US + MINUTE_US + SECOND_US);
    ck_assert_uint_eq(topic("orders")->settings.in_flight_max, 7);
    ck_assert_uint_eq(topic("orders")->settings.delayed_max, 1000);
    ck_assert_int_eq(topic("orders")->settings.priority_mode, PRIORITY_WEIGHTED);
    ck_assert_int_eq(topic("orders")->settings.cleanup, CLEANUP_COMPACT);
    check_golden_basics();
    check_golden_deliveries();
    check_golden_delays();
}

START_TEST(golden_image_of_version_2)
{
    struct buf golden = load_golden("machine-v2.bin");
    ck_assert_uint_eq(golden.data[0], 2);
    check_golden_settings();
    const struct group *g = group();
    ck_assert(g->ordering == ORDERING_NONE && g->open_rebalances == 0);
    ck_assert(g->rebalances.total > 0 && g->rebalances.total == g->rebalances.successful);
    ck_assert(g->rebalances.total == g->rebalances.by_reason[REBALANCE_MEMBER_JOINED]);
    for (uint32_t i = 0; i < g->partition_count; i++) {
        ck_assert(g->partitions[i]->successor == NULL && g->partitions[i]->owner_index == 0);
        ck_assert(g->partitions[i]->owner == NULL || !g->partitions[i]->owner->cooperative);
    }
    now_us = START_US + MINUTE_US + SECOND_US; /* and it goes on with it */
    ck_assert_int_eq(leave("one"), ST_OK);
    ck_assert_uint_eq(group()->generation, 5);
    buf_fini(&golden);
}
END_TEST

static void check_golden_rebalances(void)
{
    const struct rebalance_stats *stats = &group()->rebalances;
    ck_assert(stats->total == 4 && stats->successful == 4 && stats->failed == 0);
    ck_assert_uint_eq(stats->by_reason[REBALANCE_MEMBER_JOINED], 3);
    ck_assert_uint_eq(stats->by_reason[REBALANCE_MEMBER_LEFT], 1);
    ck_assert_int_eq(stats->last_us, START_US + MINUTE_US);
    const struct group *g = machine_find_group(machine, span_text("handover"));
    ck_assert(g->ordering == ORDERING_KEY && g->generation == 1 && g->open_rebalances == 1);
    ck_assert_int_eq(g->rebalance_began_us, START_US + MINUTE_US + SECOND_US);
    const struct group_partition *gp = group_find_partition(g, 2, 2);
    ck_assert(gp->owner == g->members[0] && gp->successor == g->members[1]);
    ck_assert_int_eq(gp->revoke_by_us, START_US + MINUTE_US + SECOND_US + REVOCATION_TIMEOUT_US);
    ck_assert(gp->owner_generation == 1 && gp->owner_index > 0);
    ck_assert(g->members[0]->cooperative && g->members[1]->cooperative);
    ck_assert_uint_eq(g->members[1]->assigned_count, 0);
}

START_TEST(golden_image_of_version_3)
{
    struct buf golden = load_golden("machine-v3.bin");
    ck_assert_uint_eq(golden.data[0], 3);
    check_golden_settings();
    check_golden_rebalances();
    ck_assert(machine->producers.count == 0 && machine->producers.next_id == 1);
    ck_assert(machine->transactions.open_count == 0 && machine->transactions.next_number == 1);
    ck_assert_uint_eq(machine->idempotency.count, 0);
    now_us = START_US + MINUTE_US + SECOND_US; /* and it goes on with it */
    begin_transactions();
    ck_assert_uint_eq(machine->transactions.open_count, 1);
    buf_fini(&golden);
}
END_TEST

static void check_golden_transactions(void)
{
    const struct producer *named =
        producer_find_named(&machine->producers, span_text("acme/"), span_text("transfer"));
    ck_assert(named != NULL && named->id == 1 && named->epoch == 1 && named->open != NULL);
    ck_assert_int_eq(named->last, TRANSACTION_ONGOING);
    ck_assert(named->committed_count == 1 && named->timeout_us == 60 * SECOND_US);
    const struct transaction *t = named->open;
    ck_assert(t->number == 2 && t->message_count == 1 && t->ack_count == 1);
    ck_assert(t->messages[0].topic_id == 2 && t->messages[0].partition == 2);
    ck_assert(offset_set_has(&known("orders", 0)->reserved, t->acks[0].place.offset));
    ck_assert_int_eq(t->expires_us, now_us + 60 * SECOND_US);
    ck_assert(!list_empty(&t->sequences) && machine->producers.aged_count == 1);
    ck_assert(machine->transactions.ended_count == 1 && machine->idempotency.count == 1);
    ck_assert_uint_eq(partition_stable_end(topic("orders")->partitions[2]), 2);
}

START_TEST(golden_image_of_version_4)
{
    build_golden_state();
    struct buf image, golden;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    uint64_t digest = machine_digest(machine), index = machine_applied_index(machine);
    golden = load_golden("machine-v4.bin");
    ck_assert(span_equal(buf_span(&image), buf_span(&golden)));
    ck_assert_uint_eq(machine_digest(machine), digest);
    ck_assert_uint_eq(machine_digest(machine), 928344447249368149ULL);
    ck_assert_uint_eq(machine_applied_index(machine), index);
    check_golden_settings();
    check_golden_rebalances();
    check_golden_transactions();
    buf_fini(&image);
    buf_fini(&golden);
}
END_TEST

/* One that was loaded goes on exactly as the one that was saved. */
START_TEST(loaded_machine_goes_on_alike)
{
    build_golden_state();
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    uint64_t digests[2];
    for (int turn = 0; turn < 2; turn++) {
        deliver_some();
        (void)ack_at(2, 0, 8);
        (void)ack_at(2, 0, 2);
        now_us += 5 * MINUTE_US;
        cmd = (struct command){.type = COMMAND_DELAY_DUE};
        cmd.delay_due = (struct command_delay_due){2, 1, 10};
        (void)apply();
        ck_assert_uint_eq(result.delay_due.count, 1);
        (void)leave("one");
        digests[turn] = machine_digest(machine);
        if (turn == 1)
            break;
        now_us -= 5 * MINUTE_US;
        machine_free(machine);
        machine = machine_new(NULL);
        ck_assert_int_eq(machine_load(machine, buf_span(&image)), ST_OK);
    }
    ck_assert_uint_eq(digests[0], digests[1]);
    buf_fini(&image);
}
END_TEST

START_TEST(load_refuses_every_cut)
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

START_TEST(load_survives_every_flip)
{
    build_golden_state();
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    size_t refused = 0;
    for (size_t bit = 0; bit < image.size * 8; bit++) {
        struct machine *m = machine_new(NULL);
        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (machine_load(m, buf_span(&image)) == ST_OK)
            machine_check(m);
        else
            refused++;
        image.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        machine_free(m);
    }
    ck_assert_uint_gt(refused, image.size * 8 / 4);
    buf_fini(&image);
}
END_TEST

/* Images of one version are not taken for those of another. */
START_TEST(load_refuses_another_version)
{
    build_golden_state();
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    for (uint8_t version = 0; version < 5; version++) {
        struct machine *m = machine_new(NULL);
        image.data[0] = version;
        ck_assert_int_eq(machine_load(m, buf_span(&image)), version == 4 ? ST_OK : ST_CORRUPT);
        machine_free(m);
    }
    buf_fini(&image);
}
END_TEST

Suite *suite_machine_save(void)
{
    Suite *suite = suite_create("machine_save");
    TCase *tcase = tcase_create("machine_save");
    tcase_set_timeout(tcase, 60); /* under sanitizers, on a busy machine */
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    tcase_add_test(tcase, golden_image_of_version_1);
    tcase_add_test(tcase, golden_image_of_version_2);
    tcase_add_test(tcase, golden_image_of_version_3);
    tcase_add_test(tcase, golden_image_of_version_4);
    tcase_add_test(tcase, loaded_machine_goes_on_alike);
    tcase_add_test(tcase, load_refuses_every_cut);
    tcase_add_test(tcase, load_survives_every_flip);
    tcase_add_test(tcase, load_refuses_another_version);
    suite_add_tcase(suite, tcase);
    return suite;
}
