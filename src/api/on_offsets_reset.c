/* POST /groups/{g}/offsets/reset: to the earliest or latest message, an offset, or a time. For a
 * time the logs are asked first for the offsets. */
#include <inttypes.h>

#include "api/fields.h"
#include "api/reply.h"
#include "api/route.h"
#include "node/logline.h"

enum strategy { TO_EARLIEST, TO_LATEST, TO_TIMESTAMP, TO_OFFSET, STRATEGIES };

static const char *const strategies[STRATEGIES] = {[TO_EARLIEST] = "earliest",
                                                   [TO_LATEST] = "latest",
                                                   [TO_TIMESTAMP] = "timestamp",
                                                   [TO_OFFSET] = "offset"};

struct resetting {
    struct span group; /* qualified, as the next */
    struct span topic;
    enum strategy strategy;
    int64_t partition; /* -1: all */
    int64_t offset;
    int64_t time_us;
};

static void then_reset(struct request *r)
{
    const struct resetting *reset = r->state;
    const struct result_reset *result = &r->op.result.reset;
    struct json_writer *w = &r->json;
    if (reply_if_failed(r))
        return;
    json_write_object_begin(w);
    json_member_span(r, "group_id", r->params[0]);
    json_member_u64(r, "reset_count", result->count);
    json_write_key(w, "new_offsets");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < result->count; i++) {
        const struct reset_position *position = &result->positions[i];
        json_write_object_begin(w);
        json_member_span(r, "topic", name_strip(reset->topic));
        json_member_u64(r, "partition", position->partition);
        json_member_u64(r, "offset", position->offset);
        json_member_u64(r, "lag", position->lag);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    json_write_object_end(w);
    reply_send(r, 200);
}

static void submit_reset(struct request *r, struct reset_entry *entries, uint32_t count)
{
    const struct resetting *reset = r->state;
    const struct command cmd = {.type = COMMAND_OFFSETS_RESET,
                                .offsets_reset = {.group = reset->group,
                                                  .topic = reset->topic,
                                                  .entries = entries,
                                                  .entry_count = count}};
    request_submit_command(r, &cmd, then_reset);
}

static enum status find_time(struct seek_found *found, int64_t time_us)
{
    if (found->range.segment == NULL)
        return ST_OK; /* found->offset is right already */
    const enum status st = log_range_find_time(&found->range, time_us, &found->offset);
    if (st != ST_OK)
        log_line(LOG_ERROR, "unreadable_messages", "file=%s position=%" PRIu64 " problem=\"%s\"",
                 log_range_path(&found->range), found->range.position, status_text(st));
    return st;
}

/* Looks where the logs say that the time is, unless asking failed. All ranges are released. */
static enum status find_times(struct seek_request *seek, struct reset_entry *entries)
{
    enum status st = seek->status;
    for (uint32_t i = 0; i < seek->found_count; i++) {
        struct seek_found *found = &seek->found[i];
        if (st == ST_OK)
            st = find_time(found, seek->time_us);
        log_range_release(&found->range);
        entries[i] = (struct reset_entry){
            .partition = found->partition, .to = RESET_OFFSET, .offset = found->offset};
    }
    return st;
}

static void then_found(struct request *r)
{
    struct seek_request *seek = &r->op.seek;
    if (reply_if_failed(r))
        return;
    const uint32_t count = seek->found_count;
    struct reset_entry *entries = arena_array(&r->op.arena, count, sizeof *entries);
    const enum status st = find_times(seek, entries);
    if (st != ST_OK)
        reply_error(r, st);
    else
        submit_reset(r, entries, count);
}

static void read_strategy(struct fields *f, struct resetting *reset)
{
    struct span strategy = {0};
    reset->strategy = STRATEGIES;
    if (!fields_string(f, "strategy", true, &strategy))
        return;
    for (unsigned i = 0; i < STRATEGIES; i++)
        if (span_equal(strategy, span_text(strategies[i])))
            reset->strategy = (enum strategy)i;
    if (reset->strategy == STRATEGIES)
        fields_problem(f, "strategy: must be earliest, latest, timestamp or offset");
}

/* False: the topic cannot exist. */
static bool read_reset(struct fields *f, struct resetting *reset)
{
    struct span topic = {0};
    reset->partition = -1;
    (void)fields_string(f, "topic", true, &topic);
    (void)fields_int(f, "partition", false, -1, INT64_MAX, &reset->partition);
    read_strategy(f, reset);
    (void)fields_time(f, "timestamp", reset->strategy == TO_TIMESTAMP, &reset->time_us);
    (void)fields_int(f, "offset", reset->strategy == TO_OFFSET, 0, INT64_MAX, &reset->offset);
    if (reset->partition > PARTITIONS_MAX)
        reset->partition = PARTITIONS_MAX; /* not there either */
    reset->topic = request_qualify(f->r, topic);
    return name_is_topic_address(topic);
}

static void seek(struct request *r)
{
    const struct resetting *reset = r->state;
    r->op.kind = OP_SEEK;
    r->op.seek = (struct seek_request){
        .topic = reset->topic, .partition = reset->partition, .time_us = reset->time_us};
    request_submit(r, then_found);
}

void on_offsets_reset(struct request *r)
{
    struct resetting *reset = arena_new(&r->op.arena, struct resetting);
    struct fields f;
    if (!request_group_param(r, 0, &reset->group))
        return;
    fields_init(&f, r, false);
    const bool possible = read_reset(&f, reset);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    r->state = reset;
    if (!possible) {
        reply_error(r, ST_TOPIC_NOT_FOUND);
    } else if (reset->strategy == TO_TIMESTAMP) {
        seek(r);
    } else {
        const enum reset_to to = reset->strategy == TO_EARLIEST ? RESET_EARLIEST
                                 : reset->strategy == TO_LATEST ? RESET_LATEST
                                                                : RESET_OFFSET;
        struct reset_entry entry = {.partition = reset->partition < 0 ? RESET_EVERY_PARTITION
                                                                      : (uint32_t)reset->partition,
                                    .to = to,
                                    .offset = (uint64_t)reset->offset};
        submit_reset(r, &entry, 1);
    }
}
