#include "api/route.h"

#include <stddef.h>

static const struct route routes[] = {
#define ROUTE(method, pattern, handler, body) {METHOD_##method, (pattern), (handler), BODY_##body},
#include "api/routes.def"
#undef ROUTE
};

enum { ROUTES = sizeof routes / sizeof routes[0] };

/* How well the pattern fits: -1 not at all, else the number of literal segments. */
static int route_match(const char *pattern, const struct span *segments, uint32_t count,
                       struct span params[PARAMS_MAX])
{
    int literals = 0;
    unsigned param = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (*pattern != '/')
            return -1;
        pattern++;
        size_t size = strcspn(pattern, "/");
        if (*pattern == '{') {
            params[param++] = segments[i];
        } else if (segments[i].size == size && memcmp(segments[i].data, pattern, size) == 0) {
            literals++;
        } else {
            return -1;
        }
        pattern += size;
    }
    return *pattern == '\0' ? literals : -1;
}

const struct route *route_find(enum method method, const struct span *segments, uint32_t count,
                               struct span params[PARAMS_MAX], unsigned *out_allow)
{
    const struct route *best = NULL;
    int best_literals = -1;
    *out_allow = 0;
    for (size_t i = 0; i < ROUTES; i++) {
        struct span found[PARAMS_MAX];
        int literals = route_match(routes[i].pattern, segments, count, found);
        if (literals < 0)
            continue;
        *out_allow |= 1U << routes[i].method;
        if (routes[i].method == method && literals > best_literals) {
            best = &routes[i];
            best_literals = literals;
            memcpy(params, found, sizeof found);
        }
    }
    return best;
}
