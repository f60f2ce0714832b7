#include "node/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "std/alloc.h"
#include "std/check.h"

enum {
    SLOTS = 16,        /* threads beyond that share slots, which is slower but not wrong */
    TABLE_SIZE = 4096, /* of topics; a power of two, at most a quarter full */
    LINE_SIZE = 64,    /* what keeps two slots out of one cache line */
    HTTP_CLASS = 100,
};

_Static_assert((TABLE_SIZE & (TABLE_SIZE - 1)) == 0, "a mask is used");
_Static_assert(TABLE_SIZE >= 2 * METRICS_TOPICS_MAX, "probing ends at a free place");

const int64_t metrics_latency_bound_us[METRICS_LATENCY_BOUNDS] = {
    500,    1000,   2500,   5000,    10000,   25000,   50000,
    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

struct latency {
    atomic_ullong bucket[METRICS_LATENCY_BOUNDS + 1];
    atomic_ullong sum_us;
};

struct slot {
    atomic_ullong acked;
    atomic_ullong bytes_published;
    atomic_ullong bytes_consumed;
    atomic_ullong http[METRICS_HTTP_CLASSES];
    struct latency publish;
    struct latency fetch;
    struct latency ack;
    uint8_t apart[LINE_SIZE];
};

struct topic_slot {
    atomic_ullong published;
    atomic_ullong consumed;
    atomic_ullong events[METRICS_EVENTS];
    struct {
        atomic_ullong count;
        atomic_ullong sum_us;
    } waits[PRIORITY_COUNT];
    uint8_t apart[LINE_SIZE];
};

struct topic {
    char *text;       /* owned */
    struct span name; /* the text; neither changes once the topic is in the table */
    struct topic_slot slots[SLOTS];
    atomic_ullong failed[ST_COUNT]; /* rare, so shared */
};

struct metrics {
    struct slot slots[SLOTS];
    _Atomic(struct topic *) table[TABLE_SIZE]; /* open addressing; entries only come */
    atomic_uint topic_count;
    pthread_mutex_t add_lock;
    struct topic *other;
};

static atomic_uint threads_seen;

static unsigned own_slot(void)
{
    static _Thread_local unsigned slot_plus_one;
    if (slot_plus_one == 0)
        slot_plus_one =
            atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed) % SLOTS + 1;
    return slot_plus_one - 1;
}

static void add(atomic_ullong *counter, uint64_t count)
{
    atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
}

static uint64_t read_counter(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void observe(struct latency *l, int64_t latency_us)
{
    unsigned bucket = 0;
    while (bucket < METRICS_LATENCY_BOUNDS && latency_us > metrics_latency_bound_us[bucket])
        bucket++;
    add(&l->bucket[bucket], 1);
    add(&l->sum_us, latency_us > 0 ? (uint64_t)latency_us : 0);
}

static struct topic *topic_new(struct span name)
{
    struct topic *t = new_zero(struct topic);
    t->text = alloc_string((const char *)name.data, name.size);
    t->name = span_of(t->text, name.size);
    return t;
}

static void topic_free(struct topic *t)
{
    if (t == NULL)
        return;
    free(t->text);
    free(t);
}

struct metrics *metrics_new(void)
{
    struct metrics *m = new_zero(struct metrics);
    CHECK(pthread_mutex_init(&m->add_lock, NULL) == 0);
    m->other = topic_new(span_text(METRICS_OTHER));
    return m;
}

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    for (unsigned i = 0; i < TABLE_SIZE; i++)
        topic_free(atomic_load_explicit(&m->table[i], memory_order_relaxed));
    topic_free(m->other);
    CHECK(pthread_mutex_destroy(&m->add_lock) == 0);
    free(m);
}

/* The topic's place, or the free one where it would go. */
static _Atomic(struct topic *) *find_place(struct metrics *m, struct span name)
{
    uint64_t place = XXH3_64bits(name.data, name.size);
    for (;; place++) {
        _Atomic(struct topic *) *at = &m->table[place & (TABLE_SIZE - 1)];
        const struct topic *t = atomic_load_explicit(at, memory_order_acquire);
        if (t == NULL || span_equal(t->name, name))
            return at;
    }
}

static struct topic *find(struct metrics *m, struct span name)
{
    struct topic *t = atomic_load_explicit(find_place(m, name), memory_order_acquire);
    return t != NULL ? t : m->other;
}

static struct topic *add_topic(struct metrics *m, struct span name)
{
    CHECK(pthread_mutex_lock(&m->add_lock) == 0);
    _Atomic(struct topic *) *at = find_place(m, name);
    struct topic *t = atomic_load_explicit(at, memory_order_relaxed);
    if (t == NULL &&
        atomic_load_explicit(&m->topic_count, memory_order_relaxed) == METRICS_TOPICS_MAX) {
        t = m->other;
    } else if (t == NULL) {
        t = topic_new(name);
        atomic_store_explicit(at, t, memory_order_release);
        atomic_fetch_add_explicit(&m->topic_count, 1, memory_order_relaxed);
    }
    CHECK(pthread_mutex_unlock(&m->add_lock) == 0);
    return t;
}

static struct topic *find_or_add(struct metrics *m, struct span name)
{
    struct topic *t = find(m, name);
    if (t != m->other || span_equal(name, t->name) ||
        atomic_load_explicit(&m->topic_count, memory_order_relaxed) == METRICS_TOPICS_MAX)
        return t;
    return add_topic(m, name);
}

void metrics_published(struct metrics *m, struct span topic, uint64_t messages, uint64_t bytes,
                       int64_t latency_us)
{
    const unsigned own = own_slot();
    add(&find_or_add(m, topic)->slots[own].published, messages);
    add(&m->slots[own].bytes_published, bytes);
    observe(&m->slots[own].publish, latency_us);
}

void metrics_consumed(struct metrics *m, struct span topic, uint64_t messages, uint64_t bytes)
{
    const unsigned own = own_slot();
    add(&find_or_add(m, topic)->slots[own].consumed, messages);
    add(&m->slots[own].bytes_consumed, bytes);
}

void metrics_fetched(struct metrics *m, int64_t latency_us)
{
    observe(&m->slots[own_slot()].fetch, latency_us);
}

void metrics_acked(struct metrics *m, uint64_t count, int64_t latency_us)
{
    struct slot *slot = &m->slots[own_slot()];
    add(&slot->acked, count);
    observe(&slot->ack, latency_us);
}

void metrics_event(struct metrics *m, struct span topic, enum metrics_event event)
{
    CHECK((unsigned)event < METRICS_EVENTS);
    add(&find_or_add(m, topic)->slots[own_slot()].events[event], 1);
}

void metrics_waited(struct metrics *m, struct span topic,
                    const struct metrics_wait waits[PRIORITY_COUNT])
{
    struct topic_slot *slot = &find_or_add(m, topic)->slots[own_slot()];
    for (unsigned p = 0; p < PRIORITY_COUNT; p++) {
        if (waits[p].count == 0)
            continue;
        add(&slot->waits[p].count, waits[p].count);
        add(&slot->waits[p].sum_us, waits[p].sum_us);
    }
}

void metrics_failed(struct metrics *m, struct span topic, enum status reason, uint64_t count)
{
    CHECK((unsigned)reason < ST_COUNT);
    add(&find(m, topic)->failed[reason], count);
}

void metrics_request(struct metrics *m, unsigned http_status)
{
    const unsigned http_class = http_status / HTTP_CLASS;
    CHECK(http_class >= 1 && http_class <= METRICS_HTTP_CLASSES);
    add(&m->slots[own_slot()].http[http_class - 1], 1);
}

static void read_latency(const struct latency *l, struct metrics_latency *sum)
{
    for (unsigned i = 0; i <= METRICS_LATENCY_BOUNDS; i++)
        sum->bucket[i] += read_counter(&l->bucket[i]);
    sum->sum_us += read_counter(&l->sum_us);
}

void metrics_read_totals(const struct metrics *m, struct metrics_totals *out)
{
    *out = (struct metrics_totals){0};
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct slot *slot = &m->slots[i];
        out->acked += read_counter(&slot->acked);
        out->bytes_published += read_counter(&slot->bytes_published);
        out->bytes_consumed += read_counter(&slot->bytes_consumed);
        for (unsigned c = 0; c < METRICS_HTTP_CLASSES; c++)
            out->http[c] += read_counter(&slot->http[c]);
        read_latency(&slot->publish, &out->publish);
        read_latency(&slot->fetch, &out->fetch);
        read_latency(&slot->ack, &out->ack);
    }
}

static void read_topic(const struct topic *t, struct metrics_topic *out)
{
    *out = (struct metrics_topic){.name = t->name};
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct topic_slot *slot = &t->slots[i];
        out->published += read_counter(&slot->published);
        out->consumed += read_counter(&slot->consumed);
        for (unsigned e = 0; e < METRICS_EVENTS; e++)
            out->events[e] += read_counter(&slot->events[e]);
        for (unsigned p = 0; p < PRIORITY_COUNT; p++) {
            out->waits[p].count += read_counter(&slot->waits[p].count);
            out->waits[p].sum_us += read_counter(&slot->waits[p].sum_us);
        }
    }
    for (unsigned i = 0; i < ST_COUNT; i++)
        out->failed[i] = read_counter(&t->failed[i]);
}

static int compare_topics(const void *a, const void *b)
{
    return span_compare(((const struct metrics_topic *)a)->name,
                        ((const struct metrics_topic *)b)->name);
}

uint32_t metrics_read_topics(struct metrics *m, struct arena *arena, struct metrics_topic **out)
{
    struct metrics_topic *topics = arena_array(arena, METRICS_TOPICS_MAX + 1, sizeof *topics);
    uint32_t count = 0;
    for (unsigned i = 0; i < TABLE_SIZE; i++) {
        const struct topic *t = atomic_load_explicit(&m->table[i], memory_order_acquire);
        if (t != NULL)
            read_topic(t, &topics[count++]);
    }
    qsort(topics, count, sizeof *topics, compare_topics);
    read_topic(m->other, &topics[count++]);
    *out = topics;
    return count;
}
