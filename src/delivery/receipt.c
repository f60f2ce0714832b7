#include "delivery/receipt.h"

#include <sodium.h>

#include "command/command.h"
#include "std/check.h"
#include "std/little_endian.h"

enum {
    VERSION = 1,
    BODY_SIZE = 33,
    TAG_SIZE = 16,
    BYTES_SIZE = BODY_SIZE + TAG_SIZE,
};

_Static_assert((BYTES_SIZE * 4 + 2) / 3 == RECEIPT_TEXT_SIZE, "base64 without padding");
_Static_assert((int)RECEIPT_KEY_SIZE == crypto_shorthash_siphashx24_KEYBYTES, "one key size");
_Static_assert((int)TAG_SIZE == crypto_shorthash_siphashx24_BYTES, "one tag size");

static void compute_tag(const struct receipt_key *key, struct span scope, const uint8_t *body,
                        uint8_t tag[TAG_SIZE])
{
    uint8_t text[BODY_SIZE + TENANT_SCOPE_SIZE_MAX];
    CHECK(scope.size <= TENANT_SCOPE_SIZE_MAX);
    memcpy(text, body, BODY_SIZE);
    if (scope.size > 0)
        memcpy(text + BODY_SIZE, scope.data, scope.size);
    CHECK(crypto_shorthash_siphashx24(tag, text, BODY_SIZE + scope.size, key->bytes) == 0);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Three bytes, four characters; our 49 bytes end in one byte, two characters, four bits zero. */
static void encode(const uint8_t bytes[BYTES_SIZE], char text[RECEIPT_TEXT_SIZE])
{
    for (unsigned i = 0; i + 3 <= BYTES_SIZE; i += 3, text += 4) {
        uint32_t bits = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        text[0] = alphabet[bits >> 18];
        text[1] = alphabet[bits >> 12 & 63];
        text[2] = alphabet[bits >> 6 & 63];
        text[3] = alphabet[bits & 63];
    }
    text[0] = alphabet[bytes[BYTES_SIZE - 1] >> 2];
    text[1] = alphabet[(bytes[BYTES_SIZE - 1] & 3) << 4];
}

/* -1: not in the alphabet. (libsodium's decoder takes some bytes above 127 for letters.) */
static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static bool decode(const uint8_t text[RECEIPT_TEXT_SIZE], uint8_t bytes[BYTES_SIZE])
{
    uint32_t bits = 0;
    unsigned bit_count = 0;
    unsigned size = 0;
    for (unsigned i = 0; i < RECEIPT_TEXT_SIZE; i++) {
        int value = value_of(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        bit_count += 6;
        if (bit_count < 8)
            continue;
        bit_count -= 8;
        bytes[size++] = (uint8_t)(bits >> bit_count);
    }
    CHECK(size == BYTES_SIZE);
    return (bits & ((1U << bit_count) - 1)) == 0; /* one text for one receipt */
}

void receipt_write(const struct receipt_key *key, struct span scope, const struct receipt *receipt,
                   struct buf *out)
{
    uint8_t bytes[BYTES_SIZE];
    bytes[0] = VERSION;
    store_u32(bytes + 1, receipt->group_id);
    store_u32(bytes + 5, receipt->topic_id);
    store_u32(bytes + 9, receipt->partition);
    store_u32(bytes + 13, receipt->delivery_count);
    store_u64(bytes + 17, receipt->offset);
    store_u64(bytes + 25, receipt->lease_id);
    compute_tag(key, scope, bytes, bytes + BODY_SIZE);
    char text[RECEIPT_TEXT_SIZE];
    encode(bytes, text);
    buf_put(out, text, RECEIPT_TEXT_SIZE);
}

enum status receipt_read(const struct receipt_key *key, struct span scope, struct span text,
                         struct receipt *out)
{
    uint8_t bytes[BYTES_SIZE];
    if (text.size != RECEIPT_TEXT_SIZE || !decode(text.data, bytes) || bytes[0] != VERSION)
        return ST_INVALID_RECEIPT;
    uint8_t tag[TAG_SIZE];
    compute_tag(key, scope, bytes, tag);
    if (sodium_memcmp(tag, bytes + BODY_SIZE, TAG_SIZE) != 0)
        return ST_MESSAGE_NOT_FOUND;
    *out = (struct receipt){
        .group_id = load_u32(bytes + 1),
        .topic_id = load_u32(bytes + 5),
        .partition = load_u32(bytes + 9),
        .delivery_count = load_u32(bytes + 13),
        .offset = load_u64(bytes + 17),
        .lease_id = load_u64(bytes + 25),
    };
    return ST_OK;
}
