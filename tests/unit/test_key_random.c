/* Messages of few keys, and anything that may happen to them, against the rules said naively. */
#include <check.h>

#include "machine/state.h"
#include "tests/unit/key_client.h"

Suite *suite_key_random(void);

enum { PARTITION = 1 }; /* the one that moves when there are two members */

/* What the rules say about one message, from what is known of all; no window, heap or count. */
static bool is_engaged(const struct lease *lease)
{
    return lease != NULL && lease->state != LEASE_HELD &&
           (lease_in_flight(lease) || lease->state == LEASE_DELAYED || lease->delivery_count > 0);
}

static void check_keys(const uint32_t *keys, uint64_t count)
{
    const struct group_partition *gp = group_partition("orders", PARTITION);
    for (uint64_t a = 0; a < count; a++) {
        if (keys[a] == KEY_NONE || group_partition_is_done(gp, a) ||
            !is_engaged(lease_of(PARTITION, a)))
            continue;
        for (uint64_t b = a + 1; b < count; b++)
            ck_assert_msg(keys[a] != keys[b] || group_partition_is_done(gp, b) ||
                              !is_engaged(lease_of(PARTITION, b)),
                          "%d and %d are out together", (int)a, (int)b);
    }
}

/* After a poll that had room for all: nothing is left that might have come. */
static void check_nothing_left(const uint32_t *keys, uint64_t count)
{
    const struct group_partition *gp = group_partition("orders", PARTITION);
    for (uint64_t a = 0; a < count; a++) {
        bool blocked = is_engaged(lease_of(PARTITION, a)) || group_partition_is_done(gp, a) ||
                       partition_is_hidden(gp->partition, a);
        for (uint64_t b = 0; b < count && !blocked; b++)
            blocked = keys[a] != KEY_NONE && keys[a] == keys[b] &&
                      !group_partition_is_done(gp, b) && is_engaged(lease_of(PARTITION, b));
        ck_assert_msg(blocked, "%d should have come", (int)a);
    }
}

/* Each message that came had no other of its key before it in its lane. */
static void check_first(const struct client *c, const uint32_t *keys, uint32_t count)
{
    const struct group_partition *gp = group_partition("orders", PARTITION);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t offset = message_of(c, 0, i)->offset;
        if (keys[offset] == KEY_NONE || message_of(c, 0, i)->delivery_count > 1)
            continue;
        for (uint64_t b = 0; b < offset; b++)
            ck_assert_msg(keys[b] != keys[offset] || group_partition_is_done(gp, b) ||
                              partition_is_hidden(gp->partition, b) ||
                              partition_lane_of(gp->partition, b) !=
                                  partition_lane_of(gp->partition, offset),
                          "%d came before %d", (int)offset, (int)b);
    }
}

static uint32_t dice(uint64_t *state, uint32_t sides)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*state >> 33) % sides;
}

/* Something happens to one of the messages that are out. */
static void random_end(uint64_t *seed)
{
    const struct group_partition *gp = group_partition("orders", PARTITION);
    uint64_t offset = dice(seed, (uint32_t)gp->partition->next_offset);
    while (offset < gp->partition->next_offset && state_of(PARTITION, offset) != LEASE_LEASED)
        offset++;
    if (offset == gp->partition->next_offset)
        return;
    const struct receipt receipt = at(PARTITION, offset);
    switch (dice(seed, 6)) {
    case 0:
        nack_now(&alice, receipt, dice(seed, 2) * 3 * WORLD_SECOND);
        break;
    case 1:
        reject_now(&alice, receipt);
        break;
    case 2:
        delivery_release(world.delivery, &receipt, 1, world.now_us);
        settle();
        break;
    default:
        ack_now(&alice, receipt);
        break;
    }
}

/* Who reads the partition. */
static struct client *owner(void)
{
    return group_partition("orders", PARTITION)->owner == alice_member() ? &alice : &bob;
}

static void bob_comes_or_goes(void)
{
    const struct group *group = machine_find_group(world.machine, span_text("workers"));
    bob.joins_done = 0;
    if (group_find_member(group, span_text(bob.member_id)) == NULL)
        join_as(&bob, ORDERING_UNSET);
    else
        leave(&bob);
    settle();
}

static void random_step(uint64_t *seed)
{
    char keys[4] = "";
    const uint32_t what = dice(seed, 20);
    if (what < 4) {
        for (uint32_t i = 0; i < 1 + dice(seed, 3); i++)
            keys[i] = ".abcd"[dice(seed, 5)];
        if (keys[0] != '\0')
            send(PARTITION, dice(seed, 3) == 0 ? dice(seed, PRIORITY_COUNT) : PRIORITY_NORMAL,
                 dice(seed, 6) == 0 ? (1 + dice(seed, 9)) * WORLD_SECOND : 0, keys);
    } else if (what < 14) {
        random_end(seed);
    } else if (what < 16) {
        live((1 + dice(seed, 14)) * WORLD_SECOND);
    } else if (what == 16 && dice(seed, 6) == 0) {
        crash(1000 + dice(seed, 1000000));
    } else if (what == 18 && dice(seed, 4) == 0) {
        bob_comes_or_goes();
    } else if (what == 17 && dice(seed, 6) == 0) {
        const struct group_partition *gp = group_partition("orders", PARTITION);
        (void)commit(owner(), PARTITION, dice(seed, (uint32_t)gp->partition->next_offset + 1));
        settle();
    }
}

START_TEST(whatever_happens_the_order_is_kept)
{
    uint64_t seed = (uint64_t)_i + 1;
    world.keys_per_job = 1 + dice(&seed, 20);
    join_as(&alice, ORDERING_KEY);
    send(PARTITION, PRIORITY_NORMAL, 0, "aabb.c");
    for (int step = 0; step < 300; step++) {
        random_step(&seed);
        const struct world_log *log = world_log_of(
            &world, group_partition("orders", PARTITION)->partition->topic->id, PARTITION);
        if (dice(&seed, 3) == 0) {
            const uint32_t max = dice(&seed, 3) == 0 ? 1 + dice(&seed, 3) : MANY;
            uint32_t count = 0;
            do {
                count = poll_now(owner(), max);
                check_first(owner(), log->keys, count);
            } while (max == MANY && count > 0);
            if (max == MANY)
                check_nothing_left(log->keys, log->count);
        }
        check_keys(log->keys, log->count);
        arena_clear(&alice.arena);
        arena_clear(&bob.arena);
    }
}
END_TEST

Suite *suite_key_random(void)
{
    Suite *s = suite_create("key_random");
    TCase *tc = tcase_create("key_random");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, clients_setup, clients_teardown);
    tcase_add_loop_test(tc, whatever_happens_the_order_is_kept, 0, 40);
    suite_add_tcase(s, tc);
    return s;
}
