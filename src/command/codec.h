/* Commands as bytes: what the journal keeps. Versioned, little-endian, described in
 * docs/disk-format.md.
 *
 *     offset  bytes  field
 *          0      4  size     of the whole record, header included
 *          4      2  type     enum command_type
 *          6      2  version  of this type's layout
 *          8      8  time_us  stamped by the shard with command_stamp()
 *         16      -  body
 */
#ifndef COMMAND_CODEC_H
#define COMMAND_CODEC_H

#include "command/command.h"
#include "std/arena.h"
#include "std/buf.h"
#include "std/wire.h"

enum { COMMAND_HEADER_SIZE = 16, PUBLISH_BODY_SIZE = 16, PUBLISH_ENTRY_SIZE = 8 };

/* Appends the record to `out`. A PUBLISH has its batches in place already; the API builds it
 * without this, to copy the values only once. */
void command_encode(const struct command *cmd, struct buf *out);
/* Borrows: bytes, as long as *out is used; arrays come from the arena.
 * Errors: ST_CORRUPT: truncated, unknown type or version, a count or name over its bound, bytes
 * left over. */
enum status command_decode(struct span bytes, struct arena *arena, struct command *out);
void command_stamp(uint8_t *record, int64_t time_us);
/* Adds the idempotency key and the memo to an encoded PUBLISH that has none, alone in `record`. */
void publish_make_idempotent(struct buf *record, struct span key, struct span memo);

/* Walks the entries of a PUBLISH: *cursor starts at 0. False at the end. command_decode() has
 * checked that the entries are well-formed and that each batch is, so this cannot fail. */
bool publish_entry_next(const struct command_publish *publish, size_t *cursor,
                        struct publish_entry *out_entry, struct span *out_batch);

/* Also part of snapshots. Version 1 has no in_flight_max, delayed_max and priority mode: such
 * topics get what they had then. */
void topic_settings_encode(const struct topic_settings *s, struct buf *out);
struct topic_settings topic_settings_decode(struct wire_reader *r); /* by r->version */
struct span qualified_name_decode(struct wire_reader *r); /* 1..QUALIFIED_NAME_SIZE_MAX, no NUL */

#endif
