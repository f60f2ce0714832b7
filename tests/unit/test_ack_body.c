/* ack_body: which bodies are taken, which are refused and how. */
#include <check.h>

#include "api/ack_body.h"
#include "std/buf.h"

static struct arena arena;
static struct ack_body read;
static const char *detail;

static void setup(void)
{
    arena_init(&arena);
    detail = NULL;
}

static void teardown(void)
{
    arena_fini(&arena);
}

static const struct {
    const char *body;
    const char *handle; /* NULL: refused */
    const char *detail; /* starts with */
} ones[] = {
    {"{\"receipt_handle\":\"abc\"}", "abc", NULL},
    {"{\"receipt_handle\":\"a\\u0062c\",\"consumer_id\":null,\"x\":[1]}", "abc", NULL},
    {"{\"receipt_handle\":5,\"consumer_id\":\"c\",\"receipt_handle\":\"abc\"}", "abc", NULL},
    {"{\"receipt_handle\":\"\"}", "", NULL},
    {"", NULL, "invalid JSON: "},
    {"{}", NULL, "receipt_handle is required"},
    {"{\"receipt_handle\":null}", NULL, "receipt_handle is required"},
    {"{\"receipt_handle\":\"a\"}}", NULL, "invalid JSON: "},
    {"[\"receipt_handle\"]", NULL, "invalid JSON: the body must be an object, not an array"},
    {"{\"receipt_handle\":7}", NULL, "invalid JSON: receipt_handle must be a string"},
    {"{\"receipt_handle\":\"a\",\"consumer_id\":7}", NULL,
     "invalid JSON: consumer_id must be a string, not a number"},
};

START_TEST(test_one)
{
    enum status st = ack_body_read_one(span_text(ones[_i].body), &arena, &read, &detail);
    if (ones[_i].handle != NULL) {
        ck_assert_int_eq(st, ST_OK);
        ck_assert_uint_eq(read.count, 1);
        ck_assert(span_equal(read.handles[0], span_text(ones[_i].handle)));
    } else {
        ck_assert_int_ne(st, ST_OK);
        ck_assert_msg(strncmp(detail, ones[_i].detail, strlen(ones[_i].detail)) == 0, "%s", detail);
    }
}
END_TEST

static const struct {
    const char *body;
    uint32_t count; /* 0: refused */
    const char *detail;
} batches[] = {
    {"{\"receipt_handles\":[\"a\",\"b\"]}", 2, NULL},
    {"{\"receipt_handles\":[],\"receipt_handles\":[\"a\"]}", 1, NULL},
    {"{}", 0, "receipt_handles is required"},
    {"{\"receipt_handles\":[]}", 0, "receipt_handles must have 1 to 1000"},
    {"{\"receipt_handles\":\"a\"}", 0, "invalid JSON: receipt_handles must be an array"},
    {"{\"receipt_handles\":[\"a\",null]}", 0,
     "invalid JSON: receipt_handles[1] must be a string, not null"},
    {"{\"receipt_handles\":[\"a\"", 0, "invalid JSON: "},
};

START_TEST(test_batch)
{
    enum status st = ack_body_read_batch(span_text(batches[_i].body), &arena, &read, &detail);
    if (batches[_i].count > 0) {
        ck_assert_int_eq(st, ST_OK);
        ck_assert_uint_eq(read.count, batches[_i].count);
    } else {
        ck_assert_int_ne(st, ST_OK);
        ck_assert_msg(strncmp(detail, batches[_i].detail, strlen(batches[_i].detail)) == 0, "%s",
                      detail);
    }
}
END_TEST

START_TEST(test_batch_limit)
{
    struct buf body;
    buf_init(&body, 1024 * 1024);
    buf_put_text(&body, "{\"receipt_handles\":[\"h\"");
    for (int i = 1; i < ACK_HANDLES_MAX + _i; i++)
        buf_put_text(&body, ",\"h\"");
    buf_put_text(&body, "]}");
    enum status st = ack_body_read_batch(buf_span(&body), &arena, &read, &detail);
    ck_assert_int_eq(st, _i == 0 ? ST_OK : ST_INVALID_ARGUMENT);
    ck_assert_uint_eq(read.count, ACK_HANDLES_MAX);
    buf_fini(&body);
}
END_TEST

Suite *suite_ack_body(void);

Suite *suite_ack_body(void)
{
    Suite *suite = suite_create("ack_body");
    TCase *tc = tcase_create("ack_body");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_one, 0, sizeof ones / sizeof ones[0]);
    tcase_add_loop_test(tc, test_batch, 0, sizeof batches / sizeof batches[0]);
    tcase_add_loop_test(tc, test_batch_limit, 0, 2);
    suite_add_tcase(suite, tc);
    return suite;
}
