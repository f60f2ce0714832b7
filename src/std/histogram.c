#include "std/histogram.h"

#include <stddef.h>

#include "std/check.h"

_Static_assert(HISTOGRAM_STEPS == 64, "the error bound in the header is for 64 steps");

static size_t bucket_of(uint64_t value)
{
    if (value < (1U << HISTOGRAM_EXACT_BITS))
        return (size_t)value;
    if (value >> HISTOGRAM_VALUE_BITS != 0)
        return HISTOGRAM_BUCKETS - 1;

    /* The top 7 bits of the value are 64..127; each further shift starts a new run of 64. */
    unsigned shift = 64U - (unsigned)__builtin_clzll(value) - HISTOGRAM_EXACT_BITS;
    return (size_t)shift * HISTOGRAM_STEPS + (size_t)(value >> shift);
}

static uint64_t bucket_middle(size_t bucket)
{
    if (bucket < (1U << HISTOGRAM_EXACT_BITS))
        return bucket;
    size_t shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t top = bucket - shift * HISTOGRAM_STEPS;
    return (top << shift) + ((uint64_t)1 << shift) / 2;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    if (h->count == 0 || value < h->smallest)
        h->smallest = value;
    if (value > h->largest)
        h->largest = value;
    h->count++;
    h->sum += value;
    h->bucket[bucket_of(value)]++;
}

void histogram_merge(struct histogram *h, const struct histogram *other)
{
    if (other->count == 0)
        return;
    if (h->count == 0 || other->smallest < h->smallest)
        h->smallest = other->smallest;
    if (other->largest > h->largest)
        h->largest = other->largest;
    h->count += other->count;
    h->sum += other->sum;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->bucket[i] += other->bucket[i];
}

uint64_t histogram_quantile(const struct histogram *h, double quantile)
{
    CHECK(quantile >= 0.0);
    CHECK(quantile <= 1.0);
    if (h->count == 0)
        return 0;
    double exact_rank = quantile * (double)h->count;
    uint64_t rank = (uint64_t)exact_rank;
    if ((double)rank < exact_rank)
        rank++; /* the rank-th smallest value, counted from 1 */
    if (rank <= 1 && quantile <= 0.0)
        return h->smallest;
    if (rank >= h->count)
        return h->largest;

    uint64_t seen = 0;
    size_t bucket = 0;
    for (; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += h->bucket[bucket];
        if (seen >= rank)
            break;
    }
    CHECK(bucket < HISTOGRAM_BUCKETS);
    uint64_t value = bucket_middle(bucket);
    if (value < h->smallest)
        return h->smallest;
    return value > h->largest ? h->largest : value;
}

uint64_t histogram_count_up_to(const struct histogram *h, uint64_t value)
{
    if (value >= h->largest)
        return h->count;
    uint64_t count = 0;
    size_t last = bucket_of(value);
    for (size_t i = 0; i <= last; i++)
        count += h->bucket[i];
    return count;
}

double histogram_mean(const struct histogram *h)
{
    return h->count == 0 ? 0.0 : (double)h->sum / (double)h->count;
}
