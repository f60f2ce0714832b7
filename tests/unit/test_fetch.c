#include <check.h>
#include <string.h>

#include "node/fetch.h"
#include "tests/unit/log_fixture.h"
#include "tests/unit/temp_dir.h"

Suite *suite_fetch(void);

static struct partition_log *messages;
static struct log_range range;
static struct fetch fetch;

static void begin(uint64_t from)
{
    partition_log_find(messages, from, &range);
    fetch_init(&fetch, &range, from);
}

static void finish(void)
{
    fetch_fini(&fetch);
    log_range_release(&range);
}

static void expect(uint64_t offset)
{
    struct fetched message;
    struct journal_problem problem = {0};
    bool end = false;
    ck_assert_int_eq(fetch_next(&fetch, &message, &end, &problem), ST_OK);
    ck_assert(!end);
    ck_assert_uint_eq(message.offset, offset);
}

static void expect_end(void)
{
    struct fetched message;
    struct journal_problem problem = {0};
    bool end = false;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fetch_next(&fetch, &message, &end, &problem), ST_OK);
        ck_assert(end);
    }
}

START_TEST(fetch_seeks_within_and_over_batches)
{
    for (int i = 0; i < 20; i++)
        log_append(messages, 10, 50);
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    begin(3);
    expect(3);
    fetch_seek(&fetch, 7); /* same batch */
    expect(7);
    fetch_seek(&fetch, 5); /* back: nothing */
    expect(8);
    fetch_seek(&fetch, 10); /* the next batch's first */
    expect(10);
    fetch_seek(&fetch, 55);
    fetch_seek(&fetch, 128);
    expect(128);
    expect(129);
    expect(130);
    fetch_seek(&fetch, 199);
    expect(199);
    expect_end();
    finish();
    begin(0);
    fetch_seek(&fetch, 500);
    expect_end();
    finish();
}
END_TEST

START_TEST(fetch_reads_batches_larger_than_its_steps)
{
    log_append(messages, 1, 10);
    log_append(messages, 20, 200000); /* 4 MB in one batch */
    log_append(messages, 1, 10);
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    begin(0);
    for (uint64_t offset = 0; offset < 21; offset++)
        expect(offset);
    expect_end();
    finish();
    begin(21); /* in a segment of its own */
    expect(21);
    expect_end();
    finish();
}
END_TEST

/* Whatever bit of the file flips, no message comes out different: it is that batch that fails. */
START_TEST(fetch_never_shows_a_flipped_bit)
{
    for (int i = 0; i < 4; i++)
        log_append(messages, 2, 5);
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    const char *path = temp_path("7/3/00000000000000000000.log");
    uint64_t size = file_size(path), batch_size = size / 4;
    for (uint64_t at = 0; at < size; at++) {
        uint8_t byte;
        file_read(path, at, &byte, 1);
        for (int bit = 0; bit < 8; bit++) {
            uint8_t flipped = (uint8_t)(byte ^ 1 << bit);
            file_write(path, at, &flipped, 1);
            begin(0);
            for (uint64_t offset = 0; offset < at / batch_size * 2; offset++)
                expect(offset);
            struct fetched message;
            struct journal_problem problem = {0};
            bool end = false;
            ck_assert_int_eq(fetch_next(&fetch, &message, &end, &problem), ST_CORRUPT);
            ck_assert_str_eq(problem.path, path);
            ck_assert_uint_eq(problem.position, at / batch_size * batch_size);
            finish();
        }
        file_write(path, at, &byte, 1);
    }
}
END_TEST

START_TEST(fetch_nothing_from_no_segment)
{
    begin(0);
    ck_assert_ptr_null(range.segment);
    expect_end();
    finish();
}
END_TEST

static void set_up(void)
{
    temp_dir_make();
    messages = log_open(0);
}

static void tear_down(void)
{
    partition_log_close(messages);
    temp_dir_remove();
}

Suite *suite_fetch(void)
{
    Suite *suite = suite_create("fetch");
    TCase *tcase = tcase_create("fetch");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, fetch_seeks_within_and_over_batches);
    tcase_add_test(tcase, fetch_reads_batches_larger_than_its_steps);
    tcase_add_test(tcase, fetch_never_shows_a_flipped_bit);
    tcase_add_test(tcase, fetch_nothing_from_no_segment);
    suite_add_tcase(suite, tcase);
    return suite;
}
