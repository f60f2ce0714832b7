/* The request target as it came over the wire, taken apart by ourselves: split first, decoded then,
 * so that an encoded '/' never becomes a separator. Pure; fuzzed. */
#ifndef API_TARGET_H
#define API_TARGET_H

#include "api/request.h"

struct target {
    struct span segments[SEGMENTS_MAX]; /* decoded, without "/v1" and one trailing slash */
    uint32_t segment_count;
    struct query_arg query[QUERY_ARGS_MAX];
    uint32_t query_count;
};

/* Decodes into the arena. Errors: ST_NOT_FOUND: no path of ours can look so (too deep, bad
 * %-escape, empty segment, not UTF-8); ST_INVALID_ARGUMENT: the query has a bad %-escape or too
 * many arguments. */
enum status target_parse(struct span raw, struct arena *arena, struct target *out);

#endif
