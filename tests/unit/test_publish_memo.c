/* publish_memo: what is kept of a publish request comes back as it was, and nothing else does. */
#include <check.h>
#include <stdlib.h>

#include "api/digest.h"
#include "api/publish_memo.h"
#include "command/record_batch.h"

static struct arena arena;
static struct buf memo;

static void setup(void)
{
    arena_init(&arena);
    buf_init(&memo, BATCH_SIZE_MAX);
}

static void teardown(void)
{
    arena_fini(&arena);
    buf_fini(&memo);
}

static void assert_same(const struct publish_outcome *a, const struct publish_outcome *b)
{
    ck_assert_int_eq(a->error == NULL, b->error == NULL);
    ck_assert_uint_eq(a->priority, b->priority);
    if (a->error != NULL) {
        ck_assert_str_eq(a->error, b->error);
        return;
    }
    ck_assert_uint_eq(a->entry, b->entry);
    ck_assert_uint_eq(a->index, b->index);
    ck_assert_int_eq(a->delay_us, b->delay_us);
    ck_assert_int_eq(a->deliver_at_us, b->deliver_at_us);
}

static void assert_comes_back(const struct publish_plan *plan, uint32_t entry_count)
{
    struct publish_plan back;
    buf_clear(&memo);
    publish_memo_encode(plan, &memo);
    ck_assert(!memo.overflowed);
    ck_assert_int_eq(publish_memo_decode(buf_span(&memo), entry_count, &arena, &back), ST_OK);
    ck_assert_uint_eq(back.count, plan->count);
    ck_assert_uint_eq(back.stored_count, plan->stored_count);
    for (uint32_t i = 0; i < plan->count; i++)
        assert_same(&plan->outcomes[i], &back.outcomes[i]);
}

START_TEST(test_each_kind)
{
    struct publish_outcome outcomes[] = {
        {.entry = 0, .index = 0, .priority = PRIORITY_NORMAL},
        {.entry = 2, .index = 0, .priority = PRIORITY_CRITICAL, .delay_us = 1},
        {.error = "value is required", .priority = PRIORITY_LOW},
        {.entry = 2, .index = 1, .priority = PRIORITY_BACKGROUND, .deliver_at_us = DUE_US_MAX},
        {.entry = 0, .index = 1, .priority = PRIORITY_NORMAL},
        {.error = "", .priority = PRIORITY_NORMAL},
        {.entry = 1, .index = 0, .priority = PRIORITY_HIGH, .delay_us = INT64_C(1) << 55},
    };
    const struct publish_plan plan = {.outcomes = outcomes, .count = 7, .stored_count = 5};
    assert_comes_back(&plan, 3);
    ck_assert_uint_eq(memo.data[0], 1); /* journals have it: see the header */
}
END_TEST

/* As the builder makes them: entries in any order, indexes by it. */
static void make_any(struct publish_plan *plan, uint32_t entry_count)
{
    static const char *const errors[] = {"a", "partition 9 is not in 0..2", "delay \xc3\xbc"};
    uint32_t sizes[64] = {0};
    plan->count = 1 + (uint32_t)rand() % 200;
    plan->outcomes = arena_array(&arena, plan->count, sizeof *plan->outcomes);
    plan->stored_count = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        struct publish_outcome *outcome = &plan->outcomes[i];
        outcome->priority = (uint8_t)(rand() % PRIORITY_COUNT);
        if (rand() % 5 == 0) {
            outcome->error = errors[rand() % 3];
            continue;
        }
        outcome->entry = (uint32_t)rand() % entry_count;
        outcome->index = sizes[outcome->entry]++;
        outcome->delay_us = rand() % 3 == 0 ? rand() : 0;
        outcome->deliver_at_us = rand() % 3 == 0 ? rand() : 0;
        plan->stored_count++;
    }
}

START_TEST(test_any)
{
    srand((unsigned)_i);
    const uint32_t entry_count = 1 + (uint32_t)rand() % 64;
    struct publish_plan plan = {0};
    make_any(&plan, entry_count);
    assert_comes_back(&plan, entry_count);
    struct publish_plan back;
    for (size_t size = 0; size < memo.size; size++) /* no shorter one is whole */
        ck_assert_int_eq(publish_memo_decode(span_of(memo.data, size), entry_count, &arena, &back),
                         ST_CORRUPT);
    buf_put_byte(&memo, 0); /* nor a longer one */
    ck_assert_int_eq(publish_memo_decode(buf_span(&memo), entry_count, &arena, &back), ST_CORRUPT);
}
END_TEST

START_TEST(test_any_bytes)
{
    srand((unsigned)_i);
    struct publish_plan plan = {0}, back;
    make_any(&plan, 3);
    publish_memo_encode(&plan, &memo);
    for (int turn = 0; turn < 2000; turn++) {
        memo.data[(size_t)rand() % memo.size] = (uint8_t)rand();
        const uint32_t entry_count = (uint32_t)rand() % 4;
        if (publish_memo_decode(buf_span(&memo), entry_count, &arena, &back) != ST_OK)
            continue;
        for (uint32_t i = 0; i < back.count; i++)
            ck_assert(back.outcomes[i].error != NULL || back.outcomes[i].entry < entry_count);
    }
}
END_TEST

static const struct {
    const char *bytes;
    size_t size;
} corrupt[] = {
    {"", 0},
    {"\x00\x00", 2},                     /* no such version */
    {"\x01", 1},                         /* no count */
    {"\x01\x91\x4e", 3},                 /* 10,001 messages */
    {"\x01\x01\x02", 3},                 /* of an entry that is not there */
    {"\x01\x01\x05", 3},                 /* no such priority */
    {"\x01\x01\x82", 3},                 /* an unknown bit */
    {"\x01\x01\x0a\xff\xff\xff\x0f", 7}, /* an error that is longer than the memo */
    {"\x01\x01\x12\x01", 4},             /* beyond the entries, of which there are 0 */
};

START_TEST(test_corrupt)
{
    struct publish_plan back;
    const struct span bytes = span_of(corrupt[_i].bytes, corrupt[_i].size);
    ck_assert_int_eq(publish_memo_decode(bytes, 0, &arena, &back), ST_CORRUPT);
}
END_TEST

START_TEST(test_digests)
{
    uint8_t a[CONTENT_SIZE], b[CONTENT_SIZE];
    const struct span pairs[][2] = {
        {span_text("a"), span_text("bc")}, {span_text("ab"), span_text("c")},
        {span_text("abc"), span_text("")}, {span_text(""), span_text("abc")},
        {span_text("bc"), span_text("a")}, {span_of("a\0", 2), span_text("bc")},
    };
    const size_t count = sizeof pairs / sizeof pairs[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            digest_parts(pairs[i], 2, a);
            digest_parts(pairs[k], 2, b);
            ck_assert_int_eq(memcmp(a, b, sizeof a) == 0, i == k);
        }
    }
    digest_parts(pairs[0], 1, a);
    digest_parts(pairs[0], 2, b);
    ck_assert_int_ne(memcmp(a, b, sizeof a), 0);
    /* It is kept in journals: it must never change. */
    static const uint8_t known[4] = {0xf3, 0xcb, 0x21, 0x5f};
    digest_parts(pairs[0], 2, a);
    ck_assert_mem_eq(a, known, sizeof known);
}
END_TEST

Suite *suite_publish_memo(void);

Suite *suite_publish_memo(void)
{
    Suite *suite = suite_create("publish_memo");
    TCase *tc = tcase_create("publish_memo");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_each_kind);
    tcase_add_loop_test(tc, test_any, 0, 20);
    tcase_add_loop_test(tc, test_any_bytes, 0, 10);
    tcase_add_loop_test(tc, test_corrupt, 0, sizeof corrupt / sizeof corrupt[0]);
    tcase_add_test(tc, test_digests);
    suite_add_tcase(suite, tc);
    return suite;
}
