/* The inside of a journal, shared by journal.c (batches, the writer), prepare.c (space ahead of the
 * writer) and recover.c (opening, replay). */
#ifndef JOURNAL_STATE_H
#define JOURNAL_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "journal/segment.h"

enum { SPARES_MAX = 2, BATCHES_MAX = 2, BATCH_IOVECS_EXTRA = 3 };

enum batch_state { BATCH_FREE, BATCH_FILLING, BATCH_SUBMITTED, BATCH_DONE };

struct journal_batch {
    struct journal *journal;
    enum batch_state state; /* under the mutex, except that its filler may read it */
    uint64_t first_index;
    uint64_t size; /* without padding */
    uint32_t count;
    uint8_t header[SEGMENT_BATCH_HEADER];
    struct iovec iov[JOURNAL_BATCH_RECORDS_MAX + BATCH_IOVECS_EXTRA]; /* [0] is the header */
};

struct journal {
    struct journal_options options;
    char dir[SEGMENT_PATH_MAX - 32];
    struct journal_batch *batches; /* BATCHES_MAX of them */
    uint64_t next_index;           /* the filler's */

    pthread_mutex_t mutex; /* for all of the following */
    pthread_cond_t work;   /* for the writer: a batch, or closing */
    pthread_cond_t ahead;  /* for the preparer */
    pthread_cond_t ready;  /* from the preparer: space, a spare, a sync; or it failed */
    struct journal_batch *queue[BATCHES_MAX];
    uint32_t queued;
    struct segment active;  /* size, fd, names: the writer's; used: both; filled: the preparer's */
    struct segment *sealed; /* oldest first */
    uint32_t sealed_count;
    uint32_t sealed_capacity;
    struct segment spares[SPARES_MAX];
    uint32_t spare_count;
    uint32_t spares_coming; /* slots promised to journal_release_below() */
    uint32_t spare_number;  /* for names */
    uint64_t fill_wanted;   /* the writer waits until the active one is filled up to here */
    uint64_t sync_position; /* of the active one, up to which it was synced (DURABILITY_OS) */
    bool spare_wanted;      /* the writer waits for a spare */
    bool spare_failed;      /* none could be made; the disk may be full */
    bool sync_wanted;
    bool preparing;        /* the preparer uses the active segment's descriptor */
    bool closing;          /* the writer ends once its queue is empty */
    bool preparer_closing; /* then the preparer: the writer may need it until its end */
    bool threads_run;

    pthread_t writer;
    pthread_t preparer;
    atomic_bool failed;
    _Atomic uint64_t durable; /* last index that was acknowledged */
    _Atomic uint64_t synced;  /* last index that was synced; the same with DURABILITY_FSYNC */
    _Atomic uint64_t batch_count;
    _Atomic uint64_t byte_count;
    _Atomic uint64_t write_us;
    _Atomic uint64_t last_write_us;
};

/* prepare.c */
void *journal_preparer_main(void *journal);
/* With the mutex held: only if there is something to do. */
void journal_wake_preparer(struct journal *j);
/* Makes the active segment one that has room for `size` bytes, filled. Thread: the writer's.
 * Errors: ST_IO: the journal must stop. */
enum status journal_make_room(struct journal *j, uint64_t size);
void journal_push_sealed(struct journal *j, const struct segment *s);
/* A new spare, not yet in the pool. Errors: ST_IO. */
enum status journal_create_spare(struct journal *j, uint32_t number, struct segment *out);

/* recover.c */
/* Fills in segments, indexes and the write position from what is in the directory. */
enum status journal_recover(struct journal *j, struct journal_problem *out_problem);
void journal_problem_set(struct journal_problem *out, const char *path, uint64_t position,
                         const char *what);

#endif
