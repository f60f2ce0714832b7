/* Random JSON documents, whole and broken: see tests/fuzz/json_check.h for what must hold. */
#include "tests/fuzz/json_check.h"

void property_json_documents(uint64_t seed);
void property_json_broken_documents(uint64_t seed);

enum { DOCUMENT_SIZE_MAX = 64 * 1024, DEPTH_MAX = 6, WIDTH_MAX = 8, MUTATIONS_MAX = 4 };

/* A small generator of pseudorandom numbers (xorshift64*), enough for test data. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static uint64_t start_random(uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    (void)next_random(&state);
    return state;
}

static size_t below(uint64_t *random, size_t bound)
{
    return (size_t)((next_random(random) >> 32) % bound);
}

static const char *pick(uint64_t *random, const char *const *from, size_t count)
{
    return from[below(random, count)];
}

#define PICK(random, from) pick(random, from, sizeof(from) / sizeof((from)[0]))

static void put_space(struct buf *b, uint64_t *random)
{
    static const char *const spaces[] = {"", "", "", "", " ", "\n  ", "\t\r\n"};
    buf_put_text(b, PICK(random, spaces));
}

static void put_string(struct buf *b, uint64_t *random)
{
    static const char *const pieces[] = {
        "a",
        "some plain text ",
        "\\\"",
        "\\\\",
        "\\/",
        "\\b\\f\\n\\r\\t",
        "\\u0000",
        "\\u001F",
        "\\u00e9",
        "\\u20ac",
        "\\uD83D\\uDE00",
        "é",
        "ключ",
        "日本語",
        "😀",
        "\x7f",
        "thirty-two bytes of plain text: ",
        "'",
    };
    buf_put_byte(b, '"');
    for (size_t count = below(random, 12); count > 0; count--) {
        const char *piece = PICK(random, pieces);
        for (size_t times = 1 + below(random, 3); times > 0; times--)
            buf_put_text(b, piece);
    }
    buf_put_byte(b, '"');
}

static void put_number(struct buf *b, uint64_t *random)
{
    static const char *const numbers[] = {
        "0",
        "-0",
        "1.5",
        "-0.0",
        "1e5",
        "1E+300",
        "1e-300",
        "1e999",
        "-1e999",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "0.1",
        "1e-999",
    };
    if (below(random, 2) == 0)
        buf_put_text(b, PICK(random, numbers));
    else
        buf_put_i64(b, (int64_t)next_random(random) >> below(random, 64));
}

static void put_value(struct buf *b, uint64_t *random, int depth)
{
    static const char *const literals[] = {"true", "false", "null"};
    put_space(b, random);
    size_t kind = below(random, depth > 0 ? 7 : 4);
    if (kind == 0) {
        buf_put_text(b, PICK(random, literals));
    } else if (kind == 1) {
        put_number(b, random);
    } else if (kind < 4) {
        put_string(b, random);
    } else {
        bool object = kind != 4;
        buf_put_byte(b, object ? '{' : '[');
        size_t count = below(random, WIDTH_MAX);
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                buf_put_byte(b, ',');
            put_space(b, random);
            if (object) {
                put_string(b, random);
                put_space(b, random);
                buf_put_byte(b, ':');
            }
            put_value(b, random, depth - 1);
        }
        put_space(b, random);
        buf_put_byte(b, object ? '}' : ']');
    }
    put_space(b, random);
}

/* In memory of exactly its size, for the sanitizers. Pair: free(). */
static uint8_t *copy_exactly(const struct buf *b)
{
    uint8_t *copy = alloc_bytes(b->size);
    memcpy(copy, b->data, b->size);
    return copy;
}

void property_json_documents(uint64_t seed)
{
    uint64_t random = start_random(seed);
    struct buf b;
    buf_init(&b, DOCUMENT_SIZE_MAX);
    put_value(&b, &random, DEPTH_MAX);
    if (!b.overflowed) {
        uint8_t *copy = copy_exactly(&b);
        struct json_scan s;
        json_scan_init(&s, span_of(copy, b.size));
        CHECK(json_scan_end(&s));
        json_check_document(span_of(copy, b.size));
        free(copy);
    }
    buf_fini(&b);
}

static void mutate(struct buf *b, uint64_t *random)
{
    static const char bytes[] = "\"\\{}[]:,0-.eEu\x01\x1f\x80\xc3\xed\xf4\xff tn";
    size_t at = below(random, b->size);
    switch (below(random, 4)) {
    case 0: /* another byte */
        b->data[at] = (uint8_t)bytes[below(random, sizeof bytes - 1)];
        break;
    case 1: /* one bit */
        b->data[at] ^= (uint8_t)(1u << below(random, 8));
        break;
    case 2: /* a byte less */
        memmove(b->data + at, b->data + at + 1, b->size - at - 1);
        b->size -= b->size > 1;
        break;
    default: /* cut */
        b->size = at + 1;
        break;
    }
}

void property_json_broken_documents(uint64_t seed)
{
    uint64_t random = start_random(seed);
    struct buf b;
    buf_init(&b, DOCUMENT_SIZE_MAX);
    put_value(&b, &random, DEPTH_MAX / 2);
    for (size_t count = 1 + below(&random, MUTATIONS_MAX); count > 0; count--)
        mutate(&b, &random);
    uint8_t *copy = copy_exactly(&b);
    json_check_document(span_of(copy, b.size));
    free(copy);
    buf_fini(&b);
}
