/* Receipts from strangers: what is accepted must be what was written, byte for byte. */
#include "delivery/receipt.h"
#include "std/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct receipt_key key = {.bytes = {7}};

static void check_accepted(struct span text, const struct receipt *receipt)
{
    struct buf again;
    buf_init(&again, 1024);
    receipt_write(&key, span_text("t/"), receipt, &again);
    CHECK(span_equal(buf_span(&again), text));
    buf_fini(&again);
}

/* The input as the fields of a receipt: written, read back, then damaged at one place. */
static void check_round_trip(const uint8_t *data, size_t size)
{
    struct receipt in = {0};
    memcpy(&in, data, size < sizeof in ? size : sizeof in);
    struct buf text;
    buf_init(&text, 1024);
    receipt_write(&key, span_text("t/"), &in, &text);
    struct receipt back = {0};
    CHECK(receipt_read(&key, span_text("t/"), buf_span(&text), &back) == ST_OK);
    CHECK(back.offset == in.offset);
    CHECK(back.lease_id == in.lease_id);
    CHECK(back.group_id == in.group_id);
    uint8_t *at = &text.data[data[0] % text.size];
    if (*at != data[size - 1]) {
        *at = data[size - 1];
        CHECK(receipt_read(&key, span_text("t/"), buf_span(&text), &back) != ST_OK);
    }
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct receipt receipt;
    struct span text = span_of(data, size);
    if (receipt_read(&key, span_text("t/"), text, &receipt) == ST_OK)
        check_accepted(text, &receipt);
    if (size > 0)
        check_round_trip(data, size);
    return 0;
}
