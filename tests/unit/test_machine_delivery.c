/* LEASE and RELEASE: what a restart is to know of deliveries. */
#include "tests/unit/machine_fixture.h"

Suite *suite_machine_delivery(void);

#define DEADLINE_US (START_US + 30 * SECOND_US)

/* Ten messages of "a", read by the member "one". */
static void setup(void)
{
    fixture_setup();
    (void)create("a", 1, false);
    (void)join_one("one", "a");
    struct record records[10];
    for (int i = 0; i < 10; i++)
        records[i] = record_of(PRIORITY_NORMAL, 0);
    ck_assert_int_eq(publish("a", 0, records, 10), ST_OK);
}

static struct delivery_place at(uint64_t offset)
{
    return (struct delivery_place){.group_id = 1, .topic_id = 1, .offset = offset};
}

static void lease_all(struct lease_entry *entries, uint32_t count)
{
    cmd = (struct command){.type = COMMAND_LEASE};
    cmd.lease = (struct command_lease){UINT64_MAX, count, entries};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_str_eq(events, "");
}

static void lease(uint64_t offset, uint32_t count, uint32_t delivery_count, int64_t deadline_us)
{
    struct lease_entry entry = {.place = at(offset),
                                .count = count,
                                .delivery_count = delivery_count,
                                .deadline_us = deadline_us,
                                .first_us = START_US - 1};
    lease_all(&entry, 1);
}

static void extend(uint64_t offset, uint32_t delivery_count, int64_t deadline_us)
{
    struct lease_entry entry = {.place = at(offset),
                                .count = 1,
                                .delivery_count = delivery_count,
                                .extended = true,
                                .deadline_us = deadline_us,
                                .first_us = START_US - 1};
    lease_all(&entry, 1);
}

static struct released release(const struct release_entry *entry)
{
    struct release_entry copy = *entry;
    cmd = (struct command){.type = COMMAND_RELEASE};
    cmd.release = (struct command_release){UINT64_MAX, 1, &copy};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_uint_eq(result.release.count, 1);
    return result.release.released[0];
}

static struct release_entry nack_of(uint64_t offset, uint64_t lease_id, uint32_t delivery_count)
{
    return (struct release_entry){.place = at(offset),
                                  .lease_id = lease_id,
                                  .delivery_count = delivery_count,
                                  .kind = RELEASE_NACK,
                                  .not_before_us = now_us + 5 * SECOND_US,
                                  .first_us = START_US - 1};
}

static struct released nack(uint64_t offset, uint64_t lease_id, uint32_t delivery_count)
{
    struct release_entry entry = nack_of(offset, lease_id, delivery_count);
    return release(&entry);
}

static struct released give_back(uint64_t offset, uint32_t delivery_count)
{
    struct release_entry entry = nack_of(offset, 77, delivery_count);
    entry.kind = RELEASE_RETURNED;
    entry.not_before_us = 0;
    return release(&entry);
}

static struct group_partition *gp(void)
{
    return known("a", 0);
}

static const struct retry *retry_at(uint64_t offset)
{
    const struct retry *retry = group_partition_find_retry(gp(), offset);
    ck_assert_msg(retry != NULL, "no retry at %" PRIu64, offset);
    return retry;
}

/* Deliveries that were noted before a commit went back, and journalled after it: counts have
 * started over, so nothing of them is true any more. A nack has a client that waits for it. */
START_TEST(notes_from_before_a_rewind_are_void)
{
    (void)ack(0);
    uint64_t before = machine_applied_index(machine);
    ck_assert_int_eq(commit("one", "a", 0, 0, -1), ST_OK);
    struct lease_entry leases[] = {
        {.place = at(1), .count = 2, .delivery_count = 1, .deadline_us = DEADLINE_US},
        {.place = at(3), .count = 1, .delivery_count = 2, .deadline_us = DEADLINE_US}};
    cmd = (struct command){.type = COMMAND_LEASE, .lease = {before, 2, leases}};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert(offset_set_is_empty(&gp()->out) && gp()->retry_count == 0);
    struct release_entry returned = nack_of(4, 9, 1);
    returned.kind = RELEASE_RETURNED;
    cmd = (struct command){.type = COMMAND_RELEASE, .release = {before, 1, &returned}};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_int_eq(result.release.released[0].status, ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(gp()->retry_count, 0);
    struct release_entry nacked = nack_of(4, 9, 1);
    cmd = (struct command){.type = COMMAND_RELEASE, .release = {before, 1, &nacked}};
    ck_assert_int_eq(apply(), ST_OK);
    ck_assert_int_eq(result.release.released[0].status, ST_OK);
    ck_assert_uint_eq(gp()->retry_count, 1);
    lease(5, 1, 1, DEADLINE_US); /* noted since */
    ck_assert(offset_set_has(&gp()->out, 5));
}
END_TEST

START_TEST(first_deliveries_are_out)
{
    lease(2, 4, 1, DEADLINE_US);
    ck_assert_uint_eq(offset_set_count(&gp()->out), 4);
    ck_assert(offset_set_has(&gp()->out, 2) && offset_set_has(&gp()->out, 5));
    ck_assert_int_eq(gp()->out_until_us, DEADLINE_US);
    ck_assert_uint_eq(gp()->retry_count, 0);
    lease(7, 1, 1, DEADLINE_US - 1); /* the latest deadline counts */
    ck_assert_int_eq(gp()->out_until_us, DEADLINE_US);
    lease(8, 1, 1, DEADLINE_US + 1);
    ck_assert_int_eq(gp()->out_until_us, DEADLINE_US + 1);
    ck_assert_uint_eq(offset_set_count(&gp()->out), 6);
}
END_TEST

START_TEST(deadline_starts_over_when_all_is_done)
{
    lease(0, 2, 1, DEADLINE_US);
    (void)ack(0);
    (void)ack(1);
    lease(2, 1, 1, DEADLINE_US - SECOND_US); /* nothing is out but this one */
    ck_assert_uint_eq(offset_set_count(&gp()->out), 1);
    ck_assert_int_eq(gp()->out_until_us, DEADLINE_US - SECOND_US);
}
END_TEST

START_TEST(lease_run_is_cut_at_position_and_end)
{
    ck_assert_int_eq(commit("one", "a", 0, 3, -1), ST_OK);
    lease(0, 3, 1, DEADLINE_US); /* all of it is done */
    ck_assert(offset_set_is_empty(&gp()->out));
    ck_assert_int_eq(gp()->out_until_us, 0);
    lease(1, 4, 1, DEADLINE_US);
    ck_assert_uint_eq(offset_set_count(&gp()->out), 2);
    ck_assert(offset_set_has(&gp()->out, 3) && offset_set_has(&gp()->out, 4));
    lease(8, UINT32_MAX, 1, DEADLINE_US);
    ck_assert_uint_eq(offset_set_count(&gp()->out), 4);
    ck_assert(offset_set_has(&gp()->out, 9) && !offset_set_has(&gp()->out, 10));
}
END_TEST

START_TEST(lease_of_a_gone_place_changes_nothing)
{
    (void)ack(4);
    uint64_t before = state_digest();
    struct lease_entry entries[6];
    for (int i = 0; i < 6; i++)
        entries[i] = (struct lease_entry){
            .place = at(1), .count = 1, .delivery_count = 2, .deadline_us = DEADLINE_US};
    entries[0].place.group_id = 9;
    entries[1].place.topic_id = 9;
    entries[2].place.partition = 1;
    entries[3].place.offset = 10; /* the next one */
    entries[4].place.offset = 4;  /* done */
    entries[5].place.offset = 10;
    entries[5].delivery_count = 1;
    lease_all(entries, 6);
    ck_assert_uint_eq(state_digest(), before);
}
END_TEST

START_TEST(later_deliveries_are_kept_one_by_one)
{
    lease(0, 5, 1, DEADLINE_US);
    lease(2, 1, 2, DEADLINE_US + 2);
    ck_assert(!offset_set_has(&gp()->out, 2));
    ck_assert_uint_eq(offset_set_count(&gp()->out), 4);
    const struct retry *retry = retry_at(2);
    ck_assert_uint_eq(retry->delivery_count, 2);
    ck_assert_int_eq(retry->not_before_us, DEADLINE_US + 2);
    ck_assert_int_eq(retry->first_us, START_US - 1);
    ck_assert(!retry->returned && retry->reason_size == 0);
    lease(2, 1, 3, DEADLINE_US + 3);
    ck_assert_ptr_eq(retry_at(2), retry);
    ck_assert_uint_eq(retry->delivery_count, 3);
    ck_assert_int_eq(retry->not_before_us, DEADLINE_US + 3);
    extend(3, 1, DEADLINE_US + 99); /* the first delivery, but it has a deadline of its own */
    ck_assert_uint_eq(retry_at(3)->delivery_count, 1);
    ck_assert_int_eq(retry_at(3)->not_before_us, DEADLINE_US + 99);
    ck_assert(!offset_set_has(&gp()->out, 3));
    ck_assert_int_eq(gp()->out_until_us, DEADLINE_US); /* the others keep theirs */
    ck_assert(ack(2).status == ST_OK);
    ck_assert_ptr_null(group_partition_find_retry(gp(), 2));
    ck_assert_uint_eq(gp()->retry_count, 1);
}
END_TEST

/* Whatever was known of it before: counts have started over. */
START_TEST(first_delivery_has_no_past)
{
    lease(3, 1, 2, DEADLINE_US);
    lease(6, 1, 2, DEADLINE_US);
    lease(2, 3, 1, DEADLINE_US);
    ck_assert_ptr_null(group_partition_find_retry(gp(), 3));
    ck_assert_uint_eq(retry_at(6)->delivery_count, 2);
    ck_assert_uint_eq(offset_set_count(&gp()->out), 3);
}
END_TEST

START_TEST(what_is_given_back_waits)
{
    lease(0, 5, 1, DEADLINE_US);
    struct released released = give_back(1, 1);
    ck_assert(released.status == ST_OK && !released.already && !released.dead);
    ck_assert_uint_eq(released.delivery_count, 1);
    ck_assert(retry_at(1)->returned && retry_at(1)->not_before_us == 0);
    ck_assert_uint_eq(retry_at(1)->delivery_count, 1);
    ck_assert(!offset_set_has(&gp()->out, 1));
    released = give_back(2, 0); /* as if it had never been delivered */
    ck_assert_int_eq(released.status, ST_OK);
    ck_assert_ptr_null(group_partition_find_retry(gp(), 2));
    ck_assert(!offset_set_has(&gp()->out, 2));
    lease(1, 1, 2, DEADLINE_US); /* out again */
    ck_assert(!retry_at(1)->returned);
    (void)give_back(1, 0);
    ck_assert_uint_eq(gp()->retry_count, 0);
    ck_assert_uint_eq(topic("a")->totals.nacked, 0);
    ck_assert_ptr_null(machine_find_resolved(machine, 77)); /* nobody asked */
}
END_TEST

START_TEST(nack_is_kept_with_its_reason)
{
    lease(0, 5, 1, DEADLINE_US);
    struct release_entry entry = nack_of(3, 1000, 1);
    entry.reason = span_text("no stock");
    struct released released = release(&entry);
    ck_assert(released.status == ST_OK && !released.already && !released.dead);
    ck_assert_uint_eq(released.delivery_count, 1);
    ck_assert_int_eq(released.not_before_us, now_us + 5 * SECOND_US);
    const struct retry *retry = retry_at(3);
    ck_assert(retry->returned && retry->delivery_count == 1);
    ck_assert_int_eq(retry->not_before_us, now_us + 5 * SECOND_US);
    ck_assert_int_eq(retry->first_us, START_US - 1);
    assert_reason(retry, "no stock");
    lease(3, 1, 2, DEADLINE_US);
    ck_assert(!retry->returned);
    assert_reason(retry, "no stock");
    (void)nack(3, 1001, 2); /* without a reason: the last one is kept */
    assert_reason(retry, "no stock");
    entry = nack_of(3, 1002, 3);
    entry.reason = span_text("late");
    (void)release(&entry);
    assert_reason(retry, "late");
    entry = nack_of(3, 1003, 3);
    entry.reason = span_of("a\0b", 3); /* any bytes */
    (void)release(&entry);
    ck_assert(span_equal(span_of(retry->reason, retry->reason_size), span_of("a\0b", 3)));
    ck_assert_uint_eq(retry->delivery_count, 3);
    ck_assert_uint_eq(topic("a")->totals.nacked, 4);
    const struct resolved *resolved = machine_find_resolved(machine, 1001);
    ck_assert_ptr_nonnull(resolved);
    ck_assert(resolved->how == RESOLVED_NACKED && resolved->delivery_count == 2);
    ck_assert_int_eq(resolved->not_before_us, now_us + 5 * SECOND_US);
    ck_assert_int_eq(resolved->time_us, now_us);
}
END_TEST

START_TEST(repeated_nack_gets_the_same_answer)
{
    (void)nack(3, 1000, 1);
    int64_t not_before_us = now_us + 5 * SECOND_US;
    now_us += 10 * MINUTE_US; /* the last moment */
    lease(3, 1, 2, now_us + 30 * SECOND_US);
    uint64_t before = state_digest();
    struct released released = nack(3, 1000, 7);
    ck_assert(released.status == ST_OK && released.already && !released.dead);
    ck_assert_uint_eq(released.delivery_count, 1);
    ck_assert_int_eq(released.not_before_us, not_before_us);
    ck_assert_uint_eq(state_digest(), before);
    (void)ack(3); /* done by the second delivery: the first one's story stays the same */
    released = nack(3, 1000, 1);
    ck_assert(released.status == ST_OK && released.already);
    now_us += 1;
    ck_assert_int_eq(nack(3, 1000, 1).status, ST_MESSAGE_NOT_FOUND); /* forgotten */
    ck_assert_ptr_null(machine_find_resolved(machine, 1000));
    ck_assert_uint_eq(topic("a")->totals.nacked, 1);
}
END_TEST

START_TEST(one_nack_twice_in_a_command)
{
    struct release_entry entries[] = {nack_of(3, 1000, 1), nack_of(3, 1000, 1), nack_of(4, 1001, 1),
                                      nack_of(12, 1002, 1)};
    cmd = (struct command){.type = COMMAND_RELEASE};
    cmd.release = (struct command_release){UINT64_MAX, 4, entries};
    ck_assert_int_eq(apply(), ST_OK);
    const struct released *released = result.release.released;
    ck_assert(released[0].status == ST_OK && !released[0].already);
    ck_assert(released[1].status == ST_OK && released[1].already);
    ck_assert(released[2].status == ST_OK && !released[2].already);
    ck_assert_int_eq(released[3].status, ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(topic("a")->totals.nacked, 2);
}
END_TEST

START_TEST(release_of_what_is_done_or_gone)
{
    (void)ack(0);
    (void)ack(5);
    uint64_t before = state_digest();
    ck_assert_int_eq(nack(0, 1000, 1).status, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(nack(5, 1001, 1).status, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(nack(10, 1002, 1).status, ST_MESSAGE_NOT_FOUND);
    ck_assert_int_eq(give_back(5, 1).status, ST_MESSAGE_NOT_FOUND);
    struct release_entry entry = nack_of(1, 1003, 1);
    entry.place.group_id = 2;
    ck_assert_int_eq(release(&entry).status, ST_MESSAGE_NOT_FOUND);
    entry.place = (struct delivery_place){1, 2, 0, 1};
    ck_assert_int_eq(release(&entry).status, ST_MESSAGE_NOT_FOUND);
    entry.place = (struct delivery_place){1, 1, 1, 1};
    ck_assert_int_eq(release(&entry).status, ST_MESSAGE_NOT_FOUND);
    ck_assert_uint_eq(state_digest(), before);
    ck_assert_ptr_null(machine_find_resolved(machine, 1000));
}
END_TEST

START_TEST(commit_moves_what_is_known_of_deliveries)
{
    lease(0, 10, 1, DEADLINE_US);
    (void)nack(2, 1000, 1);
    (void)nack(6, 1001, 1);
    ck_assert_int_eq(commit("one", "a", 0, 5, -1), ST_OK); /* forward */
    ck_assert_uint_eq(gp()->retry_count, 1);
    ck_assert_uint_eq(retry_at(6)->delivery_count, 1);
    ck_assert_uint_eq(offset_set_count(&gp()->out), 4);    /* 5, 7, 8, 9 */
    ck_assert_int_eq(commit("one", "a", 0, 4, -1), ST_OK); /* back: counts start over */
    ck_assert_uint_eq(gp()->retry_count, 0);
    ck_assert(offset_set_is_empty(&gp()->out));
    ck_assert_int_eq(gp()->out_until_us, 0);
    (void)nack(6, 1002, 1);
    ck_assert_int_eq(commit("one", "a", 0, 100, -1), ST_OK); /* beyond the end */
    ck_assert_uint_eq(gp()->retry_count, 0);
    ck_assert_uint_eq(gp()->position, 100);
}
END_TEST

START_TEST(retries_come_and_go_in_any_order)
{
    static const uint64_t order[] = {5, 1, 9, 3, 7, 0};
    for (size_t i = 0; i < 6; i++)
        lease(order[i], 1, 2, DEADLINE_US);
    ck_assert_uint_eq(gp()->retry_count, 6);
    (void)ack(5);
    (void)ack(0);
    (void)give_back(9, 0);
    ck_assert_uint_eq(gp()->retry_count, 3);
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(group_partition_find_retry(gp(), order[i]) != NULL,
                         order[i] == 1 || order[i] == 3 || order[i] == 7);
    (void)ack(1);
    (void)ack(3);
    (void)ack(7);
    ck_assert_uint_eq(gp()->retry_count, 0);
    ck_assert_ptr_null(gp()->retries); /* memory follows what is outstanding */
}
END_TEST

/* Applies leases, give-backs and acks in an order of its own; the state does not tell which. */
START_TEST(equal_states_have_equal_digests)
{
    uint64_t digests[2];
    for (int history = 0; history < 2; history++) {
        if (history == 1) {
            fixture_teardown();
            setup();
        }
        static const uint64_t orders[2][4] = {{1, 4, 6, 8}, {8, 6, 4, 1}};
        const uint64_t *order = orders[history];
        for (int i = 0; i < 4; i++)
            lease(order[i], 1, 2, DEADLINE_US);
        for (int i = 0; i < 4; i++)
            (void)give_back(order[i], 2);
        (void)ack(history == 0 ? 4 : 8); /* the last in the array moves to the hole */
        (void)ack(history == 0 ? 8 : 4);
        for (uint64_t i = 2; i < 4; i++)
            lease(history == 0 ? i : 5 - i, 1, 1, DEADLINE_US);
        digests[history] = machine_digest(machine);
    }
    ck_assert_uint_eq(digests[0], digests[1]);
}
END_TEST

START_TEST(place_is_found_or_not)
{
    struct delivery_place place = at(9);
    ck_assert_ptr_eq(machine_find_place(machine, &place), gp());
    place.offset = 10;
    ck_assert_ptr_null(machine_find_place(machine, &place));
    place = (struct delivery_place){1, 1, 1, 0};
    ck_assert_ptr_null(machine_find_place(machine, &place));
    place = (struct delivery_place){1, 7, 0, 0};
    ck_assert_ptr_null(machine_find_place(machine, &place));
    place = (struct delivery_place){7, 1, 0, 0};
    ck_assert_ptr_null(machine_find_place(machine, &place));
}
END_TEST

Suite *suite_machine_delivery(void)
{
    Suite *suite = suite_create("machine_delivery");
    TCase *tcase = tcase_create("machine_delivery");
    tcase_add_checked_fixture(tcase, setup, fixture_teardown);
    tcase_add_test(tcase, notes_from_before_a_rewind_are_void);
    tcase_add_test(tcase, first_deliveries_are_out);
    tcase_add_test(tcase, deadline_starts_over_when_all_is_done);
    tcase_add_test(tcase, lease_run_is_cut_at_position_and_end);
    tcase_add_test(tcase, lease_of_a_gone_place_changes_nothing);
    tcase_add_test(tcase, later_deliveries_are_kept_one_by_one);
    tcase_add_test(tcase, first_delivery_has_no_past);
    tcase_add_test(tcase, what_is_given_back_waits);
    tcase_add_test(tcase, nack_is_kept_with_its_reason);
    tcase_add_test(tcase, repeated_nack_gets_the_same_answer);
    tcase_add_test(tcase, one_nack_twice_in_a_command);
    tcase_add_test(tcase, release_of_what_is_done_or_gone);
    tcase_add_test(tcase, commit_moves_what_is_known_of_deliveries);
    tcase_add_test(tcase, retries_come_and_go_in_any_order);
    tcase_add_test(tcase, equal_states_have_equal_digests);
    tcase_add_test(tcase, place_is_found_or_not);
    suite_add_tcase(suite, tcase);
    return suite;
}
