/* The only file-system calls of the broker: a seam, so that a simulator can lose, tear and fail
 * them. Functions return ST_OK or ST_IO (errno is kept for the log line). */
#ifndef JOURNAL_DISK_H
#define JOURNAL_DISK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "std/status.h"

enum status disk_open(const char *path, int flags, int *out_fd); /* O_CLOEXEC, mode 0640 */
void disk_close(int fd);
enum status disk_make_dir(const char *path); /* one level; existing is fine */
enum status disk_sync_dir(const char *path);
enum status disk_size(int fd, uint64_t *out);
enum status disk_truncate(int fd, uint64_t size);
/* Takes the space now, so that a full disk is found out before it hurts. */
enum status disk_allocate(int fd, uint64_t size);
/* All or ST_IO: short writes are continued. The iovecs are consumed. */
enum status disk_write(int fd, struct iovec *iov, int count, uint64_t position);
/* As disk_write(), and durable before it returns (RWF_DSYNC). */
enum status disk_write_sync(int fd, struct iovec *iov, int count, uint64_t position);
enum status disk_sync(int fd); /* fdatasync */
/* Reads until `size` bytes or the end of the file. */
enum status disk_read(int fd, void *data, size_t size, uint64_t position, size_t *out_size);
enum status disk_rename(const char *from, const char *to);
enum status disk_remove(const char *path); /* a missing file is fine */
/* An exclusive lock (flock) on the file, made if it is missing; disk_close() or the end of the
 * process gives it up. Errors: ST_IO, ST_LOCKED: another process has it. */
enum status disk_lock(const char *path, int *out_fd);
/* Removes the directory and what is in it, at most `depth_max` levels; a missing one is fine. */
enum status disk_remove_tree(const char *path, int depth_max);
/* Calls fn for each name in the directory but "." and "..", in no order. */
enum status disk_list(const char *path, void (*fn)(void *user, const char *name), void *user);

#endif
