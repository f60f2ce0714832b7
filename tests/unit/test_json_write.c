#include <check.h>
#include <signal.h>

#include "std/json_write.h"

Suite *suite_json_write(void);

static struct buf out;
static struct json_writer w;

static void setup(void)
{
    buf_init(&out, 1 << 20);
    json_writer_init(&w, &out);
}

static void teardown(void)
{
    buf_fini(&out);
}

static void expect(const char *json)
{
    buf_put_byte(&out, '\0');
    ck_assert(!out.overflowed);
    ck_assert_str_eq((const char *)out.data, json);
}

START_TEST(json_write_puts_the_commas)
{
    json_write_object_begin(&w);
    json_write_key(&w, "a");
    json_write_array_begin(&w);
    json_write_int64(&w, INT64_MIN);
    json_write_uint64(&w, UINT64_MAX);
    json_write_array_begin(&w);
    json_write_array_end(&w);
    json_write_object_begin(&w);
    json_write_object_end(&w);
    json_write_raw(&w, span_text("{\"x\":1}"));
    json_write_array_end(&w);
    json_write_key(&w, "b");
    json_write_bool(&w, true);
    json_write_key_string(&w, span_text("c\n"));
    json_write_bool(&w, false);
    json_write_key(&w, "d");
    json_write_null(&w);
    json_write_key(&w, "e");
    json_write_raw_string(&w, span_text("\\u0041"));
    json_write_key(&w, "f");
    json_write_raw_string(&w, span_of(NULL, 0));
    json_write_key(&w, "g");
    json_write_text(&w, "");
    json_write_object_end(&w);
    expect("{\"a\":[-9223372036854775808,18446744073709551615,[],{},{\"x\":1}],\"b\":true,"
           "\"c\\n\":false,\"d\":null,\"e\":\"\\u0041\",\"f\":\"\",\"g\":\"\"}");
}
END_TEST

START_TEST(json_write_escapes)
{
    json_write_text(&w, "\"\\/\b\f\n\r\t\x01\x1f\x7f ключ 😀");
    expect("\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f ключ 😀\"");
}
END_TEST

START_TEST(json_write_doubles)
{
    static const double values[] = {0.1, 1, -1.5, 1e300, 1.0 / 3, 5e-324};
    json_write_array_begin(&w);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        json_write_double(&w, values[i]);
    json_write_array_end(&w);
    expect("[0.1,1,-1.5,1e+300,0.33333333333333331,4.94065645841247e-324]");
}
END_TEST

START_TEST(json_escape_at_every_position)
{
    for (size_t size = 0; size < 80; size++) {
        for (size_t at = 0; at < size; at++) {
            uint8_t text[80];
            memset(text, 'x', size);
            text[at] = '\n';
            buf_clear(&out);
            json_escape(&out, span_of(text, size));
            ck_assert_uint_eq(out.size, size + 1);
            ck_assert_mem_eq(out.data + at, "\\n", 2);
            struct buf slow;
            buf_init(&slow, 1024);
            json_escape_portable(&slow, span_of(text, size));
            ck_assert(span_equal(buf_span(&out), buf_span(&slow)));
            buf_fini(&slow);
        }
    }
}
END_TEST

START_TEST(json_escape_long_and_all_escapes)
{
    enum { TEXT_SIZE = 10000 };
    static uint8_t text[TEXT_SIZE];
    memset(text, 1, sizeof text);
    json_escape(&out, span_of(text, sizeof text));
    ck_assert_uint_eq(out.size, 6 * (size_t)TEXT_SIZE);
    for (size_t i = 0; i < out.size; i += 6)
        ck_assert_mem_eq(out.data + i, "\\u0001", 6);
}
END_TEST

START_TEST(json_escape_up_to_the_bound)
{
    uint8_t text[100];
    memset(text, 'x', sizeof text);
    text[50] = '"';
    for (size_t bound = 0; bound <= 110; bound++) {
        struct buf tight;
        buf_init(&tight, bound);
        json_escape(&tight, span_of(text, sizeof text));
        ck_assert(tight.overflowed == (bound < 101));
        ck_assert_uint_le(tight.size, bound);
        buf_fini(&tight);
    }
}
END_TEST

START_TEST(json_write_unbalanced_is_our_mistake)
{
    json_write_array_begin(&w);
    json_write_array_end(&w);
    json_write_array_end(&w);
}
END_TEST

Suite *suite_json_write(void)
{
    Suite *suite = suite_create("json_write");
    TCase *tcase = tcase_create("json_write");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, json_write_puts_the_commas);
    tcase_add_test(tcase, json_write_escapes);
    tcase_add_test(tcase, json_write_doubles);
    tcase_add_test(tcase, json_escape_at_every_position);
    tcase_add_test(tcase, json_escape_long_and_all_escapes);
    tcase_add_test(tcase, json_escape_up_to_the_bound);
    tcase_add_test_raise_signal(tcase, json_write_unbalanced_is_our_mistake, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
