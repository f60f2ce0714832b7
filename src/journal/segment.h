/* One file of the journal: a header page, then batches back to back, each aligned to 8 bytes.
 *
 * A file is used many times. Each use has a sequence number higher than all before and a random
 * salt; both are in the header page and in every batch, so what an earlier use left behind, or what
 * a client managed to put into a message, is never taken for a batch. docs/disk-format.md has the
 * byte tables. */
#ifndef JOURNAL_SEGMENT_H
#define JOURNAL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"

enum {
    SEGMENT_HEADER_SIZE = 4096,
    SEGMENT_PAGE = 4096, /* writes end at a multiple of it, so that none has to read first */
    SEGMENT_BATCH_HEADER = 64,
    SEGMENT_PATH_MAX = 480,
    SEGMENT_ZERO_STEP = 8 * 1024 * 1024,
};

struct segment {
    char path[SEGMENT_PATH_MAX];
    int fd;            /* -1: not open */
    uint32_t salt;     /* of this use */
    uint64_t sequence; /* of this use */
    uint64_t first_index;
    uint64_t size_bytes; /* of the file */
    uint64_t filled;     /* up to here the file has its space and no hole */
    uint64_t used;       /* end of the last batch; where the next one goes */
};

struct segment_batch { /* the header of a batch */
    uint32_t size;     /* of all of it, a multiple of 8 */
    uint32_t count;
    uint64_t first_index;
    uint64_t term;
    uint64_t durable; /* the last index that was durable when this was written */
};

/* A new file with its space taken and the first step zero-filled, under a name that recovery
 * ignores. Gives: s->fd. Errors: ST_IO. */
enum status segment_create(struct segment *s, const char *path, uint64_t size_bytes);
/* Zero-fills and syncs one step more, to `target` at most. Errors: ST_IO. */
enum status segment_fill(struct segment *s, uint64_t target);
/* Writes zeros, durably. Errors: ST_IO. */
enum status segment_zero(int fd, uint64_t from, uint64_t to);
/* Starts a use: writes the header page, gives the file its final name, all durable. Errors: ST_IO.
 */
enum status segment_start(struct segment *s, const char *dir, uint64_t first_index,
                          uint64_t sequence);
/* Opens the file at s->path, reads and checks its header page.
 * Errors: ST_IO, ST_CORRUPT with *out_what. */
enum status segment_open(struct segment *s, int flags, const char **out_what);
void segment_close(struct segment *s);

/* Fills in a batch's header; the checksum covers it and the `count` iovecs that follow. */
void segment_batch_encode(const struct segment *s, const struct segment_batch *batch,
                          const struct iovec *payload, int count, uint8_t *out);
bool segment_batch_magic(const uint8_t *header); /* worth decoding? */
/* Is this the header of a batch of this use of the file? Says nothing about its payload. */
bool segment_batch_decode(const struct segment *s, const uint8_t *header,
                          struct segment_batch *out);
/* Do the checksum and the records of a whole batch agree with its header? */
bool segment_batch_valid(const uint8_t *bytes, const struct segment_batch *batch);

struct span segment_record(const uint8_t *at); /* of a valid batch */

/* Reads a file in large steps. */
struct segment_reader {
    const struct segment *segment;
    uint8_t *data;
    size_t capacity;
    size_t size;
    uint64_t position; /* of data[0] in the file */
};
void segment_reader_init(struct segment_reader *r, const struct segment *s);
void segment_reader_fini(struct segment_reader *r);
/* Borrows: *out, until the next call; NULL where the file ends before. Errors: ST_IO. */
enum status segment_reader_get(struct segment_reader *r, uint64_t position, size_t size,
                               const uint8_t **out);
/* The batch at `position` if it is a whole, valid one that starts with `index`; else *out_bytes is
 * NULL. Errors: ST_IO. */
enum status segment_reader_batch(struct segment_reader *r, uint64_t position, uint64_t index,
                                 struct segment_batch *out, const uint8_t **out_bytes);

#endif
