#include "delivery/lane_weights.h"

static const int32_t weights[PRIORITY_COUNT] = {50, 25, 15, 7, 3};

void lane_weights_share(struct lane_weights *w, const bool has[PRIORITY_COUNT], uint32_t count,
                        uint32_t share[PRIORITY_COUNT])
{
    int32_t sum = 0;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        share[lane] = 0;
        if (has[lane])
            sum += weights[lane];
        else
            w->credit[lane] = 0; /* who has nothing saves nothing up */
    }
    for (uint32_t i = 0; i < count && sum > 0; i++) {
        unsigned best = PRIORITY_COUNT;
        for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
            if (!has[lane])
                continue;
            w->credit[lane] += weights[lane];
            if (best == PRIORITY_COUNT || w->credit[lane] > w->credit[best])
                best = lane;
        }
        w->credit[best] -= sum;
        share[best]++;
    }
}
