/* POST /messages/dlq/replay: dead letters back to where they came from, or to another topic.
 *
 * Each is moved by one command: appended to its target without the headers of its death, and gone
 * from the dead-letter topic. So a request that is repeated moves nothing twice; what the first one
 * moved counts as skipped. A message without a topic to go to counts as an error and stays.
 *
 * The end of each partition is looked up once: what dies meanwhile waits for the next replay. The
 * steps: the dead-letter topic, then for each partition, page by page: where to read, the topics
 * that its messages go to, the command. */
#include <inttypes.h>
#include <stdio.h>

#include "api/fetch_problem.h"
#include "api/fields.h"
#include "api/replay_page.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "std/check.h"
#include "std/clock.h"

enum { MESSAGES_DEFAULT = 1000, MESSAGES_MAX = 10000 };

#define TIME_MAX_US                                                                                \
    (20LL * 1000 * 1000) /* clients wait 30 s: they are told what was done by then */
#define NOT_GIVEN ((int64_t)-1)

struct source { /* one partition of the dead-letter topic */
    uint64_t next;
    uint64_t end;
    bool looked_at;
};

struct replay {
    struct span topic;     /* qualified, the dead-letter topic */
    int64_t partition;     /* NOT_GIVEN: all of them, as the next two */
    int64_t offset;        /* only this one */
    int64_t from_offset;   /* all from there on */
    uint32_t message_left; /* so many more are looked at */
    uint32_t topic_id;
    struct source *sources; /* source_count of them */
    uint32_t source_count;
    uint32_t at;        /* index of the source at hand */
    uint32_t target_at; /* the slot of page.targets that is filled next */
    struct replay_page page;
    uint64_t processed, skipped, errors;
};

static void go_on(struct request *r);

/* --- the answer ---------------------------------------------------------------------------------
 */

static bool is_whole(const struct replay *p)
{
    for (uint32_t i = 0; i < p->source_count; i++) {
        if (p->sources[i].next < p->sources[i].end)
            return false;
    }
    return true;
}

static void write_partitions(struct request *r)
{
    const struct replay *p = r->state;
    json_write_key(&r->json, "partitions");
    json_write_object_begin(&r->json);
    for (uint32_t i = 0; i < p->source_count; i++) {
        char name[16];
        if (!p->sources[i].looked_at)
            continue;
        (void)snprintf(name, sizeof name, "%" PRIu32, i);
        json_member_u64(r, name, p->sources[i].next - 1);
    }
    json_write_object_end(&r->json);
}

static void reply_done(struct request *r)
{
    const struct replay *p = r->state;
    int64_t last_offset = -1;
    for (uint32_t i = 0; i < p->source_count; i++) {
        if (p->sources[i].looked_at)
            last_offset = (int64_t)p->sources[i].next - 1;
    }
    json_write_object_begin(&r->json);
    json_member_u64(r, "processed", p->processed);
    json_member_u64(r, "skipped", p->skipped);
    json_member_u64(r, "errors", p->errors);
    json_member_i64(r, "last_offset", last_offset);
    write_partitions(r);
    json_member_bool(r, "more", !is_whole(p));
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

/* It goes no further. What was moved stays moved, and then that is the answer, not an error. */
static void stop(struct request *r, enum status st)
{
    const struct replay *p = r->state;
    if (p->processed > 0)
        reply_done(r);
    else
        reply_error(r, st);
}

/* --- one page -----------------------------------------------------------------------------------
 */

/* What the page found, its entries aside, counts. */
static void settle_page(struct replay *p)
{
    struct source *source = &p->sources[p->at];
    source->looked_at |= p->page.next > source->next;
    source->next = p->page.next;
    p->skipped += p->page.skipped_count;
    p->errors += p->page.error_count;
    p->message_left -= p->page.entry_count + p->page.error_count;
}

static void forget_target(struct replay_page *page, uint32_t topic_id)
{
    for (unsigned i = 0; i < REPLAY_TARGETS_MAX; i++) {
        if (page->targets[i].topic_id == topic_id)
            page->targets[i] = (struct replay_target){0};
    }
}

static void then_moved(struct request *r)
{
    struct replay *p = r->state;
    const struct result *result = &r->op.result;
    if (r->op.failed != ST_OK) {
        stop(r, r->op.failed);
        return;
    }
    if (result->status == ST_OK) {
        p->processed += result->replay.moved;
        p->skipped += result->replay.skipped;
    } else { /* one of the topics was deleted; if it was the source, the next fetch tells */
        p->errors += p->page.entry_count;
        forget_target(&p->page, p->page.target_topic_id);
    }
    settle_page(p);
    go_on(r);
}

static void move(struct request *r)
{
    struct replay *p = r->state;
    const struct command cmd = {.type = COMMAND_REPLAY,
                                .replay = {.topic_id = p->topic_id,
                                           .partition = p->at,
                                           .target_topic_id = p->page.target_topic_id,
                                           .entry_count = p->page.entry_count,
                                           .entries = p->page.entries}};
    r->op.result = (struct result){0};
    request_submit_command(r, &cmd, then_moved);
}

static void add_target(struct replay *p, struct span name, uint32_t topic_id)
{
    p->page.targets[p->target_at] = (struct replay_target){name, topic_id};
    p->target_at = (p->target_at + 1) % REPLAY_TARGETS_MAX;
}

static void then_target(struct request *r)
{
    struct replay *p = r->state;
    const struct query_result *result = &r->op.query_result;
    const struct span name = span_of(p->page.unknown, p->page.unknown_size);
    add_target(p, arena_copy(&r->op.arena, name),
               result->status == ST_OK ? result->topics[0].id : 0);
    go_on(r);
}

/* The page is read and its range released. */
static void use_page(struct request *r, enum status st, const struct journal_problem *problem)
{
    struct replay *p = r->state;
    const struct replay_page *page = &p->page;
    if (page->entry_count > 0) { /* a problem comes again with the next page */
        move(r);
        return;
    }
    const bool moved_on = page->next > p->sources[p->at].next;
    settle_page(p);
    if (st != ST_OK) {
        fetch_problem_log(st, problem);
        stop(r, st);
    } else if (page->unknown_size > 0) {
        const struct query query = {.type = QUERY_RESOLVE,
                                    .name = span_of(page->unknown, page->unknown_size)};
        request_submit_query(r, query, then_target);
    } else {
        if (!moved_on) /* nothing is left there, whatever the topic said before */
            p->sources[p->at].end = p->sources[p->at].next;
        go_on(r);
    }
}

static void then_fetched(struct request *r)
{
    struct replay *p = r->state;
    struct fetch_request *fetched = &r->op.fetch;
    if (fetched->status != ST_OK) {
        stop(r, fetched->status);
        return;
    }
    struct journal_problem problem = {0};
    const struct source *source = &p->sources[p->at];
    p->page.partition = p->at;
    p->page.next = source->next;
    p->page.end = source->end;
    p->page.message_max = p->message_left;
    const enum status st = replay_page_read(&p->page, fetched, &problem);
    log_range_release(&fetched->range);
    use_page(r, st, &problem);
    replay_page_fini(&p->page); /* a command has its own copy */
}

static void go_on(struct request *r)
{
    struct replay *p = r->state;
    while (p->at < p->source_count && p->sources[p->at].next >= p->sources[p->at].end)
        p->at++;
    if (p->at == p->source_count || p->message_left == 0 ||
        clock_mono_us() - r->start_us > TIME_MAX_US) {
        reply_done(r);
        return;
    }
    r->op.kind = OP_FETCH;
    r->op.fetch = (struct fetch_request){
        .topic = p->topic, .partition = p->at, .offset = p->sources[p->at].next};
    request_submit(r, then_fetched);
}

/* --- the request --------------------------------------------------------------------------------
 */

static void then_fixed_target(struct request *r)
{
    struct replay *p = r->state;
    const struct query_result *result = &r->op.query_result;
    if (result->status != ST_OK) {
        reply_error_text(r, result->status, "target_topic: %s", status_text(result->status));
        return;
    }
    add_target(p, p->page.target, result->topics[0].id);
    go_on(r);
}

/* What is to be looked at of a partition: nothing, unless it was asked for. */
static struct source source_of(struct replay *p, uint32_t index, const struct partition_info *info)
{
    struct source source = {0};
    if (p->partition != NOT_GIVEN && p->partition != index)
        return source;
    source.next = info->start_offset;
    source.end = info->next_offset;
    if (p->offset != NOT_GIVEN) {
        source.next = (uint64_t)p->offset;
        source.end = source.next + 1;
        if (source.next < info->start_offset) { /* it was there once */
            source.next = source.end;
            source.looked_at = true;
            p->skipped++;
        }
    } else if (p->from_offset != NOT_GIVEN && (uint64_t)p->from_offset > source.next) {
        source.next = (uint64_t)p->from_offset;
    }
    return source;
}

static void then_source(struct request *r)
{
    struct replay *p = r->state;
    const struct query_result *result = &r->op.query_result;
    if (result->status != ST_OK) {
        reply_error(r, result->status);
        return;
    }
    const struct topic_info *topic = &result->topics[0];
    if (p->partition != NOT_GIVEN && p->partition >= topic->partition_count) {
        reply_error(r, ST_PARTITION_NOT_FOUND);
        return;
    }
    if (p->offset != NOT_GIVEN &&
        (uint64_t)p->offset >= topic->partitions[p->partition].next_offset) {
        reply_error(r, ST_MESSAGE_NOT_FOUND);
        return;
    }
    p->topic_id = topic->id;
    p->source_count = topic->partition_count;
    p->sources = arena_array(&r->op.arena, p->source_count, sizeof *p->sources);
    for (uint32_t i = 0; i < p->source_count; i++)
        p->sources[i] = source_of(p, i, &topic->partitions[i]);
    if (p->page.target.size > 0)
        request_submit_query(r, (struct query){.type = QUERY_RESOLVE, .name = p->page.target},
                             then_fixed_target);
    else
        go_on(r);
}

static void read_topics(struct fields *f, struct replay *p)
{
    struct span source = {0}, target = {0};
    if (!fields_string(f, "dlq_topic", true, &source))
        return;
    if (!name_is_dead_letter(source) || !name_is_topic_address(source)) {
        fields_problem(f, "dlq_topic: must be the name of a dead-letter topic, <topic>.dlq");
        return;
    }
    p->topic = request_qualify(f->r, source);
    if (!fields_string(f, "target_topic", false, &target))
        return;
    if (!name_is_topic_address(target))
        fields_problem(f, "target_topic: must be the name of a topic");
    else if (span_equal(source, target))
        fields_problem(f, "target_topic: must be another topic than dlq_topic");
    else
        p->page.target = request_qualify(f->r, target);
}

static void read_range(struct fields *f, struct replay *p)
{
    int64_t message_max = MESSAGES_DEFAULT;
    p->partition = NOT_GIVEN;
    p->offset = NOT_GIVEN;
    p->from_offset = NOT_GIVEN;
    (void)fields_int(f, "partition", false, 0, INT64_MAX, &p->partition);
    (void)fields_int(f, "offset", false, 0, INT64_MAX, &p->offset);
    (void)fields_int(f, "from_offset", false, 0, INT64_MAX, &p->from_offset);
    (void)fields_int(f, "max_messages", false, 1, MESSAGES_MAX, &message_max);
    if (p->offset != NOT_GIVEN && p->partition == NOT_GIVEN)
        fields_problem(f, "offset: needs partition, too");
    if (p->offset != NOT_GIVEN && p->from_offset != NOT_GIVEN)
        fields_problem(f, "from_offset: cannot be combined with offset");
    p->message_left = (uint32_t)message_max;
}

void on_replay(struct request *r)
{
    struct replay *p = arena_new(&r->op.arena, struct replay);
    struct fields f;
    fields_init(&f, r, false);
    read_topics(&f, p);
    read_range(&f, p);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    p->page.scope = r->scope;
    r->state = p;
    r->on_refused = stop;
    request_submit_query(r, (struct query){.type = QUERY_TOPIC, .name = p->topic}, then_source);
}
