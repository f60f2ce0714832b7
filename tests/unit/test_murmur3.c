#include <check.h>

#include "std/murmur3.h"

Suite *suite_murmur3(void);

START_TEST(murmur3_contract_values)
{
    static const struct {
        const char *key;
        uint32_t hash;
        uint32_t of_3, of_6, of_12;
    } cases[] = {
        {"user-123", 0x9f709a47u, 1, 1, 7}, {"user-1", 0xf8a28763u, 2, 5, 11},
        {"user-2", 0xde9747cbu, 2, 5, 11},  {"order-123", 0xadae14bdu, 1, 1, 1},
        {"ключ", 0x9a592042u, 2, 2, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t hash = murmur3_32(span_text(cases[i].key));
        ck_assert_uint_eq(hash, cases[i].hash);
        ck_assert_uint_eq(hash % 3, cases[i].of_3);
        ck_assert_uint_eq(hash % 6, cases[i].of_6);
        ck_assert_uint_eq(hash % 12, cases[i].of_12);
    }
    ck_assert_uint_eq(murmur3_32(span_text("test")), 0xba6bd213u);
    ck_assert_uint_eq(murmur3_32(span_text("hello")), 0x248bfa47u);
}
END_TEST

START_TEST(murmur3_empty_and_zero_bytes)
{
    ck_assert_uint_eq(murmur3_32(span_of(NULL, 0)), 0);
    ck_assert_uint_eq(murmur3_32(span_of("\0\0\0\0", 4)), 0x2362f9deu);
}
END_TEST

Suite *suite_murmur3(void)
{
    Suite *suite = suite_create("murmur3");
    TCase *tcase = tcase_create("murmur3");
    tcase_add_test(tcase, murmur3_contract_values);
    tcase_add_test(tcase, murmur3_empty_and_zero_bytes);
    suite_add_tcase(suite, tcase);
    return suite;
}
