#include <check.h>
#include <stdlib.h>

#include "delivery/receipt.h"

Suite *suite_receipt(void);

static const struct receipt_key key = {.bytes = {1, 2, 3, 4, 5}};
static const struct receipt sample = {.group_id = 0x01020304,
                                      .topic_id = 0xF1F2F3F4,
                                      .partition = 1023,
                                      .delivery_count = 3,
                                      .offset = 0x0102030405060708,
                                      .lease_id = 0xF1F2F3F4F5F6F7F8};

static void write_sample(char text[RECEIPT_TEXT_SIZE + 1], const char *scope)
{
    struct buf out;
    buf_init(&out, 1024);
    receipt_write(&key, span_text(scope), &sample, &out);
    ck_assert_uint_eq(out.size, RECEIPT_TEXT_SIZE);
    memcpy(text, out.data, RECEIPT_TEXT_SIZE);
    text[RECEIPT_TEXT_SIZE] = '\0';
    buf_fini(&out);
}

START_TEST(receipt_round_trips)
{
    char text[RECEIPT_TEXT_SIZE + 1];
    write_sample(text, "acme/");
    ck_assert_uint_eq(
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        RECEIPT_TEXT_SIZE);
    struct receipt back = {0};
    ck_assert_int_eq(receipt_read(&key, span_text("acme/"), span_text(text), &back), ST_OK);
    ck_assert_uint_eq(back.group_id, sample.group_id);
    ck_assert_uint_eq(back.topic_id, sample.topic_id);
    ck_assert_uint_eq(back.partition, sample.partition);
    ck_assert_uint_eq(back.delivery_count, sample.delivery_count);
    ck_assert_uint_eq(back.offset, sample.offset);
    ck_assert_uint_eq(back.lease_id, sample.lease_id);
}
END_TEST

START_TEST(receipt_is_bound_to_key_and_scope)
{
    char text[RECEIPT_TEXT_SIZE + 1];
    write_sample(text, "acme/");
    struct receipt back = {0};
    struct receipt_key other = key;
    other.bytes[RECEIPT_KEY_SIZE - 1] ^= 1;
    ck_assert_int_eq(receipt_read(&key, span_text(""), span_text(text), &back),
                     ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(receipt_read(&key, span_text("acme"), span_text(text), &back),
                     ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(receipt_read(&other, span_text("acme/"), span_text(text), &back),
                     ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(back.offset, 0);
}
END_TEST

START_TEST(receipt_refuses_every_change)
{
    char text[RECEIPT_TEXT_SIZE + 1];
    write_sample(text, "");
    struct receipt back = {0};
    for (size_t i = 0; i < RECEIPT_TEXT_SIZE; i++) {
        char kept = text[i];
        for (int c = 0; c < 256; c++) {
            text[i] = (char)c;
            enum status st =
                receipt_read(&key, span_text(""), span_of(text, RECEIPT_TEXT_SIZE), &back);
            ck_assert_msg((st == ST_OK) == (text[i] == kept), "%zu %d", i, c);
        }
        text[i] = kept;
    }
}
END_TEST

START_TEST(receipt_refuses_other_syntax)
{
    static const char *const wrong[] = {
        "",
        "a",
        "AAAA",
        "not a receipt",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB", /* stray bits */
        "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* version 2 */
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAA+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* not URL-safe */
    };
    struct receipt back;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_int_eq(receipt_read(&key, span_text(""), span_text(wrong[i]), &back),
                         ST_INVALID_RECEIPT);
    ck_assert_int_eq(receipt_read(&key, span_text(""), span_of(NULL, 0), &back),
                     ST_INVALID_RECEIPT);
    /* The right syntax, a tag of zeros. */
    ck_assert_int_eq(
        receipt_read(
            &key, span_text(""),
            span_text("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), &back),
        ST_MESSAGE_NOT_FOUND);
}
END_TEST

Suite *suite_receipt(void)
{
    Suite *suite = suite_create("receipt");
    TCase *tcase = tcase_create("receipt");
    tcase_add_test(tcase, receipt_round_trips);
    tcase_add_test(tcase, receipt_is_bound_to_key_and_scope);
    tcase_add_test(tcase, receipt_refuses_every_change);
    tcase_add_test(tcase, receipt_refuses_other_syntax);
    suite_add_tcase(suite, tcase);
    return suite;
}
