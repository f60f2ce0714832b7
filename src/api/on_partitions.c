/* More partitions for a topic. As everything below /admin, for the default tenant's topics,
 * whatever tenant the request names. */
#include "api/fields.h"
#include "api/reply.h"
#include "api/route.h"

static bool admin_topic(struct request *r, struct span *out)
{
    r->scope = (struct span){0};
    return request_topic_param(r, 0, out);
}

static void write_partitions(struct request *r, uint32_t old_count, uint32_t new_count)
{
    json_member_span(r, "topic_name", r->params[0]);
    json_member_u64(r, "old_partition_count", old_count);
    json_member_u64(r, "new_partition_count", new_count);
    json_write_key(&r->json, "partitions_added");
    json_write_array_begin(&r->json);
    for (uint32_t i = old_count; i < new_count; i++)
        json_write_uint64(&r->json, i);
    json_write_array_end(&r->json);
}

/* partition_count: the topic's; 0: not known. */
static void refuse(struct request *r, enum status st, const char *text, uint32_t partition_count)
{
    reply_error_begin(r, st, text);
    json_member_bool(r, "success", false);
    if (partition_count > 0)
        write_partitions(r, partition_count, partition_count);
    reply_error_end(r, st);
}

static void then_added(struct request *r)
{
    const struct result_add_partitions *added = &r->op.result.add_partitions;
    if (r->op.failed == ST_OK && r->op.result.status == ST_INVALID_ARGUMENT) {
        refuse(r, ST_INVALID_ARGUMENT, r->op.result.detail, added->old_count);
        return;
    }
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "success", true);
    write_partitions(r, added->old_count, added->new_count);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void then_found(struct request *r)
{
    if (!reply_if_query_failed(r))
        refuse(r, ST_INVALID_ARGUMENT, r->state, r->op.query_result.topics[0].partition_count);
}

/* Where replicas are to lie is for a cluster; here it only has to make sense. */
static void read_assignments(struct fields *f)
{
    json_t *assignments, *nodes;
    const char *name;
    uint32_t partition;
    if (!fields_object(f, "replica_assignments", false, &assignments))
        return;
    json_object_foreach(assignments, name, nodes)
    {
        if (!fields_partition_name(name, &partition)) {
            fields_problem(f, "replica_assignments: a partition must be a number from 0 on");
            return;
        }
        bool good = json_is_array(nodes) && json_array_size(nodes) > 0;
        for (size_t i = 0; good && i < json_array_size(nodes); i++) {
            const json_t *node = json_array_get(nodes, i);
            good = json_is_string(node) && json_string_length(node) > 0;
        }
        if (!good) {
            fields_problem(f, "replica_assignments: must have arrays of one or more node ids");
            return;
        }
    }
}

void on_partitions_add(struct request *r)
{
    struct command cmd = {.type = COMMAND_TOPIC_ADD_PARTITIONS};
    struct span *name = &cmd.topic_add_partitions.name;
    struct fields f;
    int64_t count = 0;
    if (!admin_topic(r, name))
        return;
    fields_init(&f, r, false);
    (void)fields_int(&f, "count", true, INT64_MIN, INT64_MAX, &count);
    read_assignments(&f);
    if (fields_failed(&f)) {
        refuse(r, f.status, f.text, 0);
        fields_fini(&f);
        return;
    }
    if (count < 1 || count > PARTITIONS_MAX) { /* said together with what the topic has */
        fields_problem(&f, "count: must be 1 to %d", PARTITIONS_MAX);
        r->state = arena_string(&r->op.arena, span_text(f.text));
        request_submit_query(r, (struct query){.type = QUERY_RESOLVE, .name = *name}, then_found);
    } else {
        cmd.topic_add_partitions.partition_count = (uint32_t)count;
        request_submit_command(r, &cmd, then_added);
    }
    fields_fini(&f);
}

static void then_status(struct request *r)
{
    if (reply_if_query_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_span(r, "topic", r->params[0]);
    json_member_bool(r, "scaling_in_progress", false); /* partitions are there at once */
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_scaling_status(struct request *r)
{
    struct query query = {.type = QUERY_RESOLVE};
    if (admin_topic(r, &query.name))
        request_submit_query(r, query, then_status);
}
