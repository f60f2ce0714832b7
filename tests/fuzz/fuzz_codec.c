/* Command records from a broken disk: what decodes must encode to the same bytes again; a record of
 * an older version, to one that says the same and from then on stays as it is. */
#include "command/codec.h"
#include "std/check.h"
#include "std/little_endian.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { AT_VERSION = 6 };

static void encode_again(struct span record, struct buf *out)
{
    struct arena arena;
    struct command cmd;
    arena_init(&arena);
    CHECK(command_decode(record, &arena, &cmd) == ST_OK);
    command_encode(&cmd, out);
    arena_fini(&arena);
}

static void try_record(struct span record)
{
    struct arena arena;
    struct buf again, third;
    struct command cmd;
    arena_init(&arena);
    buf_init(&again, SIZE_MAX);
    buf_init(&third, SIZE_MAX);
    if (command_decode(record, &arena, &cmd) == ST_OK) {
        command_encode(&cmd, &again);
        if (load_u16(record.data + AT_VERSION) == load_u16(again.data + AT_VERSION))
            CHECK(span_equal(record, buf_span(&again)));
        CHECK(load_u16(record.data + AT_VERSION) <= load_u16(again.data + AT_VERSION));
        encode_again(buf_span(&again), &third);
        CHECK(span_equal(buf_span(&again), buf_span(&third)));
    }
    buf_fini(&third);
    buf_fini(&again);
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_record(span_of(data, size));
    if (size < COMMAND_HEADER_SIZE)
        return 0;
    /* With the size put right, so that the rest is looked at. */
    struct buf record;
    buf_init(&record, SIZE_MAX);
    buf_put(&record, data, size);
    store_u32(record.data, (uint32_t)size);
    try_record(buf_span(&record));
    buf_fini(&record);
    return 0;
}
