/* What every property uses: its own random numbers, and how it tells what it did. */
#ifndef TESTS_PROPERTY_PROPERTY_H
#define TESTS_PROPERTY_PROPERTY_H

#include <stdbool.h>
#include <stdint.h>

/* Adds to what main prints as "N steps". */
void property_count_steps(uint64_t count);

struct dice { /* xorshift64*: the same numbers for the same seed, on every machine */
    uint64_t state;
};

static inline uint64_t dice_below(struct dice *d, uint64_t bound)
{
    d->state ^= d->state >> 12;
    d->state ^= d->state << 25;
    d->state ^= d->state >> 27;
    return (d->state * 2685821657736338717U >> 32) % bound;
}

static inline bool dice_one_in(struct dice *d, uint64_t n)
{
    return dice_below(d, n) == 0;
}

static inline struct dice dice_of(uint64_t seed)
{
    struct dice d = {.state = seed * 0x9e3779b97f4a7c15U | 1};
    for (int i = 0; i < 8; i++)
        (void)dice_below(&d, 2);
    return d;
}

#endif
