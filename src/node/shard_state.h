/* What the files of the shard share: shard.c (the loop), shard_ops.c (one op), shard_open.c
 * (recovery). Nobody else includes it. */
#ifndef NODE_SHARD_STATE_H
#define NODE_SHARD_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "delivery/delivery.h"
#include "journal/journal.h"
#include "node/checkpoint.h"
#include "node/dead_letters.h"
#include "node/inbox.h"
#include "node/key_reader.h"
#include "node/logs.h"
#include "node/shard.h"

/* A command on its way through the journal: an op's, or (op NULL) one of delivery's own. */
struct pending {
    struct op *op;
    struct buf record; /* delivery's own: owned; else the op has it */
};

struct pending_queue { /* a ring that grows; bounded by the inbox and by delivery's own bounds */
    struct pending *items; /* owned */
    uint32_t first, count, capacity;
};

struct flight {                  /* one journal batch and whose commands are in it */
    struct journal_batch *batch; /* NULL: this flight is free */
    struct pending items[JOURNAL_BATCH_RECORDS_MAX];
    uint32_t count;
};
enum { FLIGHTS = 2 }; /* one is filled while one is written */
enum { WRITE_NONE, WRITE_DURABLE, WRITE_FAILED };

struct shard {
    const struct config *config;     /* borrowed */
    struct journal_problem *problem; /* where opening reports; NULL afterwards */
    char journal_dir[512], snapshot_dir[512];
    int lock_fd; /* holds the lock on the data directory */
    struct receipt_key receipt_key;

    struct machine *machine;
    struct delivery *delivery;
    struct journal *journal;
    struct logs logs;
    struct checkpointer *checkpointer;
    uint64_t snapshot_index;      /* of the newest snapshot */
    uint64_t checkpoint_index;    /* of the one being written */
    atomic_int checkpoint_result; /* CHECKPOINT_* */

    struct dead_letters *dead_letters;
    uint64_t dead_letter_jobs; /* with the worker, or on their way back */
    struct key_reader *key_reader;
    uint64_t keys_jobs; /* likewise */

    struct inbox inbox;
    struct pending_queue queue; /* commands that wait for room in a batch */
    struct flight flights[FLIGHTS];
    struct flight *filling;  /* NULL: none */
    struct flight *writing;  /* NULL: none */
    atomic_int write_result; /* WRITE_*, of the batch being written; set by the journal's thread */
    struct arena scratch;    /* of commands that nobody waits for */
    int64_t last_time_us;    /* stamped last */
    int64_t now_us;          /* shard_now_us() gave last */
    bool replaying;

    struct list_node waiters; /* parked fetches */
    int64_t waiters_due_us;   /* no parked fetch is due before it */
    pthread_t thread;
    bool started;
    bool drained; /* parked ops were answered after `draining` */
    atomic_bool draining;
    atomic_bool stopping;
    atomic_bool failed;
    struct shard_counters counters;
};
enum { CHECKPOINT_IDLE, CHECKPOINT_DONE, CHECKPOINT_FAILED };

/* shard_ops.c: on the shard's thread. */
void shard_dispatch(struct shard *s, struct op *op, int64_t now_us);
void shard_finish(struct shard *s, struct op *op); /* the op is answered */
void shard_enqueue(struct shard *s, struct op *op, struct buf *own_record);
/* Applies one durable record and answers nobody yet; the op's results are filled in. */
enum status shard_apply(struct shard *s, uint64_t index, struct span record, struct op *op,
                        int64_t now_us);
void shard_run_waiters(struct shard *s, int64_t now_us); /* parked fetches that are due */
void shard_wake_waiters(struct shard *s);                /* those whose partition got messages */
bool shard_connected(void *user, struct poll_request *poll);
void shard_submit_own(void *user, const struct command *cmd);

void shard_dispatch_seek(struct shard *s, struct op *op); /* shard_seek.c */

/* shard_dead_letters.c */

/* Where another thread is to read. Gives: it, to be released and freed; NULL: the disk fails. */
struct log_range *shard_find_range(struct shard *s, const struct partition *partition,
                                   uint64_t offset);
void shard_dead_letter(void *user, struct dead_letter_job *job); /* delivery's: to the worker */
void shard_dead_letters_ready(void *user, struct dead_letter_batch *batch); /* worker's thread */
/* The batch comes back: what could not be read is answered, the rest is journalled. */
void shard_dispatch_dead_letters(struct shard *s, struct op *op, int64_t now_us);
void shard_dead_letters_applied(struct shard *s, struct op *op, const struct result *result,
                                int64_t now_us);

/* shard_keys.c */
void shard_read_keys(void *user, struct keys_job *job);  /* delivery's: to the reader */
void shard_keys_ready(void *user, struct keys_job *job); /* reader's thread */
void shard_dispatch_keys(struct shard *s, struct op *op, int64_t now_us);

/* shard.c */
void shard_journal_done(void *user, struct journal_batch *batch, enum status st);
void shard_checkpoint_done(void *user, uint64_t index, enum status st);
int64_t shard_now_us(struct shard *s); /* the wall clock, never falling */
void shard_fail(struct shard *s, const char *what);

#endif
