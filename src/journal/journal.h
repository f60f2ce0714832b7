/* Order and durability: a command exists once it is here.
 *
 * One stream of numbered records (index 1, 2, ...) in segment files `<first index, 20
 * digits>.journal`, zero-filled ahead of use and recycled. Records are written in batches, each
 * checksummed and stamped with the index that was durable when it was written; a writer thread of
 * the journal's own writes and syncs one batch while the shard fills the next (group commit).
 * docs/disk-format.md has the byte tables.
 *
 * Errors stop it: after a failed write or sync every later batch is refused with ST_DISK_ERROR;
 * nothing is retried. Opening cuts a torn last batch and refuses any other damage (ST_CORRUPT, with
 * file and offset in *out_problem). */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/disk.h"
#include "std/span.h"
#include "std/status.h"

enum durability { DURABILITY_FSYNC, DURABILITY_OS };

struct journal_batch;

struct journal_options {
    const char *dir;        /* exists */
    uint64_t segment_bytes; /* 128 MiB; < 4 GiB; must hold the largest batch */
    enum durability durability;
    bool read_only; /* for looking at it: nothing is created, cut or written, no thread runs */
    /* Called on the writer thread, in order, once for each submitted batch: its records are durable
     * (ST_OK) or the journal has stopped (ST_DISK_ERROR). */
    void (*done)(void *user, struct journal_batch *batch, enum status st);
    void *user;
    /* Told of each durable write, on the writer thread; may be NULL. */
    void (*synced)(void *user, int64_t took_us, size_t size_bytes);
};

enum {
    JOURNAL_RECORD_SIZE_MAX = 80 * 1024 * 1024, /* a publish body of 64 MiB and its framing */
    JOURNAL_BATCH_RECORDS_MAX = 4096,
    JOURNAL_BATCH_SIZE_AIM = 8 * 1024 * 1024, /* the shard closes a batch beyond it */
};

struct journal;

struct journal_problem { /* what is wrong on the disk, for people */
    char path[512];
    uint64_t position;
    const char *what;
};

/* Opens or creates the journal in options->dir and finds its end; nothing is written to damaged
 * files. Gives: *out. Errors: ST_IO, ST_CORRUPT (both with *out_problem). */
enum status journal_open(const struct journal_options *options, struct journal **out,
                         struct journal_problem *out_problem);
void journal_close(struct journal *j); /* waits for the batch under way; accepts NULL */

/* Calls fn for each durable record from index `from` on, in order, before the first submit.
 * Errors: ST_IO, ST_CORRUPT (also when `from` is older than the oldest record), or what fn
 * returned. */
enum status journal_replay(struct journal *j, uint64_t from,
                           enum status (*fn)(void *user, uint64_t index, struct span record),
                           void *user, struct journal_problem *out_problem);

/* The next batch to fill; at most two exist: one being filled, one being written.
 * NULL while both are in use. */
struct journal_batch *journal_batch_begin(struct journal *j);
/* Is there room for one more record of this size? An empty batch has room for any record of at most
 * segment_bytes less 8 KiB. */
bool journal_batch_fits(const struct journal_batch *b, size_t record_size);
/* Borrows: record, unchanged until done(); its first 4 bytes are its size. Returns its index. */
uint64_t journal_batch_add(struct journal_batch *b, struct span record);
uint32_t journal_batch_count(const struct journal_batch *b);
uint64_t journal_batch_size(const struct journal_batch *b);
uint64_t journal_batch_first_index(const struct journal_batch *b);
/* Hands it to the writer thread. After done() the batch must be given back with
 * journal_batch_end(). */
void journal_batch_submit(struct journal_batch *b);
/* Also for a batch that was begun and stayed empty. */
void journal_batch_end(struct journal_batch *b);

uint64_t journal_first_index(const struct journal *j); /* of the oldest segment that is left */
uint64_t journal_next_index(const struct journal *j);  /* which the next record gets */
/* Of the last record for which done(ST_OK) is due; 0: none. Any thread. */
uint64_t journal_durable_index(const struct journal *j);
/* Bytes from that index on, about. Any thread. */
uint64_t journal_bytes_since(struct journal *j, uint64_t index);
/* Records below `index` are no longer needed: their segments are recycled or removed. Any thread.
 */
void journal_release_below(struct journal *j, uint64_t index);
/* With DURABILITY_OS: waits until everything written so far is on the disk, as a checkpoint must
 * before its snapshot. Any thread but the writer's. Errors: ST_DISK_ERROR. */
enum status journal_flush(struct journal *j);

struct journal_counters {
    uint64_t batches;
    uint64_t bytes;
    uint64_t write_us;      /* spent in writes, syncs included */
    uint64_t last_write_us; /* of the latest one */
};
void journal_get_counters(const struct journal *j, struct journal_counters *out); /* any thread */

#endif
