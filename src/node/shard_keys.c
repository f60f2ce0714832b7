/* Keys between delivery, which needs them for keeping an order, and the thread that reads them. */
#include <stdlib.h>

#include "node/shard_state.h"
#include "std/alloc.h"
#include "std/check.h"

void shard_read_keys(void *user, struct keys_job *job)
{
    struct shard *s = user;
    job->range = shard_find_range(s, job->source, job->place.offset);
    job->source = NULL;
    s->keys_jobs++;
    key_reader_push(s->key_reader, job);
}

static void op_done(struct op *op)
{
    arena_fini(&op->arena);
    free(op);
}

void shard_keys_ready(void *user, struct keys_job *job)
{
    struct shard *s = user;
    struct op *op = new_zero(struct op);
    arena_init(&op->arena);
    op->kind = OP_KEYS;
    op->client_fd = -1;
    op->done = op_done;
    op->keys = job;
    inbox_push_own(&s->inbox, op);
}

void shard_dispatch_keys(struct shard *s, struct op *op, int64_t now_us)
{
    CHECK(s->keys_jobs > 0);
    s->keys_jobs--;
    delivery_keys_end(s->delivery, op->keys, now_us);
    shard_finish(s, op);
}
