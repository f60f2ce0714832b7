#include "journal/log_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "std/alloc.h"
#include "std/check.h"
#include "std/crc32c.h"
#include "std/little_endian.h"
#include "std/path.h"

enum { AT_RELATIVE = 0, AT_POSITION = 4, AT_TIME = 8, AT_CRC = 16, ENTRIES_AT_ONCE = 200 };
_Static_assert(AT_CRC + 4 == LOG_INDEX_ENTRY_SIZE, "an entry has no gaps");

struct log_segment *log_segment_new(const char *dir, uint64_t base)
{
    struct log_segment *s = new_zero(struct log_segment);
    CHECK(path_join(s->path, sizeof s->path, dir, "%020" PRIu64 ".log", base) == ST_OK);
    s->base = base;
    s->fd = -1;
    s->references = 1;
    s->held = true;
    CHECK(pthread_mutex_init(&s->mutex, NULL) == 0);
    return s;
}

struct log_segment *log_segment_ref(struct log_segment *s)
{
    pthread_mutex_lock(&s->mutex);
    CHECK(s->references > 0);
    s->references++;
    pthread_mutex_unlock(&s->mutex);
    return s;
}

/* With the mutex held. Descriptors are scarce: one that is not written to and that nobody reads
 * needs none. */
static void close_if_idle(struct log_segment *s)
{
    bool written = s->sealed ? s->unsynced : !s->resting;
    uint32_t readers = s->references - (s->sealed ? 0 : s->syncing) - 1;
    if (s->held && readers == 0 && !written) {
        disk_close(s->fd);
        s->fd = -1;
    }
}

void log_segment_unref(struct log_segment *s)
{
    pthread_mutex_lock(&s->mutex);
    CHECK(s->references > 0);
    uint32_t left = --s->references;
    close_if_idle(s);
    pthread_mutex_unlock(&s->mutex);
    if (left > 0)
        return;
    disk_close(s->fd);
    CHECK(pthread_mutex_destroy(&s->mutex) == 0);
    free(s->entries);
    free(s);
}

void log_segment_retire(struct log_segment *s)
{
    pthread_mutex_lock(&s->mutex);
    CHECK(s->held);
    s->held = false;
    s->sealed = true;
    if (s->references > 1 && s->fd < 0) /* its readers may outlive the name */
        (void)disk_open(s->path, O_RDONLY, &s->fd);
    pthread_mutex_unlock(&s->mutex);
    log_segment_unref(s);
}

struct log_segment *log_segment_ref_to_sync(struct log_segment *s)
{
    pthread_mutex_lock(&s->mutex);
    s->references++;
    s->syncing++;
    pthread_mutex_unlock(&s->mutex);
    return s;
}

static bool is_sealed(struct log_segment *s)
{
    pthread_mutex_lock(&s->mutex);
    bool sealed = s->sealed;
    pthread_mutex_unlock(&s->mutex);
    return sealed;
}

/* One that is not sealed may be put to rest meanwhile: it is synced by a descriptor of our own. */
static enum status sync_file(struct log_segment *s)
{
    int fd = -1;
    if (!is_sealed(s) && disk_open(s->path, O_RDONLY, &fd) == ST_OK) {
        enum status st = disk_sync(fd);
        disk_close(fd);
        return st;
    }
    if (!is_sealed(s)) /* else it was just now */
        return ST_IO;
    fd = log_segment_fd(s);
    return fd < 0 ? ST_IO : disk_sync(fd);
}

enum status log_segment_sync(struct log_segment *s, bool sync)
{
    enum status st = sync ? sync_file(s) : ST_OK;
    pthread_mutex_lock(&s->mutex);
    s->syncing--;
    if (sync && st == ST_OK)
        s->unsynced = false;
    pthread_mutex_unlock(&s->mutex);
    log_segment_unref(s);
    return st;
}

enum status log_segment_create(struct log_segment *s)
{
    CHECK(s->fd < 0);
    return disk_open(s->path, O_RDWR | O_CREAT | O_TRUNC, &s->fd);
}

int log_segment_fd(struct log_segment *s)
{
    pthread_mutex_lock(&s->mutex);
    if (s->fd < 0)
        (void)disk_open(s->path, s->sealed ? O_RDONLY : O_RDWR, &s->fd); /* -1 tells */
    int fd = s->fd;
    pthread_mutex_unlock(&s->mutex);
    return fd;
}

int log_segment_fd_to_write(struct log_segment *s)
{
    pthread_mutex_lock(&s->mutex);
    s->resting = false;
    pthread_mutex_unlock(&s->mutex);
    return log_segment_fd(s);
}

enum status log_segment_rest(struct log_segment *s, bool *out_resting)
{
    pthread_mutex_lock(&s->mutex);
    /* Only this thread gives references; who syncs has a descriptor of its own. */
    bool idle = s->held && s->references - s->syncing == 1 && !s->sealed;
    int fd = s->fd;
    pthread_mutex_unlock(&s->mutex);
    *out_resting = idle;
    enum status st = idle && fd >= 0 && s->dirty ? disk_sync(fd) : ST_OK;
    if (!idle || st != ST_OK)
        return st;
    pthread_mutex_lock(&s->mutex);
    s->resting = true;
    close_if_idle(s);
    pthread_mutex_unlock(&s->mutex);
    return ST_OK;
}

static enum status open_index(const struct log_segment *s, int flags, int *out_fd)
{
    char path[LOG_PATH_MAX + 8];
    int stem = (int)(strlen(s->path) - strlen(".log"));
    int size = snprintf(path, sizeof path, "%.*s.index", stem, s->path);
    CHECK(size > 0 && (size_t)size < sizeof path);
    return disk_open(path, flags, out_fd);
}

void log_segment_note(struct log_segment *s, uint64_t position, uint64_t offset, int64_t time_us)
{
    CHECK(offset >= s->base && offset - s->base <= UINT32_MAX);
    CHECK(position <= UINT32_MAX);
    if (s->entry_count > 0) {
        CHECK(s->entries != NULL);
        const struct log_entry *last = &s->entries[s->entry_count - 1];
        CHECK(position > last->position);
        if (position - last->position < LOG_INDEX_STEP)
            return;
    }
    if (s->entry_count == s->entry_capacity) {
        s->entry_capacity = s->entry_capacity == 0 ? 4 : s->entry_capacity * 2;
        s->entries = alloc_resize(s->entries, s->entry_capacity, sizeof s->entries[0]);
    }
    s->entries[s->entry_count++] =
        (struct log_entry){(uint32_t)(offset - s->base), (uint32_t)position, time_us};
}

/* The base is under the checksum: an index that ended up beside another log is of no use. */
static uint32_t entry_crc(const struct log_segment *s, const uint8_t *bytes)
{
    uint8_t base[8];
    store_u64(base, s->base);
    return crc32c(crc32c(0, base, sizeof base), bytes, AT_CRC);
}

static enum status write_entries(struct log_segment *s, int fd)
{
    uint8_t bytes[ENTRIES_AT_ONCE * LOG_INDEX_ENTRY_SIZE];
    while (s->entries_written < s->entry_count) {
        uint32_t first = s->entries_written, count = 0;
        for (; count < ENTRIES_AT_ONCE && first + count < s->entry_count; count++) {
            const struct log_entry *entry = &s->entries[first + count];
            uint8_t *at = bytes + (size_t)count * LOG_INDEX_ENTRY_SIZE;
            store_u32(at + AT_RELATIVE, entry->relative_offset);
            store_u32(at + AT_POSITION, entry->position);
            store_u64(at + AT_TIME, (uint64_t)entry->time_us);
            store_u32(at + AT_CRC, entry_crc(s, at));
        }
        struct iovec iov = {bytes, (size_t)count * LOG_INDEX_ENTRY_SIZE};
        enum status st = disk_write(fd, &iov, 1, (uint64_t)first * LOG_INDEX_ENTRY_SIZE);
        if (st != ST_OK)
            return st;
        s->entries_written += count;
    }
    return ST_OK;
}

enum status log_segment_write_index(struct log_segment *s)
{
    int fd = -1;
    if (s->entries_written == s->entry_count)
        return ST_OK;
    enum status st = open_index(s, O_WRONLY | O_CREAT, &fd);
    if (st == ST_OK) /* entries from before a recovery's cut must not follow ours */
        st = disk_truncate(fd, (uint64_t)s->entries_written * LOG_INDEX_ENTRY_SIZE);
    if (st == ST_OK)
        st = write_entries(s, fd);
    disk_close(fd);
    return st;
}

enum status log_segment_trim_index(struct log_segment *s)
{
    int fd = -1;
    uint64_t size = 0;
    if (open_index(s, O_WRONLY, &fd) != ST_OK)
        return errno == ENOENT ? ST_OK : ST_IO;
    enum status st = disk_size(fd, &size);
    if (st == ST_OK && size > (uint64_t)s->entry_count * LOG_INDEX_ENTRY_SIZE) {
        st = disk_truncate(fd, (uint64_t)s->entries_written * LOG_INDEX_ENTRY_SIZE);
        if (st == ST_OK)
            st = disk_sync(fd);
    }
    disk_close(fd);
    return st;
}

enum status log_segment_seal(struct log_segment *s)
{
    enum status st = log_segment_write_index(s);
    if (s->entry_count < s->entry_capacity && s->entry_count > 0) {
        s->entries = alloc_resize(s->entries, s->entry_count, sizeof s->entries[0]);
        s->entry_capacity = s->entry_count;
    }
    pthread_mutex_lock(&s->mutex);
    CHECK(!s->sealed);
    s->sealed = true;
    s->unsynced = s->fd >= 0;
    pthread_mutex_unlock(&s->mutex);
    return st;
}

/* Keeps the entries from the front of the file that are whole, in order and below the end. */
static enum status load_entries(struct log_segment *s, int fd, uint64_t end, uint64_t log_size)
{
    uint8_t bytes[ENTRIES_AT_ONCE * LOG_INDEX_ENTRY_SIZE];
    for (uint64_t position = 0;;) {
        size_t size = 0;
        enum status st = disk_read(fd, bytes, sizeof bytes, position, &size);
        if (st != ST_OK)
            return st;
        for (size_t at = 0; at + LOG_INDEX_ENTRY_SIZE <= size; at += LOG_INDEX_ENTRY_SIZE) {
            const uint8_t *entry = bytes + at;
            uint32_t relative = load_u32(entry + AT_RELATIVE);
            uint32_t log_position = load_u32(entry + AT_POSITION);
            const struct log_entry *last =
                s->entry_count > 0 ? &s->entries[s->entry_count - 1] : NULL;
            bool follows = last == NULL ? relative == 0 && log_position == 0
                                        : relative > last->relative_offset &&
                                              log_position >= last->position + LOG_INDEX_STEP;
            if (!follows || load_u32(entry + AT_CRC) != entry_crc(s, entry) ||
                s->base + relative >= end || log_position >= log_size)
                return ST_OK;
            log_segment_note(s, log_position, s->base + relative,
                             (int64_t)load_u64(entry + AT_TIME));
        }
        position += size;
        if (size < sizeof bytes)
            return ST_OK;
    }
}

static enum status walk_to_end(struct log_segment *s, uint64_t end, uint64_t log_size,
                               struct journal_problem *out_problem)
{
    struct log_walk walk;
    uint64_t offset = s->base, position = 0;
    if (s->entry_count > 0) { /* noted again by the walk, which sees whether it is true */
        const struct log_entry *last = &s->entries[--s->entry_count];
        offset += last->relative_offset;
        position = last->position;
    }
    s->entries_written = s->entry_count;
    log_walk_init(&walk, s->fd, position, log_size);
    const char *what = NULL;
    enum status st = ST_OK;
    while (st == ST_OK && offset < end) {
        struct batch_header batch;
        bool at_end = false;
        position = walk.position;
        st = log_walk_next(&walk, &batch, &at_end);
        if (st == ST_OK && at_end)
            what = "the log ends before the offsets it must have";
        else if (st == ST_OK && batch.base_offset != offset)
            what = "a batch has another offset than the one that comes next";
        else if (st == ST_OK && batch.count > end - offset)
            what = "a batch goes on beyond the end that is known to be right";
        else if (st != ST_OK)
            what = st == ST_IO ? "cannot be read" : "not a record batch";
        if (what != NULL) {
            st = st == ST_OK ? ST_CORRUPT : st;
            break;
        }
        log_segment_note(s, position, offset, batch.time_us);
        offset += batch.count;
    }
    s->size = walk.position;
    if (what != NULL) {
        (void)snprintf(out_problem->path, sizeof out_problem->path, "%s", s->path);
        out_problem->position = position;
        out_problem->what = what;
    }
    return st;
}

static enum status load_index(struct log_segment *s, uint64_t end, uint64_t log_size)
{
    int fd = -1;
    if (open_index(s, O_RDONLY, &fd) != ST_OK)
        return ST_OK; /* it is built anew */
    enum status st = load_entries(s, fd, end, log_size);
    disk_close(fd);
    return st;
}

enum status log_segment_load(struct log_segment *s, uint64_t end, uint64_t *out_file_size,
                             struct journal_problem *out_problem)
{
    CHECK(s->fd < 0 && s->entry_count == 0);
    CHECK(end > s->base);
    *out_file_size = 0;
    enum status st = disk_open(s->path, O_RDONLY, &s->fd);
    if (st == ST_OK)
        st = disk_size(s->fd, out_file_size);
    if (st == ST_OK)
        st = load_index(s, end, *out_file_size);
    if (st != ST_OK) {
        (void)snprintf(out_problem->path, sizeof out_problem->path, "%s", s->path);
        out_problem->position = 0;
        out_problem->what = "cannot be read";
    } else {
        st = walk_to_end(s, end, *out_file_size, out_problem);
        if (st == ST_CORRUPT) { /* perhaps it is the index that is wrong */
            s->entry_count = 0;
            st = walk_to_end(s, end, *out_file_size, out_problem);
        }
    }
    disk_close(s->fd);
    s->fd = -1;
    return st;
}

const struct log_entry *log_segment_find(const struct log_segment *s, uint64_t offset)
{
    CHECK(offset >= s->base);
    uint32_t low = 0, high = s->entry_count; /* entries below low are at or before the offset */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->base + s->entries[middle].relative_offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &s->entries[low - 1] : NULL;
}

const struct log_entry *log_segment_find_time(const struct log_segment *s, int64_t time_us)
{
    uint32_t low = 0, high = s->entry_count; /* entries below low are earlier */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->entries[middle].time_us < time_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &s->entries[low - 1] : NULL;
}

void log_walk_init(struct log_walk *w, int fd, uint64_t position, uint64_t end)
{
    w->fd = fd;
    w->position = position;
    w->end = end;
    w->size = 0;
    w->window_position = position;
}

enum status log_walk_next(struct log_walk *w, struct batch_header *out, bool *out_end)
{
    *out_end = w->position >= w->end;
    if (*out_end)
        return ST_OK;
    if (w->end - w->position < BATCH_HEADER_SIZE)
        return ST_CORRUPT;
    if (w->position < w->window_position ||
        w->position + BATCH_HEADER_SIZE > w->window_position + w->size) {
        w->window_position = w->position;
        enum status st = disk_read(w->fd, w->window, sizeof w->window, w->position, &w->size);
        if (st != ST_OK)
            return st;
        if (w->size < BATCH_HEADER_SIZE)
            return ST_CORRUPT;
    }
    const uint8_t *at = w->window + (w->position - w->window_position);
    enum status st = batch_header_read(span_of(at, BATCH_HEADER_SIZE), out);
    if (st != ST_OK && st != ST_TORN) /* torn: the rest of the batch is not in this span */
        return st;
    if (out->size > w->end - w->position)
        return ST_CORRUPT;
    w->position += out->size;
    return ST_OK;
}
