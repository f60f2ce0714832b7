#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "delivery/lease.h"

Suite *suite_lease(void);

enum { TIMER = 7, NOW_US = 500, DEADLINE_US = 30000000 };

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

static struct lease *granted(struct fixture *f)
{
    struct lease *lease = lease_new(&f->book, NULL, 42, PRIORITY_HIGH);
    lease_grant(&f->book, lease, &f->holder, NOW_US, DEADLINE_US);
    return lease;
}

/* As readout.c does when the last command is applied. */
static void finish(struct fixture *f, struct lease *lease)
{
    lease_let_go(&f->book, lease);
    lease->commands = 0;
    lease->waiting_index = LEASE_NOT_WAITING;
    lease_move(lease, LEASE_FREE);
    lease_free(&f->book, lease);
    ck_assert_uint_eq(f->holder.count, 0);
    ck_assert_uint_eq(f->book.in_flight, 0);
    ck_assert_uint_eq(f->wheel.count, 0);
    lease_book_fini(&f->book);
}

START_TEST(lease_lives_and_is_done)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    ck_assert_int_eq(lease->state, LEASE_LEASED);
    ck_assert_int_eq(lease->lane, PRIORITY_HIGH);
    ck_assert_uint_eq(lease->delivery_count, 1);
    ck_assert_int_eq(lease->first_us, NOW_US);
    ck_assert_int_eq(lease->last_us, NOW_US);
    ck_assert_uint_eq(f.holder.count, 1);
    ck_assert_uint_eq(f.book.in_flight, 1);
    ck_assert_int_eq(lease->timer.kind, TIMER);
    ck_assert(lease_id_is_ours(&f.book, lease->id));
    lease_settle(&f.book, lease, SETTLEMENT_NACK);
    lease_settle(&f.book, lease, SETTLEMENT_ACK); /* a second command on its way */
    ck_assert_int_eq(lease->state, LEASE_SETTLING);
    ck_assert_int_eq(lease->settlement, SETTLEMENT_ACK);
    ck_assert_uint_eq(lease->commands, 2);
    ck_assert(!wheel_armed(&lease->timer));
    ck_assert_uint_eq(f.book.in_flight, 1);
    finish(&f, lease);
}
END_TEST

START_TEST(lease_expires_and_is_granted_again)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    uint64_t first_id = lease->id;
    lease_let_go(&f.book, lease);
    ck_assert_ptr_null(lease->holder);
    ck_assert_uint_eq(f.book.in_flight, 0);
    lease->waiting_index = 0; /* as in a heap */
    lease_move(lease, LEASE_EXPIRED);
    lease->waiting_index = LEASE_NOT_WAITING;
    lease_grant(&f.book, lease, &f.holder, NOW_US + 9, DEADLINE_US);
    ck_assert_uint_eq(lease->delivery_count, 2);
    ck_assert_uint_ne(lease->id, first_id);
    ck_assert_int_eq(lease->first_us, NOW_US);
    ck_assert_int_eq(lease->last_us, NOW_US + 9);
    ck_assert_uint_eq(f.book.retries_total, 1);
    ck_assert_uint_eq(f.book.ids_given, 2);
    finish(&f, lease);
}
END_TEST

START_TEST(lease_settles_late)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    lease_let_go(&f.book, lease);
    lease->waiting_index = 0;
    lease_move(lease, LEASE_EXPIRED);
    lease->waiting_index = LEASE_NOT_WAITING;
    lease_settle(&f.book, lease, SETTLEMENT_ACK);
    ck_assert_int_eq(lease->state, LEASE_SETTLING);
    ck_assert_uint_eq(f.book.in_flight, 1); /* again */
    ck_assert_ptr_null(lease->holder);
    finish(&f, lease);
}
END_TEST

START_TEST(lease_is_delayed)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    lease_settle(&f.book, lease, SETTLEMENT_NACK);
    lease->commands = 0;
    lease_delay(&f.book, lease, 5000000);
    ck_assert_int_eq(lease->state, LEASE_DELAYED);
    ck_assert(wheel_armed(&lease->timer));
    ck_assert_ptr_null(lease->holder);
    ck_assert_uint_eq(f.book.in_flight, 0);
    ck_assert_uint_eq(lease->delivery_count, 1);
    ck_assert(!lease_in_flight(lease));
    finish(&f, lease);
}
END_TEST

START_TEST(lease_goes_on_when_its_settlement_failed)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    uint64_t id = lease->id;
    lease_settle(&f.book, lease, SETTLEMENT_DEAD_LETTER);
    lease->commands = 0;
    lease_resume(&f.book, lease, DEADLINE_US);
    ck_assert_int_eq(lease->state, LEASE_LEASED);
    ck_assert(wheel_armed(&lease->timer));
    ck_assert_uint_eq(f.book.in_flight, 1);
    ck_assert_uint_eq(lease->id, id); /* the receipt stays valid */
    ck_assert_uint_eq(lease->delivery_count, 1);
    ck_assert_ptr_eq(lease->holder, &f.holder);
    finish(&f, lease);
}
END_TEST

START_TEST(lease_of_an_earlier_run)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = lease_new(&f.book, NULL, 1, PRIORITY_NORMAL);
    lease->delivery_count = 2;
    lease_resume(&f.book, lease, DEADLINE_US);
    ck_assert_int_eq(lease->state, LEASE_LEASED);
    ck_assert_ptr_null(lease->holder);
    ck_assert_uint_eq(lease->id, 0);
    ck_assert_uint_eq(f.book.in_flight, 1);
    ck_assert_uint_eq(f.book.ids_given, 0);
    finish(&f, lease);
}
END_TEST

START_TEST(lease_deadline_moves)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    lease_extend(&f.book, lease, 90000000);
    wheel_advance(&f.wheel, 89000000);
    ck_assert_ptr_null(wheel_pop(&f.wheel));
    wheel_advance(&f.wheel, 90010000);
    ck_assert_ptr_eq(wheel_pop(&f.wheel), &lease->timer);
    finish(&f, lease);
}
END_TEST

START_TEST(lease_outlives_its_holder)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    lease_settle(&f.book, lease, SETTLEMENT_ACK);
    lease_forget_holder(lease);
    lease_forget_holder(lease); /* nothing to forget */
    ck_assert_uint_eq(f.holder.count, 0);
    ck_assert_ptr_null(lease->holder);
    lease_check(lease);
    finish(&f, lease);
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
        leases[i] = lease_new(&f.book, NULL, i, PRIORITY_NORMAL);
        lease_grant(&f.book, leases[i], &f.holder, NOW_US, 1000);
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
    struct lease *lease = lease_new(&f.book, NULL, 1, PRIORITY_NORMAL);
    lease_move(lease, LEASE_EXPIRED); /* never delivered: aborts */
}
END_TEST

START_TEST(lease_refuses_a_half_made_move)
{
    static struct fixture f;
    setup(&f);
    lease_move(granted(&f), LEASE_FREE); /* still has its timer and holder: aborts */
}
END_TEST

START_TEST(lease_refuses_to_be_leased_twice)
{
    static struct fixture f;
    setup(&f);
    lease_grant(&f.book, granted(&f), &f.holder, NOW_US, 1000);
}
END_TEST

START_TEST(lease_refuses_another_deadline_when_it_is_settling)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    lease_settle(&f.book, lease, SETTLEMENT_ACK);
    lease_extend(&f.book, lease, 90000000);
}
END_TEST

START_TEST(lease_refuses_to_go_on_while_commands_are_under_way)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    lease_settle(&f.book, lease, SETTLEMENT_ACK);
    lease_resume(&f.book, lease, DEADLINE_US);
}
END_TEST

START_TEST(lease_refuses_to_expire_when_it_is_delayed)
{
    static struct fixture f;
    setup(&f);
    struct lease *lease = granted(&f);
    lease_settle(&f.book, lease, SETTLEMENT_NACK);
    lease->commands = 0;
    lease_delay(&f.book, lease, 5000000);
    lease_move(lease, LEASE_EXPIRED);
}
END_TEST

Suite *suite_lease(void)
{
    Suite *suite = suite_create("lease");
    TCase *tcase = tcase_create("lease");
    tcase_add_test(tcase, lease_lives_and_is_done);
    tcase_add_test(tcase, lease_expires_and_is_granted_again);
    tcase_add_test(tcase, lease_settles_late);
    tcase_add_test(tcase, lease_is_delayed);
    tcase_add_test(tcase, lease_goes_on_when_its_settlement_failed);
    tcase_add_test(tcase, lease_of_an_earlier_run);
    tcase_add_test(tcase, lease_deadline_moves);
    tcase_add_test(tcase, lease_outlives_its_holder);
    tcase_add_test(tcase, lease_ids_are_unique_and_ours);
    tcase_add_test_raise_signal(tcase, lease_refuses_a_wrong_edge, SIGABRT);
    tcase_add_test_raise_signal(tcase, lease_refuses_a_half_made_move, SIGABRT);
    tcase_add_test_raise_signal(tcase, lease_refuses_to_be_leased_twice, SIGABRT);
    tcase_add_test_raise_signal(tcase, lease_refuses_another_deadline_when_it_is_settling, SIGABRT);
    tcase_add_test_raise_signal(tcase, lease_refuses_to_go_on_while_commands_are_under_way,
                                SIGABRT);
    tcase_add_test_raise_signal(tcase, lease_refuses_to_expire_when_it_is_delayed, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
