/* Durations against a second, slower reading of the grammar, and there and back again. */
#include <stdlib.h>
#include <string.h>

#include "std/check.h"
#include "std/duration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

__extension__ typedef __int128 wide;

enum { FRACTION_DIGITS_MAX = 18, WHOLE_DIGITS_MAX = 20 };

/* The unit at `at`, the longest that fits; NULL when none does. */
static const char *unit_at(const char *at, wide *out_ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {
        {"ns", 1},       {"us", 1000},      {"µs", 1000},       {"μs", 1000},
        {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t size = strlen(units[i].name);
        if (strncmp(at, units[i].name, size) == 0) {
            *out_ns = units[i].ns;
            return at + size;
        }
    }
    return NULL;
}

/* 1: valid; 0: invalid; -1: too many digits for this reading. */
static int slow_parse(const char *at, wide *out_ns)
{
    int sign = *at == '-' ? -1 : 1;
    at += *at == '-' || *at == '+';
    *out_ns = 0;
    if (strcmp(at, "0") == 0)
        return 1;
    do {
        size_t whole = strspn(at, "0123456789");
        const char *digits = at;
        at += whole;
        size_t fraction = *at == '.' ? strspn(at + 1, "0123456789") : 0;
        const char *fraction_digits = at + 1;
        at += *at == '.' ? fraction + 1 : 0;
        if (whole + fraction == 0)
            return 0;
        wide unit;
        at = unit_at(at, &unit);
        if (at == NULL)
            return 0;
        if (whole > WHOLE_DIGITS_MAX || fraction > FRACTION_DIGITS_MAX)
            return -1;
        wide ns = 0;
        for (size_t i = 0; i < whole; i++)
            ns = ns * 10 + (digits[i] - '0');
        wide scale = 1, part = 0;
        for (size_t i = 0; i < fraction; i++, scale *= 10)
            part = part * 10 + (fraction_digits[i] - '0');
        *out_ns += ns * unit + part * unit / scale;
    } while (*at != '\0');
    *out_ns *= sign;
    return *out_ns >= INT64_MIN && *out_ns <= INT64_MAX;
}

static void check_format(int64_t ns)
{
    char text[DURATION_SIZE_MAX];
    size_t size = duration_format(text, ns);
    CHECK(size == strlen(text));
    int64_t back = ~ns;
    CHECK(duration_parse(span_of(text, size), &back));
    CHECK(back == ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t ns = 0;
    bool valid = duration_parse(span_of(data, size), &ns);
    if (valid)
        check_format(ns);
    if (memchr(data, 0, size) != NULL) {
        CHECK(!valid);
    } else {
        char *text = malloc(size + 1);
        CHECK(text != NULL);
        memcpy(text, data, size);
        text[size] = '\0';
        wide expected = 0;
        int slow = size == 0 ? 0 : slow_parse(text, &expected);
        CHECK(slow < 0 || valid == (slow == 1));
        CHECK(slow != 1 || ns == expected);
        free(text);
    }
    if (size == sizeof ns) {
        memcpy(&ns, data, sizeof ns);
        check_format(ns);
    }
    return 0;
}
