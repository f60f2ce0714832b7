/* How many delayed messages are due before a time: where a page of their list begins. */
#include <check.h>

#include "machine/due_index.h"

Suite *suite_due_rank(void);

START_TEST(rank_of_nothing)
{
    struct due_index d;
    due_index_init(&d);
    ck_assert_uint_eq(due_index_rank(&d, 0), 0);
    ck_assert_uint_eq(due_index_rank(&d, DUE_US_MAX), 0);
    (void)due_index_add(&d, &(struct due_entry){0, 5, PRIORITY_HIGH});
    (void)due_index_add(&d, &(struct due_entry){DUE_US_MAX, 5, PRIORITY_HIGH});
    ck_assert_uint_eq(due_index_rank(&d, 0), 0);
    ck_assert_uint_eq(due_index_rank(&d, 1), 1);
    ck_assert_uint_eq(due_index_rank(&d, DUE_US_MAX), 1);
    due_index_fini(&d);
}
END_TEST

/* Against a plain count: one block or many, with few times or many. */
START_TEST(rank_random)
{
    enum { MANY = 5000 };
    static int64_t times[MANY];
    uint64_t random = 7;
    static const uint64_t spreads[] = {3, 50, 100000, 1ULL << 50};
    for (size_t s = 0; s < 4; s++) {
        for (uint32_t count = 10; count <= MANY; count *= 500) {
            struct due_index d;
            due_index_init(&d);
            for (uint32_t i = 0; i < count; i++) {
                random = random * 6364136223846793005U + 1442695040888963407U;
                times[i] = (int64_t)((random >> 12) % spreads[s]);
                ck_assert(due_index_add(&d, &(struct due_entry){times[i], i, PRIORITY_NORMAL}));
            }
            for (uint32_t probe = 0; probe < 300; probe++) {
                int64_t at = times[probe % count] + (int64_t)(probe % 3) - 1;
                uint64_t expected = 0;
                for (uint32_t i = 0; i < count; i++)
                    expected += times[i] < at;
                if (at >= 0)
                    ck_assert_uint_eq(due_index_rank(&d, at), expected);
            }
            ck_assert_uint_eq(due_index_rank(&d, DUE_US_MAX), count);
            due_index_fini(&d);
        }
    }
}
END_TEST

Suite *suite_due_rank(void)
{
    Suite *suite = suite_create("due_rank");
    TCase *tcase = tcase_create("due_rank");
    tcase_add_test(tcase, rank_of_nothing);
    tcase_add_test(tcase, rank_random);
    suite_add_tcase(suite, tcase);
    return suite;
}
