/* GET /groups/{g}/poll: leased messages as JSON. What cannot be handed out (the reply is full, the
 * message is gone, the client is) is given back with OP_RELEASE, uncounted. */
#include <stdlib.h>

#include "api/fetch_problem.h"
#include "api/message_write.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "api/text.h"
#include "delivery/receipt.h"
#include "node/metrics.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/clock.h"

enum {
    MESSAGES_DEFAULT = 100,
    MESSAGES_MAX = 1000,
    REPLY_SIZE_AIM = 16 * 1024 * 1024,  /* no message is added beyond it */
    REPLY_SIZE_MAX = 104 * 1024 * 1024, /* and the largest message */
};

#define SECOND_US       1000000LL
#define WAIT_DEFAULT_US (30 * SECOND_US)
#define WAIT_MAX_US     (60 * SECOND_US)

struct polling {
    /* The op's results. */
    struct delivered_run *runs;
    uint32_t run_count;
    uint32_t generation;
    bool with_generation; /* the client sent one */
    bool rebalance_required;
    /* Where the writing is. */
    uint32_t run;
    uint32_t message; /* of the run */
    struct message_writer writer;
    bool any;
    uint64_t bytes;                            /* of the run's keys, values and headers */
    int64_t now_us;                            /* when they were handed out */
    struct metrics_wait waits[PRIORITY_COUNT]; /* of the run's first deliveries */
    /* Leases of written messages, then of those to be given back. */
    struct receipt *written;
    uint32_t written_count;
    struct receipt *unused;
    uint32_t unused_count;
};

static void release_done(struct op *op)
{
    arena_fini(&op->arena);
    free(op);
}

/* Gives leases back. The shard may be too busy: then they end by themselves. */
static void release(struct shard *shard, const struct receipt *receipts, uint32_t count)
{
    if (count == 0)
        return;
    struct op *op = new_zero(struct op);
    arena_init(&op->arena);
    op->kind = OP_RELEASE;
    op->client_fd = -1;
    op->done = release_done;
    op->ack.receipts = arena_array(&op->arena, count, sizeof *receipts);
    memcpy(op->ack.receipts, receipts, count * sizeof *receipts);
    op->ack.count = count;
    op->ack.arena = &op->arena;
    if (shard_submit(shard, op) != ST_OK)
        release_done(op);
}

static void on_unsent(struct request *r)
{
    const struct polling *p = r->state;
    release(r->shard, p->written, p->written_count);
}

static struct receipt receipt_of(const struct delivered_run *run, const struct delivered *message)
{
    return (struct receipt){
        .group_id = run->group_id,
        .topic_id = run->topic_id,
        .partition = run->partition,
        .delivery_count = message->delivery_count,
        .offset = message->offset,
        .lease_id = message->lease_id,
    };
}

/* They hold references to files. */
static void release_ranges(struct polling *p)
{
    for (uint32_t i = 0; i < p->run_count; i++) {
        if (p->runs[i].range != NULL)
            log_range_release(p->runs[i].range);
        p->runs[i].range = NULL;
    }
}

/* Message `message` of the run at hand and all behind it are not handed out. */
static void give_back_rest(struct polling *p)
{
    for (; p->run < p->run_count; p->run++, p->message = 0) {
        const struct delivered_run *run = &p->runs[p->run];
        for (; p->message < run->count; p->message++)
            p->unused[p->unused_count++] = receipt_of(run, &run->messages[p->message]);
    }
}

static void reply_messages(struct request *r)
{
    struct polling *p = r->state;
    give_back_rest(p);
    release_ranges(p);
    release(r->shard, p->unused, p->unused_count);
    buf_put_text(&r->out, "],\"generation\":");
    buf_put_u64(&r->out, p->generation);
    if (p->with_generation) {
        buf_put_text(&r->out, ",\"rebalance_required\":");
        buf_put_text(&r->out, p->rebalance_required ? "true" : "false");
    }
    buf_put_byte(&r->out, '}');
    CHECK(!r->out.overflowed);
    if (p->any)
        metrics_fetched(r->metrics, clock_mono_us() - r->start_us);
    r->on_unsent = on_unsent;
    reply_send(r, 200);
}

/* A message's wait ends with its first delivery; it begins when it is due. */
static void add_wait(struct polling *p, const struct fetched *fetched)
{
    const int64_t due_us = message_due_us(fetched);
    const int64_t since_us = due_us > fetched->time_us ? due_us : fetched->time_us;
    struct metrics_wait *wait = &p->waits[fetched->record.priority];
    wait->count++;
    wait->sum_us += p->now_us > since_us ? (uint64_t)(p->now_us - since_us) : 0;
}

static void write_one(struct request *r, const struct delivered_run *run,
                      const struct delivered *message, const struct fetched *fetched)
{
    struct polling *p = r->state;
    const struct receipt receipt = receipt_of(run, message);
    if (p->any)
        buf_put_byte(&r->out, ',');
    p->any = true;
    message_write(&p->writer, fetched);
    buf_put_text(&r->out, ",\"receipt_handle\":\"");
    receipt_write(shard_receipt_key(r->shard), r->scope, &receipt, &r->out);
    char text[TIMESTAMP_SIZE_MAX];
    const size_t size = timestamp_format(text, run->deadline_us);
    uint8_t *start = buf_reserve(&r->out, 96 + TIMESTAMP_SIZE_MAX);
    CHECK(start != NULL);
    uint8_t *to = TEXT_LITERAL(start, "\",\"delivery_count\":");
    to = text_u64(to, message->delivery_count);
    to = TEXT_LITERAL(to, ",\"visibility_deadline\":\"");
    to = text_copy(to, text, size);
    to = TEXT_LITERAL(to, "\"}");
    buf_commit(&r->out, (size_t)(to - start));
    p->written[p->written_count++] = receipt;
    p->bytes += record_payload(&fetched->record);
    if (message->delivery_count == 1)
        add_wait(p, fetched);
}

static void skip_message(struct polling *p, const struct delivered_run *run)
{
    p->unused[p->unused_count++] = receipt_of(run, &run->messages[p->message++]);
}

/* Writes what the range has of the run at hand. */
static enum status write_range(struct request *r, const struct log_range *range,
                               struct journal_problem *problem)
{
    struct polling *p = r->state;
    const struct delivered_run *run = &p->runs[p->run];
    struct fetch f;
    fetch_init(&f, range, run->messages[p->message].offset);
    enum status st = ST_OK;
    while (p->message < run->count && r->out.size < REPLY_SIZE_AIM) {
        const struct delivered *message = &run->messages[p->message];
        struct fetched fetched;
        bool end = false;
        fetch_seek(&f, message->offset);
        st = fetch_next(&f, &fetched, &end, problem);
        if (st != ST_OK || end)
            break;
        /* Retention may have taken some since they were leased. */
        while (p->message < run->count && run->messages[p->message].offset < fetched.offset)
            skip_message(p, run);
        if (p->message < run->count && run->messages[p->message].offset == fetched.offset) {
            write_one(r, run, &run->messages[p->message], &fetched);
            p->message++;
        }
    }
    fetch_fini(&f);
    return st;
}

static void fail_poll(struct request *r, enum status st, const struct journal_problem *problem)
{
    struct polling *p = r->state;
    give_back_rest(p);
    release_ranges(p);
    release(r->shard, p->unused, p->unused_count);
    release(r->shard, p->written, p->written_count);
    fetch_problem_reply(r, st, problem);
}

/* Writes what can be read of the run at hand. *out_more: its rest lies in the next segment of the
 * log; it is given back with all behind it, so that a later message does not come first. */
static enum status write_run(struct request *r, bool *out_more, struct journal_problem *problem)
{
    struct polling *p = r->state;
    struct delivered_run *run = &p->runs[p->run];
    const struct log_range *range = run->range;
    enum status st = ST_OK;
    *out_more = false;
    if (range != NULL && range->segment != NULL) {
        message_writer_set_partition(&p->writer, name_strip(run->topic), run->partition);
        st = write_range(r, range, problem);
        *out_more = p->message < run->count && !range->last;
    }
    return st;
}

static void write_runs(struct request *r)
{
    struct polling *p = r->state;
    bool more = false;
    while (p->run < p->run_count && !more && r->out.size < REPLY_SIZE_AIM) {
        const struct delivered_run *run = &p->runs[p->run];
        struct journal_problem problem = {0};
        const uint32_t written_before = p->written_count;
        p->bytes = 0;
        memset(p->waits, 0, sizeof p->waits);
        enum status st = write_run(r, &more, &problem);
        if (st != ST_OK) {
            fail_poll(r, st, &problem);
            return;
        }
        if (p->written_count > written_before) {
            metrics_consumed(r->metrics, run->topic, p->written_count - written_before, p->bytes);
            metrics_waited(r->metrics, run->topic, p->waits);
        }
        if (more || r->out.size >= REPLY_SIZE_AIM)
            break;
        while (p->message < run->count) /* the topic or its end went away meanwhile */
            skip_message(p, run);
        p->run++;
        p->message = 0;
    }
    reply_messages(r);
}

static void then_polled(struct request *r)
{
    struct polling *p = r->state;
    const struct poll_request *poll = &r->op.poll;
    if (reply_if_failed(r))
        return;
    if (poll->status != ST_OK) {
        reply_error(r, poll->status);
        return;
    }
    p->runs = poll->runs;
    p->run_count = poll->run_count;
    p->generation = poll->current_generation;
    p->rebalance_required = poll->rebalance_required;
    p->now_us = clock_wall_us();
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->run_count; i++)
        count += p->runs[i].count;
    p->written = arena_array(&r->op.arena, count, sizeof *p->written);
    p->unused = arena_array(&r->op.arena, count, sizeof *p->unused);
    r->out.size_max = REPLY_SIZE_MAX;
    message_writer_init(&p->writer, &r->out);
    buf_put_text(&r->out, "{\"messages\":[");
    write_runs(r);
}

void on_group_poll(struct request *r)
{
    struct span group;
    if (!request_group_param(r, 0, &group))
        return;
    struct polling *p = arena_new(&r->op.arena, struct polling);
    r->state = p;
    int64_t messages_max = MESSAGES_DEFAULT;
    int64_t timeout_us = WAIT_DEFAULT_US;
    int64_t generation = -1;
    struct span member_id = request_query(r, "member_id");
    if (member_id.size == 0) {
        reply_error_text(r, ST_INVALID_ARGUMENT, "member_id: is required");
        return;
    }
    if (!request_query_int(r, "limit", 1, INT64_MAX, &messages_max) ||
        !request_query_int(r, "max_messages", 1, INT64_MAX, &messages_max) ||
        !request_query_duration(r, "timeout", &timeout_us) ||
        !request_query_int(r, "generation", 0, INT64_MAX, &generation))
        return;
    if (timeout_us > WAIT_MAX_US)
        timeout_us = WAIT_MAX_US;
    /* A little early, so that the answer comes before the client's own timeout. */
    const int64_t early_us = timeout_us / 40 < SECOND_US / 2 ? timeout_us / 40 : SECOND_US / 2;
    p->with_generation = generation >= 0;
    r->op.kind = OP_POLL;
    r->op.poll = (struct poll_request){
        .group = group,
        .member_id = member_id,
        .generation = generation,
        .messages_max = (uint32_t)(messages_max < MESSAGES_MAX ? messages_max : MESSAGES_MAX),
        .wait_us = timeout_us - early_us,
        .arena = &r->op.arena,
    };
    request_submit(r, then_polled);
}
