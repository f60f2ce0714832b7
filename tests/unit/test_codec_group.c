/* Records of the commands that change groups from outside or in the course of a hand-over. */
#include "tests/unit/codec_fixture.h"

Suite *suite_codec_group(void);

START_TEST(codec_topic_add_partitions)
{
    struct command cmd = {.type = COMMAND_TOPIC_ADD_PARTITIONS};
    cmd.topic_add_partitions =
        (struct command_topic_add_partitions){span_text("acme/orders"), PARTITIONS_MAX};
    struct command out = through_golden(&cmd, "command-v1-topic_add_partitions.bin");
    assert_text(out.topic_add_partitions.name, "acme/orders");
    ck_assert_uint_eq(out.topic_add_partitions.partition_count, PARTITIONS_MAX);
    refuses_every_cut(&cmd);
    cmd.topic_add_partitions.partition_count = PARTITIONS_MAX + 1;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.topic_add_partitions.partition_count = 0;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.topic_add_partitions = (struct command_topic_add_partitions){span_text(""), 1};
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
}
END_TEST

static struct revoked_entry revoked[] = {{{(const uint8_t *)"orders", 6}, 3},
                                         {{(const uint8_t *)"p", 1}, UINT32_MAX}};

static struct command revoke(void)
{
    struct command cmd = {.type = COMMAND_GROUP_REVOKE};
    cmd.group_revoke = (struct command_group_revoke){.group = span_text("workers"),
                                                     .member_id = span_text("w-1"),
                                                     .entries = revoked,
                                                     .entry_count = 2,
                                                     .generation = 7};
    return cmd;
}

START_TEST(codec_group_revoke)
{
    struct command cmd = revoke();
    struct command out = through_golden(&cmd, "command-v1-group_revoke.bin");
    assert_text(out.group_revoke.group, "workers");
    assert_text(out.group_revoke.member_id, "w-1");
    ck_assert(out.group_revoke.generation == 7 && !out.group_revoke.expired);
    ck_assert_uint_eq(out.group_revoke.entry_count, 2);
    assert_text(out.group_revoke.entries[0].topic, "orders");
    ck_assert_uint_eq(out.group_revoke.entries[0].partition, 3);
    assert_text(out.group_revoke.entries[1].topic, "p");
    ck_assert_uint_eq(out.group_revoke.entries[1].partition, UINT32_MAX);
    refuses_every_cut(&cmd);
}
END_TEST

/* A member may let go of nothing; when the time has passed there is no member to name. */
START_TEST(codec_group_revoke_without_entries)
{
    struct command cmd = revoke(), out;
    cmd.group_revoke.entry_count = 0;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_OK);
    cmd.group_revoke.expired = true;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT); /* has a member */
    cmd.group_revoke.member_id = (struct span){0};
    cmd.group_revoke.generation = -1;
    refuses_every_cut(&cmd);
    encode(&cmd);
    ck_assert_int_eq(command_decode(buf_span(&bytes), &arena, &out), ST_OK);
    ck_assert(out.group_revoke.expired && out.group_revoke.generation == -1);
    ck_assert(out.group_revoke.member_id.size == 0 && out.group_revoke.entry_count == 0);
}
END_TEST

START_TEST(codec_refuses_bad_revokes)
{
    static const struct {
        const char *group, *member_id, *topic;
        uint32_t entry_count;
        bool expired;
    } cases[] = {
        {"", "w-1", "orders", 2, false},     {"workers", "", "orders", 2, false},
        {"workers", "", "orders", 0, false}, {"workers", "w-1", "", 2, false},
        {"workers", "", "orders", 2, true},  {"workers", "w-1", "orders", 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct revoked_entry entries[] = {revoked[0], {span_text(cases[i].topic), 0}};
        struct command cmd = revoke();
        cmd.group_revoke.group = span_text(cases[i].group);
        cmd.group_revoke.member_id = span_text(cases[i].member_id);
        cmd.group_revoke.entries = entries;
        cmd.group_revoke.entry_count = cases[i].entry_count;
        cmd.group_revoke.expired = cases[i].expired;
        ck_assert_msg(encode_and_decode(&cmd) == ST_CORRUPT, "case %zu", i);
    }
    struct command cmd = revoke();
    encode(&cmd);
    const size_t flag_at = COMMAND_HEADER_SIZE + 2 + strlen("workers");
    bytes.data[flag_at] = 2; /* neither true nor false */
    ck_assert_int_eq(decode_now(), ST_CORRUPT);
    encode(&cmd);
    const size_t count_at = flag_at + 1 + 2 + strlen("w-1") + 8;
    store_u32(bytes.data + count_at, REVOKED_PER_COMMAND_MAX + 1);
    ck_assert_int_eq(decode_now(), ST_CORRUPT);
}
END_TEST

static struct command reset(struct reset_entry *entries, uint32_t count)
{
    struct command cmd = {.type = COMMAND_OFFSETS_RESET};
    cmd.offsets_reset =
        (struct command_offsets_reset){span_text("workers"), span_text("orders"), entries, count};
    return cmd;
}

START_TEST(codec_offsets_reset)
{
    struct reset_entry entries[] = {
        {0, RESET_EARLIEST, 0}, {5, RESET_LATEST, 0}, {2, RESET_OFFSET, OFFSET_MAX}};
    struct command cmd = reset(entries, 3);
    struct command out = through_golden(&cmd, "command-v1-offsets_reset.bin");
    assert_text(out.offsets_reset.group, "workers");
    assert_text(out.offsets_reset.topic, "orders");
    ck_assert_uint_eq(out.offsets_reset.entry_count, 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(out.offsets_reset.entries[i].partition, entries[i].partition);
        ck_assert_int_eq(out.offsets_reset.entries[i].to, entries[i].to);
        ck_assert_uint_eq(out.offsets_reset.entries[i].offset, entries[i].offset);
    }
    refuses_every_cut(&cmd);
}
END_TEST

START_TEST(codec_refuses_bad_resets)
{
    struct reset_entry entries[] = {{RESET_EVERY_PARTITION, RESET_OFFSET, 1}, {1, RESET_LATEST, 0}};
    struct command cmd = reset(entries, 1);
    ck_assert_int_eq(encode_and_decode(&cmd), ST_OK); /* all of them, and nothing besides */
    cmd.offsets_reset.entry_count = 2;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.offsets_reset.entry_count = 0;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd = reset(entries, 1);
    entries[0].offset = OFFSET_MAX + 1;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    entries[0] = (struct reset_entry){0, (enum reset_to)(RESET_OFFSET + 1), 1};
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    entries[0].to = RESET_OFFSET;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_OK);
    cmd.offsets_reset.topic = span_text("");
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
    cmd.offsets_reset.topic = span_text("orders");
    cmd.offsets_reset.group = span_text("");
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
}
END_TEST

START_TEST(codec_reset_takes_a_topic_of_many_partitions)
{
    struct reset_entry *entries = arena_array(&arena, PARTITIONS_MAX + 1, sizeof *entries);
    for (uint32_t i = 0; i <= PARTITIONS_MAX; i++)
        entries[i] = (struct reset_entry){i, RESET_LATEST, 0};
    struct command cmd = reset(entries, PARTITIONS_MAX);
    ck_assert_int_eq(encode_and_decode(&cmd), ST_OK);
    cmd.offsets_reset.entry_count++;
    ck_assert_int_eq(encode_and_decode(&cmd), ST_CORRUPT);
}
END_TEST

Suite *suite_codec_group(void)
{
    Suite *suite = suite_create("codec_group");
    TCase *tcase = tcase_create("codec_group");
    tcase_add_checked_fixture(tcase, codec_setup, codec_teardown);
    tcase_add_test(tcase, codec_topic_add_partitions);
    tcase_add_test(tcase, codec_group_revoke);
    tcase_add_test(tcase, codec_group_revoke_without_entries);
    tcase_add_test(tcase, codec_refuses_bad_revokes);
    tcase_add_test(tcase, codec_offsets_reset);
    tcase_add_test(tcase, codec_refuses_bad_resets);
    tcase_add_test(tcase, codec_reset_takes_a_topic_of_many_partitions);
    suite_add_tcase(suite, tcase);
    return suite;
}
