#include "tests/unit/temp_dir.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/disk.h"

static char directory[256];

void temp_dir_make(void)
{
    const char *parent = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): one thread */
    (void)snprintf(directory, sizeof directory, "%s/goqueue-test-XXXXXX",
                   parent != NULL ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

void temp_dir_remove(void)
{
    ck_assert_int_eq(disk_remove_tree(directory, 6), ST_OK);
}

const char *temp_dir(void)
{
    return directory;
}

const char *temp_path(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

struct counting {
    const char *suffix;
    int count;
};

static void count_one(void *user, const char *name)
{
    struct counting *counting = user;
    size_t size = strlen(name), tail = strlen(counting->suffix);
    if (size >= tail && strcmp(name + size - tail, counting->suffix) == 0)
        counting->count++;
}

int temp_count(const char *dir, const char *suffix)
{
    struct counting counting = {.suffix = suffix};
    ck_assert_int_eq(disk_list(dir, count_one, &counting), ST_OK);
    return counting.count;
}

void file_read(const char *path, uint64_t position, void *data, size_t size)
{
    int fd = -1;
    size_t got = 0;
    ck_assert_int_eq(disk_open(path, O_RDONLY, &fd), ST_OK);
    ck_assert_int_eq(disk_read(fd, data, size, position, &got), ST_OK);
    ck_assert_uint_eq(got, size);
    disk_close(fd);
}

void file_write(const char *path, uint64_t position, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, data, size, (off_t)position), (ssize_t)size);
    disk_close(fd);
}

uint64_t file_size(const char *path)
{
    int fd = -1;
    uint64_t size = 0;
    ck_assert_int_eq(disk_open(path, O_RDONLY, &fd), ST_OK);
    ck_assert_int_eq(disk_size(fd, &size), ST_OK);
    disk_close(fd);
    return size;
}

void file_copy(const char *from, const char *to)
{
    size_t size = (size_t)file_size(from);
    void *data = malloc(size + 1);
    ck_assert_ptr_nonnull(data);
    file_read(from, 0, data, size);
    file_write(to, 0, data, size);
    free(data);
}
