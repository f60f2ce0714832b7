/* Housekeeping of one shard, on a thread of its own: partition logs to the disk, then the snapshot,
 * then older journal segments and the files of deleted topics go. One job at a time.
 *
 * The order is what makes a crash at any point harmless: a snapshot never says more than the logs
 * on the disk hold, and the journal is released only below a snapshot that is there. */
#ifndef NODE_CHECKPOINT_H
#define NODE_CHECKPOINT_H

#include "journal/journal.h"
#include "journal/partition_log.h"
#include "node/logs.h"
#include "std/buf.h"

struct checkpoint_job {
    struct log_dirty dirty; /* to be synced */
    uint64_t index;         /* the snapshot's; 0: only sync */
    struct buf snapshot;
    struct doomed doomed;
};

struct checkpointer;

/* Borrows: journal and the directories' names, until checkpointer_free(). `done` runs on its
 * thread. */
struct checkpointer *checkpointer_new(struct journal *journal, const char *snapshot_dir,
                                      const char *log_dir,
                                      void (*done)(void *user, uint64_t index, enum status st),
                                      void *user);
void checkpointer_free(struct checkpointer *c); /* finishes the job at hand; accepts NULL */
bool checkpointer_busy(const struct checkpointer *c);
/* Takes: the job's contents. Must not be busy. */
void checkpointer_submit(struct checkpointer *c, struct checkpoint_job *job);

#endif
