/* What a publish request's answer needs beside the placements of its entries, as bytes: kept with
 * the request's idempotency key, so that a repetition is answered alike.
 *
 *     u8        version, 1
 *     varint    count of messages
 *     for each, in order of the request:
 *         u8      priority in bits 0..2; MEMO_* bits
 *         varint  MEMO_ERROR: size of the error, then its bytes; nothing else
 *         varint  MEMO_JUMP: index of its entry; else that is the one of the last stored message,
 *                 at first 0
 *         varint  MEMO_DELAY: delay_us
 *         varint  MEMO_DUE: deliver_at_us
 *
 * The index in the entry is not kept: messages of an entry are in order of the request. */
#ifndef API_PUBLISH_MEMO_H
#define API_PUBLISH_MEMO_H

#include "api/publish_builder.h"

void publish_memo_encode(const struct publish_plan *plan, struct buf *out);
/* Gives: outcomes, count and stored_count, in the arena. entry_count: of the placements; no outcome
 * has an entry beyond. Errors: ST_CORRUPT. */
enum status publish_memo_decode(struct span memo, uint32_t entry_count, struct arena *arena,
                                struct publish_plan *out);

#endif
