#include <check.h>
#include <signal.h>

#include "std/utf8.h"

Suite *suite_utf8(void);

/* Each sample is tried at every place around the 16-byte steps, between ASCII and between others.
 */
static void check_sample(const char *sample, size_t size, size_t valid_size)
{
    static const char *const fillers[] = {"x", "é", "\n"};
    for (size_t f = 0; f < sizeof fillers / sizeof fillers[0]; f++) {
        size_t filler_size = strlen(fillers[f]);
        for (size_t before = 0; before < 40; before++) {
            uint8_t text[256];
            size_t at = 0;
            for (size_t i = 0; i < before; i++, at += filler_size)
                memcpy(text + at, fillers[f], filler_size);
            memcpy(text + at, sample, size);
            size_t total = at + size;
            ck_assert_uint_eq(utf8_valid_size(span_of(text, total)), at + valid_size);
            if (valid_size < size)
                continue;
            for (size_t i = 0; i < 20; i++, total += filler_size)
                memcpy(text + total, fillers[f], filler_size);
            ck_assert(utf8_valid(span_of(text, total)));
        }
    }
}

START_TEST(utf8_accepts)
{
    static const char *const samples[] = {
        "a",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "ключ",
        "日本語",
        "😀",
    };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        check_sample(samples[i], strlen(samples[i]), strlen(samples[i]));
    ck_assert(utf8_valid(span_of(NULL, 0)));
    check_sample("\0", 1, 1);
}
END_TEST

START_TEST(utf8_refuses)
{
    static const struct {
        const char *text;
        size_t valid_size;
    } samples[] = {
        {"\x80", 0},             /* continuation without a start */
        {"\xc3", 0},             /* cut */
        {"\xe2\x82", 0},         /* cut */
        {"\xf0\x9f\x98", 0},     /* cut */
        {"\xc3(", 0},            /* continuation missing */
        {"\xe2\x82(", 0},        /* the same */
        {"\xe2(\x82", 0},        /* the same */
        {"\xf0\x9f\x98(", 0},    /* the same */
        {"\xc0\x80", 0},         /* over-long */
        {"\xc1\xbf", 0},         /* over-long */
        {"\xe0\x9f\xbf", 0},     /* over-long */
        {"\xf0\x8f\xbf\xbf", 0}, /* over-long */
        {"\xed\xa0\x80", 0},     /* surrogate */
        {"\xed\xbf\xbf", 0},     /* surrogate */
        {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 0}, /* above U+10FFFF */
        {"\xff", 0},             /* never */
        {"ok\xc3\xa9\xff", 4},   /* behind what is valid */
    };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        check_sample(samples[i].text, strlen(samples[i].text), samples[i].valid_size);
}
END_TEST

/* "a", then characters of 2, 3 and 4 bytes: they end at 1, 3, 6 and 10. */
START_TEST(utf8_cut_keeps_characters_whole)
{
    static const size_t kept[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10, 10};
    const struct span text = span_text("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        const struct span cut = utf8_cut(text, i);
        ck_assert_ptr_eq(cut.data, text.data);
        ck_assert_uint_eq(cut.size, kept[i]);
    }
    ck_assert_uint_eq(utf8_cut(span_of(NULL, 0), 5).size, 0);
}
END_TEST

START_TEST(utf8_put_writes_what_is_valid)
{
    for (uint32_t scalar = 0; scalar <= 0x10ffff; scalar++) {
        if (scalar >= 0xd800 && scalar <= 0xdfff)
            continue;
        uint8_t bytes[4];
        size_t size = utf8_put(bytes, scalar);
        size_t expected = scalar < 0x80 ? 1 : scalar < 0x800 ? 2 : scalar < 0x10000 ? 3 : 4;
        if (size != expected || !utf8_valid(span_of(bytes, size))) /* ck_assert is slow */
            ck_abort_msg("U+%04X", scalar);
    }
}
END_TEST

START_TEST(utf8_put_refuses_surrogates)
{
    uint8_t bytes[4];
    (void)utf8_put(bytes, 0xd800);
}
END_TEST

Suite *suite_utf8(void)
{
    Suite *suite = suite_create("utf8");
    TCase *tcase = tcase_create("utf8");
    tcase_add_test(tcase, utf8_accepts);
    tcase_add_test(tcase, utf8_refuses);
    tcase_add_test(tcase, utf8_cut_keeps_characters_whole);
    tcase_add_test(tcase, utf8_put_writes_what_is_valid);
    tcase_add_test_raise_signal(tcase, utf8_put_refuses_surrogates, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
