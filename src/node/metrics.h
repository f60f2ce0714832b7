/* What the broker counts for /metrics: one registry a process, updated by the I/O threads.
 *
 * Updates are relaxed atomics in slots that threads do not share (as long as there are no more
 * threads than slots), so that counting costs nanoseconds and no cache line travels. Reading adds
 * the slots up: each number is exact once its writers are quiet, but numbers read together need not
 * belong to the same instant.
 *
 * Topics are counted one by one up to METRICS_TOPICS_MAX names, in the order in which they are
 * first used; all further ones count together as METRICS_OTHER. A name stays until the process
 * ends. */
#ifndef NODE_METRICS_H
#define NODE_METRICS_H

#include <stdint.h>

#include "command/record_batch.h"
#include "std/arena.h"
#include "std/span.h"
#include "std/status.h"

enum { METRICS_TOPICS_MAX = 1000, METRICS_LATENCY_BOUNDS = 14, METRICS_HTTP_CLASSES = 5 };

/* What became of a delivery, other than an ack; repeats of a request do not count. */
enum metrics_event { METRICS_NACKED, METRICS_REJECTED, METRICS_EXTENDED, METRICS_EVENTS };

/* How long messages of one priority waited for their first delivery. */
struct metrics_wait {
    uint64_t count;
    uint64_t sum_us;
};
#define METRICS_OTHER "_other"

/* Upper bounds of the latency buckets, ascending: 500 us to 10 s. */
extern const int64_t metrics_latency_bound_us[METRICS_LATENCY_BOUNDS];

struct metrics;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m); /* accepts NULL */

/* Any thread; topic names are qualified. Cost: some 20 ns each; the first use of a topic locks. */

/* One publish request that stored messages of this size (keys, values and headers). */
void metrics_published(struct metrics *m, struct span topic, uint64_t messages, uint64_t bytes,
                       int64_t latency_us);
/* Messages of one topic, handed out. */
void metrics_consumed(struct metrics *m, struct span topic, uint64_t messages, uint64_t bytes);
/* One poll or consume request that was answered with messages. */
void metrics_fetched(struct metrics *m, int64_t latency_us);
/* One ack request and how many messages it acknowledged. */
void metrics_acked(struct metrics *m, uint64_t count, int64_t latency_us);
/* One delivery of the topic; METRICS_OTHER if that is not known any more. */
void metrics_event(struct metrics *m, struct span topic, enum metrics_event event);
/* Messages of one topic that were handed out for the first time. */
void metrics_waited(struct metrics *m, struct span topic,
                    const struct metrics_wait waits[PRIORITY_COUNT]);
/* Messages that were not stored. Topics that nothing was published to or consumed from count as
 * METRICS_OTHER: names that clients make up take no place. */
void metrics_failed(struct metrics *m, struct span topic, enum status reason, uint64_t count);
/* One reply. */
void metrics_request(struct metrics *m, unsigned http_status);

struct metrics_latency {
    uint64_t bucket[METRICS_LATENCY_BOUNDS + 1]; /* not cumulative; the last: above all bounds */
    uint64_t sum_us;
};

struct metrics_totals {
    uint64_t acked;
    uint64_t bytes_published;
    uint64_t bytes_consumed;
    uint64_t http[METRICS_HTTP_CLASSES]; /* 1xx .. 5xx */
    struct metrics_latency publish;
    struct metrics_latency fetch;
    struct metrics_latency ack;
};

struct metrics_topic {
    struct span name; /* qualified; lives as long as the registry */
    uint64_t published;
    uint64_t consumed;
    uint64_t failed[ST_COUNT];
    uint64_t events[METRICS_EVENTS];
    struct metrics_wait waits[PRIORITY_COUNT];
};

void metrics_read_totals(const struct metrics *m, struct metrics_totals *out);
/* By name, METRICS_OTHER last and always there. Gives: *out, in the arena. */
uint32_t metrics_read_topics(struct metrics *m, struct arena *arena, struct metrics_topic **out);

#endif
