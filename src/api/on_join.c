/* POST /groups/{g}/join and /groups/{g}/join/cooperative. */
#include <sodium.h>

#include "api/group_reply.h"
#include "api/member_body.h"
#include "api/reply.h"
#include "api/route.h"
#include "std/check.h"

enum {
    SESSION_DEFAULT_S = 30,
    SESSION_LOWEST_S = 1,
    SESSION_HIGHEST_S = 1800,
    IN_FLIGHT_HIGHEST = 100000,
    DELIVERIES_HIGHEST = 1000,
    MEMBER_ID_RANDOM_SIZE = 8, /* bytes, in hex behind the client id */
};

#define SECOND_US             1000000LL
#define VISIBILITY_LOWEST_US  1000LL
#define VISIBILITY_HIGHEST_US (12LL * 3600 * SECOND_US)

/* NULL: the request is answered with an error. */
static const struct joined *joined_of(struct request *r)
{
    const struct join_request *join = &r->op.join;
    if (reply_if_failed(r))
        return NULL;
    if (join->result.status != ST_OK) {
        reply_error(r, join->result.status);
        return NULL;
    }
    CHECK(join->index < join->result.join.joined_count);
    const struct joined *joined = &join->result.join.joined[join->index];
    if (joined->status == ST_OK)
        return joined;
    reply_error(r, joined->status);
    return NULL;
}

static void write_joined(struct request *r, const struct joined *joined)
{
    const struct result_group_join *result = &r->op.join.result.join;
    struct json_writer *w = &r->json;
    json_member_span(r, "member_id", joined->member_id);
    json_member_u64(r, "generation", result->generation);
    json_member_bool(r, "leader", joined->leader);
    json_member_span(r, "leader_id", result->leader_id);
    group_write_labels(r, "assigned_partitions", joined->assigned, joined->assigned_count);
    json_write_key(w, "members");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < result->member_count; i++)
        json_write_string(w, result->member_ids[i]);
    json_write_array_end(w);
    group_write_partitions(r, "assignments", joined->assigned, joined->assigned_count);
    json_member_duration(r, "session_timeout", r->op.join.joiner.session_us);
}

static void write_partition_numbers(struct request *r, const struct joined *joined)
{
    json_write_key(&r->json, "partitions");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < joined->assigned_count; i++)
        json_write_uint64(&r->json, joined->assigned[i].partition);
    json_write_array_end(&r->json);
}

static void then_joined(struct request *r)
{
    const struct joined *joined = joined_of(r);
    if (joined == NULL)
        return;
    r->out.size_max = GROUP_REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    write_joined(r, joined);
    json_member_bool(r, "rebalance_required", false);
    if (r->op.join.joiner.topic_count == 1)
        write_partition_numbers(r, joined);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void then_joined_cooperative(struct request *r)
{
    const struct joined *joined = joined_of(r);
    if (joined == NULL)
        return;
    r->out.size_max = GROUP_REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    write_joined(r, joined);
    json_member_bool(r, "rebalance_required", joined->waits);
    json_member_text(r, "protocol", protocol_text(r->op.join.joiner.cooperative));
    json_write_object_end(&r->json);
    reply_send(r, 200);
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

/* One of two words, the first of which is the default. */
static bool read_choice(struct fields *f, const char *name, const char *first, const char *second,
                        bool *out_second)
{
    struct span text;
    *out_second = false;
    if (!fields_string(f, name, false, &text))
        return false;
    *out_second = span_equal(text, span_text(second));
    if (!*out_second && !span_equal(text, span_text(first)))
        fields_problem(f, "%s: must be \"%s\" or \"%s\"", name, first, second);
    return true;
}

static void read_limits(struct fields *f, struct joiner *joiner)
{
    int64_t in_flight = f->r->config->in_flight_max;
    int64_t deliveries = 0; /* each topic's own */
    (void)fields_duration(f, "visibility_timeout", VISIBILITY_LOWEST_US, VISIBILITY_HIGHEST_US,
                          &joiner->visibility_us);
    (void)fields_int(f, "max_in_flight", false, 1, IN_FLIGHT_HIGHEST, &in_flight);
    (void)fields_int(f, "max_deliveries", false, 1, DELIVERIES_HIGHEST, &deliveries);
    joiner->in_flight_max = (uint32_t)in_flight;
    joiner->deliveries_max = (uint32_t)deliveries;
}

/* All that both kinds of joins take. False: a topic cannot exist. */
static bool read_joiner(struct fields *f, struct joiner *joiner)
{
    bool by_key = false;
    (void)member_body_id(f, "client_id", true, NAME_SIZE_MAX, &joiner->client_id);
    const bool possible = read_topics(f, joiner);
    read_session(f, joiner);
    joiner->rejoin = member_body_id(f, "member_id", false, MEMBER_ID_SIZE_MAX, &joiner->member_id);
    (void)read_choice(f, "auto_offset_reset", "earliest", "latest", &joiner->from_latest);
    read_limits(f, joiner);
    if (read_choice(f, "ordering", "none", "key", &by_key))
        joiner->ordering = by_key ? ORDERING_KEY : ORDERING_NONE;
    return possible;
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

static void join(struct request *r, bool may_be_cooperative, void (*then)(struct request *r))
{
    struct span group;
    struct joiner joiner = {0};
    struct fields f;
    if (!request_group_param(r, 0, &group))
        return;
    fields_init(&f, r, false);
    const bool possible = read_joiner(&f, &joiner);
    if (may_be_cooperative) {
        bool eager = false;
        (void)read_choice(&f, "protocol", "cooperative", "eager", &eager);
        joiner.cooperative = !eager;
    }
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
    request_submit(r, then);
}

void on_group_join(struct request *r)
{
    join(r, false, then_joined);
}

void on_group_join_cooperative(struct request *r)
{
    join(r, true, then_joined_cooperative);
}
