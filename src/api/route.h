/* From method and path to a handler. The table is routes.def. */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include "api/request.h"

enum body_kind { BODY_NONE, BODY_SMALL, BODY_PUBLISH };

struct route {
    enum method method;
    const char *pattern;
    void (*handler)(struct request *r);
    enum body_kind body;
};

#define ROUTE(method, pattern, handler, body) void handler(struct request *r);
#include "api/routes.def"
#undef ROUTE

/* `segments` are the decoded parts of the path. Gives the route and its parameters in r->params.
 * NULL: no such path, or *out_allow has the methods (bits of 1 << enum method) that the path knows.
 */
const struct route *route_find(enum method method, const struct span *segments, uint32_t count,
                               struct span params[PARAMS_MAX], unsigned *out_allow);

#endif
