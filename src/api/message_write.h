/* One message as JSON, as consume and poll both give it: values go from the log to the reply as
 * they are. */
#ifndef API_MESSAGE_WRITE_H
#define API_MESSAGE_WRITE_H

#include "node/fetch.h"
#include "std/buf.h"
#include "std/timestamp.h"

enum { MESSAGE_HEAD_SIZE_MAX = 320 };

struct message_writer {
    struct buf *out;                  /* borrowed */
    char head[MESSAGE_HEAD_SIZE_MAX]; /* {"topic":"orders","partition":0,"offset": */
    size_t head_size;
    int64_t time_us; /* what `timestamp` says */
    char timestamp[TIMESTAMP_SIZE_MAX];
    size_t timestamp_size;
};

/* When a delayed message is due; 0: it was never delayed. */
static inline int64_t message_due_us(const struct fetched *message)
{
    const struct record *record = &message->record;
    return record->delay_us > 0 ? message->time_us + record->delay_us : record->deliver_at_us;
}

void message_writer_init(struct message_writer *w, struct buf *out);
/* The messages that follow are from there; the topic is without the tenant's prefix. */
void message_writer_set_partition(struct message_writer *w, struct span topic, uint32_t partition);
/* Writes an object without its closing brace, so that the caller can add members. */
void message_write(struct message_writer *w, const struct fetched *message);

#endif
