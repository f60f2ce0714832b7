/* Topics: create, list, get, delete, partitions. Contract 4.2. */
#include <stdio.h>

#include "api/fields.h"
#include "api/reply.h"
#include "api/route.h"
#include "node/topic_defaults.h"

#define US_PER_HOUR         (3600LL * 1000 * 1000)
#define VISIBILITY_US_MAX   (12 * US_PER_HOUR)
#define RETENTION_HOURS_MAX 876000

enum { DELIVERIES_MAX = 1000, IN_FLIGHT_MAX = 1000000, DELAYED_MAX = 100000000 };

static const char *const priority_modes[] = {
    [PRIORITY_STRICT] = "strict", [PRIORITY_WEIGHTED] = "weighted"};

static int64_t retention_hours(const struct topic_settings *settings)
{
    return settings->retention_us < 0 ? -1 : settings->retention_us / US_PER_HOUR;
}

static void read_cleanup(struct fields *f, struct topic_settings *settings)
{
    struct span policy = {0};
    if (!fields_string(f, "cleanup_policy", false, &policy))
        return;
    if (span_equal(policy, span_text("compact")))
        settings->cleanup = CLEANUP_COMPACT;
    else if (!span_equal(policy, span_text("delete")))
        fields_problem(f, "cleanup_policy: must be \"delete\" or \"compact\"");
}

static void read_priority_mode(struct fields *f, struct topic_settings *settings)
{
    struct span mode = {0};
    if (!fields_string(f, "priority_mode", false, &mode))
        return;
    if (span_equal(mode, span_text(priority_modes[PRIORITY_STRICT])))
        settings->priority_mode = PRIORITY_STRICT;
    else if (span_equal(mode, span_text(priority_modes[PRIORITY_WEIGHTED])))
        settings->priority_mode = PRIORITY_WEIGHTED;
    else
        fields_problem(f, "priority_mode: must be \"strict\" or \"weighted\"");
}

static void read_delivery(struct fields *f, struct topic_settings *settings)
{
    int64_t deliveries = settings->deliveries_max;
    int64_t in_flight = settings->in_flight_max;
    int64_t delayed = settings->delayed_max;
    (void)fields_duration(f, "visibility_timeout", 1000, VISIBILITY_US_MAX,
                          &settings->visibility_us);
    (void)fields_int(f, "max_deliveries", false, 1, DELIVERIES_MAX, &deliveries);
    (void)fields_int(f, "max_in_flight", false, 0, IN_FLIGHT_MAX, &in_flight);
    (void)fields_int(f, "max_delayed", false, 0, DELAYED_MAX, &delayed);
    read_priority_mode(f, settings);
    settings->deliveries_max = (uint32_t)deliveries;
    settings->in_flight_max = (uint32_t)in_flight;
    settings->delayed_max = (uint32_t)delayed;
}

static void read_topic(struct fields *f, struct command_topic_create *create)
{
    struct topic_settings *settings = &create->settings;
    int64_t partitions = f->r->config->partitions;
    int64_t hours = retention_hours(settings);
    (void)fields_string(f, "name", true, &create->name);
    if (!fields_failed(f) && !name_is_topic_address(create->name))
        fields_problem(f, "name: must be 1 to 255 of A-Z a-z 0-9 _ -, not starting with __");
    if (!fields_int(f, "num_partitions", false, 1, PARTITIONS_MAX, &partitions))
        (void)fields_int(f, "partitions", false, 1, PARTITIONS_MAX, &partitions);
    if (fields_int(f, "retention_hours", false, -1, RETENTION_HOURS_MAX, &hours) && hours == 0)
        fields_problem(f, "retention_hours: must be at least 1, or -1 for unlimited");
    (void)fields_int(f, "retention_bytes", false, -1, INT64_MAX, &settings->retention_bytes);
    read_cleanup(f, settings);
    read_delivery(f, settings);
    create->partition_count = (uint32_t)partitions;
    settings->retention_us = hours < 0 ? -1 : hours * US_PER_HOUR;
}

/* The name that was created lies in r->state. */
static void on_created(struct request *r)
{
    const struct span *name = r->state;
    const struct result_topic *topic = &r->op.result.topic;
    if (r->op.failed == ST_OK && r->op.result.status == ST_TOPIC_EXISTS) {
        reply_error_begin(r, ST_TOPIC_EXISTS, NULL);
        json_member_span(r, "name", *name);
        json_member_u64(r, "partitions", topic->partition_count);
        json_member_bool(r, "created", false);
        reply_error_end(r, ST_TOPIC_EXISTS);
        return;
    }
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_span(r, "name", *name);
    json_member_u64(r, "partitions", topic->partition_count);
    json_member_bool(r, "created", true);
    json_member_i64(r, "retention_hours", retention_hours(&topic->settings));
    json_write_object_end(&r->json);
    reply_send(r, 201);
}

void on_topic_create(struct request *r)
{
    struct command cmd = {.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create.settings = topic_default_settings(r->config);
    struct fields f;
    fields_init(&f, r, false);
    read_topic(&f, &cmd.topic_create);
    if (fields_reply(&f))
        return;
    struct span *name = arena_new(&r->op.arena, struct span);
    *name = arena_copy(&r->op.arena, cmd.topic_create.name);
    fields_fini(&f);
    cmd.topic_create.name = request_qualify(r, *name);
    r->state = name;
    request_submit_command(r, &cmd, on_created);
}

static void on_deleted(struct request *r)
{
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "deleted", true);
    json_member_span(r, "name", r->params[0]);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_topic_delete(struct request *r)
{
    struct command cmd = {.type = COMMAND_TOPIC_DELETE};
    if (request_topic_param(r, 0, &cmd.topic_delete.name))
        request_submit_command(r, &cmd, on_deleted);
}

static void on_listed(struct request *r)
{
    const struct query_result *result = &r->op.query_result;
    json_write_object_begin(&r->json);
    json_write_key(&r->json, "topics");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < result->topic_count; i++)
        json_write_string(&r->json, name_strip(result->topics[i].name));
    json_write_array_end(&r->json);
    json_member_u64(r, "count", result->topic_count);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_topics_list(struct request *r)
{
    request_submit_query(r, (struct query){.type = QUERY_TOPICS, .scope = r->scope}, on_listed);
}

static int64_t latest_offset(const struct partition_info *p)
{
    return p->next_offset == 0 ? -1 : (int64_t)(p->next_offset - 1);
}

static void write_partition_offsets(struct request *r, const struct topic_info *topic)
{
    char number[16];
    json_write_key(&r->json, "partition_offsets");
    json_write_object_begin(&r->json);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_info *p = &topic->partitions[i];
        (void)snprintf(number, sizeof number, "%u", i);
        json_write_key(&r->json, number);
        json_write_object_begin(&r->json);
        json_member_u64(r, "earliest", p->start_offset);
        json_member_i64(r, "latest", latest_offset(p));
        json_member_u64(r, "next", p->next_offset);
        json_write_object_end(&r->json);
    }
    json_write_object_end(&r->json);
}

static void write_settings(struct request *r, const struct topic_settings *settings)
{
    json_member_i64(r, "retention_hours", retention_hours(settings));
    json_member_i64(r, "retention_bytes", settings->retention_bytes);
    json_member_text(r, "cleanup_policy",
                     settings->cleanup == CLEANUP_COMPACT ? "compact" : "delete");
    json_member_duration(r, "visibility_timeout", settings->visibility_us);
    json_member_u64(r, "max_deliveries", settings->deliveries_max);
    json_member_u64(r, "max_in_flight", settings->in_flight_max);
    json_member_u64(r, "max_delayed", settings->delayed_max);
    json_member_text(r, "priority_mode", priority_modes[settings->priority_mode]);
}

static void write_dead_letter_topic(struct request *r, const struct topic_info *topic)
{
    json_write_key(&r->json, "dlq_topic");
    if (!topic->has_dead_letter_topic) {
        json_write_null(&r->json);
        return;
    }
    const struct span name = name_strip(topic->name);
    char text[QUALIFIED_NAME_SIZE_MAX + sizeof DEAD_LETTER_SUFFIX];
    const int size = snprintf(text, sizeof text, "%.*s" DEAD_LETTER_SUFFIX, SPAN_ARG(name));
    json_write_string(&r->json, span_of(text, (size_t)size));
}

static void on_got(struct request *r)
{
    const struct query_result *result = &r->op.query_result;
    if (reply_if_query_failed(r))
        return;
    const struct topic_info *topic = &result->topics[0];
    uint64_t messages = 0, size_bytes = 0;
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        messages += topic->partitions[i].message_count;
        size_bytes += topic->partitions[i].size_bytes;
    }
    json_write_object_begin(&r->json);
    json_member_span(r, "name", name_strip(topic->name));
    json_member_u64(r, "partitions", topic->partition_count);
    json_member_u64(r, "total_messages", messages);
    json_member_u64(r, "total_size_bytes", size_bytes);
    write_partition_offsets(r, topic);
    write_settings(r, &topic->settings);
    json_member_time(r, "created_at", topic->created_us);
    write_dead_letter_topic(r, topic);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_topic_get(struct request *r)
{
    struct query query = {.type = QUERY_TOPIC};
    if (request_topic_param(r, 0, &query.name))
        request_submit_query(r, query, on_got);
}

static void write_nodes(struct request *r, const char *name)
{
    json_write_key(&r->json, name);
    json_write_array_begin(&r->json);
    json_write_text(&r->json, r->config->node_id);
    json_write_array_end(&r->json);
}

static void on_got_partitions(struct request *r)
{
    const struct query_result *result = &r->op.query_result;
    if (reply_if_query_failed(r))
        return;
    const struct topic_info *topic = &result->topics[0];
    json_write_object_begin(&r->json);
    json_member_span(r, "topic", name_strip(topic->name));
    json_write_key(&r->json, "partitions");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_info *p = &topic->partitions[i];
        json_write_object_begin(&r->json);
        json_member_u64(r, "partition", i);
        json_member_text(r, "leader", r->config->node_id);
        write_nodes(r, "replicas");
        write_nodes(r, "isr");
        json_member_u64(r, "version", 0);
        json_member_u64(r, "earliest", p->start_offset);
        json_member_i64(r, "latest", latest_offset(p));
        json_member_u64(r, "next", p->next_offset);
        json_member_u64(r, "messages", p->message_count);
        json_member_u64(r, "size_bytes", p->size_bytes);
        json_write_object_end(&r->json);
    }
    json_write_array_end(&r->json);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_topic_partitions(struct request *r)
{
    struct query query = {.type = QUERY_TOPIC};
    if (request_topic_param(r, 0, &query.name))
        request_submit_query(r, query, on_got_partitions);
}
