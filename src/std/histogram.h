/* A histogram of non-negative integers with a fixed memory and a bounded relative error.
 *
 * Buckets are log-linear, as in HdrHistogram: values below 128 have a bucket each; every further
 * power of two is divided into 64 equal buckets. A bucket is at most 1/64 of its lower bound wide,
 * and a quantile is answered with the middle of its bucket, so it is within 0.8 % of the truth: two
 * significant digits. Count, sum, smallest and largest are exact. Values from 2^40 on (18 minutes,
 * if the unit is a nanosecond) share the last bucket.
 *
 * Not thread-safe: one histogram per thread, merged for the report. All zero bytes is a valid
 * empty histogram. */
#ifndef STD_HISTOGRAM_H
#define STD_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_EXACT_BITS = 7, /* values below 2^7 are exact */
    HISTOGRAM_VALUE_BITS = 40,
    HISTOGRAM_STEPS = 1 << (HISTOGRAM_EXACT_BITS - 1), /* buckets in a power of two */
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_EXACT_BITS + 2) * HISTOGRAM_STEPS,
};

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t smallest; /* means nothing while count is 0 */
    uint64_t largest;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* Adds one value. Cost: O(1), no branches worth naming. */
void histogram_add(struct histogram *h, uint64_t value);

/* Adds all values of `other`; the result is as if they had been added one by one. */
void histogram_merge(struct histogram *h, const struct histogram *other);

/* The value that a share `quantile` (0..1) of all values does not exceed; 0 when empty. 0 and 1
 * give the exact smallest and largest. Cost: walks the buckets. */
uint64_t histogram_quantile(const struct histogram *h, double quantile);

/* How many values are at most `value`, to the resolution of a bucket: a value in the same bucket as
 * `value` counts. For the cumulative buckets of /metrics. Cost: walks the buckets. */
uint64_t histogram_count_up_to(const struct histogram *h, uint64_t value);

/* The mean, exact; 0 when empty. */
double histogram_mean(const struct histogram *h);

#endif
