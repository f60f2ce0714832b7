#include "std/utf8.h"

#include "std/check.h"

static bool all_ascii(const uint8_t *p)
{
    uint64_t low, high;
    memcpy(&low, p, sizeof low);
    memcpy(&high, p + 8, sizeof high);
    return ((low | high) & 0x8080808080808080u) == 0;
}

static bool continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The size of the character that starts at p, with `left` > 0 bytes to go; 0 when it is not valid.
 * The second byte's range depends on the first: that is what keeps out over-long forms (E0, F0),
 * surrogates (ED) and what lies above U+10FFFF (F4). */
static size_t character_size(const uint8_t *p, size_t left)
{
    uint8_t first = p[0];
    if (first < 0x80)
        return 1;
    if (first < 0xc2)
        return 0;
    if (first < 0xe0)
        return left >= 2 && continues(p[1]) ? 2 : 0;
    if (first < 0xf0) {
        if (left < 3 || !continues(p[1]) || !continues(p[2]))
            return 0;
        if ((first == 0xe0 && p[1] < 0xa0) || (first == 0xed && p[1] >= 0xa0))
            return 0;
        return 3;
    }
    if (first > 0xf4 || left < 4 || !continues(p[1]) || !continues(p[2]) || !continues(p[3]))
        return 0;
    if ((first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] >= 0x90))
        return 0;
    return 4;
}

size_t utf8_valid_size(struct span text)
{
    size_t at = 0;
    while (at < text.size) {
        while (text.size - at >= 16 && all_ascii(text.data + at))
            at += 16;
        /* A run of other characters: do not try the 16 bytes again before it ends. */
        while (at < text.size) {
            bool ascii = text.data[at] < 0x80;
            size_t size = character_size(text.data + at, text.size - at);
            if (size == 0)
                return at;
            at += size;
            if (ascii && at % 16 == 0)
                break;
        }
    }
    return at;
}

struct span utf8_cut(struct span text, size_t size_max)
{
    size_t size = text.size;
    if (size > size_max)
        for (size = size_max; size > 0 && (text.data[size] & 0xC0) == 0x80;)
            size--;
    return span_of(text.data, size);
}

size_t utf8_put(uint8_t *out, uint32_t scalar)
{
    CHECK(scalar <= 0x10ffff);
    CHECK(scalar < 0xd800 || scalar > 0xdfff);
    if (scalar < 0x80) {
        out[0] = (uint8_t)scalar;
        return 1;
    }
    if (scalar < 0x800) {
        out[0] = (uint8_t)(0xc0 | scalar >> 6);
        out[1] = (uint8_t)(0x80 | (scalar & 0x3f));
        return 2;
    }
    if (scalar < 0x10000) {
        out[0] = (uint8_t)(0xe0 | scalar >> 12);
        out[1] = (uint8_t)(0x80 | (scalar >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (scalar & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | scalar >> 18);
    out[1] = (uint8_t)(0x80 | (scalar >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (scalar >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (scalar & 0x3f));
    return 4;
}
