/* Rebalance statistics: of one group, and of all of the tenant or the broker together. */
#include "api/group_reply.h"
#include "api/reply.h"
#include "api/route.h"
#include "std/check.h"

static void reply_stats(struct request *r, const struct rebalance_stats *stats)
{
    json_write_object_begin(&r->json);
    group_write_rebalance_stats(r, stats);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void then_group(struct request *r)
{
    if (reply_if_query_failed(r))
        return;
    CHECK(r->op.query_result.group_count == 1);
    reply_stats(r, &r->op.query_result.groups[0].rebalances);
}

void on_group_rebalance_stats(struct request *r)
{
    struct query query = {.type = QUERY_GROUP};
    if (request_group_param(r, 0, &query.name))
        request_submit_query(r, query, then_group);
}

static void add_stats(struct rebalance_stats *sum, const struct rebalance_stats *more)
{
    sum->total += more->total;
    sum->successful += more->successful;
    sum->failed += more->failed;
    for (unsigned i = 0; i < REBALANCE_REASON_COUNT; i++)
        sum->by_reason[i] += more->by_reason[i];
    sum->partitions_revoked += more->partitions_revoked;
    sum->partitions_assigned += more->partitions_assigned;
    sum->revocation_timeouts += more->revocation_timeouts;
    sum->duration_sum_us += more->duration_sum_us;
    if (more->last_us > sum->last_us) {
        sum->last_us = more->last_us;
        sum->last_duration_us = more->last_duration_us;
    }
}

static void then_groups(struct request *r)
{
    struct rebalance_stats sum = {0};
    if (reply_if_query_failed(r))
        return;
    for (uint32_t i = 0; i < r->op.query_result.group_count; i++)
        add_stats(&sum, &r->op.query_result.groups[i].rebalances);
    reply_stats(r, &sum);
}

void on_rebalance_stats(struct request *r)
{
    const struct query query = {
        .type = QUERY_GROUPS, .scope = r->scope, .every_tenant = r->scope.size == 0};
    request_submit_query(r, query, then_groups);
}
