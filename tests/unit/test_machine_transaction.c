/* The machine: producers, transactions, sequence numbers and idempotency keys. */
#include "tests/unit/machine_fixture.h"

#include "machine/state.h"

Suite *suite_machine_transaction(void);

static struct producer_ref who;

static void setup(void)
{
    fixture_setup();
    ck_assert_int_eq(create("a", 2, false), ST_OK);
    ck_assert_int_eq(create("b", 1, false), ST_OK);
}

static enum status init_as(const char *scope, const char *id)
{
    cmd = (struct command){.type = COMMAND_PRODUCER_INIT};
    cmd.producer_init =
        (struct command_producer_init){span_text(scope), span_text(id), 60 * SECOND_US};
    enum status st = apply();
    who = (struct producer_ref){
        .scope = span_text(scope), .id = result.producer.id, .epoch = result.producer.epoch};
    return st;
}

static enum status begin(void)
{
    cmd = (struct command){.type = COMMAND_TRANSACTION_BEGIN};
    cmd.transaction_begin.producer = who;
    return apply();
}

static enum status end(enum transaction_end how)
{
    cmd = (struct command){.type = COMMAND_TRANSACTION_END};
    cmd.transaction_end = (struct command_transaction_end){.producer = who, .how = how};
    return apply();
}

static enum status expire(uint64_t number)
{
    cmd = (struct command){.type = COMMAND_TRANSACTION_END};
    cmd.transaction_end =
        (struct command_transaction_end){.how = TRANSACTION_EXPIRE, .number = number};
    return apply();
}

static enum status send_record(const char *topic_name, uint32_t target, int64_t sequence,
                               const struct record *record)
{
    static const uint8_t zeros[CONTENT_SIZE];
    uint8_t content[CONTENT_SIZE];
    memcpy(content, zeros, sizeof content);
    memcpy(content, record->value.data, record->value.size < 16 ? record->value.size : 16);
    cmd = (struct command){.type = COMMAND_TRANSACTION_PUBLISH};
    cmd.transaction_publish = (struct command_transaction_publish){
        .producer = who,
        .topic_id = topic(topic_name)->id,
        .partition_count = topic(topic_name)->partition_count,
        .target = target,
        .sequence = sequence,
        .content = arena_copy(&arena, span_of(content, sizeof content)),
        .batch = batch_of(record, 1)};
    return apply();
}

static enum status send(const char *topic_name, uint32_t target, int64_t sequence,
                        const char *value)
{
    const struct record record = {.value = span_text(value), .priority = PRIORITY_NORMAL};
    return send_record(topic_name, target, sequence, &record);
}

static const struct partition *part(const char *topic_name, uint32_t index)
{
    return topic(topic_name)->partitions[index];
}

START_TEST(producers_have_ids_and_epochs)
{
    ck_assert_int_eq(init_as("", "t"), ST_OK);
    ck_assert(who.id == 1 && who.epoch == 0);
    ck_assert_int_eq(init_as("", "t"), ST_OK);
    ck_assert(who.id == 1 && who.epoch == 1);
    ck_assert_int_eq(init_as("acme/", "t"), ST_OK); /* another tenant's */
    ck_assert(who.id == 2 && who.epoch == 0);
    ck_assert_int_eq(init_as("", ""), ST_OK); /* without a name each is new */
    ck_assert_uint_eq(who.id, 3);
    ck_assert_int_eq(init_as("", ""), ST_OK);
    ck_assert_uint_eq(who.id, 4);
    ck_assert_int_eq(begin(), ST_INVALID_ARGUMENT);
}
END_TEST

START_TEST(old_epochs_are_fenced)
{
    (void)init_as("", "t");
    struct producer_ref zombie = who;
    (void)begin();
    ck_assert_int_eq(send("a", 0, 1, "x"), ST_OK);
    ck_assert_int_eq(init_as("", "t"), ST_OK); /* aborts what was open */
    ck_assert(partition_is_gone(part("a", 0), 0));
    struct producer_ref now = who;
    who = zombie;
    ck_assert_int_eq(send("a", 0, 2, "y"), ST_PRODUCER_FENCED);
    ck_assert_int_eq(begin(), ST_PRODUCER_FENCED);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_PRODUCER_FENCED);
    ck_assert_int_eq(end(TRANSACTION_ABORT), ST_PRODUCER_FENCED);
    who = now;
    who.scope = span_text("acme/");
    ck_assert_int_eq(begin(), ST_PRODUCER_NOT_FOUND);
    who = now;
    who.transactional_id = span_text("other");
    ck_assert_int_eq(begin(), ST_PRODUCER_NOT_FOUND);
    who = now;
    who.epoch++;
    ck_assert_int_eq(begin(), ST_PRODUCER_FENCED);
    ck_assert_uint_eq(part("a", 0)->next_offset, 1);
}
END_TEST

START_TEST(epoch_wraps_into_a_new_producer)
{
    (void)init_as("", "t");
    producer_find_named(&machine->producers, span_text(""), span_text("t"))->epoch = EPOCH_MAX;
    ck_assert_int_eq(init_as("", "t"), ST_OK);
    ck_assert(who.id == 2 && who.epoch == 0);
}
END_TEST

START_TEST(messages_become_visible_together)
{
    (void)init_as("", "t");
    ck_assert_int_eq(begin(), ST_OK);
    uint64_t number = result.transaction.number;
    ck_assert_int_eq(begin(), ST_OK); /* still empty */
    ck_assert_uint_eq(result.transaction.number, number);
    ck_assert_int_eq(send("a", 1, 1, "x"), ST_OK);
    ck_assert(result.transaction_publish.partition == 1 && result.transaction_publish.offset == 0);
    ck_assert_int_eq(send("b", 0, 2, "y"), ST_OK);
    ck_assert_int_eq(begin(), ST_TRANSACTION_IN_PROGRESS);
    ck_assert(partition_is_hidden(part("a", 1), 0) && partition_is_hidden(part("b", 0), 0));
    ck_assert_uint_eq(partition_stable_end(part("a", 1)), 0);
    ck_assert_int_eq(publish_one("a", 1, PRIORITY_NORMAL, 0), ST_OK);
    ck_assert_uint_eq(partition_stable_end(part("a", 1)), 0);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_OK);
    ck_assert_str_eq(events, "visible:1 visible:1 ended ");
    ck_assert(!partition_is_hidden(part("a", 1), 0) && !partition_is_hidden(part("b", 0), 0));
    ck_assert_uint_eq(partition_stable_end(part("a", 1)), 2);
    ck_assert(result.transaction.message_count == 2 && result.transaction.partition_count == 2);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_OK);
    ck_assert(result.transaction.already && result.transaction.number == number);
    ck_assert_int_eq(end(TRANSACTION_ABORT), ST_TRANSACTION_COMMITTED);
    ck_assert_int_eq(send("a", 1, 3, "z"), ST_NO_TRANSACTION);
}
END_TEST

START_TEST(aborted_messages_are_gone)
{
    (void)init_as("", "t");
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_NO_TRANSACTION);
    ck_assert_int_eq(end(TRANSACTION_ABORT), ST_OK); /* never begun */
    (void)begin();
    (void)send("a", 0, -1, "x");
    (void)send("a", 0, -1, "x");
    ck_assert_uint_eq(part("a", 0)->message_count, 2);
    ck_assert_int_eq(end(TRANSACTION_ABORT), ST_OK);
    ck_assert_str_eq(events, "gone:0 gone:1 ended ");
    ck_assert(part("a", 0)->message_count == 0 && partition_stable_end(part("a", 0)) == 2);
    ck_assert_int_eq(end(TRANSACTION_ABORT), ST_OK);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_TRANSACTION_ABORTED);
}
END_TEST

START_TEST(expired_ones_say_so)
{
    (void)init_as("", "t");
    (void)begin();
    uint64_t number = result.transaction.number;
    (void)send("a", 0, -1, "x");
    now_us += MINUTE_US;
    ck_assert_int_eq(expire(number + 1), ST_OK); /* none such */
    ck_assert(partition_is_hidden(part("a", 0), 0) && !partition_is_gone(part("a", 0), 0));
    ck_assert_int_eq(expire(number), ST_OK);
    ck_assert(partition_is_gone(part("a", 0), 0));
    ck_assert_int_eq(send("a", 0, -1, "y"), ST_TRANSACTION_ABORTED);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_TRANSACTION_ABORTED);
    ck_assert_int_eq(end(TRANSACTION_ABORT), ST_OK);
    ck_assert_int_eq(begin(), ST_OK);
}
END_TEST

START_TEST(sequences_tell_repetitions)
{
    (void)init_as("", "t");
    (void)begin();
    ck_assert_int_eq(send("a", 1, 7, "x"), ST_OK);
    ck_assert(!result.transaction_publish.duplicate);
    ck_assert_int_eq(send("a", 1, 7, "x"), ST_OK);
    ck_assert(result.transaction_publish.duplicate && result.transaction_publish.offset == 0 &&
              result.transaction_publish.partition == 1);
    ck_assert_int_eq(send("a", 1, 7, "other"), ST_SEQUENCE_CONFLICT);
    ck_assert_int_eq(send("a", 0, 7, "other"), ST_OK); /* another partition */
    ck_assert_int_eq(send("b", 0, 7, "other"), ST_OK); /* another topic */
    ck_assert_int_eq(send("a", PUBLISH_KEYLESS, 7, "any"), ST_OK);
    struct result_transaction_publish first = result.transaction_publish;
    ck_assert_int_eq(send("a", PUBLISH_KEYLESS, 7, "any"), ST_OK);
    ck_assert(result.transaction_publish.duplicate &&
              result.transaction_publish.partition == first.partition &&
              result.transaction_publish.offset == first.offset);
    (void)end(TRANSACTION_COMMIT);
    (void)begin();
    ck_assert_int_eq(send("a", 1, 7, "x"), ST_OK); /* the next transaction */
    ck_assert(!result.transaction_publish.duplicate);
}
END_TEST

START_TEST(without_transactions_messages_show_at_once)
{
    (void)init_as("", "");
    ck_assert_int_eq(send("a", 0, 1, "x"), ST_OK);
    ck_assert(!partition_is_hidden(part("a", 0), 0));
    ck_assert_int_eq(send("a", 0, 1, "x"), ST_OK);
    ck_assert(result.transaction_publish.duplicate);
    ck_assert_int_eq(send("a", 0, 1, "y"), ST_SEQUENCE_CONFLICT);
    ck_assert_uint_eq(part("a", 0)->next_offset, 1);
    for (int64_t i = 2; i <= SEQUENCES_PER_WINDOW + 1; i++)
        ck_assert_int_eq(send("a", 0, i, "x"), ST_OK);
    ck_assert_int_eq(send("a", 0, 1, "y"), ST_OK); /* forgotten by now */
    ck_assert(!result.transaction_publish.duplicate);
    ck_assert_int_eq(send("a", 0, 3, "x"), ST_OK);
    ck_assert(result.transaction_publish.duplicate);
}
END_TEST

START_TEST(delayed_and_prioritised_ones_keep_both)
{
    const struct record late = record_of(PRIORITY_HIGH, MINUTE_US);
    const struct record early = record_of(PRIORITY_LOW, SECOND_US);
    const struct record first = record_of(PRIORITY_CRITICAL, 0);
    (void)init_as("", "t");
    (void)begin();
    (void)send_record("b", 0, -1, &late);
    (void)send_record("b", 0, -1, &early);
    (void)send_record("b", 0, -1, &first);
    now_us += 2 * SECOND_US;
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_OK);
    ck_assert_str_eq(events, "visible:2 due:0 ended ");
    ck_assert_int_eq(partition_lane_of(part("b", 0), 1), PRIORITY_LOW);
    ck_assert_int_eq(partition_lane_of(part("b", 0), 2), PRIORITY_CRITICAL);
    ck_assert(partition_is_pending(part("b", 0), 0) && topic("b")->pending_count == 1);
    now_us += MINUTE_US;
    cmd = (struct command){.type = COMMAND_DELAY_DUE};
    cmd.delay_due = (struct command_delay_due){2, 0, 10};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_int_eq(partition_lane_of(part("b", 0), 0), PRIORITY_HIGH);
}
END_TEST

START_TEST(topics_may_go_and_grow_meanwhile)
{
    (void)init_as("", "t");
    (void)begin();
    (void)send("a", 0, 1, "x");
    (void)send("b", 0, 1, "x");
    ck_assert_int_eq(delete_topic("a"), ST_OK);
    ck_assert_int_eq(create("a", 1, false), ST_OK);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_OK);
    ck_assert(!partition_is_hidden(part("b", 0), 0));
    ck_assert_uint_eq(part("a", 0)->next_offset, 0);
}
END_TEST

static enum status ack_in(const uint64_t *offsets, uint32_t count)
{
    struct ack_entry entries[4];
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct ack_entry){topic("b")->id, 0, offsets[i]};
    cmd = (struct command){.type = COMMAND_TRANSACTION_ACK};
    cmd.transaction_ack = (struct command_transaction_ack){who, 1, count, entries};
    return apply();
}

static void read_b(void)
{
    fill("b", 0, 10);
    ck_assert_int_eq(join_one("one", "b"), ST_OK);
    (void)init_as("", "t");
    (void)begin();
}

START_TEST(acks_count_with_the_commit)
{
    read_b();
    ck_assert_int_eq(ack_in((uint64_t[]){0, 1}, 2), ST_OK);
    ck_assert_int_eq(ack_in((uint64_t[]){1, 2}, 2), ST_OK); /* one is in it already */
    ck_assert_uint_eq(known("b", 0)->position, 0);
    ck_assert_uint_eq(offset_set_count(&known("b", 0)->reserved), 3);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_OK);
    ck_assert_uint_eq(known("b", 0)->position, 3);
    ck_assert(offset_set_is_empty(&known("b", 0)->reserved));
    ck_assert_uint_eq(topic("b")->totals.acked, 3);
}
END_TEST

START_TEST(acks_of_an_abort_count_for_nothing)
{
    read_b();
    ck_assert_int_eq(ack_in((uint64_t[]){0}, 1), ST_OK);
    ck_assert_int_eq(end(TRANSACTION_ABORT), ST_OK);
    ck_assert_uint_eq(known("b", 0)->position, 0);
    ck_assert(offset_set_is_empty(&known("b", 0)->reserved));
}
END_TEST

START_TEST(acks_are_all_or_none)
{
    read_b();
    ck_assert(ack_at(2, 0, 5).status == ST_OK);
    uint64_t digest = state_digest();
    ck_assert_int_eq(ack_in((uint64_t[]){0, 5}, 2), ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(ack_in((uint64_t[]){0, 10}, 2), ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(state_digest(), digest);
    ck_assert_int_eq(ack_in((uint64_t[]){0}, 1), ST_OK);
    (void)init_as("", "u");
    (void)begin();
    ck_assert_int_eq(ack_in((uint64_t[]){0}, 1), ST_TRANSACTION_IN_PROGRESS);
}
END_TEST

START_TEST(acks_from_before_a_rewind_count_no_more)
{
    read_b();
    ck_assert_int_eq(commit("one", "b", 0, 4, -1), ST_OK);
    who = (struct producer_ref){.id = 1};
    ck_assert_int_eq(ack_in((uint64_t[]){6}, 1), ST_OK);
    ck_assert_int_eq(ack_in((uint64_t[]){7}, 1), ST_OK);
    ck_assert_int_eq(commit("one", "b", 0, 2, -1), ST_OK);
    ck_assert_int_eq(ack_in((uint64_t[]){7}, 1), ST_OK); /* again */
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_OK);
    ck_assert(!group_partition_is_done(known("b", 0), 6));
    ck_assert(group_partition_is_done(known("b", 0), 7));
}
END_TEST

START_TEST(offsets_are_set_with_the_commit)
{
    read_b();
    struct offset_entry entry = {span_text("b"), 0, 7};
    cmd = (struct command){.type = COMMAND_TRANSACTION_OFFSETS};
    cmd.transaction_offsets = (struct command_transaction_offsets){
        who, {span_text("g"), span_text("one"), &entry, 1, -1}};
    struct command again = cmd;
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_uint_eq(known("b", 0)->position, 0);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_OK);
    ck_assert_uint_eq(known("b", 0)->position, 7);
    cmd = again;
    ck_assert_int_eq(apply(), ST_NO_TRANSACTION);
    (void)begin();
    cmd = again;
    cmd.transaction_offsets.commit.member_id = span_text("two");
    ck_assert_int_eq(apply(), ST_MEMBER_NOT_FOUND);
}
END_TEST

START_TEST(group_may_go_meanwhile)
{
    read_b();
    ck_assert_int_eq(ack_in((uint64_t[]){0}, 1), ST_OK);
    ck_assert_int_eq(delete_group(), ST_OK);
    ck_assert_int_eq(end(TRANSACTION_COMMIT), ST_OK);
}
END_TEST

START_TEST(idle_producers_are_forgotten)
{
    (void)init_as("", "t");
    struct producer_ref first = who;
    (void)init_as("", "open");
    (void)begin();
    now_us += PRODUCER_KEPT_US + 1;
    (void)init_as("", "");
    ck_assert_uint_eq(machine->producers.count, 2); /* the open one stays */
    who = first;
    ck_assert_int_eq(begin(), ST_PRODUCER_NOT_FOUND);
}
END_TEST

static enum status publish_once(const char *key, const char *memo)
{
    const struct record record = record_of(PRIORITY_NORMAL, 0);
    struct span batch = batch_of(&record, 1);
    struct buf bytes;
    buf_init(&bytes, BATCH_SIZE_MAX);
    wire_put_u32(&bytes, 0);
    wire_put_u32(&bytes, (uint32_t)batch.size);
    buf_put_span(&bytes, batch);
    cmd = (struct command){.type = COMMAND_PUBLISH};
    cmd.publish = (struct command_publish){.topic_id = topic("b")->id,
                                           .partition_count = 1,
                                           .entry_count = 1,
                                           .entries = arena_copy(&arena, buf_span(&bytes)),
                                           .idempotency_key = span_of(key, CONTENT_SIZE),
                                           .memo = span_text(memo)};
    buf_fini(&bytes);
    return apply();
}

START_TEST(same_key_gives_the_same_answer)
{
    ck_assert_int_eq(publish_once("0123456789abcdef", "memo"), ST_OK);
    ck_assert(!result.publish.repeated && result.publish.placements[0].base_offset == 0);
    int64_t time_us = result.publish.time_us;
    ck_assert_int_eq(publish_one("b", 0, PRIORITY_NORMAL, 0), ST_OK);
    now_us += SECOND_US;
    ck_assert_int_eq(publish_once("0123456789abcdef", "another"), ST_OK);
    ck_assert(result.publish.repeated && result.publish.placements[0].base_offset == 0);
    ck_assert(span_equal(result.publish.memo, span_text("memo")));
    ck_assert_int_eq(result.publish.time_us, time_us);
    ck_assert_uint_eq(part("b", 0)->next_offset, 2);
    ck_assert_int_eq(publish_once("0123456789abcdeX", ""), ST_OK);
    ck_assert(!result.publish.repeated);
    now_us += IDEMPOTENCY_KEPT_US;
    ck_assert_int_eq(publish_once("0123456789abcdef", "later"), ST_OK);
    ck_assert(!result.publish.repeated && result.publish.placements[0].base_offset == 3);
}
END_TEST

START_TEST(transactions_are_told)
{
    (void)init_as("acme/", "t");
    (void)begin();
    uint64_t number = result.transaction.number;
    (void)send("b", 0, -1, "x");
    struct query q = {.type = QUERY_TRANSACTIONS, .scope = span_text("acme/"), .limit = 10};
    struct query_result out;
    machine_query(machine, &q, &arena, &out);
    ck_assert(out.transaction_count == 1 && out.transactions[0].number == number);
    ck_assert(out.transactions[0].place_count == 1 && out.transactions[0].message_count == 1);
    ck_assert(out.transaction_stats.active == 1 && out.transaction_stats.producers == 1);
    q.scope = span_text("");
    machine_query(machine, &q, &arena, &out);
    ck_assert(out.transaction_count == 0 && out.transaction_stats.active == 0);
    now_us += SECOND_US;
    (void)end(TRANSACTION_COMMIT);
    q = (struct query){.type = QUERY_TRANSACTION, .scope = span_text("acme/"), .number = number};
    machine_query(machine, &q, &arena, &out);
    ck_assert(out.status == ST_OK && out.transactions[0].state == TRANSACTION_COMMITTED);
    ck_assert_int_eq(out.transactions[0].ended_us, now_us);
    q.scope = span_text("");
    machine_query(machine, &q, &arena, &out);
    ck_assert_int_eq(out.status, ST_TRANSACTION_NOT_FOUND);
}
END_TEST

Suite *suite_machine_transaction(void)
{
    Suite *suite = suite_create("machine_transaction");
    TCase *tcase = tcase_create("machine_transaction");
    tcase_set_timeout(tcase, 60); /* under sanitizers, on a busy machine */
    tcase_add_checked_fixture(tcase, setup, fixture_teardown);
    tcase_add_test(tcase, producers_have_ids_and_epochs);
    tcase_add_test(tcase, old_epochs_are_fenced);
    tcase_add_test(tcase, epoch_wraps_into_a_new_producer);
    tcase_add_test(tcase, messages_become_visible_together);
    tcase_add_test(tcase, aborted_messages_are_gone);
    tcase_add_test(tcase, expired_ones_say_so);
    tcase_add_test(tcase, sequences_tell_repetitions);
    tcase_add_test(tcase, without_transactions_messages_show_at_once);
    tcase_add_test(tcase, delayed_and_prioritised_ones_keep_both);
    tcase_add_test(tcase, topics_may_go_and_grow_meanwhile);
    tcase_add_test(tcase, acks_count_with_the_commit);
    tcase_add_test(tcase, acks_of_an_abort_count_for_nothing);
    tcase_add_test(tcase, acks_are_all_or_none);
    tcase_add_test(tcase, acks_from_before_a_rewind_count_no_more);
    tcase_add_test(tcase, offsets_are_set_with_the_commit);
    tcase_add_test(tcase, group_may_go_meanwhile);
    tcase_add_test(tcase, idle_producers_are_forgotten);
    tcase_add_test(tcase, same_key_gives_the_same_answer);
    tcase_add_test(tcase, transactions_are_told);
    suite_add_tcase(suite, tcase);
    return suite;
}
