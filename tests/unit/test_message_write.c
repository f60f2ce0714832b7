/* message_write and topic_cache: small parts of the replies that are written most. */
#include <check.h>
#include <stdio.h>

#include "api/message_write.h"
#include "api/topic_cache.h"

START_TEST(test_message)
{
    struct buf out;
    struct message_writer w;
    buf_init(&out, 64 * 1024);
    message_writer_init(&w, &out);
    message_writer_set_partition(&w, span_text("orders"), 7);
    const struct fetched message = {
        .offset = UINT64_MAX,
        .time_us = 1800000000000000,
        .record = {.key = span_of("k\0\"", 3),
                   .headers = span_text("{\"a\":\"1\"}"),
                   .value = span_text("a\\n\\u00e9"),
                   .value_escaped = true,
                   .priority = PRIORITY_BACKGROUND},
    };
    message_write(&w, &message);
    buf_put_byte(&out, '}');
    const char expected[] = "{\"topic\":\"orders\",\"partition\":7,\"offset\":18446744073709551615,"
                            "\"timestamp\":\"2027-01-15T08:00:00Z\",\"value\":\"a\\n\\u00e9\","
                            "\"priority\":\"background\",\"headers\":{\"a\":\"1\"},"
                            "\"key\":\"k\\u0000\\\"\"}";
    ck_assert_msg(span_equal(buf_span(&out), span_text(expected)), "%.*s",
                  SPAN_ARG(buf_span(&out)));
    buf_fini(&out);
}
END_TEST

START_TEST(test_plain_message)
{
    struct buf out;
    struct message_writer w;
    buf_init(&out, 64 * 1024);
    message_writer_init(&w, &out);
    message_writer_set_partition(&w, span_text("t"), 0);
    message_write(&w, &(struct fetched){.record = {.priority = PRIORITY_NORMAL}});
    ck_assert(span_equal(buf_span(&out),
                         span_text("{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp\":"
                                   "\"1970-01-01T00:00:00Z\",\"value\":\"\","
                                   "\"priority\":\"normal\"")));
    buf_fini(&out);
}
END_TEST

START_TEST(test_topic_cache)
{
    struct topic_cache *c = topic_cache_new();
    char name[32];
    for (uint32_t id = 1; id <= 3 * TOPIC_CACHE_SLOTS; id++) {
        (void)snprintf(name, sizeof name, "acme/topic-%u", id);
        topic_cache_put(c, span_text(name), id, id % 7 + 1);
        const struct topic_known *known = topic_cache_find(c, span_text(name));
        ck_assert(known != NULL && known->id == id && known->partition_count == id % 7 + 1);
        ck_assert_str_eq(topic_cache_find_id(c, id)->name, name);
    }
    ck_assert_ptr_null(topic_cache_find_id(c, 1)); /* another one has its slot */
    topic_cache_drop(c, span_text(name));
    ck_assert_ptr_null(topic_cache_find(c, span_text(name)));
    ck_assert_ptr_null(topic_cache_find(c, span_text("never")));
    topic_cache_free(c);
}
END_TEST

Suite *suite_message_write(void);

Suite *suite_message_write(void)
{
    Suite *suite = suite_create("message_write");
    TCase *tc = tcase_create("message_write");
    tcase_add_test(tc, test_message);
    tcase_add_test(tc, test_plain_message);
    tcase_add_test(tc, test_topic_cache);
    suite_add_tcase(suite, tc);
    return suite;
}
