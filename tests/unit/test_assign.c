#include <check.h>
#include <stdbool.h>

#include "machine/assign.h"

Suite *suite_assign(void);

enum { MEMBERS = 40, TOPICS = 12, PARTITIONS = 30, ROUNDS = 3000 };

static const uint32_t first[] = {0}, second[] = {1}, both[] = {0, 1};

START_TEST(assign_three_workers_share_six)
{
    const struct assign_member members[] = {{first, 1}, {first, 1}, {first, 1}};
    uint32_t owners[6] = {ASSIGN_NOBODY, ASSIGN_NOBODY, ASSIGN_NOBODY,
                          ASSIGN_NOBODY, ASSIGN_NOBODY, ASSIGN_NOBODY};
    struct assign_topic topics[] = {{6, owners}};
    assign(members, 3, topics, 1);
    for (uint32_t p = 0; p < 6; p++)
        ck_assert_uint_eq(owners[p], p % 3);
}
END_TEST

START_TEST(assign_moves_only_what_a_newcomer_needs)
{
    const struct assign_member members[] = {{first, 1}, {first, 1}, {first, 1}};
    uint32_t owners[6] = {0, 1, 0, 1, 0, 1};
    struct assign_topic topics[] = {{6, owners}};
    assign(members, 3, topics, 1);
    uint32_t moved = 0;
    for (uint32_t p = 0; p < 6; p++)
        moved += owners[p] != p % 2;
    ck_assert_uint_eq(moved, 2);
    /* Again: nothing changes. */
    uint32_t before[6];
    for (uint32_t p = 0; p < 6; p++)
        before[p] = owners[p];
    assign(members, 3, topics, 1);
    for (uint32_t p = 0; p < 6; p++)
        ck_assert_uint_eq(owners[p], before[p]);
}
END_TEST

START_TEST(assign_more_members_than_partitions)
{
    const struct assign_member members[] = {{first, 1}, {first, 1}, {first, 1}};
    uint32_t owners[] = {2};
    struct assign_topic topics[] = {{1, owners}};
    assign(members, 3, topics, 1);
    ck_assert_uint_eq(owners[0], 2);
}
END_TEST

START_TEST(assign_unequal_subscriptions)
{
    /* The second topic has one subscriber only, who therefore gets nothing of the first. */
    const struct assign_member members[] = {{both, 2}, {first, 1}};
    uint32_t one[2] = {0, 0}, two[3] = {ASSIGN_NOBODY, ASSIGN_NOBODY, ASSIGN_NOBODY};
    struct assign_topic topics[] = {{2, one}, {3, two}};
    assign(members, 2, topics, 2);
    ck_assert(one[0] == 1 && one[1] == 1);
    ck_assert(two[0] == 0 && two[1] == 0 && two[2] == 0);
}
END_TEST

/* 0 gives one to 1 first and one to 2 later, when 2 has lost two to 3 and 4: the second would have
 * been enough. */
START_TEST(assign_takes_needless_moves_back)
{
    static const uint32_t third[] = {2};
    static const uint32_t outer[] = {1, 2};
    const struct assign_member members[] = {
        {both, 2}, {first, 1}, {outer, 2}, {third, 1}, {third, 1}};
    uint32_t one[] = {0, 0, 1, 1}, two[] = {0, 0}, three[] = {2, 2, 2};
    struct assign_topic topics[] = {{4, one}, {2, two}, {3, three}};
    assign(members, 5, topics, 3);
    for (uint32_t p = 0; p < 4; p++)
        ck_assert_uint_eq(one[p], p / 2);
    ck_assert(two[0] == 0 && two[1] == 2);
    ck_assert(three[0] == 2 && three[1] == 4 && three[2] == 3);
}
END_TEST

START_TEST(assign_drops_who_does_not_subscribe)
{
    const struct assign_member members[] = {{second, 1}};
    uint32_t one[1] = {0}, two[1] = {ASSIGN_NOBODY};
    struct assign_topic topics[] = {{1, one}, {1, two}};
    assign(members, 1, topics, 2);
    ck_assert_uint_eq(one[0], ASSIGN_NOBODY);
    ck_assert_uint_eq(two[0], 0);
    assign(NULL, 0, NULL, 0);
}
END_TEST

static uint64_t below(uint64_t *state, uint64_t bound)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 2685821657736338717U >> 32) % bound;
}

struct world {
    struct assign_member members[MEMBERS];
    uint32_t subscriptions[MEMBERS][TOPICS];
    struct assign_topic topics[TOPICS];
    uint32_t owners[TOPICS][PARTITIONS];
    uint32_t member_count, topic_count;
};

static void randomize(struct world *w, uint64_t *random)
{
    w->member_count = (uint32_t)below(random, MEMBERS) + 1;
    w->topic_count = (uint32_t)below(random, TOPICS) + 1;
    uint64_t chance = below(random, 4) + 1; /* 1: all subscribe to all */
    for (uint32_t m = 0; m < w->member_count; m++) {
        uint32_t count = 0;
        for (uint32_t t = 0; t < w->topic_count; t++) {
            if (below(random, chance) == 0)
                w->subscriptions[m][count++] = t;
        }
        w->members[m] = (struct assign_member){w->subscriptions[m], count};
    }
    for (uint32_t t = 0; t < w->topic_count; t++) {
        w->topics[t] = (struct assign_topic){(uint32_t)below(random, PARTITIONS) + 1, w->owners[t]};
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            uint64_t owner = below(random, w->member_count + 3);
            w->owners[t][p] = owner < w->member_count ? (uint32_t)owner : ASSIGN_NOBODY;
        }
    }
}

static bool subscribes(const struct world *w, uint32_t member, uint32_t topic)
{
    for (uint32_t i = 0; i < w->members[member].topic_count; i++) {
        if (w->members[member].topics[i] == topic)
            return true;
    }
    return false;
}

/* In one verdict: an assertion of Check's for each pair would take minutes. */
static bool is_balanced(const struct world *w)
{
    bool ok = true;
    uint32_t loads[MEMBERS] = {0};
    for (uint32_t t = 0; t < w->topic_count; t++) {
        for (uint32_t p = 0; p < w->topics[t].partition_count; p++) {
            if (w->owners[t][p] != ASSIGN_NOBODY)
                loads[w->owners[t][p]]++;
        }
    }
    for (uint32_t t = 0; t < w->topic_count; t++) {
        for (uint32_t p = 0; p < w->topics[t].partition_count; p++) {
            uint32_t owner = w->owners[t][p];
            for (uint32_t m = 0; m < w->member_count; m++) {
                if (!subscribes(w, m, t))
                    continue;
                ok &= owner != ASSIGN_NOBODY && loads[owner] <= loads[m] + 1;
            }
            ok &= owner == ASSIGN_NOBODY || subscribes(w, owner, t);
        }
    }
    return ok;
}

START_TEST(assign_random_groups)
{
    static struct world w, again;
    uint64_t random = 20261123;
    for (int i = 0; i < ROUNDS; i++) {
        randomize(&w, &random);
        again = w;
        for (uint32_t t = 0; t < w.topic_count; t++)
            again.topics[t].owners = again.owners[t];
        assign(w.members, w.member_count, w.topics, w.topic_count);
        ck_assert(is_balanced(&w));
        assign(w.members, w.member_count, again.topics, w.topic_count);
        ck_assert_mem_eq(w.owners, again.owners, sizeof w.owners); /* deterministic */
        assign(w.members, w.member_count, w.topics, w.topic_count);
        ck_assert_mem_eq(w.owners, again.owners, sizeof w.owners); /* settled */
    }
}
END_TEST

Suite *suite_assign(void)
{
    Suite *suite = suite_create("assign");
    TCase *tcase = tcase_create("assign");
    tcase_set_timeout(tcase, 60); /* under sanitizers, on a busy machine */
    tcase_add_test(tcase, assign_three_workers_share_six);
    tcase_add_test(tcase, assign_moves_only_what_a_newcomer_needs);
    tcase_add_test(tcase, assign_more_members_than_partitions);
    tcase_add_test(tcase, assign_unequal_subscriptions);
    tcase_add_test(tcase, assign_takes_needless_moves_back);
    tcase_add_test(tcase, assign_drops_who_does_not_subscribe);
    tcase_add_test(tcase, assign_random_groups);
    suite_add_tcase(suite, tcase);
    return suite;
}
