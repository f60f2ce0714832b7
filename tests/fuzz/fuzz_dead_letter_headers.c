/* Any bytes as the headers of a message that dies, is replayed and dies again: what is written is
 * always an object of JSON, and taking off gives back what was there before. */
#include <stdlib.h>
#include <string.h>

#include "command/dead_letter_headers.h"
#include "std/check.h"
#include "std/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_object(struct span text)
{
    struct json_scan scan;
    json_scan_init(&scan, text);
    CHECK(json_scan_object_begin(&scan));
    CHECK(json_scan_end(&scan));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1); /* its own block: a read over its end is seen */
    CHECK(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    const struct span any = span_of(copy, size);
    const struct dead_letter_facts facts = {
        .reason = size % 2 == 0 ? DEAD_LETTER_REJECTED : DEAD_LETTER_MAX_RETRIES,
        .error = any,
        .topic = span_text("acme/orders"),
        .partition = 12,
        .published_us = 1,
        .group = any,
        .member_id = any,
        .time_us = 2,
    };
    struct buf plain, dead, again;
    struct dead_letter_origin origin;
    buf_init(&plain, 1 << 24);
    buf_init(&dead, 1 << 24);
    buf_init(&again, 1 << 24);
    dead_letter_headers_strip(any, &plain, &origin);
    CHECK(origin.topic_size <= sizeof origin.topic);
    CHECK(origin.partition < PARTITIONS_MAX && (origin.has_partition || origin.partition == 0));
    if (plain.size > 0)
        check_object(buf_span(&plain));
    dead_letter_headers_write(any, &facts, &dead);
    check_object(buf_span(&dead));
    dead_letter_headers_strip(buf_span(&dead), &again, &origin);
    CHECK(span_equal(buf_span(&again), buf_span(&plain)));
    CHECK(span_equal(span_of(origin.topic, origin.topic_size), span_text("orders")));
    CHECK(origin.has_partition && origin.partition == 12);
    buf_fini(&plain);
    buf_fini(&dead);
    buf_fini(&again);
    free(copy);
    return 0;
}
