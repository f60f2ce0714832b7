/* Dead letters of one shard, on a thread of its own: from messages that failed to DEAD_LETTER
 * commands with their bodies.
 *
 * A message's body is in its partition log, which the shard's thread must not read; so delivery's
 * jobs come here, are read, and go back as commands for the journal. What waits while a command is
 * made goes into the next one: they are few when it is calm and full under load. */
#ifndef NODE_DEAD_LETTERS_H
#define NODE_DEAD_LETTERS_H

#include "command/command.h"
#include "delivery/delivery.h"
#include "std/buf.h"

enum {
    /* No job is added to a command beyond it, so that a command is this and one message at most. */
    DEAD_LETTER_BATCH_SIZE_AIM = 1024 * 1024,
    /* No message is read while commands of so many bytes are under way: a thousand large messages
     * that expire together are not in memory together. */
    DEAD_LETTERS_UNDER_WAY_MAX = 8 * 1024 * 1024,
};

struct dead_letters;

struct dead_letter_batch {
    struct buf record;             /* the command, encoded; empty when there is no entry */
    struct dead_letter_job **jobs; /* of its entries, in their order */
    uint32_t count;
    struct dead_letter_job **failed; /* whose message could not be read */
    enum status *failed_statuses;    /* ST_IO, ST_CORRUPT; the log has a line about each */
    uint32_t failed_count;
    struct dead_letters *owner; /* the worker's, as the next */
    size_t counted;             /* bytes of those under way */
};

/* Not the jobs. Once the command is applied: until then it counts as under way. Any thread, also
 * after dead_letters_free(). Accepts NULL. */
void dead_letter_batch_free(struct dead_letter_batch *batch);

struct dead_letters_options {
    struct topic_settings settings; /* of dead-letter topics that are created */
    /* Takes the batch and its jobs. On the worker's thread. */
    void (*ready)(void *user, struct dead_letter_batch *batch);
    void *user;
};

/* Starts the thread. Copies options. Pair: dead_letters_free(). */
struct dead_letters *dead_letters_new(const struct dead_letters_options *options);
/* Finishes what was pushed, then ends the thread. Nothing is pushed any more. Accepts NULL. */
void dead_letters_free(struct dead_letters *d);

/* Takes the job until `ready`, and job->range for good: a struct log_range for the message's
 * offset, released and freed here; NULL: the log cannot be looked into, and the job fails (ST_IO).
 * A message that is gone from the log, or with job->drop, gets an entry with an empty batch. Never
 * blocks on I/O. Any thread. */
void dead_letters_push(struct dead_letters *d, struct dead_letter_job *job);

#endif
