/* Which lane is next when lanes take turns by weight: smooth weighted round robin.
 *
 * Each pick gives every lane that has something its weight as credit, takes the one with the most,
 * the higher lane first, and takes from it what all of them got. So in a run of picks each lane
 * gets its share, spread evenly, and a lane of the lowest weight is served at least once in the sum
 * of all weights. */
#ifndef DELIVERY_LANE_WEIGHTS_H
#define DELIVERY_LANE_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "command/record_batch.h"

struct lane_weights { /* zeroed: nothing was picked yet */
    int32_t credit[PRIORITY_COUNT];
};

/* Divides `count` picks among the lanes that have something. Gives: share, whose sum is count, or
 * all zero when no lane has anything. Cost: O(count). */
void lane_weights_share(struct lane_weights *w, const bool has[PRIORITY_COUNT], uint32_t count,
                        uint32_t share[PRIORITY_COUNT]);

#endif
