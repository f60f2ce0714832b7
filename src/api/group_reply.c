#include "api/group_reply.h"

#include "api/reply.h"

void group_write_labels(struct request *r, const char *name, const struct assigned *assigned,
                        uint32_t count)
{
    struct json_writer *w = &r->json;
    json_write_key(w, name);
    json_write_array_begin(w);
    for (uint32_t i = 0; i < count; i++) {
        struct buf label;
        buf_init(&label, QUALIFIED_NAME_SIZE_MAX + 16);
        buf_put_span(&label, name_strip(assigned[i].topic));
        buf_put_byte(&label, '-');
        buf_put_u64(&label, assigned[i].partition);
        json_write_string(w, buf_span(&label));
        buf_fini(&label);
    }
    json_write_array_end(w);
}

void group_write_partition_list(struct request *r, const struct assigned *assigned, uint32_t count)
{
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < count; i++) {
        json_write_object_begin(&r->json);
        json_member_span(r, "topic", name_strip(assigned[i].topic));
        json_member_u64(r, "partition", assigned[i].partition);
        json_write_object_end(&r->json);
    }
    json_write_array_end(&r->json);
}

void group_write_partitions(struct request *r, const char *name, const struct assigned *assigned,
                            uint32_t count)
{
    json_write_key(&r->json, name);
    group_write_partition_list(r, assigned, count);
}

void group_write_topics(struct request *r, const struct group_info *group)
{
    json_write_key(&r->json, "topics");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < group->topic_count; i++)
        json_write_string(&r->json, name_strip(group->topics[i]));
    json_write_array_end(&r->json);
}

const char *group_state(const struct group_info *group)
{
    if (group->member_count == 0)
        return "dead";
    return group->rebalancing ? "rebalancing" : "stable";
}

const char *protocol_text(bool cooperative)
{
    return cooperative ? "cooperative" : "eager";
}

void group_write_rebalance_stats(struct request *r, const struct rebalance_stats *stats)
{
    static const char *const reasons[REBALANCE_REASON_COUNT] = {
        [REBALANCE_MEMBER_JOINED] = "member_joined",
        [REBALANCE_MEMBER_LEFT] = "member_left",
        [REBALANCE_SESSION_TIMEOUT] = "session_timeout",
        [REBALANCE_PARTITIONS_ADDED] = "partitions_added",
        [REBALANCE_TOPIC_DELETED] = "topic_deleted",
    };
    const uint64_t ended = stats->successful + stats->failed;
    json_member_u64(r, "total_rebalances", stats->total);
    json_member_u64(r, "successful_rebalances", stats->successful);
    json_member_u64(r, "failed_rebalances", stats->failed);
    json_member_u64(r, "total_partitions_revoked", stats->partitions_revoked);
    json_member_u64(r, "total_partitions_assigned", stats->partitions_assigned);
    json_member_u64(r, "total_revocation_timeouts", stats->revocation_timeouts);
    json_member_i64(r, "last_rebalance_duration_ms", stats->last_duration_us / 1000);
    json_write_key(&r->json, "average_rebalance_duration_ms");
    json_write_double(&r->json,
                      ended == 0 ? 0 : (double)stats->duration_sum_us / 1000 / (double)ended);
    if (stats->last_us > 0)
        json_member_time(r, "last_rebalance_at", stats->last_us);
    json_write_key(&r->json, "rebalances_by_reason");
    json_write_object_begin(&r->json);
    for (unsigned i = 0; i < REBALANCE_REASON_COUNT; i++)
        json_member_u64(r, reasons[i], stats->by_reason[i]);
    json_write_object_end(&r->json);
}
