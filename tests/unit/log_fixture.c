#include "tests/unit/log_fixture.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command/record_batch.h"
#include "node/fetch.h"
#include "tests/unit/temp_dir.h"

const char *log_dir(void)
{
    return temp_path("7/3");
}

enum status log_try_open(uint64_t start_offset, uint64_t next_offset, struct partition_log **out,
                         struct journal_problem *out_problem)
{
    struct log_options options = {.segment_bytes = LOG_SEGMENT_BYTES};
    return partition_log_open(log_dir(), &options, start_offset, next_offset, out, out_problem);
}

struct partition_log *log_open(uint64_t next_offset)
{
    struct partition_log *log = NULL;
    struct journal_problem problem = {0};
    enum status st = log_try_open(0, next_offset, &log, &problem);
    ck_assert_msg(st == ST_OK, "%s %s at %" PRIu64 ": %s", status_name(st), problem.path,
                  problem.position, problem.what);
    return log;
}

void log_append(struct partition_log *log, int count, size_t size)
{
    struct buf buf;
    buf_init(&buf, 1 << 24);
    struct batch_builder builder;
    batch_begin(&builder, &buf);
    uint64_t base = partition_log_next_offset(log);
    for (int i = 0; i < count; i++) {
        static char text[1 << 18];
        ck_assert_uint_lt(size, sizeof text - 32);
        int used = snprintf(text, sizeof text, "%" PRIu64 "|", base + (uint64_t)i);
        memset(text + used, 'x', size);
        struct record record = {.value = span_of(text, (size_t)used + size),
                                .priority = PRIORITY_NORMAL};
        batch_add(&builder, &record);
    }
    batch_end(&builder);
    ck_assert_int_eq(
        partition_log_append(log, buf_span(&buf), base, (int64_t)(base + 1) * LOG_TIME_STEP_US),
        ST_OK);
    ck_assert_uint_eq(partition_log_next_offset(log), base + (uint64_t)count);
    buf_fini(&buf);
}

void log_fill(struct partition_log *log, uint64_t next_offset, uint64_t *out_starts)
{
    while (partition_log_next_offset(log) < next_offset) {
        uint64_t base = partition_log_next_offset(log);
        uint64_t left = next_offset - base, count = 1 + base % 5;
        if (out_starts != NULL)
            *out_starts++ = base;
        log_append(log, (int)(count < left ? count : left), (size_t)(base * 37 % 300));
    }
    if (out_starts != NULL)
        *out_starts = next_offset;
    ck_assert_int_eq(partition_log_flush(log), ST_OK);
}

static void check_message(const struct fetched *message, uint64_t offset)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%" PRIu64 "|", offset);
    ck_assert_uint_eq(message->offset, offset);
    ck_assert_uint_ge(message->record.value.size, (size_t)size);
    ck_assert_mem_eq(message->record.value.data, text, (size_t)size);
    ck_assert_int_le(message->time_us, (int64_t)(offset + 1) * LOG_TIME_STEP_US);
}

void log_check(const struct partition_log *log, uint64_t from)
{
    uint64_t offset = from;
    while (offset < partition_log_next_offset(log)) {
        struct log_range range;
        struct fetch fetch;
        struct journal_problem problem = {0};
        struct fetched message;
        bool end = false;
        partition_log_find(log, offset, &range);
        ck_assert_ptr_nonnull(range.segment);
        fetch_init(&fetch, &range, offset);
        for (;;) {
            enum status st = fetch_next(&fetch, &message, &end, &problem);
            ck_assert_msg(st == ST_OK, "%s %s at %" PRIu64 ": %s", status_name(st), problem.path,
                          problem.position, problem.what);
            if (end)
                break;
            check_message(&message, offset++);
        }
        ck_assert(!range.last || offset == partition_log_next_offset(log));
        fetch_fini(&fetch);
        log_range_release(&range);
    }
    struct log_range beyond;
    partition_log_find(log, partition_log_next_offset(log), &beyond);
    ck_assert_ptr_null(beyond.segment);
}
