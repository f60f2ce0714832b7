#include "journal/segment.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "std/alloc.h"
#include "std/check.h"
#include "std/crc32c.h"
#include "std/little_endian.h"
#include "std/path.h"

enum { /* the header page */
       PAGE_CRC = 8,
       PAGE_VERSION = 12,
       PAGE_SEQUENCE = 16,
       PAGE_FIRST_INDEX = 24,
       PAGE_SIZE_BYTES = 32,
       PAGE_GROUP = 40,
       PAGE_SALT = 44,
       FORMAT_VERSION = 1,
};
static const uint8_t PAGE_MAGIC[8] = {'G', 'Q', 'J', 'R', 'N', 'L', '\r', '\n'};

enum { /* a batch's header */
       AT_MAGIC = 0,
       AT_CRC = 4,
       AT_SIZE = 8,
       AT_COUNT = 12,
       AT_FIRST_INDEX = 16,
       AT_TERM = 24,
       AT_DURABLE = 32,
       AT_SEQUENCE = 40,
       AT_GROUP = 48,
       AT_SALT = 52,
       AT_RESERVED = 56,
       READ_STEP = 1024 * 1024,
};
static const uint32_t BATCH_MAGIC = 0x424a5147; /* "GQJB" */
_Static_assert(AT_RESERVED + 8 == SEGMENT_BATCH_HEADER, "the header has no gaps");

static const uint8_t zeros[256 * 1024];

enum status segment_zero(int fd, uint64_t from, uint64_t to)
{
    union { /* iovecs are not const, what they point to is not changed */
        const void *in;
        void *out;
    } source = {.in = zeros};
    while (from < to) {
        size_t size = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        struct iovec iov = {source.out, size};
        enum status st = disk_write(fd, &iov, 1, from);
        if (st != ST_OK)
            return st;
        from += size;
    }
    return disk_sync(fd);
}

enum status segment_create(struct segment *s, const char *path, uint64_t size_bytes)
{
    CHECK(size_bytes > SEGMENT_HEADER_SIZE && size_bytes % SEGMENT_PAGE == 0);
    *s = (struct segment){.fd = -1, .size_bytes = size_bytes};
    CHECK(strlen(path) < sizeof s->path);
    (void)snprintf(s->path, sizeof s->path, "%s", path);
    enum status st = disk_open(path, O_RDWR | O_CREAT | O_TRUNC, &s->fd);
    if (st == ST_OK)
        st = disk_allocate(s->fd, size_bytes);
    if (st == ST_OK)
        st = segment_fill(s, size_bytes);
    if (st != ST_OK) {
        segment_close(s);
        (void)disk_remove(path);
    }
    return st;
}

enum status segment_fill(struct segment *s, uint64_t target)
{
    CHECK(target <= s->size_bytes);
    if (s->filled >= target)
        return ST_OK;
    uint64_t end = s->filled + SEGMENT_ZERO_STEP < target ? s->filled + SEGMENT_ZERO_STEP : target;
    enum status st = segment_zero(s->fd, s->filled, end);
    if (st == ST_OK)
        s->filled = end;
    return st;
}

enum status segment_start(struct segment *s, const char *dir, uint64_t first_index,
                          uint64_t sequence)
{
    CHECK(s->fd >= 0);
    CHECK(first_index > 0 && sequence > 0);
    if (getrandom(&s->salt, sizeof s->salt, 0) != sizeof s->salt)
        return ST_IO;
    s->first_index = first_index;
    s->sequence = sequence;
    s->used = SEGMENT_HEADER_SIZE;
    uint8_t page[SEGMENT_HEADER_SIZE] = {0};
    memcpy(page, PAGE_MAGIC, sizeof PAGE_MAGIC);
    store_u32(page + PAGE_VERSION, FORMAT_VERSION);
    store_u64(page + PAGE_SEQUENCE, sequence);
    store_u64(page + PAGE_FIRST_INDEX, first_index);
    store_u64(page + PAGE_SIZE_BYTES, s->size_bytes);
    store_u32(page + PAGE_SALT, s->salt);
    store_u32(page + PAGE_CRC, crc32c(0, page + PAGE_VERSION, sizeof page - PAGE_VERSION));

    char path[SEGMENT_PATH_MAX];
    struct iovec iov = {page, sizeof page};
    enum status st = path_join(path, sizeof path, dir, "%020" PRIu64 ".journal", first_index);
    if (st == ST_OK)
        st = disk_write_sync(s->fd, &iov, 1, 0);
    if (st == ST_OK)
        st = disk_rename(s->path, path);
    if (st == ST_OK)
        st = disk_sync_dir(dir);
    if (st == ST_OK)
        memcpy(s->path, path, sizeof path);
    return st;
}

enum status segment_open(struct segment *s, int flags, const char **out_what)
{
    uint8_t page[SEGMENT_HEADER_SIZE];
    size_t size = 0;
    *out_what = "cannot be read";
    enum status st = disk_open(s->path, flags, &s->fd);
    if (st == ST_OK)
        st = disk_size(s->fd, &s->size_bytes);
    if (st == ST_OK)
        st = disk_read(s->fd, page, sizeof page, 0, &size);
    if (st != ST_OK) {
        segment_close(s);
        return st;
    }
    if (size < sizeof page || memcmp(page, PAGE_MAGIC, sizeof PAGE_MAGIC) != 0) {
        *out_what = "not a journal segment: its header page has no magic number";
        goto corrupt;
    }
    if (load_u32(page + PAGE_CRC) != crc32c(0, page + PAGE_VERSION, sizeof page - PAGE_VERSION)) {
        *out_what = "the header page fails its checksum";
        goto corrupt;
    }
    if (load_u32(page + PAGE_VERSION) != FORMAT_VERSION) {
        *out_what = "written by another version: unknown format version";
        goto corrupt;
    }
    s->sequence = load_u64(page + PAGE_SEQUENCE);
    s->first_index = load_u64(page + PAGE_FIRST_INDEX);
    s->salt = load_u32(page + PAGE_SALT);
    s->used = SEGMENT_HEADER_SIZE;
    if (load_u64(page + PAGE_SIZE_BYTES) == s->size_bytes && load_u32(page + PAGE_GROUP) == 0 &&
        s->sequence > 0 && s->first_index > 0)
        return ST_OK;
    *out_what = "the file is shorter or longer than its header page says";
corrupt:
    segment_close(s);
    return ST_CORRUPT;
}

void segment_close(struct segment *s)
{
    disk_close(s->fd);
    s->fd = -1;
}

void segment_batch_encode(const struct segment *s, const struct segment_batch *batch,
                          const struct iovec *payload, int count, uint8_t *out)
{
    CHECK(batch->size % 8 == 0);
    memset(out, 0, SEGMENT_BATCH_HEADER);
    store_u32(out + AT_MAGIC, BATCH_MAGIC);
    store_u32(out + AT_SIZE, batch->size);
    store_u32(out + AT_COUNT, batch->count);
    store_u64(out + AT_FIRST_INDEX, batch->first_index);
    store_u64(out + AT_TERM, batch->term);
    store_u64(out + AT_DURABLE, batch->durable);
    store_u64(out + AT_SEQUENCE, s->sequence);
    store_u32(out + AT_SALT, s->salt);
    size_t size = SEGMENT_BATCH_HEADER;
    uint32_t crc = crc32c(0, out + AT_SIZE, SEGMENT_BATCH_HEADER - AT_SIZE);
    for (int i = 0; i < count; i++) {
        crc = crc32c(crc, payload[i].iov_base, payload[i].iov_len);
        size += payload[i].iov_len;
    }
    CHECK(size == batch->size);
    store_u32(out + AT_CRC, crc);
}

bool segment_batch_magic(const uint8_t *header)
{
    return load_u32(header + AT_MAGIC) == BATCH_MAGIC;
}

bool segment_batch_decode(const struct segment *s, const uint8_t *header, struct segment_batch *out)
{
    *out = (struct segment_batch){
        .size = load_u32(header + AT_SIZE),
        .count = load_u32(header + AT_COUNT),
        .first_index = load_u64(header + AT_FIRST_INDEX),
        .term = load_u64(header + AT_TERM),
        .durable = load_u64(header + AT_DURABLE),
    };
    return segment_batch_magic(header) && load_u64(header + AT_SEQUENCE) == s->sequence &&
           load_u32(header + AT_SALT) == s->salt && load_u32(header + AT_GROUP) == 0 &&
           load_u64(header + AT_RESERVED) == 0 && out->size % 8 == 0 &&
           out->size > SEGMENT_BATCH_HEADER && out->count > 0 &&
           out->count <= JOURNAL_BATCH_RECORDS_MAX && out->first_index >= s->first_index &&
           out->durable < out->first_index;
}

bool segment_batch_valid(const uint8_t *bytes, const struct segment_batch *batch)
{
    if (load_u32(bytes + AT_CRC) != crc32c(0, bytes + AT_SIZE, batch->size - AT_SIZE))
        return false;
    size_t at = SEGMENT_BATCH_HEADER;
    for (uint32_t i = 0; i < batch->count; i++) {
        if (batch->size - at < 4)
            return false;
        uint32_t size = load_u32(bytes + at);
        if (size < 4 || size > batch->size - at)
            return false;
        at += size;
    }
    return batch->size - at < 8; /* padding */
}

struct span segment_record(const uint8_t *at)
{
    return span_of(at, load_u32(at));
}

void segment_reader_init(struct segment_reader *r, const struct segment *s)
{
    *r = (struct segment_reader){.segment = s};
}

void segment_reader_fini(struct segment_reader *r)
{
    free(r->data);
    *r = (struct segment_reader){0};
}

enum status segment_reader_get(struct segment_reader *r, uint64_t position, size_t size,
                               const uint8_t **out)
{
    *out = NULL;
    uint64_t end = r->segment->size_bytes;
    if (position > end || size > end - position)
        return ST_OK;
    if (position < r->position || position + size > r->position + r->size) {
        size_t step = size > READ_STEP ? size : READ_STEP;
        if (step > r->capacity) {
            free(r->data);
            r->data = alloc_bytes(step);
            r->capacity = step;
        }
        r->position = position;
        r->size = 0;
        enum status st = disk_read(r->segment->fd, r->data, r->capacity, position, &r->size);
        if (st != ST_OK)
            return st;
        if (r->size < size)
            return ST_OK;
    }
    *out = r->data + (position - r->position);
    return ST_OK;
}

enum status segment_reader_batch(struct segment_reader *r, uint64_t position, uint64_t index,
                                 struct segment_batch *out, const uint8_t **out_bytes)
{
    const uint8_t *bytes = NULL;
    *out_bytes = NULL;
    enum status st = segment_reader_get(r, position, SEGMENT_BATCH_HEADER, &bytes);
    if (st != ST_OK || bytes == NULL)
        return st;
    if (!segment_batch_decode(r->segment, bytes, out) || out->first_index != index)
        return ST_OK;
    st = segment_reader_get(r, position, out->size, &bytes);
    if (st == ST_OK && bytes != NULL && segment_batch_valid(bytes, out))
        *out_bytes = bytes;
    return st;
}
