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
        if (*pattern++ != '/')
            return -1;
        if (*pattern == '{') {
            params[param++] = segments[i];
            while (*pattern != '/' && *pattern != '\0')
                pattern++;
            continue;
        }
        size_t same = 0; /* a segment may hold a NUL: never step over the pattern's own */
        while (same < segments[i].size && pattern[same] != '\0' &&
               (uint8_t)pattern[same] == segments[i].data[same])
            same++;
        if (same < segments[i].size)
            return -1;
        pattern += same;
        literals++;
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
