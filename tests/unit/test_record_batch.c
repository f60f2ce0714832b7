#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "command/record_batch.h"
#include "std/crc32c.h"
#include "std/little_endian.h"

Suite *suite_record_batch(void);

static const struct record SAMPLES[] = {
    {.value = {(const uint8_t *)"hello", 5}, .priority = PRIORITY_NORMAL},
    {.value = {NULL, 0}, .priority = PRIORITY_NORMAL},
    {.value = {(const uint8_t *)"a\\n", 3}, .value_escaped = true, .priority = PRIORITY_CRITICAL},
    {.key = {(const uint8_t *)"k", 1},
     .value = {(const uint8_t *)"v", 1},
     .priority = PRIORITY_BACKGROUND,
     .delay_us = 5000000},
    {.headers = {(const uint8_t *)"{\"a\":\"b\"}", 9},
     .value = {(const uint8_t *)"v", 1},
     .priority = PRIORITY_LOW,
     .deliver_at_us = 1700000000000000},
};
enum { SAMPLE_COUNT = sizeof SAMPLES / sizeof SAMPLES[0] };

static uint32_t crc_of(const uint8_t *batch, size_t size)
{
    return crc32c(0, batch, 20) ^ crc32c(0, batch + 24, size - 24);
}

static void build(struct buf *out, int first, int count)
{
    struct batch_builder builder;
    batch_begin(&builder, out);
    for (int i = 0; i < count; i++)
        batch_add(&builder, &SAMPLES[(first + i) % SAMPLE_COUNT]);
    ck_assert_uint_eq(batch_size(&builder), out->size - builder.start);
    batch_end(&builder);
}

static void assert_same(const struct record *a, const struct record *b)
{
    ck_assert(span_equal(a->key, b->key));
    ck_assert(span_equal(a->headers, b->headers));
    ck_assert(span_equal(a->value, b->value));
    ck_assert_int_eq(a->value_escaped, b->value_escaped);
    ck_assert_int_eq(a->priority, b->priority);
    ck_assert_int_eq(a->delay_us, b->delay_us);
    ck_assert_int_eq(a->deliver_at_us, b->deliver_at_us);
}

START_TEST(batch_round_trips)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    build(&buf, 0, SAMPLE_COUNT);
    batch_patch(buf.data, 77, 123456);
    struct batch_header header;
    ck_assert_int_eq(batch_check(buf_span(&buf), &header), ST_OK);
    ck_assert_uint_eq(header.base_offset, 77);
    ck_assert_int_eq(header.time_us, 123456);
    ck_assert_uint_eq(header.size, buf.size);
    ck_assert_uint_eq(header.count, SAMPLE_COUNT);
    ck_assert_uint_eq(header.flags,
                      BATCH_HAS_KEYS | BATCH_HAS_DELAYS | BATCH_HAS_PRIORITIES | BATCH_HAS_HEADERS);
    size_t cursor = 0, skipping = 0;
    struct record record;
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        ck_assert(batch_next(buf_span(&buf), &cursor, &record));
        assert_same(&record, &SAMPLES[i]);
        ck_assert(batch_skip(buf_span(&buf), &skipping, 1));
        ck_assert_uint_eq(skipping, cursor);
    }
    ck_assert(!batch_next(buf_span(&buf), &cursor, &record));
    ck_assert_uint_eq(cursor, buf.size);
    ck_assert(!batch_skip(buf_span(&buf), &skipping, 1));
    skipping = 0;
    ck_assert(batch_skip(buf_span(&buf), &skipping, SAMPLE_COUNT));
    ck_assert_uint_eq(skipping, buf.size);
    buf_fini(&buf);
}
END_TEST

START_TEST(batch_flags_tell_what_is_in_it)
{
    static const uint32_t flags[SAMPLE_COUNT] = {
        0, 0, BATCH_HAS_PRIORITIES, BATCH_HAS_KEYS | BATCH_HAS_PRIORITIES | BATCH_HAS_DELAYS,
        BATCH_HAS_HEADERS | BATCH_HAS_PRIORITIES | BATCH_HAS_DELAYS};
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        struct buf buf;
        struct batch_header header;
        buf_init(&buf, 1 << 20);
        build(&buf, i, 1);
        ck_assert_int_eq(batch_check(buf_span(&buf), &header), ST_OK);
        ck_assert_uint_eq(header.flags, flags[i]);
        buf_fini(&buf);
    }
}
END_TEST

/* The bytes of version 1, for ever. */
START_TEST(batch_bytes_are_fixed)
{
    static const uint8_t expected[] = {
        5, 0, 0,   0,          0,  0,   0, 0, 6,   0,   0,  0,
        0, 0, 0,   0,          43, 0,   0, 0,                  /* offset, time, size */
        0, 0, 0,   0,          2,  0,   0, 0, 3,   0,   0,  0, /* crc, count, flags */
        2, 1, 'x', 64 + 8 + 1, 6,  200, 1, 1, 'k', 'h', 'i'};
    struct record plain = {.value = span_text("x"), .priority = PRIORITY_NORMAL};
    struct record rich = {.key = span_text("k"),
                          .value = span_text("hi"),
                          .priority = PRIORITY_HIGH,
                          .delay_us = 200};
    struct buf buf;
    buf_init(&buf, 1 << 20);
    struct batch_builder builder;
    batch_begin(&builder, &buf);
    batch_add(&builder, &plain);
    batch_add(&builder, &rich);
    batch_end(&builder);
    batch_patch(buf.data, 5, 6);
    uint8_t bytes[sizeof expected];
    memcpy(bytes, expected, sizeof bytes);
    bytes[28] = BATCH_HAS_KEYS | BATCH_HAS_DELAYS | BATCH_HAS_PRIORITIES;
    store_u32(bytes + 20, crc_of(bytes, sizeof bytes));
    ck_assert_uint_eq(buf.size, sizeof bytes);
    ck_assert_mem_eq(buf.data, bytes, sizeof bytes);
    buf_fini(&buf);
}
END_TEST

START_TEST(batch_truncated_is_torn)
{
    struct buf buf;
    struct batch_header header;
    buf_init(&buf, 1 << 20);
    build(&buf, 0, SAMPLE_COUNT);
    for (size_t size = 0; size < buf.size; size++) {
        uint8_t *copy = malloc(size + 1); /* its own block, so that reading over it is seen */
        memcpy(copy, buf.data, size);
        ck_assert_int_eq(batch_verify(span_of(copy, size), &header), ST_TORN);
        ck_assert_uint_eq(header.size, size < BATCH_HEADER_SIZE ? 0 : buf.size);
        free(copy);
    }
    buf_fini(&buf);
}
END_TEST

/* Every bit is under the checksum, also after apply has patched it. */
START_TEST(batch_flipped_bits_are_found)
{
    struct buf buf;
    struct batch_header header;
    buf_init(&buf, 1 << 20);
    build(&buf, 0, SAMPLE_COUNT);
    batch_patch(buf.data, 1000, 1700000000000000);
    for (size_t at = 0; at < buf.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            buf.data[at] ^= (uint8_t)(1 << bit);
            ck_assert_int_ne(batch_verify(buf_span(&buf), &header), ST_OK);
            buf.data[at] ^= (uint8_t)(1 << bit);
        }
    }
    ck_assert_int_eq(batch_verify(buf_span(&buf), &header), ST_OK);
    buf_fini(&buf);
}
END_TEST

static void refuse(const char *bytes, size_t size, uint32_t flags)
{
    uint8_t batch[128] = {0};
    memcpy(batch + BATCH_HEADER_SIZE, bytes, size);
    store_u32(batch + 16, (uint32_t)(BATCH_HEADER_SIZE + size));
    store_u32(batch + 24, 1);
    store_u32(batch + 28, flags);
    store_u32(batch + 20, crc_of(batch, BATCH_HEADER_SIZE + size));
    struct span span = span_of(batch, BATCH_HEADER_SIZE + size);
    struct batch_header header;
    ck_assert_int_eq(batch_verify(span, &header), ST_OK);
    ck_assert_int_eq(batch_check(span, &header), ST_CORRUPT);
}

START_TEST(batch_malformed_records_are_refused)
{
    refuse("\x02\x05\x61\x61", 4, 0);                    /* longer than the batch */
    refuse("\x02\x80\x00", 3, 0);                        /* a size not in its shortest form */
    refuse("\x05\x01\x61", 3, BATCH_HAS_PRIORITIES);     /* no such priority */
    refuse("\xc2\x03\x01\x01\x61", 5, BATCH_HAS_DELAYS); /* delay and due */
    refuse("\x42\x01\x00", 3, BATCH_HAS_DELAYS);         /* a delay of nothing */
    refuse("\x0a\x02\x00\x61", 4, BATCH_HAS_KEYS);       /* an empty key */
    refuse("\x0a\x02\x05\x61", 4, BATCH_HAS_KEYS);       /* a key beyond the record */
    refuse("\x02\x01\x61", 3, BATCH_HAS_KEYS);           /* the flags lie */
    refuse("\x02\x00\x02\x00", 4, 0);                    /* more than `count` */
    refuse("\x42\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, BATCH_HAS_DELAYS); /* < 0 */
}
END_TEST

START_TEST(batch_overflow_is_the_owners_to_see)
{
    struct buf buf;
    buf_init(&buf, 60);
    struct batch_builder builder;
    batch_begin(&builder, &buf);
    for (int i = 0; i < 10; i++)
        batch_add(&builder, &SAMPLES[0]);
    batch_end(&builder);
    ck_assert(buf.overflowed);
    buf_fini(&buf);
}
END_TEST

Suite *suite_record_batch(void)
{
    Suite *suite = suite_create("record_batch");
    TCase *tcase = tcase_create("record_batch");
    tcase_add_test(tcase, batch_round_trips);
    tcase_add_test(tcase, batch_flags_tell_what_is_in_it);
    tcase_add_test(tcase, batch_bytes_are_fixed);
    tcase_add_test(tcase, batch_truncated_is_torn);
    tcase_add_test(tcase, batch_flipped_bits_are_found);
    tcase_add_test(tcase, batch_malformed_records_are_refused);
    tcase_add_test(tcase, batch_overflow_is_the_owners_to_see);
    suite_add_tcase(suite, tcase);
    return suite;
}
