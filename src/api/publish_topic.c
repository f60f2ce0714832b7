#include "api/publish_topic.h"

#include "api/reply.h"
#include "api/scratch.h"
#include "node/topic_defaults.h"

enum {
    STALE_MAX = 3, /* attempts with a topic that changes while the request is under way */
    FULL_MAX = 3,  /* attempts to fill what room a topic has for delayed messages */
};

/* Asking took time, in which this thread may have read another body. */
static void build_for(struct request *r, struct publish_target target)
{
    const struct publish_topic *t = r->state;
    topic_cache_put(scratch_get()->topics, t->name, target.topic_id, target.partition_count);
    target.delayed_room = t->delayed_room;
    if (t->read(r))
        t->build(r, &target);
}

static void then_created(struct request *r)
{
    const struct result_topic *topic = &r->op.result.topic;
    if (!reply_if_failed(r))
        build_for(r, (struct publish_target){.topic_id = topic->id,
                                             .partition_count = topic->partition_count,
                                             .delayed_max = topic->settings.delayed_max});
}

static void then_resolved(struct request *r)
{
    const struct publish_topic *t = r->state;
    const struct query_result *result = &r->op.query_result;
    if (reply_if_failed(r))
        return;
    if (result->status == ST_OK) {
        const struct topic_info *topic = &result->topics[0];
        build_for(r, (struct publish_target){.topic_id = topic->id,
                                             .partition_count = topic->partition_count,
                                             .delayed_max = topic->settings.delayed_max});
        return;
    }
    /* Dead-letter topics come from the broker or from an explicit create. */
    if (result->status != ST_TOPIC_NOT_FOUND || r->config->auto_create == 0 ||
        !name_is_topic(name_strip(t->name))) {
        reply_error(r, result->status);
        return;
    }
    struct command cmd = {.type = COMMAND_TOPIC_CREATE,
                          .topic_create = {.name = t->name,
                                           .partition_count = (uint32_t)r->config->partitions,
                                           .if_absent = true,
                                           .settings = topic_default_settings(r->config)}};
    request_submit_command(r, &cmd, then_created);
}

void publish_topic_resolve(struct request *r)
{
    struct publish_topic *t = r->state;
    t->guessed = false;
    r->op.result = (struct result){0};
    request_submit_query(r, (struct query){.type = QUERY_RESOLVE, .name = t->name}, then_resolved);
}

void publish_topic_find(struct request *r, struct span name)
{
    struct publish_topic *t = r->state;
    t->name = name;
    t->delayed_room = UINT64_MAX;
    const struct topic_known *known = topic_cache_find(scratch_get()->topics, name);
    t->guessed = known != NULL;
    if (known == NULL) {
        publish_topic_resolve(r);
        return;
    }
    const struct publish_target target = {.topic_id = known->id,
                                          .partition_count = known->partition_count,
                                          .delayed_room = t->delayed_room};
    t->build(r, &target);
}

/* The topic was replaced, or has other partitions. */
static void retry_stale(struct request *r)
{
    struct publish_topic *t = r->state;
    topic_cache_drop(scratch_get()->topics, t->name);
    t->delayed_room = UINT64_MAX;
    if (++t->stale_count > STALE_MAX)
        reply_error(r, ST_STALE);
    else
        publish_topic_resolve(r);
}

/* Nothing was stored, since the topic has not room for all of the delayed messages. Those over it
 * are refused, each for itself. Others may take the room meanwhile: then, in the end, none of them
 * is tried any more, and what is not delayed is stored whatever happens. */
static void retry_full(struct request *r, uint32_t delayed_room)
{
    struct publish_topic *t = r->state;
    t->delayed_room = ++t->full_count < FULL_MAX ? delayed_room : 0;
    publish_topic_resolve(r);
}

bool publish_topic_retry(struct request *r, uint32_t delayed_room)
{
    const struct result *result = &r->op.result;
    if (r->op.failed != ST_OK)
        return false;
    if (result->status == ST_STALE)
        retry_stale(r);
    else if (result->status == ST_DELAYED_FULL)
        retry_full(r, delayed_room);
    else
        return false;
    return true;
}
