#include "node/config.h"

#include <check.h>
#include <stdlib.h>

#include "node/topic_defaults.h"

Suite *suite_config(void);

static struct config config;
static struct buf problems;

static void setup(void)
{
    buf_init(&problems, 65536);
}

static void teardown(void)
{
    config_fini(&config);
    buf_fini(&problems);
}

static bool load(char *flags[], int count)
{
    char *argv[16] = {(char[]){"serve"}};
    for (int i = 0; i < count; i++)
        argv[i + 1] = flags[i];
    return config_load(&config, count + 1, argv, &problems);
}

static unsigned problem_lines(void)
{
    unsigned lines = 0;
    for (size_t i = 0; i < problems.size; i++)
        lines += problems.data[i] == '\n';
    return lines;
}

START_TEST(defaults_are_valid)
{
    ck_assert(load(NULL, 0));
    ck_assert_str_eq(config.listen_host, "127.0.0.1");
    ck_assert_uint_eq(config.listen_port, 8080);
    ck_assert_int_eq(config.publish_body_max_bytes, 64 << 20);
    ck_assert_int_eq(config.visibility_ns, 30000000000LL);
    ck_assert_int_eq(config.auto_create, 1);
}
END_TEST

START_TEST(flags_win_over_the_environment)
{
    ck_assert_int_eq(setenv("GOQUEUE_TOPICS_PARTITIONS", "7", 1), 0);
    ck_assert(load(NULL, 0));
    ck_assert_int_eq(config.partitions, 7);
    config_fini(&config);
    ck_assert(load((char *[]){(char[]){"--topics-partitions=9"}, (char[]){"--listeners-http"},
                              (char[]){"[::1]:0"}},
                   3));
    ck_assert_int_eq(config.partitions, 9);
    ck_assert_str_eq(config.listen_host, "::1");
    ck_assert_uint_eq(config.listen_port, 0);
}
END_TEST

START_TEST(reports_every_problem_at_once)
{
    ck_assert_int_eq(setenv("GOQUEUE_BROKER_DURABILITY", "maybe", 1), 0);
    ck_assert(!load((char *[]){(char[]){"--topics-partitions=0"}, (char[]){"--limits-body=x"},
                               (char[]){"--unknown=1"}, (char[]){"--listeners-http=8080"},
                               (char[]){"--topics-retentionhours=0"},
                               (char[]){"--delivery-dlqretentionhours=0"}},
                    6));
    ck_assert_uint_eq(problem_lines(), 7);
}
END_TEST

START_TEST(reads_sizes)
{
    ck_assert(
        load((char *[]){(char[]){"--log-segmentsize=2MiB"}, (char[]){"--limits-body=2048"}}, 2));
    ck_assert_int_eq(config.log_segment_bytes, 2 << 20);
    ck_assert_int_eq(config.body_max_bytes, 2048);
}
END_TEST

START_TEST(topics_get_the_settings)
{
    const int64_t hour_us = 3600LL * 1000 * 1000;
    ck_assert(load((char *[]){(char[]){"--delivery-maxdelayed=12"}}, 1));
    const struct topic_settings topic = topic_default_settings(&config);
    ck_assert_int_eq(topic.retention_us, 168 * hour_us);
    ck_assert_int_eq(topic.visibility_us, 30 * 1000 * 1000);
    ck_assert_uint_eq(topic.deliveries_max, 3);
    ck_assert_uint_eq(topic.in_flight_max, 0);
    ck_assert_uint_eq(topic.delayed_max, 12);
    ck_assert_int_eq(topic.priority_mode, PRIORITY_STRICT);
    const struct topic_settings dead = topic_dead_letter_settings(&config);
    ck_assert_int_eq(dead.retention_us, 336 * hour_us);
    ck_assert_uint_eq(dead.deliveries_max, 3);
}
END_TEST

Suite *suite_config(void)
{
    Suite *suite = suite_create("config");
    TCase *tc = tcase_create("config");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, defaults_are_valid);
    tcase_add_test(tc, flags_win_over_the_environment);
    tcase_add_test(tc, reports_every_problem_at_once);
    tcase_add_test(tc, reads_sizes);
    tcase_add_test(tc, topics_get_the_settings);
    suite_add_tcase(suite, tc);
    return suite;
}
