/* Snapshots of the machine: written beside the journal, verified before use, pruned to the newest
 * two.
 *
 * File `<index, 20 digits>.snapshot`: magic, version, index, size, XXH3-128 of header and payload,
 * payload. Written to a temporary name, synced, renamed, directory synced: a file with the final
 * name is whole. */
#ifndef JOURNAL_SNAPSHOT_H
#define JOURNAL_SNAPSHOT_H

#include "journal/journal.h"
#include "std/buf.h"

/* Errors: ST_IO. Thread: any, one at a time for a directory. */
enum status snapshot_write(const char *dir, uint64_t index, struct span payload);
/* The newest snapshot, verified. Gives: *out (to buf_fini) and its index, 0 when there is none.
 * Errors: ST_IO, ST_CORRUPT: the newest one is damaged; it is never skipped silently. */
enum status snapshot_read_newest(const char *dir, uint64_t *out_index, struct buf *out,
                                 struct journal_problem *out_problem);
enum status snapshot_prune(const char *dir, uint32_t keep);

#endif
