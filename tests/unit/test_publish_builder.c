/* publish_builder: what is refused and how, where messages go, in which order. */
#include <check.h>
#include <stdio.h>

#include "tests/fuzz/publish_check.h"

static struct publish_builder *builder;
static struct arena arena;
static struct buf record;
static struct buf body;
static struct publish_plan plan;
static struct publish_decoded decoded;
static const char *detail;
static uint64_t delayed_room;

static void setup(void)
{
    builder = new_zero(struct publish_builder);
    publish_builder_init(builder);
    arena_init(&arena);
    buf_init(&record, BATCH_SIZE_MAX);
    buf_init(&body, BATCH_SIZE_MAX);
    plan = (struct publish_plan){0};
    decoded = (struct publish_decoded){0};
    detail = NULL;
    delayed_room = UINT64_MAX;
}

static void teardown(void)
{
    publish_builder_fini(builder);
    free(builder);
    arena_fini(&arena);
    buf_fini(&record);
    buf_fini(&body);
    publish_decoded_fini(&decoded);
}

/* Builds from `body`, checking it against the naive reading as well. */
static enum status build(uint32_t partitions)
{
    publish_check_body(builder, buf_span(&body), partitions);
    enum status st =
        publish_builder_read(builder, buf_span(&body), PUBLISH_CHECK_NOW_US, &arena, &detail);
    if (st != ST_OK)
        return st;
    const struct publish_target target = {.topic_id = PUBLISH_CHECK_TOPIC_ID,
                                          .partition_count = partitions,
                                          .delayed_max = 5,
                                          .delayed_room = delayed_room};
    st = publish_builder_build(builder, &target, &arena, &record, &plan);
    if (st == ST_OK && record.size > 0)
        publish_decode(buf_span(&record), &arena, &decoded);
    return st;
}

static enum status build_text(const char *text, uint32_t partitions)
{
    buf_put_text(&body, text);
    return build(partitions);
}

/* One message, given as its members. */
static const struct publish_outcome *build_one(const char *members)
{
    buf_printf(&body, "{%s}", members); /* the same rules where the body is one message */
    publish_check_body(builder, buf_span(&body), 6);
    buf_clear(&body);
    buf_printf(&body, "{\"messages\":[{%s}]}", members);
    ck_assert_int_eq(build(6), ST_OK);
    ck_assert_uint_eq(plan.count, 1);
    return &plan.outcomes[0];
}

static const struct record *only_record(void)
{
    ck_assert_uint_eq(decoded.count, 1);
    return &decoded.found[0].record;
}

static void assert_text(struct span found, const char *expected)
{
    ck_assert_msg(span_equal(found, span_text(expected)), "\"%.*s\" is not \"%s\"", SPAN_ARG(found),
                  expected);
}

START_TEST(test_single_message)
{
    static const char *const texts[] = {
        "{\"value\":\"a\",\"key\":\"k\",\"topic\":\"t\",\"producer_id\":1,\"epoch\":[{}],\"x\":{"
        "\"y\":1}}",
        "{\"a\":1,\"value\":\"\\u00e9\\\"\",\"b\":2,\"partition\":5}",
        "{\"value\":\"a\",\"partition\":6}",
        "{\"value\":\"a\",\"priority\":\"x\",\"c\":tru}",
        "{\"value\":5,\"value\":\"b\",\"d\":\"\"}",
        "{\"value\":\"a\",\"headers\":{\"h\":1}}",
        "{\"value\":\"a\",\"headers\":{\"h\":\"x\",\"h\":null}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        publish_check_body(builder, span_text(texts[i]), 6);
    unsigned calls = 0;
    const struct publish_members others = {publish_skip_member, &calls};
    struct publish_reader *r = &builder->reader;
    ck_assert_int_eq(publish_reader_read_one(r, span_text(texts[0]), PUBLISH_CHECK_NOW_US, &others,
                                             &arena, &detail),
                     ST_OK);
    ck_assert_uint_eq(calls, 4);
    ck_assert_int_eq(publish_reader_read_one(r, span_text("{\"value\":5}"), PUBLISH_CHECK_NOW_US,
                                             &others, &arena, &detail),
                     ST_INVALID_JSON);
    ck_assert_str_eq(detail, "invalid JSON: value must be a string, not a number");
}
END_TEST

struct refused {
    const char *body;
    enum status status;
    const char *detail; /* starts with */
};

static const struct refused refused[] = {
    {"", ST_INVALID_JSON, "invalid JSON: "},
    {"{", ST_INVALID_JSON, "invalid JSON: "},
    {"{}x", ST_INVALID_JSON, "invalid JSON: "},
    {"[]", ST_INVALID_JSON, "invalid JSON: the body must be an object, not an array"},
    {"\"a\"", ST_INVALID_JSON, "invalid JSON: the body must be an object, not a string"},
    {"{}", ST_INVALID_ARGUMENT, "messages is required"},
    {"{\"Messages\":[{\"value\":\"a\"}]}", ST_INVALID_ARGUMENT, "messages is required"},
    {"{\"messages\":null}", ST_INVALID_ARGUMENT, "messages is required"},
    {"{\"messages\":[]}", ST_INVALID_ARGUMENT, "messages must have 1 to 10000"},
    {"{\"messages\":{}}", ST_INVALID_JSON,
     "invalid JSON: messages must be an array, not an object"},
    {"{\"messages\":[{\"value\":\"a\"},5]}", ST_INVALID_JSON,
     "invalid JSON: messages[1] must be an object, not a number"},
    {"{\"messages\":[null]}", ST_INVALID_JSON,
     "invalid JSON: messages[0] must be an object, not null"},
    {"{\"messages\":[{\"value\":1}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].value must be a string, not a number"},
    {"{\"messages\":[{\"value\":\"a\",\"key\":{}}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].key must be a string, not an object"},
    {"{\"messages\":[{\"value\":\"a\",\"partition\":\"1\"}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].partition must be an integer, not a string"},
    {"{\"messages\":[{\"value\":\"a\",\"partition\":1.5}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].partition must be an integer"},
    {"{\"messages\":[{\"value\":\"a\",\"partition\":1e0}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].partition must be an integer"},
    {"{\"messages\":[{\"value\":\"a\",\"partition\":9223372036854775808}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].partition must be an integer"},
    {"{\"messages\":[{\"value\":\"a\",\"delay\":5}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].delay must be a string, not a number"},
    {"{\"messages\":[{\"value\":\"a\",\"deliverAt\":5}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].deliverAt must be a string, not a number"},
    {"{\"messages\":[{\"value\":\"a\",\"deliver_at\":true}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].deliver_at must be a string, not a boolean"},
    {"{\"messages\":[{\"value\":\"a\",\"priority\":1}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].priority must be a string, not a number"},
    {"{\"messages\":[{\"value\":\"a\",\"headers\":[]}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].headers must be an object of strings, not an array"},
    {"{\"messages\":[{\"value\":\"a\",\"headers\":{\"x\":1}}]}", ST_INVALID_JSON,
     "invalid JSON: messages[0].headers must be an object of strings only"},
    {"{\"messages\":[{\"value\":\"\\ud800\"}]}", ST_INVALID_JSON, "invalid JSON: "},
    {"{\"messages\":[{\"value\":\"\xff\"}]}", ST_INVALID_JSON, "invalid JSON: "},
    {"{\"messages\":[{\"value\":5}", ST_INVALID_JSON, "invalid JSON: unexpected end"},
};

START_TEST(test_refused)
{
    const struct refused *r = &refused[_i];
    ck_assert_int_eq(build_text(r->body, 3), r->status);
    ck_assert_msg(strncmp(detail, r->detail, strlen(r->detail)) == 0, "%s", detail);
    ck_assert_uint_eq(record.size, 0);
}
END_TEST

static const struct {
    const char *members;
    const char *error; /* starts with; NULL: stored */
} judged[] = {
    {"", "value is required"},
    {"\"value\":null", "value is required"},
    {"\"Value\":\"a\"", "value is required"},
    {"\"value\":\"\"", NULL},
    {"\"value\":1,\"value\":\"last one wins\"", NULL},
    {"\"value\":\"a\",\"key\":null,\"partition\":null,\"delay\":null,\"deliverAt\":null", NULL},
    {"\"value\":\"a\",\"priority\":null,\"headers\":null,\"unknown\":[{\"a\":1}]", NULL},
    {"\"value\":\"a\",\"partition\":5", NULL},
    {"\"value\":\"a\",\"partition\":6", "partition 6 is not in 0..5"},
    {"\"value\":\"a\",\"partition\":-1", "partition -1 is not in 0..5"},
    {"\"value\":\"a\",\"partition\":9223372036854775807", "partition 9223372036854775807 is not"},
    {"\"value\":\"a\",\"delay\":\"0s\"", NULL},
    {"\"value\":\"a\",\"delay\":\"\"", "delay must be a duration"},
    {"\"value\":\"a\",\"delay\":\"1d\"", "delay must be a duration"},
    {"\"value\":\"a\",\"delay\":\"-1s\"", "delay must not be negative"},
    {"\"value\":\"a\",\"delay\":\"8760h\"", NULL},
    {"\"value\":\"a\",\"delay\":\"8760h1us\"", "delay must be at most 8760h"},
    {"\"value\":\"a\",\"deliverAt\":\"tomorrow\"", "deliverAt must be a timestamp"},
    {"\"value\":\"a\",\"deliverAt\":\"9999-01-01T00:00:00Z\"", "deliverAt must be at most 8760h"},
    {"\"value\":\"a\",\"deliverAt\":\"1999-01-01T00:00:00Z\"", NULL},
    {"\"value\":\"a\",\"delay\":\"1s\",\"deliverAt\":\"tomorrow\"", NULL},
    {"\"value\":\"a\",\"priority\":\"CriTical\"", NULL},
    {"\"value\":\"a\",\"priority\":\"h\\u0069gh\"", NULL},
    {"\"value\":\"a\",\"priority\":\"urgent\"", "priority must be critical, high"},
    {"\"value\":\"a\",\"priority\":\"\"", "priority must be critical, high"},
    {"\"value\":\"a\",\"headers\":{}", NULL},
};

START_TEST(test_judged)
{
    const struct publish_outcome *outcome = build_one(judged[_i].members);
    if (judged[_i].error == NULL) {
        ck_assert_msg(outcome->error == NULL, "%s", outcome->error);
        ck_assert_uint_eq(plan.stored_count, 1);
    } else {
        ck_assert_ptr_nonnull(outcome->error);
        ck_assert_msg(strncmp(outcome->error, judged[_i].error, strlen(judged[_i].error)) == 0,
                      "%s", outcome->error);
        ck_assert_uint_eq(record.size, 0);
    }
}
END_TEST

START_TEST(test_fields)
{
    const struct publish_outcome *outcome =
        build_one("\"value\":\"a\\n\\u00e9\",\"key\":\"k\\u0000\\\"\",\"partition\":4,"
                  "\"delay\":\"1.5us\",\"priority\":\"LOW\","
                  "\"headers\":{ \"a\" : \"1\", \"b\\t\":\"x\\\"y\", \"n\":null, \"a\":\"2\" }");
    const struct record *r = only_record();
    ck_assert_uint_eq(decoded.found[0].target, 4);
    assert_text(r->value, "a\\n\\u00e9");
    ck_assert(r->value_escaped);
    ck_assert(span_equal(r->key, span_of("k\0\"", 3)));
    assert_text(r->headers, "{\"a\":\"2\",\"b\\t\":\"x\\\"y\"}");
    ck_assert_int_eq(r->delay_us, 2); /* rounded up: never early */
    ck_assert_int_eq(r->priority, PRIORITY_LOW);
    ck_assert_int_eq(outcome->delay_us, 2);
    ck_assert_str_eq(priority_text(outcome->priority), "low");
}
END_TEST

START_TEST(test_deliver_at)
{
    /* 1800000000 s is 2027-01-15T08:00:00Z. */
    const struct publish_outcome *outcome =
        build_one("\"value\":\"a\",\"deliver_at\":\"2027-01-16T09:00:00+01:00\"");
    ck_assert_int_eq(outcome->deliver_at_us, PUBLISH_CHECK_NOW_US + 24LL * 3600 * 1000000);
    ck_assert_int_eq(only_record()->deliver_at_us, outcome->deliver_at_us);
    ck_assert_int_eq(outcome->delay_us, 0);
}
END_TEST

START_TEST(test_key_partitions)
{
    static const struct {
        const char *key;
        uint32_t of_3, of_6, of_12;
    } keys[] = {{"user-123", 1, 1, 7},  {"user-1", 2, 5, 11}, {"user-2", 2, 5, 11},
                {"order-123", 1, 1, 1}, {"ключ", 2, 2, 2},    {"\\u043a\\u043bюч", 2, 2, 2}};
    const uint32_t partitions[] = {3, 6, 12};
    buf_put_text(&body, "{\"messages\":[");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        buf_printf(&body, "%s{\"key\":\"%s\",\"value\":\"\"}", i > 0 ? "," : "", keys[i].key);
    buf_put_text(&body, "]}");
    ck_assert_int_eq(build(partitions[_i]), ST_OK);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const uint32_t expected[] = {keys[i].of_3, keys[i].of_6, keys[i].of_12};
        const struct publish_outcome *o = &plan.outcomes[i];
        ck_assert_uint_eq(decoded.found[decoded.entry_first[o->entry] + o->index].target,
                          expected[_i]);
    }
}
END_TEST

START_TEST(test_round_robin)
{
    ck_assert_int_eq(build_text("{\"messages\":[{\"value\":\"0\"},{\"value\":\"1\"},{},"
                                "{\"value\":\"2\"},{\"value\":\"3\"},{\"value\":\"4\"}]}",
                                3),
                     ST_OK);
    ck_assert_uint_eq(decoded.command.publish.keyless_count, 5);
    ck_assert_uint_eq(decoded.command.publish.entry_count, 3);
    const char *const expected[] = {"0", "3", "1", "4", "2"}; /* slots 0, 1, 2 */
    for (uint32_t i = 0; i < 5; i++)
        assert_text(decoded.found[i].record.value, expected[i]);
    ck_assert_uint_eq(decoded.found[4].target, PUBLISH_KEYLESS | 2);
}
END_TEST

START_TEST(test_order_across_kinds)
{
    ck_assert_int_eq(build_text("{\"messages\":[{\"value\":\"0\"},{\"value\":\"1\",\"partition\":0}"
                                ",{\"value\":\"2\",\"partition\":0},{\"value\":\"3\"},"
                                "{\"value\":\"4\",\"key\":\"k\"}]}",
                                1),
                     ST_OK);
    ck_assert_uint_eq(decoded.command.publish.entry_count, 4);
    for (uint32_t i = 0; i < 5; i++) {
        const char expected[2] = {(char)('0' + i), '\0'};
        assert_text(decoded.found[i].record.value, expected);
    }
}
END_TEST

static void put_messages(uint32_t count, const char *members, size_t padding)
{
    buf_put_text(&body, "{\"messages\":[");
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(&body, "%s{%s%s\"value\":\"", i > 0 ? "," : "", members,
                   members[0] == '\0' ? "" : ",");
        uint8_t *to = buf_reserve(&body, padding);
        memset(to, 'x', padding);
        buf_commit(&body, padding);
        buf_put_text(&body, "\"}");
    }
    buf_put_text(&body, "]}");
}

START_TEST(test_count_limit)
{
    put_messages(MESSAGES_PER_PUBLISH_MAX + (uint32_t)_i, "", 1);
    ck_assert_int_eq(build(3), _i == 0 ? ST_OK : ST_INVALID_ARGUMENT);
    if (_i == 0)
        ck_assert_uint_eq(plan.stored_count, MESSAGES_PER_PUBLISH_MAX);
}
END_TEST

START_TEST(test_many_partitions)
{
    put_messages(1000, "", 100);
    ck_assert_int_eq(build(PARTITIONS_MAX), ST_OK);
    ck_assert_uint_eq(decoded.command.publish.entry_count, 1000);
    ck_assert_uint_lt(record.size, 1000 * 160);
}
END_TEST

START_TEST(test_batches_close)
{
    put_messages(100, "\"partition\":0", 10000);
    ck_assert_int_eq(build(2), ST_OK);
    ck_assert_uint_ge(decoded.command.publish.entry_count, 100 / 6);
    ck_assert_uint_le(decoded.command.publish.entry_count, 100 / 6 + 1);
}
END_TEST

START_TEST(test_size_limits)
{
    put_messages(1, "", VALUE_SIZE_MAX + (size_t)_i);
    ck_assert_int_eq(build(1), ST_OK);
    ck_assert_uint_eq(plan.stored_count, _i == 0);
    buf_clear(&body);
    buf_clear(&record);
    publish_decoded_fini(&decoded);
    struct buf members;
    buf_init(&members, BATCH_SIZE_MAX);
    buf_put_text(&members, "\"key\":\"");
    for (int i = 0; i < KEY_SIZE_MAX + _i; i++)
        buf_put_text(&members, i % 2 ? "k" : "\\u006b");
    buf_put(&members, "\"", 2);
    put_messages(1, (const char *)members.data, 1);
    ck_assert_int_eq(build(1), ST_OK);
    ck_assert_uint_eq(plan.stored_count, _i == 0);
    buf_fini(&members);
}
END_TEST

START_TEST(test_headers_limit)
{
    /* 6553 headers of 10 bytes and one of 5 are exactly the limit. */
    struct buf members;
    buf_init(&members, BATCH_SIZE_MAX);
    buf_put_text(&members, "\"headers\":{");
    for (int i = 0; i < 6553; i++)
        buf_printf(&members, "\"n\\u0030%05d\":\"abc\",\"n0%05d\":\"xyz\",", i, i);
    buf_printf(&members, "\"last\":\"%s\"}", _i == 0 ? "5" : "56");
    buf_put_byte(&members, '\0');
    put_messages(1, (const char *)members.data, 1);
    ck_assert_int_eq(build(1), ST_OK);
    ck_assert_uint_eq(plan.stored_count, _i == 0);
    buf_fini(&members);
}
END_TEST

/* Those over the room are refused, each for itself, whatever else there is. */
START_TEST(test_delayed_room)
{
    static const char text[] =
        "{\"messages\":[{\"value\":\"0\",\"delay\":\"1s\"},{\"value\":\"1\"},"
        "{\"value\":\"2\",\"deliverAt\":\"2027-06-01T00:00:00Z\"},"
        "{\"value\":\"3\",\"delay\":\"1s\",\"partition\":99},"
        "{\"value\":\"4\",\"deliverAt\":\"2001-01-01T00:00:00Z\"},"
        "{\"value\":\"5\",\"delay\":\"1h\"},{\"value\":\"6\",\"delay\":\"0s\"}]}";
    delayed_room = (uint64_t)_i;
    ck_assert_int_eq(build_text(text, 3), ST_OK);
    ck_assert_uint_eq(plan.count, 7);
    static const int delayed[] = {0, 2, 5}; /* the third is refused for its partition */
    for (int i = 0; i < 3; i++) {
        const char *error = plan.outcomes[delayed[i]].error;
        if (i < _i)
            ck_assert_ptr_null(error);
        else
            ck_assert_str_eq(error, "the topic holds its limit of 5 delayed messages");
    }
    ck_assert_str_eq(plan.outcomes[3].error, "partition 99 is not in 0..2");
    const int refused_count = _i < 3 ? 3 - _i : 0;
    ck_assert_int_eq(plan.no_room_count, refused_count);
    ck_assert_int_eq(plan.misplaced_count, 1);
    ck_assert_int_eq(plan.stored_count, 6 - refused_count);
    ck_assert_uint_eq(decoded.count, plan.stored_count);
}
END_TEST

Suite *suite_publish_builder(void);

Suite *suite_publish_builder(void)
{
    Suite *suite = suite_create("publish_builder");
    TCase *tc = tcase_create("publish_builder");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_refused, 0, sizeof refused / sizeof refused[0]);
    tcase_add_loop_test(tc, test_judged, 0, sizeof judged / sizeof judged[0]);
    tcase_add_test(tc, test_fields);
    tcase_add_test(tc, test_deliver_at);
    tcase_add_loop_test(tc, test_key_partitions, 0, 3);
    tcase_add_test(tc, test_round_robin);
    tcase_add_test(tc, test_order_across_kinds);
    tcase_add_loop_test(tc, test_count_limit, 0, 2);
    tcase_add_test(tc, test_many_partitions);
    tcase_add_test(tc, test_batches_close);
    tcase_add_loop_test(tc, test_size_limits, 0, 2);
    tcase_add_loop_test(tc, test_headers_limit, 0, 2);
    tcase_add_loop_test(tc, test_delayed_room, 0, 5);
    tcase_add_test(tc, test_single_message);
    suite_add_tcase(suite, tc);
    return suite;
}
