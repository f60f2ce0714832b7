/* Batches and the writer thread. */
#include "journal/journal.h"

#include <stdlib.h>
#include <string.h>

#include "journal/state.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/clock.h"
#include "std/little_endian.h"
#include "std/path.h"

static const uint64_t TERM = 1; /* one node: nobody else was ever in charge */
static const uint8_t zeros[SEGMENT_PAGE];

static uint64_t padding(uint64_t size, uint64_t alignment)
{
    return (alignment - size % alignment) % alignment;
}

static struct iovec iovec_of(const void *data, size_t size)
{
    union { /* iovecs are not const, but what is written from them does not change */
        const void *in;
        void *out;
    } pointer = {.in = data};
    return (struct iovec){pointer.out, size};
}

static enum status write_batch(struct journal *j, struct journal_batch *b)
{
    if (atomic_load(&j->failed))
        return ST_IO;
    CHECK(b->first_index == atomic_load(&j->durable) + 1);
    uint64_t size = b->size + padding(b->size, 8);
    enum status st = journal_make_room(j, size);
    if (st != ST_OK)
        return st;

    /* The page is filled up with zeros: it need not be read first, and nothing old follows. */
    int count = (int)b->count + 1;
    b->iov[count] = iovec_of(zeros, (size_t)(size - b->size));
    struct segment_batch header = {.size = (uint32_t)size,
                                   .count = b->count,
                                   .first_index = b->first_index,
                                   .term = TERM,
                                   .durable = atomic_load(&j->synced)};
    segment_batch_encode(&j->active, &header, b->iov + 1, count, b->header);
    b->iov[0] = iovec_of(b->header, sizeof b->header);
    uint64_t end = j->active.used + size;
    b->iov[count + 1] = iovec_of(zeros, (size_t)padding(end, SEGMENT_PAGE));

    int64_t start_us = clock_mono_us();
    if (j->options.durability == DURABILITY_FSYNC)
        st = disk_write_sync(j->active.fd, b->iov, count + 2, j->active.used);
    else
        st = disk_write(j->active.fd, b->iov, count + 2, j->active.used);
    if (st != ST_OK)
        return st;
    int64_t write_us = clock_mono_us() - start_us;
    atomic_fetch_add(&j->batch_count, 1);
    atomic_fetch_add(&j->byte_count, size);
    atomic_fetch_add(&j->write_us, (uint64_t)write_us);
    atomic_store(&j->last_write_us, (uint64_t)write_us);

    pthread_mutex_lock(&j->mutex);
    j->active.used = end;
    uint64_t last = b->first_index + b->count - 1;
    atomic_store(&j->durable, last);
    if (j->options.durability == DURABILITY_FSYNC)
        atomic_store(&j->synced, last);
    journal_wake_preparer(j);
    pthread_mutex_unlock(&j->mutex);
    if (j->options.synced != NULL)
        j->options.synced(j->options.user, write_us, (size_t)size);
    return ST_OK;
}

static void *writer_main(void *journal)
{
    struct journal *j = journal;
    pthread_mutex_lock(&j->mutex);
    for (;;) {
        while (j->queued == 0 && !j->closing)
            pthread_cond_wait(&j->work, &j->mutex);
        if (j->queued == 0)
            break;
        struct journal_batch *b = j->queue[0];
        j->queued--;
        memmove(j->queue, j->queue + 1, j->queued * sizeof(struct journal_batch *));
        pthread_mutex_unlock(&j->mutex);

        enum status st = write_batch(j, b);
        if (st != ST_OK)
            atomic_store(&j->failed, true);
        pthread_mutex_lock(&j->mutex);
        if (st != ST_OK)
            pthread_cond_broadcast(&j->ready); /* whoever flushes */
        CHECK(b->state == BATCH_SUBMITTED);
        b->state = BATCH_DONE;
        pthread_mutex_unlock(&j->mutex);
        j->options.done(j->options.user, b, st == ST_OK ? ST_OK : ST_DISK_ERROR);
        pthread_mutex_lock(&j->mutex);
    }
    pthread_mutex_unlock(&j->mutex);
    return NULL;
}

static void start_threads(struct journal *j)
{
    CHECK(pthread_create(&j->preparer, NULL, journal_preparer_main, j) == 0);
    CHECK(pthread_create(&j->writer, NULL, writer_main, j) == 0);
    j->threads_run = true;
}

enum status journal_open(const struct journal_options *options, struct journal **out,
                         struct journal_problem *out_problem)
{
    CHECK(options->read_only || options->done != NULL);
    CHECK(options->read_only || options->segment_bytes >= 4 * (uint64_t)SEGMENT_PAGE);
    CHECK(options->segment_bytes < UINT32_MAX);
    *out = NULL;
    *out_problem = (struct journal_problem){0};
    struct journal *j = new_zero(struct journal);
    j->options = *options;
    j->options.segment_bytes -= options->segment_bytes % SEGMENT_PAGE;
    j->active.fd = -1;
    CHECK(pthread_mutex_init(&j->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&j->work, NULL) == 0);
    CHECK(pthread_cond_init(&j->ahead, NULL) == 0);
    CHECK(pthread_cond_init(&j->ready, NULL) == 0);
    enum status st = ST_TOO_BIG;
    if (strlen(options->dir) < sizeof j->dir) {
        memcpy(j->dir, options->dir, strlen(options->dir) + 1);
        st = journal_recover(j, out_problem);
    }
    if (st != ST_OK) {
        journal_close(j);
        return st;
    }
    j->options.dir = j->dir;
    j->sync_position = j->active.used;
    if (!options->read_only) {
        j->batches = alloc_array(BATCHES_MAX, sizeof j->batches[0]);
        for (int i = 0; i < BATCHES_MAX; i++)
            j->batches[i].journal = j;
        start_threads(j);
    }
    *out = j;
    return ST_OK;
}

void journal_close(struct journal *j)
{
    if (j == NULL)
        return;
    if (j->threads_run) {
        pthread_mutex_lock(&j->mutex);
        j->closing = true;
        pthread_cond_broadcast(&j->work);
        pthread_mutex_unlock(&j->mutex);
        CHECK(pthread_join(j->writer, NULL) == 0);
        pthread_mutex_lock(&j->mutex);
        j->preparer_closing = true;
        pthread_cond_broadcast(&j->ahead);
        pthread_mutex_unlock(&j->mutex);
        CHECK(pthread_join(j->preparer, NULL) == 0);
        if (j->options.durability == DURABILITY_OS && !atomic_load(&j->failed))
            (void)disk_sync(j->active.fd); /* more than was promised */
    }
    segment_close(&j->active);
    for (uint32_t i = 0; i < j->spare_count; i++)
        segment_close(&j->spares[i]);
    CHECK(pthread_mutex_destroy(&j->mutex) == 0);
    CHECK(pthread_cond_destroy(&j->work) == 0);
    CHECK(pthread_cond_destroy(&j->ahead) == 0);
    CHECK(pthread_cond_destroy(&j->ready) == 0);
    free(j->batches);
    free(j->sealed);
    free(j);
}

struct journal_batch *journal_batch_begin(struct journal *j)
{
    CHECK(!j->options.read_only);
    struct journal_batch *found = NULL;
    pthread_mutex_lock(&j->mutex);
    for (int i = 0; i < BATCHES_MAX; i++) {
        CHECK(j->batches[i].state != BATCH_FILLING); /* one at a time: indexes are in order */
        if (j->batches[i].state == BATCH_FREE)
            found = &j->batches[i];
    }
    if (found != NULL) {
        found->state = BATCH_FILLING;
        found->first_index = j->next_index;
        found->size = SEGMENT_BATCH_HEADER;
        found->count = 0;
    }
    pthread_mutex_unlock(&j->mutex);
    return found;
}

bool journal_batch_fits(const struct journal_batch *b, size_t record_size)
{
    uint64_t room = b->journal->options.segment_bytes - SEGMENT_HEADER_SIZE - 8;
    return b->count < JOURNAL_BATCH_RECORDS_MAX && b->size + record_size <= room;
}

uint64_t journal_batch_add(struct journal_batch *b, struct span record)
{
    CHECK(b->state == BATCH_FILLING);
    CHECK(record.size >= 4 && record.size <= JOURNAL_RECORD_SIZE_MAX);
    CHECK(load_u32(record.data) == record.size);
    CHECK(journal_batch_fits(b, record.size));
    b->iov[++b->count] = iovec_of(record.data, record.size);
    b->size += record.size;
    return b->journal->next_index++;
}

uint32_t journal_batch_count(const struct journal_batch *b)
{
    return b->count;
}

uint64_t journal_batch_size(const struct journal_batch *b)
{
    return b->size;
}

uint64_t journal_batch_first_index(const struct journal_batch *b)
{
    return b->first_index;
}

void journal_batch_submit(struct journal_batch *b)
{
    struct journal *j = b->journal;
    CHECK(b->count > 0);
    pthread_mutex_lock(&j->mutex);
    CHECK(b->state == BATCH_FILLING);
    CHECK(j->queued < BATCHES_MAX);
    b->state = BATCH_SUBMITTED;
    j->queue[j->queued++] = b;
    pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->mutex);
}

void journal_batch_end(struct journal_batch *b)
{
    pthread_mutex_lock(&b->journal->mutex);
    CHECK(b->state == BATCH_DONE || (b->state == BATCH_FILLING && b->count == 0));
    b->state = BATCH_FREE;
    pthread_mutex_unlock(&b->journal->mutex);
}

uint64_t journal_first_index(const struct journal *j)
{
    return j->sealed_count > 0 ? j->sealed[0].first_index : j->active.first_index;
}

uint64_t journal_next_index(const struct journal *j)
{
    return j->next_index;
}

uint64_t journal_durable_index(const struct journal *j)
{
    return atomic_load(&j->durable);
}

/* Within the segment that `index` is in, as if all records were of one size. */
static uint64_t share_since(const struct segment *s, uint64_t end_index, uint64_t index)
{
    uint64_t bytes = s->used - SEGMENT_HEADER_SIZE;
    if (index <= s->first_index)
        return bytes;
    if (index >= end_index)
        return 0;
    double share = (double)(end_index - index) / (double)(end_index - s->first_index);
    return (uint64_t)((double)bytes * share);
}

uint64_t journal_bytes_since(struct journal *j, uint64_t index)
{
    uint64_t bytes = 0;
    pthread_mutex_lock(&j->mutex);
    for (uint32_t i = 0; i < j->sealed_count; i++) {
        uint64_t end =
            i + 1 < j->sealed_count ? j->sealed[i + 1].first_index : j->active.first_index;
        bytes += share_since(&j->sealed[i], end, index);
    }
    bytes += share_since(&j->active, atomic_load(&j->durable) + 1, index);
    pthread_mutex_unlock(&j->mutex);
    return bytes;
}

void journal_get_counters(const struct journal *j, struct journal_counters *out)
{
    *out = (struct journal_counters){
        .batches = atomic_load(&j->batch_count),
        .bytes = atomic_load(&j->byte_count),
        .write_us = atomic_load(&j->write_us),
        .last_write_us = atomic_load(&j->last_write_us),
    };
}
