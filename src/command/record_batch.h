/* Messages as bytes: the form in which they are journalled, stored and read back, built once by the
 * I/O thread that parsed them. docs/disk-format.md has the same table.
 *
 * A batch, little-endian:
 *
 *     offset  bytes  field
 *          0      8  base_offset  of the first record; patched at apply
 *          8      8  time_us      of publishing, for all records; patched at apply
 *         16      4  size         of the whole batch, header included
 *         20      4  crc          CRC32C of the bytes 0..19, xor CRC32C of those from 24 to the end
 *         24      4  count        of records, >= 1; record i has offset base_offset + i
 *         28      4  flags        BATCH_*: what some record in it has
 *         32      -  records
 *
 * A record:
 *
 *     u8             attributes: RECORD_* bits; priority in bits 0..2 (0 critical .. 4 background)
 *     varint         size of the rest, so that a reader can step over it
 *     varint         if RECORD_DELAY: delay_us, due at time_us + delay_us
 *     varint         if RECORD_DUE: deliver_at_us, due at that time
 *     varint, bytes  if RECORD_KEY: the key, UTF-8, unescaped, never empty
 *     varint, bytes  if RECORD_HEADERS: a JSON object of strings, as text, no white space
 *     bytes          the value, to the end of the record: JSON string text without its quotes,
 *                    validated, as it came in; RECORD_ESCAPED tells that it has escapes
 */
#ifndef COMMAND_RECORD_BATCH_H
#define COMMAND_RECORD_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "std/buf.h"
#include "std/span.h"
#include "std/status.h"

enum {
    BATCH_HEADER_SIZE = 32,
    BATCH_PATCH_SIZE = 24, /* of it, what batch_patch() reads and writes */
    BATCH_SIZE_AIM =
        64 * 1024, /* a builder starts a new batch beyond it; one record may be larger */
    BATCH_SIZE_MAX = 80 * 1024 * 1024, /* a body is at most 64 MiB */
};

enum priority {
    PRIORITY_CRITICAL,
    PRIORITY_HIGH,
    PRIORITY_NORMAL,
    PRIORITY_LOW,
    PRIORITY_BACKGROUND,
    PRIORITY_COUNT
};

enum batch_flag {
    BATCH_HAS_KEYS = 1,
    BATCH_HAS_DELAYS = 2,
    BATCH_HAS_PRIORITIES = 4, /* other than normal */
    BATCH_HAS_HEADERS = 8,
};

enum record_attribute {
    RECORD_PRIORITY_MASK = 7,
    RECORD_KEY = 8,
    RECORD_HEADERS = 16,
    RECORD_ESCAPED = 32,
    RECORD_DELAY = 64,
    RECORD_DUE = 128,
};

struct record {
    struct span key;     /* size 0: none */
    struct span headers; /* JSON object text; size 0: none */
    struct span value;   /* JSON string text without quotes */
    bool value_escaped;
    enum priority priority;
    int64_t delay_us;      /* 0: none */
    int64_t deliver_at_us; /* 0: none; absolute; not together with delay_us */
};

/* Bytes of the client's own in it, as they are stored. */
static inline uint64_t record_payload(const struct record *record)
{
    return record->key.size + record->headers.size + record->value.size;
}

struct batch_header {
    uint64_t base_offset;
    int64_t time_us;
    uint32_t size;
    uint32_t crc;
    uint32_t count;
    uint32_t flags;
};

/* Building: begin, add.., end. The batch is appended to `out`; several may follow each other in it.
 */
struct batch_builder {
    struct buf *out; /* borrowed */
    size_t start;    /* where this batch begins in out */
    uint32_t count;
    uint32_t flags;
};
void batch_begin(struct batch_builder *b, struct buf *out);
void batch_add(struct batch_builder *b, const struct record *record);
uint32_t batch_size(const struct batch_builder *b);
/* Writes the header; count >= 1. Does nothing when `out` overflowed: its owner drops it all. */
void batch_end(struct batch_builder *b);

/* Reads the header and checks its fields, nothing else.
 * Errors: ST_TORN: fewer bytes than a header (*out is zero) or than the batch (*out is filled in);
 * ST_CORRUPT: a field cannot be. */
enum status batch_header_read(struct span bytes, struct batch_header *out);
/* Header and checksum of one whole batch at the start of `bytes`. Cost: one pass. ST_TORN,
 * ST_CORRUPT. */
enum status batch_verify(struct span bytes, struct batch_header *out);
/* What apply does: base offset and time, and the checksum with them. `batch` is a built batch or
 * its first BATCH_PATCH_SIZE bytes. Cost: O(1). */
void batch_patch(uint8_t *batch, uint64_t base_offset, int64_t time_us);
/* Walks the records of a verified batch: *cursor starts at 0 and *out points into the batch.
 * False at the end or where a record is malformed (then *cursor is SIZE_MAX). */
bool batch_next(struct span batch, size_t *cursor, struct record *out);
/* As batch_next() `count` times, without decoding. */
bool batch_skip(struct span batch, size_t *cursor, uint32_t count);

/* Everything that can be checked of one whole batch at the start of `bytes`: batch_verify(), that
 * each record is well-formed, that there are `count` and that `flags` tells what they have.
 * Errors: ST_TORN, ST_CORRUPT. Cost: O(records). */
enum status batch_check(struct span bytes, struct batch_header *out);

#endif
