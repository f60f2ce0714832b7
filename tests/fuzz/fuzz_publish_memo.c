/* Any bytes as the memo of a publish request; the first two tell how many entries there are. What
 * is accepted must come back as it was when it is encoded again. */
#include "api/publish_memo.h"
#include "command/record_batch.h"
#include "std/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_outcome(const struct publish_outcome *a, const struct publish_outcome *b)
{
    CHECK(a->priority == b->priority && (a->error == NULL) == (b->error == NULL));
    CHECK(a->error == NULL || strcmp(a->error, b->error) == 0);
    CHECK(a->entry == b->entry && a->index == b->index);
    CHECK(a->delay_us == b->delay_us && a->deliver_at_us == b->deliver_at_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const uint32_t entry_count = (uint32_t)data[0] | (uint32_t)data[1] << 8;
    struct publish_plan first, again;
    struct arena arena;
    struct buf memo;
    arena_init(&arena);
    buf_init(&memo, BATCH_SIZE_MAX);
    if (publish_memo_decode(span_of(data + 2, size - 2), entry_count, &arena, &first) == ST_OK) {
        publish_memo_encode(&first, &memo);
        CHECK(publish_memo_decode(buf_span(&memo), entry_count, &arena, &again) == ST_OK);
        CHECK(first.count == again.count && first.stored_count == again.stored_count);
        for (uint32_t i = 0; i < first.count; i++) {
            CHECK(first.outcomes[i].error != NULL || first.outcomes[i].entry < entry_count);
            check_outcome(&first.outcomes[i], &again.outcomes[i]);
        }
    }
    buf_fini(&memo);
    arena_fini(&arena);
    return 0;
}
