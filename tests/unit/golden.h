/* The bytes of each released version of what is on disk, in tests/golden/: they must be readable
 * for ever. GQ_GOLDEN=write makes the files that are missing; one that exists is never changed. */
#ifndef TESTS_UNIT_GOLDEN_H
#define TESTS_UNIT_GOLDEN_H

#include "std/buf.h"

/* The file's bytes. `now` is what today's code writes, for a file that is missing. Fails the test
 * when there is none. Gives: *out, to buf_fini(). */
void golden_read(const char *name, struct span now, struct buf *out);

#endif
