#include <check.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/exposition.h"
#include "node/metrics.h"

enum { THREADS = 4, ROUNDS = 20000, NAMES = 50, TEXT_SIZE_MAX = 4 * 1024 * 1024 };

static struct metrics *registry;

static struct span topic_name(char out[32], unsigned i)
{
    return span_of(out, (size_t)snprintf(out, 32, "acme/topic-%u", i));
}

static const struct metrics_topic *find(struct arena *arena, const char *name)
{
    struct metrics_topic *topics = NULL;
    const uint32_t count = metrics_read_topics(registry, arena, &topics);
    for (uint32_t i = 0; i < count; i++)
        if (span_equal(topics[i].name, span_text(name)))
            return &topics[i];
    return NULL;
}

static void *count_much(void *unused)
{
    char name[32];
    const struct metrics_wait waits[PRIORITY_COUNT] = {[PRIORITY_LOW] = {2, 7}};
    for (unsigned i = 0; i < ROUNDS; i++) {
        metrics_published(registry, topic_name(name, i % NAMES), 2, 10, (int64_t)(i % 3) * 1000);
        metrics_consumed(registry, topic_name(name, i % NAMES), 1, 5);
        metrics_acked(registry, 1, 700);
        metrics_failed(registry, topic_name(name, i % NAMES), ST_BUSY, 1);
        metrics_request(registry, 200);
        metrics_event(registry, topic_name(name, i % NAMES), METRICS_NACKED);
        metrics_waited(registry, topic_name(name, i % NAMES), waits);
    }
    return unused;
}

START_TEST(threads_lose_nothing)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_much, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    struct metrics_totals totals;
    metrics_read_totals(registry, &totals);
    const uint64_t calls = (uint64_t)THREADS * ROUNDS;
    ck_assert_uint_eq(totals.bytes_published, 10 * calls);
    ck_assert_uint_eq(totals.bytes_consumed, 5 * calls);
    ck_assert_uint_eq(totals.acked, calls);
    ck_assert_uint_eq(totals.http[1], calls);
    ck_assert_uint_eq(totals.ack.bucket[1], calls);
    ck_assert_uint_eq(totals.ack.sum_us, 700 * calls);
    ck_assert_uint_eq(
        totals.publish.bucket[0] + totals.publish.bucket[1] + totals.publish.bucket[2], calls);

    struct arena arena;
    arena_init(&arena);
    struct metrics_topic *topics = NULL;
    ck_assert_uint_eq(metrics_read_topics(registry, &arena, &topics), NAMES + 1);
    uint64_t failed = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        ck_assert_uint_eq(topics[i].published, 2 * calls / NAMES);
        ck_assert_uint_eq(topics[i].consumed, calls / NAMES);
        failed += topics[i].failed[ST_BUSY];
        ck_assert_uint_eq(topics[i].events[METRICS_NACKED], calls / NAMES);
        ck_assert_uint_eq(topics[i].events[METRICS_REJECTED], 0);
        ck_assert_uint_eq(topics[i].waits[PRIORITY_LOW].count, 2 * calls / NAMES);
        ck_assert_uint_eq(topics[i].waits[PRIORITY_LOW].sum_us, 7 * calls / NAMES);
        ck_assert_uint_eq(topics[i].waits[PRIORITY_NORMAL].count, 0);
        if (i > 0)
            ck_assert_int_lt(span_compare(topics[i - 1].name, topics[i].name), 0);
    }
    ck_assert_uint_eq(failed, calls);
    ck_assert_uint_eq(topics[NAMES].published, 0);
    arena_fini(&arena);
}
END_TEST

START_TEST(bounds_are_inclusive)
{
    metrics_fetched(registry, -5); /* clocks */
    metrics_fetched(registry, 500);
    metrics_fetched(registry, 501);
    metrics_fetched(registry, 10000000);
    metrics_fetched(registry, 10000001);
    struct metrics_totals totals;
    metrics_read_totals(registry, &totals);
    ck_assert_uint_eq(totals.fetch.bucket[0], 2);
    ck_assert_uint_eq(totals.fetch.bucket[1], 1);
    ck_assert_uint_eq(totals.fetch.bucket[METRICS_LATENCY_BOUNDS - 1], 1);
    ck_assert_uint_eq(totals.fetch.bucket[METRICS_LATENCY_BOUNDS], 1);
    ck_assert_uint_eq(totals.fetch.sum_us, 500 + 501 + 10000000 + 10000001);
}
END_TEST

START_TEST(topics_are_bounded)
{
    struct arena arena;
    arena_init(&arena);
    char name[32];
    for (unsigned i = 0; i < METRICS_TOPICS_MAX + 7; i++)
        metrics_published(registry, topic_name(name, i), 1, 1, 1);
    metrics_published(registry, topic_name(name, 3), 1, 1, 1);
    struct metrics_topic *topics = NULL;
    ck_assert_uint_eq(metrics_read_topics(registry, &arena, &topics), METRICS_TOPICS_MAX + 1);
    ck_assert_uint_eq(find(&arena, METRICS_OTHER)->published, 7);
    ck_assert_uint_eq(find(&arena, "acme/topic-3")->published, 2);
    ck_assert_ptr_null(find(&arena, "acme/topic-1000"));
    arena_fini(&arena);
}
END_TEST

START_TEST(failures_add_no_topics)
{
    struct arena arena;
    arena_init(&arena);
    metrics_failed(registry, span_text("made-up"), ST_TOPIC_NOT_FOUND, 3);
    metrics_published(registry, span_text(METRICS_OTHER), 1, 1, 1); /* a topic may be called so */
    struct metrics_topic *topics = NULL;
    ck_assert_uint_eq(metrics_read_topics(registry, &arena, &topics), 1);
    ck_assert_uint_eq(topics[0].failed[ST_TOPIC_NOT_FOUND], 3);
    ck_assert_uint_eq(topics[0].published, 1);
    arena_fini(&arena);
}
END_TEST

START_TEST(events_of_unknown_topics_count_together)
{
    struct arena arena;
    arena_init(&arena);
    metrics_event(registry, span_text(METRICS_OTHER), METRICS_EXTENDED);
    metrics_event(registry, span_text("acme/t"), METRICS_REJECTED);
    ck_assert_uint_eq(find(&arena, METRICS_OTHER)->events[METRICS_EXTENDED], 1);
    ck_assert_uint_eq(find(&arena, METRICS_OTHER)->events[METRICS_REJECTED], 0);
    ck_assert_uint_eq(find(&arena, "acme/t")->events[METRICS_REJECTED], 1);
    arena_fini(&arena);
}
END_TEST

static void check_text(struct buf *out, const char *expected)
{
    buf_put_byte(out, 0);
    ck_assert_str_eq((const char *)out->data, expected);
}

START_TEST(families_are_written)
{
    struct buf out;
    struct exposition e;
    buf_init(&out, TEXT_SIZE_MAX);
    exposition_init(&e, &out);
    exposition_family(&e, "a_total", "counter", "Things.", false);
    const struct label labels[] = {{"topic", span_text("q\"b\\s\nn")},
                                   {"tenant", span_text("")},
                                   {"reason", span_text("busy")}};
    exposition_sample(&e, labels, 3, 7);
    exposition_sample(&e, &labels[1], 1, UINT64_MAX);
    exposition_family(&e, "b", "gauge", "More.", true);
    exposition_sample(&e, NULL, 0, 0);
    exposition_end(&e);
    check_text(&out, "# HELP a_total Things.\n"
                     "# TYPE a_total counter\n"
                     "a_total{topic=\"q\\\"b\\\\s\\nn\",reason=\"busy\"} 7\n"
                     "a_total 18446744073709551615\n"
                     "# HELP b More.\n"
                     "# TYPE b gauge\n"
                     "b 0\n"
                     "# HELP b_truncated 1 if there are more series than are shown.\n"
                     "# TYPE b_truncated gauge\n"
                     "b_truncated 0\n");
    buf_fini(&out);
}
END_TEST

START_TEST(families_are_bounded)
{
    struct buf out;
    struct exposition e;
    buf_init(&out, TEXT_SIZE_MAX);
    exposition_init(&e, &out);
    exposition_family(&e, "a", "gauge", "Things.", true);
    for (unsigned i = 0; i < EXPOSITION_SERIES_MAX + 1; i++) {
        char text[16];
        const struct label label = {"i",
                                    span_of(text, (size_t)snprintf(text, sizeof text, "%u", i))};
        exposition_sample(&e, &label, 1, i);
    }
    exposition_end(&e);
    buf_put_byte(&out, 0);
    const char *text = (const char *)out.data;
    ck_assert_ptr_nonnull(strstr(text, "a{i=\"9999\"} 9999\n"));
    ck_assert_ptr_null(strstr(text, "a{i=\"10000\"}"));
    ck_assert_ptr_nonnull(strstr(text, "a_truncated 1\n"));
    buf_fini(&out);
}
END_TEST

static const char latency_text[] = "# HELP l_seconds Time.\n"
                                   "# TYPE l_seconds histogram\n"
                                   "l_seconds_bucket{le=\"0.0005\"} 1\n"
                                   "l_seconds_bucket{le=\"0.001\"} 1\n"
                                   "l_seconds_bucket{le=\"0.0025\"} 1\n"
                                   "l_seconds_bucket{le=\"0.005\"} 1\n"
                                   "l_seconds_bucket{le=\"0.01\"} 2\n"
                                   "l_seconds_bucket{le=\"0.025\"} 2\n"
                                   "l_seconds_bucket{le=\"0.05\"} 2\n"
                                   "l_seconds_bucket{le=\"0.1\"} 2\n"
                                   "l_seconds_bucket{le=\"0.25\"} 2\n"
                                   "l_seconds_bucket{le=\"0.5\"} 2\n"
                                   "l_seconds_bucket{le=\"1\"} 2\n"
                                   "l_seconds_bucket{le=\"2.5\"} 2\n"
                                   "l_seconds_bucket{le=\"5\"} 2\n"
                                   "l_seconds_bucket{le=\"10\"} 2\n"
                                   "l_seconds_bucket{le=\"+Inf\"} 3\n"
                                   "l_seconds_sum 60.006123\n"
                                   "l_seconds_count 3\n";

START_TEST(latencies_are_cumulative)
{
    struct buf out;
    struct exposition e;
    const int64_t values_us[] = {123, 6000, 60000000};
    struct histogram *h = calloc(1, sizeof *h);
    for (unsigned i = 0; i < 3; i++) {
        metrics_acked(registry, 1, values_us[i]);
        histogram_add(h, (uint64_t)values_us[i]);
    }
    struct metrics_totals totals;
    metrics_read_totals(registry, &totals);
    buf_init(&out, TEXT_SIZE_MAX);
    exposition_init(&e, &out);
    exposition_family(&e, "l_seconds", "histogram", "Time.", false);
    exposition_latency(&e, &totals.ack);
    check_text(&out, latency_text);
    buf_clear(&out);
    exposition_family(&e, "l_seconds", "histogram", "Time.", false);
    exposition_histogram(&e, h);
    check_text(&out, latency_text);
    buf_fini(&out);
    free(h);
}
END_TEST

static void set_up(void)
{
    registry = metrics_new();
}

static void tear_down(void)
{
    metrics_free(registry);
}

Suite *suite_metrics(void);
Suite *suite_metrics(void)
{
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("metrics");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, threads_lose_nothing);
    tcase_add_test(tc, bounds_are_inclusive);
    tcase_add_test(tc, topics_are_bounded);
    tcase_add_test(tc, failures_add_no_topics);
    tcase_add_test(tc, events_of_unknown_topics_count_together);
    tcase_add_test(tc, families_are_written);
    tcase_add_test(tc, families_are_bounded);
    tcase_add_test(tc, latencies_are_cumulative);
    suite_add_tcase(s, tc);
    return s;
}
