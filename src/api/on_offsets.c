/* GET and POST /groups/{g}/offsets: where a group stands, and setting it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/member_body.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "std/clock.h"

enum { ENTRIES_MAX = 65536 };

/* The entries of a commit while they are read. */
struct offsets_reading {
    struct fields *f;
    struct offset_entry *entries;
    uint32_t count;
    bool impossible_topic; /* a name that no topic can have */
};

static void write_offsets(struct request *r, const char *name, const struct query_result *result)
{
    struct json_writer *w = &r->json;
    struct span topic = {0};
    json_write_key(w, name);
    json_write_object_begin(w);
    for (uint32_t i = 0; i < result->offset_count; i++) {
        const struct offset_info *info = &result->offsets[i];
        if (i == 0 || !span_equal(info->topic, topic)) {
            if (i > 0)
                json_write_object_end(w);
            topic = info->topic;
            json_write_key_string(w, name_strip(topic));
            json_write_object_begin(w);
        }
        char partition[16];
        (void)snprintf(partition, sizeof partition, "%" PRIu32, info->partition);
        json_write_key_span(w, span_text(partition));
        json_write_uint64(w, info->offset);
    }
    if (result->offset_count > 0)
        json_write_object_end(w);
    json_write_object_end(w);
}

static void then_offsets(struct request *r)
{
    const struct query_result *result = &r->op.query_result;
    if (reply_if_query_failed(r))
        return;
    json_write_object_begin(&r->json);
    write_offsets(r, "offsets", result);
    write_offsets(r, "topics", result);
    json_member_span(r, "group_id", r->params[0]);
    json_member_u64(r, "generation", result->generation);
    json_member_time(r, "updated_at", clock_wall_us());
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_offsets_get(struct request *r)
{
    struct span group;
    if (!request_group_param(r, 0, &group))
        return;
    struct span topic = request_query(r, "topic");
    struct query query = {.type = QUERY_OFFSETS, .scope = r->scope, .name = group};
    if (topic.size > 0)
        query.topic = request_qualify(r, topic);
    request_submit_query(r, query, then_offsets);
}

static void add_entry(struct offsets_reading *in, struct span topic, uint32_t partition,
                      const json_t *offset)
{
    if (!json_is_integer(offset) || json_integer_value(offset) < 0) {
        fields_problem(in->f, "offsets: must be integers of 0 or more");
        return;
    }
    if (in->count == ENTRIES_MAX) {
        fields_problem(in->f, "offsets: must have at most %d entries", ENTRIES_MAX);
        return;
    }
    in->entries[in->count++] = (struct offset_entry){
        .topic = topic, .partition = partition, .offset = (uint64_t)json_integer_value(offset)};
}

static struct span read_topic(struct offsets_reading *in, struct span name)
{
    in->impossible_topic |= !name_is_topic_address(name);
    return request_qualify(in->f->r, name);
}

/* {"orders": {"0": 17}} */
static void read_map(struct offsets_reading *in, json_t *offsets)
{
    const char *name;
    json_t *partitions;
    json_object_foreach(offsets, name, partitions)
    {
        if (!json_is_object(partitions)) {
            fields_problem(in->f, "offsets: must be an object of objects");
            return;
        }
        struct span topic = read_topic(in, span_text(name));
        const char *key;
        json_t *offset;
        json_object_foreach(partitions, key, offset)
        {
            uint32_t partition;
            if (!fields_partition_name(key, &partition)) {
                fields_problem(in->f, "offsets: a partition must be a number from 0 on");
                return;
            }
            add_entry(in, topic, partition, offset);
        }
    }
}

/* [{"topic": "orders", "partition": 0, "offset": 17}] */
static void read_list(struct offsets_reading *in, json_t *offsets)
{
    size_t i;
    json_t *item;
    json_array_foreach(offsets, i, item)
    {
        const json_t *topic = json_object_get(item, "topic");
        const json_t *partition = json_object_get(item, "partition");
        if (!json_is_string(topic) || !json_is_integer(partition) ||
            json_integer_value(partition) < 0) {
            fields_problem(in->f, "offsets[%zu]: must have topic, partition and offset", i);
            return;
        }
        const json_int_t number = json_integer_value(partition);
        add_entry(in, read_topic(in, fields_text_of(topic)),
                  number > UINT32_MAX ? UINT32_MAX : (uint32_t)number,
                  json_object_get(item, "offset"));
    }
}

static size_t count_entries(json_t *offsets)
{
    if (json_is_array(offsets))
        return json_array_size(offsets);
    size_t count = 0;
    const char *name;
    json_t *partitions;
    json_object_foreach(offsets, name, partitions) count += json_object_size(partitions);
    return count;
}

static void read_offsets(struct offsets_reading *in)
{
    json_t *offsets = fields_get(in->f, "offsets");
    if (fields_failed(in->f))
        return;
    if (offsets == NULL) {
        fields_problem(in->f, "offsets: is required");
        return;
    }
    size_t count = count_entries(offsets);
    in->entries = arena_array(&in->f->r->op.arena, count < ENTRIES_MAX ? count + 1 : ENTRIES_MAX,
                              sizeof *in->entries);
    if (json_is_object(offsets))
        read_map(in, offsets);
    else if (json_is_array(offsets))
        read_list(in, offsets);
    else
        fields_problem(in->f, "offsets: must be an object");
    if (!fields_failed(in->f) && in->count == 0)
        fields_problem(in->f, "offsets: must not be empty");
}

static void then_committed(struct request *r)
{
    const char *echo = r->state;
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "committed", true);
    json_member_text(r, "status", "committed");
    json_member_span(r, "group", r->params[0]);
    json_write_key(&r->json, "offsets");
    json_write_raw(&r->json, span_text(echo));
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

/* The offsets as they came, for the reply; the body's tree goes before. */
static char *copy_offsets(struct fields *f)
{
    char *text = json_dumps(fields_get(f, "offsets"), JSON_COMPACT);
    char *copy = arena_string(&f->r->op.arena, span_text(text == NULL ? "{}" : text));
    free(text);
    return copy;
}

void on_offsets_commit(struct request *r)
{
    struct command cmd = {.type = COMMAND_OFFSETS_COMMIT};
    struct command_offsets_commit *commit = &cmd.offsets_commit;
    struct fields f;
    if (!request_group_param(r, 0, &commit->group))
        return;
    fields_init(&f, r, false);
    struct offsets_reading in = {.f = &f};
    member_body_identity(&f, &commit->member_id, &commit->generation);
    read_offsets(&in);
    if (fields_reply(&f))
        return;
    r->state = copy_offsets(&f);
    commit->entries = in.entries;
    commit->entry_count = in.count;
    fields_fini(&f);
    if (in.impossible_topic) {
        reply_error(r, ST_TOPIC_NOT_FOUND);
        return;
    }
    request_submit_command(r, &cmd, then_committed);
}
