/* Receipt handles: what a client presents to settle one delivery. Opaque to it, URL-safe base64 of
 *
 *     offset  bytes  field
 *          0      1  version, 1
 *          1      4  group id
 *          5      4  topic id
 *          9      4  partition
 *         13      4  delivery count
 *         17      8  offset
 *         25      8  lease id
 *         33     16  SipHash-2-4 with 128 bits, keyed, over the above and the tenant's scope
 *
 * The key lives in the data directory, so handles stay valid across restarts; nobody can forge one
 * and one tenant's is "not found" for another. Pure functions: any thread. */
#ifndef DELIVERY_RECEIPT_H
#define DELIVERY_RECEIPT_H

#include "delivery/delivery.h"
#include "std/buf.h"

enum { RECEIPT_KEY_SIZE = 16, RECEIPT_TEXT_SIZE = 66 };

struct receipt_key {
    uint8_t bytes[RECEIPT_KEY_SIZE];
};

/* Appends RECEIPT_TEXT_SIZE characters. */
void receipt_write(const struct receipt_key *key, struct span scope, const struct receipt *receipt,
                   struct buf *out);
/* Errors: ST_INVALID_RECEIPT: not our syntax; ST_MESSAGE_NOT_FOUND: well-formed but not authentic
 * for this key and scope. */
enum status receipt_read(const struct receipt_key *key, struct span scope, struct span text,
                         struct receipt *out);

#endif
