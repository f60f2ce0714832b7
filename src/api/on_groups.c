/* Consumer groups: list, details, delete, leave. */
#include "api/group_reply.h"
#include "api/member_body.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "std/check.h"

static void submit_query(struct request *r, enum query_type type, struct span name,
                         void (*then)(struct request *r))
{
    request_submit_query(r, (struct query){.type = type, .scope = r->scope, .name = name}, then);
}

static void then_list(struct request *r)
{
    if (reply_if_query_failed(r))
        return;
    const struct query_result *result = &r->op.query_result;
    struct json_writer *w = &r->json;
    r->out.size_max = GROUP_REPLY_SIZE_MAX;
    json_write_object_begin(w);
    json_write_key(w, "groups");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < result->group_count; i++)
        json_write_string(w, name_strip(result->groups[i].name));
    json_write_array_end(w);
    json_write_key(w, "group_details");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < result->group_count; i++) {
        const struct group_info *group = &result->groups[i];
        json_write_object_begin(w);
        json_member_span(r, "id", name_strip(group->name));
        json_member_text(r, "state", group_state(group));
        json_member_u64(r, "members", group->member_count);
        json_member_u64(r, "generation", group->generation);
        group_write_topics(r, group);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    json_write_object_end(w);
    reply_send(r, 200);
}

void on_groups_list(struct request *r)
{
    submit_query(r, QUERY_GROUPS, span_of(NULL, 0), then_list);
}

static void write_member(struct request *r, const struct member_info *member)
{
    struct json_writer *w = &r->json;
    json_write_object_begin(w);
    json_member_span(r, "member_id", member->member_id);
    json_member_span(r, "id", member->member_id);
    json_member_span(r, "client_id", member->client_id);
    group_write_labels(r, "assigned_partitions", member->assigned, member->assigned_count);
    group_write_labels(r, "partitions", member->assigned, member->assigned_count);
    json_member_time(r, "joined_at", member->joined_us);
    if (member->last_seen_us > 0)
        json_member_time(r, "last_heartbeat", member->last_seen_us);
    json_write_object_end(w);
}

static void then_details(struct request *r)
{
    if (reply_if_query_failed(r))
        return;
    CHECK(r->op.query_result.group_count == 1);
    const struct group_info *group = &r->op.query_result.groups[0];
    struct span name = name_strip(group->name);
    struct json_writer *w = &r->json;
    r->out.size_max = GROUP_REPLY_SIZE_MAX;
    json_write_object_begin(w);
    json_member_span(r, "group_id", name);
    json_member_span(r, "id", name);
    json_member_text(r, "state", group_state(group));
    json_member_u64(r, "generation", group->generation);
    json_member_text(r, "protocol", "cooperative-sticky");
    json_member_text(r, "ordering", group->ordering == ORDERING_KEY ? "key" : "none");
    if (group->member_count > 0)
        json_member_span(r, "leader_id", group->members[0].member_id);
    json_member_time(r, "created_at", group->created_us);
    group_write_topics(r, group);
    json_write_key(w, "members");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < group->member_count; i++)
        write_member(r, &group->members[i]);
    json_write_array_end(w);
    json_write_object_end(w);
    reply_send(r, 200);
}

void on_group_get(struct request *r)
{
    struct span group;
    if (request_group_param(r, 0, &group))
        submit_query(r, QUERY_GROUP, group, then_details);
}

static void then_deleted(struct request *r)
{
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "deleted", true);
    json_member_span(r, "group", r->params[0]);
    json_member_span(r, "group_id", r->params[0]);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_group_delete(struct request *r)
{
    struct command cmd = {.type = COMMAND_GROUP_DELETE};
    if (request_group_param(r, 0, &cmd.group_delete.group))
        request_submit_command(r, &cmd, then_deleted);
}

static void then_left(struct request *r)
{
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "left", true);
    json_member_text(r, "status", "left");
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_group_leave(struct request *r)
{
    struct command cmd = {.type = COMMAND_GROUP_LEAVE, .group_leave = {.reason = LEAVE_ASKED}};
    struct fields f;
    if (!request_group_param(r, 0, &cmd.group_leave.group))
        return;
    fields_init(&f, r, false);
    (void)member_body_id(&f, "member_id", true, MEMBER_ID_SIZE_MAX, &cmd.group_leave.member_id);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    request_submit_command(r, &cmd, then_left);
}
