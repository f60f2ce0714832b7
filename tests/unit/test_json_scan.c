#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "std/json_scan.h"

Suite *suite_json_scan(void);

static void expect_error(const char *text, size_t size, const char *error)
{
    for (unsigned v = 0; json_text_scan_variant(v) != NULL; v++) {
        json_text_scan = json_text_scan_variant(v);
        uint8_t *exact = malloc(size + 1); /* nothing behind it: a sanitizer sees a byte too much */
        ck_assert_ptr_nonnull(exact);
        memcpy(exact + 1, text, size);
        struct json_scan s;
        json_scan_init(&s, span_of(exact + 1, size));
        ck_assert_msg(json_scan_end(&s) == (error[0] == '\0'), "%s", text);
        ck_assert_str_eq(json_scan_error(&s), error);
        ck_assert(json_scan_failed(&s) == (error[0] != '\0'));
        free(exact);
    }
}

START_TEST(json_scan_errors)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "unexpected end, expected a value at byte 0"},
        {" \n", "unexpected end, expected a value at byte 2"},
        {"{", "unexpected end, expected a member name at byte 1"},
        {"{\"a\"", "unexpected end, expected ':' at byte 4"},
        {"{\"a\":", "unexpected end, expected a value at byte 5"},
        {"{\"a\":1", "unexpected end, expected ',' or '}' at byte 6"},
        {"[", "unexpected end, expected a value at byte 1"},
        {"[1", "unexpected end, expected ',' or ']' at byte 2"},
        {"[1,", "unexpected end, expected a value at byte 3"},
        {"[1,]", "expected a value at byte 3"},
        {"[,1]", "expected a value at byte 1"},
        {"[1 2]", "expected ',' or ']' at byte 3"},
        {"[1}", "expected ',' or ']' at byte 2"},
        {"{\"a\":1]", "expected ',' or '}' at byte 6"},
        {"{\"a\":1,}", "expected a member name at byte 7"},
        {"{,}", "expected a member name at byte 1"},
        {"{a:1}", "expected a member name at byte 1"},
        {"{'a':1}", "expected a member name at byte 1"},
        {"{1:1}", "expected a member name at byte 1"},
        {"{\"a\" 1}", "expected ':' at byte 5"},
        {"{\"a\"::1}", "expected a value at byte 5"},
        {"]", "expected a value at byte 0"},
        {"1 1", "unexpected text after the value at byte 2"},
        {"[]]", "unexpected text after the value at byte 2"},
        {"{}{}", "unexpected text after the value at byte 2"},
        {"[1]//", "unexpected text after the value at byte 3"},
        {"01", "number with a leading zero at byte 0"},
        {"-01", "number with a leading zero at byte 1"},
        {"-", "expected a digit at byte 1"},
        {"+1", "expected a value at byte 0"},
        {".5", "expected a value at byte 0"},
        {"1.", "expected a digit after the point at byte 2"},
        {"1.e5", "expected a digit after the point at byte 2"},
        {"1e", "expected a digit in the exponent at byte 2"},
        {"1e+", "expected a digit in the exponent at byte 3"},
        {"1x", "unexpected text after the value at byte 1"},
        {"0x10", "unexpected text after the value at byte 1"},
        {"NaN", "expected a value at byte 0"},
        {"Infinity", "expected a value at byte 0"},
        {"-Infinity", "expected a digit at byte 1"},
        {"tru", "expected a value at byte 0"},
        {"True", "expected a value at byte 0"},
        {"nulll", "unexpected text after the value at byte 4"},
        {"[fals]", "expected a value at byte 1"},
        {"\"", "unexpected end in a string at byte 1"},
        {"\"abc", "unexpected end in a string at byte 4"},
        {"\"abc\\", "unexpected end in a string at byte 5"},
        {"\"abc\\\"", "unexpected end in a string at byte 6"},
        {"\"a\nb\"", "control character in a string at byte 2"},
        {"\"a\x1f\"", "control character in a string at byte 2"},
        {"\"\\x\"", "unknown escape in a string at byte 1"},
        {"\"\\u12\"", "\\u without four hexadecimal digits at byte 1"},
        {"\"\\u12g4\"", "\\u without four hexadecimal digits at byte 1"},
        {"\"\\U1234\"", "unknown escape in a string at byte 1"},
        {"\"\\ud800\"", "surrogate without its other half at byte 1"},
        {"\"\\udc00\"", "surrogate without its other half at byte 1"},
        {"\"\\ud800\\ud800\"", "surrogate without its other half at byte 1"},
        {"\"\\ud800\\u0041\"", "surrogate without its other half at byte 1"},
        {"\"\\ud800x\\udc00\"", "surrogate without its other half at byte 1"},
        {"\"\\udc00\\ud800\"", "surrogate without its other half at byte 1"},
        {"\"ab\xff\"", "string is not UTF-8 at byte 3"},
        {"\"\xed\xa0\x80\"", "string is not UTF-8 at byte 1"},
        {"\"\xc3\"", "string is not UTF-8 at byte 1"},
        {"\xef\xbb\xbf{}", "expected a value at byte 0"},
        {"\xc2\xa0{}", "expected a value at byte 0"},
        {"\v1", "expected a value at byte 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char error[JSON_ERROR_SIZE_MAX + 32];
        (void)snprintf(error, sizeof error, "invalid JSON: %s", cases[i].error);
        expect_error(cases[i].text, strlen(cases[i].text), error);
    }
    expect_error("1\0", 2, "invalid JSON: unexpected text after the value at byte 1");
    expect_error("\"\0\"", 3, "invalid JSON: control character in a string at byte 1");
}
END_TEST

START_TEST(json_scan_accepts)
{
    static const char *const cases[] = {
        "{}",
        "[]",
        "\"\"",
        "0",
        "-0",
        "-0.0",
        "1e5",
        "1E-5",
        "0.1e+7",
        "true",
        "false",
        "null",
        " \t\r\n[ \t\r\n1 \t\r\n, \t\r\n2 \t\r\n] \t\r\n",
        "{\"a\":{\"b\":[{}]},\"a\":1}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD83D\\uDE00\"",
        "\"\x7f ключ 😀\"",
        "1e999999999999",
        "123456789012345678901234567890",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_error(cases[i], strlen(cases[i]), "");
}
END_TEST

/* Whatever matters must be found at every distance from the start and from the end. */
START_TEST(json_scan_every_position)
{
    static const struct {
        const char *text, *error;

    } cases[] = {
        {"\\n", NULL},
        {"\\\"", NULL},
        {"\\u00e9", NULL},
        {"\\ud83d\\ude00", NULL},
        {"é", NULL},
        {"😀", NULL},
        {"\x01", "control character in a string"},
        {"\\q", "unknown escape in a string"},
        {"\\ud83d", "surrogate without its other half"},
        {"\xff", "string is not UTF-8"},
        {"\xe2\x82", "string is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t before = 0; before < 70; before++) {
            for (size_t after = 0; after < 40; after += 13) {
                char text[256], error[128] = "";
                int size = snprintf(
                    text, sizeof text, "[\"%.*s%s%.*s\"]", (int)before,
                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                    cases[i].text, (int)after,
                    "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
                if (cases[i].error != NULL)
                    (void)snprintf(error, sizeof error, "invalid JSON: %s at byte %zu",
                                   cases[i].error, before + 2);
                expect_error(text, (size_t)size, error);
            }
        }
    }
}
END_TEST

START_TEST(json_scan_depth)
{
    char text[2 * (JSON_DEPTH_MAX + 1)];
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    expect_error(text + 1, sizeof text - 2, "");
    expect_error(text, sizeof text, "invalid JSON: nested too deep at byte 64");
}
END_TEST

START_TEST(json_scan_a_publish_body)
{
    static const char body[] =
        "{ \"other\": {\"messages\": [1]},\n"
        "  \"messages\": [ {\"value\": \"one\", \"key\": null, \"x\": [{}]},\n"
        "                {\"k\\u0065y\": \"\\u043a\", \"value\": \"t\\\"wo\"} ] }";
    struct json_scan s;
    struct json_string name, value[2], key[2];
    size_t values = 0, keys = 0;
    json_scan_init(&s, span_text(body));
    ck_assert(json_scan_object_begin(&s));
    while (json_scan_member(&s, &name)) {
        if (!json_string_equals(name, "messages"))
            continue;
        ck_assert(json_scan_array_begin(&s));
        while (json_scan_next(&s)) {
            ck_assert(json_scan_object_begin(&s));
            while (json_scan_member(&s, &name)) {
                if (json_scan_null(&s))
                    continue;
                if (json_string_equals(name, "value"))
                    ck_assert(json_scan_string(&s, &value[values++]));
                else if (json_string_equals(name, "key"))
                    ck_assert(json_scan_string(&s, &key[keys++]));
            }
        }
    }
    ck_assert(json_scan_end(&s));
    ck_assert_uint_eq(values, 2);
    ck_assert_uint_eq(keys, 1);
    ck_assert(span_equal(value[0].raw, span_text("one")));
    ck_assert(!value[0].has_escapes);
    ck_assert(span_equal(value[1].raw, span_text("t\\\"wo")));
    ck_assert(value[1].has_escapes);
    ck_assert_uint_eq(value[1].unescaped_size, 4);
    uint8_t text[8];
    ck_assert(span_equal(span_of(text, json_unescape(value[1], text)), span_text("t\"wo")));
    ck_assert(json_string_equals(key[0], "к"));
}
END_TEST

START_TEST(json_scan_other_kinds_stay_unread)
{
    struct json_scan s;
    struct json_string string;
    int64_t integer = 7;
    bool flag;
    struct span raw;
    json_scan_init(&s, span_text(" [1.5, \"a\", {\"b\":[null]}]"));
    ck_assert_int_eq(json_scan_peek(&s), JSON_KIND_ARRAY);
    ck_assert(!json_scan_object_begin(&s));
    ck_assert(!json_scan_string(&s, &string));
    ck_assert(!json_scan_int64(&s, &integer));
    ck_assert(!json_scan_bool(&s, &flag));
    ck_assert(!json_scan_null(&s));
    ck_assert(!json_scan_failed(&s));
    ck_assert(json_scan_array_begin(&s));
    ck_assert(json_scan_next(&s));
    ck_assert(!json_scan_int64(&s, &integer));
    ck_assert_int_eq(integer, 7);
    ck_assert_int_eq(json_scan_peek(&s), JSON_KIND_NUMBER);
    ck_assert(json_scan_next(&s)); /* skips the number */
    ck_assert_int_eq(json_scan_peek(&s), JSON_KIND_STRING);
    ck_assert(json_scan_next(&s));
    ck_assert(json_scan_skip(&s, &raw));
    ck_assert(span_equal(raw, span_text("{\"b\":[null]}")));
    ck_assert(!json_scan_next(&s));
    ck_assert(json_scan_end(&s));
}
END_TEST

START_TEST(json_scan_integers)
{
    static const struct {
        const char *text;
        bool fits;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"18446744073709551616", false, 0},
        {"100000000000000000000", false, 0},
        {"1.0", false, 0},
        {"1e2", false, 0},
        {"-0.0", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_scan s;
        int64_t value = 42;
        json_scan_init(&s, span_text(cases[i].text));
        ck_assert(json_scan_int64(&s, &value) == cases[i].fits);
        ck_assert_int_eq(value, cases[i].fits ? cases[i].value : 42);
        if (!cases[i].fits)
            ck_assert_int_eq(json_scan_peek(&s), JSON_KIND_NUMBER);
        ck_assert(json_scan_end(&s));
    }
}
END_TEST

START_TEST(json_scan_errors_stick)
{
    struct json_scan s;
    struct json_string name;
    int64_t value;
    bool flag;
    json_scan_init(&s, span_text("{\"a\":[1,x],\"b\":2}"));
    ck_assert(json_scan_object_begin(&s));
    ck_assert(json_scan_member(&s, &name));
    ck_assert(json_scan_array_begin(&s));
    ck_assert(json_scan_next(&s));
    ck_assert(json_scan_int64(&s, &value));
    ck_assert(json_scan_next(&s));
    ck_assert(!json_scan_int64(&s, &value));
    ck_assert(json_scan_failed(&s));
    ck_assert_int_eq(json_scan_peek(&s), JSON_KIND_NONE);
    ck_assert(!json_scan_next(&s));
    ck_assert(!json_scan_member(&s, &name));
    ck_assert(!json_scan_object_begin(&s));
    ck_assert(!json_scan_array_begin(&s));
    ck_assert(!json_scan_string(&s, &name));
    ck_assert(!json_scan_bool(&s, &flag));
    ck_assert(!json_scan_null(&s));
    ck_assert(!json_scan_skip(&s, NULL));
    ck_assert(!json_scan_end(&s));
    ck_assert_str_eq(json_scan_error(&s), "invalid JSON: expected a value at byte 8");
}
END_TEST

START_TEST(json_scan_end_scans_the_rest)
{
    struct json_scan s;
    struct json_string name;
    json_scan_init(&s, span_text("{\"a\":[1,{\"b\":2}],\"c\":\"\\x\"}"));
    ck_assert(json_scan_object_begin(&s));
    ck_assert(json_scan_member(&s, &name));
    ck_assert(json_scan_array_begin(&s));
    ck_assert(json_scan_next(&s));
    ck_assert(!json_scan_end(&s));
    ck_assert_str_eq(json_scan_error(&s), "invalid JSON: unknown escape in a string at byte 22");
}
END_TEST

START_TEST(json_scan_reading_twice_is_our_mistake)
{
    struct json_scan s;
    bool flag;
    json_scan_init(&s, span_text("true"));
    ck_assert(json_scan_bool(&s, &flag));
    (void)json_scan_bool(&s, &flag);
}
END_TEST

START_TEST(json_string_equals_resolves_escapes)
{
    static const struct {
        const char *raw, *text;
        bool equal;
    } cases[] = {
        {"\"value\"", "value", true},
        {"\"value\"", "valu", false},
        {"\"value\"", "values", false},
        {"\"Value\"", "value", false},
        {"\"\\u0076alue\"", "value", true},
        {"\"valu\\u0065\"", "value", true},
        {"\"valu\\u0066\"", "value", false},
        {"\"\\ud83d\\ude00\"", "😀", true},
        {"\"\\ud83d\\ude01\"", "😀", false},
        {"\"\\u00e9x\"", "xé", false},
        {"\"\"", "", true},
        {"\"\\n\"", "\n", true},
        {"\"\\/\\\\\\\"\"", "/\\\"", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_scan s;
        struct json_string string;
        json_scan_init(&s, span_text(cases[i].raw));
        ck_assert(json_scan_string(&s, &string));
        ck_assert_msg(json_string_equals(string, cases[i].text) == cases[i].equal, "%s",
                      cases[i].raw);
    }
}
END_TEST

START_TEST(json_unescape_keeps_nul)
{
    struct json_scan s;
    struct json_string string;
    uint8_t text[8];
    json_scan_init(&s, span_text("\"a\\u0000b\""));
    ck_assert(json_scan_string(&s, &string));
    ck_assert_uint_eq(string.unescaped_size, 3);
    ck_assert_uint_eq(json_unescape(string, text), 3);
    ck_assert_mem_eq(text, "a\0b", 3);
}
END_TEST

Suite *suite_json_scan(void)
{
    Suite *suite = suite_create("json_scan");
    TCase *tcase = tcase_create("json_scan");
    tcase_add_test(tcase, json_scan_errors);
    tcase_add_test(tcase, json_scan_accepts);
    tcase_add_test(tcase, json_scan_every_position);
    tcase_add_test(tcase, json_scan_depth);
    tcase_add_test(tcase, json_scan_a_publish_body);
    tcase_add_test(tcase, json_scan_other_kinds_stay_unread);
    tcase_add_test(tcase, json_scan_integers);
    tcase_add_test(tcase, json_scan_errors_stick);
    tcase_add_test(tcase, json_scan_end_scans_the_rest);
    tcase_add_test_raise_signal(tcase, json_scan_reading_twice_is_our_mistake, SIGABRT);
    tcase_add_test(tcase, json_string_equals_resolves_escapes);
    tcase_add_test(tcase, json_unescape_keeps_nul);
    suite_add_tcase(suite, tcase);
    return suite;
}
