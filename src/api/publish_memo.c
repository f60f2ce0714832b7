#include "api/publish_memo.h"

#include "command/record_batch.h"
#include "std/varint.h"

enum { VERSION = 1, ERROR_SIZE_MAX = 4096 };

enum memo_bit {
    MEMO_PRIORITY_MASK = 7,
    MEMO_ERROR = 8,
    MEMO_JUMP = 16,
    MEMO_DELAY = 32,
    MEMO_DUE = 64,
    MEMO_UNKNOWN = 128,
};

static void put_varint(struct buf *out, uint64_t value)
{
    uint8_t bytes[VARINT_SIZE_MAX];
    buf_put(out, bytes, varint_put(bytes, value));
}

static void encode_stored(const struct publish_outcome *outcome, uint32_t *entry, struct buf *out)
{
    unsigned bits = outcome->priority;
    bits |= outcome->entry != *entry ? MEMO_JUMP : 0U;
    bits |= outcome->delay_us != 0 ? MEMO_DELAY : 0U;
    bits |= outcome->deliver_at_us != 0 ? MEMO_DUE : 0U;
    buf_put_byte(out, (uint8_t)bits);
    if (bits & MEMO_JUMP)
        put_varint(out, outcome->entry);
    if (bits & MEMO_DELAY)
        put_varint(out, (uint64_t)outcome->delay_us);
    if (bits & MEMO_DUE)
        put_varint(out, (uint64_t)outcome->deliver_at_us);
    *entry = outcome->entry;
}

void publish_memo_encode(const struct publish_plan *plan, struct buf *out)
{
    uint32_t entry = 0;
    buf_put_byte(out, VERSION);
    put_varint(out, plan->count);
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct publish_outcome *outcome = &plan->outcomes[i];
        if (outcome->error == NULL) {
            encode_stored(outcome, &entry, out);
            continue;
        }
        buf_put_byte(out, (uint8_t)(outcome->priority | MEMO_ERROR));
        put_varint(out, strlen(outcome->error));
        buf_put_text(out, outcome->error);
    }
}

struct decoding {
    struct span left;
    struct arena *arena;
    uint32_t entry_count;
    uint32_t *sizes; /* messages of each entry so far */
    uint32_t entry;  /* the last one's */
};

static bool get_byte(struct decoding *in, uint8_t *out)
{
    if (in->left.size == 0)
        return false;
    *out = in->left.data[0];
    in->left = span_of(in->left.data + 1, in->left.size - 1);
    return true;
}

/* An integer of at most `max` if the bit is there, else 0. */
static bool get_if(struct decoding *in, unsigned bit, uint64_t max, uint64_t *out)
{
    *out = 0;
    return bit == 0 || (varint_get(&in->left, out) && *out <= max);
}

static bool decode_error(struct decoding *in, struct publish_outcome *out)
{
    uint64_t size;
    if (!varint_get(&in->left, &size) || size > ERROR_SIZE_MAX || size > in->left.size)
        return false;
    out->error = arena_string(in->arena, span_of(in->left.data, size));
    in->left = span_of(in->left.data + size, in->left.size - size);
    return true;
}

static bool decode_stored(struct decoding *in, uint8_t bits, struct publish_outcome *out)
{
    uint64_t entry, delay_us, due_us;
    if (!get_if(in, bits & MEMO_JUMP, UINT32_MAX, &entry) ||
        !get_if(in, bits & MEMO_DELAY, DUE_US_MAX, &delay_us) ||
        !get_if(in, bits & MEMO_DUE, DUE_US_MAX, &due_us))
        return false;
    if (bits & MEMO_JUMP)
        in->entry = (uint32_t)entry;
    if (in->entry >= in->entry_count)
        return false;
    out->entry = in->entry;
    out->index = in->sizes[in->entry]++;
    out->delay_us = (int64_t)delay_us;
    out->deliver_at_us = (int64_t)due_us;
    return true;
}

static bool decode_outcome(struct decoding *in, struct publish_outcome *out)
{
    uint8_t bits;
    if (!get_byte(in, &bits) || bits & MEMO_UNKNOWN)
        return false;
    out->priority = bits & MEMO_PRIORITY_MASK;
    if (out->priority >= PRIORITY_COUNT)
        return false;
    return bits & MEMO_ERROR ? decode_error(in, out) : decode_stored(in, bits, out);
}

enum status publish_memo_decode(struct span memo, uint32_t entry_count, struct arena *arena,
                                struct publish_plan *out)
{
    struct decoding in = {.left = memo, .arena = arena, .entry_count = entry_count};
    uint8_t version;
    uint64_t count;
    *out = (struct publish_plan){0};
    if (!get_byte(&in, &version) || version != VERSION || !varint_get(&in.left, &count) ||
        count > MESSAGES_PER_PUBLISH_MAX || entry_count > MESSAGES_PER_PUBLISH_MAX)
        return ST_CORRUPT;
    in.sizes = arena_array(arena, entry_count, sizeof *in.sizes);
    out->outcomes = arena_array(arena, count, sizeof *out->outcomes);
    out->count = (uint32_t)count;
    for (uint32_t i = 0; i < out->count; i++) {
        if (!decode_outcome(&in, &out->outcomes[i]))
            return ST_CORRUPT;
        out->stored_count += out->outcomes[i].error == NULL;
    }
    return in.left.size == 0 ? ST_OK : ST_CORRUPT;
}
