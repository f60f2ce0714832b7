/* Space ahead of the writer. A durable write into space that already has its blocks costs about
 * half of one that must allocate them, so the preparer thread zero-fills the active segment ahead
 * of the write position, and has the next file ready before the active one is full. Files that are
 * no longer needed come back as spares. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "journal/state.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/path.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Filling goes in large steps: it begins when less than half a step is left before the writer. */
static bool wants_space(const struct journal *j)
{
    uint64_t least = j->active.used + SEGMENT_ZERO_STEP / 2;
    if (least < j->fill_wanted)
        least = j->fill_wanted;
    return j->active.filled < smaller(least, j->active.size_bytes);
}

static uint64_t fill_target(const struct journal *j)
{
    uint64_t target = j->active.used + SEGMENT_ZERO_STEP + SEGMENT_ZERO_STEP / 2;
    if (target < j->fill_wanted)
        target = j->fill_wanted;
    return smaller(target, j->active.size_bytes);
}

static bool wants_spare(const struct journal *j)
{
    bool soon = j->spare_wanted || j->active.used > j->active.size_bytes / 2;
    return soon && j->spare_count == 0 && !j->spare_failed;
}

static bool wants_sync(const struct journal *j)
{
    if (j->options.durability == DURABILITY_FSYNC)
        return false;
    return j->sync_wanted || j->active.used - j->sync_position >= SEGMENT_ZERO_STEP;
}

enum status journal_create_spare(struct journal *j, uint32_t number, struct segment *out)
{
    char path[SEGMENT_PATH_MAX];
    enum status st = path_join(path, sizeof path, j->dir, "%u.spare", number);
    return st == ST_OK ? segment_create(out, path, j->options.segment_bytes) : st;
}

/* The three steps below are called, and return, with the mutex held. */
static void prepare_spare(struct journal *j)
{
    struct segment spare;
    uint32_t number = j->spare_number++;
    pthread_mutex_unlock(&j->mutex);
    enum status st = journal_create_spare(j, number, &spare);
    pthread_mutex_lock(&j->mutex);
    if (st != ST_OK) {
        j->spare_failed = true;
    } else if (j->spare_count < SPARES_MAX) {
        j->spares[j->spare_count++] = spare;
    } else { /* released ones came in meanwhile */
        segment_close(&spare);
        (void)disk_remove(spare.path);
    }
}

static void prepare_space(struct journal *j)
{
    struct segment copy = j->active;
    uint64_t target = fill_target(j);
    j->preparing = true;
    pthread_mutex_unlock(&j->mutex);
    enum status st = segment_fill(&copy, target);
    pthread_mutex_lock(&j->mutex);
    CHECK(copy.sequence == j->active.sequence);
    j->preparing = false;
    j->active.filled = copy.filled;
    if (st != ST_OK)
        atomic_store(&j->failed, true);
}

static void prepare_sync(struct journal *j)
{
    int fd = j->active.fd;
    uint64_t position = j->active.used;
    uint64_t index = atomic_load(&j->durable);
    j->preparing = true;
    j->sync_wanted = false;
    pthread_mutex_unlock(&j->mutex);
    enum status st = disk_sync(fd);
    pthread_mutex_lock(&j->mutex);
    j->preparing = false;
    if (st == ST_OK) {
        j->sync_position = position;
        atomic_store(&j->synced, index);
    } else {
        atomic_store(&j->failed, true);
    }
}

void journal_wake_preparer(struct journal *j)
{
    if (wants_spare(j) || wants_space(j) || wants_sync(j))
        pthread_cond_signal(&j->ahead);
}

void *journal_preparer_main(void *journal)
{
    struct journal *j = journal;
    pthread_mutex_lock(&j->mutex);
    while (!j->preparer_closing) {
        bool failed = atomic_load(&j->failed);
        bool waited_for = j->active.filled < smaller(j->fill_wanted, j->active.size_bytes);
        if (!failed && wants_spare(j) && !waited_for)
            prepare_spare(j);
        else if (!failed && wants_space(j))
            prepare_space(j);
        else if (!failed && wants_sync(j))
            prepare_sync(j);
        else {
            pthread_cond_wait(&j->ahead, &j->mutex);
            continue;
        }
        pthread_cond_broadcast(&j->ready);
    }
    pthread_mutex_unlock(&j->mutex);
    return NULL;
}

void journal_push_sealed(struct journal *j, const struct segment *s)
{
    if (j->sealed_count == j->sealed_capacity) {
        j->sealed_capacity = j->sealed_capacity == 0 ? 8 : j->sealed_capacity * 2;
        j->sealed = alloc_resize(j->sealed, j->sealed_capacity, sizeof j->sealed[0]);
    }
    j->sealed[j->sealed_count] = *s;
    j->sealed[j->sealed_count++].fd = -1;
}

/* With the mutex held. The old segment is whole and synced before the new one can be seen, so only
 * the last segment can ever be torn. */
static enum status roll(struct journal *j)
{
    while ((j->spare_count == 0 || j->preparing) && !atomic_load(&j->failed)) {
        if (j->spare_count == 0 && j->spare_failed)
            return ST_IO;
        j->spare_wanted = true;
        pthread_cond_signal(&j->ahead);
        pthread_cond_wait(&j->ready, &j->mutex);
    }
    if (atomic_load(&j->failed))
        return ST_IO;
    j->spare_wanted = false;
    struct segment next = j->spares[--j->spare_count];
    struct segment old = j->active;
    uint64_t first_index = atomic_load(&j->durable) + 1;
    j->preparing = true; /* keeps the preparer off the descriptor */
    pthread_mutex_unlock(&j->mutex);

    enum status st = ST_OK;
    if (j->options.durability == DURABILITY_OS)
        st = disk_sync(old.fd);
    if (st == ST_OK)
        st = segment_start(&next, j->dir, first_index, old.sequence + 1);

    pthread_mutex_lock(&j->mutex);
    j->preparing = false;
    if (st != ST_OK) {
        segment_close(&next);
        return st;
    }
    atomic_store(&j->synced, first_index - 1);
    journal_push_sealed(j, &j->active);
    segment_close(&old);
    j->active = next;
    j->sync_position = next.used;
    return ST_OK;
}

enum status journal_make_room(struct journal *j, uint64_t size)
{
    enum status st = ST_OK;
    pthread_mutex_lock(&j->mutex);
    if (size > j->active.size_bytes - j->active.used)
        st = roll(j);
    if (st == ST_OK) {
        CHECK(size <= j->active.size_bytes - j->active.used); /* journal_batch_fits() */
        uint64_t end = j->active.used + size;
        j->fill_wanted = (end + SEGMENT_PAGE - 1) / SEGMENT_PAGE * SEGMENT_PAGE;
        journal_wake_preparer(j);
        while (j->active.filled < j->fill_wanted && !atomic_load(&j->failed))
            pthread_cond_wait(&j->ready, &j->mutex);
        j->fill_wanted = 0;
        st = atomic_load(&j->failed) ? ST_IO : ST_OK;
    }
    pthread_mutex_unlock(&j->mutex);
    return st;
}

/* A file comes back as a spare only when the directory has forgotten its old name for good: its
 * header page will change under it. */
static enum status make_spare(struct journal *j, struct segment *s, uint32_t number)
{
    char path[SEGMENT_PATH_MAX];
    enum status st = path_join(path, sizeof path, j->dir, "%u.spare", number);
    if (st == ST_OK)
        st = disk_rename(s->path, path);
    if (st == ST_OK)
        st = disk_sync_dir(j->dir);
    if (st == ST_OK)
        st = disk_open(path, O_RDWR, &s->fd);
    memcpy(s->path, path, sizeof path);
    s->filled = s->size_bytes;
    return st;
}

static void release_one(struct journal *j, struct segment *s)
{
    pthread_mutex_lock(&j->mutex);
    bool keep =
        s->size_bytes == j->options.segment_bytes && j->spare_count + j->spares_coming < SPARES_MAX;
    uint32_t number = j->spare_number++;
    j->spares_coming += keep ? 1 : 0;
    pthread_mutex_unlock(&j->mutex);
    if (!keep) {
        (void)disk_remove(s->path); /* what stays behind is removed by the next release */
        return;
    }
    enum status st = make_spare(j, s, number);
    pthread_mutex_lock(&j->mutex);
    j->spares_coming--;
    bool room = j->spare_count < SPARES_MAX;
    if (st == ST_OK && room) {
        j->spares[j->spare_count++] = *s;
        j->spare_failed = false;
        pthread_cond_broadcast(&j->ready);
    }
    pthread_mutex_unlock(&j->mutex);
    if (st != ST_OK || !room) {
        segment_close(s);
        (void)disk_remove(s->path);
    }
}

void journal_release_below(struct journal *j, uint64_t index)
{
    CHECK(!j->options.read_only);
    for (;;) {
        struct segment oldest;
        pthread_mutex_lock(&j->mutex);
        bool found = j->sealed_count > 0;
        if (found) {
            uint64_t end = j->sealed_count > 1 ? j->sealed[1].first_index : j->active.first_index;
            found = end <= index;
        }
        if (found) {
            oldest = j->sealed[0];
            j->sealed_count--;
            memmove(j->sealed, j->sealed + 1, j->sealed_count * sizeof j->sealed[0]);
        }
        pthread_mutex_unlock(&j->mutex);
        if (!found)
            return;
        release_one(j, &oldest);
    }
}

enum status journal_flush(struct journal *j)
{
    if (j->options.durability == DURABILITY_FSYNC)
        return atomic_load(&j->failed) ? ST_DISK_ERROR : ST_OK;
    uint64_t index = atomic_load(&j->durable);
    pthread_mutex_lock(&j->mutex);
    while (atomic_load(&j->synced) < index && !atomic_load(&j->failed)) {
        j->sync_wanted = true;
        pthread_cond_signal(&j->ahead);
        pthread_cond_wait(&j->ready, &j->mutex);
    }
    pthread_mutex_unlock(&j->mutex);
    return atomic_load(&j->failed) ? ST_DISK_ERROR : ST_OK;
}
