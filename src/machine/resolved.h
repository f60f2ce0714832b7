/* What became of the deliveries that clients ended with nack or reject lately: a repeat of such a
 * request, after a lost reply, gets the same answer and has no effect.
 *
 * Kept for RESOLVED_KEPT_US and at most RESOLVED_MAX of them, the oldest go first. */
#ifndef MACHINE_RESOLVED_H
#define MACHINE_RESOLVED_H

#include "machine/machine.h"
#include "std/map.h"
#include "std/wire.h"

enum { RESOLVED_MAX = 100000 };
#define RESOLVED_KEPT_US (10LL * 60 * 1000 * 1000)

struct resolved_book {
    struct map by_lease;
    struct resolved_node *oldest; /* owned list */
    struct resolved_node *newest;
    uint32_t count;
};

void resolved_book_fini(struct resolved_book *book);
/* A lease that is not in it. Times do not fall. */
void resolved_book_add(struct resolved_book *book, const struct resolved *resolved);
/* Borrowed until the next add; NULL: not known, or too old at now_us. */
const struct resolved *resolved_book_find(const struct resolved_book *book, uint64_t lease_id,
                                          int64_t now_us);
void resolved_book_save(const struct resolved_book *book, struct buf *out);
/* Into an empty book; the reader fails on what cannot be. */
void resolved_book_load(struct resolved_book *book, struct wire_reader *r, int64_t now_us);

#endif
