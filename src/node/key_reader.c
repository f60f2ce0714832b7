#include "node/key_reader.h"

#include <inttypes.h>
#include <stdlib.h>

#include "command/key_hash.h"
#include "node/fetch.h"
#include "node/logline.h"
#include "node/worker.h"
#include "std/alloc.h"
#include "std/check.h"

struct key_reader {
    struct key_reader_options options;
    struct worker worker;
};

static void report(const struct keys_job *job, enum status st,
                   const struct journal_problem *problem)
{
    char path[sizeof problem->path * 2];
    log_line(LOG_ERROR, "unreadable_key",
             "topic_id=%" PRIu32 " partition=%" PRIu32 " offset=%" PRIu64
             " file=%s position=%" PRIu64 " problem=\"%s\"",
             job->place.topic_id, job->place.partition, job->place.offset + job->count,
             log_quote(path, sizeof path, problem->path, strlen(problem->path)), problem->position,
             problem->what == NULL ? status_text(st) : problem->what);
}

static void add_key(struct keys_job *job, uint32_t key)
{
    CHECK(job->count < job->count_max);
    job->keys[job->count++] = key;
}

/* The next message of the log; those in front of it that are missing have no key. */
static void add_message(struct keys_job *job, const struct fetched *message)
{
    const uint64_t from = job->place.offset;
    CHECK(message->offset >= from + job->count);
    while (job->count < job->count_max && from + job->count < message->offset)
        add_key(job, KEY_NONE);
    if (job->count < job->count_max)
        add_key(job, key_hash(message->record.key));
}

static enum status read_keys(struct keys_job *job, struct journal_problem *out_problem)
{
    struct fetch fetch;
    struct fetched message;
    uint64_t size = 0;
    bool end = false;
    enum status st = ST_OK;
    if (job->range == NULL)
        return ST_IO;
    fetch_init(&fetch, job->range, job->place.offset);
    while (st == ST_OK && job->count < job->count_max && size < KEYS_READ_SIZE_AIM) {
        st = fetch_next(&fetch, &message, &end, out_problem);
        if (st != ST_OK || end)
            break;
        add_message(job, &message);
        size += record_payload(&message.record);
    }
    fetch_fini(&fetch);
    return st;
}

static void run(void *user, struct list_node *jobs)
{
    struct key_reader *k = user;
    struct keys_job *job = list_entry(list_pop(jobs), struct keys_job, link);
    struct journal_problem problem = {0};
    CHECK(job->count_max > 0 && job->keys == NULL && job->count == 0);
    job->keys = alloc_array(job->count_max, sizeof *job->keys);
    const enum status st = read_keys(job, &problem);
    if (st != ST_OK && job->count < job->count_max) {
        report(job, st, &problem);
        add_key(job, KEY_NONE);
    }
    if (job->count == 0) /* it has gone meanwhile */
        add_key(job, KEY_NONE);
    if (job->range != NULL)
        log_range_release(job->range);
    free(job->range);
    job->range = NULL;
    k->options.ready(k->options.user, job);
}

struct key_reader *key_reader_new(const struct key_reader_options *options)
{
    struct key_reader *k = new_zero(struct key_reader);
    k->options = *options;
    worker_init(&k->worker, &(struct worker_options){.name = "key-reader", .run = run, .user = k});
    return k;
}

void key_reader_free(struct key_reader *k)
{
    if (k == NULL)
        return;
    worker_stop(&k->worker);
    worker_fini(&k->worker);
    free(k);
}

void key_reader_push(struct key_reader *k, struct keys_job *job)
{
    worker_push(&k->worker, &job->link);
}
