#include "tests/unit/codec_fixture.h"

Suite *suite_codec(void);

/* What the files of both versions have. */
static void check_topic_create(const struct command_topic_create *c)
{
    assert_text(c->name, "acme/orders");
    ck_assert_uint_eq(c->partition_count, 6);
    ck_assert(c->if_absent);
    ck_assert_int_eq(c->settings.retention_us, 604800000000);
    ck_assert_int_eq(c->settings.retention_bytes, -1);
    ck_assert_int_eq(c->settings.visibility_us, 30000000);
    ck_assert_uint_eq(c->settings.deliveries_max, 3);
    ck_assert_int_eq(c->settings.cleanup, CLEANUP_COMPACT);
}

START_TEST(codec_topic_create)
{
    struct command cmd = {.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create = (struct command_topic_create){
        .name = span_text("acme/orders"),
        .partition_count = 6,
        .if_absent = true,
        .settings = {.retention_us = 604800000000,
                     .retention_bytes = -1,
                     .visibility_us = 30000000,
                     .deliveries_max = 3,
                     .in_flight_max = 8,
                     .delayed_max = 5000000,
                     .cleanup = CLEANUP_COMPACT,
                     .priority_mode = PRIORITY_WEIGHTED},
    };
    struct command out = through_golden(&cmd, "command-v2-topic_create.bin");
    check_topic_create(&out.topic_create);
    ck_assert_uint_eq(out.topic_create.settings.in_flight_max, 8);
    ck_assert_uint_eq(out.topic_create.settings.delayed_max, 5000000);
    ck_assert_int_eq(out.topic_create.settings.priority_mode, PRIORITY_WEIGHTED);
    refuses_every_cut(&cmd);

    out = decode_golden("command-v1-topic_create.bin", (struct span){0}, COMMAND_TOPIC_CREATE);
    check_topic_create(&out.topic_create);
    ck_assert_uint_eq(out.topic_create.settings.in_flight_max, 0);
    ck_assert_uint_eq(out.topic_create.settings.delayed_max, 1000000);
    ck_assert_int_eq(out.topic_create.settings.priority_mode, PRIORITY_STRICT);
}
END_TEST

START_TEST(codec_refuses_bad_settings)
{
    const struct topic_settings good = {
        .retention_us = -1, .retention_bytes = -1, .visibility_us = 1, .deliveries_max = 1};
    struct topic_settings cases[6];
    for (int i = 0; i < 6; i++)
        cases[i] = good;
    cases[1].retention_us = -2;
    cases[2].retention_bytes = -2;
    cases[3].visibility_us = 0;
    cases[4].deliveries_max = 0;
    cases[5].priority_mode = (enum priority_mode)2;
    struct command cmd = {.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create = (struct command_topic_create){.name = span_text("a"), .partition_count = 1};
    for (int i = 0; i < 6; i++) {
        cmd.topic_create.settings = cases[i];
        ck_assert_msg(encode_and_decode(&cmd) == (i == 0 ? ST_OK : ST_CORRUPT), "case %d", i);
    }
    cmd.topic_create.settings = good;
    cmd.topic_create.partition_count = 0;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.topic_create.partition_count = PARTITIONS_MAX + 1;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
}
END_TEST

START_TEST(codec_topic_delete)
{
    struct command cmd = {.type = COMMAND_TOPIC_DELETE};
    cmd.topic_delete.name = span_text("orders");
    struct command out = through_golden(&cmd, "command-v1-topic_delete.bin");
    assert_text(out.topic_delete.name, "orders");
}
END_TEST

static void put_batch(struct buf *entries, uint32_t target, const char *value)
{
    wire_put_u32(entries, target);
    size_t size_at = entries->size;
    wire_put_u32(entries, 0);
    struct batch_builder builder;
    batch_begin(&builder, entries);
    batch_add(&builder, &(struct record){.key = span_text("user-1"),
                                         .headers = span_text("{\"a\":\"b\"}"),
                                         .value = span_text(value),
                                         .priority = PRIORITY_HIGH,
                                         .delay_us = 5000000});
    batch_add(&builder, &(struct record){.value = span_text(value), .priority = PRIORITY_NORMAL});
    uint32_t size = batch_size(&builder);
    batch_end(&builder);
    store_u32(entries->data + size_at, size);
}

START_TEST(codec_publish)
{
    struct buf entries;
    buf_init(&entries, SIZE_MAX);
    put_batch(&entries, 2, "hello");
    put_batch(&entries, PUBLISH_KEYLESS | 1, "world");
    struct command cmd = {.type = COMMAND_PUBLISH};
    cmd.publish = (struct command_publish){.topic_id = 7,
                                           .partition_count = 3,
                                           .keyless_count = 2,
                                           .entry_count = 2,
                                           .entries = buf_span(&entries)};
    struct command out = through_golden(&cmd, "command-v1-publish.bin");
    buf_fini(&entries);
    ck_assert_uint_eq(out.publish.topic_id, 7);
    ck_assert_uint_eq(out.publish.partition_count, 3);
    ck_assert_uint_eq(out.publish.keyless_count, 2);
    size_t cursor = 0, in_batch = 0;
    struct publish_entry entry;
    struct span batch;
    ck_assert(publish_entry_next(&out.publish, &cursor, &entry, &batch));
    ck_assert_uint_eq(entry.target, 2);
    struct batch_header header;
    ck_assert_int_eq(batch_verify(batch, &header), ST_OK);
    ck_assert_uint_eq(header.count, 2);
    struct record record;
    ck_assert(batch_next(batch, &in_batch, &record));
    assert_text(record.key, "user-1");
    assert_text(record.headers, "{\"a\":\"b\"}");
    assert_text(record.value, "hello");
    ck_assert_int_eq(record.priority, PRIORITY_HIGH);
    ck_assert_int_eq(record.delay_us, 5000000);
    ck_assert(publish_entry_next(&out.publish, &cursor, &entry, &batch));
    ck_assert_uint_eq(entry.target, PUBLISH_KEYLESS | 1);
    ck_assert(!publish_entry_next(&out.publish, &cursor, &entry, &batch));
}
END_TEST

/* What the files of all versions have. */
static void check_group_join(const struct command_group_join *c, const struct joiner *joiners)
{
    assert_text(c->group, "workers");
    ck_assert_uint_eq(c->joiner_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct joiner *got = &c->joiners[i], *want = &joiners[i];
        ck_assert(span_equal(got->member_id, want->member_id));
        ck_assert(span_equal(got->client_id, want->client_id));
        ck_assert_uint_eq(got->topic_count, want->topic_count);
        assert_text(got->topics[got->topic_count - 1], i == 0 ? "payments" : "orders");
        ck_assert_int_eq(got->session_us, want->session_us);
        ck_assert_int_eq(got->visibility_us, want->visibility_us);
        ck_assert_uint_eq(got->in_flight_max, want->in_flight_max);
        ck_assert(got->rejoin == want->rejoin && got->from_latest == want->from_latest);
    }
}

START_TEST(codec_group_join)
{
    struct span topics[] = {span_text("orders"), span_text("payments")};
    struct joiner joiners[] = {
        {.member_id = span_of("w\0-1", 4), /* any byte may be in an id */
         .client_id = span_of("w\0", 2),
         .topics = topics,
         .topic_count = 2,
         .session_us = 30000000,
         .visibility_us = 0,
         .in_flight_max = 1000,
         .deliveries_max = 5,
         .rejoin = true},
        {.member_id = span_text("w-2"),
         .client_id = span_text("w"),
         .topics = topics,
         .topic_count = 1,
         .session_us = 10000000,
         .visibility_us = 5000000,
         .in_flight_max = 1,
         .from_latest = true,
         .cooperative = true,
         .ordering = ORDERING_KEY},
    };
    struct command cmd = {.type = COMMAND_GROUP_JOIN};
    cmd.group_join = (struct command_group_join){span_text("workers"), joiners, 2};
    struct command out = through_golden(&cmd, "command-v3-group_join.bin");
    check_group_join(&out.group_join, joiners);
    ck_assert_uint_eq(out.group_join.joiners[0].deliveries_max, 5);
    ck_assert_uint_eq(out.group_join.joiners[1].deliveries_max, 0);
    ck_assert(!out.group_join.joiners[0].cooperative && out.group_join.joiners[1].cooperative);
    ck_assert_int_eq(out.group_join.joiners[0].ordering, ORDERING_UNSET);
    ck_assert_int_eq(out.group_join.joiners[1].ordering, ORDERING_KEY);
    refuses_every_cut(&cmd);

    out = decode_golden("command-v2-group_join.bin", (struct span){0}, COMMAND_GROUP_JOIN);
    check_group_join(&out.group_join, joiners);
    ck_assert_uint_eq(out.group_join.joiners[0].deliveries_max, 5);
    ck_assert(!out.group_join.joiners[1].cooperative);
    ck_assert_int_eq(out.group_join.joiners[1].ordering, ORDERING_UNSET);
    out = decode_golden("command-v1-group_join.bin", (struct span){0}, COMMAND_GROUP_JOIN);
    check_group_join(&out.group_join, joiners);
    for (int i = 0; i < 2; i++)
        ck_assert_uint_eq(out.group_join.joiners[i].deliveries_max, 0);
}
END_TEST

START_TEST(codec_group_leave_and_delete)
{
    struct command cmd = {.type = COMMAND_GROUP_LEAVE};
    cmd.group_leave =
        (struct command_group_leave){span_text("workers"), span_text("w-2"), LEAVE_SESSION_EXPIRED};
    struct command out = through_golden(&cmd, "command-v1-group_leave.bin");
    assert_text(out.group_leave.group, "workers");
    assert_text(out.group_leave.member_id, "w-2");
    ck_assert_int_eq(out.group_leave.reason, LEAVE_SESSION_EXPIRED);

    cmd = (struct command){.type = COMMAND_GROUP_DELETE};
    cmd.group_delete.group = span_text("workers");
    out = through_golden(&cmd, "command-v1-group_delete.bin");
    assert_text(out.group_delete.group, "workers");
}
END_TEST

START_TEST(codec_ack)
{
    struct ack_entry entries[] = {{1, 2, 3}, {4, 5, OFFSET_MAX}};
    struct command cmd = {.type = COMMAND_ACK};
    cmd.ack = (struct command_ack){9, 2, entries};
    struct command out = through_golden(&cmd, "command-v1-ack.bin");
    ck_assert_uint_eq(out.ack.group_id, 9);
    ck_assert_uint_eq(out.ack.entry_count, 2);
    ck_assert_mem_eq(out.ack.entries, entries, sizeof entries);
}
END_TEST

START_TEST(codec_offsets_commit)
{
    struct offset_entry entries[] = {{span_text("orders"), 0, 12}, {span_text("p"), 5, OFFSET_MAX}};
    struct command cmd = {.type = COMMAND_OFFSETS_COMMIT};
    cmd.offsets_commit = (struct command_offsets_commit){
        .group = span_text("workers"), .member_id = span_text("w-1"), entries, 2, -1};
    struct command out = through_golden(&cmd, "command-v1-offsets_commit.bin");
    assert_text(out.offsets_commit.group, "workers");
    assert_text(out.offsets_commit.member_id, "w-1");
    ck_assert_int_eq(out.offsets_commit.generation, -1);
    ck_assert_uint_eq(out.offsets_commit.entry_count, 2);
    assert_text(out.offsets_commit.entries[0].topic, "orders");
    ck_assert_uint_eq(out.offsets_commit.entries[0].offset, 12);
    ck_assert_uint_eq(out.offsets_commit.entries[1].partition, 5);
    ck_assert_uint_eq(out.offsets_commit.entries[1].offset, OFFSET_MAX);
}
END_TEST

START_TEST(codec_every_cut_is_corrupt)
{
    struct offset_entry entries[] = {{span_text("orders"), 0, 12}};
    struct command cmd = {.type = COMMAND_OFFSETS_COMMIT};
    cmd.offsets_commit = (struct command_offsets_commit){
        .group = span_text("workers"), .member_id = span_text("w-1"), entries, 1, 3};
    refuses_every_cut(&cmd);
}
END_TEST

START_TEST(codec_refuses_what_is_out_of_bounds)
{
    struct command cmd = {.type = COMMAND_TOPIC_DELETE};
    static char name[QUALIFIED_NAME_SIZE_MAX + 1];
    memset(name, 'x', sizeof name);
    const struct {
        struct span name;
        enum status status;
    } cases[] = {
        {span_of(name, sizeof name - 1), ST_OK},
        {span_of(name, sizeof name), ST_CORRUPT},
        {span_of(name, 0), ST_CORRUPT},
        {span_of("a\0b", 3), ST_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&bytes);
        cmd.topic_delete.name = cases[i].name;
        command_encode(&cmd, &bytes);
        ck_assert_int_eq(decode_now(), cases[i].status);
    }
    cmd.topic_delete.name = span_text("a");
    for (int byte = 4; byte < COMMAND_HEADER_SIZE; byte++) { /* type, version, sign of the time */
        buf_clear(&bytes);
        command_encode(&cmd, &bytes);
        bytes.data[byte] ^= 0x80;
        bool time = byte >= 8 && byte < 15;
        ck_assert_int_eq(decode_now(), time ? ST_OK : ST_CORRUPT);
    }
}
END_TEST

START_TEST(codec_refuses_bad_publishes)
{
    static const struct {
        uint32_t target, partition_count, keyless_count;
        enum status status;
    } cases[] = {
        {2, 3, 0, ST_OK},
        {3, 3, 0, ST_CORRUPT}, /* no such partition */
        {0, 0, 0, ST_CORRUPT}, /* no partitions */
        {0, PARTITIONS_MAX + 1, 0, ST_CORRUPT},
        {PUBLISH_KEYLESS | 1, 3, 2, ST_OK},
        {PUBLISH_KEYLESS | 1, 3, 1, ST_CORRUPT}, /* more slots than keyless messages */
        {PUBLISH_KEYLESS | 3, 3, 2, ST_CORRUPT},
        {0, 3, 3, ST_CORRUPT}, /* more keyless ones than messages */
    };
    struct command cmd = {.type = COMMAND_PUBLISH};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf entries;
        buf_init(&entries, SIZE_MAX);
        put_batch(&entries, cases[i].target, "v");
        cmd.publish = (struct command_publish){.topic_id = 1,
                                               .partition_count = cases[i].partition_count,
                                               .keyless_count = cases[i].keyless_count,
                                               .entry_count = 1,
                                               .entries = buf_span(&entries)};
        buf_clear(&bytes);
        command_encode(&cmd, &bytes);
        ck_assert_msg(decode_now() == cases[i].status, "case %zu", i);
        size_t size_at = COMMAND_HEADER_SIZE + PUBLISH_BODY_SIZE + PUBLISH_ENTRY_SIZE + 16;
        bytes.data[size_at]--; /* the batch claims to be shorter than its entry */
        ck_assert_int_eq(decode_now(), ST_CORRUPT);
        buf_fini(&entries);
    }
}
END_TEST

START_TEST(codec_stamp)
{
    struct command cmd = {.type = COMMAND_GROUP_DELETE}, out;
    cmd.group_delete.group = span_text("g");
    command_encode(&cmd, &bytes);
    command_stamp(bytes.data, TIME_US);
    ck_assert_int_eq(command_decode(buf_span(&bytes), &arena, &out), ST_OK);
    ck_assert_int_eq(out.time_us, TIME_US);
}
END_TEST

Suite *suite_codec(void)
{
    Suite *suite = suite_create("codec");
    TCase *tcase = tcase_create("codec");
    tcase_add_checked_fixture(tcase, codec_setup, codec_teardown);
    tcase_add_test(tcase, codec_topic_create);
    tcase_add_test(tcase, codec_refuses_bad_settings);
    tcase_add_test(tcase, codec_topic_delete);
    tcase_add_test(tcase, codec_publish);
    tcase_add_test(tcase, codec_group_join);
    tcase_add_test(tcase, codec_group_leave_and_delete);
    tcase_add_test(tcase, codec_ack);
    tcase_add_test(tcase, codec_offsets_commit);
    tcase_add_test(tcase, codec_every_cut_is_corrupt);
    tcase_add_test(tcase, codec_refuses_what_is_out_of_bounds);
    tcase_add_test(tcase, codec_refuses_bad_publishes);
    tcase_add_test(tcase, codec_stamp);
    suite_add_tcase(suite, tcase);
    return suite;
}
