#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "command/key_hash.h"
#include "command/record_batch.h"
#include "node/key_reader.h"
#include "std/alloc.h"
#include "tests/unit/log_fixture.h"
#include "tests/unit/temp_dir.h"

Suite *suite_key_reader(void);

enum {
    JOBS_MAX = 64,
    COUNT_MAX = 4096,
    INDEXED_SIZE = 5000, /* of a message that is found without those before it */
};

static struct partition_log *messages;
static struct key_reader *reader;

/* What came back, in order. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct keys_job *ready[JOBS_MAX];
static int ready_count;

static void on_ready(void *user, struct keys_job *job)
{
    ck_assert_ptr_eq(user, &ready_count);
    ck_assert_ptr_null(job->range);
    (void)pthread_mutex_lock(&lock);
    ck_assert_int_lt(ready_count, JOBS_MAX);
    ready[ready_count++] = job;
    (void)pthread_mutex_unlock(&lock);
}

/* A batch of its own for each letter, with that as its key; without one for '.'. */
static void append(const char *keys, size_t value_size)
{
    uint8_t *value = alloc_zero(value_size + 1);
    memset(value, 'x', value_size);
    for (; *keys != '\0'; keys++) {
        struct buf buf;
        struct batch_builder builder;
        const uint64_t base = partition_log_next_offset(messages);
        buf_init(&buf, BATCH_SIZE_MAX);
        batch_begin(&builder, &buf);
        batch_add(&builder, &(struct record){.key = span_of(keys, *keys == '.' ? 0 : 1),
                                             .value = span_of(value, value_size),
                                             .priority = PRIORITY_NORMAL});
        batch_end(&builder);
        ck_assert_int_eq(partition_log_append(messages, buf_span(&buf), base, LOG_TIME_STEP_US),
                         ST_OK);
        buf_fini(&buf);
    }
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    free(value);
}

static struct keys_job *job_new(uint64_t offset, uint32_t count_max)
{
    struct keys_job *job = new_zero(struct keys_job);
    job->place.offset = offset;
    job->count_max = count_max;
    return job;
}

/* Keys from `from` on, read from where `found` is in the log. */
static void push_found(uint64_t from, uint64_t found, uint32_t count_max)
{
    struct keys_job *job = job_new(from, count_max);
    struct log_range *range = new_zero(struct log_range);
    partition_log_find(messages, found, range);
    job->range = range;
    key_reader_push(reader, job);
}

static void push(uint64_t from, uint32_t count_max)
{
    push_found(from, from, count_max);
}

/* Everything that was pushed is in `ready` afterwards. */
static void finish(void)
{
    key_reader_free(reader);
    reader = NULL;
}

/* The keys that came with this job, as append() takes them. */
static void check(int index, const char *keys)
{
    ck_assert_int_lt(index, ready_count);
    ck_assert_uint_eq(ready[index]->count, strlen(keys));
    for (size_t i = 0; keys[i] != '\0'; i++)
        ck_assert_uint_eq(ready[index]->keys[i],
                          key_hash(span_of(&keys[i], keys[i] == '.' ? 0 : 1)));
}

START_TEST(hashes_are_never_taken_for_no_key)
{
    ck_assert_uint_eq(key_hash((struct span){0}), KEY_NONE);
    ck_assert_uint_eq(key_hash(span_text("test")), 0xba6bd213);
    for (uint32_t i = 0; i < 100000; i++)
        ck_assert_uint_ge(key_hash(span_of(&i, sizeof i)), KEY_HASH_MIN);
    const uint8_t zero[] = {0xd3, 0x72, 0x6a, 0x2a}; /* murmur3 of some key may be 0 */
    ck_assert_uint_ge(key_hash(span_of(zero, sizeof zero)), KEY_HASH_MIN);
}
END_TEST

START_TEST(keys_are_read_from_an_offset_on)
{
    append("ab.ca..b", 10);
    push(0, COUNT_MAX);
    push(3, COUNT_MAX);
    push(2, 3);
    push(7, 1);
    finish();
    ck_assert_int_eq(ready_count, 4);
    check(0, "ab.ca..b");
    check(1, "ca..b");
    check(2, ".ca");
    check(3, "b");
}
END_TEST

START_TEST(messages_that_are_gone_have_no_key)
{
    append("abcd", INDEXED_SIZE);
    push_found(0, 2, COUNT_MAX); /* as if the log began at 2 */
    push_found(0, 2, 1);
    push_found(9, 9, COUNT_MAX); /* nothing is found there */
    finish();
    check(0, "..cd");
    check(1, ".");
    check(2, ".");
}
END_TEST

START_TEST(a_job_ends_when_enough_is_read)
{
    append("abcdefgh", KEYS_READ_SIZE_AIM / 3 + 1);
    push(0, COUNT_MAX);
    finish();
    ck_assert_uint_ge(ready[0]->count, 1);
    ck_assert_uint_le(ready[0]->count, 3);
}
END_TEST

START_TEST(jobs_go_on_from_segment_to_segment)
{
    char keys[1001] = "";
    for (int i = 0; i < 1000; i++)
        keys[i] = (char)('a' + i % 26);
    append(keys, 500); /* some segments of 64 KiB */
    for (uint64_t offset = 0; offset < 1000; offset += 20)
        push(offset, COUNT_MAX);
    finish();
    bool ended_early = false;
    for (int i = 0; i < ready_count; i++) {
        const uint64_t from = ready[i]->place.offset;
        ck_assert_uint_eq(from, 20 * (uint64_t)i);
        ck_assert_uint_ge(ready[i]->count, 1);
        ck_assert_uint_le(from + ready[i]->count, 1000);
        ended_early = ended_early || from + ready[i]->count < 1000;
        for (uint32_t k = 0; k < ready[i]->count; k++)
            ck_assert_uint_eq(ready[i]->keys[k], key_hash(span_of(&keys[from + k], 1)));
    }
    ck_assert(ended_early);
}
END_TEST

START_TEST(what_cannot_be_read_has_no_key_and_stops_nobody)
{
    append("abcd", INDEXED_SIZE);
    struct log_range range;
    partition_log_find(messages, 2, &range);
    uint8_t byte = 0;
    file_read(log_range_path(&range), range.position + BATCH_HEADER_SIZE + 3, &byte, 1);
    byte ^= 1;
    file_write(log_range_path(&range), range.position + BATCH_HEADER_SIZE + 3, &byte, 1);
    log_range_release(&range);
    push(0, COUNT_MAX);
    push(2, COUNT_MAX);
    push(0, 2);
    push(3, COUNT_MAX);
    struct keys_job *unknown = job_new(0, COUNT_MAX); /* the disk has failed */
    key_reader_push(reader, unknown);
    finish();
    check(0, "ab.");
    check(1, ".");
    check(2, "ab");
    ck_assert_uint_ge(ready[3]->count, 1);
    check(4, ".");
}
END_TEST

START_TEST(a_reader_may_have_nothing_to_do)
{
    finish();
    ck_assert_int_eq(ready_count, 0);
    key_reader_free(NULL);
}
END_TEST

static void set_up(void)
{
    temp_dir_make();
    messages = log_open(0);
    reader = key_reader_new(&(struct key_reader_options){.ready = on_ready, .user = &ready_count});
}

static void tear_down(void)
{
    key_reader_free(reader);
    for (int i = 0; i < ready_count; i++) {
        free(ready[i]->keys);
        free(ready[i]);
    }
    partition_log_close(messages);
    temp_dir_remove();
}

Suite *suite_key_reader(void)
{
    Suite *suite = suite_create("key_reader");
    TCase *tcase = tcase_create("key_reader");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, hashes_are_never_taken_for_no_key);
    tcase_add_test(tcase, keys_are_read_from_an_offset_on);
    tcase_add_test(tcase, messages_that_are_gone_have_no_key);
    tcase_add_test(tcase, a_job_ends_when_enough_is_read);
    tcase_add_test(tcase, jobs_go_on_from_segment_to_segment);
    tcase_add_test(tcase, what_cannot_be_read_has_no_key_and_stops_nobody);
    tcase_add_test(tcase, a_reader_may_have_nothing_to_do);
    suite_add_tcase(suite, tcase);
    return suite;
}
