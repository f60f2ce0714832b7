#include "journal/snapshot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "std/check.h"
#include "std/little_endian.h"
#include "std/path.h"

enum {
    AT_VERSION = 8,
    AT_RESERVED = 12,
    AT_INDEX = 16,
    AT_SIZE = 24,
    AT_HASH = 32,
    HEADER_SIZE = 48,
    FORMAT_VERSION = 1,
    NAME_DIGITS = 20,
};
static const uint8_t MAGIC[8] = {'G', 'Q', 'S', 'N', 'A', 'P', '\r', '\n'};
static const char SUFFIX[] = ".snapshot";

static void hash_of(const uint8_t *header, struct span payload, uint8_t *out)
{
    XXH3_state_t *state = XXH3_createState();
    CHECK(state != NULL);
    (void)XXH3_128bits_reset(state);
    (void)XXH3_128bits_update(state, header, AT_HASH);
    (void)XXH3_128bits_update(state, payload.data, payload.size);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    (void)XXH3_freeState(state);
    memcpy(out, canonical.digest, sizeof canonical.digest);
}

static enum status write_file(const char *path, const uint8_t *header, struct span payload)
{
    int fd = -1;
    enum status st = disk_open(path, O_WRONLY | O_CREAT | O_TRUNC, &fd);
    if (st != ST_OK)
        return st;
    union { /* iovecs are not const, what they point to is not changed */
        const void *in;
        void *out;
    } head = {.in = header}, body = {.in = payload.data};
    struct iovec iov[2] = {{head.out, HEADER_SIZE}, {body.out, payload.size}};
    st = disk_write(fd, iov, 2, 0);
    if (st == ST_OK)
        st = disk_sync(fd);
    disk_close(fd);
    return st;
}

enum status snapshot_write(const char *dir, uint64_t index, struct span payload)
{
    CHECK(index > 0);
    uint8_t header[HEADER_SIZE] = {0};
    memcpy(header, MAGIC, sizeof MAGIC);
    store_u32(header + AT_VERSION, FORMAT_VERSION);
    store_u32(header + AT_RESERVED, 0);
    store_u64(header + AT_INDEX, index);
    store_u64(header + AT_SIZE, payload.size);
    hash_of(header, payload, header + AT_HASH);

    char path[PATH_MAX], temporary[PATH_MAX];
    enum status st = path_join(path, sizeof path, dir, "%020" PRIu64 "%s", index, SUFFIX);
    if (st == ST_OK)
        st = path_join(temporary, sizeof temporary, dir, "snapshot.tmp");
    if (st != ST_OK)
        return st;
    st = write_file(temporary, header, payload);
    if (st == ST_OK)
        st = disk_rename(temporary, path);
    if (st == ST_OK)
        st = disk_sync_dir(dir);
    return st == ST_OK ? ST_OK : ST_IO;
}

struct newest { /* the `keep` highest indexes below `below` */
    uint64_t below;
    uint64_t highest;
    bool found;
};

static void look_at(void *user, const char *name)
{
    struct newest *newest = user;
    uint64_t index = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return;
        index = index * 10 + (uint64_t)(name[i] - '0');
    }
    if (strcmp(name + NAME_DIGITS, SUFFIX) != 0 || index >= newest->below)
        return;
    if (!newest->found || index > newest->highest)
        newest->highest = index;
    newest->found = true;
}

/* The highest index below `below`; 0 when there is none. */
static enum status find_below(const char *dir, uint64_t below, uint64_t *out)
{
    struct newest newest = {.below = below};
    enum status st = disk_list(dir, look_at, &newest);
    *out = newest.found ? newest.highest : 0;
    return st;
}

/* NULL when header and payload are what snapshot_write() wrote. */
static const char *check_file(const struct buf *file, uint64_t index)
{
    if (file->size < HEADER_SIZE || memcmp(file->data, MAGIC, sizeof MAGIC) != 0)
        return "not a snapshot: no magic number";
    if (load_u32(file->data + AT_VERSION) != FORMAT_VERSION)
        return "written by another version: unknown format version";
    if (load_u64(file->data + AT_SIZE) != file->size - HEADER_SIZE)
        return "the file is shorter or longer than its header says";
    uint8_t hash[HEADER_SIZE - AT_HASH];
    hash_of(file->data, span_of(file->data + HEADER_SIZE, file->size - HEADER_SIZE), hash);
    if (memcmp(hash, file->data + AT_HASH, sizeof hash) != 0)
        return "the snapshot fails its checksum";
    if (load_u64(file->data + AT_INDEX) != index)
        return "the name and the header disagree on the index";
    return NULL;
}

static enum status read_file(const char *path, struct buf *out)
{
    int fd = -1;
    uint64_t size = 0;
    size_t got = 0;
    enum status st = disk_open(path, O_RDONLY, &fd);
    if (st == ST_OK)
        st = disk_size(fd, &size);
    if (st == ST_OK) {
        buf_init(out, (size_t)size);
        st = disk_read(fd, buf_reserve(out, (size_t)size), (size_t)size, 0, &got);
        buf_commit(out, got);
    }
    disk_close(fd);
    return st;
}

enum status snapshot_read_newest(const char *dir, uint64_t *out_index, struct buf *out,
                                 struct journal_problem *out_problem)
{
    char path[sizeof out_problem->path];
    *out_index = 0;
    *out = (struct buf){0};
    uint64_t index = 0;
    const char *what = "cannot be read";
    (void)snprintf(out_problem->path, sizeof out_problem->path, "%s", dir);
    out_problem->position = 0;
    enum status st = find_below(dir, UINT64_MAX, &index);
    if (st == ST_OK && index == 0)
        return ST_OK;
    if (st == ST_OK)
        st = path_join(path, sizeof path, dir, "%020" PRIu64 "%s", index, SUFFIX);
    if (st == ST_OK) {
        memcpy(out_problem->path, path, sizeof path);
        st = read_file(path, out);
    }
    if (st == ST_OK) {
        what = check_file(out, index);
        st = what == NULL ? ST_OK : ST_CORRUPT;
    }
    if (st != ST_OK) {
        buf_fini(out);
        out_problem->what = what;
        return st;
    }
    out->size -= HEADER_SIZE;
    memmove(out->data, out->data + HEADER_SIZE, out->size);
    *out_index = index;
    return ST_OK;
}

enum status snapshot_prune(const char *dir, uint32_t keep)
{
    CHECK(keep >= 1);
    char path[PATH_MAX];
    uint64_t below = UINT64_MAX;
    for (uint32_t rank = 0;; rank++) {
        enum status st = find_below(dir, below, &below);
        if (st != ST_OK || below == 0)
            return st;
        if (rank < keep)
            continue;
        st = path_join(path, sizeof path, dir, "%020" PRIu64 "%s", below, SUFFIX);
        if (st == ST_OK)
            st = disk_remove(path);
        if (st != ST_OK)
            return st;
    }
}
