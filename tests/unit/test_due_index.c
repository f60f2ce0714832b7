#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "machine/due_index.h"

Suite *suite_due_index(void);

enum { MODEL_MAX = 6000, TAKE_MAX = 700, FILL = 200000 };
#define NOW_US 1700000000123456LL

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void random_seed(uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
    for (int i = 0; i < 8; i++)
        (void)random_next();
}

static bool add(struct due_index *d, int64_t due_us, uint64_t offset, enum priority priority)
{
    return due_index_add(
        d, &(struct due_entry){.due_us = due_us, .offset = offset, .priority = priority});
}

static bool entry_is(const struct due_entry *entry, int64_t due_us, uint64_t offset,
                     enum priority priority)
{
    return entry->due_us == due_us && entry->offset == offset && entry->priority == priority;
}

static bool entries_equal(const struct due_entry *a, const struct due_entry *b, size_t count)
{
    bool equal = true;
    for (size_t i = 0; i < count; i++)
        equal &= entry_is(&a[i], b[i].due_us, b[i].offset, b[i].priority);
    return equal;
}

START_TEST(due_index_orders_by_time_then_offset)
{
    struct due_index d;
    struct due_entry out[8];
    enum priority priority = PRIORITY_COUNT;
    due_index_init(&d);
    due_index_check(&d);
    ck_assert(!due_index_first(&d, out));
    ck_assert(!due_index_has(&d, 0, 0));
    ck_assert(!due_index_remove(&d, 0, 0, &priority));
    ck_assert_uint_eq(due_index_take(&d, INT64_MAX, 8, out), 0);
    ck_assert_uint_eq(due_index_list(&d, 0, 8, out), 0);
    ck_assert(add(&d, DUE_US_MAX, UINT64_MAX, PRIORITY_BACKGROUND));
    ck_assert(add(&d, 20, 3, PRIORITY_CRITICAL)); /* more urgent than the next, and after it */
    ck_assert(add(&d, 20, 2, PRIORITY_BACKGROUND));
    ck_assert(add(&d, 0, 9, PRIORITY_HIGH));
    ck_assert(!add(&d, 20, 2, PRIORITY_LOW)); /* the first priority stays */
    ck_assert_uint_eq(due_index_count(&d), 4);
    ck_assert_uint_eq(due_index_list(&d, 0, 8, out), 4);
    ck_assert(entry_is(&out[0], 0, 9, PRIORITY_HIGH));
    ck_assert(entry_is(&out[1], 20, 2, PRIORITY_BACKGROUND));
    ck_assert(entry_is(&out[2], 20, 3, PRIORITY_CRITICAL));
    ck_assert(entry_is(&out[3], DUE_US_MAX, UINT64_MAX, PRIORITY_BACKGROUND));
    ck_assert(due_index_has(&d, 20, 3));
    ck_assert(!due_index_has(&d, 20, 4));
    ck_assert(!due_index_has(&d, 21, 3));
    ck_assert(!due_index_remove(&d, 19, 2, &priority));
    ck_assert(due_index_remove(&d, 20, 2, &priority));
    ck_assert_int_eq(priority, PRIORITY_BACKGROUND);
    ck_assert(!due_index_remove(&d, 20, 2, &priority));
    due_index_check(&d);
    due_index_fini(&d);
    due_index_check(&d); /* empty, and fit for use */
}
END_TEST

START_TEST(due_index_takes_what_is_due)
{
    struct due_index d;
    struct due_entry out[8];
    due_index_init(&d);
    for (uint64_t i = 0; i < 5; i++)
        ck_assert(add(&d, (int64_t)(i / 2), i, PRIORITY_NORMAL)); /* at 0 0 1 1 2 */
    ck_assert_uint_eq(due_index_take(&d, -1, 8, out), 0);
    ck_assert_uint_eq(due_index_take(&d, 9, 0, out), 0);
    ck_assert_uint_eq(due_index_take(&d, 1, 3, out), 3);
    ck_assert(entry_is(&out[2], 1, 2, PRIORITY_NORMAL));
    ck_assert(due_index_first(&d, out) && out[0].offset == 3);
    ck_assert_uint_eq(due_index_take(&d, 1, 8, out), 1);
    ck_assert(entry_is(&out[0], 1, 3, PRIORITY_NORMAL));
    ck_assert_uint_eq(due_index_take(&d, 1, 8, out), 0);
    ck_assert_uint_eq(due_index_count(&d), 1);
    ck_assert_uint_eq(due_index_take(&d, INT64_MAX, 8, out), 1);
    ck_assert_uint_eq(due_index_bytes(&d), 0);
    due_index_check(&d);
}
END_TEST

/* What the index should be: all in one sorted array. */
struct model {
    struct due_entry entries[MODEL_MAX];
    size_t count;
};

static size_t model_find(const struct model *m, int64_t due_us, uint64_t offset)
{
    size_t low = 0, end = m->count;
    while (low < end) {
        size_t middle = low + (end - low) / 2;
        const struct due_entry *entry = &m->entries[middle];
        if (entry->due_us < due_us || (entry->due_us == due_us && entry->offset < offset))
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

static bool model_has(const struct model *m, size_t at, int64_t due_us, uint64_t offset)
{
    return at < m->count && m->entries[at].due_us == due_us && m->entries[at].offset == offset;
}

static bool model_add(struct model *m, const struct due_entry *entry)
{
    size_t at = model_find(m, entry->due_us, entry->offset);
    if (model_has(m, at, entry->due_us, entry->offset))
        return false;
    memmove(&m->entries[at + 1], &m->entries[at], (m->count++ - at) * sizeof *entry);
    m->entries[at] = *entry;
    return true;
}

static void model_drop(struct model *m, size_t at, size_t count)
{
    m->count -= count;
    memmove(&m->entries[at], &m->entries[at + count], (m->count - at) * sizeof m->entries[0]);
}

/* One way to choose times each: they fill and empty the blocks in different places. */
enum load { LOAD_TIES, LOAD_WIDE, LOAD_DELAYS, LOAD_ASCENDING, LOAD_DESCENDING, LOAD_COUNT };

static struct due_entry random_entry(enum load load, uint64_t step)
{
    static const int64_t delays_us[] = {0, 400, 3000, 10000};
    struct due_entry entry = {.offset = step, .priority = (enum priority)(random_next() % 5)};
    switch (load) {
    case LOAD_TIES:
        entry.due_us = (int64_t)(random_next() % 3);
        entry.offset = random_next() % 4000;
        break;
    case LOAD_WIDE:
        entry.due_us = (int64_t)(random_next() & DUE_US_MAX);
        break;
    case LOAD_DELAYS:
        entry.due_us = NOW_US + (int64_t)step + delays_us[random_next() % 4];
        break;
    case LOAD_DESCENDING:
        entry.due_us = NOW_US - (int64_t)step / 2;
        break;
    case LOAD_ASCENDING:
    case LOAD_COUNT:
    default:
        entry.due_us = NOW_US + (int64_t)step / 2;
        break;
    }
    return entry;
}

static bool same_add(struct due_index *d, struct model *m, enum load load, uint64_t step)
{
    struct due_entry entry = random_entry(load, step);
    if (m->count == MODEL_MAX)
        return true;
    return due_index_add(d, &entry) == model_add(m, &entry);
}

/* Removes a near or an equal one of the model's, by a priority that it does not know. */
static bool same_remove(struct due_index *d, struct model *m, bool last)
{
    if (m->count == 0)
        return true;
    struct due_entry wanted = m->entries[last ? m->count - 1 : random_next() % m->count];
    wanted.offset += random_next() % 8 == 0;
    size_t at = model_find(m, wanted.due_us, wanted.offset);
    bool there = model_has(m, at, wanted.due_us, wanted.offset);
    enum priority priority = PRIORITY_COUNT;
    bool same = due_index_has(d, wanted.due_us, wanted.offset) == there;
    same &= due_index_remove(d, wanted.due_us, wanted.offset, &priority) == there;
    same &= priority == (there ? m->entries[at].priority : PRIORITY_COUNT);
    if (there)
        model_drop(m, at, 1);
    return same;
}

static bool same_take(struct due_index *d, struct model *m)
{
    static struct due_entry out[TAKE_MAX];
    uint32_t max = (uint32_t)(random_next() % (random_next() % 4 == 0 ? TAKE_MAX : 4));
    int64_t until_us = INT64_MAX;
    if (m->count > 0 && random_next() % 2 == 0)
        until_us = m->entries[random_next() % m->count].due_us - (int64_t)(random_next() % 2);
    size_t want = 0;
    while (want < m->count && want < max && m->entries[want].due_us <= until_us)
        want++;
    bool same = due_index_take(d, until_us, max, out) == want;
    same = same && entries_equal(out, m->entries, want);
    model_drop(m, 0, want);
    return same;
}

static bool same_content(const struct due_index *d, const struct model *m)
{
    static struct due_entry out[MODEL_MAX];
    due_index_check(d);
    uint64_t skip = random_next() % (m->count + 2);
    uint32_t max = (uint32_t)(random_next() % MODEL_MAX);
    size_t want = skip >= m->count ? 0 : m->count - skip;
    if (want > max)
        want = max;
    bool same = due_index_count(d) == m->count;
    same &= due_index_list(d, skip, max, out) == want;
    same = same && (want == 0 || entries_equal(out, &m->entries[skip], want));
    same &= due_index_first(d, out) == (m->count > 0);
    same = same && entries_equal(out, m->entries, m->count > 0);
    return same;
}

/* Grows for a while, then shrinks, from the front, the back or anywhere, and so on. */
static void run_against_model(enum load load, uint64_t seed)
{
    enum { STEPS = 24000, PHASE = 6000 };
    static struct model m;
    struct due_index d;
    due_index_init(&d);
    m.count = 0;
    random_seed(seed);
    uint64_t way = 0;
    bool same = true;
    for (uint64_t step = 0; step < STEPS && same; step++) {
        if (step % PHASE == 0)
            way = random_next();
        bool grow = random_next() % 16 < (step / PHASE % 2 == 0 ? 15 : 3);
        if (grow)
            same = same_add(&d, &m, load, step);
        else if (way % 3 == 0 && random_next() % 4 == 0)
            same = same_take(&d, &m);
        else
            same = same_remove(&d, &m, way % 3 == 1);
        if (same && (step % 199 == 0 || m.count < 8))
            same = same_content(&d, &m);
        ck_assert_msg(same, "load %d, seed %d, step %d", (int)load, (int)seed, (int)step);
    }
    ck_assert(same_content(&d, &m));
    due_index_fini(&d);
}

START_TEST(due_index_random)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        run_against_model((enum load)_i, seed);
}
END_TEST

static void shuffle(uint32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        numbers[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)(random_next() % i), number = numbers[i - 1];
        numbers[i - 1] = numbers[other];
        numbers[other] = number;
    }
}

static void fill(struct due_index *d, enum load load)
{
    static const int64_t delays_us[] = {1000000, 60000000, 600000000};
    due_index_init(d);
    random_seed(7);
    bool ok = true;
    for (int64_t i = 0; i < FILL; i++) {
        int64_t due_us = NOW_US;
        if (load == LOAD_ASCENDING || load == LOAD_DESCENDING)
            due_us += load == LOAD_ASCENDING ? i : -i;
        else if (load == LOAD_WIDE)
            due_us = (int64_t)(random_next() & DUE_US_MAX);
        else if (load == LOAD_DELAYS) /* the times of two of them interleave in the end */
            due_us += i * 500 + delays_us[random_next() % 3];
        else
            due_us += (int64_t)(random_next() % 100); /* ties, and the offset goes up */
        ok &= add(d, due_us, (uint64_t)i, PRIORITY_NORMAL);
    }
    ck_assert(ok);
    ck_assert_uint_eq(due_index_count(d), FILL);
    due_index_check(d);
}

static double bytes_each(const struct due_index *d)
{
    return (double)due_index_bytes(d) / (double)due_index_count(d);
}

START_TEST(due_index_bytes_follow_the_count)
{
    /* Four blocks of five full make 20. */
    static const double most[LOAD_COUNT] = {[LOAD_TIES] = 19,
                                            [LOAD_WIDE] = 19.5,
                                            [LOAD_DELAYS] = 20,
                                            [LOAD_ASCENDING] = 16.2,
                                            [LOAD_DESCENDING] = 16.2};
    struct due_index d;
    struct due_entry out[TAKE_MAX];
    for (int load = 0; load < LOAD_COUNT; load++) {
        fill(&d, (enum load)load);
        ck_assert_msg(bytes_each(&d) < most[load], "load %d: %.2f", load, bytes_each(&d));
        ck_assert(bytes_each(&d) >= 16);
        while (due_index_count(&d) > 20000)
            ck_assert_uint_eq(due_index_take(&d, INT64_MAX, TAKE_MAX, out), TAKE_MAX);
        ck_assert_msg(bytes_each(&d) < most[load] + 2, "load %d: %.2f", load, bytes_each(&d));
        due_index_check(&d);
        due_index_fini(&d);
        ck_assert_uint_eq(due_index_bytes(&d), 0);
    }
    ck_assert(add(&d, NOW_US, 1, PRIORITY_NORMAL)); /* many partitions have but one */
    ck_assert_uint_le(due_index_bytes(&d), 128);
    due_index_fini(&d);
}
END_TEST

/* As long as a broker runs: what is due goes, the same number comes. */
START_TEST(due_index_stays_small_in_use)
{
    static const int64_t delays_us[] = {200, 9000, 50000, 300000};
    struct due_index d;
    struct due_entry out[TAKE_MAX];
    due_index_init(&d);
    random_seed(11);
    bool ok = true;
    for (int64_t now_us = 0; now_us < 800000; now_us += 2) {
        ok &= add(&d, now_us + delays_us[random_next() % 4], (uint64_t)now_us, PRIORITY_NORMAL);
        if (now_us % 64 == 0)
            (void)due_index_take(&d, now_us, TAKE_MAX, out);
        ok &= due_index_count(&d) < 20000 || bytes_each(&d) < 20;
    }
    ck_assert(ok);
    ck_assert_uint_gt(due_index_count(&d), 20000);
    due_index_check(&d);
    due_index_fini(&d);
}
END_TEST

/* More than 3/4 of a block in each two blocks, and a directory of less than four times the size;
 * the only block is more than 1/4 full. */
static bool bytes_bounded(const struct due_index *d)
{
    enum { ENTRY = 16, SLOT = 32, BLOCK = 512, PAIR = BLOCK * 3 / 4 };
    uint64_t count = due_index_count(d), bytes = due_index_bytes(d);
    if (count == 0)
        return bytes == 0;
    if (count <= PAIR)
        return bytes <= count * 4 * ENTRY + 2 * SLOT;
    return bytes <= (2 * count / PAIR + 1) * (BLOCK * ENTRY + 4 * SLOT);
}

START_TEST(due_index_removals_give_memory_back)
{
    static uint32_t order[FILL];
    struct due_index d;
    enum priority priority = PRIORITY_COUNT;
    fill(&d, LOAD_ASCENDING);
    shuffle(order, FILL);
    bool ok = true;
    for (uint32_t i = 0; i < FILL; i++) {
        ok &= due_index_remove(&d, NOW_US + order[i], order[i], &priority);
        ok &= bytes_bounded(&d);
    }
    ck_assert(ok);
    due_index_check(&d);
    for (uint32_t keep = 2; keep < 2000; keep = keep * 5 / 2) { /* a few are left in each block */
        fill(&d, LOAD_ASCENDING);
        for (uint32_t i = 0; i < FILL; i++) {
            ok &= i % keep == 0 || due_index_remove(&d, NOW_US + i, i, &priority);
            ok &= bytes_bounded(&d);
        }
        ck_assert_msg(ok, "one of %u", keep);
        ck_assert_uint_eq(due_index_count(&d), (FILL + keep - 1) / keep);
        due_index_check(&d);
        due_index_fini(&d);
    }
}
END_TEST

/* A full block between two of an entry or two: when it gives to the one, the other is too small to
 * stay alone. */
START_TEST(due_index_sharing_leaves_no_tiny_block)
{
    struct due_index d;
    for (uint64_t behind = 1; behind <= 2; behind++) {
        due_index_init(&d);
        for (int64_t i = 0; i < 512; i++)
            ck_assert(add(&d, NOW_US + 2 * i, 0, PRIORITY_LOW));
        ck_assert(add(&d, 0, 0, PRIORITY_LOW));
        for (uint64_t i = 0; i < behind; i++)
            ck_assert(add(&d, DUE_US_MAX, i, PRIORITY_LOW));
        ck_assert_uint_eq(d.block_count, 3);
        due_index_check(&d);
        ck_assert(add(&d, NOW_US + 501, 0, PRIORITY_LOW));
        ck_assert_uint_eq(d.block_count, 2);
        due_index_check(&d);
        due_index_fini(&d);
    }
}
END_TEST

static bool load(const struct buf *bytes, uint64_t end, struct due_index *out)
{
    struct wire_reader r;
    wire_reader_init(&r, buf_span(bytes));
    due_index_init(out);
    due_index_load(out, &r, end);
    due_index_check(out);
    return wire_at_end(&r);
}

START_TEST(due_index_saves_what_is_in_it)
{
    static uint32_t order[FILL];
    struct due_index d, other, back;
    struct buf bytes, again;
    enum priority priority = PRIORITY_COUNT;
    random_seed(3);
    due_index_init(&d);
    due_index_init(&other);
    shuffle(order, FILL);
    bool ok = true;
    /* Odd ones never come to the one, and leave the other. */
    for (uint32_t i = 0; i < FILL; i += 2)
        ok &= add(&d, NOW_US + i / 3, i, (enum priority)(i % 5));
    for (uint32_t i = 0; i < FILL; i++)
        ok &= add(&other, NOW_US + order[i] / 3, order[i], (enum priority)(order[i] % 5));
    for (uint32_t i = 1; i < FILL; i += 2)
        ok &= due_index_remove(&other, NOW_US + i / 3, i, &priority) && priority == i % 5;
    ck_assert(ok);
    buf_init(&bytes, SIZE_MAX);
    buf_init(&again, SIZE_MAX);
    due_index_save(&d, &bytes);
    due_index_save(&other, &again);
    ck_assert(span_equal(buf_span(&bytes), buf_span(&again)));
    ck_assert(!load(&bytes, FILL - 2, &back));
    due_index_fini(&back);
    ck_assert(load(&bytes, FILL - 1, &back));
    ck_assert_uint_eq(due_index_count(&back), FILL / 2);
    ck_assert(bytes_each(&back) < 16.5);
    buf_clear(&again);
    due_index_save(&back, &again);
    ck_assert(span_equal(buf_span(&bytes), buf_span(&again)));
    due_index_fini(&back);
    due_index_fini(&d);
    due_index_fini(&other);
    buf_fini(&bytes);
    buf_fini(&again);
}
END_TEST

START_TEST(due_index_saves_these_bytes)
{
    static const uint8_t want[] = {4,    5,    6,    0,                /* at 5: offset 3 */
                                   0,    0xf8, 0x01, 4,                /* +0: offset 127 */
                                   1,    0xfd, 0x01, 2,                /* +1: offset 0 */
                                   0xf9, 0xff, 0xff, 0xff, 0xff, 0xff, /* DUE_US_MAX */
                                   0xff, 0xff, 0x0f, 18,   1};         /* offset 9 */
    struct due_index d, back;
    struct buf bytes;
    due_index_init(&d);
    buf_init(&bytes, SIZE_MAX);
    ck_assert(add(&d, 5, 127, PRIORITY_BACKGROUND));
    ck_assert(add(&d, DUE_US_MAX, 9, PRIORITY_HIGH));
    ck_assert(add(&d, 5, 3, PRIORITY_CRITICAL));
    ck_assert(add(&d, 6, 0, PRIORITY_NORMAL));
    due_index_save(&d, &bytes);
    ck_assert(span_equal(buf_span(&bytes), span_of(want, sizeof want)));
    ck_assert(load(&bytes, 128, &back));
    ck_assert(due_index_has(&back, DUE_US_MAX, 9));
    due_index_fini(&back);
    for (bytes.size = 0; bytes.size < sizeof want; bytes.size++) { /* cut anywhere */
        ck_assert_msg(!load(&bytes, 128, &back), "%zu bytes", bytes.size);
        due_index_fini(&back);
    }
    due_index_fini(&d);
    buf_fini(&bytes);
}
END_TEST

START_TEST(due_index_refuses_nonsense)
{
    static const struct {
        uint64_t numbers[8]; /* all as varints */
        size_t count;
        bool good;
    } cases[] = {
        {{0}, 1, true},
        {{2, 5, 8, 0, 0, 2, 4}, 7, true},
        {{2, 5, 8, 0, 0, 0, 4}, 7, false}, /* the same again */
        {{2, 5, 8, 0, 0, 1, 4}, 7, false}, /* not after it */
        {{2, 5, 8, 0, 1, 1, 4}, 7, true},
        {{2, 5, 8, 0, 1, 9, 4}, 7, false},              /* an offset below 0 */
        {{1, 5, 198, 0}, 4, true},                      /* the last offset */
        {{1, 5, 200, 0}, 4, false},                     /* at the end */
        {{1, 5, UINT64_MAX, 0}, 4, false},              /* far from it */
        {{2, 5, 8, 0, 0, UINT64_MAX - 9, 4}, 7, false}, /* would wrap */
        {{1, 5, 8, 5}, 4, false},                       /* no priority */
        {{1, 5, 8, 127}, 4, false},
        {{1, DUE_US_MAX, 8, 0}, 4, true},
        {{1, DUE_US_MAX + 1ULL, 8, 0}, 4, false}, /* too late */
        {{2, 5, 8, 0, DUE_US_MAX - 5, 2, 4}, 7, true},
        {{2, 5, 8, 0, DUE_US_MAX - 4, 2, 4}, 7, false}, /* too late together */
        {{2, 5, 8, 0, UINT64_MAX - 2, 2, 4}, 7, false}, /* would wrap */
        {{2, 5, 8, 0}, 4, false},                       /* a count beyond the bytes */
        {{UINT64_MAX, 5, 8, 0}, 4, false},
        {{0, 5, 8, 0}, 4, false}, /* something left */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf bytes;
        struct due_index d;
        buf_init(&bytes, SIZE_MAX);
        for (size_t k = 0; k < cases[i].count; k++)
            wire_put_varint(&bytes, cases[i].numbers[k]);
        ck_assert_msg(load(&bytes, 100, &d) == cases[i].good, "case %zu", i);
        due_index_fini(&d);
        buf_fini(&bytes);
    }
}
END_TEST

START_TEST(due_index_too_late_is_our_mistake)
{
    struct due_index d = {0};
    (void)add(&d, DUE_US_MAX + 1, 0, PRIORITY_NORMAL);
}
END_TEST

START_TEST(due_index_before_time_is_our_mistake)
{
    struct due_index d = {0};
    (void)due_index_has(&d, -1, 0);
}
END_TEST

START_TEST(due_index_no_priority_is_our_mistake)
{
    struct due_index d = {0};
    (void)add(&d, 0, 0, PRIORITY_COUNT);
}
END_TEST

Suite *suite_due_index(void)
{
    Suite *suite = suite_create("due_index");
    TCase *tcase = tcase_create("due_index");
    tcase_set_timeout(tcase, 60); /* under sanitizers, on a busy machine */
    tcase_add_test(tcase, due_index_orders_by_time_then_offset);
    tcase_add_test(tcase, due_index_takes_what_is_due);
    tcase_add_loop_test(tcase, due_index_random, 0, LOAD_COUNT);
    tcase_add_test(tcase, due_index_bytes_follow_the_count);
    tcase_add_test(tcase, due_index_stays_small_in_use);
    tcase_add_test(tcase, due_index_removals_give_memory_back);
    tcase_add_test(tcase, due_index_sharing_leaves_no_tiny_block);
    tcase_add_test(tcase, due_index_saves_what_is_in_it);
    tcase_add_test(tcase, due_index_saves_these_bytes);
    tcase_add_test(tcase, due_index_refuses_nonsense);
    tcase_add_test_raise_signal(tcase, due_index_too_late_is_our_mistake, SIGABRT);
    tcase_add_test_raise_signal(tcase, due_index_before_time_is_our_mistake, SIGABRT);
    tcase_add_test_raise_signal(tcase, due_index_no_priority_is_our_mistake, SIGABRT);
    suite_add_tcase(suite, tcase);
    return suite;
}
