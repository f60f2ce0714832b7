/* POST /groups/{g}/heartbeat and /groups/{g}/heartbeat/cooperative. */
#include "api/group_reply.h"
#include "api/member_body.h"
#include "api/reply.h"
#include "api/route.h"

static bool reply_if_beat_failed(struct request *r)
{
    if (reply_if_failed(r))
        return true;
    if (r->op.heartbeat.status == ST_OK)
        return false;
    reply_error(r, r->op.heartbeat.status);
    return true;
}

static void then_heartbeat(struct request *r)
{
    const struct heartbeat_request *beat = &r->op.heartbeat;
    if (reply_if_beat_failed(r))
        return;
    r->out.size_max = GROUP_REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_member_bool(r, "rebalance_required", beat->rebalance_required);
    json_member_text(r, "state", beat->rebalance_required ? "rebalancing" : "stable");
    json_member_u64(r, "generation", beat->current_generation);
    group_write_labels(r, "assigned_partitions", beat->assigned, beat->assigned_count);
    json_member_text(r, "status", "ok");
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static const char *handover_state(const struct heartbeat_request *beat)
{
    if (beat->to_revoke_count > 0)
        return "pending_revoke";
    if (beat->waits)
        return "pending_assign";
    const bool old = beat->generation >= 0 && beat->generation < (int64_t)beat->current_generation;
    return beat->gained_count > 0 || old ? "complete" : "none";
}

static void then_heartbeat_cooperative(struct request *r)
{
    const struct heartbeat_request *beat = &r->op.heartbeat;
    if (reply_if_beat_failed(r))
        return;
    r->out.size_max = GROUP_REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_member_bool(r, "rebalance_required",
                     beat->to_revoke_count > 0 || beat->gained_count > 0 || beat->waits ||
                         beat->rebalance_required);
    json_member_text(r, "state", handover_state(beat));
    if (beat->to_revoke_count > 0) {
        group_write_partitions(r, "partitions_to_revoke", beat->to_revoke, beat->to_revoke_count);
        json_member_time(r, "revocation_deadline", beat->revoke_by_us);
    }
    if (beat->gained_count > 0)
        group_write_partitions(r, "partitions_assigned", beat->gained, beat->gained_count);
    json_member_u64(r, "generation", beat->current_generation);
    json_member_text(r, "protocol", protocol_text(beat->member_cooperative));
    group_write_labels(r, "assigned_partitions", beat->assigned, beat->assigned_count);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void heartbeat(struct request *r, bool cooperative, void (*then)(struct request *r))
{
    struct heartbeat_request beat = {.cooperative = cooperative, .arena = &r->op.arena};
    struct fields f;
    if (!request_group_param(r, 0, &beat.group))
        return;
    fields_init(&f, r, false);
    member_body_identity(&f, &beat.member_id, &beat.generation);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    r->op.kind = OP_HEARTBEAT;
    r->op.heartbeat = beat;
    request_submit(r, then);
}

void on_group_heartbeat(struct request *r)
{
    heartbeat(r, false, then_heartbeat);
}

void on_group_heartbeat_cooperative(struct request *r)
{
    heartbeat(r, true, then_heartbeat_cooperative);
}
