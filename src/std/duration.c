#include "std/duration.h"

#include "std/check.h"

#define NS_PER_US     1000ull
#define NS_PER_MS     (1000 * NS_PER_US)
#define NS_PER_S      (1000 * NS_PER_MS)
#define MAGNITUDE_MAX (1ull << 63) /* that of INT64_MIN */

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* The nanoseconds of a unit; 0 when there is none of this name. */
static uint64_t unit_ns(struct span name)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {
        {"ns", 1},
        {"us", NS_PER_US},
        {"\xc2\xb5s", NS_PER_US}, /* U+00B5 MICRO SIGN */
        {"\xce\xbcs", NS_PER_US}, /* U+03BC GREEK SMALL LETTER MU */
        {"ms", NS_PER_MS},
        {"s", NS_PER_S},
        {"m", 60 * NS_PER_S},
        {"h", 3600 * NS_PER_S},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (span_equal(name, span_text(units[i].name)))
            return units[i].ns;
    }
    return 0;
}

static struct span take(struct span *rest, size_t size)
{
    struct span taken = span_of(rest->data, size);
    *rest = span_of(rest->data + size, rest->size - size);
    return taken;
}

static struct span take_digits(struct span *rest)
{
    size_t size = 0;
    while (size < rest->size && is_digit(rest->data[size]))
        size++;
    return take(rest, size);
}

static struct span take_unit(struct span *rest)
{
    size_t size = 0;
    while (size < rest->size && !is_digit(rest->data[size]) && rest->data[size] != '.')
        size++;
    return take(rest, size);
}

/* floor(unit * 0.digits), exactly, however many digits: from the last to the first, which works
 * because floor((a + floor(x)) / 10) == floor((a + x) / 10) for whole a. */
static uint64_t fraction_ns(struct span digits, uint64_t unit)
{
    uint64_t ns = 0;
    for (size_t i = digits.size; i > 0; i--)
        ns = (unit * (uint64_t)(digits.data[i - 1] - '0') + ns) / 10;
    return ns;
}

/* Takes one "1.5h" off the front. */
static bool take_part(struct span *rest, uint64_t *out_ns)
{
    struct span whole = take_digits(rest);
    struct span fraction = {0};
    if (rest->size > 0 && rest->data[0] == '.') {
        (void)take(rest, 1);
        fraction = take_digits(rest);
    }
    if (whole.size + fraction.size == 0)
        return false;
    uint64_t unit = unit_ns(take_unit(rest));
    if (unit == 0)
        return false;

    uint64_t ns = 0;
    for (size_t i = 0; i < whole.size; i++) {
        if (__builtin_mul_overflow(ns, 10u, &ns) ||
            __builtin_add_overflow(ns, (uint64_t)(whole.data[i] - '0'), &ns))
            return false;
    }
    return !__builtin_mul_overflow(ns, unit, &ns) &&
           !__builtin_add_overflow(ns, fraction_ns(fraction, unit), out_ns);
}

bool duration_parse(struct span text, int64_t *out_ns)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    if (negative || (text.size > 0 && text.data[0] == '+'))
        (void)take(&text, 1);
    if (text.size == 0)
        return false;
    uint64_t total = 0;
    if (span_equal(text, span_text("0")))
        text.size = 0;
    while (text.size > 0) {
        uint64_t part;
        if (!take_part(&text, &part) || __builtin_add_overflow(total, part, &total))
            return false;
    }
    if (total > MAGNITUDE_MAX - !negative)
        return false;
    *out_ns = (int64_t)(negative ? 0 - total : total);
    return true;
}

/* Writes backwards, so that no sizes need to be known first. */
struct backwards {
    char text[DURATION_SIZE_MAX];
    size_t at;
};

static void put_front(struct backwards *b, const char *text)
{
    size_t size = strlen(text);
    CHECK(size <= b->at);
    b->at -= size;
    memcpy(b->text + b->at, text, size);
}

static void put_digit(struct backwards *b, uint64_t digit)
{
    CHECK(b->at > 0);
    b->text[--b->at] = (char)('0' + digit);
}

static void put_number(struct backwards *b, uint64_t value)
{
    do {
        put_digit(b, value % 10);
        value /= 10;
    } while (value != 0);
}

/* value / unit with a decimal fraction, `unit` being a power of ten; no zeros at the end. */
static void put_fraction(struct backwards *b, uint64_t value, uint64_t unit)
{
    uint64_t fraction = value % unit;
    bool any = false;
    for (; unit > 1; unit /= 10, fraction /= 10) {
        any |= fraction % 10 != 0;
        if (any)
            put_digit(b, fraction % 10);
    }
    if (any)
        put_front(b, ".");
}

static void put_seconds(struct backwards *b, uint64_t ns)
{
    put_front(b, "s");
    put_fraction(b, ns, NS_PER_S);
    uint64_t seconds = ns / NS_PER_S;
    put_number(b, seconds % 60);
    if (seconds < 60)
        return;
    put_front(b, "m");
    put_number(b, seconds / 60 % 60);
    if (seconds < 3600)
        return;
    put_front(b, "h");
    put_number(b, seconds / 3600);
}

size_t duration_format(char out[DURATION_SIZE_MAX], int64_t ns)
{
    struct backwards b = {.at = DURATION_SIZE_MAX};
    uint64_t magnitude = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    if (magnitude == 0 || magnitude >= NS_PER_S) {
        put_seconds(&b, magnitude);
    } else {
        uint64_t unit = magnitude < NS_PER_US ? 1 : magnitude < NS_PER_MS ? NS_PER_US : NS_PER_MS;
        put_front(&b, unit == 1 ? "ns" : unit == NS_PER_US ? "\xc2\xb5s" : "ms");
        put_fraction(&b, magnitude, unit);
        put_number(&b, magnitude / unit);
    }
    if (ns < 0)
        put_front(&b, "-");
    size_t size = DURATION_SIZE_MAX - b.at;
    CHECK(size < DURATION_SIZE_MAX);
    memcpy(out, b.text + b.at, size);
    out[size] = '\0';
    return size;
}
