/* Timestamps against the C library's calendar, and there and back again. */
#include <string.h>
#include <time.h>

#include "std/check.h"
#include "std/timestamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The text with every digit replaced by a 9: its shape. */
static bool has_shape(const uint8_t *data, size_t size, const char *shape)
{
    if (size != strlen(shape))
        return false;
    for (size_t i = 0; i < size; i++) {
        bool digit = data[i] >= '0' && data[i] <= '9';
        if (digit ? shape[i] != '9' : data[i] != (uint8_t)shape[i])
            return false;
    }
    return true;
}

static int number(const uint8_t *digits, size_t count)
{
    int value = 0;
    for (size_t i = 0; i < count; i++)
        value = value * 10 + (digits[i] - '0');
    return value;
}

/* Reads "2006-01-02T15:04:05Z"-shaped text with the C library. */
static bool library_parse(const uint8_t *data, int64_t *out_seconds)
{
    struct tm tm = {.tm_year = number(data, 4) - 1900,
                    .tm_mon = number(data + 5, 2) - 1,
                    .tm_mday = number(data + 8, 2),
                    .tm_hour = number(data + 11, 2),
                    .tm_min = number(data + 14, 2),
                    .tm_sec = number(data + 17, 2)};
    struct tm normal = tm;
    *out_seconds = timegm(&normal);
    return normal.tm_year == tm.tm_year && normal.tm_mon == tm.tm_mon &&
           normal.tm_mday == tm.tm_mday && normal.tm_hour == tm.tm_hour &&
           normal.tm_min == tm.tm_min && normal.tm_sec == tm.tm_sec;
}

static void check_format(int64_t us)
{
    char text[TIMESTAMP_SIZE_MAX];
    size_t size = timestamp_format(text, us);
    CHECK(size == strlen(text));
    CHECK(text[size - 1] == 'Z');
    int64_t back = 0;
    CHECK(timestamp_parse(span_of(text, size), &back));
    char again[TIMESTAMP_SIZE_MAX];
    CHECK(timestamp_format(again, back) == size);
    CHECK(memcmp(text, again, size) == 0);
    if (us >= -62167219200000000 && us < 253402300800000000)
        CHECK(back == us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t us = 0;
    bool valid = timestamp_parse(span_of(data, size), &us);
    if (valid)
        check_format(us);
    if (size >= 19 && !has_shape(data, 19, "9999-99-99T99:99:99") &&
        !has_shape(data, 19, "9999-99-99t99:99:99"))
        CHECK(!valid);
    if (has_shape(data, size, "9999-99-99T99:99:99Z") && number(data + 17, 2) != 60) {
        int64_t seconds;
        CHECK(library_parse(data, &seconds) == valid);
        CHECK(!valid || us == seconds * 1000000);
    }
    if (size == sizeof us) {
        memcpy(&us, data, sizeof us);
        check_format(us);
    }
    return 0;
}
