#include <check.h>
#include <stdlib.h>

#include "delivery/readout.h"

Suite *suite_readout(void);

static struct wheel wheel;
static struct lease_book book;
static struct lease_holder holder;
static struct topic topic;
static struct partition partition;
static struct group_partition gp;
static struct delivered out[5000];

static void setup(void)
{
    wheel_init(&wheel, 0);
    lease_book_init(&book, &wheel, 1, 1000);
    list_init(&holder.leases);
    partition = (struct partition){.topic = &topic, .next_offset = 5000};
    gp = (struct group_partition){.partition = &partition};
    offset_set_init(&gp.done);
}

static void teardown(void)
{
    readout_free(gp.readout, &book);
    ck_assert_ptr_null(gp.readout);
    ck_assert_ptr_null(partition.waiting);
    lease_book_fini(&book);
    ck_assert_uint_eq(wheel.count, 0);
    ck_assert_uint_eq(holder.count, 0);
    offset_set_fini(&gp.done);
}

static uint32_t take(struct readout *r, uint32_t max)
{
    uint32_t count = readout_take(r, &book, &holder, 1000000, max, out);
    readout_check(r);
    return count;
}

static struct lease *lease_at(const struct readout *r, uint64_t offset)
{
    struct lease *lease = readout_find(r, offset);
    ck_assert_ptr_nonnull(lease);
    ck_assert_uint_eq(lease->offset, offset);
    return lease;
}

START_TEST(skips_what_is_done_or_not_retained)
{
    gp.position = 10;
    partition.start_offset = 20;
    for (uint64_t o = 21; o < 30; o += 2)
        offset_set_add(&gp.done, o);
    struct readout *r = readout_of(&gp);
    ck_assert_ptr_eq(readout_of(&gp), r);
    ck_assert(readout_available(r, &book));
    ck_assert_uint_eq(take(r, 6), 6);
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_uint_eq(out[i].offset, 20 + 2 * i);
    ck_assert_uint_eq(take(r, 5000), 5000 - 31);
    ck_assert(!readout_available(r, &book));
    partition.next_offset++;
    ck_assert_uint_eq(take(r, 5000), 1);
}
END_TEST

START_TEST(redelivers_the_lowest_first)
{
    struct readout *r = readout_of(&gp);
    ck_assert_uint_eq(take(r, 100), 100);
    static const uint64_t order[] = {50, 10, 99, 0, 70, 11, 12};
    for (size_t i = 0; i < 7; i++) {
        if (i % 2 == 0)
            readout_expire(r, &book, lease_at(r, order[i]));
        else
            readout_release(r, &book, lease_at(r, order[i]), true);
        readout_check(r);
    }
    partition.start_offset = 10; /* 0 is gone before it came again */
    ck_assert_uint_eq(r->in_flight, 93);
    static const uint64_t expected[] = {10, 11, 12, 50, 70, 99, 100};
    ck_assert_uint_eq(take(r, 7), 7);
    for (size_t i = 0; i < 7; i++) {
        ck_assert_uint_eq(out[i].offset, expected[i]);
        ck_assert_uint_eq(out[i].delivery_count, i < 6 ? 2 : 1);
    }
    ck_assert_ptr_null(readout_find(r, 0));
}
END_TEST

START_TEST(finds_leases_while_they_come_and_go)
{
    struct readout *r = readout_of(&gp);
    unsigned random = 12345;
    static bool settled[5000];
    ck_assert_uint_eq(take(r, 5000), 5000);
    for (unsigned i = 0; i < 20000; i++) {
        random = random * 1664525 + 1013904223;
        uint64_t offset = random >> 8 & 4095;
        struct lease *lease = readout_find(r, offset);
        ck_assert_int_eq(lease == NULL, settled[offset]);
        if (lease == NULL || i % 3 == 0)
            continue;
        readout_settle(r, &book, lease);
        offset_set_add(&gp.done, offset);
        readout_settled(r, &book, lease);
        settled[offset] = true;
    }
    readout_check(r);
    for (uint64_t o = 0; o < 5000; o++)
        ck_assert_int_eq(readout_find(r, o) == NULL, settled[o]);
}
END_TEST

START_TEST(adopted_offsets_are_not_handed_out)
{
    struct readout *r = readout_of(&gp);
    readout_adopt(r, &book, 2, 7, 3);
    readout_adopt(r, &book, 4, 8, 1);
    ck_assert_uint_eq(take(r, 4), 4);
    ck_assert_uint_eq(out[2].offset, 3);
    ck_assert_uint_eq(out[3].offset, 5);
    offset_set_add(&gp.done, 2);
    readout_settled(r, &book, lease_at(r, 2));
    ck_assert_ptr_null(readout_find(r, 2));
    /* A commit went back behind the ack of 4: it is not done after all. */
    readout_settled(r, &book, lease_at(r, 4));
    ck_assert_int_eq(lease_at(r, 4)->state, LEASE_RELEASED);
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert_uint_eq(out[0].offset, 4);
}
END_TEST

START_TEST(commits_move_both_ways)
{
    struct readout *r = readout_of(&gp);
    ck_assert_uint_eq(take(r, 20), 20);
    readout_settle(r, &book, lease_at(r, 3));
    readout_expire(r, &book, lease_at(r, 4));
    gp.position = 10;
    readout_moved(r, &book);
    readout_check(r);
    ck_assert_uint_eq(r->lease_count, 11); /* 10..19, and 3 until its ack is applied */
    ck_assert_uint_eq(take(r, 1), 1);
    ck_assert_uint_eq(out[0].offset, 20);
    readout_settled(r, &book, lease_at(r, 3));
    ck_assert_ptr_null(readout_find(r, 3));
    gp.position = 0;
    readout_moved(r, &book);
    readout_check(r);
    ck_assert_uint_eq(r->lease_count, 0);
    ck_assert_uint_eq(take(r, 30), 30);
    ck_assert_uint_eq(out[0].offset, 0);
    ck_assert_uint_eq(out[0].delivery_count, 1);
    gp.position = 1ULL << 40; /* beyond the end */
    readout_moved(r, &book);
    ck_assert(!readout_available(r, &book));
}
END_TEST

START_TEST(readers_of_a_partition_come_and_go)
{
    struct group_partition more[3] = {{.partition = &partition}, {.partition = &partition}};
    more[2].partition = &partition;
    for (int i = 0; i < 3; i++)
        (void)readout_of(&more[i]);
    struct readout *r = readout_of(&gp);
    readout_free(more[1].readout, &book);
    ck_assert_ptr_eq(partition.waiting, r);
    ck_assert_ptr_eq(r->reader_next, more[2].readout);
    ck_assert_ptr_eq(r->reader_next->reader_next, more[0].readout);
    readout_free(more[0].readout, &book);
    readout_free(more[2].readout, &book);
    readout_free(NULL, &book);
    ck_assert_ptr_null(r->reader_next);
}
END_TEST

Suite *suite_readout(void)
{
    Suite *suite = suite_create("readout");
    TCase *tcase = tcase_create("readout");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, skips_what_is_done_or_not_retained);
    tcase_add_test(tcase, redelivers_the_lowest_first);
    tcase_add_test(tcase, finds_leases_while_they_come_and_go);
    tcase_add_test(tcase, adopted_offsets_are_not_handed_out);
    tcase_add_test(tcase, commits_move_both_ways);
    tcase_add_test(tcase, readers_of_a_partition_come_and_go);
    suite_add_tcase(suite, tcase);
    return suite;
}
