/* One file of a partition log, `<first offset>.log`, with its sparse index, `.index`: the inside of
 * partition_log.c.
 *
 * The index is derived: each entry carries a checksum, and what is missing or damaged is built anew
 * from the log. Reference-counted: the partition log holds one reference, each log_range another.
 */
#ifndef JOURNAL_LOG_SEGMENT_H
#define JOURNAL_LOG_SEGMENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "command/record_batch.h"
#include "journal/partition_log.h"

enum {
    LOG_INDEX_STEP = 4096, /* bytes of log an entry */
    LOG_INDEX_ENTRY_SIZE = 20,
    LOG_PATH_MAX = 480,
};

struct log_entry {            /* a batch that begins at `position` */
    uint32_t relative_offset; /* to the segment's base */
    uint32_t position;
    int64_t time_us;
};

struct log_segment {
    char path[LOG_PATH_MAX]; /* of the .log */
    uint64_t base;           /* offset of its first record */
    uint64_t size;           /* bytes written */
    struct log_entry *entries;
    uint32_t entry_count;
    uint32_t entry_capacity;
    uint32_t entries_written; /* of them, to the index file */
    bool dirty;               /* written since the last partition_log_take_dirty() */
    atomic_bool linked;       /* its directory entry is durable */

    pthread_mutex_t mutex; /* for the following */
    uint32_t references;
    uint32_t syncing; /* of them, those of log_segment_sync() to come */
    bool held;        /* one of them is the log's */
    bool sealed;      /* never appended to again */
    bool unsynced;    /* sealed, and its descriptor must still see the errors of its writes */
    bool resting; /* not sealed, and not written to at present: no descriptor unless it is read */
    int fd;       /* of the log; -1: not open; see log_segment_fd() */
};

struct log_segment *log_segment_new(const char *dir, uint64_t base);
struct log_segment *log_segment_ref(struct log_segment *s);
void log_segment_unref(struct log_segment *s);
/* The log lets go of it: its reference, and the file, which may be removed now. */
void log_segment_retire(struct log_segment *s);
/* Makes the empty file. Errors: ST_IO. */
enum status log_segment_create(struct log_segment *s);
/* Loads the index, then walks the log from its last entry to offset `end`, to the byte. Fills in
 * size and entries; *out_file_size may be larger.
 * Errors: ST_IO, ST_CORRUPT (*out_problem): also when no batch ends at `end`. */
enum status log_segment_load(struct log_segment *s, uint64_t end, uint64_t *out_file_size,
                             struct journal_problem *out_problem);
/* The file descriptor of the log, opened now if it is not; -1: it cannot be. A sealed segment's is
 * closed again when the last range is released. Caller holds a reference. Any thread. */
int log_segment_fd(struct log_segment *s);
/* The same for the one thread that writes: it rests no more. */
int log_segment_fd_to_write(struct log_segment *s);
/* Syncs what was written and closes the descriptor, until somebody needs it again; false: somebody
 * reads it now. The writing thread's. Errors: ST_IO. */
enum status log_segment_rest(struct log_segment *s, bool *out_resting);
/* Tells the index about a batch at `position` that was, or will be, written there. */
void log_segment_note(struct log_segment *s, uint64_t position, uint64_t offset, int64_t time_us);
/* Writes the entries that are not in the index file yet. Errors: ST_IO. */
enum status log_segment_write_index(struct log_segment *s);
/* Cuts the index file to the entries that were kept, durably: what was cut off describes another
 * end of the log and must not come back. Errors: ST_IO. */
enum status log_segment_trim_index(struct log_segment *s);
/* No more appends: writes the index. Errors: ST_IO. */
enum status log_segment_seal(struct log_segment *s);
/* The last entry at or before `offset` (>= base); NULL: the segment is empty. */
const struct log_entry *log_segment_find(const struct log_segment *s, uint64_t offset);
/* The last entry whose time is below time_us; NULL: none. */
const struct log_entry *log_segment_find_time(const struct log_segment *s, int64_t time_us);

/* A reference for log_segment_sync(), which makes durable what was written until now. */
struct log_segment *log_segment_ref_to_sync(struct log_segment *s);
/* Takes that reference. `sync`: false just lets go. Any thread. Errors: ST_IO. */
enum status log_segment_sync(struct log_segment *s, bool sync);

/* Steps from header to header through the log. */
struct log_walk {
    int fd;
    uint64_t position; /* of the batch that log_walk_next() is to look at */
    uint64_t end;
    size_t size; /* bytes in window, which begins at window_position */
    uint64_t window_position;
    uint8_t window[8192];
};
void log_walk_init(struct log_walk *w, int fd, uint64_t position, uint64_t end);
/* The header at the position, which moves behind its batch; *out_end: none left.
 * Errors: ST_IO, ST_CORRUPT; the position stays. */
enum status log_walk_next(struct log_walk *w, struct batch_header *out, bool *out_end);

#endif
