/* Health, probes, version and statistics. Contract 4.1. */
#include "api/reply.h"
#include "api/route.h"
#include "api/server.h"
#include "api/topics_told.h"
#include "std/clock.h"

enum { HTTP_OK = 200, HTTP_UNAVAILABLE = 503 };

/* Why the broker cannot take requests; NULL: it can. */
static const char *trouble(const struct request *r)
{
    if (shard_has_failed(r->shard))
        return "disk error: the broker accepts no writes until it is restarted";
    if (shard_is_draining(r->shard))
        return "the broker is shutting down";
    return NULL;
}

static int64_t uptime_us(const struct request *r)
{
    return clock_mono_us() - server_start_us(r->server);
}

static void write_probe(struct request *r, const char *status, const char *why)
{
    json_member_text(r, "status", status);
    if (why != NULL) {
        json_member_text(r, "message", why);
        json_member_text(r, "error", why);
    }
    json_member_time(r, "timestamp", clock_wall_us());
    json_member_duration(r, "uptime", uptime_us(r));
}

void on_health(struct request *r)
{
    const char *why = trouble(r);
    json_write_object_begin(&r->json);
    write_probe(r, why == NULL ? "ok" : "fail", why);
    json_member_text(r, "version", GQ_VERSION);
    json_write_object_end(&r->json);
    reply_send(r, why == NULL ? HTTP_OK : HTTP_UNAVAILABLE);
}

/* Alive as long as the disk takes writes: a broker that drains is not to be restarted. */
void on_healthz(struct request *r)
{
    const char *why = shard_has_failed(r->shard) ? trouble(r) : NULL;
    json_write_object_begin(&r->json);
    write_probe(r, why == NULL ? "pass" : "fail", why);
    json_write_object_end(&r->json);
    reply_send(r, why == NULL ? HTTP_OK : HTTP_UNAVAILABLE);
}

void on_livez(struct request *r)
{
    on_healthz(r); /* nothing is bound before recovery is finished */
}

static void write_check(struct request *r, const char *name, const char *why)
{
    json_write_key(&r->json, name);
    json_write_object_begin(&r->json);
    json_member_text(r, "status", why == NULL ? "pass" : "fail");
    if (why != NULL)
        json_member_text(r, "message", why);
    json_member_duration(r, "latency", clock_mono_us() - r->start_us);
    json_write_object_end(&r->json);
}

struct totals {
    uint64_t messages;
    uint64_t size_bytes;
};

static struct totals topic_totals(const struct topic_info *topic)
{
    struct totals sum = {0};
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        sum.messages += topic->partitions[i].message_count;
        sum.size_bytes += topic->partitions[i].size_bytes;
    }
    return sum;
}

static uint64_t total_size(const struct query_result *result)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < result->topic_count; i++)
        sum += topic_totals(&result->topics[i]).size_bytes;
    return sum;
}

/* The shard answered the query, so the loop that everything passes is alive: that is the check. */
static void on_ready_verbose(struct request *r)
{
    const struct query_result *result = &r->op.query_result;
    const char *why = trouble(r);
    const char *storage = shard_has_failed(r->shard) ? why : NULL;
    json_write_object_begin(&r->json);
    write_probe(r, why == NULL ? "pass" : "fail", why);
    json_write_key(&r->json, "checks");
    json_write_object_begin(&r->json);
    write_check(r, "broker", shard_is_draining(r->shard) ? why : NULL);
    write_check(r, "storage", storage);
    json_write_object_end(&r->json);
    json_write_key(&r->json, "broker");
    json_write_object_begin(&r->json);
    json_member_text(r, "node_id", r->config->node_id);
    json_member_u64(r, "topic_count", result->topic_count);
    json_member_u64(r, "total_size", total_size(result));
    json_write_object_end(&r->json);
    json_write_object_end(&r->json);
    reply_send(r, why == NULL ? HTTP_OK : HTTP_UNAVAILABLE);
}

void on_readyz(struct request *r)
{
    bool verbose = false;
    if (!request_query_bool(r, "verbose", &verbose))
        return;
    if (verbose) {
        request_submit_query(r, (struct query){.type = QUERY_TOPICS, .every_tenant = true},
                             on_ready_verbose);
        return;
    }
    const char *why = trouble(r);
    json_write_object_begin(&r->json);
    write_probe(r, why == NULL ? "pass" : "fail", why);
    json_write_object_end(&r->json);
    reply_send(r, why == NULL ? HTTP_OK : HTTP_UNAVAILABLE);
}

void on_version(struct request *r)
{
    json_write_object_begin(&r->json);
    json_member_text(r, "version", GQ_VERSION);
    json_member_text(r, "git_commit", GQ_COMMIT);
    json_member_text(r, "build_time", __DATE__ " " __TIME__);
    json_member_text(r, "go_version", "");
    json_member_text(r, "compiler", __VERSION__);
    json_write_key(&r->json, "features"); /* what a client may rely on beyond the basics */
    json_write_array_begin(&r->json);
    json_write_text(&r->json, "idempotency-key");
    json_write_array_end(&r->json);
    json_write_object_end(&r->json);
    reply_send(r, HTTP_OK);
}

static void write_topic_stats(struct request *r, const struct topic_info *topics, uint32_t count)
{
    struct totals sum = {0};
    uint64_t partitions = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct totals one = topic_totals(&topics[i]);
        sum.messages += one.messages;
        sum.size_bytes += one.size_bytes;
        partitions += topics[i].partition_count;
    }
    json_write_key_string(&r->json, name_strip(topics->name));
    json_write_object_begin(&r->json);
    json_member_span(r, "name", name_strip(topics->name));
    json_member_u64(r, "partitions", partitions);
    json_member_u64(r, "total_messages", sum.messages);
    json_member_u64(r, "total_size_bytes", sum.size_bytes);
    json_write_object_end(&r->json);
}

/* Topics first (into state), then groups. */
static void on_stats_groups(struct request *r)
{
    const struct query_result *topics = r->state;
    json_write_object_begin(&r->json);
    json_member_text(r, "node_id", r->config->node_id);
    json_member_duration(r, "uptime", uptime_us(r));
    json_member_u64(r, "topics", topics->topic_count);
    json_member_u64(r, "total_size_bytes", total_size(topics));
    json_write_key(&r->json, "topic_stats");
    json_write_object_begin(&r->json);
    for (uint32_t i = 0, count = 0; i < topics->topic_count; i += count) {
        count = topics_told_same(topics, i);
        write_topic_stats(r, &topics->topics[i], count);
    }
    json_write_object_end(&r->json);
    json_write_key(&r->json, "topic_list");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < topics->topic_count; i += topics_told_same(topics, i))
        json_write_string(&r->json, name_strip(topics->topics[i].name));
    json_write_array_end(&r->json);
    json_member_u64(r, "groups", r->op.query_result.group_count);
    json_write_object_end(&r->json);
    reply_send(r, HTTP_OK);
}

static void on_stats_topics(struct request *r)
{
    struct query_result *topics = arena_new(&r->op.arena, struct query_result);
    *topics = r->op.query_result;
    topics_told_sort(topics);
    r->state = topics;
    struct query query = {
        .type = QUERY_GROUPS, .scope = r->scope, .every_tenant = r->scope.size == 0};
    request_submit_query(r, query, on_stats_groups);
}

/* Without a tenant: the whole broker (contract 2.8). */
void on_stats(struct request *r)
{
    topics_told_submit(r, on_stats_topics);
}
