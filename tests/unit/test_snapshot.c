#include <check.h>
#include <string.h>

#include "journal/snapshot.h"
#include "tests/unit/temp_dir.h"

Suite *suite_snapshot(void);

static void write_text(uint64_t index, const char *text)
{
    ck_assert_int_eq(snapshot_write(temp_dir(), index, span_text(text)), ST_OK);
}

static enum status read_newest(uint64_t *out_index, struct buf *out)
{
    struct journal_problem problem = {0};
    return snapshot_read_newest(temp_dir(), out_index, out, &problem);
}

static void expect_newest(uint64_t index, const char *text)
{
    struct buf buf;
    uint64_t found = 0;
    ck_assert_int_eq(read_newest(&found, &buf), ST_OK);
    ck_assert_uint_eq(found, index);
    ck_assert(span_equal(buf_span(&buf), span_text(text)));
    buf_fini(&buf);
}

START_TEST(snapshot_newest_is_read)
{
    struct buf buf;
    uint64_t index = 9;
    ck_assert_int_eq(read_newest(&index, &buf), ST_OK);
    ck_assert_uint_eq(index, 0);
    buf_fini(&buf);
    write_text(5, "five");
    expect_newest(5, "five");
    write_text(12, "twelve");
    expect_newest(12, "twelve");
    write_text(12, ""); /* again, and empty */
    expect_newest(12, "");
    file_write(temp_path("snapshot.tmp"), 0, "half", 4); /* left by a crash */
    file_write(temp_path("99.snapshot"), 0, "other", 5);
    expect_newest(12, "");
}
END_TEST

START_TEST(snapshot_prune_keeps_the_newest)
{
    for (uint64_t i = 1; i <= 5; i++)
        write_text(i, "x");
    ck_assert_int_eq(snapshot_prune(temp_dir(), 2), ST_OK);
    ck_assert_int_eq(temp_count(temp_dir(), ".snapshot"), 2);
    expect_newest(5, "x");
    ck_assert_int_eq(snapshot_prune(temp_dir(), 1), ST_OK);
    ck_assert_int_eq(temp_count(temp_dir(), ".snapshot"), 1);
    expect_newest(5, "x");
}
END_TEST

START_TEST(snapshot_damage_is_found)
{
    write_text(1, "old");
    write_text(3, "the newest one");
    const char *path = temp_path("00000000000000000003.snapshot");
    uint64_t size = file_size(path);
    for (uint64_t at = 0; at < size; at++) {
        uint8_t byte;
        file_read(path, at, &byte, 1);
        for (int bit = 0; bit < 8; bit++) {
            uint8_t flipped = (uint8_t)(byte ^ 1 << bit);
            file_write(path, at, &flipped, 1);
            struct buf buf;
            uint64_t index = 0;
            struct journal_problem problem = {0};
            ck_assert_int_eq(snapshot_read_newest(temp_dir(), &index, &buf, &problem), ST_CORRUPT);
            ck_assert_str_eq(problem.path, path);
            ck_assert_ptr_nonnull(problem.what);
            buf_fini(&buf);
        }
        file_write(path, at, &byte, 1);
    }
    expect_newest(3, "the newest one");
    file_write(path, size, "", 1); /* one byte too many */
    struct buf buf;
    uint64_t index = 0;
    ck_assert_int_eq(read_newest(&index, &buf), ST_CORRUPT);
    buf_fini(&buf);
}
END_TEST

Suite *suite_snapshot(void)
{
    Suite *suite = suite_create("snapshot");
    TCase *tcase = tcase_create("snapshot");
    tcase_add_checked_fixture(tcase, temp_dir_make, temp_dir_remove);
    tcase_add_test(tcase, snapshot_newest_is_read);
    tcase_add_test(tcase, snapshot_prune_keeps_the_newest);
    tcase_add_test(tcase, snapshot_damage_is_found);
    suite_add_tcase(suite, tcase);
    return suite;
}
