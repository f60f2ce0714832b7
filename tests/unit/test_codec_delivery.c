/* The commands about deliveries and delays, as bytes. */
#include "tests/unit/codec_fixture.h"

Suite *suite_codec_delivery(void);

static struct span message(const char *value, int64_t delay_us)
{
    struct record record = {.key = span_text("user-1"),
                            .headers = span_text("{\"a\":\"b\"}"),
                            .value = span_text(value),
                            .priority = PRIORITY_LOW,
                            .delay_us = delay_us};
    return batch_of(&record, 1);
}

static void assert_place(const struct delivery_place *got, const struct delivery_place *want)
{
    ck_assert_uint_eq(got->group_id, want->group_id);
    ck_assert_uint_eq(got->topic_id, want->topic_id);
    ck_assert_uint_eq(got->partition, want->partition);
    ck_assert_uint_eq(got->offset, want->offset);
}

/* Encodes the command as it is, and decodes it. */
#define ASSERT_DECODES(cmd, expected)                                                              \
    ck_assert_msg(encode_and_decode(cmd) == (expected), "line %d", __LINE__)

static struct lease_entry lease_entries[] = {
    {{1, 2, 3, 4}, 500, 1, false, TIME_US + 30000000, TIME_US},
    {{9, 8, 7, OFFSET_MAX - 1}, 1, 3, true, TIME_US + 1, 0},
};

static struct command lease_command(struct lease_entry *entries, uint32_t count)
{
    struct command cmd = {.type = COMMAND_LEASE};
    cmd.lease = (struct command_lease){.as_of_index = 7, .entry_count = count, .entries = entries};
    return cmd;
}

START_TEST(codec_lease)
{
    struct command cmd = lease_command(lease_entries, 2);
    struct command out = through_golden(&cmd, "command-v1-lease.bin");
    ck_assert_uint_eq(out.lease.entry_count, 2);
    for (int i = 0; i < 2; i++) {
        const struct lease_entry *got = &out.lease.entries[i], *want = &lease_entries[i];
        assert_place(&got->place, &want->place);
        ck_assert_uint_eq(got->count, want->count);
        ck_assert_uint_eq(got->delivery_count, want->delivery_count);
        ck_assert_int_eq(got->extended, want->extended);
        ck_assert_int_eq(got->deadline_us, want->deadline_us);
        ck_assert_int_eq(got->first_us, want->first_us);
    }
    refuses_every_cut(&cmd);
}
END_TEST

START_TEST(codec_refuses_bad_leases)
{
    struct lease_entry entry = lease_entries[0];
    struct command cmd = lease_command(&entry, 1);
    ASSERT_DECODES(&cmd, ST_OK);
    entry.place.offset = OFFSET_MAX;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = lease_entries[0];
    entry.count = 0;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.count = UINT32_MAX;
    ASSERT_DECODES(&cmd, ST_OK);
    entry.delivery_count = 0;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.delivery_count = 2; /* only one by one */
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.delivery_count = 1;
    entry.extended = true; /* likewise */
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.count = 1;
    ASSERT_DECODES(&cmd, ST_OK);
    entry.deadline_us = -1;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.deadline_us = 0;
    entry.first_us = -1;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    cmd.lease.entry_count = 0;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    static struct lease_entry many[LEASES_PER_COMMAND_MAX + 1];
    for (uint32_t i = 0; i <= LEASES_PER_COMMAND_MAX; i++)
        many[i] = lease_entries[0];
    cmd = lease_command(many, LEASES_PER_COMMAND_MAX);
    ASSERT_DECODES(&cmd, ST_OK);
    cmd.lease.entry_count++;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
}
END_TEST

static struct release_entry nacked(void)
{
    return (struct release_entry){{1, 2, 3, 4},           0xFEDCBA9876543210ULL, 2,
                                  RELEASE_NACK,           TIME_US + 5000000,     TIME_US,
                                  span_of("no\0stock", 8)};
}

static struct command release_command(struct release_entry *entries, uint32_t count)
{
    struct command cmd = {.type = COMMAND_RELEASE};
    cmd.release =
        (struct command_release){.as_of_index = 7, .entry_count = count, .entries = entries};
    return cmd;
}

START_TEST(codec_release)
{
    struct release_entry entries[] = {nacked(), {.place = {1, 2, 3, 5}, .kind = RELEASE_RETURNED}};
    struct command cmd = release_command(entries, 2);
    struct command out = through_golden(&cmd, "command-v1-release.bin");
    ck_assert_uint_eq(out.release.entry_count, 2);
    for (int i = 0; i < 2; i++) {
        const struct release_entry *got = &out.release.entries[i], *want = &entries[i];
        assert_place(&got->place, &want->place);
        ck_assert_uint_eq(got->lease_id, want->lease_id);
        ck_assert_uint_eq(got->delivery_count, want->delivery_count);
        ck_assert_int_eq(got->kind, want->kind);
        ck_assert_int_eq(got->not_before_us, want->not_before_us);
        ck_assert_int_eq(got->first_us, want->first_us);
        ck_assert(span_equal(got->reason, want->reason));
    }
    refuses_every_cut(&cmd);
}
END_TEST

START_TEST(codec_refuses_bad_releases)
{
    static char text[REASON_SIZE_MAX + 1];
    struct release_entry entry = nacked();
    struct command cmd = release_command(&entry, 1);
    entry.reason = span_of(text, REASON_SIZE_MAX);
    ASSERT_DECODES(&cmd, ST_OK);
    entry.reason = span_of(text, REASON_SIZE_MAX + 1);
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = nacked();
    entry.place.offset = OFFSET_MAX;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = nacked();
    entry.delivery_count = 0; /* a nack is of a delivery */
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.kind = RELEASE_RETURNED;
    ASSERT_DECODES(&cmd, ST_OK);
    entry.kind = (enum release_kind)2;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = nacked();
    entry.not_before_us = -1;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = nacked();
    entry.first_us = -1;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    cmd.release.entry_count = 0;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    static struct release_entry many[RELEASES_PER_COMMAND_MAX + 1];
    for (uint32_t i = 0; i <= RELEASES_PER_COMMAND_MAX; i++)
        many[i] = nacked();
    cmd = release_command(many, RELEASES_PER_COMMAND_MAX);
    ASSERT_DECODES(&cmd, ST_OK);
    cmd.release.entry_count++;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
}
END_TEST

static struct dead_letter_entry rejected(void)
{
    return (struct dead_letter_entry){
        {1, 2, 3, 4}, 0xFEDCBA9876543210ULL, 2, DEAD_LETTER_REJECTED, true, false,
        0xCAFEBABE,   message("bad", 0)};
}

static struct command dead_letter_command(struct dead_letter_entry *entries, uint32_t count)
{
    struct command cmd = {.type = COMMAND_DEAD_LETTER};
    cmd.dead_letter.settings = (struct topic_settings){.retention_us = 1209600000000,
                                                       .retention_bytes = -1,
                                                       .visibility_us = 30000000,
                                                       .deliveries_max = 3,
                                                       .in_flight_max = 4,
                                                       .delayed_max = 5,
                                                       .priority_mode = PRIORITY_WEIGHTED};
    cmd.dead_letter.entry_count = count;
    cmd.dead_letter.entries = entries;
    return cmd;
}

START_TEST(codec_dead_letter)
{
    struct dead_letter_entry entries[] = {rejected(), rejected(), rejected()};
    entries[1] = (struct dead_letter_entry){{1, 2, 3, 5}, 7,    3, DEAD_LETTER_MAX_RETRIES,
                                            false,        true, 0, message("late", 0)};
    entries[2].batch = (struct span){0}; /* dropped */
    struct command cmd = dead_letter_command(entries, 3);
    struct command out = through_golden(&cmd, "command-v1-dead_letter.bin");
    ck_assert_uint_eq(out.dead_letter.entry_count, 3);
    for (int i = 0; i < 3; i++) {
        const struct dead_letter_entry *got = &out.dead_letter.entries[i], *want = &entries[i];
        assert_place(&got->place, &want->place);
        ck_assert_uint_eq(got->lease_id, want->lease_id);
        ck_assert_uint_eq(got->delivery_count, want->delivery_count);
        ck_assert_int_eq(got->reason, want->reason);
        ck_assert(got->asked == want->asked && got->nacked == want->nacked);
        ck_assert_uint_eq(got->hash, want->hash);
        ck_assert(span_equal(got->batch, want->batch));
    }
    const struct topic_settings *settings = &out.dead_letter.settings;
    ck_assert_int_eq(settings->retention_us, 1209600000000);
    ck_assert(settings->in_flight_max == 4 && settings->delayed_max == 5);
    ck_assert_int_eq(settings->priority_mode, PRIORITY_WEIGHTED);
    refuses_every_cut(&cmd);
}
END_TEST

START_TEST(codec_refuses_bad_dead_letters)
{
    struct dead_letter_entry entry = rejected();
    struct command cmd = dead_letter_command(&entry, 1);
    ASSERT_DECODES(&cmd, ST_OK);
    entry.place.offset = OFFSET_MAX;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = rejected();
    entry.delivery_count = 0;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = rejected();
    entry.reason = (enum dead_letter_reason)2;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = rejected();
    entry.nacked = true; /* one or the other */
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.asked = false;
    ASSERT_DECODES(&cmd, ST_OK);
    const struct record two[] = {{.value = span_text("a"), .priority = PRIORITY_NORMAL},
                                 {.value = span_text("b"), .priority = PRIORITY_NORMAL}};
    entry.batch = batch_of(two, 2);
    ASSERT_DECODES(&cmd, ST_CORRUPT); /* of one message */
    entry.batch = batch_of(two, 1);
    ASSERT_DECODES(&cmd, ST_OK);
    entry.batch.size--;
    ASSERT_DECODES(&cmd, ST_CORRUPT); /* the batch says that it is longer */
    entry.batch.size = BATCH_HEADER_SIZE - 1;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry = rejected();
    cmd.dead_letter.settings.visibility_us = 0;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    cmd = dead_letter_command(&entry, 0);
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    static struct dead_letter_entry many[DEAD_LETTERS_PER_COMMAND_MAX + 1];
    for (uint32_t i = 0; i <= DEAD_LETTERS_PER_COMMAND_MAX; i++)
        many[i] = rejected();
    cmd = dead_letter_command(many, DEAD_LETTERS_PER_COMMAND_MAX);
    ASSERT_DECODES(&cmd, ST_OK);
    cmd.dead_letter.entry_count++;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
}
END_TEST

/* A batch whose flags promise priorities is walked by apply: its records must be there. */
START_TEST(codec_refuses_batches_with_torn_records)
{
    struct dead_letter_entry entry = rejected();
    struct command cmd = dead_letter_command(&entry, 1);
    encode(&cmd);
    size_t batch_at = bytes.size - entry.batch.size;
    ck_assert_mem_eq(bytes.data + batch_at, entry.batch.data, entry.batch.size);
    bytes.data[batch_at + BATCH_HEADER_SIZE] |= 7; /* a priority that there is not */
    ck_assert_int_eq(decode_now(), ST_CORRUPT);
    encode(&cmd);
    bytes.data[batch_at + BATCH_HEADER_SIZE + 1]++; /* a record longer than its batch */
    ck_assert_int_eq(decode_now(), ST_CORRUPT);
    encode(&cmd);
    bytes.data[batch_at + BATCH_HEADER_SIZE + 1]--; /* or shorter: then another begins */
    ck_assert_int_eq(decode_now(), ST_CORRUPT);
    encode(&cmd);
    ck_assert_int_eq(decode_now(), ST_OK);
}
END_TEST

START_TEST(codec_delay_due)
{
    struct command cmd = {.type = COMMAND_DELAY_DUE};
    cmd.delay_due = (struct command_delay_due){7, 3, DUE_PER_COMMAND_MAX};
    struct command out = through_golden(&cmd, "command-v1-delay_due.bin");
    ck_assert(out.delay_due.topic_id == 7 && out.delay_due.partition == 3);
    ck_assert_uint_eq(out.delay_due.count_max, DUE_PER_COMMAND_MAX);
    refuses_every_cut(&cmd);
    cmd.delay_due.count_max++;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    cmd.delay_due.count_max = 0;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    cmd.delay_due.count_max = 1;
    ASSERT_DECODES(&cmd, ST_OK);
}
END_TEST

START_TEST(codec_delay_cancel)
{
    struct command cmd = {.type = COMMAND_DELAY_CANCEL};
    cmd.delay_cancel = (struct command_delay_cancel){7, 3, 12345678901, DUE_US_MAX};
    struct command out = through_golden(&cmd, "command-v1-delay_cancel.bin");
    ck_assert(out.delay_cancel.topic_id == 7 && out.delay_cancel.partition == 3);
    ck_assert_uint_eq(out.delay_cancel.offset, 12345678901);
    ck_assert_int_eq(out.delay_cancel.due_us, DUE_US_MAX);
    refuses_every_cut(&cmd);
    cmd.delay_cancel.due_us++;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    cmd.delay_cancel.due_us = -1;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    cmd.delay_cancel.due_us = 0;
    ASSERT_DECODES(&cmd, ST_OK);
    cmd.delay_cancel.offset = OFFSET_MAX;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
}
END_TEST

static struct command replay_command(struct replay_entry *entries, uint32_t count)
{
    struct command cmd = {.type = COMMAND_REPLAY};
    cmd.replay = (struct command_replay){.topic_id = 8,
                                         .partition = 3,
                                         .target_topic_id = 7,
                                         .entry_count = count,
                                         .entries = entries};
    return cmd;
}

START_TEST(codec_replay)
{
    struct replay_entry entries[] = {{12, 0xCAFEBABE, message("a", 0)},
                                     {13, 0, message("b", 5000000)}};
    struct command cmd = replay_command(entries, 2);
    struct command out = through_golden(&cmd, "command-v1-replay.bin");
    ck_assert(out.replay.topic_id == 8 && out.replay.partition == 3);
    ck_assert_uint_eq(out.replay.target_topic_id, 7);
    ck_assert_uint_eq(out.replay.entry_count, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(out.replay.entries[i].offset, entries[i].offset);
        ck_assert_uint_eq(out.replay.entries[i].hash, entries[i].hash);
        ck_assert(span_equal(out.replay.entries[i].batch, entries[i].batch));
    }
    refuses_every_cut(&cmd);
}
END_TEST

START_TEST(codec_refuses_bad_replays)
{
    const struct record two[] = {{.value = span_text("a"), .priority = PRIORITY_NORMAL},
                                 {.value = span_text("b"), .priority = PRIORITY_NORMAL}};
    struct replay_entry entry = {12, 1, batch_of(two, 1)};
    struct command cmd = replay_command(&entry, 1);
    ASSERT_DECODES(&cmd, ST_OK);
    entry.batch.size--;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.batch = batch_of(two, 2);
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    entry.batch = (struct span){0}; /* nothing to move */
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    cmd.replay.entry_count = 0;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
    static struct replay_entry many[REPLAYS_PER_COMMAND_MAX + 1];
    for (uint32_t i = 0; i <= REPLAYS_PER_COMMAND_MAX; i++)
        many[i] = (struct replay_entry){i, i, batch_of(two, 1)};
    cmd = replay_command(many, REPLAYS_PER_COMMAND_MAX);
    ASSERT_DECODES(&cmd, ST_OK);
    cmd.replay.entry_count++;
    ASSERT_DECODES(&cmd, ST_CORRUPT);
}
END_TEST

/* No bit may be changed without either a refusal or a command that encodes to those very bytes. */
START_TEST(codec_knows_every_bit)
{
    struct dead_letter_entry dead = rejected();
    struct release_entry release = nacked();
    struct replay_entry replay = {12, 0xCAFEBABE, message("a", 5000000)};
    struct command commands[] = {
        lease_command(lease_entries, 2), release_command(&release, 1),
        dead_letter_command(&dead, 1),   replay_command(&replay, 1),
        {.type = COMMAND_DELAY_DUE},     {.type = COMMAND_DELAY_CANCEL},
    };
    commands[4].delay_due = (struct command_delay_due){7, 3, 100};
    commands[5].delay_cancel = (struct command_delay_cancel){7, 3, 1, TIME_US};
    struct buf again;
    buf_init(&again, SIZE_MAX);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        encode(&commands[i]);
        for (size_t bit = 0; bit < bytes.size * 8; bit++) {
            struct command out;
            bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (command_decode(buf_span(&bytes), &arena, &out) == ST_OK) {
                buf_clear(&again);
                command_encode(&out, &again);
                ck_assert_msg(span_equal(buf_span(&again), buf_span(&bytes)), "%zu %zu", i, bit);
            }
            bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    buf_fini(&again);
}
END_TEST

Suite *suite_codec_delivery(void)
{
    Suite *suite = suite_create("codec_delivery");
    TCase *tcase = tcase_create("codec_delivery");
    tcase_add_checked_fixture(tcase, codec_setup, codec_teardown);
    tcase_add_test(tcase, codec_lease);
    tcase_add_test(tcase, codec_refuses_bad_leases);
    tcase_add_test(tcase, codec_release);
    tcase_add_test(tcase, codec_refuses_bad_releases);
    tcase_add_test(tcase, codec_dead_letter);
    tcase_add_test(tcase, codec_refuses_bad_dead_letters);
    tcase_add_test(tcase, codec_refuses_batches_with_torn_records);
    tcase_add_test(tcase, codec_delay_due);
    tcase_add_test(tcase, codec_delay_cancel);
    tcase_add_test(tcase, codec_replay);
    tcase_add_test(tcase, codec_refuses_bad_replays);
    tcase_add_test(tcase, codec_knows_every_bit);
    suite_add_tcase(suite, tcase);
    return suite;
}
