/* Requests that were published with an idempotency key lately: the same key again changes nothing
 * and gets the same answer.
 *
 * Kept for IDEMPOTENCY_KEPT_US; beyond IDEMPOTENCY_BYTES_MAX the oldest go first. */
#ifndef MACHINE_IDEMPOTENCY_H
#define MACHINE_IDEMPOTENCY_H

#include "machine/machine.h"
#include "std/list.h"
#include "std/map.h"
#include "std/wire.h"

#define IDEMPOTENCY_KEPT_US   (10LL * 60 * 1000 * 1000)
#define IDEMPOTENCY_BYTES_MAX (64ULL * 1024 * 1024)

struct idempotency_book {
    struct map by_key;
    struct list_node by_age; /* owned; the oldest first */
    uint32_t count;
    uint64_t size_bytes;
};

void idempotency_book_init(struct idempotency_book *book);
void idempotency_book_fini(struct idempotency_book *book);
/* True: the key is known; *out is the first request's answer, in the arena. */
bool idempotency_find(const struct idempotency_book *book, struct span key, int64_t now_us,
                      struct arena *arena, struct result_publish *out);
/* A key that is not known any more, or not yet. Times do not fall. */
void idempotency_add(struct idempotency_book *book, struct span key, struct span memo,
                     const struct result_publish *result);
void idempotency_book_save(const struct idempotency_book *book, struct buf *out);
/* Into an empty book; the reader fails on what cannot be. */
void idempotency_book_load(struct idempotency_book *book, struct wire_reader *r, int64_t now_us);

#endif
