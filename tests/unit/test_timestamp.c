#include <check.h>
#include <stdio.h>
#include <time.h>

#include "std/timestamp.h"

Suite *suite_timestamp(void);

START_TEST(timestamp_valid)
{
    static const struct {
        const char *text;
        int64_t us;
        const char *formatted;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"},
        {"2006-01-02T15:04:05Z", 1136214245000000, "2006-01-02T15:04:05Z"},
        {"2006-01-02t15:04:05z", 1136214245000000, "2006-01-02T15:04:05Z"},
        {"2006-01-02T15:04:05+00:00", 1136214245000000, "2006-01-02T15:04:05Z"},
        {"2006-01-02T15:04:05-00:00", 1136214245000000, "2006-01-02T15:04:05Z"},
        {"2006-01-02T15:04:05.5+02:00", 1136207045500000, "2006-01-02T13:04:05.500Z"},
        {"2006-01-02T15:04:05-07:30", 1136241245000000, "2006-01-02T22:34:05Z"},
        {"2006-01-02T15:04:05.000001Z", 1136214245000001, "2006-01-02T15:04:05.000001Z"},
        {"2006-01-02T15:04:05.12Z", 1136214245120000, "2006-01-02T15:04:05.120Z"},
        {"2006-01-02T15:04:05.1234567899999Z", 1136214245123456, "2006-01-02T15:04:05.123456Z"},
        {"1969-12-31T23:59:59.999999Z", -1, "1969-12-31T23:59:59.999999Z"},
        {"2024-02-29T12:00:00Z", 1709208000000000, "2024-02-29T12:00:00Z"},
        {"2000-02-29T00:00:00Z", 951782400000000, "2000-02-29T00:00:00Z"},
        {"2016-12-31T23:59:60Z", 1483228800000000, "2017-01-01T00:00:00Z"},
        {"2016-12-31T15:59:60-08:00", 1483228800000000, "2017-01-01T00:00:00Z"},
        {"0000-01-01T00:00:00Z", -62167219200000000, "0000-01-01T00:00:00Z"},
        {"9999-12-31T23:59:59.999999Z", 253402300799999999, "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t us = 42;
        char text[TIMESTAMP_SIZE_MAX];
        ck_assert_msg(timestamp_parse(span_text(cases[i].text), &us), "%s", cases[i].text);
        ck_assert_int_eq(us, cases[i].us);
        ck_assert_uint_eq(timestamp_format(text, us), strlen(cases[i].formatted));
        ck_assert_str_eq(text, cases[i].formatted);
    }
}
END_TEST

START_TEST(timestamp_invalid)
{
    static const char *const cases[] = {
        "",
        "2006",
        "2006-01-02",
        "2006-01-02T15:04:05",
        "2006-01-02T15:04Z",
        "2006-01-02 15:04:05Z",
        "2006-01-02T15:04:05 Z",
        " 2006-01-02T15:04:05Z",
        "2006-01-02T15:04:05Z ",
        "2006-01-02T15:04:05.Z",
        "2006-01-02T15:04:05,5Z",
        "2006-01-02T15:04:05+0200",
        "2006-01-02T15:04:05+02",
        "2006-01-02T15:04:05+2:00",
        "2006-01-02T15:04:05+24:00",
        "2006-01-02T15:04:05+02:60",
        "2006-01-02T15:04:05UTC",
        "2006-00-02T15:04:05Z",
        "2006-13-02T15:04:05Z",
        "2006-01-00T15:04:05Z",
        "2006-01-32T15:04:05Z",
        "2006-04-31T15:04:05Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2006-01-02T24:00:00Z",
        "2006-01-02T15:60:05Z",
        "2006-01-02T15:04:61Z",
        "2006-01-02T15:04:60Z",
        "2016-12-31T23:59:60+01:00",
        "06-01-02T15:04:05Z",
        "12006-01-02T15:04:05Z",
        "-006-01-02T15:04:05Z",
        "2006-1-2T15:04:05Z",
        "2006-01-02T15:04:5Z",
        "1136214245",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t us = 42;
        ck_assert_msg(!timestamp_parse(span_text(cases[i]), &us), "%s", cases[i]);
        ck_assert_int_eq(us, 42);
    }
}
END_TEST

/* Every day of ten thousand years, with the C library as the judge. */
START_TEST(timestamp_every_day)
{
    int64_t seconds_of_day = 0;
    for (int64_t day = -719528; day <= 2932896; day++) {
        seconds_of_day = (seconds_of_day + 9973) % 86400;
        time_t seconds = (time_t)(day * 86400 + seconds_of_day);
        struct tm tm;
        char text[TIMESTAMP_SIZE_MAX];
        (void)timestamp_format(text, seconds * 1000000);
        int64_t us = 0;
        /* Not ck_assert: it is slow when it succeeds. */
        if (!timestamp_parse(span_text(text), &us) || us != seconds * 1000000)
            ck_abort_msg("%s", text);
        if (day % 10 != 0)
            continue;
        char expected[64];
        (void)gmtime_r(&seconds, &tm);
        (void)snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02dZ",
                       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                       tm.tm_sec);
        if (strcmp(text, expected) != 0)
            ck_abort_msg("%s is %s", text, expected);
    }
}
END_TEST

START_TEST(timestamp_ends)
{
    char text[TIMESTAMP_SIZE_MAX];
    (void)timestamp_format(text, INT64_MIN);
    ck_assert_str_eq(text, "0000-01-01T00:00:00Z");
    (void)timestamp_format(text, INT64_MAX);
    ck_assert_str_eq(text, "9999-12-31T23:59:59.999999Z");
}
END_TEST

Suite *suite_timestamp(void)
{
    Suite *suite = suite_create("timestamp");
    TCase *tcase = tcase_create("timestamp");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, timestamp_valid);
    tcase_add_test(tcase, timestamp_invalid);
    tcase_add_test(tcase, timestamp_every_day);
    tcase_add_test(tcase, timestamp_ends);
    suite_add_tcase(suite, tcase);
    return suite;
}
