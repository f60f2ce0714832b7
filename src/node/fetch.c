#include "node/fetch.h"

#include <stdio.h>

#include "std/check.h"

enum {
    STEP_MIN = 64 * 1024, /* one full batch; a reader of few messages reads no more */
    STEP_MAX = 1024 * 1024,
};

void fetch_init(struct fetch *f, const struct log_range *range, uint64_t from)
{
    *f = (struct fetch){
        .range = range, .position = range->position, .from = from, .batch_offset = range->offset};
    buf_init(&f->window, (size_t)BATCH_SIZE_MAX + STEP_MAX);
    f->step = STEP_MIN;
}

void fetch_fini(struct fetch *f)
{
    buf_fini(&f->window);
}

static struct span window_rest(const struct fetch *f)
{
    if (f->batch_start == f->window.size)
        return (struct span){0};
    return span_of(f->window.data + f->batch_start, f->window.size - f->batch_start);
}

static enum status problem(const struct fetch *f, const char *what, enum status st,
                           struct journal_problem *out)
{
    (void)snprintf(out->path, sizeof out->path, "%s", log_range_path(f->range));
    out->position = f->position - (f->window.size - f->batch_start);
    out->what = what;
    return st;
}

/* Drops what was walked, then reads until `size` bytes are there or the range ends. */
static enum status fill(struct fetch *f, size_t size, struct journal_problem *out_problem)
{
    struct span rest = window_rest(f);
    if (rest.size >= size || f->position >= f->range->end)
        return ST_OK;
    if (f->batch_start > 0 && rest.size > 0)
        memmove(f->window.data, rest.data, rest.size);
    f->window.size = rest.size;
    f->batch_start = 0;
    size_t wanted = size - rest.size > f->step ? size - rest.size : f->step;
    size_t got = 0;
    uint8_t *to = buf_reserve(&f->window, wanted);
    CHECK(to != NULL);
    enum status st = log_range_read(f->range, f->position, to, wanted, &got);
    if (st != ST_OK)
        return problem(f, "cannot be read", st, out_problem);
    buf_commit(&f->window, got);
    f->position += got;
    f->step = f->step * 2 < STEP_MAX ? f->step * 2 : STEP_MAX;
    return ST_OK;
}

/* The next batch that reaches to `from`; batch.count is 0 when there is none. Batches before it are
 * stepped over by their headers, without a look at their bytes. */
static enum status next_batch(struct fetch *f, struct journal_problem *out_problem)
{
    for (;;) {
        f->batch.count = 0;
        enum status st = fill(f, BATCH_HEADER_SIZE, out_problem);
        if (st != ST_OK || window_rest(f).size == 0)
            return st;
        struct batch_header header;
        st = batch_header_read(window_rest(f), &header);
        uint64_t left = window_rest(f).size + (f->range->end - f->position);
        if (st == ST_CORRUPT || header.size == 0 || header.size > left)
            return problem(f, "not a record batch", ST_CORRUPT, out_problem);
        if (header.base_offset != f->batch_offset)
            return problem(f, "a record batch has the wrong offset", ST_CORRUPT, out_problem);
        f->batch_offset += header.count;
        if (header.base_offset + header.count <= f->from) {
            size_t there = window_rest(f).size < header.size ? window_rest(f).size : header.size;
            f->batch_start += there;
            f->position += header.size - there; /* not there: the window is empty now */
            continue;
        }
        st = fill(f, header.size, out_problem);
        if (st != ST_OK)
            return st;
        if (batch_verify(window_rest(f), &header) != ST_OK)
            return problem(f, "a record batch fails its checksum", ST_CORRUPT, out_problem);
        f->batch = header;
        f->cursor = 0;
        f->next_record = 0;
        return ST_OK;
    }
}

enum status fetch_next(struct fetch *f, struct fetched *out, bool *out_end,
                       struct journal_problem *out_problem)
{
    *out_end = false;
    if (f->batch.count > 0 && f->next_record == f->batch.count) {
        f->batch_start += f->batch.size;
        f->batch.count = 0;
    }
    if (f->batch.count == 0) {
        enum status st = next_batch(f, out_problem);
        *out_end = st == ST_OK && f->batch.count == 0;
        if (st != ST_OK || *out_end)
            return st;
    }
    struct span batch = span_of(window_rest(f).data, f->batch.size);
    uint64_t offset = f->batch.base_offset + f->next_record;
    if (offset < f->from) {
        uint32_t skipped = (uint32_t)(f->from - offset);
        if (!batch_skip(batch, &f->cursor, skipped))
            return problem(f, "a record cannot be decoded", ST_CORRUPT, out_problem);
        f->next_record += skipped;
        offset = f->from;
    }
    CHECK(f->next_record < f->batch.count);
    if (!batch_next(batch, &f->cursor, &out->record))
        return problem(f, "a record cannot be decoded", ST_CORRUPT, out_problem);
    out->offset = offset;
    out->time_us = f->batch.time_us;
    f->next_record++;
    f->from = offset + 1;
    return ST_OK;
}

void fetch_seek(struct fetch *f, uint64_t offset)
{
    if (offset <= f->from)
        return;
    f->from = offset;
    if (f->batch.count > 0 && f->batch.base_offset + f->batch.count <= offset)
        f->next_record = f->batch.count; /* fetch_next() leaves it */
}
