#include <check.h>

#include "std/varint.h"

Suite *suite_varint(void);

static void round_trip(uint64_t value)
{
    uint8_t bytes[VARINT_SIZE_MAX + 1];
    size_t size = varint_put(bytes, value);
    ck_assert_uint_eq(size, varint_size(value));
    for (size_t cut = 0; cut < size; cut++) {
        struct span part = span_of(bytes, cut);
        uint64_t untouched = 42;
        ck_assert(!varint_get(&part, &untouched));
        ck_assert_uint_eq(untouched, 42);
        ck_assert_uint_eq(part.size, cut);
    }
    struct span in = span_of(bytes, size + 1);
    uint64_t back = 0;
    ck_assert(varint_get(&in, &back));
    ck_assert_uint_eq(back, value);
    ck_assert_uint_eq(in.size, 1);
    ck_assert_ptr_eq(in.data, bytes + size);
}

START_TEST(varint_round_trips)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        round_trip(1ull << bit);
        round_trip((1ull << bit) - 1);
        round_trip((1ull << bit) + 1);
    }
    round_trip(UINT64_MAX);
}
END_TEST

START_TEST(varint_refuses_other_encodings)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"\x80\x00", 2},                                      /* 0, not the shortest */
        {"\xff\x80\x00", 3},                                  /* 127 */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10},     /* 65 bits */
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11}, /* 71 bits */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11}, /* goes on after 64 bits */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span in = span_of(cases[i].bytes, cases[i].size);
        uint64_t value = 0;
        ck_assert(!varint_get(&in, &value));
        ck_assert_uint_eq(in.size, cases[i].size);
    }
}
END_TEST

START_TEST(zigzag_orders_by_magnitude)
{
    static const int64_t values[] = {0, -1, 1, -2, 2};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        ck_assert_uint_eq(zigzag_encode(values[i]), i);
    static const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, -1234567890123};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        ck_assert_int_eq(zigzag_decode(zigzag_encode(ends[i])), ends[i]);
    ck_assert_uint_eq(zigzag_encode(INT64_MIN), UINT64_MAX);
}
END_TEST

Suite *suite_varint(void)
{
    Suite *suite = suite_create("varint");
    TCase *tcase = tcase_create("varint");
    tcase_add_test(tcase, varint_round_trips);
    tcase_add_test(tcase, varint_refuses_other_encodings);
    tcase_add_test(tcase, zigzag_orders_by_magnitude);
    suite_add_tcase(suite, tcase);
    return suite;
}
