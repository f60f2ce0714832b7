#include <check.h>

#include "delivery/lane_weights.h"

Suite *suite_lane_weights(void);

static const uint32_t weights[PRIORITY_COUNT] = {50, 25, 15, 7, 3};

static uint32_t sum_of(const uint32_t share[PRIORITY_COUNT])
{
    uint32_t sum = 0;
    for (int lane = 0; lane < PRIORITY_COUNT; lane++)
        sum += share[lane];
    return sum;
}

START_TEST(full_lanes_share_by_weight)
{
    static const bool has[PRIORITY_COUNT] = {true, true, true, true, true};
    struct lane_weights w = {0};
    uint32_t share[PRIORITY_COUNT];
    for (uint32_t times = 1; times < 4; times++) {
        lane_weights_share(&w, has, 100 * times, share);
        for (int lane = 0; lane < PRIORITY_COUNT; lane++)
            ck_assert_uint_eq(share[lane], weights[lane] * times);
    }
}
END_TEST

START_TEST(shares_are_spread_evenly)
{
    static const bool has[PRIORITY_COUNT] = {true, true, true, true, true};
    struct lane_weights w = {0};
    uint32_t share[PRIORITY_COUNT], sums[PRIORITY_COUNT] = {0};
    unsigned last_background = 0;
    for (unsigned i = 1; i <= 1000; i++) {
        lane_weights_share(&w, has, 1, share);
        ck_assert_uint_eq(sum_of(share), 1);
        for (int lane = 0; lane < PRIORITY_COUNT; lane++)
            sums[lane] += share[lane];
        if (i == 1)
            ck_assert_uint_eq(share[PRIORITY_CRITICAL], 1);
        ck_assert_uint_ge(sums[PRIORITY_CRITICAL] + 1, i / 2); /* never far from its half */
        ck_assert_uint_le(sums[PRIORITY_CRITICAL], i / 2 + 1);
        if (share[PRIORITY_BACKGROUND] > 0)
            last_background = i;
        ck_assert_uint_lt(i - last_background, 100); /* nobody starves */
    }
    for (int lane = 0; lane < PRIORITY_COUNT; lane++)
        ck_assert_uint_eq(sums[lane], weights[lane] * 10);
}
END_TEST

/* In steps of any size it is the same sequence. */
START_TEST(steps_do_not_matter)
{
    static const bool has[PRIORITY_COUNT] = {false, true, true, false, true};
    struct lane_weights w = {0};
    uint32_t share[PRIORITY_COUNT], sums[PRIORITY_COUNT] = {0}, picked = 0;
    for (uint32_t step = 0; picked + step <= 43 * 5; picked += step, step = (step + 3) % 11) {
        lane_weights_share(&w, has, step, share);
        ck_assert_uint_eq(sum_of(share), step);
        for (int lane = 0; lane < PRIORITY_COUNT; lane++)
            sums[lane] += share[lane];
    }
    struct lane_weights whole = {0};
    lane_weights_share(&whole, has, picked, share);
    for (int lane = 0; lane < PRIORITY_COUNT; lane++)
        ck_assert_uint_eq(share[lane], sums[lane]);
    ck_assert_mem_eq(&w, &whole, sizeof w);
    ck_assert(share[PRIORITY_CRITICAL] == 0 && share[PRIORITY_LOW] == 0);
}
END_TEST

START_TEST(lanes_that_have_nothing)
{
    struct lane_weights w = {0};
    uint32_t share[PRIORITY_COUNT] = {9, 9, 9, 9, 9};
    bool has[PRIORITY_COUNT] = {false};
    lane_weights_share(&w, has, 10, share);
    ck_assert_uint_eq(sum_of(share), 0);
    has[PRIORITY_BACKGROUND] = true;
    lane_weights_share(&w, has, 10, share);
    ck_assert(share[PRIORITY_BACKGROUND] == 10 && sum_of(share) == 10);
    has[PRIORITY_HIGH] = true; /* 25 : 3 */
    lane_weights_share(&w, has, 28, share);
    ck_assert(share[PRIORITY_HIGH] == 25 && share[PRIORITY_BACKGROUND] == 3);
    lane_weights_share(&w, has, 0, share);
    ck_assert_uint_eq(sum_of(share), 0);
}
END_TEST

START_TEST(higher_lane_wins_a_tie)
{
    static const bool has[PRIORITY_COUNT] = {false, false, true, false, true};
    struct lane_weights w = {0};
    uint32_t share[PRIORITY_COUNT];
    lane_weights_share(&w, has, 3, share); /* 15, 12, then 9 against 9 */
    ck_assert_uint_eq(share[PRIORITY_NORMAL], 3);
    lane_weights_share(&w, has, 1, share);
    ck_assert_uint_eq(share[PRIORITY_BACKGROUND], 1);
}
END_TEST

START_TEST(nothing_is_saved_up)
{
    struct lane_weights w = {0};
    uint32_t share[PRIORITY_COUNT];
    bool has[PRIORITY_COUNT] = {true, false, false, false, true};
    lane_weights_share(&w, has, 8, share); /* with the ninth it would be background's turn */
    ck_assert_uint_eq(share[PRIORITY_BACKGROUND], 0);
    has[PRIORITY_BACKGROUND] = false;
    lane_weights_share(&w, has, 1000, share);
    has[PRIORITY_BACKGROUND] = true;
    lane_weights_share(&w, has, 4, share);
    ck_assert_uint_eq(share[PRIORITY_CRITICAL], 4);
}
END_TEST

Suite *suite_lane_weights(void)
{
    Suite *suite = suite_create("lane_weights");
    TCase *tcase = tcase_create("lane_weights");
    tcase_add_test(tcase, full_lanes_share_by_weight);
    tcase_add_test(tcase, shares_are_spread_evenly);
    tcase_add_test(tcase, steps_do_not_matter);
    tcase_add_test(tcase, lanes_that_have_nothing);
    tcase_add_test(tcase, higher_lane_wins_a_tie);
    tcase_add_test(tcase, nothing_is_saved_up);
    suite_add_tcase(suite, tcase);
    return suite;
}
