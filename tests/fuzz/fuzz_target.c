/* Request targets: whatever comes, what is accepted is valid UTF-8 within the bounds, and routing
 * it is safe. */
#include "api/route.h"
#include "api/target.h"
#include "std/check.h"
#include "std/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    arena_init(&arena);
    struct target target;
    if (target_parse(span_of(data, size), &arena, &target) == ST_OK) {
        CHECK(target.segment_count <= SEGMENTS_MAX);
        CHECK(target.query_count <= QUERY_ARGS_MAX);
        for (uint32_t i = 0; i < target.segment_count; i++)
            CHECK(target.segments[i].size > 0 && utf8_valid(target.segments[i]));
        for (uint32_t i = 0; i < target.query_count; i++)
            CHECK(utf8_valid(target.query[i].name) && utf8_valid(target.query[i].value));
        struct span params[PARAMS_MAX];
        unsigned allow = 0;
        for (unsigned method = METHOD_GET; method <= METHOD_OTHER; method++)
            (void)route_find((enum method)method, target.segments, target.segment_count, params,
                             &allow);
    }
    arena_fini(&arena);
    return 0;
}
