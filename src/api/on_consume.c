/* GET /topics/{t}/partitions/{p}/messages: reading a partition from an offset, outside of groups.
 */
#include "api/fetch_problem.h"
#include "api/message_write.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "node/metrics.h"
#include "std/check.h"
#include "std/clock.h"

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 1000,
    PAGE_SIZE_AIM = 8 * 1024 * 1024,    /* no message is added beyond it */
    REPLY_SIZE_MAX = 160 * 1024 * 1024, /* twice the largest message, to sort it */
};

#define WAIT_MAX_US (60LL * 1000 * 1000)

struct page_item { /* one message in the reply's text */
    size_t start;
    size_t size;
    enum priority priority;
};

struct consuming {
    struct span topic; /* qualified */
    uint32_t partition;
    uint32_t limit;
    bool by_priority;
    uint64_t next_offset;
    int64_t deadline_us; /* clock_mono_us(): waiting for a first message ends then */
    struct message_writer writer;
    struct page_item *items; /* limit of them; NULL unless by_priority */
    uint32_t count;
    size_t page_start; /* of the first message in the reply */
    uint64_t bytes;    /* of keys, values and headers */
};

static void fetch(struct request *r);

/* Puts the messages of the page in order of priority. */
static void sort_page(const struct consuming *c, struct buf *out, struct arena *arena)
{
    struct span page = span_of(out->data + c->page_start, out->size - c->page_start);
    struct span text = arena_copy(arena, page);
    out->size = c->page_start;
    for (unsigned p = PRIORITY_CRITICAL; p < PRIORITY_COUNT; p++) {
        for (uint32_t i = 0; i < c->count; i++) {
            const struct page_item *item = &c->items[i];
            if ((unsigned)item->priority != p)
                continue;
            if (out->size > c->page_start)
                buf_put_byte(out, ',');
            buf_put(out, text.data + (item->start - c->page_start), item->size);
        }
    }
}

static void reply_page(struct request *r, uint64_t start_offset, uint64_t end_offset)
{
    struct consuming *c = r->state;
    if (c->by_priority && c->count > 1)
        sort_page(c, &r->out, &r->op.arena);
    buf_put_text(&r->out, "],\"next_offset\":");
    buf_put_u64(&r->out, c->next_offset);
    buf_put_text(&r->out, ",\"earliest\":");
    buf_put_u64(&r->out, start_offset);
    buf_put_text(&r->out, ",\"latest\":");
    buf_put_i64(&r->out, (int64_t)end_offset - 1);
    buf_put_byte(&r->out, '}');
    CHECK(!r->out.overflowed);
    if (c->count > 0) {
        metrics_consumed(r->metrics, c->topic, c->count, c->bytes);
        metrics_fetched(r->metrics, clock_mono_us() - r->start_us);
    }
    reply_send(r, 200);
}

static bool page_is_full(const struct request *r)
{
    const struct consuming *c = r->state;
    return c->count == c->limit || (c->count > 0 && r->out.size >= PAGE_SIZE_AIM);
}

static void add_message(struct request *r, const struct fetched *message)
{
    struct consuming *c = r->state;
    if (c->count > 0)
        buf_put_byte(&r->out, ',');
    const size_t start = r->out.size;
    message_write(&c->writer, message);
    buf_put_byte(&r->out, '}');
    if (c->by_priority)
        c->items[c->count] =
            (struct page_item){start, r->out.size - start, message->record.priority};
    c->count++;
    c->bytes += record_payload(&message->record);
    c->next_offset = message->offset + 1;
}

/* The first offset from `at` on that is not hidden, as far as that is told; *run only rises. */
static uint64_t skip_hidden(const struct fetch_request *from, uint32_t *run, uint64_t at)
{
    for (; *run < from->hidden_count && from->hidden[*run].first <= at; ++*run)
        if (from->hidden[*run].end > at)
            at = from->hidden[*run].end;
    return at;
}

/* Adds what the range has, up to its end or to where it is not told what is hidden. False: it
 * cannot be read, and the request is answered. */
static bool read_range(struct request *r, const struct fetch_request *from)
{
    struct consuming *c = r->state;
    struct fetch f;
    struct journal_problem problem = {0};
    fetch_init(&f, &from->range, c->next_offset);
    enum status st = ST_OK;
    uint32_t run = 0;
    while (!page_is_full(r)) {
        struct fetched message;
        bool end = false;
        c->next_offset = skip_hidden(from, &run, c->next_offset);
        if (c->next_offset >= from->hidden_end)
            break;
        fetch_seek(&f, c->next_offset);
        st = fetch_next(&f, &message, &end, &problem);
        if (st != ST_OK || end)
            break;
        const uint64_t visible = skip_hidden(from, &run, message.offset);
        if (visible == message.offset && visible < from->hidden_end)
            add_message(r, &message);
        else
            c->next_offset = visible;
    }
    fetch_fini(&f);
    if (st != ST_OK)
        fetch_problem_reply(r, st, &problem);
    return st == ST_OK;
}

/* What is left of the wait for a first message. */
static int64_t wait_left_us(const struct consuming *c)
{
    const int64_t left_us = c->count > 0 ? 0 : c->deadline_us - clock_mono_us();
    return left_us > 0 ? left_us : 0;
}

static void then_fetched(struct request *r)
{
    struct consuming *c = r->state;
    struct fetch_request *fetched = &r->op.fetch;
    if (reply_if_failed(r))
        return;
    if (fetched->status != ST_OK) {
        reply_error(r, fetched->status);
        return;
    }
    if (c->next_offset < fetched->start_offset)
        c->next_offset = fetched->start_offset;
    if (fetched->range.segment == NULL) {
        reply_page(r, fetched->start_offset, fetched->next_offset);
        return;
    }
    const uint64_t before = c->next_offset;
    const bool ok = read_range(r, fetched);
    const bool last = fetched->range.last && c->next_offset >= fetched->range.limit_offset;
    log_range_release(&fetched->range);
    if (!ok)
        return;
    if (page_is_full(r) || c->next_offset == before || (last && wait_left_us(c) == 0))
        reply_page(r, fetched->start_offset, fetched->next_offset);
    else
        fetch(r); /* the next segment, what was not told to be hidden, or what comes */
}

static void fetch(struct request *r)
{
    const struct consuming *c = r->state;
    r->op.kind = OP_FETCH;
    r->op.fetch = (struct fetch_request){.topic = c->topic,
                                         .partition = c->partition,
                                         .offset = c->next_offset,
                                         .wait_us = wait_left_us(c)};
    request_submit(r, then_fetched);
}

static bool read_order(struct request *r, bool *out_by_priority)
{
    struct span order = request_query(r, "order");
    *out_by_priority = span_equal(order, span_text("priority"));
    if (order.size == 0 || *out_by_priority || span_equal(order, span_text("offset")))
        return true;
    reply_error_text(r, ST_INVALID_ARGUMENT, "order: must be offset or priority");
    return false;
}

void on_consume(struct request *r)
{
    struct consuming *c = arena_new(&r->op.arena, struct consuming);
    int64_t partition = 0;
    int64_t offset = 0;
    int64_t limit = LIMIT_DEFAULT;
    int64_t wait_us = 0;
    if (!request_int_param(r, 1, "partition", &partition) ||
        !request_query_int(r, "offset", 0, INT64_MAX, &offset) ||
        !request_query_int(r, "limit", 1, INT64_MAX, &limit) ||
        !request_query_duration(r, "timeout", &wait_us) || !read_order(r, &c->by_priority) ||
        !request_topic_param(r, 0, &c->topic))
        return;
    if (partition >= PARTITIONS_MAX) {
        reply_error(r, ST_PARTITION_NOT_FOUND);
        return;
    }
    c->partition = (uint32_t)partition;
    c->limit = (uint32_t)(limit < LIMIT_MAX ? limit : LIMIT_MAX);
    c->next_offset = (uint64_t)offset;
    c->deadline_us = clock_mono_us() + (wait_us < WAIT_MAX_US ? wait_us : WAIT_MAX_US);
    if (c->by_priority)
        c->items = arena_array(&r->op.arena, c->limit, sizeof *c->items);
    r->state = c;
    r->out.size_max = REPLY_SIZE_MAX;
    buf_put_text(&r->out, "{\"messages\":[");
    c->page_start = r->out.size;
    message_writer_init(&c->writer, &r->out);
    message_writer_set_partition(&c->writer, r->params[0], c->partition);
    fetch(r);
}
