#include <check.h>
#include <signal.h>

#include "machine/resolved.h"

Suite *suite_resolved(void);

#define NOW_US 1700000000000000LL

static struct resolved_book book;

static void setup(void)
{
    book = (struct resolved_book){0};
}

static void teardown(void)
{
    resolved_book_fini(&book);
    ck_assert_uint_eq(book.count, 0);
}

static void add(uint64_t lease_id, int64_t time_us)
{
    struct resolved resolved = {.lease_id = lease_id,
                                .time_us = time_us,
                                .delivery_count = (uint32_t)(lease_id % 100 + 1),
                                .how = (unsigned)(lease_id % 3),
                                .not_before_us = time_us + 5};
    resolved_book_add(&book, &resolved);
}

static bool has(uint64_t lease_id, int64_t now_us)
{
    const struct resolved *resolved = resolved_book_find(&book, lease_id, now_us);
    ck_assert(resolved == NULL || resolved->lease_id == lease_id);
    return resolved != NULL;
}

START_TEST(known_for_ten_minutes)
{
    ck_assert(!has(7, NOW_US));
    add(7, NOW_US);
    const struct resolved *resolved = resolved_book_find(&book, 7, NOW_US);
    ck_assert_ptr_nonnull(resolved);
    ck_assert(resolved->time_us == NOW_US && resolved->delivery_count == 8);
    ck_assert(resolved->how == RESOLVED_NACKED_DEAD && resolved->not_before_us == NOW_US + 5);
    ck_assert(!has(8, NOW_US));
    ck_assert(has(7, NOW_US + RESOLVED_KEPT_US));
    ck_assert(!has(7, NOW_US + RESOLVED_KEPT_US + 1));
    ck_assert_uint_eq(book.count, 1); /* it is dropped with the next one that comes */
    add(8, NOW_US + RESOLVED_KEPT_US);
    ck_assert_uint_eq(book.count, 2);
    add(9, NOW_US + RESOLVED_KEPT_US + 1);
    ck_assert_uint_eq(book.count, 2);
    ck_assert(!has(7, NOW_US) && has(8, NOW_US) && has(9, NOW_US));
    add(7, NOW_US + RESOLVED_KEPT_US + 1); /* may come again */
    ck_assert(has(7, NOW_US + RESOLVED_KEPT_US + 1));
}
END_TEST

START_TEST(no_more_than_so_many)
{
    for (uint64_t i = 0; i < RESOLVED_MAX + 10; i++)
        add(i * 0x9E3779B97F4A7C15ULL, NOW_US);
    ck_assert_uint_eq(book.count, RESOLVED_MAX);
    for (uint64_t i = 0; i < 20; i++)
        ck_assert_int_eq(has(i * 0x9E3779B97F4A7C15ULL, NOW_US), i >= 10); /* the oldest went */
    ck_assert(has((RESOLVED_MAX + 9) * 0x9E3779B97F4A7C15ULL, NOW_US));
    add(5, NOW_US + RESOLVED_KEPT_US + 1);
    ck_assert_uint_eq(book.count, 1);
}
END_TEST

START_TEST(all_may_be_too_old)
{
    add(1, NOW_US);
    add(2, NOW_US + 1);
    add(3, NOW_US + 10 * RESOLVED_KEPT_US);
    ck_assert_uint_eq(book.count, 1);
    ck_assert(book.oldest == book.newest && has(3, NOW_US + 10 * RESOLVED_KEPT_US));
}
END_TEST

/* Into a book of its own. True: nothing was wrong with it, and it saves to the same bytes. */
static bool loads(struct span bytes, int64_t now_us)
{
    struct resolved_book copy = {0};
    struct wire_reader r;
    struct buf again;
    wire_reader_init(&r, bytes);
    resolved_book_load(&copy, &r, now_us);
    buf_init(&again, SIZE_MAX);
    resolved_book_save(&copy, &again);
    bool same = wire_at_end(&r) && span_equal(buf_span(&again), bytes);
    ck_assert_int_eq(same, wire_at_end(&r));
    buf_fini(&again);
    resolved_book_fini(&copy);
    return same;
}

START_TEST(saves_and_loads)
{
    struct buf image;
    buf_init(&image, SIZE_MAX);
    resolved_book_save(&book, &image);
    ck_assert(loads(buf_span(&image), 0));
    for (uint64_t i = 0; i < 50; i++)
        add(1000 - i, NOW_US + (int64_t)i / 2); /* in the order of time, not of ids */
    buf_clear(&image);
    resolved_book_save(&book, &image);
    ck_assert(loads(buf_span(&image), NOW_US + 24));
    ck_assert(!loads(buf_span(&image), NOW_US + 23)); /* one comes from the future */
    for (size_t size = 0; size < image.size; size++)
        ck_assert(!loads(span_of(image.data, size), NOW_US + 24));
    buf_fini(&image);
}
END_TEST

static struct buf image_of_two(int64_t first_us, int64_t second_us, uint64_t second_id, uint8_t how,
                               uint32_t delivery_count)
{
    struct buf image;
    buf_init(&image, SIZE_MAX);
    wire_put_u32(&image, 2);
    for (int i = 0; i < 2; i++) {
        wire_put_u64(&image, i == 0 ? 1 : second_id);
        wire_put_i64(&image, i == 0 ? first_us : second_us);
        wire_put_u32(&image, delivery_count);
        wire_put_u8(&image, how);
        wire_put_i64(&image, 0);
    }
    return image;
}

START_TEST(refuses_what_cannot_be)
{
    const int64_t far_us = NOW_US + RESOLVED_KEPT_US;
    const struct {
        int64_t first_us, second_us;
        uint64_t second_id;
        uint8_t how;
        uint32_t delivery_count;
        bool good;
    } cases[] = {
        {NOW_US, NOW_US, 2, 2, 1, true},      {NOW_US, far_us, 2, 2, 1, true},
        {NOW_US, far_us + 1, 2, 2, 1, false}, /* too old beside the other */
        {NOW_US, NOW_US - 1, 2, 2, 1, false}, /* times do not fall */
        {-1, NOW_US, 2, 2, 1, false},         {NOW_US, NOW_US, 1, 2, 1, false}, /* twice */
        {NOW_US, NOW_US, 2, 3, 1, false},     {NOW_US, NOW_US, 2, 2, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf image = image_of_two(cases[i].first_us, cases[i].second_us, cases[i].second_id,
                                        cases[i].how, cases[i].delivery_count);
        ck_assert_msg(loads(buf_span(&image), far_us + 9) == cases[i].good, "case %zu", i);
        buf_fini(&image);
    }
}
END_TEST

START_TEST(time_does_not_fall)
{
    add(1, NOW_US);
    add(2, NOW_US - 1);
}
END_TEST

START_TEST(one_delivery_ends_once)
{
    add(1, NOW_US);
    add(1, NOW_US);
}
END_TEST

Suite *suite_resolved(void)
{
    Suite *suite = suite_create("resolved");
    TCase *tcase = tcase_create("resolved");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, known_for_ten_minutes);
    tcase_add_test(tcase, no_more_than_so_many);
    tcase_add_test(tcase, all_may_be_too_old);
    tcase_add_test(tcase, saves_and_loads);
    tcase_add_test(tcase, refuses_what_cannot_be);
    tcase_add_test_raise_signal(tcase, time_does_not_fall, SIGABRT);
    tcase_add_test_raise_signal(tcase, one_delivery_ends_once, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
