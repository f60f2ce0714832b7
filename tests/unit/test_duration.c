#include <check.h>

#include "std/duration.h"

Suite *suite_duration(void);

START_TEST(duration_valid)
{
    static const struct {
        const char *text;
        int64_t ns;
        const char *formatted;
    } cases[] = {
        {"30s", 30000000000, "30s"},
        {"1h", 3600000000000, "1h0m0s"},
        {"24h", 86400000000000, "24h0m0s"},
        {"1h30m", 5400000000000, "1h30m0s"},
        {"500ms", 500000000, "500ms"},
        {"1.5s", 1500000000, "1.5s"},
        {"0", 0, "0s"},
        {"+0", 0, "0s"},
        {"-0", 0, "0s"},
        {"0s", 0, "0s"},
        {"100us", 100000, "100µs"},
        {"100µs", 100000, "100µs"},        /* U+00B5 */
        {"100\xce\xbcs", 100000, "100µs"}, /* U+03BC */
        {"1500us", 1500000, "1.5ms"},
        {"850us", 850000, "850µs"},
        {"1.5h", 5400000000000, "1h30m0s"},
        {"-1.5h", -5400000000000, "-1h30m0s"},
        {"+5s", 5000000000, "5s"},
        {"3200ms", 3200000000, "3.2s"},
        {"60s", 60000000000, "1m0s"},
        {"26h5s", 93605000000000, "26h0m5s"},
        {".5s", 500000000, "500ms"},
        {"1.s", 1000000000, "1s"},
        {"1s1s1h", 3602000000000, "1h0m2s"},
        {"0.9ns", 0, "0s"},
        {"1ns", 1, "1ns"},
        {"999ns", 999, "999ns"},
        {"1001ns", 1001, "1.001µs"},
        {"1000001ns", 1000001, "1.000001ms"},
        {"999999999ns", 999999999, "999.999999ms"},
        {"1000000001ns", 1000000001, "1.000000001s"},
        {"00000000000000000000000000001s", 1000000000, "1s"},
        {"0.2777777777777777777777777777777777777777777777778h", 1000000000000, "16m40s"},
        {"0.2777777777777777777777777777777777777777777777777h", 999999999999, "16m39.999999999s"},
        {"9223372036854775807ns", INT64_MAX, "2562047h47m16.854775807s"},
        {"-9223372036854775808ns", INT64_MIN, "-2562047h47m16.854775808s"},
        {"2562047h47m16.854775807s", INT64_MAX, "2562047h47m16.854775807s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ns = 42;
        char text[DURATION_SIZE_MAX];
        ck_assert_msg(duration_parse(span_text(cases[i].text), &ns), "%s", cases[i].text);
        ck_assert_int_eq(ns, cases[i].ns);
        ck_assert_uint_eq(duration_format(text, ns), strlen(cases[i].formatted));
        ck_assert_str_eq(text, cases[i].formatted);
    }
}
END_TEST

START_TEST(duration_invalid)
{
    static const char *const cases[] = {
        "",
        "30",
        "1d",
        "5 s",
        " 5s",
        "5s ",
        "1h-5m",
        "1h+5m",
        "-",
        "+",
        "--1s",
        "+-1s",
        ".",
        ".s",
        "s",
        "h1",
        "1",
        "00",
        "0.",
        "0.0",
        "1.2.3s",
        "1hs",
        "1S",
        "1H",
        "1Ms",
        "1,5s",
        "1e3s",
        "0x1s",
        "infs",
        "1µ",
        "1\xb5s",
        "1s\n",
        "9223372036854775808ns",
        "-9223372036854775809ns",
        "2562047h47m16.854775808s",
        "2562048h",
        "18446744073709551616ns",
        "18446744073709551617ns",
        "99999999999999999999999999h",
        "9223372036854775807ns1ns",
        "5124095h5124095h5124095h",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ns = 42;
        ck_assert_msg(!duration_parse(span_text(cases[i]), &ns), "%s", cases[i]);
        ck_assert_int_eq(ns, 42);
    }
    int64_t ns = 42;
    ck_assert(!duration_parse(span_of("1s\0", 3), &ns));
    ck_assert(!duration_parse(span_of(NULL, 0), &ns));
}
END_TEST

Suite *suite_duration(void)
{
    Suite *suite = suite_create("duration");
    TCase *tcase = tcase_create("duration");
    tcase_add_test(tcase, duration_valid);
    tcase_add_test(tcase, duration_invalid);
    suite_add_tcase(suite, tcase);
    return suite;
}
