#include "api/message_write.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/publish_message.h"
#include "api/text.h"
#include "std/check.h"
#include "std/json_write.h"

enum { FIXED_SIZE_MAX = 160 }; /* names of members, numbers, the priority */

void message_writer_init(struct message_writer *w, struct buf *out)
{
    w->out = out;
    w->head_size = 0;
    w->time_us = 0;
    w->timestamp_size = timestamp_format(w->timestamp, 0);
}

void message_writer_set_partition(struct message_writer *w, struct span topic, uint32_t partition)
{
    int size = snprintf(
        w->head, sizeof w->head,
        "{\"topic\":\"%.*s\",\"partition\":%" PRIu32 ",\"offset\":", SPAN_ARG(topic), partition);
    CHECK(size > 0 && (size_t)size < sizeof w->head);
    w->head_size = (size_t)size;
}

void message_write(struct message_writer *w, const struct fetched *message)
{
    const struct record *record = &message->record;
    CHECK(w->head_size > 0);
    if (message->time_us != w->time_us) { /* once a batch */
        w->time_us = message->time_us;
        w->timestamp_size = timestamp_format(w->timestamp, message->time_us);
    }
    const size_t size = FIXED_SIZE_MAX + w->head_size + w->timestamp_size + record->value.size +
                        record->headers.size;
    uint8_t *start = buf_reserve(w->out, size);
    if (start == NULL)
        return;
    uint8_t *to = text_copy(start, w->head, w->head_size);
    to = text_u64(to, message->offset);
    to = TEXT_LITERAL(to, ",\"timestamp\":\"");
    to = text_copy(to, w->timestamp, w->timestamp_size);
    to = TEXT_LITERAL(to, "\",\"value\":\"");
    to = text_copy(to, record->value.data, record->value.size);
    to = TEXT_LITERAL(to, "\",\"priority\":\"");
    const char *priority = priority_text((uint8_t)record->priority);
    to = text_copy(to, priority, strlen(priority));
    *to++ = '"';
    if (record->headers.size > 0) {
        to = TEXT_LITERAL(to, ",\"headers\":");
        to = text_copy(to, record->headers.data, record->headers.size);
    }
    CHECK((size_t)(to - start) <= size);
    buf_commit(w->out, (size_t)(to - start));
    if (record->key.size > 0) {
        buf_put_text(w->out, ",\"key\":\"");
        json_escape(w->out, record->key);
        buf_put_byte(w->out, '"');
    }
}
