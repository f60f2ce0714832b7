#include "journal/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "std/check.h"
#include "std/path.h"

enum { CHUNK_IOVECS = 1024 }; /* IOV_MAX on Linux */

enum status disk_open(const char *path, int flags, int *out_fd)
{
    CHECK(path != NULL);
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, 0640);
    } while (fd < 0 && errno == EINTR);
    *out_fd = fd;
    return fd >= 0 ? ST_OK : ST_IO;
}

void disk_close(int fd)
{
    if (fd >= 0)
        (void)close(fd); /* what had to be durable was synced before */
}

enum status disk_make_dir(const char *path)
{
    return mkdir(path, 0750) == 0 || errno == EEXIST ? ST_OK : ST_IO;
}

enum status disk_sync_dir(const char *path)
{
    int fd = -1;
    enum status st = disk_open(path, O_RDONLY | O_DIRECTORY, &fd);
    if (st != ST_OK)
        return st;
    st = fsync(fd) == 0 ? ST_OK : ST_IO;
    int error = errno;
    disk_close(fd);
    errno = error;
    return st;
}

enum status disk_size(int fd, uint64_t *out)
{
    struct stat info;
    *out = 0;
    if (fstat(fd, &info) != 0)
        return ST_IO;
    *out = (uint64_t)info.st_size;
    return ST_OK;
}

enum status disk_allocate(int fd, uint64_t size)
{
    if (fallocate(fd, 0, 0, (off_t)size) == 0)
        return ST_OK;
    if (errno != EOPNOTSUPP)
        return ST_IO;
    return disk_truncate(fd, size); /* not every file system can; then space is taken as we write */
}

enum status disk_truncate(int fd, uint64_t size)
{
    return ftruncate(fd, (off_t)size) == 0 ? ST_OK : ST_IO;
}

/* Takes `written` bytes off the front of the list. */
static void skip_written(struct iovec **iov, int *count, size_t written)
{
    while (*count > 0 && written >= (*iov)->iov_len) {
        written -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (written > 0) {
        CHECK(*count > 0);
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + written;
        (*iov)->iov_len -= written;
    }
}

static enum status write_all(int fd, struct iovec *iov, int count, uint64_t position, int flags)
{
    CHECK(count >= 0);
    skip_written(&iov, &count, 0);
    while (count > 0) {
        int chunk = count < CHUNK_IOVECS ? count : CHUNK_IOVECS;
        ssize_t n = pwritev2(fd, iov, chunk, (off_t)position, flags);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return ST_IO;
        }
        position += (uint64_t)n;
        skip_written(&iov, &count, (size_t)n);
    }
    return ST_OK;
}

enum status disk_write(int fd, struct iovec *iov, int count, uint64_t position)
{
    return write_all(fd, iov, count, position, 0);
}

enum status disk_write_sync(int fd, struct iovec *iov, int count, uint64_t position)
{
    if (count <= CHUNK_IOVECS)
        return write_all(fd, iov, count, position, RWF_DSYNC);
    /* One sync for all chunks is cheaper than one for each. */
    enum status st = write_all(fd, iov, count, position, 0);
    return st == ST_OK ? disk_sync(fd) : st;
}

enum status disk_sync(int fd)
{
    return fdatasync(fd) == 0 ? ST_OK : ST_IO;
}

enum status disk_read(int fd, void *data, size_t size, uint64_t position, size_t *out_size)
{
    size_t done = 0;
    *out_size = 0;
    while (done < size) {
        ssize_t n = pread(fd, (uint8_t *)data + done, size - done, (off_t)(position + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ST_IO;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *out_size = done;
    return ST_OK;
}

enum status disk_rename(const char *from, const char *to)
{
    return rename(from, to) == 0 ? ST_OK : ST_IO;
}

enum status disk_remove(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? ST_OK : ST_IO;
}

enum status disk_lock(const char *path, int *out_fd)
{
    enum status st = disk_open(path, O_RDWR | O_CREAT, out_fd);
    if (st != ST_OK || flock(*out_fd, LOCK_EX | LOCK_NB) == 0)
        return st;
    st = errno == EWOULDBLOCK ? ST_LOCKED : ST_IO;
    disk_close(*out_fd);
    *out_fd = -1;
    return st;
}

enum status disk_list(const char *path, void (*fn)(void *user, const char *name), void *user)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return ST_IO;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir); /* NOLINT(concurrency-mt-unsafe): own stream */
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            fn(user, entry->d_name);
    }
    int error = errno;
    (void)closedir(dir);
    errno = error;
    return error == 0 ? ST_OK : ST_IO;
}

struct removal {
    const char *dir;
    int depth_left;
    enum status st;
};

static void remove_entry(void *user, const char *name)
{
    struct removal *removal = user;
    char path[PATH_MAX];
    if (removal->st != ST_OK)
        return;
    removal->st = path_join(path, sizeof path, removal->dir, "%s", name);
    if (removal->st != ST_OK || unlink(path) == 0 || errno == ENOENT)
        return;
    removal->st = (errno == EISDIR || errno == EPERM) && removal->depth_left > 0
                      ? disk_remove_tree(path, removal->depth_left)
                      : ST_IO;
}

enum status disk_remove_tree(const char *path, int depth_max)
{
    CHECK(depth_max >= 1);
    struct removal removal = {.dir = path, .depth_left = depth_max - 1, .st = ST_OK};
    enum status st = disk_list(path, remove_entry, &removal);
    if (st != ST_OK)
        return errno == ENOENT ? ST_OK : st;
    if (removal.st != ST_OK)
        return removal.st;
    return rmdir(path) == 0 || errno == ENOENT ? ST_OK : ST_IO;
}
