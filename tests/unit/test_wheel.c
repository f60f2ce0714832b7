#include <check.h>
#include <stdlib.h>

#include "delivery/wheel.h"

Suite *suite_wheel(void);

enum { NODES = 2000 };
#define START_US 1700000000123456LL

static uint64_t random_state = 88172645463325252ULL;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

START_TEST(wheel_fires_in_time)
{
    static struct wheel w;
    static struct wheel_node nodes[NODES];
    static int64_t due_us[NODES];
    wheel_init(&w, START_US);
    ck_assert_int_eq(wheel_next_us(&w), INT64_MAX);
    for (int i = 0; i < NODES; i++) {
        due_us[i] = START_US + (int64_t)(random_next() >> (24 + random_next() % 40));
        wheel_add(&w, &nodes[i], due_us[i]);
    }
    wheel_check(&w);
    int fired = 0;
    int64_t now_us = START_US;
    while (fired < NODES) {
        int64_t next_us = wheel_next_us(&w);
        ck_assert_int_ne(next_us, INT64_MAX);
        if (next_us > now_us)
            now_us = next_us;
        wheel_advance(&w, now_us);
        for (struct wheel_node *node; (node = wheel_pop(&w)) != NULL; fired++) {
            int64_t late_us = now_us - due_us[node - nodes];
            ck_assert_int_ge(late_us, 0);
            ck_assert_int_le(late_us, WHEEL_LATE_US);
            ck_assert(!wheel_armed(node));
        }
    }
    wheel_check(&w);
    ck_assert_uint_eq(w.count, 0);
}
END_TEST

START_TEST(wheel_never_fires_early_in_large_steps)
{
    static struct wheel w;
    static struct wheel_node nodes[NODES];
    static int64_t due_us[NODES];
    wheel_init(&w, START_US);
    int64_t now_us = START_US;
    for (int round = 0; round < 20000; round++) {
        int i = (int)(random_next() % NODES);
        if (wheel_armed(&nodes[i])) {
            wheel_remove(&w, &nodes[i]);
        } else {
            due_us[i] = now_us + (int64_t)(random_next() >> (30 + random_next() % 34));
            wheel_add(&w, &nodes[i], due_us[i]);
        }
        if (round % 10 != 0)
            continue;
        now_us += (int64_t)(random_next() >> (34 + random_next() % 30));
        wheel_advance(&w, now_us);
        for (struct wheel_node *node; (node = wheel_pop(&w)) != NULL;)
            ck_assert_int_le(due_us[node - nodes], now_us);
        int overdue = 0;
        for (int n = 0; n < NODES; n++)
            overdue += wheel_armed(&nodes[n]) && due_us[n] <= now_us - WHEEL_LATE_US;
        ck_assert_int_eq(overdue, 0);
    }
    wheel_check(&w);
}
END_TEST

START_TEST(wheel_takes_any_time)
{
    static struct wheel w;
    struct wheel_node past = {.kind = 1};
    struct wheel_node never = {.kind = 2};
    struct wheel_node none = {.kind = 3};
    wheel_init(&w, START_US);
    wheel_add(&w, &past, 0);
    wheel_add(&w, &never, INT64_MAX);
    wheel_remove(&w, &none); /* on no wheel: nothing happens */
    ck_assert_int_eq(wheel_next_us(&w), 0);
    ck_assert_ptr_eq(wheel_pop(&w), &past);
    ck_assert_ptr_null(wheel_pop(&w));
    wheel_advance(&w, START_US - 5000000); /* going back does nothing */
    wheel_add(&w, &past, START_US - 2000);
    ck_assert_ptr_eq(wheel_pop(&w), &past);
    wheel_advance(&w, START_US + 100LL * 365 * 86400 * 1000000);
    ck_assert_ptr_null(wheel_pop(&w));
    wheel_check(&w);
    wheel_remove(&w, &never);
    ck_assert_int_eq(wheel_next_us(&w), INT64_MAX);
}
END_TEST

Suite *suite_wheel(void)
{
    Suite *suite = suite_create("wheel");
    TCase *tcase = tcase_create("wheel");
    tcase_add_test(tcase, wheel_fires_in_time);
    tcase_add_test(tcase, wheel_never_fires_early_in_large_steps);
    tcase_add_test(tcase, wheel_takes_any_time);
    suite_add_tcase(suite, tcase);
    return suite;
}
