#include "api/topics_told.h"

#include <stdlib.h>

void topics_told_submit(struct request *r, void (*then)(struct request *r))
{
    struct query query = {
        .type = QUERY_TOPICS, .scope = r->scope, .every_tenant = r->scope.size == 0};
    request_submit_query(r, query, then);
}

static int by_plain_name(const void *a, const void *b)
{
    const struct topic_info *x = a, *y = b;
    return span_compare(name_strip(x->name), name_strip(y->name));
}

void topics_told_sort(struct query_result *topics)
{
    if (topics->topic_count > 0)
        qsort(topics->topics, topics->topic_count, sizeof *topics->topics, by_plain_name);
}

uint32_t topics_told_same(const struct query_result *topics, uint32_t first)
{
    uint32_t count = 1;
    while (first + count < topics->topic_count &&
           by_plain_name(&topics->topics[first], &topics->topics[first + count]) == 0)
        count++;
    return count;
}

bool topics_told_has(const struct request *r, struct span qualified)
{
    const struct span scope = r->scope;
    return scope.size == 0 ||
           (qualified.size > scope.size && memcmp(qualified.data, scope.data, scope.size) == 0);
}
