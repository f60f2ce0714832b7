/* A set of message offsets: done ones above a position. Compressed (CRoaring), 64 bits wide.
 * Bytes follow the gaps, not the messages. */
#ifndef MACHINE_OFFSET_SET_H
#define MACHINE_OFFSET_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "std/buf.h"
#include "std/wire.h"

struct offset_set {
    struct offset_block *blocks; /* owned; ascending by the offset's high 32 bits; no empty block */
    uint32_t block_count;
};

void offset_set_init(struct offset_set *s); /* allocates nothing */
void offset_set_fini(struct offset_set *s);
bool offset_set_add(struct offset_set *s, uint64_t offset);                  /* false: was there */
void offset_set_add_run(struct offset_set *s, uint64_t start, uint64_t end); /* [start, end) */
bool offset_set_remove(struct offset_set *s, uint64_t offset); /* false: was not there */
bool offset_set_has(const struct offset_set *s, uint64_t offset);
void offset_set_remove_below(struct offset_set *s, uint64_t offset);
void offset_set_clear(struct offset_set *s);
void offset_set_copy(struct offset_set *to, const struct offset_set *from); /* `to` is empty */
bool offset_set_meets(const struct offset_set *a,
                      const struct offset_set *b); /* have one in common */
uint64_t offset_set_count(const struct offset_set *s);
static inline bool offset_set_is_empty(const struct offset_set *s)
{
    return s->block_count == 0;
}
uint64_t offset_set_count_common(const struct offset_set *a, const struct offset_set *b);
uint64_t offset_set_count_between(const struct offset_set *s, uint64_t start, uint64_t end);
/* The smallest offset >= from that is *not* in the set. */
uint64_t offset_set_next_gap(const struct offset_set *s, uint64_t from);
/* The smallest member >= from; false if there is none. */
bool offset_set_next(const struct offset_set *s, uint64_t from, uint64_t *out);
/* Encodes it as runs, which do not depend on how the set came about: a varint count, then for each
 * run the varints gap (from the end of the last run, >= 1 but for the first) and size - 1. */
void offset_set_save(const struct offset_set *s, struct buf *out);
/* Into an empty set; the reader fails when the bytes are no encoding of a set of offsets below
 * `end`. *chunk_budget, how many chunks of 65,536 offsets may be touched, goes down: a run of
 * billions takes no more bytes than one of two. */
void offset_set_load(struct offset_set *s, struct wire_reader *in, uint64_t end,
                     uint64_t *chunk_budget);

#endif
