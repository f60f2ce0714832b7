#include <check.h>
#include <string.h>

#include "machine/offset_set.h"

Suite *suite_offset_set(void);

enum { CHUNKS = 1000 };
#define FOUR_G (1ULL << 32)

START_TEST(offset_set_gaps)
{
    struct offset_set s;
    offset_set_init(&s);
    ck_assert_uint_eq(offset_set_next_gap(&s, 7), 7);
    ck_assert(offset_set_add(&s, 8));
    ck_assert(offset_set_add(&s, 10));
    ck_assert(offset_set_add(&s, 9));
    ck_assert(!offset_set_add(&s, 9));
    ck_assert_uint_eq(offset_set_next_gap(&s, 7), 7);
    ck_assert_uint_eq(offset_set_next_gap(&s, 8), 11);
    ck_assert_uint_eq(offset_set_next_gap(&s, 10), 11);
    uint64_t at = 0;
    ck_assert(offset_set_next(&s, 0, &at) && at == 8);
    ck_assert(offset_set_next(&s, 9, &at) && at == 9);
    ck_assert(!offset_set_next(&s, 11, &at));
    ck_assert_uint_eq(offset_set_count(&s), 3);
    offset_set_remove_below(&s, 10);
    ck_assert(!offset_set_has(&s, 9));
    ck_assert(offset_set_has(&s, 10));
    offset_set_remove_below(&s, 11);
    ck_assert_uint_eq(s.block_count, 0); /* nothing is kept for an empty set */
    ck_assert_ptr_null(s.blocks);
    offset_set_fini(&s);
}
END_TEST

START_TEST(offset_set_long_runs)
{
    struct offset_set s;
    offset_set_init(&s);
    for (uint64_t i = 3; i < 300000; i++)
        (void)offset_set_add(&s, i);
    for (uint64_t from = 3; from < 300000; from += 9973)
        ck_assert_uint_eq(offset_set_next_gap(&s, from), 300000);
    offset_set_remove_below(&s, 299999);
    ck_assert_uint_eq(offset_set_count(&s), 1);
    offset_set_fini(&s);
}
END_TEST

/* Against an array of booleans, in pieces around the ends of containers and blocks. */
START_TEST(offset_set_random)
{
    enum { WIDTH = 300000, ROUNDS = 8 };
    static bool has[WIDTH + 1];
    static const uint64_t bases[] = {0, 65530, FOUR_G - 150000, 7 * FOUR_G - 70000};
    uint64_t random = 20261123;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t base = bases[round % 4];
        struct offset_set s;
        offset_set_init(&s);
        memset(has, 0, sizeof has);
        bool ok = true;
        for (int run = 0; run < 40; run++) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            uint64_t at = (random >> 33) % WIDTH, size = (random >> 20) % (run % 2 ? 90000 : 9);
            for (uint64_t i = at; i < at + size && i < WIDTH; i++) {
                ok &= offset_set_add(&s, base + i) == !has[i];
                has[i] = true;
            }
        }
        uint64_t cut = (random >> 33) % (WIDTH / 2);
        offset_set_remove_below(&s, base + cut);
        memset(has, 0, cut * sizeof *has);
        uint64_t gap = WIDTH, next = UINT64_MAX, got = 0;
        for (uint64_t i = WIDTH; i-- > 0;) {
            gap = has[i] ? gap : i;
            next = has[i] ? i : next;
            if (i % 97 != 0 && has[i] == has[i + 1])
                continue;
            ok &= offset_set_next_gap(&s, base + i) == base + gap;
            bool found = offset_set_next(&s, base + i, &got);
            ok &= found == (next != UINT64_MAX) && (!found || got == base + next);
            ok &= offset_set_has(&s, base + i) == has[i];
        }
        ck_assert_msg(ok, "round %d", round);
        offset_set_fini(&s);
    }
}
END_TEST

START_TEST(offset_set_crosses_blocks)
{
    struct offset_set s;
    offset_set_init(&s);
    for (uint64_t i = FOUR_G - 5; i < FOUR_G + 5; i++)
        ck_assert(offset_set_add(&s, i));
    ck_assert(offset_set_add(&s, 3 * FOUR_G));
    ck_assert_uint_eq(s.block_count, 3);
    ck_assert_uint_eq(offset_set_next_gap(&s, FOUR_G - 3), FOUR_G + 5);
    uint64_t at = 0;
    ck_assert(offset_set_next(&s, FOUR_G + 5, &at) && at == 3 * FOUR_G);
    offset_set_remove_below(&s, FOUR_G);
    ck_assert_uint_eq(s.block_count, 2);
    ck_assert(!offset_set_has(&s, FOUR_G - 1) && offset_set_has(&s, FOUR_G));
    offset_set_remove_below(&s, 2 * FOUR_G);
    ck_assert_uint_eq(offset_set_count(&s), 1);
    offset_set_fini(&s);
}
END_TEST

static bool load(const struct buf *bytes, uint64_t end, uint64_t budget, struct offset_set *out)
{
    struct wire_reader r;
    wire_reader_init(&r, buf_span(bytes));
    offset_set_init(out);
    offset_set_load(out, &r, end, &budget);
    return wire_at_end(&r);
}

START_TEST(offset_set_saves_runs)
{
    struct offset_set s, back;
    offset_set_init(&s);
    for (uint64_t i = FOUR_G - 70000; i < FOUR_G + 70000; i++)
        (void)offset_set_add(&s, i);
    for (uint64_t i = 2; i < 60000; i += 3)
        (void)offset_set_add(&s, i);
    struct buf bytes, again;
    buf_init(&bytes, SIZE_MAX);
    buf_init(&again, SIZE_MAX);
    offset_set_save(&s, &bytes);
    ck_assert(load(&bytes, 2 * FOUR_G, CHUNKS, &back));
    ck_assert_uint_eq(offset_set_count(&back), offset_set_count(&s));
    offset_set_save(&back, &again);
    ck_assert(span_equal(buf_span(&bytes), buf_span(&again)));
    offset_set_fini(&back);
    ck_assert(!load(&bytes, FOUR_G + 69999, CHUNKS, &back)); /* beyond the end */
    offset_set_fini(&back);
    ck_assert(load(&bytes, FOUR_G + 70000, 5, &back)); /* all it touches */
    offset_set_fini(&back);
    ck_assert(!load(&bytes, FOUR_G + 70000, 4, &back));
    offset_set_fini(&back);
    bytes.size--;
    ck_assert(!load(&bytes, 2 * FOUR_G, CHUNKS, &back)); /* cut */
    offset_set_fini(&back);
    offset_set_fini(&s);
    buf_fini(&bytes);
    buf_fini(&again);
}
END_TEST

START_TEST(offset_set_refuses_nonsense)
{
    static const struct {
        uint64_t numbers[5];
        size_t count;
    } cases[] = {
        {{2, 5, 0, 0, 0}, 5},                /* two runs that touch */
        {{1, 100, 0}, 3},                    /* at the end */
        {{1, 0, 100}, 3},                    /* one longer than the end */
        {{1, UINT64_MAX, 1}, 3},             /* would wrap */
        {{1, 1, UINT64_MAX}, 3},             /* would wrap */
        {{UINT64_MAX, 1, 1}, 3},             /* a count beyond the bytes */
        {{2, 98, 0, UINT64_MAX - 98, 0}, 5}, /* would wrap on the way */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf bytes;
        buf_init(&bytes, SIZE_MAX);
        for (size_t k = 0; k < cases[i].count; k++)
            wire_put_varint(&bytes, cases[i].numbers[k]);
        struct offset_set s;
        ck_assert_msg(!load(&bytes, 100, CHUNKS, &s), "case %zu", i);
        offset_set_fini(&s);
        buf_fini(&bytes);
    }
}
END_TEST

START_TEST(offset_set_removes)
{
    struct offset_set s;
    offset_set_init(&s);
    ck_assert(!offset_set_remove(&s, 7));
    offset_set_add_run(&s, FOUR_G - 2, FOUR_G + 2);
    ck_assert_uint_eq(offset_set_count(&s), 4);
    offset_set_add_run(&s, 9, 9); /* nothing */
    ck_assert_uint_eq(offset_set_count(&s), 4);
    ck_assert(!offset_set_remove(&s, FOUR_G + 2));
    ck_assert(!offset_set_remove(&s, 5 * FOUR_G));
    ck_assert(offset_set_remove(&s, FOUR_G - 1));
    ck_assert(!offset_set_remove(&s, FOUR_G - 1));
    ck_assert_uint_eq(s.block_count, 2);
    ck_assert(offset_set_remove(&s, FOUR_G - 2));
    ck_assert_uint_eq(s.block_count, 1); /* nothing is kept for an empty block */
    ck_assert(offset_set_has(&s, FOUR_G) && offset_set_has(&s, FOUR_G + 1));
    ck_assert(offset_set_remove(&s, FOUR_G) && offset_set_remove(&s, FOUR_G + 1));
    ck_assert(offset_set_is_empty(&s));
    ck_assert_ptr_null(s.blocks);
}
END_TEST

START_TEST(offset_set_copies)
{
    struct offset_set s, copy;
    offset_set_init(&s);
    offset_set_init(&copy);
    offset_set_copy(&copy, &s);
    ck_assert(offset_set_is_empty(&copy));
    offset_set_add_run(&s, FOUR_G - 70000, FOUR_G + 70000);
    (void)offset_set_add(&s, 5);
    offset_set_copy(&copy, &s);
    ck_assert_uint_eq(offset_set_count(&copy), 140001);
    (void)offset_set_remove(&s, 5); /* they go their own ways */
    (void)offset_set_add(&s, 6);
    ck_assert(offset_set_has(&copy, 5) && !offset_set_has(&copy, 6));
    offset_set_fini(&s);
    ck_assert(offset_set_has(&copy, FOUR_G + 69999));
    offset_set_fini(&copy);
}
END_TEST

/* Two sets against arrays of booleans, in pieces around the ends of containers and blocks. */
START_TEST(offset_set_compares)
{
    enum { WIDTH = 200000, ROUNDS = 8 };
    static bool has[2][WIDTH];
    static const uint64_t bases[] = {0, 65530, FOUR_G - 100000, 7 * FOUR_G - 70000};
    uint64_t random = 20261124;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t base = bases[round % 4];
        struct offset_set s[2];
        memset(has, 0, sizeof has);
        for (int k = 0; k < 2; k++)
            offset_set_init(&s[k]);
        for (int run = 0; run < 60; run++) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            uint64_t at = (random >> 33) % WIDTH, size = (random >> 20) % (run % 2 ? 20000 : 9);
            uint64_t end = at + size < WIDTH ? at + size : WIDTH;
            int k = run / 2 % 2;
            if (run % 5 == 4) {
                for (uint64_t i = at; i < end; i++)
                    ck_assert(offset_set_remove(&s[k], base + i) == has[k][i]);
            } else {
                offset_set_add_run(&s[k], base + at, base + end);
            }
            memset(&has[k][at], run % 5 != 4, (end - at) * sizeof has[k][0]);
        }
        uint64_t common = 0, between = 0, start = (random >> 33) % (WIDTH / 2);
        uint64_t end = start + (random >> 20) % (WIDTH / 2);
        for (uint64_t i = 0; i < WIDTH; i++) {
            common += has[0][i] && has[1][i];
            between += i >= start && i < end && has[0][i];
        }
        ck_assert_uint_eq(offset_set_count_common(&s[0], &s[1]), common);
        ck_assert_int_eq(offset_set_meets(&s[0], &s[1]), common > 0);
        ck_assert_uint_eq(offset_set_count_between(&s[0], base + start, base + end), between);
        ck_assert_uint_eq(offset_set_count_between(&s[0], 0, UINT64_MAX), offset_set_count(&s[0]));
        ck_assert_uint_eq(offset_set_count_between(&s[0], base + end, base + end), 0);
        for (uint64_t i = 0; i < WIDTH; i++) /* without what they have in common */
            if (has[0][i])
                (void)offset_set_remove(&s[1], base + i);
        ck_assert(!offset_set_meets(&s[0], &s[1]) && !offset_set_meets(&s[1], &s[0]));
        ck_assert_uint_eq(offset_set_count_common(&s[1], &s[0]), 0);
        for (int k = 0; k < 2; k++)
            offset_set_fini(&s[k]);
    }
}
END_TEST

START_TEST(offset_set_counts_over_blocks)
{
    struct offset_set s;
    offset_set_init(&s);
    ck_assert_uint_eq(offset_set_count_between(&s, 0, UINT64_MAX), 0);
    offset_set_add_run(&s, FOUR_G - 3, FOUR_G + 3);
    (void)offset_set_add(&s, 4 * FOUR_G);
    ck_assert_uint_eq(offset_set_count_between(&s, FOUR_G - 1, FOUR_G + 1), 2);
    ck_assert_uint_eq(offset_set_count_between(&s, FOUR_G, 4 * FOUR_G), 3);
    ck_assert_uint_eq(offset_set_count_between(&s, FOUR_G, 4 * FOUR_G + 1), 4);
    ck_assert_uint_eq(offset_set_count_between(&s, 0, FOUR_G), 3);
    ck_assert_uint_eq(offset_set_count_between(&s, 2 * FOUR_G, 3 * FOUR_G), 0);
    offset_set_fini(&s);
}
END_TEST

Suite *suite_offset_set(void)
{
    Suite *suite = suite_create("offset_set");
    TCase *tcase = tcase_create("offset_set");
    tcase_set_timeout(tcase, 60); /* under sanitizers, on a busy machine */
    tcase_add_test(tcase, offset_set_gaps);
    tcase_add_test(tcase, offset_set_long_runs);
    tcase_add_test(tcase, offset_set_random);
    tcase_add_test(tcase, offset_set_crosses_blocks);
    tcase_add_test(tcase, offset_set_saves_runs);
    tcase_add_test(tcase, offset_set_refuses_nonsense);
    tcase_add_test(tcase, offset_set_removes);
    tcase_add_test(tcase, offset_set_copies);
    tcase_add_test(tcase, offset_set_compares);
    tcase_add_test(tcase, offset_set_counts_over_blocks);
    suite_add_tcase(suite, tcase);
    return suite;
}
