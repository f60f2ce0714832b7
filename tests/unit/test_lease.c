#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "delivery/lease.h"

Suite *suite_lease(void);

enum { TIMER = 7 };

struct fixture {
    struct wheel wheel;
    struct lease_book book;
    struct lease_holder holder;
};

static void setup(struct fixture *f)
{
    wheel_init(&f->wheel, 0);
    lease_book_init(&f->book, &f->wheel, TIMER, UINT64_MAX - 1); /* ids wrap */
    f->holder.count = 0;
    list_init(&f->holder.leases);
}

START_TEST(lease_lives_and_is_done)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = lease_new(&f.book, NULL, 42);
    lease_grant(&f.book, lease, &f.holder, 30000000);
    ck_assert_int_eq(lease->state, LEASE_LEASED);
    ck_assert_uint_eq(lease->delivery_count, 1);
    ck_assert_uint_eq(f.holder.count, 1);
    ck_assert_uint_eq(f.book.in_flight, 1);
    ck_assert_int_eq(lease->timer.kind, TIMER);
    ck_assert(lease_id_is_ours(&f.book, lease->id));
    lease_settle(&f.book, lease);
    lease_settle(&f.book, lease); /* a second ack on its way */
    ck_assert_int_eq(lease->state, LEASE_SETTLING);
    ck_assert_uint_eq(lease->acks, 2);
    ck_assert(!wheel_armed(&lease->timer));
    ck_assert_uint_eq(f.book.in_flight, 1);
    lease->acks = 0;
    lease_let_go(&f.book, lease);
    lease_move(lease, LEASE_FREE);
    lease_free(&f.book, lease);
    ck_assert_uint_eq(f.holder.count, 0);
    ck_assert_uint_eq(f.book.in_flight, 0);
    lease_book_fini(&f.book);
}
END_TEST

START_TEST(lease_ids_are_unique_and_ours)
{
    static struct fixture f;
    setup(&f);
    enum { COUNT = 3000 };
    static struct lease *leases[COUNT];
    ck_assert(!lease_id_is_ours(&f.book, f.book.boot_id));
    for (uint64_t i = 0; i < COUNT; i++) {
        leases[i] = lease_new(&f.book, NULL, i);
        lease_grant(&f.book, leases[i], &f.holder, 1000);
        ck_assert_uint_eq(leases[i]->id, f.book.boot_id + i);
        ck_assert(lease_id_is_ours(&f.book, leases[i]->id));
        ck_assert(!lease_id_is_ours(&f.book, leases[i]->id + 1));
    }
    ck_assert_uint_eq(f.holder.count, COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        lease_let_go(&f.book, leases[i]);
        lease_move(leases[i], LEASE_FREE);
        lease_free(&f.book, leases[i]);
    }
    lease_book_fini(&f.book);
}
END_TEST

START_TEST(lease_refuses_a_wrong_edge)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = lease_new(&f.book, NULL, 1);
    lease_move(lease, LEASE_EXPIRED); /* never delivered: aborts */
}
END_TEST

START_TEST(lease_refuses_a_half_made_move)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = lease_new(&f.book, NULL, 1);
    lease_grant(&f.book, lease, &f.holder, 1000);
    lease_move(lease, LEASE_FREE); /* still has its timer and holder: aborts */
}
END_TEST

START_TEST(lease_refuses_to_be_leased_twice)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = lease_new(&f.book, NULL, 1);
    lease_grant(&f.book, lease, &f.holder, 1000);
    lease_grant(&f.book, lease, &f.holder, 1000);
}
END_TEST

Suite *suite_lease(void)
{
    Suite *suite = suite_create("lease");
    TCase *tcase = tcase_create("lease");
    tcase_add_test(tcase, lease_lives_and_is_done);
    tcase_add_test(tcase, lease_ids_are_unique_and_ours);
    tcase_add_test_raise_signal(tcase, lease_refuses_a_wrong_edge, SIGABRT);
    tcase_add_test_raise_signal(tcase, lease_refuses_a_half_made_move, SIGABRT);
    tcase_add_test_raise_signal(tcase, lease_refuses_to_be_leased_twice, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
