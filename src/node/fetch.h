/* Reading messages out of a partition log, on an I/O thread: from a log_range to records.
 *
 * Each batch is verified (CRC32C) before a record of it is shown. */
#ifndef NODE_FETCH_H
#define NODE_FETCH_H

#include "command/record_batch.h"
#include "journal/partition_log.h"
#include "std/buf.h"

struct fetched { /* one message; spans are valid until the next fetch_next() */
    uint64_t offset;
    int64_t time_us;
    struct record record;
};

struct fetch {
    const struct log_range *range; /* borrowed */
    uint64_t position;             /* of the next byte to read from the file */
    uint64_t from;                 /* smallest offset wanted */
    uint64_t batch_offset;         /* of the next batch */
    struct buf window;             /* bytes read and not yet walked */
    size_t batch_start;            /* of the current batch in window */
    struct batch_header batch;     /* count 0: none */
    size_t cursor;                 /* in the current batch */
    uint32_t next_record;
    size_t step; /* how much to read next */
};

void fetch_init(struct fetch *f, const struct log_range *range,
                uint64_t from); /* pair: fetch_fini */
void fetch_fini(struct fetch *f);
/* The next message with offset >= from. *out_end: none left in this range.
 * Errors: ST_IO, ST_CORRUPT (file and position in *out_problem). */
enum status fetch_next(struct fetch *f, struct fetched *out, bool *out_end,
                       struct journal_problem *out_problem);
/* Steps over everything below `offset`, cheaply. */
void fetch_seek(struct fetch *f, uint64_t offset);

#endif
