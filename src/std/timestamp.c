#include "std/timestamp.h"

#include "std/check.h"

enum {
    DAYS_PER_YEAR = 365,
    DAYS_PER_4_YEARS = 4 * DAYS_PER_YEAR + 1,
    DAYS_PER_100_YEARS = 25 * DAYS_PER_4_YEARS - 1,
    DAYS_PER_400_YEARS = 4 * DAYS_PER_100_YEARS + 1,
    MINUTES_PER_DAY = 24 * 60,
    SECONDS_PER_DAY = MINUTES_PER_DAY * 60,
    US_PER_S = 1000 * 1000,
    EPOCH_DAY = 719468, /* 1970-01-01, counted from 0000-03-01 */
    DAY_MIN = -719528,  /* 0000-01-01, counted from 1970-01-01 */
};

#define US_MIN (-62167219200ll * US_PER_S)     /* 0000-01-01T00:00:00Z */
#define US_MAX (253402300800ll * US_PER_S - 1) /* 9999-12-31T23:59:59.999999Z */

/* Days are counted from March, so that the leap day comes last and a month's first day follows from
 * its number: the months from March on have 31 30 31 30 31 days, twice over, and then the rest. */
static int month_start(int month_from_march)
{
    return (month_from_march * 153 + 2) / 5;
}

static int64_t days_from_date(int year, int month, int day)
{
    int from_march = (month + 9) % 12;
    int64_t y = year - (from_march >= 10); /* January and February belong to the year before */
    y += 400;                              /* not negative; taken off again below */
    return y * DAYS_PER_YEAR + y / 4 - y / 100 + y / 400 - DAYS_PER_400_YEARS +
           month_start(from_march) + day - 1 - EPOCH_DAY;
}

static void date_from_days(int64_t days, int *out_year, int *out_month, int *out_day)
{
    int64_t left = days + EPOCH_DAY + DAYS_PER_400_YEARS; /* from March of the year -400 */
    CHECK(left >= 0);
    int64_t cycles = left / DAYS_PER_400_YEARS;
    left %= DAYS_PER_400_YEARS;
    /* The last day of a longer cycle would fall into one more of the shorter ones. */
    int64_t centuries = left / DAYS_PER_100_YEARS < 3 ? left / DAYS_PER_100_YEARS : 3;
    left -= centuries * DAYS_PER_100_YEARS;
    int64_t fours = left / DAYS_PER_4_YEARS;
    left %= DAYS_PER_4_YEARS;
    int64_t years = left / DAYS_PER_YEAR < 3 ? left / DAYS_PER_YEAR : 3;
    int day_of_year = (int)(left - years * DAYS_PER_YEAR);

    int from_march = (day_of_year * 5 + 2) / 153;
    *out_day = day_of_year - month_start(from_march) + 1;
    *out_month = from_march < 10 ? from_march + 3 : from_march - 9;
    *out_year =
        (int)(cycles * 400 + centuries * 100 + fours * 4 + years - 400 + (from_march >= 10));
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* --- reading ------------------------------------------------------------------------------------
 */

/* Takes exactly `count` digits; false when there are fewer. */
static bool take_digits(struct span *rest, size_t count, int *out)
{
    if (rest->size < count)
        return false;
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (rest->data[i] < '0' || rest->data[i] > '9')
            return false;
        value = value * 10 + (rest->data[i] - '0');
    }
    *rest = span_of(rest->data + count, rest->size - count);
    *out = value;
    return true;
}

/* Takes one byte that is `a` or `b`. */
static bool take_byte(struct span *rest, char a, char b)
{
    if (rest->size == 0 || (rest->data[0] != (uint8_t)a && rest->data[0] != (uint8_t)b))
        return false;
    *rest = span_of(rest->data + 1, rest->size - 1);
    return true;
}

static bool take_fraction(struct span *rest, int *out_us)
{
    *out_us = 0;
    if (!take_byte(rest, '.', '.'))
        return true;
    int digit;
    int scale = US_PER_S / 10;
    if (!take_digits(rest, 1, &digit))
        return false;
    do {
        *out_us += digit * scale;
        scale /= 10;
    } while (take_digits(rest, 1, &digit));
    return true;
}

static bool take_offset(struct span *rest, int *out_minutes)
{
    *out_minutes = 0;
    if (take_byte(rest, 'Z', 'z'))
        return true;
    bool west = rest->size > 0 && rest->data[0] == '-';
    int hours, minutes;
    if (!take_byte(rest, '+', '-') || !take_digits(rest, 2, &hours) || !take_byte(rest, ':', ':') ||
        !take_digits(rest, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    *out_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

bool timestamp_parse(struct span text, int64_t *out_us)
{
    int year, month, day, hour, minute, second, fraction_us, offset_minutes;
    if (!take_digits(&text, 4, &year) || !take_byte(&text, '-', '-') ||
        !take_digits(&text, 2, &month) || !take_byte(&text, '-', '-') ||
        !take_digits(&text, 2, &day) || !take_byte(&text, 'T', 't'))
        return false;
    if (!take_digits(&text, 2, &hour) || !take_byte(&text, ':', ':') ||
        !take_digits(&text, 2, &minute) || !take_byte(&text, ':', ':') ||
        !take_digits(&text, 2, &second) || !take_fraction(&text, &fraction_us) ||
        !take_offset(&text, &offset_minutes) || text.size > 0)
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 60)
        return false;

    int64_t minutes =
        days_from_date(year, month, day) * MINUTES_PER_DAY + (int64_t)hour * 60 + minute;
    minutes -= offset_minutes;
    if (second == 60 && (minutes + 1) % MINUTES_PER_DAY != 0)
        return false; /* leap seconds come at the end of a day of UTC only */
    int64_t us = (minutes * 60 + second) * US_PER_S + fraction_us;
    if (us < US_MIN || us > US_MAX)
        return false;
    *out_us = us;
    return true;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static char *put_digits(char *to, int value, int count)
{
    for (int i = count; i > 0; i--, value /= 10)
        to[i - 1] = (char)('0' + value % 10);
    return to + count;
}

size_t timestamp_format(char out[TIMESTAMP_SIZE_MAX], int64_t us)
{
    us = us < US_MIN ? US_MIN : us > US_MAX ? US_MAX : us;
    int64_t from_start = us - US_MIN; /* not negative, so that division rounds down */
    int fraction_us = (int)(from_start % US_PER_S);
    int second = (int)(from_start / US_PER_S % SECONDS_PER_DAY);
    int year, month, day;
    date_from_days(from_start / US_PER_S / SECONDS_PER_DAY + DAY_MIN, &year, &month, &day);

    char *to = put_digits(out, year, 4);
    *to++ = '-';
    to = put_digits(to, month, 2);
    *to++ = '-';
    to = put_digits(to, day, 2);
    *to++ = 'T';
    to = put_digits(to, second / 3600, 2);
    *to++ = ':';
    to = put_digits(to, second / 60 % 60, 2);
    *to++ = ':';
    to = put_digits(to, second % 60, 2);
    if (fraction_us != 0) {
        *to++ = '.';
        bool whole_ms = fraction_us % 1000 == 0;
        to = put_digits(to, whole_ms ? fraction_us / 1000 : fraction_us, whole_ms ? 3 : 6);
    }
    *to++ = 'Z';
    *to = '\0';
    CHECK(to < out + TIMESTAMP_SIZE_MAX);
    return (size_t)(to - out);
}
