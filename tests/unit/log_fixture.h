/* A partition log in a temporary directory, filled with messages that tell their own offset. */
#ifndef TESTS_UNIT_LOG_FIXTURE_H
#define TESTS_UNIT_LOG_FIXTURE_H

#include "journal/partition_log.h"

enum { LOG_SEGMENT_BYTES = 64 * 1024, LOG_TIME_STEP_US = 1000 };

/* temp_dir()/7/3: neither exists before the first append. */
const char *log_dir(void);
enum status log_try_open(uint64_t start_offset, uint64_t next_offset, struct partition_log **out,
                         struct journal_problem *out_problem);
struct partition_log *log_open(uint64_t next_offset);
/* Appends a batch of `count` messages of about `size` bytes: the batch with first offset `o` has
 * time (o + 1) * LOG_TIME_STEP_US. */
void log_append(struct partition_log *log, int count, size_t size);
/* Batches of 1..5 messages of 0..299 bytes until there are `next_offset` messages; flushed. The
 * same offset always gets the same batch. Gives the offsets at which batches begin, `next_offset`
 * last; NULL when it is not wanted. */
void log_fill(struct partition_log *log, uint64_t next_offset, uint64_t *out_starts);
/* Reads all messages from `from` to the end and compares them. */
void log_check(const struct partition_log *log, uint64_t from);

#endif
