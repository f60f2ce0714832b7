/* How ops reach the shard: many threads push, one takes all, in order. Bounded by count and bytes.
 *
 * A push is one compare-and-swap; the taker is woken through an eventfd only when it sleeps. While
 * it waits for the disk, commands do not wake it: they could only join a queue, which they do just
 * as well in here. */
#ifndef NODE_INBOX_H
#define NODE_INBOX_H

#include <stdatomic.h>
#include <stdbool.h>

#include "node/op.h"

enum { INBOX_OPS_MAX = 65536 };
#define INBOX_BYTES_MAX (512ULL * 1024 * 1024)

enum inbox_sleep { INBOX_AWAKE, INBOX_ASLEEP, INBOX_ASLEEP_FOR_DISK };

struct inbox {
    _Atomic(struct op *) head; /* newest first */
    atomic_uint op_count;      /* pushed and not yet given back with inbox_done() */
    atomic_ullong byte_count;  /* of their records */
    atomic_int sleep;          /* INBOX_* */
    int event_fd;
};

void inbox_init(struct inbox *in);
void inbox_fini(struct inbox *in);
/* Any thread. False: it is full, nothing happened. An op counts until inbox_done(). */
bool inbox_push(struct inbox *in, struct op *op);
/* The same for an op of the broker's own, whose number has a bound elsewhere: never refused. */
void inbox_push_own(struct inbox *in, struct op *op);
/* The op is answered: its place is free again. Before its done(). */
void inbox_done(struct inbox *in, const struct op *op);
struct op *inbox_take_all(struct inbox *in); /* oldest first, linked by next; NULL: none */
bool inbox_is_empty(const struct inbox *in);
void inbox_wake(struct inbox *in); /* any thread */
/* Announces sleep: false when something was pushed meanwhile, and the taker stays awake. What
 * another thread wakes for with inbox_wake() must be looked at between this and inbox_wait(). */
/* for_disk: somebody will call inbox_wake() soon, so commands need not wake it. */
bool inbox_arm(struct inbox *in, bool for_disk);
void inbox_disarm(struct inbox *in);
/* After inbox_arm(): sleeps until something is pushed, inbox_wake(), or timeout_us passed (-1: for
 * ever). */
void inbox_wait(struct inbox *in, int64_t timeout_us);

#endif
