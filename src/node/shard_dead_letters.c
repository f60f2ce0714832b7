/* Dead letters between delivery, which decides them, the worker that reads their messages, and the
 * journal. */
#include <stdlib.h>

#include "node/shard_state.h"
#include "std/alloc.h"
#include "std/check.h"

struct log_range *shard_find_range(struct shard *s, const struct partition *partition,
                                   uint64_t offset)
{
    struct log_range *range = new_zero(struct log_range);
    logs_find(&s->logs, logs_slot(partition), offset, range);
    if (s->logs.failed == ST_OK)
        return range;
    free(range); /* not read is not gone */
    return NULL;
}

void shard_dead_letter(void *user, struct dead_letter_job *job)
{
    struct shard *s = user;
    job->range = shard_find_range(s, job->source, job->place.offset);
    job->source = NULL;
    s->dead_letter_jobs++;
    dead_letters_push(s->dead_letters, job);
}

static void end_job(struct shard *s, struct dead_letter_job *job, const struct dead_lettered *dead,
                    int64_t now_us)
{
    CHECK(s->dead_letter_jobs > 0);
    s->dead_letter_jobs--;
    delivery_dead_letter_end(s->delivery, job, dead, now_us);
}

/* The shard is done with the op, whatever became of it. */
static void op_done(struct op *op)
{
    struct dead_letter_batch *batch = op->dead_letters;
    const struct dead_lettered failed = {.status = op->failed};
    for (uint32_t i = 0; op->failed != ST_OK && i < batch->count; i++)
        end_job(op->shard, batch->jobs[i], &failed, op->shard->last_time_us);
    dead_letter_batch_free(batch);
    buf_fini(&op->record);
    arena_fini(&op->arena);
    free(op);
}

void shard_dead_letters_ready(void *user, struct dead_letter_batch *batch)
{
    struct shard *s = user;
    struct op *op = new_zero(struct op);
    arena_init(&op->arena);
    op->kind = OP_DEAD_LETTERS;
    op->client_fd = -1;
    op->done = op_done;
    op->dead_letters = batch;
    op->record = batch->record;
    batch->record = (struct buf){0};
    inbox_push_own(&s->inbox, op);
}

void shard_dispatch_dead_letters(struct shard *s, struct op *op, int64_t now_us)
{
    struct dead_letter_batch *batch = op->dead_letters;
    for (uint32_t i = 0; i < batch->failed_count; i++) {
        const struct dead_lettered failed = {.status = batch->failed_statuses[i]};
        end_job(s, batch->failed[i], &failed, now_us);
    }
    if (batch->count > 0)
        shard_enqueue(s, op, NULL);
    else
        shard_finish(s, op);
}

void shard_dead_letters_applied(struct shard *s, struct op *op, const struct result *result,
                                int64_t now_us)
{
    struct dead_letter_batch *batch = op->dead_letters;
    CHECK(result->status == ST_OK);
    CHECK(result->dead_letter.count == batch->count);
    for (uint32_t i = 0; i < batch->count; i++)
        end_job(s, batch->jobs[i], &result->dead_letter.entries[i], now_us);
}
