#include "node/dead_letters.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "command/codec.h"
#include "command/dead_letter_headers.h"
#include "command/record_batch.h"
#include "journal/journal.h"
#include "node/fetch.h"
#include "node/logline.h"
#include "node/worker.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/clock.h"
#include "std/list.h"
#include "std/murmur3.h"

struct dead_letters {
    struct dead_letters_options options;
    struct worker worker;   /* its load: bytes of the commands that were not given back yet */
    atomic_uint user_count; /* who may still come: batches, and who called dead_letters_new() */

    /* The worker's. */
    struct dead_letter_entry entries[DEAD_LETTERS_PER_COMMAND_MAX];
    struct buf batches; /* of the entries, one after the other */
    struct buf headers; /* of one message */
};

static struct dead_letter_batch *batch_new(struct dead_letters *d)
{
    struct dead_letter_batch *batch = new_zero(struct dead_letter_batch);
    const size_t count = DEAD_LETTERS_PER_COMMAND_MAX;
    buf_init(&batch->record, JOURNAL_RECORD_SIZE_MAX);
    batch->jobs = alloc_array(count, sizeof *batch->jobs);
    batch->failed = alloc_array(count, sizeof *batch->failed);
    batch->failed_statuses = alloc_array(count, sizeof *batch->failed_statuses);
    batch->owner = d;
    return batch;
}

/* The last one to let go frees it. */
static void leave(struct dead_letters *d)
{
    if (atomic_fetch_sub(&d->user_count, 1) > 1)
        return;
    worker_fini(&d->worker);
    buf_fini(&d->headers);
    free(d);
}

void dead_letter_batch_free(struct dead_letter_batch *batch)
{
    if (batch == NULL)
        return;
    worker_remove_load(&batch->owner->worker, batch->counted);
    leave(batch->owner);
    buf_fini(&batch->record);
    free(batch->jobs);
    free(batch->failed);
    free(batch->failed_statuses);
    free(batch);
}

static void report(const struct dead_letter_job *job, enum status st,
                   const struct journal_problem *problem)
{
    char path[sizeof problem->path * 2], topic[QUALIFIED_NAME_SIZE_MAX * 2];
    log_line(LOG_ERROR, "unreadable_dead_letter",
             "topic=%s partition=%" PRIu32 " offset=%" PRIu64 " file=%s position=%" PRIu64
             " problem=\"%s\"",
             log_quote(topic, sizeof topic, job->topic.data, job->topic.size), job->place.partition,
             job->place.offset, log_quote(path, sizeof path, problem->path, strlen(problem->path)),
             problem->position, problem->what == NULL ? status_text(st) : problem->what);
}

/* The message as it is stored in the dead-letter topic. */
static void write_message(struct dead_letters *d, const struct dead_letter_job *job,
                          const struct fetched *message)
{
    const struct dead_letter_facts facts = {
        .reason = job->reason,
        .error = job->error,
        .topic = job->topic,
        .partition = job->place.partition,
        .offset = job->place.offset,
        .published_us = message->time_us,
        .delivery_count = job->delivery_count,
        .first_us = job->first_us,
        .last_us = job->last_us,
        .group = job->group,
        .member_id = job->member_id,
        .time_us = clock_wall_us(),
    };
    buf_clear(&d->headers);
    dead_letter_headers_write(message->record.headers, &facts, &d->headers);

    struct record record = message->record;
    record.headers = buf_span(&d->headers);
    record.delay_us = 0; /* it was due long ago */
    record.deliver_at_us = 0;
    struct batch_builder builder;
    batch_begin(&builder, &d->batches);
    batch_add(&builder, &record);
    batch_end(&builder);
    CHECK(!d->headers.overflowed && !d->batches.overflowed); /* a publish has a smaller bound */
}

/* Appends the message to d->batches; nothing when it is gone.
 * Errors: ST_IO, ST_CORRUPT; the log has a line about it. */
static enum status read_message(struct dead_letters *d, const struct dead_letter_job *job,
                                uint32_t *out_hash)
{
    const struct log_range *range = job->range;
    *out_hash = job->place.partition;
    struct fetch fetch;
    struct fetched message;
    struct journal_problem problem = {0};
    bool end = false;
    if (job->drop)
        return ST_OK;
    if (range == NULL) {
        report(job, ST_IO, &problem);
        return ST_IO;
    }
    fetch_init(&fetch, range, job->place.offset);
    const enum status st = fetch_next(&fetch, &message, &end, &problem);
    if (st != ST_OK) {
        report(job, st, &problem);
    } else if (!end && message.offset == job->place.offset) {
        if (message.record.key.size > 0)
            *out_hash = murmur3_32(message.record.key);
        write_message(d, job, &message);
    }
    fetch_fini(&fetch);
    return st;
}

static void release_range(struct dead_letter_job *job)
{
    if (job->range == NULL)
        return;
    log_range_release(job->range);
    free(job->range);
    job->range = NULL;
}

/* Its message becomes the next entry, or the job one that failed. */
static void take_job(struct dead_letters *d, struct dead_letter_job *job,
                     struct dead_letter_batch *batch)
{
    const size_t start = d->batches.size;
    const struct resolve_request *asked = job->asked;
    uint32_t hash = 0;
    const enum status st = read_message(d, job, &hash);
    release_range(job);
    if (st != ST_OK) {
        batch->failed[batch->failed_count] = job;
        batch->failed_statuses[batch->failed_count++] = st;
        return;
    }
    d->entries[batch->count] = (struct dead_letter_entry){
        .place = job->place,
        .lease_id = job->lease_id,
        .delivery_count = job->delivery_count,
        .reason = job->reason,
        .asked = asked != NULL && asked->kind == RESOLVE_REJECT,
        .nacked = asked != NULL && asked->kind == RESOLVE_NACK,
        .hash = hash,
        .batch = {.size = d->batches.size - start},
    };
    batch->jobs[batch->count++] = job;
}

static void encode(struct dead_letters *d, struct dead_letter_batch *batch)
{
    size_t at = 0; /* the buffer does not move any more */
    for (uint32_t i = 0; i < batch->count; i++) {
        const size_t size = d->entries[i].batch.size;
        if (size > 0)
            d->entries[i].batch = span_of(d->batches.data + at, size);
        at += size;
    }
    CHECK(at == d->batches.size);
    const struct command cmd = {.type = COMMAND_DEAD_LETTER,
                                .dead_letter = {.settings = d->options.settings,
                                                .entry_count = batch->count,
                                                .entries = d->entries}};
    command_encode(&cmd, &batch->record);
    CHECK(!batch->record.overflowed);
}

/* The first of the jobs, as many as a command takes. */
static struct dead_letter_batch *make_batch(struct dead_letters *d, struct list_node *jobs)
{
    struct dead_letter_batch *batch = batch_new(d);
    buf_init(&d->batches, JOURNAL_RECORD_SIZE_MAX);
    while (!list_empty(jobs) && batch->count + batch->failed_count < DEAD_LETTERS_PER_COMMAND_MAX &&
           d->batches.size < DEAD_LETTER_BATCH_SIZE_AIM)
        take_job(d, list_entry(list_pop(jobs), struct dead_letter_job, link), batch);
    if (batch->count > 0)
        encode(d, batch);
    buf_fini(&d->batches);
    batch->counted = batch->record.size;
    return batch;
}

static void run(void *user, struct list_node *jobs)
{
    struct dead_letters *d = user;
    struct dead_letter_batch *batch = make_batch(d, jobs);
    worker_add_load(&d->worker, batch->counted);
    atomic_fetch_add(&d->user_count, 1);
    d->options.ready(d->options.user, batch);
}

struct dead_letters *dead_letters_new(const struct dead_letters_options *options)
{
    struct dead_letters *d = new_zero(struct dead_letters);
    d->options = *options;
    atomic_init(&d->user_count, 1);
    buf_init(&d->headers, BATCH_SIZE_MAX);
    worker_init(&d->worker, &(struct worker_options){.name = "dead-letters",
                                                     .run = run,
                                                     .load_max = DEAD_LETTERS_UNDER_WAY_MAX,
                                                     .user = d});
    return d;
}

void dead_letters_free(struct dead_letters *d)
{
    if (d == NULL)
        return;
    worker_stop(&d->worker);
    leave(d);
}

void dead_letters_push(struct dead_letters *d, struct dead_letter_job *job)
{
    worker_push(&d->worker, &job->link);
}
