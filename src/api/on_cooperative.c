/* Partitions that change hands: letting go of them, who has which, and the group's view of it. */
#include "api/group_reply.h"
#include "api/member_body.h"
#include "api/reply.h"
#include "api/route.h"
#include "std/check.h"

static void then_revoked(struct request *r)
{
    const struct result_revoke *revoke = &r->op.result.revoke;
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_text(r, "status", "acknowledged");
    json_member_u64(r, "pending_count", revoke->pending_count);
    json_member_text(r, "rebalance_state", revoke->rebalancing ? "pending_revoke" : "complete");
    json_member_u64(r, "generation", revoke->generation);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

/* What cannot be a partition is passed over, as one that the member is not asked for. */
static void read_revoked(struct fields *f, struct command_group_revoke *revoke)
{
    json_t *list;
    if (!fields_array(f, "revoked_partitions", true, &list))
        return;
    const size_t count = json_array_size(list);
    if (count > REVOKED_PER_COMMAND_MAX) {
        fields_problem(f, "revoked_partitions: must have at most %d elements",
                       REVOKED_PER_COMMAND_MAX);
        return;
    }
    revoke->entries = arena_array(&f->r->op.arena, count, sizeof *revoke->entries);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        const json_t *topic = json_object_get(item, "topic");
        const json_t *partition = json_object_get(item, "partition");
        if (!json_is_string(topic) || !json_is_integer(partition) ||
            json_integer_value(partition) < 0) {
            fields_problem(f,
                           "revoked_partitions[%zu]: must have topic, a string, and partition, "
                           "an integer of 0 or more",
                           i);
            return;
        }
        const struct span name = fields_text_of(topic);
        if (name_is_topic_address(name) && json_integer_value(partition) < PARTITIONS_MAX)
            revoke->entries[revoke->entry_count++] =
                (struct revoked_entry){.topic = request_qualify(f->r, name),
                                       .partition = (uint32_t)json_integer_value(partition)};
    }
}

void on_group_revoke(struct request *r)
{
    struct command cmd = {.type = COMMAND_GROUP_REVOKE};
    struct command_group_revoke *revoke = &cmd.group_revoke;
    struct fields f;
    if (!request_group_param(r, 0, &revoke->group))
        return;
    fields_init(&f, r, false);
    member_body_identity(&f, &revoke->member_id, &revoke->generation);
    read_revoked(&f, revoke);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    request_submit_command(r, &cmd, then_revoked);
}

static const struct group_info *group_of(const struct request *r)
{
    CHECK(r->op.query_result.group_count == 1);
    return &r->op.query_result.groups[0];
}

static void then_assignment(struct request *r)
{
    if (reply_if_query_failed(r))
        return;
    const struct group_info *group = group_of(r);
    const struct span member_id = request_query(r, "member_id");
    const struct member_info *member = NULL;
    for (uint32_t i = 0; i < group->member_count && member == NULL; i++)
        if (span_equal(group->members[i].member_id, member_id))
            member = &group->members[i];
    if (member == NULL) {
        reply_error(r, ST_MEMBER_NOT_FOUND);
        return;
    }
    r->out.size_max = GROUP_REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_member_span(r, "member_id", member->member_id);
    json_member_u64(r, "generation", group->generation);
    group_write_partitions(r, "partitions", member->assigned, member->assigned_count);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_group_assignment(struct request *r)
{
    struct query query = {.type = QUERY_GROUP};
    if (!request_group_param(r, 0, &query.name))
        return;
    if (request_query(r, "member_id").size == 0)
        reply_error_text(r, ST_INVALID_ARGUMENT, "member_id: is required");
    else
        request_submit_query(r, query, then_assignment);
}

static void write_members(struct request *r, const struct group_info *group)
{
    struct json_writer *w = &r->json;
    json_write_key(w, "members");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct member_info *member = &group->members[i];
        json_write_object_begin(w);
        json_member_span(r, "id", member->member_id);
        json_member_span(r, "client_id", member->client_id);
        json_member_text(r, "protocol", protocol_text(member->cooperative));
        group_write_partitions(r, "assigned_partitions", member->assigned, member->assigned_count);
        if (member->last_seen_us > 0)
            json_member_time(r, "last_heartbeat", member->last_seen_us);
        json_member_time(r, "joined_at", member->joined_us);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void write_member_assignments(struct request *r, const struct group_info *group)
{
    json_write_key(&r->json, "member_assignments");
    json_write_object_begin(&r->json);
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct member_info *member = &group->members[i];
        json_write_key_string(&r->json, member->member_id);
        group_write_partition_list(r, member->assigned, member->assigned_count);
    }
    json_write_object_end(&r->json);
}

static bool is_cooperative(const struct group_info *group)
{
    for (uint32_t i = 0; i < group->member_count; i++)
        if (group->members[i].cooperative)
            return true;
    return false;
}

static void then_cooperative(struct request *r)
{
    if (reply_if_query_failed(r))
        return;
    const struct group_info *group = group_of(r);
    r->out.size_max = GROUP_REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_member_span(r, "id", name_strip(group->name));
    json_member_text(r, "state", group_state(group));
    json_member_u64(r, "generation", group->generation);
    json_member_text(r, "protocol", protocol_text(is_cooperative(group)));
    json_member_text(r, "assignment_strategy", "sticky");
    json_member_text(r, "rebalance_state", group->rebalancing ? "pending_revoke" : "none");
    group_write_topics(r, group);
    write_members(r, group);
    write_member_assignments(r, group);
    json_write_key(&r->json, "rebalance_metrics");
    json_write_object_begin(&r->json);
    group_write_rebalance_stats(r, &group->rebalances);
    json_write_object_end(&r->json);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_group_cooperative(struct request *r)
{
    struct query query = {.type = QUERY_GROUP};
    if (request_group_param(r, 0, &query.name))
        request_submit_query(r, query, then_cooperative);
}
