/* Message bodies of one partition: record batches in segment files, read by offset or by time.
 *
 * Files in `<dir>/`, named by the first offset: `<20 digits>.log` (batches back to back) and
 * `.index` (sparse: one entry for each 4 KiB of log or more: offset, position, time). The last
 * segment is appended to; earlier ones are sealed and never change. Appends go to the page cache
 * only: until log_sync() the journal covers them, and recovery cuts the log back to the snapshot's
 * length and replays.
 *
 * Thread: the shard's owns the log. A log_range may be read by any thread while the shard appends
 * or even deletes: it holds a reference to its segment. */
#ifndef JOURNAL_PARTITION_LOG_H
#define JOURNAL_PARTITION_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"
#include "std/buf.h"

struct partition_log;
struct log_segment;

struct log_options {
    uint64_t segment_bytes; /* a segment is sealed once it is this large; 64 MiB; <= 1 GiB */
    bool read_only;         /* for looking at it: nothing is cut or written */
};

/* Opens the log in `dir`, which is made by the first append, and cuts it to `next_offset`, the
 * snapshot's: batches at or beyond it are dropped (replay appends them again). Of sealed segments
 * only the index and its last few KiB are read, unless the index is damaged; it is derived, so it
 * is built anew then. Errors: ST_IO, ST_CORRUPT (file and position in *out_problem): e.g. the log
 * ends before next_offset. */
enum status partition_log_open(const char *dir, const struct log_options *options,
                               uint64_t start_offset, uint64_t next_offset,
                               struct partition_log **out, struct journal_problem *out_problem);
void partition_log_close(struct partition_log *log); /* accepts NULL; ranges stay readable */
/* Removes the files of a deleted topic. */
enum status partition_log_remove_dir(const char *dir);

/* Appends one whole batch, patching base offset and time as it is copied. base_offset is the log's
 * next; time_us does not fall. Small batches are gathered until partition_log_flush().
 * Errors: ST_IO: the log is unusable from then on. */
enum status partition_log_append(struct partition_log *log, struct span batch, uint64_t base_offset,
                                 int64_t time_us);
/* Writes what was gathered, before anyone is told of it or may look for it. Errors: ST_IO. */
enum status partition_log_flush(struct partition_log *log);
/* Gives back the log's file descriptor until the next append, flushed and synced. *out_resting
 * false: somebody reads it now. Errors: ST_IO. */
enum status partition_log_rest(struct partition_log *log, bool *out_resting);
uint64_t partition_log_next_offset(const struct partition_log *log);
uint64_t partition_log_size_bytes(const struct partition_log *log);

/* Where to start reading for `offset`: a piece of one segment that begins at or before its batch.
 */
struct log_range {
    struct log_segment *segment; /* a reference; NULL: nothing there */
    uint64_t position;           /* of a batch's first byte */
    uint64_t offset;             /* of that batch's first record */
    uint64_t end;                /* bytes of the segment that may be read */
    uint64_t limit_offset;       /* the first offset that is not in this segment (yet) */
    bool last;                   /* false: another segment follows */
};
/* Gives: *out, to be released; segment NULL when offset is at or beyond the end. An offset below
 * the start finds the first retained batch. The log is flushed. Cost: O(log index entries), no I/O.
 */
void partition_log_find(const struct partition_log *log, uint64_t offset, struct log_range *out);
/* Seeks the first offset whose batch has time >= time_us, in two steps. The first looks at the
 * index: gives the piece of a segment in which it may be, to be released (segment NULL: there is
 * none), and the offset, next_offset at most, if it is not there. The log is flushed. Cost: O(log
 * index entries), no I/O. */
void partition_log_seek_time(const struct partition_log *log, int64_t time_us,
                             struct log_range *out_range, uint64_t *out_offset);
/* The second looks into that piece, and sets the offset if it finds it there. Any thread. Cost: one
 * read of 8 KiB, rarely two. Errors: ST_IO, ST_CORRUPT. */
enum status log_range_find_time(const struct log_range *range, int64_t time_us,
                                uint64_t *inout_offset);
void log_range_release(struct log_range *range); /* any thread */
/* Reads up to `size` bytes of the range from `position` on. Any thread. Errors: ST_IO. */
enum status log_range_read(const struct log_range *range, uint64_t position, void *data,
                           size_t size, size_t *out_size);
const char *log_range_path(const struct log_range *range);

/* What must be on the disk before a snapshot that covers it: references to the segments written
 * since the last call. Taken on the shard's thread from flushed logs, synced on any thread. */
struct log_dirty {
    struct log_segment **segments; /* owned array of references */
    uint32_t count;
};
/* Adds to *add_to, which is zero at first. Writes the index file, too. */
void partition_log_take_dirty(struct partition_log *log, struct log_dirty *add_to);
/* Syncs them and the entries of new files and directories, up to the directory that holds the
 * topics; releases them, also on errors. Errors: ST_IO: must not be tried again. */
enum status log_sync(struct log_dirty *dirty);

#endif
