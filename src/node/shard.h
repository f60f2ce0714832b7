/* The loop that everything durable passes: take requests, journal commands, wait until they are
 * durable, apply, answer. One thread; it owns the machine, delivery and the tails of the partition
 * logs. */
#ifndef NODE_SHARD_H
#define NODE_SHARD_H

#include <pthread.h>
#include <stdatomic.h>

#include "delivery/receipt.h"
#include "node/config.h"
#include "node/op.h"
#include "std/histogram.h"
#include "std/status.h"

struct shard;

/* Recovers the state in the data directory. Gives: *out, not yet running.
 * Errors: ST_IO, ST_CORRUPT, with *out_problem. */
enum status shard_open(const struct config *config, struct shard **out,
                       struct journal_problem *out_problem);
void shard_start(struct shard *s); /* its threads */
/* From now on new ops get ST_NOT_READY (queries are still answered) and parked ones are answered.
 */
void shard_drain(struct shard *s);
bool shard_is_draining(const struct shard *s); /* any thread */
/* Drains, finishes what was handed over, writes a snapshot. No op may be submitted any more. */
void shard_stop(struct shard *s);
void shard_close(struct shard *s); /* accepts NULL */

/* Hands op over. Errors: ST_BUSY: the inbox is full, ST_NOT_READY: stopping, ST_DISK_ERROR: the
 * journal has stopped (commands only); the op stays the caller's and nothing happened. Any thread.
 */
enum status shard_submit(struct shard *s, struct op *op);

const struct receipt_key *shard_receipt_key(const struct shard *s);
/* The disk failed: nothing is written any more, the process should end. Any thread. */
bool shard_has_failed(const struct shard *s);

/* Counted since the start; relaxed atomics, any thread. */
struct shard_counters {
    atomic_ullong syncs;         /* journal writes made durable */
    atomic_ullong sync_us;       /* time they took, in total */
    atomic_ullong journal_bytes; /* written */
    pthread_mutex_t sync_lock;
    struct histogram sync_histogram; /* microseconds; under sync_lock */
};
struct shard_counters *shard_get_counters(struct shard *s);

#endif
