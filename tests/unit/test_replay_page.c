#include <check.h>
#include <string.h>

#include "api/replay_page.h"
#include "command/dead_letter_headers.h"
#include "std/murmur3.h"
#include "tests/unit/log_fixture.h"
#include "tests/unit/temp_dir.h"

Suite *suite_replay_page(void);

enum { PARTITION = 2, ORDERS_ID = 11, BILLS_ID = 12 };

static struct partition_log *messages;
static struct replay_page page;
static struct hidden_run hidden[3];
static uint32_t hidden_count;
static uint64_t hidden_end, start_offset;
static struct journal_problem problem;

static void append(const struct record *record)
{
    struct buf buf;
    struct batch_builder builder;
    uint64_t base = partition_log_next_offset(messages);
    buf_init(&buf, BATCH_SIZE_MAX);
    batch_begin(&builder, &buf);
    batch_add(&builder, record);
    batch_end(&builder);
    ck_assert_int_eq(partition_log_append(messages, buf_span(&buf), base, LOG_TIME_STEP_US), ST_OK);
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    buf_fini(&buf);
}

static void append_plain(const char *value, const char *headers)
{
    append(&(struct record){
        .headers = span_text(headers), .value = span_text(value), .priority = PRIORITY_NORMAL});
}

/* A message that died in this topic, in partition 7. */
static void append_dead(const char *topic, const char *key, const char *value, const char *headers)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    const struct dead_letter_facts facts = {.topic = span_text(topic),
                                            .partition = 7,
                                            .offset = 99,
                                            .published_us = 1,
                                            .group = span_text("g"),
                                            .time_us = 2};
    dead_letter_headers_write(span_text(headers), &facts, &text);
    append(&(struct record){.key = span_text(key),
                            .headers = buf_span(&text),
                            .value = span_text(value),
                            .priority = PRIORITY_LOW});
    buf_fini(&text);
}

static enum status read_page(void)
{
    struct fetch_request fetched = {
        .start_offset = start_offset,
        .next_offset = partition_log_next_offset(messages),
        .hidden = hidden,
        .hidden_count = hidden_count,
        .hidden_end = hidden_end,
    };
    replay_page_fini(&page);
    partition_log_find(messages, page.next, &fetched.range);
    enum status st = replay_page_read(&page, &fetched, &problem);
    log_range_release(&fetched.range);
    ck_assert_uint_le(page.entry_count + page.error_count, page.message_max);
    return st;
}

static void know(unsigned slot, const char *name, uint32_t id)
{
    page.targets[slot] = (struct replay_target){span_text(name), id};
}

static struct record record_at(uint32_t index)
{
    struct batch_header header;
    struct record record;
    size_t cursor = 0;
    ck_assert_uint_lt(index, page.entry_count);
    ck_assert_int_eq(batch_check(page.entries[index].batch, &header), ST_OK);
    ck_assert_uint_eq(header.count, 1);
    ck_assert_uint_eq(header.size, page.entries[index].batch.size);
    ck_assert(batch_next(page.entries[index].batch, &cursor, &record));
    return record;
}

static void expect_unknown(const char *name)
{
    ck_assert(span_equal(span_of(page.unknown, page.unknown_size), span_text(name)));
}

START_TEST(replay_puts_a_message_back_as_it_was)
{
    append_dead("orders", "user-1", "one", "{\"a\":\"b\"}");
    append_dead("orders", "", "two", "");
    know(3, "orders", ORDERS_ID);
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.entry_count, 2);
    ck_assert_uint_eq(page.target_topic_id, ORDERS_ID);
    ck_assert_uint_eq(page.next, 2);
    ck_assert_uint_eq(page.entries[0].offset, 0);
    ck_assert_uint_eq(page.entries[0].hash, murmur3_32(span_text("user-1")));
    ck_assert_uint_eq(page.entries[1].offset, 1);
    ck_assert_uint_eq(page.entries[1].hash, 7); /* where it came from */
    struct record record = record_at(0);
    ck_assert(span_equal(record.key, span_text("user-1")));
    ck_assert(span_equal(record.headers, span_text("{\"a\":\"b\"}")));
    ck_assert(span_equal(record.value, span_text("one")));
    ck_assert_int_eq(record.priority, PRIORITY_LOW);
    ck_assert_uint_eq(record_at(1).headers.size, 0);
}
END_TEST

START_TEST(replay_to_another_topic)
{
    page.scope = span_text("acme/");
    page.target = span_text("acme/bills");
    append_dead("acme/orders", "", "one", "");
    append_dead("acme/bills", "", "two", "");
    append_plain("three", ""); /* a client's own */
    ck_assert_int_eq(read_page(), ST_OK);
    expect_unknown("acme/bills");
    ck_assert_uint_eq(page.next, 0);
    know(0, "acme/bills", BILLS_ID);
    ck_assert_int_eq(read_page(), ST_OK);
    expect_unknown("");
    ck_assert_uint_eq(page.entry_count, 3);
    ck_assert_uint_eq(page.target_topic_id, BILLS_ID);
    ck_assert_uint_eq(page.entries[0].hash, PARTITION);
    ck_assert_uint_eq(page.entries[1].hash, 7); /* its own topic, after all */
    ck_assert_uint_eq(page.entries[2].hash, PARTITION);
}
END_TEST

START_TEST(replay_ends_a_page_where_the_target_changes)
{
    page.scope = span_text("acme/");
    append_dead("acme/orders", "", "one", "");
    append_dead("acme/bills", "", "two", "");
    append_dead("acme/orders", "", "three", "");
    know(0, "acme/orders", ORDERS_ID);
    know(7, "orders", 99); /* another tenant's: not meant */
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.entry_count, 1);
    ck_assert_uint_eq(page.next, 1);
    expect_unknown("acme/bills");
    know(1, "acme/bills", BILLS_ID);
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.entry_count, 1);
    ck_assert_uint_eq(page.entries[0].offset, 1);
    ck_assert_uint_eq(page.target_topic_id, BILLS_ID);
    expect_unknown("");
    ck_assert_uint_eq(page.next, 2);
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.entries[0].offset, 2);
    ck_assert_uint_eq(page.target_topic_id, ORDERS_ID);
    ck_assert_uint_eq(page.next, 3);
}
END_TEST

START_TEST(replay_leaves_what_has_nowhere_to_go)
{
    append_plain("one", "");
    append_plain("two", "{\"x-goqueue-original-topic\":\"no name\"}");
    append_plain("three", "{\"x-goqueue-original-topic\":\"orders.dlq\"}");
    append_plain("four", "{\"x-goqueue-original-topic\":\"acme/orders\"}");
    append_plain("five", "{\"x-goqueue-original-topic\":\"gone\"}");
    append_plain("six", "{\"x-goqueue-original-topic\":\"orders\"}"); /* may as well be moved */
    know(0, "orders", ORDERS_ID);
    know(1, "gone", 0);
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.error_count, 5);
    ck_assert_uint_eq(page.entry_count, 1);
    ck_assert_uint_eq(page.entries[0].offset, 5);
    ck_assert_uint_eq(page.entries[0].hash, PARTITION);
    ck_assert_uint_eq(page.next, 6);
}
END_TEST

START_TEST(replay_skips_what_is_hidden)
{
    for (int i = 0; i < 12; i++)
        append_dead("orders", "", "x", "");
    know(0, "orders", ORDERS_ID);
    hidden[0] = (struct hidden_run){0, 3};
    hidden[1] = (struct hidden_run){4, 5};
    hidden[2] = (struct hidden_run){9, 11};
    hidden_count = 3;
    page.next = 1;
    page.end = 10;
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.skipped_count, 2 + 1 + 1);
    ck_assert_uint_eq(page.next, 10);
    static const uint64_t expected[] = {3, 5, 6, 7, 8};
    ck_assert_uint_eq(page.entry_count, 5);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_uint_eq(page.entries[i].offset, expected[i]);

    page.next = 0;
    hidden_count = 1;
    hidden_end = 4; /* what lies beyond may be hidden: it must be asked */
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.skipped_count, 3);
    ck_assert_uint_eq(page.entry_count, 1);
    ck_assert_uint_eq(page.next, 4);

    page.next = 0;
    hidden_count = 0;
    hidden_end = UINT64_MAX;
    start_offset = 8; /* retention took the older ones */
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.skipped_count, 0);
    ck_assert_uint_eq(page.entry_count, 2);
    ck_assert_uint_eq(page.next, 10);
}
END_TEST

START_TEST(replay_pages_are_bounded)
{
    for (int i = 0; i < REPLAYS_PER_COMMAND_MAX + 10; i++)
        append_plain("x", "");
    page.target = span_text("orders");
    know(0, "orders", ORDERS_ID);
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.entry_count, REPLAYS_PER_COMMAND_MAX);
    ck_assert_uint_eq(page.next, REPLAYS_PER_COMMAND_MAX);
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.entry_count, 10);
    ck_assert_int_eq(read_page(), ST_OK); /* nothing is left */
    ck_assert_uint_eq(page.entry_count, 0);
    ck_assert_uint_eq(page.next, REPLAYS_PER_COMMAND_MAX + 10);
    page.next = 0;
    page.message_max = 3;
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.entry_count, 3);
    ck_assert_uint_eq(page.next, 3);
    know(0, "orders", 0); /* errors count, too */
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.error_count, 3);
    ck_assert_uint_eq(page.next, 6);
}
END_TEST

START_TEST(replay_pages_of_large_messages_are_short)
{
    log_append(messages, 10, 200000);
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    page.target = span_text("orders");
    know(0, "orders", ORDERS_ID);
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.next, 6);
    know(0, "orders", 0); /* neither does it read on and on over errors */
    page.next = 2;
    ck_assert_int_eq(read_page(), ST_OK);
    ck_assert_uint_eq(page.next, 8);
}
END_TEST

START_TEST(replay_stops_at_what_cannot_be_read)
{
    append_dead("orders", "", "one", "");
    append_dead("orders", "", "two", "");
    const char *path = temp_path("7/3/00000000000000000000.log");
    uint64_t at = file_size(path) - 1;
    uint8_t byte = 0;
    file_read(path, at, &byte, 1);
    byte ^= 1;
    file_write(path, at, &byte, 1);
    know(0, "orders", ORDERS_ID);
    ck_assert_int_eq(read_page(), ST_CORRUPT);
    ck_assert_str_eq(problem.path, path);
    ck_assert_uint_eq(page.entry_count, 1);
    ck_assert(span_equal(record_at(0).value, span_text("one")));
    ck_assert_uint_eq(page.next, 1);
    ck_assert_int_eq(read_page(), ST_CORRUPT);
    ck_assert_uint_eq(page.entry_count, 0);
    ck_assert_uint_eq(page.next, 1);
}
END_TEST

static void set_up(void)
{
    temp_dir_make();
    messages = log_open(0);
    page.partition = PARTITION;
    page.end = UINT64_MAX;
    page.message_max = 10000;
    hidden_end = UINT64_MAX;
}

static void tear_down(void)
{
    replay_page_fini(&page);
    partition_log_close(messages);
    temp_dir_remove();
}

Suite *suite_replay_page(void)
{
    Suite *suite = suite_create("replay_page");
    TCase *tcase = tcase_create("replay_page");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, replay_puts_a_message_back_as_it_was);
    tcase_add_test(tcase, replay_to_another_topic);
    tcase_add_test(tcase, replay_ends_a_page_where_the_target_changes);
    tcase_add_test(tcase, replay_leaves_what_has_nowhere_to_go);
    tcase_add_test(tcase, replay_skips_what_is_hidden);
    tcase_add_test(tcase, replay_pages_are_bounded);
    tcase_add_test(tcase, replay_pages_of_large_messages_are_short);
    tcase_add_test(tcase, replay_stops_at_what_cannot_be_read);
    suite_add_tcase(suite, tcase);
    return suite;
}
