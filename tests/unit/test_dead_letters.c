#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command/codec.h"
#include "command/dead_letter_headers.h"
#include "journal/journal.h"
#include "node/dead_letters.h"
#include "node/fetch.h"
#include "std/alloc.h"
#include "std/murmur3.h"
#include "tests/unit/log_fixture.h"
#include "tests/unit/temp_dir.h"

Suite *suite_dead_letters(void);

enum { PARTITION = 3, BATCHES_MAX = 1100 };

static struct partition_log *messages;
static struct dead_letters *worker;

/* What came back, in order. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dead_letter_batch *ready[BATCHES_MAX];
static int ready_count;

static void on_ready(void *user, struct dead_letter_batch *batch)
{
    ck_assert_ptr_eq(user, &ready_count);
    (void)pthread_mutex_lock(&lock);
    ck_assert_int_lt(ready_count, BATCHES_MAX);
    ready[ready_count++] = batch;
    (void)pthread_mutex_unlock(&lock);
}

static void append(const struct record *record)
{
    struct buf buf;
    struct batch_builder builder;
    uint64_t base = partition_log_next_offset(messages);
    buf_init(&buf, BATCH_SIZE_MAX);
    batch_begin(&builder, &buf);
    batch_add(&builder, record);
    batch_end(&builder);
    ck_assert_int_eq(partition_log_append(messages, buf_span(&buf), base, LOG_TIME_STEP_US), ST_OK);
    buf_fini(&buf);
}

static struct dead_letter_job *job_new(uint64_t offset)
{
    struct dead_letter_job *job = new_zero(struct dead_letter_job);
    job->place = (struct delivery_place){7, 5, PARTITION, offset};
    job->lease_id = 1000 + offset;
    job->delivery_count = 3;
    job->reason = DEAD_LETTER_MAX_RETRIES;
    job->topic = span_text("acme/orders");
    job->group = span_text("acme/billing");
    job->member_id = span_text("worker-1");
    job->error = span_text("no stock");
    job->first_us = 1700000001000000;
    job->last_us = 1700000002000000;
    struct log_range *range = new_zero(struct log_range);
    partition_log_find(messages, offset, range);
    job->range = range;
    return job;
}

static void push(struct dead_letter_job *job)
{
    dead_letters_push(worker, job);
}

/* Everything that was pushed is in `ready` afterwards. */
static void finish(void)
{
    dead_letters_free(worker);
    worker = NULL;
}

/* The command of a batch, checked against its jobs. Pair: arena_fini(). */
static struct command_dead_letter decoded(const struct dead_letter_batch *batch,
                                          struct arena *arena)
{
    struct command cmd;
    arena_init(arena);
    ck_assert_int_eq(command_decode(buf_span(&batch->record), arena, &cmd), ST_OK);
    ck_assert_int_eq(cmd.type, COMMAND_DEAD_LETTER);
    ck_assert_uint_eq(cmd.dead_letter.entry_count, batch->count);
    ck_assert_int_eq(cmd.dead_letter.settings.retention_us, 42);
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct dead_letter_entry *entry = &cmd.dead_letter.entries[i];
        const struct dead_letter_job *job = batch->jobs[i];
        ck_assert_ptr_null(job->range);
        ck_assert_uint_eq(entry->place.group_id, job->place.group_id);
        ck_assert_uint_eq(entry->place.topic_id, job->place.topic_id);
        ck_assert_uint_eq(entry->place.partition, job->place.partition);
        ck_assert_uint_eq(entry->place.offset, job->place.offset);
        ck_assert_uint_eq(entry->lease_id, job->lease_id);
        ck_assert_uint_eq(entry->delivery_count, job->delivery_count);
        ck_assert_int_eq(entry->reason, job->reason);
    }
    return cmd.dead_letter;
}

static struct record only_record(struct span batch)
{
    struct batch_header header;
    struct record record;
    size_t cursor = 0;
    ck_assert_int_eq(batch_check(batch, &header), ST_OK);
    ck_assert_uint_eq(header.count, 1);
    ck_assert(batch_next(batch, &cursor, &record));
    return record;
}

static bool contains(struct span text, const char *part)
{
    return text.size > 0 && memmem(text.data, text.size, part, strlen(part)) != NULL;
}

START_TEST(dead_letters_keep_the_message_and_tell_its_story)
{
    append(&(struct record){.key = span_text("ключ"),
                            .headers = span_text("{\"a\":\"b\"}"),
                            .value = span_text("x\\ny"),
                            .value_escaped = true,
                            .priority = PRIORITY_HIGH,
                            .delay_us = 5});
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    struct resolve_request reject = {.kind = RESOLVE_REJECT};
    struct dead_letter_job *job = job_new(0);
    job->reason = DEAD_LETTER_REJECTED;
    job->asked = &reject;
    push(job);
    finish();

    struct arena arena;
    ck_assert_int_eq(ready_count, 1);
    ck_assert_uint_eq(ready[0]->failed_count, 0);
    ck_assert_uint_eq(ready[0]->count, 1);
    struct command_dead_letter cmd = decoded(ready[0], &arena);
    ck_assert(cmd.entries[0].asked && !cmd.entries[0].nacked);
    ck_assert_uint_eq(cmd.entries[0].hash, murmur3_32(span_text("ключ")));
    struct record record = only_record(cmd.entries[0].batch);
    ck_assert(span_equal(record.key, span_text("ключ")));
    ck_assert(span_equal(record.value, span_text("x\\ny")));
    ck_assert(record.value_escaped);
    ck_assert_int_eq(record.priority, PRIORITY_HIGH);
    ck_assert_int_eq(record.delay_us, 0);
    ck_assert_int_eq(record.deliver_at_us, 0);
    static const char story[] =
        "{\"a\":\"b\",\"x-goqueue-dlq-reason\":\"REJECTED\",\"x-goqueue-dlq-error\":\"no stock\","
        "\"x-goqueue-original-topic\":\"orders\",\"x-goqueue-original-partition\":\"3\","
        "\"x-goqueue-original-offset\":\"0\","
        "\"x-goqueue-original-timestamp\":\"1970-01-01T00:00:00.001Z\","
        "\"x-goqueue-delivery-attempts\":\"3\","
        "\"x-goqueue-first-delivery\":\"2023-11-14T22:13:21Z\","
        "\"x-goqueue-last-delivery\":\"2023-11-14T22:13:22Z\","
        "\"x-goqueue-last-group\":\"billing\",\"x-goqueue-last-consumer\":\"worker-1\","
        "\"x-goqueue-dlq-time\":\"2";
    ck_assert_msg(record.headers.size > strlen(story) &&
                      memcmp(record.headers.data, story, strlen(story)) == 0,
                  "%.*s", SPAN_ARG(record.headers));
    arena_fini(&arena);
}
END_TEST

START_TEST(dead_letters_without_a_message_have_no_batch)
{
    log_fill(messages, 4, NULL);
    struct resolve_request nack = {.kind = RESOLVE_NACK};
    struct dead_letter_job *job = job_new(2);
    job->asked = &nack;
    push(job); /* there, without a key */
    job = job_new(1);
    job->drop = true;
    push(job);
    push(job_new(4)); /* behind the end */
    job = job_new(1);
    job->drop = true;
    log_range_release(job->range);
    free(job->range);
    job->range = NULL;
    push(job);
    job = job_new(0);
    job->place.offset = 5; /* not where the range leads to */
    push(job);
    finish();

    int count = 0;
    for (int i = 0; i < ready_count; i++) {
        struct arena arena;
        struct command_dead_letter cmd = decoded(ready[i], &arena);
        ck_assert_uint_eq(ready[i]->failed_count, 0);
        for (uint32_t j = 0; j < cmd.entry_count; j++, count++) {
            const struct dead_letter_entry *entry = &cmd.entries[j];
            ck_assert(!entry->asked);
            ck_assert_int_eq(entry->nacked, count == 0);
            ck_assert_uint_eq(entry->hash, PARTITION);
            ck_assert_int_eq(entry->batch.size > 0, count == 0);
            if (count == 0)
                ck_assert(contains(only_record(entry->batch).headers,
                                   "\"x-goqueue-dlq-reason\":\"MAX_RETRIES_EXCEEDED\""));
        }
        arena_fini(&arena);
    }
    ck_assert_int_eq(count, 5);
}
END_TEST

START_TEST(dead_letters_come_in_order_and_in_bounded_commands)
{
    log_fill(messages, 1000, NULL);
    for (uint64_t offset = 0; offset < 1000; offset++)
        push(job_new(offset));
    finish();
    uint64_t next = 0;
    for (int i = 0; i < ready_count; i++) {
        struct arena arena;
        struct command_dead_letter cmd = decoded(ready[i], &arena);
        ck_assert_uint_le(cmd.entry_count, DEAD_LETTERS_PER_COMMAND_MAX);
        for (uint32_t j = 0; j < cmd.entry_count; j++, next++) {
            char text[32];
            int size = snprintf(text, sizeof text, "%llu|", (unsigned long long)next);
            struct span value = only_record(cmd.entries[j].batch).value;
            ck_assert_uint_eq(cmd.entries[j].place.offset, next);
            ck_assert_uint_ge(value.size, (size_t)size);
            ck_assert_mem_eq(value.data, text, (size_t)size);
        }
        arena_fini(&arena);
    }
    ck_assert_uint_eq(next, 1000);
}
END_TEST

START_TEST(dead_letters_of_large_messages_get_small_commands)
{
    static uint8_t large[5 * DEAD_LETTER_BATCH_SIZE_AIM];
    memset(large, 'x', sizeof large);
    for (int i = 0; i < 10; i++)
        log_append(messages, 1, 200000);
    append(&(struct record){.value = span_of(large, sizeof large), .priority = PRIORITY_NORMAL});
    log_append(messages, 1, 10);
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    for (uint64_t offset = 0; offset < 12; offset++)
        push(job_new(offset));
    finish();
    uint64_t count = 0;
    for (int i = 0; i < ready_count; i++) {
        struct arena arena;
        struct command_dead_letter cmd = decoded(ready[i], &arena);
        size_t size = 0;
        for (uint32_t j = 0; j < cmd.entry_count; j++, count++) {
            ck_assert_uint_lt(size, DEAD_LETTER_BATCH_SIZE_AIM);
            size += cmd.entries[j].batch.size;
        }
        arena_fini(&arena);
    }
    ck_assert_uint_eq(count, 12);
}
END_TEST

/* What cannot be read is told apart; the others are not held up by it. */
START_TEST(dead_letters_that_cannot_be_read)
{
    append(&(struct record){.value = span_text("first"), .priority = PRIORITY_NORMAL});
    append(&(struct record){.value = span_text("second"), .priority = PRIORITY_NORMAL});
    append(&(struct record){.value = span_text("third"), .priority = PRIORITY_NORMAL});
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    const char *path = temp_path("7/3/00000000000000000000.log");
    uint8_t byte = 0;
    uint64_t at = 2 * (BATCH_HEADER_SIZE + 2) + 5 + 3; /* in "second" */
    file_read(path, at, &byte, 1);
    byte ^= 1;
    file_write(path, at, &byte, 1);
    push(job_new(0));
    push(job_new(1));
    push(job_new(2));
    struct dead_letter_job *job = job_new(1);
    log_range_release(job->range);
    free(job->range);
    job->range = NULL; /* the disk failed: nobody knows whether it is there */
    push(job);
    finish();
    static const enum status expected[] = {ST_CORRUPT, ST_IO};
    uint32_t good = 0, failed = 0;
    for (int i = 0; i < ready_count; i++) {
        good += ready[i]->count;
        for (uint32_t j = 0; j < ready[i]->failed_count; j++, failed++) {
            ck_assert_uint_eq(ready[i]->failed[j]->place.offset, 1);
            ck_assert_ptr_null(ready[i]->failed[j]->range);
            ck_assert_uint_lt(failed, 2);
            ck_assert_int_eq(ready[i]->failed_statuses[j], expected[failed]);
        }
        ck_assert_int_eq(ready[i]->record.size > 0, ready[i]->count > 0);
    }
    ck_assert_uint_eq(good, 2);
    ck_assert_uint_eq(failed, 2);
}
END_TEST

static size_t ready_bytes(void)
{
    (void)pthread_mutex_lock(&lock);
    size_t size = 0;
    for (int i = 0; i < ready_count; i++)
        size += ready[i]->record.size;
    (void)pthread_mutex_unlock(&lock);
    return size;
}

/* A slow journal holds up the reading, so that what waits for it is bounded. */
START_TEST(dead_letters_wait_for_those_under_way)
{
    enum { COUNT = 40, SIZE = 500000 };
    static uint8_t large[SIZE];
    memset(large, 'x', sizeof large);
    for (int i = 0; i < COUNT; i++)
        append(&(struct record){.value = span_of(large, SIZE), .priority = PRIORITY_NORMAL});
    ck_assert_int_eq(partition_log_flush(messages), ST_OK);
    for (uint64_t offset = 0; offset < COUNT; offset++)
        push(job_new(offset));
    while (ready_bytes() < DEAD_LETTERS_UNDER_WAY_MAX)
        (void)usleep(1000);
    (void)usleep(50000); /* for what it must not do */
    const size_t most = DEAD_LETTERS_UNDER_WAY_MAX + DEAD_LETTER_BATCH_SIZE_AIM + 2 * SIZE;
    ck_assert_uint_lt(ready_bytes(), most);
    uint32_t count = 0;
    while (count < COUNT / 2) {
        (void)pthread_mutex_lock(&lock);
        struct dead_letter_batch *batch = ready_count > 0 ? ready[--ready_count] : NULL;
        (void)pthread_mutex_unlock(&lock);
        for (uint32_t i = 0; batch != NULL && i < batch->count; i++, count++)
            free(batch->jobs[i]);
        dead_letter_batch_free(batch);
    }
    finish(); /* does not wait for them: nobody gives them back meanwhile */
    for (int i = 0; i < ready_count; i++)
        count += ready[i]->count;
    ck_assert_uint_eq(count, COUNT);
}
END_TEST

START_TEST(dead_letters_may_have_nothing_to_do)
{
    finish();
    ck_assert_int_eq(ready_count, 0);
    dead_letters_free(NULL);
    dead_letter_batch_free(NULL);
}
END_TEST

static void set_up(void)
{
    temp_dir_make();
    messages = log_open(0);
    const struct dead_letters_options options = {
        .settings = {.retention_us = 42, .visibility_us = 1, .deliveries_max = 1},
        .ready = on_ready,
        .user = &ready_count,
    };
    worker = dead_letters_new(&options);
}

static void tear_down(void)
{
    dead_letters_free(worker);
    for (int i = 0; i < ready_count; i++) {
        for (uint32_t j = 0; j < ready[i]->count; j++)
            free(ready[i]->jobs[j]);
        for (uint32_t j = 0; j < ready[i]->failed_count; j++)
            free(ready[i]->failed[j]);
        dead_letter_batch_free(ready[i]);
    }
    partition_log_close(messages);
    temp_dir_remove();
}

Suite *suite_dead_letters(void)
{
    Suite *suite = suite_create("dead_letters");
    TCase *tcase = tcase_create("dead_letters");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, dead_letters_keep_the_message_and_tell_its_story);
    tcase_add_test(tcase, dead_letters_without_a_message_have_no_batch);
    tcase_add_test(tcase, dead_letters_come_in_order_and_in_bounded_commands);
    tcase_add_test(tcase, dead_letters_of_large_messages_get_small_commands);
    tcase_add_test(tcase, dead_letters_that_cannot_be_read);
    tcase_add_test(tcase, dead_letters_wait_for_those_under_way);
    tcase_add_test(tcase, dead_letters_may_have_nothing_to_do);
    suite_add_tcase(suite, tcase);
    return suite;
}
