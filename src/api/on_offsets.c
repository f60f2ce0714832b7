/* GET and POST /groups/{g}/offsets: where a group stands, and setting it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/offsets_body.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "std/clock.h"

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
    bool impossible = !offsets_body_read(&f, commit);
    if (fields_reply(&f))
        return;
    r->state = copy_offsets(&f);
    fields_fini(&f);
    if (impossible) {
        reply_error(r, ST_TOPIC_NOT_FOUND);
        return;
    }
    request_submit_command(r, &cmd, then_committed);
}
