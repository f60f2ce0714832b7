#include <check.h>
#include <stdio.h>

#include "std/map.h"

Suite *suite_map(void);

enum { COUNT = 5000, NAME_SIZE = 16 };

START_TEST(map_names)
{
    static char names[COUNT][NAME_SIZE];
    struct map m;
    map_init(&m);
    ck_assert_ptr_null(map_find(&m, span_text("nothing")));
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_gt(snprintf(names[i], NAME_SIZE, "name-%d", i), 0);
        map_put(&m, span_text(names[i]), names[i]);
    }
    ck_assert_uint_eq(m.count, COUNT);
    for (int i = 0; i < COUNT; i += 2)
        map_remove(&m, span_text(names[i]));
    for (int i = 0; i < COUNT; i++) {
        char *found = map_find(&m, span_text(names[i]));
        ck_assert_ptr_eq(found, i % 2 == 0 ? NULL : names[i]);
    }
    ck_assert_uint_eq(m.count, COUNT / 2);
    ck_assert_ptr_null(map_find(&m, span_text("name-")));
    ck_assert_ptr_null(map_find(&m, span_of(NULL, 0)));
    map_fini(&m);
}
END_TEST

START_TEST(map_numbers)
{
    static int values[COUNT];
    struct map m;
    map_init(&m);
    for (uint64_t i = 0; i < COUNT; i++)
        map_put_number(&m, i << 32, &values[i]);
    for (uint64_t i = 0; i < COUNT; i++) {
        ck_assert_ptr_eq(map_find_number(&m, i << 32), &values[i]);
        ck_assert_ptr_null(map_find_number(&m, i << 32 | 1));
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        map_remove_number(&m, i << 32);
        ck_assert_ptr_null(map_find_number(&m, i << 32));
    }
    ck_assert_uint_eq(m.count, 0);
    map_fini(&m);
}
END_TEST

START_TEST(map_refuses_a_double)
{
    int value = 0;
    struct map m;
    map_init(&m);
    map_put(&m, span_text("a"), &value);
    map_put(&m, span_text("a"), &value);
}
END_TEST

START_TEST(map_refuses_to_remove_nothing)
{
    struct map m;
    map_init(&m);
    map_remove_number(&m, 1);
}
END_TEST

Suite *suite_map(void)
{
    Suite *suite = suite_create("map");
    TCase *tcase = tcase_create("map");
    tcase_add_test(tcase, map_names);
    tcase_add_test(tcase, map_numbers);
    tcase_add_test_raise_signal(tcase, map_refuses_a_double, 6);
    tcase_add_test_raise_signal(tcase, map_refuses_to_remove_nothing, 6);
    suite_add_tcase(suite, tcase);
    return suite;
}
