#include <check.h>
#include <stdio.h>
#include <string.h>

#include "command/dead_letter_headers.h"

Suite *suite_dead_letter_headers(void);

static struct buf out;
static struct dead_letter_origin origin;

static const struct dead_letter_facts all = {
    .reason = DEAD_LETTER_MAX_RETRIES,
    .error = {(const uint8_t *)"no \"stock\"\n", 11},
    .topic = {(const uint8_t *)"acme/orders", 11},
    .partition = 3,
    .offset = 9223372036854775807U,
    .published_us = 1700000000123456,
    .delivery_count = 5,
    .first_us = 1700000001000000,
    .last_us = 1700000002500000,
    .group = {(const uint8_t *)"acme/billing", 12},
    .member_id = {(const uint8_t *)"w\xc3\xb6rker-1", 9},
    .time_us = 1700000003000001,
};

#define ALL_TEXT                                                                                   \
    "\"x-goqueue-dlq-reason\":\"MAX_RETRIES_EXCEEDED\","                                           \
    "\"x-goqueue-dlq-error\":\"no \\\"stock\\\"\\n\","                                             \
    "\"x-goqueue-original-topic\":\"orders\","                                                     \
    "\"x-goqueue-original-partition\":\"3\","                                                      \
    "\"x-goqueue-original-offset\":\"9223372036854775807\","                                       \
    "\"x-goqueue-original-timestamp\":\"2023-11-14T22:13:20.123456Z\","                            \
    "\"x-goqueue-delivery-attempts\":\"5\","                                                       \
    "\"x-goqueue-first-delivery\":\"2023-11-14T22:13:21Z\","                                       \
    "\"x-goqueue-last-delivery\":\"2023-11-14T22:13:22.500Z\","                                    \
    "\"x-goqueue-last-group\":\"billing\","                                                        \
    "\"x-goqueue-last-consumer\":\"w\xc3\xb6rker-1\","                                             \
    "\"x-goqueue-dlq-time\":\"2023-11-14T22:13:23.000001Z\"}"

static void written(const char *headers, const struct dead_letter_facts *facts,
                    const char *expected)
{
    buf_clear(&out);
    dead_letter_headers_write(span_text(headers), facts, &out);
    ck_assert_msg(span_equal(buf_span(&out), span_text(expected)), "%.*s",
                  SPAN_ARG(buf_span(&out)));
}

static void stripped(const char *headers, const char *expected)
{
    buf_clear(&out);
    memset(&origin, 0xff, sizeof origin);
    dead_letter_headers_strip(span_text(headers), &out, &origin);
    ck_assert_msg(span_equal(buf_span(&out), span_text(expected)), "%s: %.*s", headers,
                  SPAN_ARG(buf_span(&out)));
}

static void expect_topic(const char *topic)
{
    ck_assert(span_equal(span_of(origin.topic, origin.topic_size), span_text(topic)));
}

START_TEST(dead_letter_headers_tell_everything)
{
    written("", &all, "{" ALL_TEXT);
    written("{\"a\":\"b\",\"c\\u0000\":\"\\ud83d\\ude00\",\"\":\"\"}", &all,
            "{\"a\":\"b\",\"c\\u0000\":\"\\ud83d\\ude00\",\"\":\"\"," ALL_TEXT);
}
END_TEST

START_TEST(dead_letter_headers_leave_out_what_is_not_known)
{
    struct dead_letter_facts facts = {.reason = DEAD_LETTER_REJECTED,
                                      .topic = span_text("t"),
                                      .published_us = 1700000000000000,
                                      .delivery_count = 1,
                                      .group = span_text("g"),
                                      .time_us = 1700000000000000};
    written("", &facts,
            "{\"x-goqueue-dlq-reason\":\"REJECTED\",\"x-goqueue-original-topic\":\"t\","
            "\"x-goqueue-original-partition\":\"0\",\"x-goqueue-original-offset\":\"0\","
            "\"x-goqueue-original-timestamp\":\"2023-11-14T22:13:20Z\","
            "\"x-goqueue-delivery-attempts\":\"1\",\"x-goqueue-last-group\":\"g\","
            "\"x-goqueue-dlq-time\":\"2023-11-14T22:13:20Z\"}");
}
END_TEST

/* A reason that was cut in the middle of a character must not make the stored text invalid. */
START_TEST(dead_letter_headers_stay_utf8)
{
    struct dead_letter_facts facts = all;
    facts.error = span_text("caf\xc3");
    facts.member_id = span_text("\xff");
    written("", &facts,
            "{\"x-goqueue-dlq-reason\":\"MAX_RETRIES_EXCEEDED\",\"x-goqueue-dlq-error\":\"caf\","
            "\"x-goqueue-original-topic\":\"orders\",\"x-goqueue-original-partition\":\"3\","
            "\"x-goqueue-original-offset\":\"9223372036854775807\","
            "\"x-goqueue-original-timestamp\":\"2023-11-14T22:13:20.123456Z\","
            "\"x-goqueue-delivery-attempts\":\"5\","
            "\"x-goqueue-first-delivery\":\"2023-11-14T22:13:21Z\","
            "\"x-goqueue-last-delivery\":\"2023-11-14T22:13:22.500Z\","
            "\"x-goqueue-last-group\":\"billing\","
            "\"x-goqueue-dlq-time\":\"2023-11-14T22:13:23.000001Z\"}");
}
END_TEST

START_TEST(dead_letter_headers_of_a_former_death_are_replaced)
{
    written("{\"x-goqueue-dlq-error\":\"old\",\"a\":\"b\",\"x-goqueue-dlq\\u002dtime\":\"then\","
            "\"x-goqueue-mine\":\"kept\"}",
            &all, "{\"a\":\"b\",\"x-goqueue-mine\":\"kept\"," ALL_TEXT);
}
END_TEST

START_TEST(dead_letter_headers_come_off_again)
{
    stripped("{" ALL_TEXT, "");
    expect_topic("orders");
    ck_assert(origin.has_partition);
    ck_assert_uint_eq(origin.partition, 3);
    stripped("{\"a\":\"\\u0000\\\"\"," ALL_TEXT, "{\"a\":\"\\u0000\\\"\"}");
    expect_topic("orders");
    stripped("", "");
    expect_topic("");
    ck_assert(!origin.has_partition);
    stripped("{\"a\":\"b\"}", "{\"a\":\"b\"}");
    expect_topic("");
}
END_TEST

static void partition_is(const char *text, int64_t expected)
{
    char headers[256];
    (void)snprintf(headers, sizeof headers, "{\"x-goqueue-original-partition\":%s}", text);
    stripped(headers, "");
    ck_assert_int_eq(origin.has_partition ? (int64_t)origin.partition : -1, expected);
}

START_TEST(dead_letter_headers_that_clients_made_up)
{
    partition_is("\"0\"", 0);
    partition_is("\"1023\"", 1023);
    partition_is("\"\\u0031\"", 1);
    partition_is("\"1024\"", -1);
    partition_is("\"10000\"", -1);
    partition_is("\"99999999999999999999\"", -1);
    partition_is("\"\"", -1);
    partition_is("\"-1\"", -1);
    partition_is("\"1 \"", -1);
    partition_is("\"x\"", -1);
    partition_is("7", -1);
    partition_is("[]", -1);

    stripped("{\"x-goqueue-original-topic\":\"or\\u0064ers\"}", "");
    expect_topic("orders");
    stripped("{\"x-goqueue-original-topic\":null}", "");
    expect_topic("");
    char headers[512] = "{\"x-goqueue-original-topic\":\"";
    size_t size = strlen(headers);
    memset(headers + size, 'n', NAME_SIZE_MAX + 1);
    memcpy(headers + size + NAME_SIZE_MAX + 1, "\"}", 3);
    stripped(headers, "");
    expect_topic("");
    memcpy(headers + size + NAME_SIZE_MAX, "\"}", 3);
    stripped(headers, "");
    ck_assert_uint_eq(origin.topic_size, NAME_SIZE_MAX);
}
END_TEST

START_TEST(dead_letter_headers_that_are_no_headers)
{
    stripped("[]", "");
    stripped("nonsense", "");
    stripped("{\"a\":\"b\",\"c\":", "{\"a\":\"b\"}");
    stripped("{\"a\":\"b\",\"c\"", "{\"a\":\"b\"}");
    stripped("{\"x-goqueue-original-topic\":\"t", "");
    written("{\"a\":\"b\",", &all, "{\"a\":\"b\"," ALL_TEXT);
}
END_TEST

static void set_up(void)
{
    buf_init(&out, 1 << 20);
}

static void tear_down(void)
{
    buf_fini(&out);
}

Suite *suite_dead_letter_headers(void)
{
    Suite *suite = suite_create("dead_letter_headers");
    TCase *tcase = tcase_create("dead_letter_headers");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, dead_letter_headers_tell_everything);
    tcase_add_test(tcase, dead_letter_headers_leave_out_what_is_not_known);
    tcase_add_test(tcase, dead_letter_headers_stay_utf8);
    tcase_add_test(tcase, dead_letter_headers_of_a_former_death_are_replaced);
    tcase_add_test(tcase, dead_letter_headers_come_off_again);
    tcase_add_test(tcase, dead_letter_headers_that_clients_made_up);
    tcase_add_test(tcase, dead_letter_headers_that_are_no_headers);
    suite_add_tcase(suite, tcase);
    return suite;
}
