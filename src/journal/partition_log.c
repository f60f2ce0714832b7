#include "journal/partition_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/log_segment.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/path.h"

enum {
    PENDING_SIZE_MAX = 256 * 1024, /* gathered, then written at once */
    PENDING_SIZE_KEPT = 16 * 1024, /* memory that a log keeps between flushes, at most */
    GATHER_SIZE_MAX = 16 * 1024,   /* larger batches are written from where they are */
    MAKE_DIR_DEPTH = 3,            /* logs/<topic id>/<partition> */
    NAME_DIGITS = 20,
};

struct partition_log {
    char dir[LOG_PATH_MAX - 32];
    struct log_options options;
    struct log_segment **segments; /* by base; the last one is appended to, if it is not full */
    uint32_t segment_count;
    uint32_t segment_capacity;
    uint64_t next_offset;
    uint64_t size_bytes;
    struct buf pending; /* behind the last segment's size */
    bool failed;
};

static void push_segment(struct partition_log *log, struct log_segment *s)
{
    if (log->segment_count == log->segment_capacity) {
        log->segment_capacity = log->segment_capacity == 0 ? 2 : log->segment_capacity * 2;
        log->segments =
            alloc_resize(log->segments, log->segment_capacity, sizeof(struct log_segment *));
    }
    log->segments[log->segment_count++] = s;
}

static struct log_segment *last_segment(const struct partition_log *log)
{
    return log->segment_count > 0 ? log->segments[log->segment_count - 1] : NULL;
}

struct listing {
    struct partition_log *log;
    uint64_t next_offset;
    enum status st;
};

/* Files from `next_offset` on were written after the snapshot: replay writes them again. */
static void list_one(void *user, const char *name)
{
    struct listing *listing = user;
    struct partition_log *log = listing->log;
    uint64_t base = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return;
        base = base * 10 + (uint64_t)(name[i] - '0');
    }
    bool is_log = strcmp(name + NAME_DIGITS, ".log") == 0;
    if (base < listing->next_offset) {
        if (is_log)
            push_segment(log, log_segment_new(log->dir, base));
        return;
    }
    char path[LOG_PATH_MAX];
    if (log->options.read_only || (!is_log && strcmp(name + NAME_DIGITS, ".index") != 0))
        return;
    enum status st = path_join(path, sizeof path, log->dir, "%s", name);
    if (st == ST_OK)
        st = disk_remove(path);
    listing->st = listing->st == ST_OK ? st : listing->st;
}

static int by_base(const void *a, const void *b)
{
    const struct log_segment *const *left = a, *const *right = b;
    return ((*left)->base > (*right)->base) - ((*left)->base < (*right)->base);
}

static enum status problem(struct journal_problem *out, const char *path, uint64_t position,
                           const char *what, enum status st)
{
    (void)snprintf(out->path, sizeof out->path, "%s", path);
    out->position = position;
    out->what = what;
    return st;
}

static enum status load_one(struct partition_log *log, uint32_t i, uint64_t end,
                            struct journal_problem *out_problem)
{
    struct log_segment *s = log->segments[i];
    bool last = i + 1 == log->segment_count;
    uint64_t file_size = 0;
    enum status st = log_segment_load(s, end, &file_size, out_problem);
    if (st != ST_OK)
        return st;
    atomic_store(&s->linked, true);
    log->size_bytes += s->size;
    if (file_size > s->size && !last)
        return problem(out_problem, s->path, s->size, "bytes behind the segment's last batch",
                       ST_CORRUPT);
    if (log->options.read_only || !last) {
        bool index_is_whole = s->entries_written + 1 >= s->entry_count;
        if (log->options.read_only || index_is_whole)
            s->entries_written = s->entry_count; /* leave the file alone */
        st = log_segment_seal(s);
    } else {
        st = log_segment_trim_index(s);
        int fd = st == ST_OK && file_size > s->size ? log_segment_fd(s) : -1;
        if (st == ST_OK && file_size > s->size)
            st = fd < 0 ? ST_IO : disk_truncate(fd, s->size);
    }
    return st == ST_OK ? ST_OK : problem(out_problem, s->path, 0, "cannot be written", st);
}

static enum status load(struct partition_log *log, uint64_t start_offset, uint64_t next_offset,
                        struct journal_problem *out_problem)
{
    struct listing listing = {.log = log, .next_offset = next_offset, .st = ST_OK};
    enum status st = disk_list(log->dir, list_one, &listing);
    if (st != ST_OK && errno == ENOENT)
        st = ST_OK;
    if (st == ST_OK)
        st = listing.st;
    if (st != ST_OK)
        return problem(out_problem, log->dir, 0, "cannot be read", st);
    if (log->segment_count > 0)
        qsort(log->segments, log->segment_count, sizeof(struct log_segment *), by_base);
    if (start_offset < next_offset &&
        (log->segment_count == 0 || log->segments[0]->base > start_offset))
        return problem(out_problem, log->dir, 0, "the file with the oldest messages is missing",
                       ST_CORRUPT);
    for (uint32_t i = 0; st == ST_OK && i < log->segment_count; i++) {
        uint64_t end = i + 1 < log->segment_count ? log->segments[i + 1]->base : next_offset;
        st = load_one(log, i, end, out_problem);
    }
    return st;
}

enum status partition_log_open(const char *dir, const struct log_options *options,
                               uint64_t start_offset, uint64_t next_offset,
                               struct partition_log **out, struct journal_problem *out_problem)
{
    CHECK(start_offset <= next_offset);
    CHECK(options->segment_bytes > 0 && options->segment_bytes <= 1ULL << 30);
    *out = NULL;
    *out_problem = (struct journal_problem){0};
    if (strlen(dir) >= sizeof(((struct partition_log *)0)->dir))
        return problem(out_problem, dir, 0, "the path is too long", ST_IO);
    struct partition_log *log = new_zero(struct partition_log);
    memcpy(log->dir, dir, strlen(dir) + 1);
    log->options = *options;
    log->next_offset = next_offset;
    buf_init(&log->pending, PENDING_SIZE_MAX);
    enum status st = load(log, start_offset, next_offset, out_problem);
    if (st != ST_OK) {
        partition_log_close(log);
        return st;
    }
    *out = log;
    return ST_OK;
}

void partition_log_close(struct partition_log *log)
{
    if (log == NULL)
        return;
    struct log_segment *last = last_segment(log);
    if (partition_log_flush(log) == ST_OK && last != NULL && !last->sealed)
        (void)log_segment_write_index(last); /* what is missing is built anew */
    for (uint32_t i = 0; i < log->segment_count; i++)
        log_segment_retire(log->segments[i]);
    free(log->segments);
    buf_fini(&log->pending);
    free(log);
}

enum status partition_log_remove_dir(const char *dir)
{
    return disk_remove_tree(dir, 2); /* partitions, files */
}

static enum status make_dirs(const char *dir, int depth)
{
    if (disk_make_dir(dir) == ST_OK)
        return ST_OK;
    const char *slash = strrchr(dir, '/');
    char parent[LOG_PATH_MAX];
    if (errno != ENOENT || depth == 0 || slash == NULL || slash == dir)
        return ST_IO;
    memcpy(parent, dir, (size_t)(slash - dir));
    parent[slash - dir] = '\0';
    return make_dirs(parent, depth - 1) == ST_OK ? disk_make_dir(dir) : ST_IO;
}

/* Seals the last segment, if there is one, and starts the next. */
static enum status roll(struct partition_log *log)
{
    CHECK(log->pending.size == 0);
    struct log_segment *last = last_segment(log);
    enum status st = last == NULL   ? make_dirs(log->dir, MAKE_DIR_DEPTH)
                     : last->sealed ? ST_OK
                                    : log_segment_seal(last);
    if (st != ST_OK)
        return st;
    struct log_segment *s = log_segment_new(log->dir, log->next_offset);
    push_segment(log, s);
    return log_segment_create(s);
}

/* Writes what is pending and then one batch, patched, if it is not empty. */
static enum status write_out(struct partition_log *log, struct span batch, uint64_t base_offset,
                             int64_t time_us)
{
    struct log_segment *s = last_segment(log);
    uint8_t head[BATCH_PATCH_SIZE];
    struct iovec iov[3] = {{log->pending.data, log->pending.size}};
    int count = 1;
    if (batch.size > 0) {
        union { /* iovecs are not const, but what is written from them does not change */
            const void *in;
            void *out;
        } rest = {.in = batch.data + BATCH_PATCH_SIZE};
        memcpy(head, batch.data, sizeof head);
        batch_patch(head, base_offset, time_us);
        iov[1] = (struct iovec){head, sizeof head};
        iov[2] = (struct iovec){rest.out, batch.size - BATCH_PATCH_SIZE};
        count = 3;
    }
    int fd = log_segment_fd_to_write(s);
    enum status st = fd < 0 ? ST_IO : disk_write(fd, iov, count, s->size);
    if (st != ST_OK) {
        log->failed = true;
        return st;
    }
    s->size += log->pending.size + batch.size;
    s->dirty = true;
    if (log->pending.capacity > PENDING_SIZE_KEPT) {
        buf_fini(&log->pending);
        buf_init(&log->pending, PENDING_SIZE_MAX);
    }
    buf_clear(&log->pending);
    return ST_OK;
}

enum status partition_log_flush(struct partition_log *log)
{
    if (log->failed)
        return ST_IO;
    return log->pending.size == 0 ? ST_OK : write_out(log, (struct span){0}, 0, 0);
}

enum status partition_log_rest(struct partition_log *log, bool *out_resting)
{
    *out_resting = log->segment_count == 0;
    enum status st = partition_log_flush(log);
    if (st != ST_OK || log->segment_count == 0)
        return st;
    st = log_segment_rest(log->segments[log->segment_count - 1], out_resting);
    log->failed = log->failed || st != ST_OK;
    return st;
}

static enum status append(struct partition_log *log, struct span batch, uint64_t base_offset,
                          int64_t time_us)
{
    struct log_segment *s = last_segment(log);
    enum status st = ST_OK;
    bool full = s == NULL || s->sealed || s->size + log->pending.size >= log->options.segment_bytes;
    if (full || log->pending.size + batch.size > PENDING_SIZE_MAX)
        st = partition_log_flush(log);
    if (st == ST_OK && full)
        st = roll(log);
    if (st != ST_OK)
        return st;
    s = last_segment(log);
    log_segment_note(s, s->size + log->pending.size, base_offset, time_us);
    if (batch.size > GATHER_SIZE_MAX)
        return write_out(log, batch, base_offset, time_us);
    size_t start = log->pending.size;
    buf_put_span(&log->pending, batch);
    CHECK(!log->pending.overflowed);
    batch_patch(log->pending.data + start, base_offset, time_us);
    return ST_OK;
}

enum status partition_log_append(struct partition_log *log, struct span batch, uint64_t base_offset,
                                 int64_t time_us)
{
    struct batch_header header;
    CHECK(!log->options.read_only);
    CHECK(base_offset == log->next_offset);
    CHECK(batch_header_read(batch, &header) == ST_OK); /* the command was checked when it came */
    CHECK(header.size == batch.size);
    if (log->failed)
        return ST_IO;
    enum status st = append(log, batch, base_offset, time_us);
    if (st != ST_OK) {
        log->failed = true;
        return st;
    }
    log->next_offset += header.count;
    log->size_bytes += batch.size;
    return ST_OK;
}

uint64_t partition_log_next_offset(const struct partition_log *log)
{
    return log->next_offset;
}

uint64_t partition_log_size_bytes(const struct partition_log *log)
{
    return log->size_bytes;
}

void partition_log_find(const struct partition_log *log, uint64_t offset, struct log_range *out)
{
    CHECK(log->pending.size == 0);
    *out = (struct log_range){.last = true};
    if (offset >= log->next_offset || log->segment_count == 0)
        return;
    uint32_t low = 0, high = log->segment_count; /* segments below low begin at or before it */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->segments[middle]->base <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t found = low > 0 ? low - 1 : 0;
    struct log_segment *s = log->segments[found];
    const struct log_entry *entry = low > 0 ? log_segment_find(s, offset) : NULL;
    out->segment = log_segment_ref(s);
    out->position = entry != NULL ? entry->position : 0;
    out->offset = s->base + (entry != NULL ? entry->relative_offset : 0);
    out->end = s->size;
    out->last = found + 1 == log->segment_count;
    out->limit_offset = out->last ? log->next_offset : log->segments[found + 1]->base;
    CHECK(out->position < out->end);
}

void partition_log_seek_time(const struct partition_log *log, int64_t time_us,
                             struct log_range *out_range, uint64_t *out_offset)
{
    CHECK(log->pending.size == 0);
    *out_range = (struct log_range){.last = true};
    *out_offset = log->next_offset;
    uint32_t low = 0, high = log->segment_count; /* segments below low begin earlier */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->segments[middle]->entries[0].time_us < time_us)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < log->segment_count)
        *out_offset = log->segments[low]->base;
    if (low == 0)
        return;
    struct log_segment *s = log->segments[low - 1];
    const struct log_entry *entry = log_segment_find_time(s, time_us);
    CHECK(entry != NULL);
    *out_range = (struct log_range){
        .segment = log_segment_ref(s),
        .position = entry->position,
        .offset = s->base + entry->relative_offset,
        .end = s->size,
        .limit_offset = *out_offset,
        .last = low == log->segment_count,
    };
}

enum status log_range_find_time(const struct log_range *range, int64_t time_us,
                                uint64_t *inout_offset)
{
    if (range->segment == NULL)
        return ST_OK;
    int fd = log_segment_fd(range->segment);
    if (fd < 0)
        return ST_IO;
    struct log_walk walk;
    log_walk_init(&walk, fd, range->position, range->end);
    for (;;) {
        struct batch_header batch;
        bool end = false;
        enum status st = log_walk_next(&walk, &batch, &end);
        if (st != ST_OK || end)
            return st;
        if (batch.time_us >= time_us) {
            *inout_offset = batch.base_offset;
            return ST_OK;
        }
    }
}

void log_range_release(struct log_range *range)
{
    if (range->segment != NULL)
        log_segment_unref(range->segment);
    *range = (struct log_range){.last = true};
}

enum status log_range_read(const struct log_range *range, uint64_t position, void *data,
                           size_t size, size_t *out_size)
{
    *out_size = 0;
    if (range->segment == NULL || position >= range->end)
        return ST_OK;
    uint64_t left = range->end - position;
    int fd = log_segment_fd(range->segment);
    return fd < 0 ? ST_IO
                  : disk_read(fd, data, size < left ? size : (size_t)left, position, out_size);
}

const char *log_range_path(const struct log_range *range)
{
    return range->segment != NULL ? range->segment->path : "";
}

void partition_log_take_dirty(struct partition_log *log, struct log_dirty *add_to)
{
    CHECK(log->pending.size == 0 || log->failed);
    struct log_segment *last = last_segment(log);
    if (last != NULL && !last->sealed && log_segment_write_index(last) != ST_OK)
        log->failed = true; /* the next append tells */
    for (uint32_t i = log->segment_count; i > 0 && log->segments[i - 1]->dirty; i--) {
        struct log_segment *s = log->segments[i - 1];
        s->dirty = false;
        add_to->segments =
            alloc_resize(add_to->segments, (size_t)add_to->count + 1, sizeof(struct log_segment *));
        add_to->segments[add_to->count++] = log_segment_ref_to_sync(s);
    }
}

/* The directory of the file, and the two above it, which may be as new as it. `done` is the last
 * one that was synced this way: neighbours share their parents. */
static enum status sync_parents(const char *path, char *done)
{
    char dir[LOG_PATH_MAX];
    (void)snprintf(dir, sizeof dir, "%s", path);
    for (int level = 0; level < MAKE_DIR_DEPTH; level++) {
        char *slash = strrchr(dir, '/');
        if (slash == NULL || slash == dir)
            return ST_OK;
        *slash = '\0';
        if (level == 1 && strcmp(dir, done) == 0)
            return ST_OK;
        enum status st = disk_sync_dir(dir);
        if (st != ST_OK)
            return st;
        if (level == 1)
            memcpy(done, dir, sizeof dir);
    }
    return ST_OK;
}

/* By topic and partition, so that directories in common are synced once. */
static int by_path(const void *a, const void *b)
{
    const struct log_segment *const *left = a, *const *right = b;
    return strcmp((*left)->path, (*right)->path);
}

enum status log_sync(struct log_dirty *dirty)
{
    enum status st = ST_OK;
    char done[LOG_PATH_MAX] = "";
    if (dirty->count > 0)
        qsort(dirty->segments, dirty->count, sizeof(struct log_segment *), by_path);
    for (uint32_t i = 0; i < dirty->count; i++) {
        struct log_segment *s = dirty->segments[i];
        if (st == ST_OK && !atomic_load(&s->linked)) {
            st = sync_parents(s->path, done);
            atomic_store(&s->linked, st == ST_OK);
        }
        bool sync = st == ST_OK;
        enum status synced = log_segment_sync(s, sync);
        if (sync)
            st = synced;
    }
    free(dirty->segments);
    *dirty = (struct log_dirty){0};
    return st;
}
