/* The delayed messages of one partition that wait for their time, in the order (due_us, offset).
 *
 * A sorted sequence of blocks of up to 512 entries, 16 bytes each, and a directory of the blocks.
 * With many entries one costs 16.1 bytes when they came in ascending or descending order, 19 when
 * in random order, up to 20 with a few delays. Removals leave the blocks more than 3/8 full on
 * average: two neighbours hold more than 3/4 of a block together. A small index is one small block,
 * an empty one owns no memory.
 *
 * Times are 0..DUE_US_MAX; any other is our mistake, here and in has and remove. There is at most
 * one entry for each (due_us, offset); its priority plays no part in the order.
 *
 * Cost: adding, removing and finding are O(log n), but for the moves inside a block and, once in
 * hundreds of additions, inside the directory; at the end, and taking from the front, O(1). */
#ifndef MACHINE_DUE_INDEX_H
#define MACHINE_DUE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "command/command.h"
#include "command/record_batch.h"
#include "std/buf.h"
#include "std/wire.h"

struct due_entry {
    int64_t due_us;
    uint64_t offset;
    enum priority priority;
};

/* Zeroed: empty. */
struct due_index {
    struct due_block *blocks; /* owned: the directory, used from block_first on */
    uint32_t block_first;
    uint32_t block_count;
    uint32_t block_capacity; /* of the directory */
    uint32_t item_capacity;  /* of each block; below 512 only while there is but one block */
    uint64_t count;          /* entries */
};

void due_index_init(struct due_index *d); /* allocates nothing */
void due_index_fini(struct due_index *d);
/* False: that (due_us, offset) was there, and stays as it was. */
bool due_index_add(struct due_index *d, const struct due_entry *entry);
bool due_index_remove(struct due_index *d, int64_t due_us, uint64_t offset,
                      enum priority *out_priority); /* false: not there */
bool due_index_has(const struct due_index *d, int64_t due_us, uint64_t offset);
bool due_index_first(const struct due_index *d, struct due_entry *out); /* false: empty */
/* Takes the first entries with due_us <= until_us, at most max, in order. Gives how many. */
uint32_t due_index_take(struct due_index *d, int64_t until_us, uint32_t max, struct due_entry *out);
/* Copies entries number skip.. in order, at most max. Gives how many. Cost: O(blocks + max). */
uint32_t due_index_list(const struct due_index *d, uint64_t skip, uint32_t max,
                        struct due_entry *out);
/* How many are due before due_us. Cost: O(blocks). */
uint64_t due_index_rank(const struct due_index *d, int64_t due_us);
uint64_t due_index_count(const struct due_index *d);
uint64_t due_index_bytes(const struct due_index *d); /* allocated; O(1) */
/* Encodes the entries, which does not depend on how they came there: a varint count, then for each,
 * in order, the varint due_us - the last due_us, the varint zigzag(offset - the last offset) and
 * the priority in a byte. */
void due_index_save(const struct due_index *d, struct buf *out);
/* Into an empty index; the reader fails when the bytes are no encoding of entries with offsets
 * below `end`. What was read before that stays in the index. */
void due_index_load(struct due_index *d, struct wire_reader *in, uint64_t end);
void due_index_check(const struct due_index *d); /* walks it all */

#endif
