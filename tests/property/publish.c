/* Random publish requests, from plain to hostile: see tests/fuzz/publish_check.h for what holds. */
#include "tests/fuzz/publish_check.h"

void property_publish_requests(uint64_t seed);

enum { MESSAGES_MAX = 60, MEMBERS_MAX = 5, HEADERS_MAX = 40, BODY_SIZE_MAX = 8 * 1024 * 1024 };

struct generator {
    uint64_t state;        /* xorshift64* */
    unsigned wrong_chance; /* of a member's type, in 1000 */
    struct buf body;
};

static size_t below(struct generator *g, size_t bound)
{
    g->state ^= g->state >> 12;
    g->state ^= g->state << 25;
    g->state ^= g->state >> 27;
    return (size_t)((g->state * 2685821657736338717U >> 32) % bound);
}

static void put_one(struct generator *g, const char *const *from, size_t count)
{
    buf_put_text(&g->body, from[below(g, count)]);
}

#define PUT_ONE(g, ...)                                                                            \
    do {                                                                                           \
        static const char *const texts[] = {__VA_ARGS__};                                          \
        put_one((g), texts, sizeof texts / sizeof texts[0]);                                       \
    } while (0)

static void put_string(struct generator *g)
{
    buf_put_byte(&g->body, '"');
    for (size_t i = below(g, 4); i > 0; i--)
        PUT_ONE(g, "a", "order-", "\\\"", "\\n", "\\u0000", "\\u00e9", "ключ", "\\uD83D\\uDE00",
                "user-123", "some more text than fits a block of 32 bytes ");
    if (below(g, 200) == 0) { /* beyond the limits of keys, headers and batches */
        size_t size = below(g, 70000);
        uint8_t *to = buf_reserve(&g->body, size);
        if (to != NULL) {
            memset(to, 'x', size);
            buf_commit(&g->body, size);
        }
    }
    buf_put_byte(&g->body, '"');
}

static void put_headers(struct generator *g)
{
    size_t count = below(g, 3) == 0 ? below(g, HEADERS_MAX) : below(g, 3);
    buf_put_byte(&g->body, '{');
    for (size_t i = 0; i < count; i++) {
        buf_put_text(&g->body, i > 0 ? " ,\n" : " ");
        if (below(g, 2) == 0)
            buf_printf(&g->body, "\"%zu\"", below(g, count));
        else
            PUT_ONE(g, "\"a\"", "\"\\u0061\"", "\"trace\"", "\"\"", "\"b\\t\"", "\"ключ\"");
        buf_put_text(&g->body, ": ");
        if (below(g, 10) == 0)
            buf_put_text(&g->body, "null");
        else if (below(g, 1000) < g->wrong_chance)
            buf_put_text(&g->body, "17");
        else
            put_string(g);
    }
    buf_put_byte(&g->body, '}');
}

static void put_member(struct generator *g)
{
    size_t field = below(g, 8);
    static const char *const names[] = {"value",     "key",        "partition", "delay",
                                        "deliverAt", "deliver_at", "priority",  "headers"};
    buf_printf(&g->body, "\"%s\" :", names[field]);
    if (below(g, 1000) < g->wrong_chance) {
        PUT_ONE(g, "1", "1.5", "true", "[]", "{}", "\"text\"", "[{\"a\":null}]");
        return;
    }
    if (below(g, 12) == 0) {
        buf_put_text(&g->body, "null");
        return;
    }
    if (field <= 1)
        put_string(g);
    else if (field == 2)
        PUT_ONE(g, "0", "1", "2", "3", "0", "-0", "-1", "1023", "99999999999");
    else if (field == 3)
        PUT_ONE(g, "\"1s\"", "\"0\"", "\"1h30m\"", "\"1.5us\"", "\"-1s\"", "\"5\"", "\"8761h\"",
                "\"1\\u0073\"", "\"\"");
    else if (field <= 5)
        PUT_ONE(g, "\"2027-01-16T09:00:00+01:00\"", "\"2001-01-01T00:00:00Z\"", "\"later\"",
                "\"9999-01-01T00:00:00Z\"", "\"2027-01-15T08:00:00.000001Z\"");
    else if (field == 6)
        PUT_ONE(g, "\"high\"", "\"CRITICAL\"", "\"low\"", "\"urgent\"", "\"n\\u006frmal\"",
                "\"background\"");
    else
        put_headers(g);
}

static void put_message(struct generator *g)
{
    if (below(g, 2000) < g->wrong_chance) {
        PUT_ONE(g, "null", "1", "\"text\"", "[]");
        return;
    }
    buf_put_byte(&g->body, '{');
    if (below(g, 20) > 0) {
        buf_put_text(&g->body, "\"value\":");
        put_string(g);
    } else {
        buf_put_text(&g->body, "\"unknown\":[1,{\"value\":2}]");
    }
    size_t members = below(g, 2) == 0 ? 0 : below(g, MEMBERS_MAX);
    for (size_t i = 0; i < members; i++) {
        buf_put_byte(&g->body, ',');
        put_member(g);
    }
    buf_put_byte(&g->body, '}');
}

void property_publish_requests(uint64_t seed)
{
    static const uint32_t partitions[] = {1, 2, 3, 6, 12, 1024};
    struct generator g = {.state = seed * 0x9e3779b97f4a7c15U + 1};
    (void)below(&g, 1);
    g.wrong_chance = below(&g, 4) == 0 ? 20 : 0;
    buf_init(&g.body, BODY_SIZE_MAX);
    buf_put_text(&g.body, "{\"messages\":[");
    size_t count = below(&g, MESSAGES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_put_byte(&g.body, ',');
        put_message(&g);
    }
    buf_put_text(&g.body, "]}");
    CHECK(!g.body.overflowed);
    struct publish_builder *builder = new_zero(struct publish_builder);
    publish_builder_init(builder);
    publish_check_body(builder, buf_span(&g.body), partitions[below(&g, 6)]);
    publish_builder_fini(builder);
    free(builder);
    buf_fini(&g.body);
}
