#include <check.h>
#include <stdlib.h>

#include "std/alloc.h"
#include "std/histogram.h"

Suite *suite_histogram(void);

static struct histogram *histogram_of(uint64_t first, uint64_t count, uint64_t step)
{
    struct histogram *h = new_zero(struct histogram);
    for (uint64_t i = 0; i < count; i++)
        histogram_add(h, first + i * step);
    return h;
}

static void expect_near(uint64_t got, uint64_t want)
{
    double error = (double)got - (double)want;
    ck_assert_msg(error <= 0.008 * (double)want + 0.5 && -error <= 0.008 * (double)want + 0.5,
                  "got %llu, want %llu within 0.8 %%", (unsigned long long)got,
                  (unsigned long long)want);
}

START_TEST(test_empty_answers_zero)
{
    struct histogram *h = new_zero(struct histogram);
    ck_assert_uint_eq(histogram_quantile(h, 0.5), 0);
    ck_assert_uint_eq(histogram_count_up_to(h, 1000), 0);
    ck_assert_double_eq(histogram_mean(h), 0.0);
    free(h);
}
END_TEST

START_TEST(test_small_values_are_exact)
{
    struct histogram *h = histogram_of(1, 100, 1);
    ck_assert_uint_eq(histogram_quantile(h, 0.0), 1);
    ck_assert_uint_eq(histogram_quantile(h, 0.5), 50);
    ck_assert_uint_eq(histogram_quantile(h, 0.9), 90);
    ck_assert_uint_eq(histogram_quantile(h, 0.99), 99);
    ck_assert_uint_eq(histogram_quantile(h, 1.0), 100);
    ck_assert_uint_eq(histogram_count_up_to(h, 30), 30);
    ck_assert_double_eq(histogram_mean(h), 50.5);
    free(h);
}
END_TEST

START_TEST(test_large_values_are_within_the_bound)
{
    for (uint64_t step = 1; step < ((uint64_t)1 << 24); step = step * 3 + 1) {
        struct histogram *h = histogram_of(step, 10000, step);
        expect_near(histogram_quantile(h, 0.5), 5000 * step);
        expect_near(histogram_quantile(h, 0.9), 9000 * step);
        expect_near(histogram_quantile(h, 0.999), 9990 * step);
        ck_assert_uint_eq(histogram_quantile(h, 1.0), 10000 * step);
        free(h);
    }
}
END_TEST

START_TEST(test_every_power_of_two_and_its_neighbours)
{
    for (unsigned bit = 1; bit < HISTOGRAM_VALUE_BITS; bit++) {
        for (uint64_t around = 0; around < 3; around++) {
            uint64_t value = ((uint64_t)1 << bit) + around - 1;
            struct histogram *h = new_zero(struct histogram);
            histogram_add(h, 0);
            histogram_add(h, value);
            histogram_add(h, (uint64_t)1 << HISTOGRAM_VALUE_BITS);
            expect_near(histogram_quantile(h, 0.5), value);
            ck_assert_uint_eq(histogram_count_up_to(h, value), 2);
            free(h);
        }
    }
}
END_TEST

START_TEST(test_huge_values_share_the_last_bucket)
{
    struct histogram *h = new_zero(struct histogram);
    histogram_add(h, UINT64_MAX);
    histogram_add(h, (uint64_t)1 << HISTOGRAM_VALUE_BITS);
    ck_assert_uint_eq(h->bucket[HISTOGRAM_BUCKETS - 1], 2);
    ck_assert_uint_eq(histogram_quantile(h, 1.0), UINT64_MAX);
    ck_assert_uint_eq(histogram_quantile(h, 0.0), (uint64_t)1 << HISTOGRAM_VALUE_BITS);
    free(h);
}
END_TEST

START_TEST(test_merge_is_adding_all)
{
    struct histogram *low = histogram_of(10, 500, 7);
    struct histogram *high = histogram_of(100000, 500, 977);
    struct histogram *both = histogram_of(10, 500, 7);
    for (uint64_t i = 0; i < 500; i++)
        histogram_add(both, 100000 + i * 977);

    struct histogram *merged = new_zero(struct histogram);
    histogram_merge(merged, high);
    histogram_merge(merged, low);
    ck_assert_mem_eq(merged, both, sizeof *both);

    struct histogram *empty = new_zero(struct histogram);
    histogram_merge(merged, empty);
    ck_assert_mem_eq(merged, both, sizeof *both);
    free(low);
    free(high);
    free(both);
    free(merged);
    free(empty);
}
END_TEST

Suite *suite_histogram(void)
{
    Suite *s = suite_create("histogram");
    TCase *tc = tcase_create("histogram");
    tcase_add_test(tc, test_empty_answers_zero);
    tcase_add_test(tc, test_small_values_are_exact);
    tcase_add_test(tc, test_large_values_are_within_the_bound);
    tcase_add_test(tc, test_every_power_of_two_and_its_neighbours);
    tcase_add_test(tc, test_huge_values_share_the_last_bucket);
    tcase_add_test(tc, test_merge_is_adding_all);
    suite_add_tcase(s, tc);
    return s;
}
