#include <check.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "journal/journal.h"
#include "std/little_endian.h"
#include "tests/unit/temp_dir.h"

Suite *suite_journal(void);

enum { SMALL = 64 * 1024, RECORD_MAX = 60 * 1024, HEADER_PAGE = 4096, BATCH_HEADER = 64 };

static sem_t written;
static enum status last_status;
static uint8_t memory[2][RECORD_MAX];

static void on_done(void *user, struct journal_batch *batch, enum status st)
{
    (void)user;
    (void)batch;
    last_status = st;
    ck_assert_int_eq(sem_post(&written), 0);
}

static void wait_done(void)
{
    while (sem_wait(&written) != 0)
        ;
}

static struct journal_options options_of(uint64_t segment_bytes, enum durability durability)
{
    return (struct journal_options){.dir = temp_dir(),
                                    .segment_bytes = segment_bytes,
                                    .durability = durability,
                                    .done = on_done};
}

static struct journal *open_with(const struct journal_options *options)
{
    struct journal *j = NULL;
    struct journal_problem problem = {0};
    enum status st = journal_open(options, &j, &problem);
    ck_assert_msg(st == ST_OK, "%s %s at %llu: %s", status_name(st), problem.path,
                  (unsigned long long)problem.position, problem.what);
    return j;
}

static struct journal *open_small(void)
{
    struct journal_options options = options_of(SMALL, DURABILITY_FSYNC);
    return open_with(&options);
}

/* What the record with this index looks like: its size and bytes follow from the index. */
static struct span make_record(uint64_t index, size_t size, uint8_t *out)
{
    store_u32(out, (uint32_t)size);
    for (size_t i = 4; i < size; i++)
        out[i] = (uint8_t)(index * 31 + i);
    return span_of(out, size);
}

static size_t size_of(uint64_t index)
{
    return 4 + (size_t)(index * 7 % 90);
}

/* One batch of `count` records, waited for. */
static enum status write_batch(struct journal *j, int count)
{
    struct journal_batch *b = journal_batch_begin(j);
    ck_assert_ptr_nonnull(b);
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        uint64_t index = journal_next_index(j);
        struct span record = make_record(index, size_of(index), memory[0] + at);
        at += record.size;
        ck_assert_uint_eq(journal_batch_add(b, record), index);
    }
    journal_batch_submit(b);
    wait_done();
    journal_batch_end(b);
    return last_status;
}

static void write_one(struct journal *j, size_t size)
{
    struct journal_batch *b = journal_batch_begin(j);
    journal_batch_add(b, make_record(journal_next_index(j), size, memory[0]));
    journal_batch_submit(b);
    wait_done();
    ck_assert_int_eq(last_status, ST_OK);
    journal_batch_end(b);
}

struct expect {
    uint64_t next;
    bool any_size;
};

static enum status check_record(void *user, uint64_t index, struct span record)
{
    struct expect *expect = user;
    ck_assert_uint_eq(index, expect->next++);
    if (!expect->any_size)
        ck_assert_uint_eq(record.size, size_of(index));
    for (size_t i = 4; i < record.size; i++)
        ck_assert_uint_eq(record.data[i], (uint8_t)(index * 31 + i));
    return ST_OK;
}

static void check_all(struct journal *j, uint64_t from, uint64_t next, bool any_size)
{
    struct expect expect = {.next = from, .any_size = any_size};
    struct journal_problem problem = {0};
    ck_assert_int_eq(journal_replay(j, from, check_record, &expect, &problem), ST_OK);
    ck_assert_uint_eq(expect.next, next);
    ck_assert_uint_eq(journal_next_index(j), next);
}

START_TEST(journal_round_trips)
{
    struct journal *j = open_small();
    ck_assert_uint_eq(journal_next_index(j), 1);
    ck_assert_uint_eq(journal_durable_index(j), 0);
    for (int i = 1; i <= 20; i++)
        ck_assert_int_eq(write_batch(j, i), ST_OK);
    ck_assert_uint_eq(journal_durable_index(j), 210);
    ck_assert_uint_gt(journal_bytes_since(j, 1), 210 * 4ULL);
    ck_assert_uint_eq(journal_bytes_since(j, 211), 0);
    struct journal_counters counters;
    journal_get_counters(j, &counters);
    ck_assert_uint_eq(counters.batches, 20);
    journal_close(j);

    j = open_small();
    ck_assert_uint_eq(journal_durable_index(j), 210);
    check_all(j, 1, 211, false);
    check_all(j, 100, 211, false);
    check_all(j, 211, 211, false);
    ck_assert_int_eq(write_batch(j, 3), ST_OK);
    journal_close(j);
    j = open_small();
    check_all(j, 1, 214, false);
    journal_close(j);
}
END_TEST

START_TEST(journal_writes_many_records_at_once)
{
    struct journal_options options = options_of(1 << 20, DURABILITY_FSYNC);
    struct journal *j = open_with(&options);
    struct journal_batch *b = journal_batch_begin(j);
    static uint8_t record[16];
    store_u32(record, sizeof record);
    while (journal_batch_fits(b, sizeof record))
        journal_batch_add(b, span_of(record, sizeof record));
    ck_assert_uint_eq(journal_batch_count(b), JOURNAL_BATCH_RECORDS_MAX);
    journal_batch_submit(b);
    wait_done();
    ck_assert_int_eq(last_status, ST_OK);
    journal_batch_end(b);
    journal_close(j);
    j = open_with(&options);
    ck_assert_uint_eq(journal_next_index(j), JOURNAL_BATCH_RECORDS_MAX + 1);
    journal_close(j);
}
END_TEST

START_TEST(journal_fills_one_batch_while_it_writes_another)
{
    struct journal *j = open_small();
    for (uint64_t i = 1; i <= 200; i += 2) {
        struct journal_batch *a = journal_batch_begin(j);
        journal_batch_add(a, make_record(i, size_of(i), memory[0]));
        journal_batch_submit(a);
        struct journal_batch *b = journal_batch_begin(j);
        ck_assert_ptr_nonnull(b);
        journal_batch_add(b, make_record(i + 1, size_of(i + 1), memory[1]));
        journal_batch_submit(b);
        ck_assert_ptr_null(journal_batch_begin(j));
        wait_done();
        wait_done();
        journal_batch_end(a);
        journal_batch_end(b);
    }
    struct journal_batch *empty = journal_batch_begin(j);
    journal_batch_end(empty);
    journal_close(j);
    j = open_small();
    check_all(j, 1, 201, false);
    journal_close(j);
}
END_TEST

START_TEST(journal_recycles_released_segments)
{
    struct journal *j = open_small();
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 4; i++)
            write_one(j, 20000);
        journal_release_below(j, journal_next_index(j) - 2);
        ck_assert_int_le(temp_count(temp_dir(), ".spare"), 3);
        ck_assert_int_le(temp_count(temp_dir(), ".journal"), 3);
    }
    uint64_t first = journal_first_index(j), next = journal_next_index(j);
    ck_assert_uint_gt(first, 100);
    journal_close(j);
    j = open_small();
    check_all(j, first, next, true);
    struct expect expect = {.next = first - 1};
    struct journal_problem problem;
    ck_assert_int_eq(journal_replay(j, first - 1, check_record, &expect, &problem), ST_CORRUPT);
    ck_assert_int_eq(journal_replay(j, next + 1, check_record, &expect, &problem), ST_CORRUPT);
    journal_close(j);
}
END_TEST

/* Records of the largest size that fits, so that each batch needs its own segment. */
START_TEST(journal_rolls)
{
    enum durability durability = _i == 0 ? DURABILITY_FSYNC : DURABILITY_OS;
    struct journal_options options = options_of(SMALL, durability);
    struct journal *j = open_with(&options);
    for (int i = 0; i < 10; i++)
        write_one(j, SMALL - 8192);
    ck_assert_int_eq(journal_flush(j), ST_OK);
    ck_assert_int_eq(temp_count(temp_dir(), ".journal"), 10);
    journal_close(j);
    j = open_with(&options);
    check_all(j, 1, 11, true);
    check_all(j, 7, 11, true);
    journal_close(j);
}
END_TEST

static enum status refuse_second(void *user, uint64_t index, struct span record)
{
    (void)user;
    (void)record;
    ck_assert_uint_le(index, 2);
    return index == 2 ? ST_BUSY : ST_OK;
}

START_TEST(journal_replay_returns_what_the_caller_says)
{
    struct journal *j = open_small();
    ck_assert_int_eq(write_batch(j, 3), ST_OK);
    journal_close(j);
    j = open_small();
    struct journal_problem problem = {0};
    ck_assert_int_eq(journal_replay(j, 1, refuse_second, NULL, &problem), ST_BUSY);
    journal_close(j);
}
END_TEST

/* Five batches; the positions where they begin, and where they end. */
static void write_five(uint64_t *starts)
{
    struct journal *j = open_small();
    uint64_t at = HEADER_PAGE;
    for (int i = 0; i < 5; i++) {
        starts[i] = at;
        uint64_t before = journal_bytes_since(j, 1);
        ck_assert_int_eq(write_batch(j, 3), ST_OK);
        at += journal_bytes_since(j, 1) - before;
    }
    starts[5] = at;
    journal_close(j);
}

static const char SEGMENT[] = "00000000000000000001.journal";

START_TEST(journal_cuts_a_torn_tail_at_every_byte)
{
    uint64_t starts[6];
    write_five(starts);
    file_copy(temp_path(SEGMENT), temp_path("whole"));
    size_t size = (size_t)(starts[5] - starts[4]);
    static uint8_t tail[4096];
    ck_assert_uint_le(size, sizeof tail);
    file_read(temp_path("whole"), starts[4], tail, size);
    size_t whole = size;
    while (tail[whole - 1] == 0) /* padding that is zero anyway is not missed */
        whole--;
    for (size_t cut = 0; cut < whole; cut++) {
        file_copy(temp_path("whole"), temp_path(SEGMENT));
        static uint8_t torn[4096];
        memset(torn, _i == 0 ? 0 : 0xa5, size); /* what was there before the write */
        memcpy(torn, tail, cut);
        if (memcmp(torn, tail, size) == 0)
            continue;
        file_write(temp_path(SEGMENT), starts[4], torn, size);
        struct journal *j = open_small();
        check_all(j, 1, 13, false);
        ck_assert_int_eq(write_batch(j, 1), ST_OK); /* smaller than what was torn */
        journal_close(j);
        j = open_small();
        check_all(j, 1, 14, false);
        journal_close(j);
    }
}
END_TEST

/* A flipped bit is found, wherever it is; in the last batch it looks like a torn write. */
START_TEST(journal_never_takes_a_flipped_bit)
{
    uint64_t starts[6];
    write_five(starts);
    struct journal_options options = options_of(SMALL, DURABILITY_FSYNC);
    options.read_only = true;
    for (uint64_t position = 0; position < starts[5]; position++) {
        uint8_t byte;
        file_read(temp_path(SEGMENT), position, &byte, 1);
        for (int bit = 0; bit < 8; bit++) {
            uint8_t flipped = (uint8_t)(byte ^ 1 << bit);
            file_write(temp_path(SEGMENT), position, &flipped, 1);
            struct journal *j = NULL;
            struct journal_problem problem = {0};
            enum status st = journal_open(&options, &j, &problem);
            if (position < starts[4]) {
                ck_assert_msg(st == ST_CORRUPT, "byte %d bit %d", (int)position, bit);
                ck_assert_str_eq(problem.path, temp_path(SEGMENT));
                ck_assert_uint_le(problem.position, position);
            } else {
                ck_assert_int_eq(st, ST_OK);
                check_all(j, 1, 13, false);
            }
            journal_close(j);
        }
        file_write(temp_path(SEGMENT), position, &byte, 1);
    }
}
END_TEST

/* Without a sync for each batch the disk may keep a later one and lose an earlier one: neither was
 * promised to be durable, so both go, and the later one must not come back when the gap is filled.
 */
START_TEST(journal_cuts_all_that_was_never_synced)
{
    struct journal_options options = options_of(SMALL, DURABILITY_OS);
    struct journal *j = open_with(&options);
    write_one(j, 500);
    write_one(j, 500);
    write_one(j, 500);
    journal_close(j);
    static const uint8_t nothing[BATCH_HEADER];
    uint64_t batch_size = BATCH_HEADER + 504; /* padded to 8 */
    file_write(temp_path(SEGMENT), HEADER_PAGE + batch_size, nothing, sizeof nothing);
    j = open_with(&options);
    check_all(j, 1, 2, true);
    write_one(j, 500);
    journal_close(j);
    j = open_with(&options);
    check_all(j, 1, 3, true);
    ck_assert_int_eq(journal_flush(j), ST_OK);
    write_one(j, 500);
    journal_close(j);
    file_write(temp_path(SEGMENT), HEADER_PAGE + batch_size, nothing, sizeof nothing);
    struct journal_problem problem = {0};
    ck_assert_int_eq(journal_open(&options, &j, &problem), ST_CORRUPT); /* this one was */
}
END_TEST

START_TEST(journal_refuses_damage_before_the_last_segment)
{
    struct journal *j = open_small();
    for (int i = 0; i < 6; i++)
        write_one(j, 40000);
    journal_close(j);
    const char *second = temp_path("00000000000000000002.journal");
    uint8_t byte;
    file_read(second, 30000, &byte, 1);
    uint8_t flipped = byte ^ 4;
    file_write(second, 30000, &flipped, 1);
    j = open_small();
    struct expect expect = {.next = 1, .any_size = true};
    struct journal_problem problem = {0};
    ck_assert_int_eq(journal_replay(j, 1, check_record, &expect, &problem), ST_CORRUPT);
    ck_assert_str_eq(problem.path, second);
    ck_assert_uint_eq(problem.position, HEADER_PAGE);
    ck_assert_uint_eq(expect.next, 2);
    journal_close(j);

    ck_assert_int_eq(remove(second), 0); /* a gap */
    j = open_small();
    expect.next = 1;
    ck_assert_int_eq(journal_replay(j, 1, check_record, &expect, &problem), ST_CORRUPT);
    journal_close(j);
}
END_TEST

START_TEST(journal_refuses_other_files)
{
    journal_close(open_small());
    const char *path = temp_path("00000000000000000009.journal");
    struct journal_options options = options_of(SMALL, DURABILITY_FSYNC);
    struct journal *j = NULL;
    struct journal_problem problem = {0};
    file_write(path, 0, "hello", 5);
    ck_assert_int_eq(journal_open(&options, &j, &problem), ST_CORRUPT);
    ck_assert_str_eq(problem.path, path);
    file_copy(temp_path(SEGMENT), path); /* another's content under its name */
    ck_assert_int_eq(journal_open(&options, &j, &problem), ST_CORRUPT);
    ck_assert_ptr_null(j);
}
END_TEST

START_TEST(journal_opens_after_a_crash_between_roll_and_write)
{
    struct journal *j = open_small();
    write_one(j, 40000);
    write_one(j, 40000);
    journal_close(j);
    static const uint8_t nothing[SMALL - HEADER_PAGE];
    file_write(temp_path("00000000000000000002.journal"), HEADER_PAGE, nothing, sizeof nothing);
    j = open_small();
    check_all(j, 1, 2, true);
    write_one(j, 100);
    journal_close(j);
    j = open_small();
    check_all(j, 1, 3, true);
    journal_close(j);
}
END_TEST

START_TEST(journal_stops_for_good_when_a_write_fails)
{
    struct journal *j = open_small();
    ck_assert_int_eq(write_batch(j, 2), ST_OK);
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    struct rlimit limit, low;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    low = limit;
    low.rlim_cur = HEADER_PAGE;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    ck_assert_int_eq(write_batch(j, 2), ST_DISK_ERROR);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(write_batch(j, 2), ST_DISK_ERROR);
    ck_assert_int_eq(journal_flush(j), ST_DISK_ERROR);
    ck_assert_uint_eq(journal_durable_index(j), 2);
    journal_close(j);
    j = open_small();
    check_all(j, 1, 3, false);
    journal_close(j);
}
END_TEST

START_TEST(journal_stops_when_there_is_no_space_for_the_next_segment)
{
    struct journal *j = open_small();
    write_one(j, 20000);
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    struct rlimit low = {SMALL - 4096, RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    write_one(j, 20000); /* the next file is prepared in the background, in vain */
    struct journal_batch *b = journal_batch_begin(j);
    journal_batch_add(b, make_record(3, 40000, memory[0]));
    journal_batch_submit(b);
    wait_done();
    ck_assert_int_eq(last_status, ST_DISK_ERROR);
    journal_batch_end(b);
    journal_close(j);
}
END_TEST

START_TEST(journal_reads_without_a_trace)
{
    struct journal_options options = options_of(SMALL, DURABILITY_FSYNC);
    options.read_only = true;
    struct journal *j = open_with(&options);
    check_all(j, 1, 1, false);
    journal_close(j);
    ck_assert_int_eq(temp_count(temp_dir(), ""), 0);
}
END_TEST

START_TEST(journal_wants_records_that_know_their_size)
{
    struct journal *j = open_small();
    struct journal_batch *b = journal_batch_begin(j);
    static const uint8_t record[8] = {9};
    journal_batch_add(b, span_of(record, sizeof record));
}
END_TEST

static void set_up(void)
{
    temp_dir_make();
    ck_assert_int_eq(sem_init(&written, 0, 0), 0);
}

Suite *suite_journal(void)
{
    Suite *suite = suite_create("journal");
    TCase *tcase = tcase_create("journal");
    tcase_add_checked_fixture(tcase, set_up, temp_dir_remove);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, journal_round_trips);
    tcase_add_test(tcase, journal_writes_many_records_at_once);
    tcase_add_test(tcase, journal_fills_one_batch_while_it_writes_another);
    tcase_add_test(tcase, journal_recycles_released_segments);
    tcase_add_loop_test(tcase, journal_rolls, 0, 2);
    tcase_add_test(tcase, journal_replay_returns_what_the_caller_says);
    tcase_add_loop_test(tcase, journal_cuts_a_torn_tail_at_every_byte, 0, 2);
    tcase_add_test(tcase, journal_never_takes_a_flipped_bit);
    tcase_add_test(tcase, journal_cuts_all_that_was_never_synced);
    tcase_add_test(tcase, journal_refuses_damage_before_the_last_segment);
    tcase_add_test(tcase, journal_refuses_other_files);
    tcase_add_test(tcase, journal_opens_after_a_crash_between_roll_and_write);
    tcase_add_test(tcase, journal_stops_for_good_when_a_write_fails);
    tcase_add_test(tcase, journal_stops_when_there_is_no_space_for_the_next_segment);
    tcase_add_test(tcase, journal_reads_without_a_trace);
    tcase_add_test_raise_signal(tcase, journal_wants_records_that_know_their_size, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
