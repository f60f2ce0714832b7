/* Any bytes as a record batch: reading never leaves them, and what passes every check reads the
 * same after it is built again. Once as they are, once with size and checksum made right, so that
 * the records are reached. */
#include <stdlib.h>
#include <string.h>

#include "command/record_batch.h"
#include "std/check.h"
#include "std/crc32c.h"
#include "std/little_endian.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const struct record *a, const struct record *b)
{
    return span_equal(a->key, b->key) && span_equal(a->headers, b->headers) &&
           span_equal(a->value, b->value) && a->value_escaped == b->value_escaped &&
           a->priority == b->priority && a->delay_us == b->delay_us &&
           a->deliver_at_us == b->deliver_at_us;
}

/* Canonical: every field that is not under our control when it is built again must be the same. */
static void rebuild(struct span batch, const struct batch_header *header)
{
    struct buf buf;
    struct batch_builder builder;
    struct record record, again;
    size_t cursor = 0, other = 0, skip = 0;
    buf_init(&buf, BATCH_SIZE_MAX);
    batch_begin(&builder, &buf);
    while (batch_next(batch, &cursor, &record))
        batch_add(&builder, &record);
    CHECK(cursor == batch.size);
    batch_end(&builder);
    batch_patch(buf.data, header->base_offset, header->time_us);
    CHECK(span_equal(buf_span(&buf), batch));
    cursor = 0;
    while (batch_next(batch, &cursor, &record)) {
        CHECK(batch_next(buf_span(&buf), &other, &again));
        CHECK(same(&record, &again));
        CHECK(batch_skip(batch, &skip, 1) && skip == cursor);
    }
    buf_fini(&buf);
}

static void read_all(struct span bytes)
{
    struct batch_header header;
    struct record record;
    size_t cursor = 0;
    while (batch_next(bytes, &cursor, &record)) /* also unverified bytes must be safe to walk */
        CHECK(record.value.size <= bytes.size);
    if (batch_check(bytes, &header) == ST_OK)
        rebuild(span_of(bytes.data, header.size), &header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1); /* its own block: a read over its end is seen */
    CHECK(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    read_all(span_of(copy, size));
    if (size >= BATCH_HEADER_SIZE && size <= BATCH_SIZE_MAX) {
        store_u32(copy + 16, (uint32_t)size);
        store_u32(copy + 20, crc32c(0, copy, 20) ^ crc32c(0, copy + 24, size - 24));
        read_all(span_of(copy, size));
    }
    free(copy);
    return 0;
}
