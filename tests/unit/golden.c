#include "tests/unit/golden.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { GOLDEN_SIZE_MAX = 1 << 20 };

static void write_missing(const char *path, struct span now)
{
    FILE *file = fopen(path, "wbx");
    if (file == NULL)
        return;
    ck_assert_uint_eq(fwrite(now.data, 1, now.size, file), now.size);
    ck_assert_int_eq(fclose(file), 0);
}

void golden_read(const char *name, struct span now, struct buf *out)
{
    char path[256];
    int size = snprintf(path, sizeof path, "tests/golden/%s", name);
    ck_assert(size > 0 && (size_t)size < sizeof path);
    if (getenv("GQ_GOLDEN") != NULL) /* NOLINT(concurrency-mt-unsafe): one thread */
        write_missing(path, now);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be read: run the tests from the top folder", path);
    buf_init(out, GOLDEN_SIZE_MAX);
    uint8_t *to = buf_reserve(out, GOLDEN_SIZE_MAX);
    ck_assert_ptr_nonnull(to);
    buf_commit(out, fread(to, 1, GOLDEN_SIZE_MAX, file));
    ck_assert_int_eq(fclose(file), 0);
}
