/* Consumer groups: list, details, delete, join, heartbeat, leave. */
#include <sodium.h>

#include "api/fields.h"
#include "api/group_reply.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "std/check.h"

enum {
    SESSION_DEFAULT_S = 30,
    SESSION_LOWEST_S = 1,
    SESSION_HIGHEST_S = 1800,
    IN_FLIGHT_HIGHEST = 100000,
    DELIVERIES_HIGHEST = 1000,
    MEMBER_ID_RANDOM_SIZE = 8, /* bytes, in hex behind the client id */
    /* 256 topics of 1024 partitions with the longest names: a join is never answered with 500. */
    REPLY_SIZE_MAX = 256 * 1024 * 1024,
};

#define SECOND_US             1000000LL
#define VISIBILITY_LOWEST_US  1000LL
#define VISIBILITY_HIGHEST_US (12LL * 3600 * SECOND_US)

static void submit_query(struct request *r, enum query_type type, struct span name,
                         void (*then)(struct request *r))
{
    request_submit_query(r, (struct query){.type = type, .scope = r->scope, .name = name}, then);
}

static void write_topics(struct request *r, const struct group_info *group)
{
    json_write_key(&r->json, "topics");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < group->topic_count; i++)
        json_write_string(&r->json, name_strip(group->topics[i]));
    json_write_array_end(&r->json);
}

static const char *group_state(const struct group_info *group)
{
    return group->member_count > 0 ? "stable" : "dead";
}

static void then_list(struct request *r)
{
    if (reply_if_query_failed(r))
        return;
    const struct query_result *result = &r->op.query_result;
    struct json_writer *w = &r->json;
    r->out.size_max = REPLY_SIZE_MAX;
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
        write_topics(r, group);
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
    r->out.size_max = REPLY_SIZE_MAX;
    json_write_object_begin(w);
    json_member_span(r, "group_id", name);
    json_member_span(r, "id", name);
    json_member_text(r, "state", group_state(group));
    json_member_u64(r, "generation", group->generation);
    json_member_text(r, "protocol", "cooperative-sticky");
    if (group->member_count > 0)
        json_member_span(r, "leader_id", group->members[0].member_id);
    json_member_time(r, "created_at", group->created_us);
    write_topics(r, group);
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

static void write_assignments(struct request *r, const struct joined *joined)
{
    struct json_writer *w = &r->json;
    json_write_key(w, "assignments");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < joined->assigned_count; i++) {
        json_write_object_begin(w);
        json_member_span(r, "topic", name_strip(joined->assigned[i].topic));
        json_member_u64(r, "partition", joined->assigned[i].partition);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    if (r->op.join.joiner.topic_count != 1)
        return;
    json_write_key(w, "partitions");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < joined->assigned_count; i++)
        json_write_uint64(w, joined->assigned[i].partition);
    json_write_array_end(w);
}

static void then_joined(struct request *r)
{
    const struct join_request *join = &r->op.join;
    if (reply_if_failed(r))
        return;
    if (join->result.status != ST_OK) {
        reply_error(r, join->result.status);
        return;
    }
    const struct result_group_join *result = &join->result.join;
    CHECK(join->index < result->joined_count);
    const struct joined *joined = &result->joined[join->index];
    if (joined->status != ST_OK) {
        reply_error(r, joined->status);
        return;
    }
    struct json_writer *w = &r->json;
    r->out.size_max = REPLY_SIZE_MAX;
    json_write_object_begin(w);
    json_member_span(r, "member_id", joined->member_id);
    json_member_u64(r, "generation", result->generation);
    json_member_bool(r, "leader", joined->leader);
    json_member_span(r, "leader_id", result->leader_id);
    group_write_labels(r, "assigned_partitions", joined->assigned, joined->assigned_count);
    json_member_bool(r, "rebalance_required", false);
    json_write_key(w, "members");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < result->member_count; i++)
        json_write_string(w, result->member_ids[i]);
    json_write_array_end(w);
    write_assignments(r, joined);
    json_member_duration(r, "session_timeout", join->joiner.session_us);
    json_write_object_end(w);
    reply_send(r, 200);
}

/* A string that becomes an id: in the arena, since the body's tree goes before the op. */
static bool read_id(struct fields *f, const char *name, bool required, size_t size_max,
                    struct span *out)
{
    struct span id;
    if (!fields_string(f, name, required, &id))
        return false;
    if (id.size == 0 || id.size > size_max)
        fields_problem(f, "%s: must be 1 to %zu bytes", name, size_max);
    else if (memchr(id.data, 0, id.size) != NULL)
        fields_problem(f, "%s: must not contain U+0000", name);
    if (fields_failed(f))
        return false;
    *out = arena_copy(&f->r->op.arena, id);
    return true;
}

/* Qualified, without duplicates. False: one cannot exist. */
static bool read_topics(struct fields *f, struct joiner *joiner)
{
    json_t *topics;
    if (!fields_array(f, "topics", true, &topics))
        return true;
    const size_t count = json_array_size(topics);
    if (count == 0 || count > TOPICS_PER_MEMBER_MAX) {
        fields_problem(f, "topics: must have 1 to %d elements", TOPICS_PER_MEMBER_MAX);
        return true;
    }
    joiner->topics = arena_array(&f->r->op.arena, count, sizeof *joiner->topics);
    bool possible = true;
    for (size_t i = 0; i < count; i++) {
        const json_t *topic = json_array_get(topics, i);
        if (!json_is_string(topic)) {
            fields_problem(f, "topics[%zu]: must be a string", i);
            return true;
        }
        struct span name = fields_text_of(topic);
        if (!name_is_topic_address(name)) {
            possible = false;
            continue;
        }
        name = request_qualify(f->r, name);
        bool known = false;
        for (uint32_t k = 0; k < joiner->topic_count && !known; k++)
            known = span_equal(joiner->topics[k], name);
        if (!known)
            joiner->topics[joiner->topic_count++] = name;
    }
    return possible;
}

static void read_session(struct fields *f, struct joiner *joiner)
{
    int64_t ms;
    joiner->session_us = SESSION_DEFAULT_S * SECOND_US;
    if (!fields_duration(f, "session_timeout", SESSION_LOWEST_S * SECOND_US,
                         SESSION_HIGHEST_S * SECOND_US, &joiner->session_us) &&
        fields_int(f, "session_timeout_ms", false, SESSION_LOWEST_S * 1000LL,
                   SESSION_HIGHEST_S * 1000LL, &ms))
        joiner->session_us = ms * 1000;
}

static void read_offset_reset(struct fields *f, struct joiner *joiner)
{
    struct span reset;
    if (!fields_string(f, "auto_offset_reset", false, &reset))
        return;
    joiner->from_latest = span_equal(reset, span_text("latest"));
    if (!joiner->from_latest && !span_equal(reset, span_text("earliest")))
        fields_problem(f, "auto_offset_reset: must be earliest or latest");
}

static struct span new_member_id(struct arena *arena, struct span client_id)
{
    uint8_t random[MEMBER_ID_RANDOM_SIZE];
    randombytes_buf(random, sizeof random);
    char *id = arena_alloc(arena, client_id.size + 2 + 2 * sizeof random);
    memcpy(id, client_id.data, client_id.size);
    id[client_id.size] = '-';
    (void)sodium_bin2hex(id + client_id.size + 1, 2 * sizeof random + 1, random, sizeof random);
    return span_of(id, client_id.size + 1 + 2 * sizeof random);
}

void on_group_join(struct request *r)
{
    struct span group;
    struct joiner joiner = {0};
    struct fields f;
    if (!request_group_param(r, 0, &group))
        return;
    fields_init(&f, r, false);
    read_id(&f, "client_id", true, NAME_SIZE_MAX, &joiner.client_id);
    const bool possible = read_topics(&f, &joiner);
    read_session(&f, &joiner);
    joiner.rejoin = read_id(&f, "member_id", false, MEMBER_ID_SIZE_MAX, &joiner.member_id);
    read_offset_reset(&f, &joiner);
    (void)fields_duration(&f, "visibility_timeout", VISIBILITY_LOWEST_US, VISIBILITY_HIGHEST_US,
                          &joiner.visibility_us);
    int64_t in_flight = r->config->in_flight_max;
    (void)fields_int(&f, "max_in_flight", false, 1, IN_FLIGHT_HIGHEST, &in_flight);
    int64_t deliveries = 0; /* each topic's own */
    (void)fields_int(&f, "max_deliveries", false, 1, DELIVERIES_HIGHEST, &deliveries);
    joiner.in_flight_max = (uint32_t)in_flight;
    joiner.deliveries_max = (uint32_t)deliveries;
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    if (!possible) {
        reply_error(r, ST_TOPIC_NOT_FOUND);
        return;
    }
    if (!joiner.rejoin)
        joiner.member_id = new_member_id(&r->op.arena, joiner.client_id);
    r->op.kind = OP_JOIN;
    r->op.join = (struct join_request){.group = group, .joiner = joiner, .arena = &r->op.arena};
    request_submit(r, then_joined);
}

static void then_heartbeat(struct request *r)
{
    const struct heartbeat_request *beat = &r->op.heartbeat;
    if (reply_if_failed(r))
        return;
    if (beat->status != ST_OK) {
        reply_error(r, beat->status);
        return;
    }
    r->out.size_max = REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_member_bool(r, "rebalance_required", beat->rebalance_required);
    json_member_text(r, "state", beat->rebalance_required ? "rebalancing" : "stable");
    json_member_u64(r, "generation", beat->current_generation);
    group_write_labels(r, "assigned_partitions", beat->assigned, beat->assigned_count);
    json_member_text(r, "status", "ok");
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_group_heartbeat(struct request *r)
{
    struct heartbeat_request beat = {.generation = -1, .arena = &r->op.arena};
    struct fields f;
    if (!request_group_param(r, 0, &beat.group))
        return;
    fields_init(&f, r, false);
    read_id(&f, "member_id", true, MEMBER_ID_SIZE_MAX, &beat.member_id);
    (void)fields_int(&f, "generation", false, 0, INT64_MAX, &beat.generation);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    r->op.kind = OP_HEARTBEAT;
    r->op.heartbeat = beat;
    request_submit(r, then_heartbeat);
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
    read_id(&f, "member_id", true, MEMBER_ID_SIZE_MAX, &cmd.group_leave.member_id);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    request_submit_command(r, &cmd, then_left);
}
