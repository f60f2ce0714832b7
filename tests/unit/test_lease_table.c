/* Where leases are found: by offset, and the lowest of those that wait. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "delivery/lease_heap.h"
#include "delivery/lease_table.h"

Suite *suite_lease_table(void);

enum { MANY = 4000 };

static struct lease leases[MANY];
static uint64_t random_state;

static uint64_t roll(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state >> 8;
}

static void setup(void)
{
    random_state = 88172645463325252ULL;
    for (uint64_t i = 0; i < MANY; i++)
        leases[i] = (struct lease){.offset = i, .waiting_index = LEASE_NOT_WAITING};
}

START_TEST(table_finds_by_offset)
{
    struct lease_table t = {0};
    ck_assert_ptr_null(lease_table_find(&t, 0));
    static const uint64_t strides[] = {1, 7, 64, 65536, 1ULL << 40};
    for (size_t s = 0; s < 5; s++) {
        for (uint64_t i = 0; i < MANY; i++) {
            leases[i].offset = i * strides[s];
            lease_table_add(&t, &leases[i]);
        }
        ck_assert_uint_eq(t.count, MANY);
        for (uint64_t i = 0; i < MANY; i++)
            ck_assert_ptr_eq(lease_table_find(&t, i * strides[s]), &leases[i]);
        ck_assert_ptr_null(lease_table_find(&t, MANY * strides[s]));
        for (uint64_t i = 0; i < MANY; i++)
            lease_table_remove(&t, &leases[(i * 1237) % MANY]);
        ck_assert_uint_eq(t.count, 0);
    }
    lease_table_fini(&t);
}
END_TEST

/* Against an array of booleans, with clusters, so that gaps are closed over the table's end. */
START_TEST(table_random)
{
    static bool in[MANY];
    struct lease_table t = {0};
    uint32_t count = 0;
    for (int step = 0; step < 60000; step++) {
        uint64_t i = roll() % (step < 30000 ? MANY : 60); /* grows, then shrinks */
        if (step >= 30000)
            i = roll() % MANY;
        bool remove = in[i];
        if (step >= 30000 && !remove)
            continue; /* only removals */
        if (remove)
            lease_table_remove(&t, &leases[i]);
        else
            lease_table_add(&t, &leases[i]);
        in[i] = !remove;
        count += remove ? -1U : 1U;
        ck_assert_uint_eq(t.count, count);
        uint64_t probe = roll() % MANY;
        ck_assert_ptr_eq(lease_table_find(&t, probe), in[probe] ? &leases[probe] : NULL);
        if (step % 5000 == 0)
            for (uint64_t k = 0; k < MANY; k++)
                ck_assert_ptr_eq(lease_table_find(&t, k), in[k] ? &leases[k] : NULL);
    }
    for (uint64_t k = 0; k < MANY; k++)
        if (in[k])
            lease_table_remove(&t, &leases[k]);
    lease_table_fini(&t);
}
END_TEST

START_TEST(table_memory_follows_the_number)
{
    struct lease_table t = {0};
    for (uint64_t i = 0; i < MANY; i++)
        lease_table_add(&t, &leases[i]);
    ck_assert_uint_ge(t.capacity, 2 * MANY);
    ck_assert_uint_le(t.capacity, 4 * MANY);
    for (uint64_t i = 0; i + 2 < MANY; i++)
        lease_table_remove(&t, &leases[i]);
    ck_assert_uint_le(t.capacity, 256);
    ck_assert_ptr_eq(lease_table_find(&t, MANY - 1), &leases[MANY - 1]);
    lease_table_remove(&t, &leases[MANY - 1]);
    lease_table_remove(&t, &leases[MANY - 2]);
    lease_table_fini(&t);
    ck_assert_ptr_null(t.slots);
}
END_TEST

START_TEST(table_refuses_an_offset_twice)
{
    struct lease_table t = {0};
    leases[1].offset = leases[0].offset;
    lease_table_add(&t, &leases[0]);
    lease_table_add(&t, &leases[1]);
}
END_TEST

START_TEST(heap_gives_the_lowest_first)
{
    struct lease_heap h = {0};
    for (uint64_t i = 0; i < MANY; i++) {
        lease_heap_add(&h, &leases[(i * 1237 + 5) % MANY]);
        if (i % 500 == 0)
            lease_heap_check(&h);
    }
    lease_heap_check(&h);
    for (uint64_t i = 0; i < MANY; i++) {
        ck_assert_ptr_eq(h.items[0], &leases[i]);
        lease_heap_remove(&h, h.items[0]);
        ck_assert_uint_eq(leases[i].waiting_index, LEASE_NOT_WAITING);
    }
    ck_assert_ptr_null(h.items); /* an empty one owns no memory */
    ck_assert_uint_eq(h.capacity, 0);
}
END_TEST

START_TEST(heap_random)
{
    struct lease_heap h = {0};
    uint32_t count = 0;
    for (int step = 0; step < 20000; step++) {
        struct lease *lease = &leases[roll() % 300];
        if (lease->waiting_index == LEASE_NOT_WAITING) {
            lease_heap_add(&h, lease);
            count++;
        } else { /* any of them, not only the first */
            lease_heap_remove(&h, lease);
            count--;
        }
        ck_assert_uint_eq(h.count, count);
        lease_heap_check(&h);
        uint64_t lowest = 0;
        while (lowest < 300 && leases[lowest].waiting_index == LEASE_NOT_WAITING)
            lowest++;
        ck_assert(count == 0 || h.items[0] == &leases[lowest]);
    }
    while (h.count > 0)
        lease_heap_remove(&h, h.items[h.count - 1]);
    ck_assert_ptr_null(h.items);
}
END_TEST

START_TEST(heap_refuses_what_is_not_in_it)
{
    struct lease_heap h = {0};
    lease_heap_add(&h, &leases[0]);
    leases[1].waiting_index = 0;
    lease_heap_remove(&h, &leases[1]);
}
END_TEST

Suite *suite_lease_table(void)
{
    Suite *suite = suite_create("lease_table");
    TCase *tcase = tcase_create("lease_table");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, table_finds_by_offset);
    tcase_add_test(tcase, table_random);
    tcase_add_test(tcase, table_memory_follows_the_number);
    tcase_add_test_raise_signal(tcase, table_refuses_an_offset_twice, SIGABRT);
    tcase_add_test(tcase, heap_gives_the_lowest_first);
    tcase_add_test(tcase, heap_random);
    tcase_add_test_raise_signal(tcase, heap_refuses_what_is_not_in_it, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
