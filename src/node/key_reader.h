/* Keys of messages of one shard, on a thread of its own: from delivery's jobs to arrays of
 * key_hash().
 *
 * The keys are in the partition logs, which the shard's thread must not read. */
#ifndef NODE_KEY_READER_H
#define NODE_KEY_READER_H

#include "delivery/delivery.h"

enum { KEYS_READ_SIZE_AIM = 1024 * 1024 }; /* of messages: a job reads no more once it is reached */

struct key_reader;

struct key_reader_options {
    /* Takes the job. On the reader's thread. */
    void (*ready)(void *user, struct keys_job *job);
    void *user;
};

/* Starts the thread. Copies options. Pair: key_reader_free(). */
struct key_reader *key_reader_new(const struct key_reader_options *options);
/* Finishes what was pushed, then ends the thread. Nothing is pushed any more. Accepts NULL. */
void key_reader_free(struct key_reader *k);

/* Takes the job until `ready`, and job->range for good: a struct log_range for the first offset,
 * released and freed here; NULL: the log cannot be looked into. The keys end where the range does,
 * at job->count_max, or when enough was read. A message that is gone from the log counts as one
 * without a key; so does the first one that cannot be read, which is the last of the job, and the
 * log has a line about it: whoever is given the message will find out. Any thread. */
void key_reader_push(struct key_reader *k, struct keys_job *job);

#endif
