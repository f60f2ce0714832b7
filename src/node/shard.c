/* The loop: take ops, fill a journal batch, apply what is durable, answer, run timers, sleep. */
#include "node/shard.h"

#include <stdlib.h>

#include "command/codec.h"
#include "node/logline.h"
#include "node/shard_state.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/clock.h"

/* The journal may run at most this many times the checkpoint size ahead of the newest snapshot;
 * then commands wait. It bounds what a restart has to replay. */
enum { REPLAY_BOUND_FACTOR = 2 };

int64_t shard_now_us(struct shard *s)
{
    int64_t now_us = clock_wall_us();
    if (now_us < s->last_time_us)
        now_us = s->last_time_us;
    if (now_us > s->now_us) /* nor below what delivery was told, whose timers become commands */
        s->now_us = now_us;
    return s->now_us;
}

void shard_fail(struct shard *s, const char *what)
{
    if (!atomic_exchange(&s->failed, true))
        log_line(LOG_ERROR, "disk_error", "what=%s action=\"no writes until restart\"", what);
}

enum status shard_submit(struct shard *s, struct op *op)
{
    if (atomic_load(&s->draining) && op->kind != OP_QUERY && op->kind != OP_RELEASE)
        return ST_NOT_READY;
    bool writes = op->kind == OP_COMMAND || op->kind == OP_ACK || op->kind == OP_RESOLVE ||
                  op->kind == OP_JOIN || op->kind == OP_TRANSACTION_ACK;
    if (writes && atomic_load(&s->failed))
        return ST_DISK_ERROR;
    return inbox_push(&s->inbox, op) ? ST_OK : ST_BUSY;
}

static struct span pending_record(const struct pending *item)
{
    return buf_span(item->op != NULL ? &item->op->record : &item->record);
}

static bool flight_has_room(const struct flight *f, const struct pending *next)
{
    return f->count < JOURNAL_BATCH_RECORDS_MAX &&
           (f->count == 0 ||
            journal_batch_size(f->batch) + pending_record(next).size <= JOURNAL_BATCH_SIZE_AIM);
}

static struct flight *flight_begin(struct shard *s)
{
    for (int i = 0; i < FLIGHTS; i++) {
        struct flight *f = &s->flights[i];
        if (f->batch != NULL)
            continue;
        f->batch = journal_batch_begin(s->journal);
        return f->batch != NULL ? f : NULL;
    }
    return NULL;
}

/* Moves queued commands into the batch at hand, stamping them with the time, and hands the batch to
 * the journal's thread when that is idle. */
static void shard_pump(struct shard *s, int64_t now_us)
{
    struct pending_queue *q = &s->queue;
    uint64_t bound = (uint64_t)s->config->checkpoint_bytes_bytes * REPLAY_BOUND_FACTOR;
    if (journal_bytes_since(s->journal, s->snapshot_index + 1) > bound &&
        checkpointer_busy(s->checkpointer))
        return;
    while (q->count > 0) {
        if (s->filling == NULL)
            s->filling = flight_begin(s);
        struct pending *item = &q->items[q->first];
        if (s->filling == NULL || !flight_has_room(s->filling, item))
            break;
        struct span record = pending_record(item);
        uint8_t *bytes = item->op != NULL ? item->op->record.data : item->record.data;
        command_stamp(bytes, now_us);
        s->last_time_us = now_us;
        (void)journal_batch_add(s->filling->batch, record);
        s->filling->items[s->filling->count++] = *item;
        q->first = (q->first + 1) % q->capacity;
        q->count--;
    }
    if (s->filling != NULL && s->filling->count > 0 && s->writing == NULL) {
        s->writing = s->filling;
        s->filling = NULL;
        journal_batch_submit(s->writing->batch);
    }
}

/* Runs on the journal's thread. */
void shard_journal_done(void *user, struct journal_batch *batch, enum status st)
{
    struct shard *s = user;
    (void)batch; /* only one is written at a time */
    atomic_store(&s->write_result, st == ST_OK ? WRITE_DURABLE : WRITE_FAILED);
    inbox_wake(&s->inbox);
}

static void flight_answer(struct shard *s, struct flight *f, enum status failure)
{
    for (uint32_t i = 0; i < f->count; i++) {
        struct pending *item = &f->items[i];
        if (item->op == NULL) {
            buf_fini(&item->record);
            continue;
        }
        if (failure != ST_OK) {
            item->op->result = (struct result){.status = failure};
            item->op->failed = failure;
        }
        shard_finish(s, item->op);
    }
    journal_batch_end(f->batch);
    f->batch = NULL;
    f->count = 0;
}

/* Applies a durable batch and answers. */
static void flight_apply(struct shard *s, struct flight *f, int64_t now_us)
{
    uint64_t index = journal_batch_first_index(f->batch);
    for (uint32_t i = 0; i < f->count; i++) {
        enum status st =
            shard_apply(s, index + i, pending_record(&f->items[i]), f->items[i].op, now_us);
        CHECK(st == ST_OK); /* we encoded it */
        if (f->items[i].op == NULL)
            arena_clear(&s->scratch);
    }
    if (logs_flush_due(&s->logs))
        (void)logs_flush(&s->logs);
    if (s->logs.failed != ST_OK)
        shard_fail(s, "partition_log");
    flight_answer(s, f, ST_OK); /* even then: it is in the journal, and a restart will have it */
}

static void shard_complete(struct shard *s, int64_t now_us)
{
    int result = atomic_exchange(&s->write_result, WRITE_NONE);
    if (result == WRITE_NONE)
        return;
    struct flight *f = s->writing;
    CHECK(f != NULL);
    s->writing = NULL;
    if (result == WRITE_DURABLE) {
        /* The next write starts before this batch is applied: disk and machine work side by side.
         */
        shard_pump(s, now_us);
        flight_apply(s, f, now_us);
        shard_wake_waiters(s);
        return;
    }
    shard_fail(s, "journal");
    flight_answer(s, f, ST_DISK_ERROR);
}

/* After a disk error nothing is journalled any more: what waits is answered so. */
static void shard_refuse_queued(struct shard *s)
{
    if (s->filling != NULL) {
        struct flight *f = s->filling;
        s->filling = NULL;
        flight_answer(s, f, ST_DISK_ERROR);
    }
    while (s->queue.count > 0) {
        struct pending *item = &s->queue.items[s->queue.first];
        s->queue.first = (s->queue.first + 1) % s->queue.capacity;
        s->queue.count--;
        buf_fini(&item->record);
        if (item->op == NULL)
            continue;
        item->op->result = (struct result){.status = ST_DISK_ERROR};
        item->op->failed = ST_DISK_ERROR;
        shard_finish(s, item->op);
    }
}

static void checkpoint_start(struct shard *s)
{
    if (logs_flush(&s->logs) != ST_OK) {
        shard_fail(s, "partition_log");
        return;
    }
    struct checkpoint_job job = {.index = machine_applied_index(s->machine)};
    logs_take_dirty(&s->logs, &job.dirty);
    job.doomed = logs_take_doomed(&s->logs);
    buf_init(&job.snapshot, SIZE_MAX);
    machine_save(s->machine, &job.snapshot);
    s->checkpoint_index = job.index;
    checkpointer_submit(s->checkpointer, &job);
}

/* Runs on the checkpointer's thread. */
void shard_checkpoint_done(void *user, uint64_t index, enum status st)
{
    struct shard *s = user;
    (void)index;
    atomic_store(&s->checkpoint_result, st == ST_OK ? CHECKPOINT_DONE : CHECKPOINT_FAILED);
    inbox_wake(&s->inbox);
}

static void shard_checkpoint(struct shard *s)
{
    if (s->logs.failed != ST_OK)
        shard_fail(s, "partition_log");
    int result = atomic_exchange(&s->checkpoint_result, CHECKPOINT_IDLE);
    if (result == CHECKPOINT_DONE)
        s->snapshot_index = s->checkpoint_index;
    else if (result == CHECKPOINT_FAILED)
        shard_fail(s, "checkpoint");
    if (atomic_load(&s->failed) || checkpointer_busy(s->checkpointer))
        return;
    if (journal_bytes_since(s->journal, s->snapshot_index + 1) >=
            (uint64_t)s->config->checkpoint_bytes_bytes &&
        machine_applied_index(s->machine) > s->snapshot_index)
        checkpoint_start(s);
}

static bool shard_is_idle(const struct shard *s)
{
    return inbox_is_empty(&s->inbox) && s->queue.count == 0 && s->writing == NULL &&
           s->filling == NULL && s->dead_letter_jobs == 0 && s->keys_jobs == 0;
}

static bool shard_has_news(struct shard *s)
{
    return atomic_load(&s->write_result) != WRITE_NONE ||
           atomic_load(&s->checkpoint_result) != CHECKPOINT_IDLE || atomic_load(&s->stopping) ||
           (atomic_load(&s->draining) && !s->drained);
}

static void shard_sleep(struct shard *s, int64_t due_us, int64_t now_us)
{
    if (s->waiters_due_us < due_us)
        due_us = s->waiters_due_us;
    if (due_us <= now_us || !inbox_arm(&s->inbox, s->writing != NULL))
        return;
    if (shard_has_news(s))
        inbox_disarm(&s->inbox);
    else
        inbox_wait(&s->inbox, due_us == INT64_MAX ? -1 : due_us - now_us);
}

static void *shard_main(void *user)
{
    struct shard *s = user;
    (void)pthread_setname_np(pthread_self(), "shard");
    delivery_start(s->delivery, shard_now_us(s));
    for (;;) {
        int64_t now_us = shard_now_us(s);
        struct op *next = NULL;
        for (struct op *op = inbox_take_all(&s->inbox); op != NULL; op = next) {
            next = op->next;
            shard_dispatch(s, op, now_us);
        }
        shard_complete(s, now_us);
        if (atomic_load(&s->draining) && !s->drained) {
            delivery_drain(s->delivery);
            shard_run_waiters(s, now_us);
            s->drained = true;
        }
        if (now_us >= s->waiters_due_us)
            shard_run_waiters(s, now_us);
        delivery_settle(s->delivery, now_us);
        int64_t due_us = delivery_run_timers(s->delivery, now_us);
        if (atomic_load(&s->failed))
            shard_refuse_queued(s);
        else
            shard_pump(s, now_us);
        shard_checkpoint(s);
        if (atomic_load(&s->stopping) && shard_is_idle(s))
            break;
        shard_sleep(s, due_us, now_us);
    }
    return NULL;
}

void shard_start(struct shard *s)
{
    s->started = true;
    CHECK(pthread_create(&s->thread, NULL, shard_main, s) == 0);
}

void shard_drain(struct shard *s)
{
    atomic_store(&s->draining, true);
    inbox_wake(&s->inbox);
}

void shard_stop(struct shard *s)
{
    CHECK(s->started);
    shard_drain(s);
    atomic_store(&s->stopping, true);
    inbox_wake(&s->inbox);
    CHECK(pthread_join(s->thread, NULL) == 0);
    s->started = false;
    checkpointer_free(s->checkpointer); /* finishes the one at hand */
    s->checkpointer = NULL;
    if (atomic_load(&s->failed) || machine_applied_index(s->machine) == s->snapshot_index)
        return;
    s->checkpointer =
        checkpointer_new(s->journal, s->snapshot_dir, s->logs.dir, shard_checkpoint_done, s);
    checkpoint_start(s);
}

bool shard_has_failed(const struct shard *s)
{
    return atomic_load(&s->failed);
}

bool shard_is_draining(const struct shard *s)
{
    return atomic_load(&s->draining);
}

const struct receipt_key *shard_receipt_key(const struct shard *s)
{
    return &s->receipt_key;
}
