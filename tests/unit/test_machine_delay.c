/* Delayed messages and priorities: PUBLISH, DELAY_DUE, DELAY_CANCEL and what is asked about them.
 */
#include "tests/unit/machine_fixture.h"

Suite *suite_machine_delay(void);

static void setup(void)
{
    fixture_setup();
    cmd = (struct command){.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create = (struct command_topic_create){span_text("a"), 2, false, fixture_settings()};
    cmd.topic_create.settings.delayed_max = 5;
    ck_assert_int_eq(apply(), ST_OK);
}

static enum status due(uint32_t partition, uint32_t count_max)
{
    cmd = (struct command){.type = COMMAND_DELAY_DUE};
    cmd.delay_due = (struct command_delay_due){1, partition, count_max};
    return apply();
}

static enum status cancel(uint32_t partition, uint64_t offset, int64_t due_us)
{
    cmd = (struct command){.type = COMMAND_DELAY_CANCEL};
    cmd.delay_cancel = (struct command_delay_cancel){1, partition, offset, due_us};
    return apply();
}

static struct partition *part(uint32_t index)
{
    return topic("a")->partitions[index];
}

static bool is_pending(uint64_t offset)
{
    return partition_is_hidden(part(0), offset) && !partition_is_gone(part(0), offset);
}

/* The first message of the lane from an offset on; -1: none. */
static int64_t next_in(enum priority lane, uint64_t from)
{
    uint64_t offset = 0;
    return partition_next_in_lane(part(0), lane, from, &offset) ? (int64_t)offset : -1;
}

START_TEST(plain_partitions_keep_nothing)
{
    ck_assert_int_eq(publish_one("a", 0, PRIORITY_NORMAL, 0), ST_OK);
    ck_assert_ptr_null(part(0)->exceptions);
    ck_assert_int_eq(next_in(PRIORITY_NORMAL, 0), 0);
    ck_assert_int_eq(next_in(PRIORITY_NORMAL, 1), -1);
    ck_assert_int_eq(next_in(PRIORITY_HIGH, 0), -1);
    ck_assert_int_eq(partition_lane_of(part(0), 0), PRIORITY_NORMAL);
    ck_assert(!partition_is_hidden(part(0), 0) && !partition_is_gone(part(0), 0));
    ck_assert_uint_eq(partition_skip_gone(part(0), 3), 3);
    ck_assert_uint_eq(partition_skip_hidden(part(0), 3), 3);
    ck_assert_int_eq(due(0, 10), ST_OK);
    ck_assert(result.delay_due.count == 0 && !result.delay_due.more);
    ck_assert_str_eq(events, "");
    ck_assert_int_eq(cancel(0, 0, now_us), ST_DELAYED_NOT_FOUND);
}
END_TEST

START_TEST(priorities_have_lanes)
{
    const struct record records[] = {
        record_of(PRIORITY_NORMAL, 0),  record_of(PRIORITY_CRITICAL, 0),
        record_of(PRIORITY_LOW, 0),     record_of(PRIORITY_NORMAL, 0),
        record_of(PRIORITY_HIGH, 0),    record_of(PRIORITY_BACKGROUND, 0),
        record_of(PRIORITY_CRITICAL, 0)};
    ck_assert_int_eq(publish("a", 0, records, 7), ST_OK);
    ck_assert_str_eq(events, "append:a/0@0 ");
    for (uint64_t i = 0; i < 7; i++)
        ck_assert_int_eq(partition_lane_of(part(0), i), records[i].priority);
    ck_assert_int_eq(next_in(PRIORITY_CRITICAL, 0), 1);
    ck_assert_int_eq(next_in(PRIORITY_CRITICAL, 2), 6);
    ck_assert_int_eq(next_in(PRIORITY_CRITICAL, 7), -1);
    ck_assert_int_eq(next_in(PRIORITY_NORMAL, 0), 0);
    ck_assert_int_eq(next_in(PRIORITY_NORMAL, 1), 3);
    ck_assert_int_eq(next_in(PRIORITY_NORMAL, 4), -1);
    ck_assert_int_eq(next_in(PRIORITY_LOW, 0), 2);
    ck_assert_int_eq(next_in(PRIORITY_HIGH, 0), 4);
    ck_assert_int_eq(next_in(PRIORITY_BACKGROUND, 0), 5);
    static const uint64_t counts[PRIORITY_COUNT] = {2, 1, 2, 1, 1};
    for (int i = 0; i < PRIORITY_COUNT; i++)
        ck_assert_uint_eq(partition_priority_count(part(0), (enum priority)i), counts[i]);
}
END_TEST

START_TEST(delayed_messages_are_pending)
{
    struct record records[] = {record_of(PRIORITY_NORMAL, 3 * SECOND_US),
                               record_of(PRIORITY_HIGH, 2 * SECOND_US),
                               record_of(PRIORITY_NORMAL, 0), record_of(PRIORITY_NORMAL, 0),
                               record_of(PRIORITY_NORMAL, 0)};
    records[2].deliver_at_us = now_us + 1;
    records[3].deliver_at_us = now_us; /* not in the future */
    records[4].deliver_at_us = 1;
    ck_assert_int_eq(publish("a", 0, records, 5), ST_OK);
    ck_assert_str_eq(events, "due:0 append:a/0@0 ");
    ck_assert(is_pending(0) && is_pending(1) && is_pending(2));
    ck_assert(!is_pending(3) && !is_pending(4));
    ck_assert_uint_eq(topic("a")->pending_count, 3);
    ck_assert_uint_eq(topic("a")->totals.scheduled, 3);
    ck_assert_uint_eq(topic("a")->totals.scheduled_delay_us, 5 * SECOND_US + 1);
    ck_assert_uint_eq(part(0)->message_count, 5);
    ck_assert_int_eq(next_in(PRIORITY_NORMAL, 0), 3);
    ck_assert_int_eq(next_in(PRIORITY_HIGH, 0), -1);
    ck_assert_uint_eq(partition_priority_count(part(0), PRIORITY_HIGH), 1);
    ck_assert_uint_eq(partition_skip_hidden(part(0), 0), 3);
    ck_assert_uint_eq(partition_skip_gone(part(0), 0), 0);
    ck_assert_int_eq(publish_one("a", 0, PRIORITY_NORMAL, SECOND_US), ST_OK);
    ck_assert_str_eq(events, "append:a/0@5 "); /* another one is due first */
    ck_assert_int_eq(publish_one("a", 1, PRIORITY_NORMAL, SECOND_US), ST_OK);
    ck_assert_str_eq(events, "due:1 append:a/1@0 ");
}
END_TEST

START_TEST(far_times_are_bounded)
{
    struct record records[] = {record_of(PRIORITY_NORMAL, INT64_MAX),
                               record_of(PRIORITY_NORMAL, DUE_US_MAX - START_US),
                               record_of(PRIORITY_NORMAL, 0)};
    records[2].deliver_at_us = INT64_MAX;
    ck_assert_int_eq(publish("a", 0, records, 3), ST_OK);
    for (uint64_t i = 0; i < 3; i++)
        ck_assert(due_index_has(&part(0)->exceptions->due, DUE_US_MAX, i));
    ck_assert_int_eq(cancel(0, 1, DUE_US_MAX), ST_OK);
}
END_TEST

/* Publishes delayed messages to both partitions in one command. */
static enum status publish_both(uint32_t count, uint32_t plain)
{
    struct record records[10];
    for (uint32_t i = 0; i < count + plain; i++)
        records[i] = record_of(PRIORITY_NORMAL, i < count ? MINUTE_US : 0);
    struct buf bytes;
    buf_init(&bytes, BATCH_SIZE_MAX);
    for (uint32_t partition = 0; partition < 2; partition++) {
        struct span batch = batch_of(records, count + plain);
        wire_put_u32(&bytes, partition);
        wire_put_u32(&bytes, (uint32_t)batch.size);
        buf_put_span(&bytes, batch);
    }
    cmd = (struct command){.type = COMMAND_PUBLISH};
    cmd.publish = (struct command_publish){.topic_id = 1,
                                           .partition_count = 2,
                                           .entry_count = 2,
                                           .entries = arena_copy(&arena, buf_span(&bytes))};
    buf_fini(&bytes);
    return apply();
}

START_TEST(pending_messages_are_bounded)
{
    ck_assert_int_eq(publish_both(1, 3), ST_OK); /* plain ones do not count */
    ck_assert_uint_eq(topic("a")->pending_count, 2);
    uint64_t before = state_digest();
    ck_assert_int_eq(publish_both(2, 1), ST_DELAYED_FULL); /* in both partitions together */
    ck_assert_uint_eq(result.publish.delayed_room, 3);
    ck_assert_str_eq(events, "");
    ck_assert_uint_eq(state_digest(), before);
    ck_assert_int_eq(publish_both(1, 0), ST_OK);
    ck_assert_int_eq(publish_one("a", 0, PRIORITY_NORMAL, 1), ST_OK); /* the last one */
    ck_assert_int_eq(publish_one("a", 1, PRIORITY_NORMAL, 1), ST_DELAYED_FULL);
    ck_assert_uint_eq(result.publish.delayed_room, 0);
    struct record past = record_of(PRIORITY_HIGH, 0);
    past.deliver_at_us = now_us;
    ck_assert_int_eq(publish("a", 1, &past, 1), ST_OK); /* due already */
    ck_assert_int_eq(publish_both(0, 1), ST_OK);
    now_us += 1;
    ck_assert_int_eq(due(0, 1), ST_OK);
    ck_assert_int_eq(publish_one("a", 1, PRIORITY_NORMAL, 1), ST_OK); /* room again */
    ck_assert_int_eq(cancel(1, 0, START_US + MINUTE_US), ST_OK);
    ck_assert_int_eq(publish_one("a", 1, PRIORITY_NORMAL, 1), ST_OK);
    ck_assert_int_eq(publish_one("a", 1, PRIORITY_NORMAL, 1), ST_DELAYED_FULL);
}
END_TEST

START_TEST(due_in_order_and_in_steps)
{
    const struct record records[] = {
        record_of(PRIORITY_NORMAL, 3 * SECOND_US), record_of(PRIORITY_CRITICAL, 2 * SECOND_US),
        record_of(PRIORITY_NORMAL, SECOND_US), record_of(PRIORITY_NORMAL, 2 * SECOND_US),
        record_of(PRIORITY_NORMAL, 3 * SECOND_US + 1)};
    ck_assert_int_eq(publish("a", 0, records, 5), ST_OK);
    now_us += SECOND_US - 1;
    ck_assert_int_eq(due(0, 10), ST_OK); /* never early */
    ck_assert(result.delay_due.count == 0 && !result.delay_due.more);
    ck_assert_str_eq(events, "");
    now_us += 2 * SECOND_US + 1; /* the first four */
    ck_assert_int_eq(due(0, 2), ST_OK);
    ck_assert(result.delay_due.count == 2 && result.delay_due.more);
    ck_assert_str_eq(events, "visible:2 due:0 ");
    ck_assert(!is_pending(2) && !is_pending(1)); /* by time, then offset */
    ck_assert(is_pending(0) && is_pending(3) && is_pending(4));
    ck_assert_int_eq(next_in(PRIORITY_CRITICAL, 0), 1);
    ck_assert_int_eq(next_in(PRIORITY_NORMAL, 0), 2);
    ck_assert_int_eq(due(0, 1), ST_OK);
    ck_assert(result.delay_due.count == 1 && result.delay_due.more);
    ck_assert(!is_pending(3) && is_pending(0));
    ck_assert_int_eq(due(0, DUE_PER_COMMAND_MAX), ST_OK);
    ck_assert(result.delay_due.count == 1 && !result.delay_due.more);
    ck_assert(!is_pending(0) && is_pending(4));
    ck_assert_uint_eq(topic("a")->pending_count, 1);
    ck_assert_uint_eq(topic("a")->totals.due, 4);
    ck_assert_int_eq(due(2, 1), ST_PARTITION_NOT_FOUND);
    cmd.delay_due.topic_id = 2;
    ck_assert_int_eq(apply(), ST_TOPIC_NOT_FOUND);
}
END_TEST

START_TEST(cancelled_messages_are_gone)
{
    const struct record records[] = {record_of(PRIORITY_NORMAL, 0),
                                     record_of(PRIORITY_HIGH, 2 * SECOND_US),
                                     record_of(PRIORITY_NORMAL, SECOND_US)};
    ck_assert_int_eq(publish("a", 0, records, 3), ST_OK);
    uint64_t before = state_digest();
    ck_assert_int_eq(cancel(0, 1, now_us + SECOND_US), ST_DELAYED_NOT_FOUND); /* another time */
    ck_assert_int_eq(cancel(0, 0, now_us), ST_DELAYED_NOT_FOUND);             /* never delayed */
    ck_assert_int_eq(cancel(0, 3, now_us), ST_DELAYED_NOT_FOUND);             /* not there yet */
    ck_assert_int_eq(cancel(1, 1, now_us + 2 * SECOND_US), ST_DELAYED_NOT_FOUND);
    ck_assert_int_eq(cancel(2, 1, now_us + 2 * SECOND_US), ST_PARTITION_NOT_FOUND);
    cmd.delay_cancel.topic_id = 2;
    ck_assert_int_eq(apply(), ST_TOPIC_NOT_FOUND);
    ck_assert_uint_eq(state_digest(), before);

    ck_assert_int_eq(cancel(0, 1, START_US + 2 * SECOND_US), ST_OK);
    ck_assert(!result.delay_cancel.already);
    ck_assert_str_eq(events, "gone:1 due:0 ");
    ck_assert(partition_is_gone(part(0), 1) && partition_is_hidden(part(0), 1));
    ck_assert_uint_eq(part(0)->message_count, 2);
    ck_assert_uint_eq(partition_priority_count(part(0), PRIORITY_HIGH), 0);
    ck_assert_uint_eq(topic("a")->totals.cancelled, 1);
    ck_assert_uint_eq(topic("a")->pending_count, 1);
    before = state_digest();
    ck_assert_int_eq(cancel(0, 1, START_US + 2 * SECOND_US), ST_OK);
    ck_assert(result.delay_cancel.already);
    ck_assert_str_eq(events, "");
    ck_assert_uint_eq(state_digest(), before);

    now_us += 3 * SECOND_US;
    ck_assert_int_eq(due(0, 10), ST_OK);
    ck_assert_uint_eq(result.delay_due.count, 1); /* not the cancelled one */
    ck_assert_int_eq(cancel(0, 2, START_US + SECOND_US), ST_DELAYED_NOT_FOUND); /* due already */
    ck_assert_int_eq(next_in(PRIORITY_HIGH, 0), -1);
    ck_assert_int_eq(next_in(PRIORITY_NORMAL, 1), 2);
}
END_TEST

START_TEST(positions_go_over_what_is_gone)
{
    (void)join_one("one", "a");
    const struct record records[] = {
        record_of(PRIORITY_NORMAL, SECOND_US), record_of(PRIORITY_NORMAL, SECOND_US),
        record_of(PRIORITY_NORMAL, 0), record_of(PRIORITY_NORMAL, SECOND_US)};
    ck_assert_int_eq(publish("a", 0, records, 4), ST_OK);
    const struct group_partition *gp = known("a", 0);
    (void)ack(2);
    ck_assert_int_eq(cancel(0, 1, START_US + SECOND_US), ST_OK);
    ck_assert_uint_eq(gp->position, 0);
    ck_assert_int_eq(cancel(0, 0, START_US + SECOND_US), ST_OK);
    ck_assert_uint_eq(gp->position, 3); /* gone, gone, done */
    ck_assert_int_eq(cancel(0, 3, START_US + SECOND_US), ST_OK);
    ck_assert_uint_eq(gp->position, 4);
    ck_assert_int_eq(publish_one("a", 0, PRIORITY_NORMAL, 0), ST_OK);
    ck_assert(ack(4).advanced);
    ck_assert_int_eq(commit("one", "a", 0, 1, -1), ST_OK);
    ck_assert_uint_eq(gp->position, 2); /* over the gap, not over what is to come again */
}
END_TEST

START_TEST(acks_go_over_what_is_gone)
{
    (void)join_one("one", "a");
    const struct record records[] = {
        record_of(PRIORITY_NORMAL, 0), record_of(PRIORITY_NORMAL, SECOND_US),
        record_of(PRIORITY_NORMAL, 0), record_of(PRIORITY_NORMAL, SECOND_US)};
    ck_assert_int_eq(publish("a", 0, records, 4), ST_OK);
    ck_assert_int_eq(cancel(0, 1, START_US + SECOND_US), ST_OK);
    ck_assert_int_eq(cancel(0, 3, START_US + SECOND_US), ST_OK);
    (void)ack(2);
    struct acked acked = ack(0);
    ck_assert(acked.advanced && acked.committed == 4);
    ck_assert(ack(1).already && ack(3).already); /* gone is as good as done */
}
END_TEST

/* A group that comes when the first messages are gone. */
START_TEST(group_starts_behind_cancelled_messages)
{
    const struct record records[] = {record_of(PRIORITY_NORMAL, SECOND_US),
                                     record_of(PRIORITY_NORMAL, SECOND_US),
                                     record_of(PRIORITY_NORMAL, 0)};
    ck_assert_int_eq(publish("a", 0, records, 3), ST_OK);
    ck_assert_int_eq(cancel(0, 0, START_US + SECOND_US), ST_OK);
    ck_assert_int_eq(join_one("one", "a"), ST_OK);
    ck_assert_uint_eq(known("a", 0)->position, 1);
}
END_TEST

static struct query_result ask(enum query_type type, int64_t partition, uint64_t skip,
                               uint32_t limit)
{
    struct query q = {
        .type = type, .name = span_text("a"), .partition = partition, .skip = skip, .limit = limit};
    struct query_result out;
    machine_query(machine, &q, &arena, &out);
    return out;
}

START_TEST(lists_of_pending_messages)
{
    cmd = (struct command){.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create = (struct command_topic_create){span_text("b"), 3, false, fixture_settings()};
    ck_assert_int_eq(apply(), ST_OK);
    enum { EACH = 100 };
    struct record records[EACH];
    for (uint32_t p = 0; p < 3; p++) {
        for (uint32_t i = 0; i < EACH; i++) /* many ties, over the partitions as well */
            records[i] =
                record_of((enum priority)(i % PRIORITY_COUNT), SECOND_US * (1 + (i * 7 + p) % 10));
        ck_assert_int_eq(publish("b", p, records, EACH), ST_OK);
    }
    struct query q = {.type = QUERY_DELAYED, .name = span_text("b"), .partition = -1, .limit = 300};
    struct query_result all, page;
    machine_query(machine, &q, &arena, &all);
    ck_assert(all.status == ST_OK && all.topic_count == 1 && all.topics->partitions == NULL);
    ck_assert_uint_eq(all.delayed_count, 3 * EACH);
    ck_assert_uint_eq(all.delayed_total, 3 * EACH);
    for (uint32_t i = 1; i < all.delayed_count; i++) {
        const struct delayed_info *a = &all.delayed[i - 1], *b = &all.delayed[i];
        ck_assert(
            a->due_us < b->due_us ||
            (a->due_us == b->due_us && (a->partition < b->partition ||
                                        (a->partition == b->partition && a->offset < b->offset))));
        ck_assert_uint_eq(b->priority, b->offset % PRIORITY_COUNT);
    }
    for (q.skip = 0; q.skip < 310; q.skip++) { /* every page is a piece of the whole */
        q.limit = 1 + (uint32_t)q.skip % 40;
        machine_query(machine, &q, &arena, &page);
        uint64_t left = q.skip < 300 ? 300 - q.skip : 0;
        ck_assert_uint_eq(page.delayed_count, left < q.limit ? left : q.limit);
        ck_assert_uint_eq(page.delayed_total, 300);
        for (uint32_t i = 0; i < page.delayed_count; i++) {
            const struct delayed_info *want = &all.delayed[q.skip + i], *got = &page.delayed[i];
            ck_assert(want->partition == got->partition && want->offset == got->offset &&
                      want->due_us == got->due_us);
        }
    }
    q = (struct query){
        .type = QUERY_DELAYED, .name = span_text("b"), .partition = 1, .skip = 5, .limit = 50};
    machine_query(machine, &q, &arena, &page);
    ck_assert(page.delayed_count == 50 && page.delayed_total == EACH);
    for (uint32_t i = 0; i < 50; i++)
        ck_assert_uint_eq(page.delayed[i].partition, 1);
}
END_TEST

START_TEST(lists_without_messages)
{
    struct query_result out = ask(QUERY_DELAYED, -1, 0, 10);
    ck_assert(out.status == ST_OK && out.delayed_count == 0 && out.delayed_total == 0);
    ck_assert_int_eq(publish_one("a", 1, PRIORITY_NORMAL, SECOND_US), ST_OK);
    out = ask(QUERY_DELAYED, 0, 0, 10);
    ck_assert(out.delayed_count == 0 && out.delayed_total == 0);
    out = ask(QUERY_DELAYED, -1, 1, 10);
    ck_assert(out.delayed_count == 0 && out.delayed_total == 1);
    out = ask(QUERY_DELAYED, -1, 0, 0);
    ck_assert(out.delayed_count == 0 && out.delayed_total == 1);
    struct query q = {.type = QUERY_DELAYED, .name = span_text("no"), .partition = -1, .limit = 1};
    machine_query(machine, &q, &arena, &out);
    ck_assert_int_eq(out.status, ST_TOPIC_NOT_FOUND);
    q.type = QUERY_IN_FLIGHT;
    machine_query(machine, &q, &arena, &out);
    ck_assert_int_eq(out.status, ST_TOPIC_NOT_FOUND);
}
END_TEST

START_TEST(topic_tells_what_it_has)
{
    (void)join_one("one", "a");
    const struct record records[] = {record_of(PRIORITY_NORMAL, 0), record_of(PRIORITY_HIGH, 0),
                                     record_of(PRIORITY_LOW, SECOND_US),
                                     record_of(PRIORITY_NORMAL, SECOND_US),
                                     record_of(PRIORITY_CRITICAL, 0)};
    ck_assert_int_eq(publish("a", 0, records, 5), ST_OK);
    ck_assert_int_eq(cancel(0, 3, START_US + SECOND_US), ST_OK);
    (void)ack(0);
    (void)ack(4);
    struct query_result out = ask(QUERY_TOPIC, -1, 0, 0);
    const struct topic_info *info = out.topics;
    const struct partition_info *p = &info->partitions[0];
    ck_assert_uint_eq(p->message_count, 4);
    ck_assert_uint_eq(p->pending_count, 1);
    ck_assert_uint_eq(p->done_by_priority[PRIORITY_NORMAL], 1);
    ck_assert_uint_eq(p->done_by_priority[PRIORITY_CRITICAL], 1);
    static const uint64_t counts[PRIORITY_COUNT] = {1, 1, 1, 1, 0};
    for (int i = 0; i < PRIORITY_COUNT; i++)
        ck_assert_uint_eq(p->by_priority[i], counts[i]);
    ck_assert_uint_eq(p->done_by_priority[PRIORITY_NORMAL], 1);
    ck_assert_uint_eq(p->done_by_priority[PRIORITY_CRITICAL], 1);
    ck_assert_uint_eq(p->done_by_priority[PRIORITY_HIGH], 0);
    ck_assert(info->partitions[1].message_count == 0 && info->partitions[1].pending_count == 0);
    ck_assert(info->totals.acked == 2 && info->totals.scheduled == 2);
    ck_assert(info->totals.cancelled == 1 && !info->has_dead_letter_topic);
    ck_assert_uint_eq(info->settings.delayed_max, 5);
    (void)ack(1);
    (void)ack(2); /* the position goes over what is gone: that was never done */
    ck_assert_uint_eq(known("a", 0)->position, 5);
    out = ask(QUERY_TOPIC, -1, 0, 0);
    ck_assert_uint_eq(out.topics->partitions[0].done_by_priority[PRIORITY_HIGH], 1);
    ck_assert_uint_eq(out.topics->partitions[0].done_by_priority[PRIORITY_LOW], 0); /* pending */
    (void)create("a.dlq", 1, false);
    out = ask(QUERY_RESOLVE, -1, 0, 0);
    ck_assert(out.topics->has_dead_letter_topic);
}
END_TEST

Suite *suite_machine_delay(void)
{
    Suite *suite = suite_create("machine_delay");
    TCase *tcase = tcase_create("machine_delay");
    tcase_add_checked_fixture(tcase, setup, fixture_teardown);
    tcase_add_test(tcase, plain_partitions_keep_nothing);
    tcase_add_test(tcase, priorities_have_lanes);
    tcase_add_test(tcase, delayed_messages_are_pending);
    tcase_add_test(tcase, far_times_are_bounded);
    tcase_add_test(tcase, pending_messages_are_bounded);
    tcase_add_test(tcase, due_in_order_and_in_steps);
    tcase_add_test(tcase, cancelled_messages_are_gone);
    tcase_add_test(tcase, positions_go_over_what_is_gone);
    tcase_add_test(tcase, acks_go_over_what_is_gone);
    tcase_add_test(tcase, group_starts_behind_cancelled_messages);
    tcase_add_test(tcase, lists_of_pending_messages);
    tcase_add_test(tcase, lists_without_messages);
    tcase_add_test(tcase, topic_tells_what_it_has);
    suite_add_tcase(suite, tcase);
    return suite;
}
