#include "api/target.h"

#include <check.h>

#include "api/route.h"

Suite *suite_target(void);

static struct arena arena;
static struct target target;

static enum status parse(const char *text)
{
    return target_parse(span_text(text), &arena, &target);
}

static void setup(void)
{
    arena_init(&arena);
}

static void teardown(void)
{
    arena_fini(&arena);
}

static void check_segment(uint32_t index, const char *wanted)
{
    ck_assert_uint_lt(index, target.segment_count);
    ck_assert(span_equal(target.segments[index], span_text(wanted)));
}

START_TEST(splits_before_it_decodes)
{
    ck_assert_int_eq(parse("/topics/a%2Fb/messages"), ST_OK);
    ck_assert_uint_eq(target.segment_count, 3);
    check_segment(1, "a/b");
}
END_TEST

START_TEST(tolerates_one_trailing_slash_and_the_version)
{
    ck_assert_int_eq(parse("/v1/topics/"), ST_OK);
    ck_assert_uint_eq(target.segment_count, 1);
    check_segment(0, "topics");
    ck_assert_int_eq(parse("/topics//"), ST_NOT_FOUND);
    ck_assert_int_eq(parse("//topics"), ST_NOT_FOUND);
    ck_assert_int_eq(parse("topics"), ST_NOT_FOUND);
    ck_assert_int_eq(parse("/"), ST_OK);
    ck_assert_uint_eq(target.segment_count, 0);
}
END_TEST

START_TEST(takes_absolute_forms)
{
    ck_assert_int_eq(parse("http://localhost:8080/topics/a?x=1"), ST_OK);
    ck_assert_uint_eq(target.segment_count, 2);
    check_segment(1, "a");
    ck_assert_int_eq(parse("http://localhost"), ST_OK);
    ck_assert_uint_eq(target.segment_count, 0);
}
END_TEST

START_TEST(refuses_what_is_no_text)
{
    ck_assert_int_eq(parse("/topics/%zz"), ST_NOT_FOUND);
    ck_assert_int_eq(parse("/topics/%4"), ST_NOT_FOUND);
    ck_assert_int_eq(parse("/topics/%ff"), ST_NOT_FOUND);
    ck_assert_int_eq(parse("/topics/%c0%ae"), ST_NOT_FOUND); /* an over-long dot */
    ck_assert_int_eq(parse("/a/b/c/d/e/f/g/h/i"), ST_NOT_FOUND);
    ck_assert_int_eq(parse("/topics?limit=%f"), ST_INVALID_ARGUMENT);
}
END_TEST

START_TEST(reads_the_query)
{
    ck_assert_int_eq(parse("/x?limit=10&limit=20&name=a+b%20c&flag&=y&&z="), ST_OK);
    ck_assert_uint_eq(target.query_count, 6);
    ck_assert(span_equal(target.query[0].value, span_text("10")));
    ck_assert(span_equal(target.query[2].value, span_text("a b c")));
    ck_assert(span_equal(target.query[3].name, span_text("flag")));
    ck_assert_uint_eq(target.query[3].value.size, 0);
    ck_assert_uint_eq(target.query[4].name.size, 0);
}
END_TEST

START_TEST(bounds_the_query)
{
    char text[256] = "/x?";
    for (size_t i = 3; i + 2 < sizeof text; i += 2) {
        text[i] = 'a';
        text[i + 1] = '&';
    }
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(parse(text), ST_OK);
    ck_assert_uint_eq(target.query_count, QUERY_ARGS_MAX);
}
END_TEST

START_TEST(finds_routes)
{
    struct span params[PARAMS_MAX];
    unsigned allow = 0;
    ck_assert_int_eq(parse("/topics/orders/partitions/2/messages"), ST_OK);
    const struct route *route =
        route_find(METHOD_GET, target.segments, target.segment_count, params, &allow);
    ck_assert_ptr_nonnull(route);
    ck_assert(route->handler == on_consume);
    ck_assert(span_equal(params[0], span_text("orders")));
    ck_assert(span_equal(params[1], span_text("2")));

    route = route_find(METHOD_DELETE, target.segments, target.segment_count, params, &allow);
    ck_assert_ptr_null(route);
    ck_assert_uint_eq(allow, 1U << METHOD_GET);

    ck_assert_int_eq(parse("/nothing"), ST_OK);
    route = route_find(METHOD_GET, target.segments, target.segment_count, params, &allow);
    ck_assert_ptr_null(route);
    ck_assert_uint_eq(allow, 0);
}
END_TEST

START_TEST(knows_good_names)
{
    ck_assert(name_is_topic(span_text("orders-1_A")));
    ck_assert(!name_is_topic(span_text("__internal")));
    ck_assert(!name_is_topic(span_text("a.b")));
    ck_assert(!name_is_topic(span_text("")));
    ck_assert(name_is_topic_address(span_text("orders.dlq")));
    ck_assert(!name_is_topic_address(span_text(".dlq")));
    ck_assert(name_is_group(span_text("a.b")));
    ck_assert(!name_is_group(span_text("..")));
    ck_assert(name_is_group(span_text("...")));
    ck_assert(name_is_tenant(span_text("my-tenant")));
    ck_assert(!name_is_tenant(span_text("My")));
    ck_assert(!name_is_tenant(span_text("ab")));
}
END_TEST

Suite *suite_target(void)
{
    Suite *suite = suite_create("target");
    TCase *tc = tcase_create("target");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, splits_before_it_decodes);
    tcase_add_test(tc, tolerates_one_trailing_slash_and_the_version);
    tcase_add_test(tc, takes_absolute_forms);
    tcase_add_test(tc, refuses_what_is_no_text);
    tcase_add_test(tc, reads_the_query);
    tcase_add_test(tc, bounds_the_query);
    tcase_add_test(tc, finds_routes);
    tcase_add_test(tc, knows_good_names);
    suite_add_tcase(suite, tc);
    return suite;
}
