/* Command records from a broken disk: what decodes must encode to the same bytes again. */
#include "command/codec.h"
#include "std/check.h"
#include "std/little_endian.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_record(struct span record)
{
    struct arena arena;
    struct buf again;
    struct command cmd;
    arena_init(&arena);
    buf_init(&again, SIZE_MAX);
    if (command_decode(record, &arena, &cmd) == ST_OK) {
        command_encode(&cmd, &again);
        CHECK(span_equal(record, buf_span(&again)));
    }
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
