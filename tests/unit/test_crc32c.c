#include <check.h>
#include <stdlib.h>

#include "std/crc32c.h"

Suite *suite_crc32c(void);

enum { DATA_SIZE = 16 * 1024 };
static uint8_t data[DATA_SIZE];

static void fill(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < DATA_SIZE; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = (uint8_t)(state >> 24);
    }
}

START_TEST(crc32c_check_values)
{
    static const uint8_t zeros[32] = {0};
    ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(crc32c(0, zeros, sizeof zeros), 0x8a9136aau); /* RFC 3720, B.4 */
    ck_assert_uint_eq(crc32c(0, NULL, 0), 0);
    ck_assert_uint_eq(crc32c_portable(0, "123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(crc32c_portable(7, NULL, 0), 7);
}
END_TEST

START_TEST(crc32c_equals_portable_at_every_size)
{
    fill();
    for (size_t size = 0; size < 7000; size++) {
        const uint8_t *from = data + size % 9;
        ck_assert_uint_eq(crc32c(0, from, size), crc32c_portable(0, from, size));
    }
}
END_TEST

START_TEST(crc32c_is_incremental)
{
    fill();
    uint32_t whole = crc32c(0, data, DATA_SIZE);
    for (size_t cut = 0; cut <= DATA_SIZE; cut += 511)
        ck_assert_uint_eq(crc32c(crc32c(0, data, cut), data + cut, DATA_SIZE - cut), whole);
}
END_TEST

Suite *suite_crc32c(void)
{
    Suite *suite = suite_create("crc32c");
    TCase *tcase = tcase_create("crc32c");
    tcase_add_test(tcase, crc32c_check_values);
    tcase_add_test(tcase, crc32c_equals_portable_at_every_size);
    tcase_add_test(tcase, crc32c_is_incremental);
    suite_add_tcase(suite, tcase);
    return suite;
}
