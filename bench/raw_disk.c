/* The reference for `make bench`: what this disk does with durable appends, written as the journal
 * writes them: into a preallocated, zero-filled file, each with pwritev2(RWF_DSYNC).
 *
 *     raw_disk DIR SIZE_KIB SECONDS
 *
 * Prints one line of JSON: writes and MB a second, latency in milliseconds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "std/alloc.h"
#include "std/histogram.h"
#include "std/path.h"

enum { FILE_BYTES = 256 * 1024 * 1024, FILL_BYTES = 1024 * 1024 };

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int fail(const char *what)
{
    fprintf(stderr, "raw_disk: %s: %s\n", what, strerror(errno)); // NOLINT(concurrency-mt-unsafe)
    return 1;
}

/* Zero-filled and synced, so that no write below has to allocate. */
static bool fill(int fd)
{
    uint8_t *zeros = alloc_zero(FILL_BYTES);
    bool ok = true;
    for (int i = 0; ok && i < FILE_BYTES / FILL_BYTES; i++)
        ok = write(fd, zeros, FILL_BYTES) == FILL_BYTES;
    free(zeros);
    return ok && fsync(fd) == 0;
}

static int measure(int fd, size_t size, double seconds)
{
    uint8_t *data = aligned_alloc(4096, size);
    if (data == NULL)
        return fail("aligned_alloc");
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 2654435761U >> 24);

    struct histogram *latency = new_zero(struct histogram);
    int64_t start_ns = now_ns();
    int64_t end_ns = start_ns + (int64_t)(seconds * 1e9);
    off_t at = 0;
    int64_t before_ns = start_ns;
    while (before_ns < end_ns) {
        struct iovec part = {.iov_base = data, .iov_len = size};
        if (pwritev2(fd, &part, 1, at, RWF_DSYNC) != (ssize_t)size)
            return fail("pwritev2");
        int64_t after_ns = now_ns();
        histogram_add(latency, (uint64_t)(after_ns - before_ns));
        before_ns = after_ns;
        at += (off_t)size;
        if (at + (off_t)size > FILE_BYTES)
            at = 0;
    }
    double elapsed_s = 1e-9 * (double)(before_ns - start_ns);
    double writes = (double)latency->count;
    printf("{\"size_kib\": %zu, \"writes_per_second\": %.1f, \"mb_per_second\": %.1f", size / 1024,
           writes / elapsed_s, 1e-6 * writes * (double)size / elapsed_s);
    static const struct {
        const char *name;
        double quantile;
    } columns[] = {{"min", 0},    {"p50", 0.5},     {"p90", 0.9},
                   {"p99", 0.99}, {"p99_9", 0.999}, {"max", 1}};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        printf("%s\"%s\": %.3f", i == 0 ? ", \"latency_ms\": {" : ", ", columns[i].name,
               1e-6 * (double)histogram_quantile(latency, columns[i].quantile));
    printf("}}\n");
    free(latency);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    long size_kib = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    double seconds = argc == 4 ? strtod(argv[3], NULL) : 0;
    if (size_kib < 4 || size_kib % 4 != 0 || size_kib > FILE_BYTES / 1024 || seconds <= 0) {
        fprintf(stderr, "usage: %s DIR SIZE_KIB SECONDS   (a multiple of 4 KiB)\n", argv[0]);
        return 2;
    }
    char path[4096];
    if (path_join(path, sizeof path, argv[1], "raw_disk.%ld", (long)getpid()) != ST_OK) {
        fprintf(stderr, "%s: DIR is too long\n", argv[0]);
        return 2;
    }
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(path);
    unlink(path); /* goes away by itself, whatever happens */
    int code = fill(fd) ? measure(fd, (size_t)size_kib * 1024, seconds) : fail("zero-filling");
    close(fd);
    return code;
}
