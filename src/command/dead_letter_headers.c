#include "command/dead_letter_headers.h"

#include <inttypes.h>
#include <stdio.h>

#include "std/json_scan.h"
#include "std/json_write.h"
#include "std/timestamp.h"
#include "std/utf8.h"

enum header_name {
    DLQ_REASON,
    DLQ_ERROR,
    ORIGINAL_TOPIC,
    ORIGINAL_PARTITION,
    ORIGINAL_OFFSET,
    ORIGINAL_TIMESTAMP,
    DELIVERY_ATTEMPTS,
    FIRST_DELIVERY,
    LAST_DELIVERY,
    LAST_GROUP,
    LAST_CONSUMER,
    DLQ_TIME,
    HEADER_NAME_COUNT /* none of them */
};

static const char *const names[HEADER_NAME_COUNT] = {
    [DLQ_REASON] = "x-goqueue-dlq-reason",
    [DLQ_ERROR] = "x-goqueue-dlq-error",
    [ORIGINAL_TOPIC] = "x-goqueue-original-topic",
    [ORIGINAL_PARTITION] = "x-goqueue-original-partition",
    [ORIGINAL_OFFSET] = "x-goqueue-original-offset",
    [ORIGINAL_TIMESTAMP] = "x-goqueue-original-timestamp",
    [DELIVERY_ATTEMPTS] = "x-goqueue-delivery-attempts",
    [FIRST_DELIVERY] = "x-goqueue-first-delivery",
    [LAST_DELIVERY] = "x-goqueue-last-delivery",
    [LAST_GROUP] = "x-goqueue-last-group",
    [LAST_CONSUMER] = "x-goqueue-last-consumer",
    [DLQ_TIME] = "x-goqueue-dlq-time",
};

enum { PARTITION_DIGITS_MAX = 4, DECIMAL_SIZE_MAX = 20 };
_Static_assert(PARTITIONS_MAX <= 10000, "four digits name every partition");

static enum header_name name_of(struct json_string name)
{
    unsigned i = 0;
    while (i < HEADER_NAME_COUNT && !json_string_equals(name, names[i]))
        i++;
    return (enum header_name)i;
}

/* --- reading ------------------------------------------------------------------------------------
 */

/* The value's text; 0 when it is longer than size_max, too. */
static size_t read_text(struct json_scan *s, uint8_t *out, size_t size_max)
{
    struct json_string value;
    if (!json_scan_string(s, &value) || value.unescaped_size > size_max)
        return 0;
    return json_unescape(value, out);
}

static void read_partition(struct json_scan *s, struct dead_letter_origin *origin)
{
    uint8_t digits[PARTITION_DIGITS_MAX];
    const size_t size = read_text(s, digits, sizeof digits);
    uint32_t partition = 0;
    bool valid = size > 0;
    for (size_t i = 0; i < size; i++) {
        valid = valid && digits[i] >= '0' && digits[i] <= '9';
        partition = partition * 10 + (uint32_t)(digits[i] - '0');
    }
    origin->has_partition = valid && partition < PARTITIONS_MAX;
    origin->partition = origin->has_partition ? partition : 0;
}

/* Copies the members of other names, as they stand, and notes what ours say. Text that is no object
 * ends the copy where it stops being one: all that was written is whole. */
static void copy_members(struct span headers, struct json_writer *w,
                         struct dead_letter_origin *origin)
{
    struct json_scan s;
    struct json_string name;
    struct span value;
    if (headers.size == 0)
        return;
    json_scan_init(&s, headers);
    if (!json_scan_object_begin(&s))
        return;
    while (json_scan_member(&s, &name)) {
        const enum header_name known = name_of(name);
        if (known == ORIGINAL_TOPIC) {
            origin->topic_size = (uint32_t)read_text(&s, origin->topic, sizeof origin->topic);
        } else if (known == ORIGINAL_PARTITION) {
            read_partition(&s, origin);
        } else if (known == HEADER_NAME_COUNT && json_scan_skip(&s, &value)) {
            json_write_key_span(w, name.raw);
            json_write_raw(w, value);
        }
    }
}

void dead_letter_headers_strip(struct span headers, struct buf *out,
                               struct dead_letter_origin *out_origin)
{
    struct json_writer w;
    const size_t start = out->size;
    *out_origin = (struct dead_letter_origin){0};
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    copy_members(headers, &w, out_origin);
    json_write_object_end(&w);
    if (out->size == start + 2 && !out->overflowed) /* "{}" */
        out->size = start;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static struct span without_tenant(struct span qualified)
{
    const uint8_t *slash = qualified.size == 0 ? NULL : memchr(qualified.data, '/', qualified.size);
    if (slash == NULL)
        return qualified;
    return span_of(slash + 1, qualified.size - (size_t)(slash + 1 - qualified.data));
}

static void put_text(struct json_writer *w, enum header_name name, struct span text)
{
    text.size = utf8_valid_size(text);
    if (text.size == 0)
        return;
    json_write_key(w, names[name]);
    json_write_string(w, text);
}

static void put_number(struct json_writer *w, enum header_name name, uint64_t value)
{
    char text[DECIMAL_SIZE_MAX + 1];
    const int size = snprintf(text, sizeof text, "%" PRIu64, value);
    put_text(w, name, span_of(text, (size_t)size));
}

static void put_time(struct json_writer *w, enum header_name name, int64_t time_us)
{
    char text[TIMESTAMP_SIZE_MAX];
    if (time_us == 0)
        return;
    const size_t size = timestamp_format(text, time_us);
    put_text(w, name, span_of(text, size));
}

void dead_letter_headers_write(struct span headers, const struct dead_letter_facts *facts,
                               struct buf *out)
{
    static const char *const reasons[] = {
        [DEAD_LETTER_REJECTED] = "REJECTED", [DEAD_LETTER_MAX_RETRIES] = "MAX_RETRIES_EXCEEDED"};
    struct json_writer w;
    struct dead_letter_origin former = {0}; /* of no interest */
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    copy_members(headers, &w, &former);
    put_text(&w, DLQ_REASON, span_text(reasons[facts->reason]));
    put_text(&w, DLQ_ERROR, facts->error);
    put_text(&w, ORIGINAL_TOPIC, without_tenant(facts->topic));
    put_number(&w, ORIGINAL_PARTITION, facts->partition);
    put_number(&w, ORIGINAL_OFFSET, facts->offset);
    put_time(&w, ORIGINAL_TIMESTAMP, facts->published_us);
    put_number(&w, DELIVERY_ATTEMPTS, facts->delivery_count);
    put_time(&w, FIRST_DELIVERY, facts->first_us);
    put_time(&w, LAST_DELIVERY, facts->last_us);
    put_text(&w, LAST_GROUP, without_tenant(facts->group));
    put_text(&w, LAST_CONSUMER, facts->member_id);
    put_time(&w, DLQ_TIME, facts->time_us);
    json_write_object_end(&w);
}
