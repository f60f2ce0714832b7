#include "delivery/receipt.h"

#include <sodium.h>

#include "std/check.h"

enum { VERSION = 1, BODY_SIZE = 33, TAG_SIZE = 16, BYTES_SIZE = BODY_SIZE + TAG_SIZE };

_Static_assert((BYTES_SIZE * 4 + 2) / 3 == RECEIPT_TEXT_SIZE, "base64 without padding");
_Static_assert((int)RECEIPT_KEY_SIZE == crypto_generichash_KEYBYTES, "one key size");

static void put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get_u64(const uint8_t *at)
{
    return (uint64_t)get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

static void compute_tag(const struct receipt_key *key, struct span scope, const uint8_t *body,
                        uint8_t tag[TAG_SIZE])
{
    crypto_generichash_state state;
    CHECK(crypto_generichash_init(&state, key->bytes, RECEIPT_KEY_SIZE, TAG_SIZE) == 0);
    CHECK(crypto_generichash_update(&state, body, BODY_SIZE) == 0);
    if (scope.size > 0)
        CHECK(crypto_generichash_update(&state, scope.data, scope.size) == 0);
    CHECK(crypto_generichash_final(&state, tag, TAG_SIZE) == 0);
}

void receipt_write(const struct receipt_key *key, struct span scope, const struct receipt *receipt,
                   struct buf *out)
{
    uint8_t bytes[BYTES_SIZE];
    bytes[0] = VERSION;
    put_u32(bytes + 1, receipt->group_id);
    put_u32(bytes + 5, receipt->topic_id);
    put_u32(bytes + 9, receipt->partition);
    put_u32(bytes + 13, receipt->delivery_count);
    put_u64(bytes + 17, receipt->offset);
    put_u64(bytes + 25, receipt->lease_id);
    compute_tag(key, scope, bytes, bytes + BODY_SIZE);
    char text[RECEIPT_TEXT_SIZE + 1];
    sodium_bin2base64(text, sizeof text, bytes, sizeof bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_put(out, text, RECEIPT_TEXT_SIZE);
}

enum status receipt_read(const struct receipt_key *key, struct span scope, struct span text,
                         struct receipt *out)
{
    uint8_t bytes[BYTES_SIZE];
    size_t size = 0;
    if (text.size != RECEIPT_TEXT_SIZE ||
        sodium_base642bin(bytes, sizeof bytes, (const char *)text.data, text.size, NULL, &size,
                          NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        size != sizeof bytes || bytes[0] != VERSION)
        return ST_INVALID_RECEIPT;
    uint8_t tag[TAG_SIZE];
    compute_tag(key, scope, bytes, tag);
    if (sodium_memcmp(tag, bytes + BODY_SIZE, TAG_SIZE) != 0)
        return ST_MESSAGE_NOT_FOUND;
    *out = (struct receipt){
        .group_id = get_u32(bytes + 1),
        .topic_id = get_u32(bytes + 5),
        .partition = get_u32(bytes + 9),
        .delivery_count = get_u32(bytes + 13),
        .offset = get_u64(bytes + 17),
        .lease_id = get_u64(bytes + 25),
    };
    return ST_OK;
}
