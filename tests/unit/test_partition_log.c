#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "node/fetch.h"
#include "tests/unit/log_fixture.h"
#include "tests/unit/temp_dir.h"

Suite *suite_partition_log(void);

enum { MANY = 3000 };

START_TEST(log_round_trips)
{
    struct partition_log *log = log_open(0);
    struct log_range range;
    partition_log_find(log, 0, &range);
    ck_assert_ptr_null(range.segment);
    ck_assert_int_eq(temp_count(temp_dir(), ""), 0); /* nothing on the disk for nothing */
    log_fill(log, MANY, NULL);
    log_check(log, 0);
    log_check(log, MANY / 2);
    ck_assert_int_gt(temp_count(log_dir(), ".log"), 5);
    uint64_t size = partition_log_size_bytes(log);
    partition_log_close(log);

    log = log_open(MANY);
    ck_assert_uint_eq(partition_log_size_bytes(log), size);
    log_check(log, 0);
    log_fill(log, MANY + 100, NULL);
    log_check(log, MANY - 100);
    partition_log_close(log);
    ck_assert_int_eq(partition_log_remove_dir(log_dir()), ST_OK);
    ck_assert_int_eq(temp_count(temp_path("7"), ""), 0);
    ck_assert_int_eq(partition_log_remove_dir(log_dir()), ST_OK);
}
END_TEST

START_TEST(log_mixes_small_and_large_batches)
{
    struct partition_log *log = log_open(0);
    static const size_t sizes[] = {10, 20000, 5, 5, 100000, 7, 16000, 200000, 1};
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            log_append(log, 1 + round, sizes[i] / (size_t)(1 + round));
    }
    for (int i = 0; i < 400; i++) /* more than is gathered at once, and a segment full */
        log_append(log, 1, 1000);
    ck_assert_int_eq(partition_log_flush(log), ST_OK);
    log_check(log, 0);
    uint64_t next = partition_log_next_offset(log);
    partition_log_close(log);
    log = log_open(next);
    log_check(log, 0);
    partition_log_close(log);
}
END_TEST

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* A log at rest has no descriptor; readers, syncs and appends find it all the same. */
START_TEST(log_rests_and_wakes)
{
    const unsigned before = open_descriptors();
    struct partition_log *log = log_open(0);
    bool resting = false;
    ck_assert_int_eq(partition_log_rest(log, &resting), ST_OK);
    ck_assert(resting); /* there is no file yet */
    for (uint64_t next = 100; next <= 500; next += 100) {
        log_fill(log, next, NULL);
        ck_assert_uint_eq(open_descriptors(), before + 1);
        struct log_dirty dirty = {0};
        if (next % 200 == 0) /* a checkpoint has begun */
            partition_log_take_dirty(log, &dirty);
        ck_assert_int_eq(partition_log_rest(log, &resting), ST_OK);
        ck_assert(resting);
        ck_assert_uint_eq(open_descriptors(), before);
        log_check(log, 0);
        ck_assert_int_eq(log_sync(&dirty), ST_OK);
        ck_assert_uint_eq(open_descriptors(), before);
    }
    struct log_range range;
    log_fill(log, 600, NULL);
    partition_log_find(log, 550, &range);
    ck_assert_int_eq(partition_log_rest(log, &resting), ST_OK);
    ck_assert(!resting); /* it is read */
    log_range_release(&range);
    partition_log_close(log);
    log = log_open(600);
    log_check(log, 0);
    partition_log_close(log);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(log_finds_every_offset)
{
    struct partition_log *log = log_open(0);
    log_fill(log, MANY, NULL);
    for (uint64_t offset = 0; offset < MANY; offset++) {
        struct log_range range;
        struct fetch fetch;
        struct fetched message;
        struct journal_problem problem;
        bool end = false;
        partition_log_find(log, offset, &range);
        ck_assert_uint_le(range.offset, offset);
        fetch_init(&fetch, &range, offset);
        ck_assert_int_eq(fetch_next(&fetch, &message, &end, &problem), ST_OK);
        ck_assert(!end);
        ck_assert_uint_eq(message.offset, offset);
        ck_assert_uint_lt(fetch.position - range.position, 80000);
        fetch_fini(&fetch);
        log_range_release(&range);
    }
    partition_log_close(log);
}
END_TEST

static uint64_t find_time(const struct partition_log *log, int64_t time_us)
{
    struct log_range range;
    uint64_t offset = 0;
    partition_log_seek_time(log, time_us, &range, &offset);
    ck_assert_int_eq(log_range_find_time(&range, time_us, &offset), ST_OK);
    log_range_release(&range);
    return offset;
}

START_TEST(log_finds_every_time)
{
    static uint64_t starts[MANY + 1];
    struct partition_log *log = log_open(0);
    ck_assert_uint_eq(find_time(log, 5), 0);
    log_fill(log, MANY, starts);
    for (int reopened = 0; reopened < 2; reopened++) {
        for (size_t i = 0; starts[i] < MANY; i++) {
            int64_t time_us = (int64_t)(starts[i] + 1) * LOG_TIME_STEP_US;
            ck_assert_uint_eq(find_time(log, time_us), starts[i]);
            ck_assert_uint_eq(find_time(log, time_us + 1), starts[i + 1]);
        }
        ck_assert_uint_eq(find_time(log, INT64_MIN), 0);
        partition_log_close(log);
        log = log_open(MANY);
    }
    partition_log_close(log);
}
END_TEST

/* Cut to each batch boundary, filled again, read again: as a crash and a replay do. */
START_TEST(log_is_cut_and_filled_again)
{
    static uint64_t starts[MANY + 1];
    struct partition_log *log = log_open(0);
    log_fill(log, MANY, starts);
    partition_log_close(log);
    size_t count = 0;
    while (starts[count] < MANY)
        count++;
    for (size_t i = count; i > 0; i -= i < 37 ? i : 37) {
        log = log_open(starts[i]);
        log_check(log, 0);
        partition_log_close(log);
    }
    log = log_open(starts[1]);
    log_fill(log, MANY, NULL);
    log_check(log, 0);
    partition_log_close(log);
}
END_TEST

static void expect_corrupt(uint64_t start_offset, uint64_t next_offset)
{
    struct partition_log *log = NULL;
    struct journal_problem problem = {0};
    ck_assert_int_eq(log_try_open(start_offset, next_offset, &log, &problem), ST_CORRUPT);
    ck_assert_ptr_null(log);
    ck_assert_ptr_nonnull(problem.what);
    ck_assert(strlen(problem.path) > 0);
}

START_TEST(log_that_lacks_messages_is_refused)
{
    expect_corrupt(0, 5); /* no file at all */
    struct partition_log *log = log_open(0);
    log_append(log, 3, 10);
    log_append(log, 3, 10);
    partition_log_close(log); /* writes what was gathered */
    expect_corrupt(0, 7);     /* ends before */
    expect_corrupt(0, 4);     /* in the middle of a batch */
    log = log_open(6);
    log_fill(log, MANY, NULL);
    partition_log_close(log);
    ck_assert_int_eq(remove(temp_path("7/3/00000000000000000000.log")), 0);
    expect_corrupt(0, MANY);
}
END_TEST

START_TEST(log_starts_anywhere)
{
    struct partition_log *log = NULL;
    struct journal_problem problem = {0};
    ck_assert_int_eq(log_try_open(100, 100, &log, &problem), ST_OK);
    log_fill(log, 200, NULL);
    log_check(log, 100);
    struct log_range range;
    partition_log_find(log, 3, &range); /* below the start: the first there is */
    ck_assert_uint_eq(range.offset, 100);
    log_range_release(&range);
    partition_log_close(log);
    expect_corrupt(99, 200);
    ck_assert_int_eq(log_try_open(100, 200, &log, &problem), ST_OK);
    log_check(log, 100);
    partition_log_close(log);
}
END_TEST

/* The index is derived: missing, cut, rotten or another's, the log reads the same. */
START_TEST(log_survives_damage_to_its_indexes)
{
    static uint64_t starts[MANY + 1];
    struct partition_log *log = log_open(0);
    log_fill(log, MANY, starts);
    partition_log_close(log);
    uint64_t bases[64];
    size_t count = 0;
    for (size_t i = 0; starts[i] < MANY; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "7/3/%020" PRIu64 ".index", starts[i]);
        FILE *file = fopen(temp_path(name), "r");
        if (file == NULL)
            continue;
        (void)fclose(file);
        bases[count++] = starts[i];
    }
    ck_assert_uint_gt(count, 5);
    for (int damage = 0; damage < 4; damage++) {
        for (size_t i = 0; i < count; i++) {
            char name[64], other[64];
            (void)snprintf(name, sizeof name, "7/3/%020" PRIu64 ".index", bases[i]);
            (void)snprintf(other, sizeof other, "7/3/%020" PRIu64 ".index", bases[(i + 1) % count]);
            const char *path = temp_path(name);
            if (damage == 0)
                ck_assert_int_eq(remove(path), 0);
            else if (damage == 1)
                file_write(path, 24, "rot", 3);
            else if (damage == 2)
                file_copy(temp_path(other), path);
            else
                file_write(path, file_size(path), "trailing bytes", 14);
        }
        log = log_open(MANY);
        log_check(log, 0);
        for (uint64_t offset = 0; offset < MANY; offset += 97)
            log_check(log, offset);
        partition_log_close(log);
    }
}
END_TEST

START_TEST(log_ranges_outlive_the_log)
{
    struct partition_log *log = log_open(0);
    log_fill(log, MANY, NULL);
    struct log_range first, again, last;
    partition_log_find(log, 0, &first);
    partition_log_find(log, 0, &again);
    partition_log_find(log, MANY - 1, &last);
    partition_log_close(log);
    ck_assert_int_eq(partition_log_remove_dir(log_dir()), ST_OK);
    const struct log_range *ranges[] = {&first, &last};
    for (int i = 0; i < 2; i++) {
        struct fetch fetch;
        struct fetched message;
        struct journal_problem problem;
        bool end = false;
        fetch_init(&fetch, ranges[i], i == 0 ? 0 : MANY - 1);
        ck_assert_int_eq(fetch_next(&fetch, &message, &end, &problem), ST_OK);
        ck_assert(!end);
        fetch_fini(&fetch);
        log_range_release(i == 0 ? &again : &last);
    }
    uint8_t byte;
    size_t size = 0;
    ck_assert_int_eq(log_range_read(&first, 0, &byte, 1, &size), ST_OK);
    ck_assert_uint_eq(size, 1);
    log_range_release(&first);
}
END_TEST

START_TEST(log_dirty_segments_are_synced_once)
{
    struct partition_log *log = log_open(0);
    struct log_dirty dirty = {0};
    log_fill(log, MANY, NULL);
    partition_log_take_dirty(log, &dirty);
    ck_assert_int_eq((int)dirty.count, temp_count(log_dir(), ".log"));
    ck_assert_int_eq(log_sync(&dirty), ST_OK);
    partition_log_take_dirty(log, &dirty);
    ck_assert_uint_eq(dirty.count, 0);
    log_append(log, 1, 10);
    ck_assert_int_eq(partition_log_flush(log), ST_OK);
    partition_log_take_dirty(log, &dirty);
    ck_assert_uint_eq(dirty.count, 1);
    partition_log_close(log); /* a checkpoint may still hold them */
    ck_assert_int_eq(log_sync(&dirty), ST_OK);
    log = log_open(MANY + 1);
    log_check(log, 0);
    partition_log_close(log);
}
END_TEST

struct reader {
    struct log_range ranges[64];
    uint64_t offsets[64];
    uint64_t ends[64];
    int count;
};

static void *read_ranges(void *user)
{
    struct reader *reader = user;
    for (int i = 0; i < reader->count; i++) {
        struct fetch fetch;
        struct fetched message;
        struct journal_problem problem;
        bool end = false;
        uint64_t offset = reader->offsets[i];
        fetch_init(&fetch, &reader->ranges[i], offset);
        for (;;) {
            ck_assert_int_eq(fetch_next(&fetch, &message, &end, &problem), ST_OK);
            if (end)
                break;
            ck_assert_uint_eq(message.offset, offset++);
        }
        ck_assert(!reader->ranges[i].last || offset == reader->ends[i]);
        fetch_fini(&fetch);
        log_range_release(&reader->ranges[i]);
    }
    return NULL;
}

/* Readers work on what they were given while the log grows, seals and is synced. */
START_TEST(log_is_read_while_it_grows)
{
    static struct reader readers[3];
    struct partition_log *log = log_open(0);
    log_fill(log, 300, NULL);
    for (int round = 0; round < 20; round++) {
        pthread_t threads[3];
        for (int t = 0; t < 3; t++) {
            readers[t].count = 64;
            for (int i = 0; i < 64; i++) {
                uint64_t next = partition_log_next_offset(log);
                readers[t].offsets[i] = next * (uint64_t)(i + 1) / 65;
                readers[t].ends[i] = next;
                partition_log_find(log, readers[t].offsets[i], &readers[t].ranges[i]);
            }
            ck_assert_int_eq(pthread_create(&threads[t], NULL, read_ranges, &readers[t]), 0);
        }
        for (int i = 0; i < 10; i++)
            log_fill(log, partition_log_next_offset(log) + 30, NULL);
        struct log_dirty dirty = {0};
        partition_log_take_dirty(log, &dirty);
        ck_assert_int_eq(log_sync(&dirty), ST_OK);
        for (int t = 0; t < 3; t++)
            ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
    }
    log_check(log, 0);
    partition_log_close(log);
}
END_TEST

START_TEST(log_is_unusable_after_a_failed_write)
{
    struct partition_log *log = log_open(0);
    log_fill(log, 50, NULL);
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    struct rlimit limit, low;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    low = limit;
    low.rlim_cur = 1024;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    log_append(log, 1, 10);
    ck_assert_int_eq(partition_log_flush(log), ST_IO);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(partition_log_flush(log), ST_IO);
    partition_log_close(log);
    log = log_open(50);
    log_check(log, 0);
    partition_log_close(log);
}
END_TEST

START_TEST(log_find_wants_a_flushed_log)
{
    struct partition_log *log = log_open(0);
    struct log_range range;
    log_append(log, 1, 10);
    partition_log_find(log, 0, &range);
}
END_TEST

Suite *suite_partition_log(void)
{
    Suite *suite = suite_create("partition_log");
    TCase *tcase = tcase_create("partition_log");
    tcase_add_checked_fixture(tcase, temp_dir_make, temp_dir_remove);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, log_round_trips);
    tcase_add_test(tcase, log_mixes_small_and_large_batches);
    tcase_add_test(tcase, log_rests_and_wakes);
    tcase_add_test(tcase, log_finds_every_offset);
    tcase_add_test(tcase, log_finds_every_time);
    tcase_add_test(tcase, log_is_cut_and_filled_again);
    tcase_add_test(tcase, log_that_lacks_messages_is_refused);
    tcase_add_test(tcase, log_starts_anywhere);
    tcase_add_test(tcase, log_survives_damage_to_its_indexes);
    tcase_add_test(tcase, log_ranges_outlive_the_log);
    tcase_add_test(tcase, log_dirty_segments_are_synced_once);
    tcase_add_test(tcase, log_is_read_while_it_grows);
    tcase_add_test(tcase, log_is_unusable_after_a_failed_write);
    tcase_add_test_raise_signal(tcase, log_find_wants_a_flushed_log, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
