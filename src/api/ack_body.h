/* The bodies of /messages/ack and /messages/ack/batch, read without a tree: they are as frequent as
 * the messages themselves. */
#ifndef API_ACK_BODY_H
#define API_ACK_BODY_H

#include "std/arena.h"
#include "std/json_scan.h"
#include "std/status.h"

enum { ACK_HANDLES_MAX = 1000, ACK_HANDLE_SIZE_MAX = 512 };

struct ack_body {
    struct span *handles; /* plain text, in the body or the arena; not yet judged */
    uint32_t count;
};

/* {"receipt_handle": string, "consumer_id"?: string}.
 * Errors: ST_INVALID_JSON, ST_INVALID_ARGUMENT, with *out_detail, in the arena. */
enum status ack_body_read_one(struct span body, struct arena *arena, struct ack_body *out,
                              const char **out_detail);
/* {"receipt_handles": [string, ...]}, 1..ACK_HANDLES_MAX of them. Errors: the same. */
enum status ack_body_read_batch(struct span body, struct arena *arena, struct ack_body *out,
                                const char **out_detail);

#endif
