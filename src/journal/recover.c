/* Opening: which segments there are, where the last one ends, and what to do when it ends badly.
 *
 * Batches are written one after the other and each is stamped with the last index that was durable
 * before it. So when the batch at some place of the last segment is not valid, one of three things
 * is true: nothing is there (the usual end), the last write was torn by a crash, or a durable batch
 * was damaged later. In the third case, and only then, a later batch of the same use of the file
 * says that what is missing was durable. Damage to the very last batch cannot be told from a torn
 * write: nothing after it vouches for it. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/state.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/path.h"

enum { NAME_DIGITS = 20, SEARCH_STEP = 64 * 1024 };

void journal_problem_set(struct journal_problem *out, const char *path, uint64_t position,
                         const char *what)
{
    (void)snprintf(out->path, sizeof out->path, "%s", path);
    out->position = position;
    out->what = what;
}

struct listing {
    struct journal *journal;
    enum status st;
};

static bool parse_name(const char *name, uint64_t *out_index)
{
    uint64_t value = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(name[i] - '0');
    }
    *out_index = value;
    return strcmp(name + NAME_DIGITS, ".journal") == 0;
}

/* Spares are made anew when they are needed: what is in one from before a crash is uncertain. */
static void list_one(void *user, const char *name)
{
    struct listing *listing = user;
    struct journal *j = listing->journal;
    struct segment s = {.fd = -1};
    const char *dot = strrchr(name, '.');
    enum status st = path_join(s.path, sizeof s.path, j->dir, "%s", name);
    if (st == ST_OK && parse_name(name, &s.first_index))
        journal_push_sealed(j, &s);
    else if (st == ST_OK && dot != NULL && strcmp(dot, ".spare") == 0 && !j->options.read_only)
        st = disk_remove(s.path);
    listing->st = listing->st == ST_OK ? st : listing->st;
}

static int by_first_index(const void *a, const void *b)
{
    const struct segment *left = a, *right = b;
    return (left->first_index > right->first_index) - (left->first_index < right->first_index);
}

static enum status create_first(struct journal *j)
{
    if (j->options.read_only) {
        j->active.first_index = 1;
        return ST_OK;
    }
    struct segment s;
    enum status st = journal_create_spare(j, j->spare_number++, &s);
    if (st != ST_OK)
        return st;
    st = segment_start(&s, j->dir, 1, 1);
    if (st != ST_OK)
        segment_close(&s);
    else
        j->active = s;
    return st;
}

/* Opens each in turn to see that it is what its name says; the last one becomes the active one. */
static enum status check_headers(struct journal *j, struct journal_problem *out_problem)
{
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < j->sealed_count; i++) {
        struct segment *s = &j->sealed[i];
        bool last = i + 1 == j->sealed_count;
        uint64_t name_index = s->first_index;
        const char *what = NULL;
        bool writable = last && !j->options.read_only;
        enum status st = segment_open(s, writable ? O_RDWR : O_RDONLY, &what);
        if (st == ST_OK && s->first_index != name_index) {
            what = "the name and the header page disagree on the first index";
            st = ST_CORRUPT;
        } else if (st == ST_OK && s->sequence <= sequence) {
            what = "older than the segment before it";
            st = ST_CORRUPT;
        }
        if (st != ST_OK) {
            journal_problem_set(out_problem, s->path, 0, what);
            segment_close(s);
            return st;
        }
        sequence = s->sequence;
        if (last) {
            j->active = *s;
            j->sealed_count--;
            return ST_OK;
        }
        s->used = s->size_bytes;
        segment_close(s);
    }
    return ST_OK;
}

struct aftermath {
    bool was_durable; /* a later batch says that the one at the end was durable */
    bool leftovers;   /* there are later batches that must never be taken for ours */
};

/* Looks for batches of this use of the file behind the place where the valid ones end. */
static enum status search_behind(struct segment_reader *r, uint64_t position, uint64_t index,
                                 struct aftermath *out)
{
    *out = (struct aftermath){false, false};
    const struct segment *s = r->segment;
    position += 8;
    while (position + SEGMENT_BATCH_HEADER <= s->size_bytes) {
        uint64_t left = s->size_bytes - position;
        size_t size = left < SEARCH_STEP ? (size_t)left : SEARCH_STEP;
        const uint8_t *bytes = NULL;
        enum status st = segment_reader_get(r, position, size, &bytes);
        if (st != ST_OK || bytes == NULL)
            return st;
        size_t at = 0;
        for (; at + SEGMENT_BATCH_HEADER <= size; at += 8) {
            struct segment_batch batch;
            if (!segment_batch_magic(bytes + at) || !segment_batch_decode(s, bytes + at, &batch) ||
                batch.first_index <= index)
                continue;
            out->leftovers = true;
            out->was_durable = out->was_durable || batch.durable >= index;
        }
        position += at;
    }
    return ST_OK;
}

static enum status cut(struct segment *s, bool leftovers)
{
    uint8_t header[SEGMENT_BATCH_HEADER] = {0};
    static const uint8_t nothing[SEGMENT_BATCH_HEADER];
    size_t size = 0;
    if (leftovers)
        return segment_zero(s->fd, s->used, s->size_bytes);
    enum status st = disk_read(s->fd, header, sizeof header, s->used, &size);
    if (st != ST_OK || memcmp(header, nothing, sizeof header) == 0)
        return st;
    return segment_zero(s->fd, s->used, s->used + size);
}

/* Walks the last segment to its end. */
static enum status find_end(struct journal *j, struct journal_problem *out_problem)
{
    struct segment *s = &j->active;
    struct segment_reader reader;
    segment_reader_init(&reader, s);
    uint64_t index = s->first_index;
    struct segment_batch batch;
    const uint8_t *bytes = NULL;
    enum status st;
    for (;;) {
        st = segment_reader_batch(&reader, s->used, index, &batch, &bytes);
        if (st != ST_OK || bytes == NULL)
            break;
        index += batch.count;
        s->used += batch.size;
    }
    struct aftermath after = {false, false};
    if (st == ST_OK)
        st = search_behind(&reader, s->used, index, &after);
    segment_reader_fini(&reader);
    if (st != ST_OK) {
        journal_problem_set(out_problem, s->path, s->used, "cannot be read");
        return st;
    }
    if (after.was_durable) {
        journal_problem_set(out_problem, s->path, s->used,
                            "a batch fails its check although later ones say it was durable");
        return ST_CORRUPT;
    }
    if (!j->options.read_only) {
        st = cut(s, after.leftovers);
        if (st != ST_OK)
            journal_problem_set(out_problem, s->path, s->used, "cannot be written");
    }
    uint64_t page_end = (s->used + SEGMENT_PAGE - 1) / SEGMENT_PAGE * SEGMENT_PAGE;
    s->filled = page_end < s->size_bytes ? page_end : s->size_bytes;
    j->next_index = index;
    return st;
}

enum status journal_recover(struct journal *j, struct journal_problem *out_problem)
{
    struct listing listing = {.journal = j, .st = ST_OK};
    enum status st = disk_list(j->dir, list_one, &listing);
    st = st == ST_OK ? listing.st : st;
    if (st == ST_OK && j->sealed_count == 0) {
        st = create_first(j);
        j->next_index = 1;
        if (st != ST_OK)
            journal_problem_set(out_problem, j->dir, 0, "cannot be written");
        return st;
    }
    if (st != ST_OK) {
        journal_problem_set(out_problem, j->dir, 0, "cannot be read");
        return st;
    }
    qsort(j->sealed, j->sealed_count, sizeof j->sealed[0], by_first_index);
    st = check_headers(j, out_problem);
    if (st == ST_OK)
        st = find_end(j, out_problem);
    if (st != ST_OK)
        return st;
    CHECK(j->next_index >= j->active.first_index);
    atomic_store(&j->durable, j->next_index - 1);
    if (j->options.durability == DURABILITY_OS && !j->options.read_only)
        st = disk_sync(j->active.fd); /* what this process did not write itself */
    atomic_store(&j->synced, j->next_index - 1);
    return st;
}

struct replay {
    uint64_t from;
    enum status (*fn)(void *user, uint64_t index, struct span record);
    void *user;
};

static enum status replay_batch(const struct replay *replay, const struct segment_batch *batch,
                                const uint8_t *bytes)
{
    size_t at = SEGMENT_BATCH_HEADER;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct span record = segment_record(bytes + at);
        at += record.size;
        if (batch->first_index + i < replay->from)
            continue;
        enum status st = replay->fn(replay->user, batch->first_index + i, record);
        if (st != ST_OK)
            return st;
    }
    return ST_OK;
}

/* All records of one segment, which must be exactly those up to `end`. */
static enum status replay_segment(struct segment *s, uint64_t end, const struct replay *replay,
                                  struct journal_problem *out_problem)
{
    const char *what = NULL;
    enum status st = segment_open(s, O_RDONLY, &what);
    if (st != ST_OK) {
        journal_problem_set(out_problem, s->path, 0, what);
        return st;
    }
    struct segment_reader reader;
    segment_reader_init(&reader, s);
    uint64_t index = s->first_index;
    while (st == ST_OK && index < end) {
        struct segment_batch batch;
        const uint8_t *bytes = NULL;
        st = segment_reader_batch(&reader, s->used, index, &batch, &bytes);
        if (st != ST_OK) {
            journal_problem_set(out_problem, s->path, s->used, "cannot be read");
        } else if (bytes == NULL || batch.count > end - index) {
            journal_problem_set(out_problem, s->path, s->used,
                                bytes == NULL ? "a batch before the last segment fails its check"
                                              : "it goes on into the next segment's indexes");
            st = ST_CORRUPT;
        } else {
            st = replay_batch(replay, &batch, bytes);
            index += batch.count;
            s->used += batch.size;
        }
    }
    segment_reader_fini(&reader);
    segment_close(s);
    return st;
}

enum status journal_replay(struct journal *j, uint64_t from,
                           enum status (*fn)(void *user, uint64_t index, struct span record),
                           void *user, struct journal_problem *out_problem)
{
    struct replay replay = {.from = from, .fn = fn, .user = user};
    if (from < journal_first_index(j) || from > j->next_index) {
        journal_problem_set(out_problem, j->dir, 0,
                            from > j->next_index ? "the journal ends before the snapshot"
                                                 : "the segment that comes next is missing");
        return ST_CORRUPT;
    }
    for (uint32_t i = 0; i <= j->sealed_count; i++) {
        bool last = i == j->sealed_count;
        uint64_t end = last                      ? j->next_index
                       : i + 1 < j->sealed_count ? j->sealed[i + 1].first_index
                                                 : j->active.first_index;
        if (end <= from)
            continue;
        pthread_mutex_lock(&j->mutex); /* the preparer fills the active one meanwhile */
        struct segment copy = last ? j->active : j->sealed[i];
        pthread_mutex_unlock(&j->mutex);
        enum status st = replay_segment(&copy, end, &replay, out_problem);
        if (st != ST_OK)
            return st;
    }
    return ST_OK;
}
