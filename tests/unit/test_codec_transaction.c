/* Records of producers and transactions, and of a publish that may come twice. */
#include "tests/unit/codec_fixture.h"

Suite *suite_codec_transaction(void);

static struct producer_ref who(void)
{
    return (struct producer_ref){.scope = span_text("acme/"),
                                 .id = 0x0102030405060708ULL,
                                 .epoch = EPOCH_MAX,
                                 .transactional_id = span_text("transfer")};
}

static void assert_who(const struct producer_ref *producer)
{
    assert_text(producer->scope, "acme/");
    ck_assert_uint_eq(producer->id, 0x0102030405060708ULL);
    ck_assert_uint_eq(producer->epoch, EPOCH_MAX);
    assert_text(producer->transactional_id, "transfer");
}

static struct span filled(size_t size)
{
    uint8_t *bytes_of = arena_array(&arena, size, 1);
    memset(bytes_of, 'x', size);
    return span_of(bytes_of, size);
}

/* Each with a producer that cannot be. */
static void refuses_bad_producers(struct command *cmd, struct producer_ref *producer)
{
    const struct producer_ref good = *producer;
    producer->scope = span_of("ac\0me/", 6);
    ck_assert_int_eq(encode_and_decode(cmd), ST_CORRUPT);
    producer->scope = filled(TENANT_SCOPE_SIZE_MAX + 1);
    ck_assert_int_eq(encode_and_decode(cmd), ST_CORRUPT);
    producer->scope.size--;
    ck_assert_int_eq(encode_and_decode(cmd), ST_OK);
    producer->transactional_id = filled(TRANSACTIONAL_ID_SIZE_MAX + 1);
    ck_assert_int_eq(encode_and_decode(cmd), ST_CORRUPT);
    producer->transactional_id.size--;
    ck_assert_int_eq(encode_and_decode(cmd), ST_OK);
    *producer = (struct producer_ref){.id = 1}; /* the default tenant's, by its id alone */
    ck_assert_int_eq(encode_and_decode(cmd), ST_OK);
    *producer = good;
}

START_TEST(codec_producer_init)
{
    struct command cmd = {.type = COMMAND_PRODUCER_INIT};
    cmd.producer_init = (struct command_producer_init){span_text("acme/"), span_text("transfer"),
                                                       TRANSACTION_TIMEOUT_US_MAX};
    struct command out = through_golden(&cmd, "command-v1-producer_init.bin");
    assert_text(out.producer_init.scope, "acme/");
    assert_text(out.producer_init.transactional_id, "transfer");
    ck_assert_int_eq(out.producer_init.timeout_us, TRANSACTION_TIMEOUT_US_MAX);
    refuses_every_cut(&cmd);
    static const int64_t timeouts[] = {0, -1, INT64_MIN, TRANSACTION_TIMEOUT_US_MAX + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        cmd.producer_init.timeout_us = timeouts[i];
        ck_assert_msg(encode_and_decode(&cmd) == ST_CORRUPT, "case %zu", i);
    }
    cmd.producer_init = (struct command_producer_init){.timeout_us = 1};
    ck_assert_int_eq(encode_and_decode(&cmd), ST_OK);
    cmd.producer_init.scope = span_of("a\0b", 3);
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
}
END_TEST

START_TEST(codec_producer_heartbeat)
{
    struct command cmd = {.type = COMMAND_PRODUCER_HEARTBEAT};
    cmd.producer_heartbeat.producer = who();
    struct command out = through_golden(&cmd, "command-v1-producer_heartbeat.bin");
    assert_who(&out.producer_heartbeat.producer);
    refuses_every_cut(&cmd);
    refuses_bad_producers(&cmd, &cmd.producer_heartbeat.producer);
}
END_TEST

START_TEST(codec_transaction_begin)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_BEGIN};
    cmd.transaction_begin.producer = who();
    struct command out = through_golden(&cmd, "command-v1-transaction_begin.bin");
    assert_who(&out.transaction_begin.producer);
    refuses_every_cut(&cmd);
    refuses_bad_producers(&cmd, &cmd.transaction_begin.producer);
}
END_TEST

static struct command publish(void)
{
    const struct record record = {.key = span_text("k"),
                                  .value = span_text("v"),
                                  .priority = PRIORITY_HIGH,
                                  .delay_us = 5000000};
    struct command cmd = {.type = COMMAND_TRANSACTION_PUBLISH};
    cmd.transaction_publish =
        (struct command_transaction_publish){.producer = who(),
                                             .topic_id = 7,
                                             .partition_count = 3,
                                             .target = 2,
                                             .sequence = SEQUENCE_MAX,
                                             .content = span_text("0123456789abcdef"),
                                             .batch = batch_of(&record, 1)};
    return cmd;
}

START_TEST(codec_transaction_publish)
{
    struct command cmd = publish();
    struct command out = through_golden(&cmd, "command-v1-transaction_publish.bin");
    const struct command_transaction_publish *got = &out.transaction_publish;
    assert_who(&got->producer);
    ck_assert(got->topic_id == 7 && got->partition_count == 3 && got->target == 2);
    ck_assert_int_eq(got->sequence, SEQUENCE_MAX);
    assert_text(got->content, "0123456789abcdef");
    ck_assert(span_equal(got->batch, cmd.transaction_publish.batch));
    refuses_every_cut(&cmd);
    refuses_bad_producers(&cmd, &cmd.transaction_publish.producer);
}
END_TEST

START_TEST(codec_transaction_publish_has_bounds)
{
    static const struct {
        uint32_t partition_count, target;
        int64_t sequence;
        enum status status;
    } cases[] = {
        {1, 0, -1, ST_OK},
        {PARTITIONS_MAX, PARTITIONS_MAX - 1, 0, ST_OK},
        {1, PUBLISH_KEYLESS, 0, ST_OK},
        {1, 1, 0, ST_CORRUPT},
        {2, PUBLISH_KEYLESS | 1, 0, ST_CORRUPT},
        {0, 0, 0, ST_CORRUPT},
        {0, PUBLISH_KEYLESS, 0, ST_CORRUPT},
        {PARTITIONS_MAX + 1, 0, 0, ST_CORRUPT},
        {1, 0, -2, ST_CORRUPT},
        {1, 0, SEQUENCE_MAX + 1LL, ST_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct command cmd = publish();
        cmd.transaction_publish.partition_count = cases[i].partition_count;
        cmd.transaction_publish.target = cases[i].target;
        cmd.transaction_publish.sequence = cases[i].sequence;
        ck_assert_msg(encode_and_decode(&cmd) == cases[i].status, "case %zu", i);
    }
}
END_TEST

/* One message, which apply can look at whatever the batch says of itself. */
START_TEST(codec_transaction_publish_has_one_message)
{
    const struct record two[] = {{.value = span_text("a"), .priority = PRIORITY_NORMAL},
                                 {.value = span_text("b"), .priority = PRIORITY_NORMAL}};
    struct command cmd = publish();
    cmd.transaction_publish.batch = batch_of(two, 2);
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.transaction_publish.batch = batch_of(two, 1);
    ck_assert_int_eq(encode_and_decode(&cmd), ST_OK);
    cmd.transaction_publish.batch.size--;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.transaction_publish.batch = (struct span){0};
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);

    struct span batch = batch_of(two, 1); /* plain, but its record claims to be longer */
    uint8_t *broken = arena_array(&arena, batch.size, 1);
    memcpy(broken, batch.data, batch.size);
    broken[BATCH_HEADER_SIZE + 1] = 0x7F;
    cmd.transaction_publish.batch = span_of(broken, batch.size);
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
}
END_TEST

START_TEST(codec_transaction_ack)
{
    struct ack_entry entries[] = {{1, 2, 3}, {UINT32_MAX, UINT32_MAX, UINT64_MAX}};
    struct command cmd = {.type = COMMAND_TRANSACTION_ACK};
    cmd.transaction_ack = (struct command_transaction_ack){who(), 9, 2, entries};
    struct command out = through_golden(&cmd, "command-v1-transaction_ack.bin");
    assert_who(&out.transaction_ack.producer);
    ck_assert(out.transaction_ack.group_id == 9 && out.transaction_ack.entry_count == 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(out.transaction_ack.entries[i].topic_id, entries[i].topic_id);
        ck_assert_uint_eq(out.transaction_ack.entries[i].partition, entries[i].partition);
        ck_assert_uint_eq(out.transaction_ack.entries[i].offset, entries[i].offset);
    }
    refuses_every_cut(&cmd);
    refuses_bad_producers(&cmd, &cmd.transaction_ack.producer);
    cmd.transaction_ack.entry_count = 0;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.transaction_ack.entries =
        arena_array(&arena, ACKS_PER_COMMAND_MAX + 1, sizeof(struct ack_entry));
    cmd.transaction_ack.entry_count = ACKS_PER_COMMAND_MAX;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_OK);
    cmd.transaction_ack.entry_count++;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
}
END_TEST

START_TEST(codec_transaction_offsets)
{
    struct offset_entry entries[] = {{span_text("orders"), 1, 5}, {span_text("p"), 0, OFFSET_MAX}};
    struct command cmd = {.type = COMMAND_TRANSACTION_OFFSETS};
    cmd.transaction_offsets = (struct command_transaction_offsets){
        who(), {span_text("workers"), span_text("w-1"), entries, 2, 7}};
    struct command out = through_golden(&cmd, "command-v1-transaction_offsets.bin");
    const struct command_offsets_commit *got = &out.transaction_offsets.commit;
    assert_who(&out.transaction_offsets.producer);
    assert_text(got->group, "workers");
    assert_text(got->member_id, "w-1");
    ck_assert(got->generation == 7 && got->entry_count == 2);
    assert_text(got->entries[1].topic, "p");
    ck_assert_uint_eq(got->entries[1].offset, OFFSET_MAX);
    refuses_every_cut(&cmd);
    refuses_bad_producers(&cmd, &cmd.transaction_offsets.producer);
    entries[1].offset = OFFSET_MAX + 1;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
}
END_TEST

START_TEST(codec_transaction_end)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_END};
    cmd.transaction_end =
        (struct command_transaction_end){.producer = who(), .how = TRANSACTION_ABORT};
    struct command out = through_golden(&cmd, "command-v1-transaction_end.bin");
    assert_who(&out.transaction_end.producer);
    ck_assert_int_eq(out.transaction_end.how, TRANSACTION_ABORT);
    refuses_every_cut(&cmd);
    refuses_bad_producers(&cmd, &cmd.transaction_end.producer);
    cmd.transaction_end.how = (enum transaction_end)(TRANSACTION_EXPIRE + 1);
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.transaction_end =
        (struct command_transaction_end){.how = TRANSACTION_EXPIRE, .number = UINT64_MAX};
    refuses_every_cut(&cmd);
    encode(&cmd);
    ck_assert_int_eq(command_decode(buf_span(&bytes), &arena, &out), ST_OK);
    ck_assert_int_eq(out.transaction_end.how, TRANSACTION_EXPIRE);
    ck_assert_uint_eq(out.transaction_end.number, UINT64_MAX);
}
END_TEST

/* Entries for one partition, in the arena. */
static struct span entries_of(struct span batch)
{
    struct buf built;
    buf_init(&built, BATCH_SIZE_MAX);
    wire_put_u32(&built, 0);
    wire_put_u32(&built, (uint32_t)batch.size);
    buf_put_span(&built, batch);
    struct span entries = arena_copy(&arena, buf_span(&built));
    buf_fini(&built);
    return entries;
}

static struct command publish_once(void)
{
    const struct record record = {.value = span_text("v"), .priority = PRIORITY_NORMAL};
    struct command cmd = {.type = COMMAND_PUBLISH};
    cmd.publish = (struct command_publish){.topic_id = 7,
                                           .partition_count = 3,
                                           .entry_count = 1,
                                           .entries = entries_of(batch_of(&record, 1)),
                                           .idempotency_key = span_text("0123456789abcdef"),
                                           .memo = span_text("memo")};
    return cmd;
}

START_TEST(codec_publish_with_idempotency_key)
{
    struct command cmd = publish_once();
    struct command out = through_golden(&cmd, "command-v2-publish.bin");
    ck_assert(out.publish.topic_id == 7 && out.publish.partition_count == 3);
    ck_assert(span_equal(out.publish.entries, cmd.publish.entries));
    assert_text(out.publish.idempotency_key, "0123456789abcdef");
    assert_text(out.publish.memo, "memo");
    refuses_every_cut(&cmd);
    cmd.publish.memo = (struct span){0};
    refuses_every_cut(&cmd);
}
END_TEST

/* A record without a key is as it was before there were any; one can be given to it afterwards. */
START_TEST(codec_publish_is_made_idempotent)
{
    struct command cmd = publish_once(), out;
    const struct span key = cmd.publish.idempotency_key, memo = cmd.publish.memo;
    encode(&cmd);
    struct span whole = arena_copy(&arena, buf_span(&bytes));
    cmd.publish.idempotency_key = (struct span){0};
    encode(&cmd);
    ck_assert_uint_eq(load_u16(bytes.data + 6), 1);
    ck_assert_int_eq(command_decode(buf_span(&bytes), &arena, &out), ST_OK);
    ck_assert(out.publish.idempotency_key.size == 0 && out.publish.memo.size == 0);
    publish_make_idempotent(&bytes, key, memo);
    ck_assert(span_equal(buf_span(&bytes), whole));
    store_u16(bytes.data + 6, 3); /* a version that there is not */
    ck_assert_int_eq(decode_now(), ST_CORRUPT);
    store_u16(bytes.data + 6, 1); /* the first one ends before the key */
    ck_assert_int_eq(decode_now(), ST_CORRUPT);
}
END_TEST

Suite *suite_codec_transaction(void)
{
    Suite *suite = suite_create("codec_transaction");
    TCase *tcase = tcase_create("codec_transaction");
    tcase_add_checked_fixture(tcase, codec_setup, codec_teardown);
    tcase_add_test(tcase, codec_producer_init);
    tcase_add_test(tcase, codec_producer_heartbeat);
    tcase_add_test(tcase, codec_transaction_begin);
    tcase_add_test(tcase, codec_transaction_publish);
    tcase_add_test(tcase, codec_transaction_publish_has_bounds);
    tcase_add_test(tcase, codec_transaction_publish_has_one_message);
    tcase_add_test(tcase, codec_transaction_ack);
    tcase_add_test(tcase, codec_transaction_offsets);
    tcase_add_test(tcase, codec_transaction_end);
    tcase_add_test(tcase, codec_publish_with_idempotency_key);
    tcase_add_test(tcase, codec_publish_is_made_idempotent);
    suite_add_tcase(suite, tcase);
    return suite;
}
