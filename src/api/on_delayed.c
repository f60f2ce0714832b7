/* Messages that wait for their time: list, get, cancel, statistics. Contract 4.4.
 *
 * The machine knows partition, offset, time and priority of each; key and value are read from the
 * log, where a delayed message lies like any other. */
#include <stdlib.h>

#include "api/fetch_problem.h"
#include "api/message_write.h"
#include "api/publish_message.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/route.h"
#include "api/topics_told.h"
#include "std/clock.h"

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 1000,
    TEXTS_SIZE_AIM = 8 * 1024 * 1024,   /* keys and values of a list; the rest comes without */
    REPLY_SIZE_MAX = 128 * 1024 * 1024, /* a list with the largest message; all topics in stats */
    SEEK_MAX = 500, /* so many messages are stepped over, further ones looked up in the index */
};

struct delayed_item {
    struct delayed_info info;
    struct span key;   /* in the arena; size 0: none */
    struct span value; /* as it is stored; data NULL: it is told without */
};

struct listing {
    struct span topic; /* qualified */
    uint64_t limit;
    uint64_t skip;
    uint64_t total;
    struct delayed_item *items; /* in the order of the reply */
    uint32_t count;
    struct delayed_item **by_place; /* of them, by partition and offset */
    uint32_t next;                  /* of by_place: not read yet */
    size_t texts_size;
};

static void write_item(struct request *r, const struct delayed_item *item, uint32_t matches)
{
    const int64_t left_us = item->info.due_us - clock_wall_us();
    json_write_object_begin(&r->json);
    json_member_span(r, "topic", r->params[0]);
    json_member_u64(r, "partition", item->info.partition);
    json_member_u64(r, "offset", item->info.offset);
    json_member_time(r, "deliver_at", item->info.due_us);
    json_member_text(r, "priority", priority_text((uint8_t)item->info.priority));
    json_member_duration(r, "time_remaining", left_us > 0 ? left_us : 0);
    json_member_text(r, "state", "pending");
    if (item->key.size > 0)
        json_member_span(r, "key", item->key);
    if (item->value.data != NULL) {
        json_write_key(&r->json, "value");
        json_write_raw_string(&r->json, item->value);
    }
    if (matches > 1)
        json_member_u64(r, "matches", matches);
    json_write_object_end(&r->json);
}

static void keep_text(struct delayed_item *item, const struct record *record, struct arena *arena)
{
    item->key = arena_copy(arena, record->key);
    item->value = arena_copy(arena, record->value);
    if (item->value.data == NULL)
        item->value = span_text(""); /* an empty value is one */
}

/* Reads the message at `offset` out of the range; *found is false if it is not there. The record
 * lives until the next read from `f`. */
static enum status read_at(struct fetch *f, uint64_t offset, struct fetched *out, bool *found,
                           struct journal_problem *problem)
{
    bool end = false;
    fetch_seek(f, offset);
    enum status st = fetch_next(f, out, &end, problem);
    *found = st == ST_OK && !end && out->offset == offset;
    return st;
}

static void submit_fetch(struct request *r, struct span topic, uint32_t partition, uint64_t offset,
                         void (*then)(struct request *r))
{
    r->op.kind = OP_FETCH;
    r->op.fetch = (struct fetch_request){.topic = topic, .partition = partition, .offset = offset};
    request_submit(r, then);
}

/* List. */

static void reply_list(struct request *r)
{
    const struct listing *list = r->state;
    buf_clear(&r->out);
    r->out.size_max = REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_write_key(&r->json, "messages");
    json_write_array_begin(&r->json);
    for (uint32_t i = 0; i < list->count; i++)
        write_item(r, &list->items[i], 0);
    json_write_array_end(&r->json);
    json_member_u64(r, "count", list->count);
    json_member_u64(r, "total", list->total);
    json_member_span(r, "topic", r->params[0]);
    json_member_u64(r, "limit", list->limit);
    json_member_u64(r, "skip", list->skip);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void keep_within_aim(struct listing *list, struct delayed_item *item,
                            const struct fetched *message, struct arena *arena)
{
    const size_t size = message->record.key.size + message->record.value.size;
    if (message_due_us(message) != item->info.due_us)
        return; /* of another topic that has the name since */
    if (list->texts_size > 0 && list->texts_size + size > TEXTS_SIZE_AIM)
        return;
    keep_text(item, &message->record, arena);
    list->texts_size += size;
}

/* Reads what the range has of the messages from list->next on; at least one is done with. */
static enum status read_texts(struct listing *list, const struct log_range *range,
                              struct arena *arena, struct journal_problem *problem)
{
    const uint32_t partition = list->by_place[list->next]->info.partition;
    struct fetch f;
    fetch_init(&f, range, list->by_place[list->next]->info.offset);
    enum status st = ST_OK;
    do {
        struct delayed_item *item = list->by_place[list->next++];
        struct fetched message;
        bool found = false;
        st = read_at(&f, item->info.offset, &message, &found, problem);
        if (found)
            keep_within_aim(list, item, &message, arena);
    } while (st == ST_OK && list->next < list->count && list->texts_size < TEXTS_SIZE_AIM &&
             list->by_place[list->next]->info.partition == partition &&
             list->by_place[list->next]->info.offset < range->limit_offset &&
             list->by_place[list->next]->info.offset - f.from <= SEEK_MAX);
    fetch_fini(&f);
    return st;
}

static void then_text(struct request *r);

static void read_more(struct request *r)
{
    const struct listing *list = r->state;
    if (list->next == list->count || list->texts_size >= TEXTS_SIZE_AIM) {
        reply_list(r);
        return;
    }
    const struct delayed_info *info = &list->by_place[list->next]->info;
    submit_fetch(r, list->topic, info->partition, info->offset, then_text);
}

static void then_text(struct request *r)
{
    struct listing *list = r->state;
    struct fetch_request *fetched = &r->op.fetch;
    struct journal_problem problem = {0};
    if (reply_if_failed(r))
        return;
    if (fetched->status != ST_OK) {
        reply_error(r, fetched->status);
        return;
    }
    if (fetched->range.segment == NULL) {
        list->next++; /* gone with its topic, which exists again */
        read_more(r);
        return;
    }
    enum status st = read_texts(list, &fetched->range, &r->op.arena, &problem);
    log_range_release(&fetched->range);
    if (st != ST_OK)
        fetch_problem_reply(r, st, &problem);
    else
        read_more(r);
}

static int compare_places(const void *a, const void *b)
{
    const struct delayed_info *x = &(*(struct delayed_item *const *)a)->info;
    const struct delayed_info *y = &(*(struct delayed_item *const *)b)->info;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static void then_listed(struct request *r)
{
    struct listing *list = r->state;
    const struct query_result *result = &r->op.query_result;
    if (reply_if_query_failed(r))
        return;
    list->count = result->delayed_count;
    list->total = result->delayed_total;
    list->items = arena_array(&r->op.arena, list->count, sizeof *list->items);
    list->by_place = arena_array(&r->op.arena, list->count, sizeof *list->by_place);
    for (uint32_t i = 0; i < list->count; i++) {
        list->items[i].info = result->delayed[i];
        list->by_place[i] = &list->items[i];
    }
    if (list->count > 0)
        qsort(list->by_place, list->count, sizeof *list->by_place, compare_places);
    read_more(r);
}

void on_delayed_list(struct request *r)
{
    struct listing *list = arena_new(&r->op.arena, struct listing);
    int64_t limit = LIMIT_DEFAULT;
    int64_t skip = 0;
    if (!request_query_int(r, "limit", 1, INT64_MAX, &limit) ||
        !request_query_int(r, "skip", 0, INT64_MAX, &skip) ||
        !request_topic_param(r, 0, &list->topic))
        return;
    list->limit = limit < LIMIT_MAX ? (uint64_t)limit : LIMIT_MAX;
    list->skip = (uint64_t)skip;
    r->state = list;
    request_submit_query(r,
                         (struct query){.type = QUERY_DELAYED,
                                        .name = list->topic,
                                        .partition = -1,
                                        .skip = list->skip,
                                        .limit = (uint32_t)list->limit},
                         then_listed);
}

/* Get, and what cancelling has in common with it. */

struct single {
    struct span topic; /* qualified */
    uint64_t offset;
    int64_t partition;    /* -1: all */
    uint32_t *candidates; /* partitions where it may wait, ascending */
    uint32_t count;
    uint32_t next; /* of them */
    uint32_t topic_id;
    struct delayed_item item; /* the first that was found */
    uint32_t matches;
};

/* Reads the fetched message; *found is false if it is not there or was never delayed. True: all is
 * well; else it is answered. Takes: the range. */
static bool read_single(struct request *r, bool *found)
{
    struct single *one = r->state;
    struct fetch_request *fetched = &r->op.fetch;
    struct journal_problem problem = {0};
    struct fetched message;
    struct fetch f;
    *found = false;
    if (fetched->range.segment == NULL)
        return true;
    fetch_init(&f, &fetched->range, one->offset);
    enum status st = read_at(&f, one->offset, &message, found, &problem);
    if (*found) {
        one->item = (struct delayed_item){
            .info = {fetched->partition, one->offset, message_due_us(&message),
                     message.record.priority},
        };
        keep_text(&one->item, &message.record, &r->op.arena);
        *found = one->item.info.due_us > 0;
    }
    fetch_fini(&f);
    log_range_release(&fetched->range);
    if (st != ST_OK)
        fetch_problem_reply(r, st, &problem);
    return st == ST_OK;
}

static void then_candidate(struct request *r);

static void ask_candidate(struct request *r)
{
    const struct single *one = r->state;
    if (one->next < one->count) {
        submit_fetch(r, one->topic, one->candidates[one->next], one->offset, then_candidate);
    } else if (one->matches == 0) {
        reply_error(r, ST_DELAYED_NOT_FOUND);
    } else {
        r->out.size_max = REPLY_SIZE_MAX;
        write_item(r, &one->item, one->matches);
        reply_send(r, 200);
    }
}

static void then_candidate(struct request *r)
{
    struct single *one = r->state;
    struct fetch_request *fetched = &r->op.fetch;
    bool found = fetched->pending;
    if (reply_if_failed(r))
        return;
    if (fetched->status != ST_OK) {
        reply_error(r, fetched->status);
        return;
    }
    one->next++;
    if (!fetched->pending || one->matches > 0)
        log_range_release(&fetched->range);
    else if (!read_single(r, &found))
        return;
    one->matches += found;
    ask_candidate(r);
}

static void then_topic(struct request *r)
{
    struct single *one = r->state;
    const struct query_result *result = &r->op.query_result;
    if (reply_if_query_failed(r))
        return;
    const struct topic_info *topic = &result->topics[0];
    one->candidates = arena_array(&r->op.arena, topic->partition_count, sizeof *one->candidates);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_info *p = &topic->partitions[i];
        if ((one->partition < 0 || one->partition == i) && p->pending_count > 0 &&
            one->offset >= p->start_offset && one->offset < p->next_offset)
            one->candidates[one->count++] = i;
    }
    ask_candidate(r);
}

void on_delayed_get(struct request *r)
{
    struct single *one = arena_new(&r->op.arena, struct single);
    int64_t offset = 0;
    one->partition = -1;
    if (!request_int_param(r, 1, "offset", &offset) ||
        !request_query_int(r, "partition", 0, INT64_MAX, &one->partition) ||
        !request_topic_param(r, 0, &one->topic))
        return;
    one->offset = (uint64_t)offset;
    r->state = one;
    request_submit_query(r, (struct query){.type = QUERY_TOPIC, .name = one->topic}, then_topic);
}

/* Cancel: the command names the time, which the record tells; the machine judges. */

static void then_cancelled(struct request *r)
{
    const struct single *one = r->state;
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "cancelled", true);
    json_member_bool(r, "canceled", true);
    json_member_span(r, "topic", r->params[0]);
    json_member_i64(r, "partition", one->partition);
    json_member_u64(r, "offset", one->offset);
    if (r->op.result.delay_cancel.already)
        json_member_bool(r, "already_cancelled", true);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static void then_record(struct request *r)
{
    const struct single *one = r->state;
    bool found = false;
    if (reply_if_failed(r))
        return;
    if (r->op.fetch.status != ST_OK) {
        reply_error(r, r->op.fetch.status);
        return;
    }
    if (!read_single(r, &found))
        return;
    if (!found) {
        reply_error(r, ST_DELAYED_NOT_FOUND);
        return;
    }
    const struct command cmd = {
        .type = COMMAND_DELAY_CANCEL,
        .delay_cancel = {one->topic_id, one->item.info.partition, one->offset,
                         one->item.info.due_us},
    };
    request_submit_command(r, &cmd, then_cancelled);
}

static void then_topic_id(struct request *r)
{
    struct single *one = r->state;
    const struct query_result *result = &r->op.query_result;
    if (reply_if_query_failed(r))
        return;
    one->topic_id = result->topics[0].id;
    if (one->partition >= result->topics[0].partition_count)
        reply_error(r, ST_DELAYED_NOT_FOUND);
    else
        submit_fetch(r, one->topic, (uint32_t)one->partition, one->offset, then_record);
}

void on_delayed_cancel(struct request *r)
{
    struct single *one = arena_new(&r->op.arena, struct single);
    int64_t offset = 0;
    if (!request_int_param(r, 1, "partition", &one->partition) ||
        !request_int_param(r, 2, "offset", &offset) || !request_topic_param(r, 0, &one->topic))
        return;
    one->offset = (uint64_t)offset;
    r->state = one;
    request_submit_query(r, (struct query){.type = QUERY_RESOLVE, .name = one->topic},
                         then_topic_id);
}

/* Statistics: of the topics that exist, since they were created. */

static uint64_t pending_of(const struct topic_info *topic)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < topic->partition_count; i++)
        sum += topic->partitions[i].pending_count;
    return sum;
}

/* Those that ever had a delayed message. */
static void write_pending_by_topic(struct request *r, const struct query_result *result)
{
    json_write_key(&r->json, "by_topic");
    json_write_object_begin(&r->json);
    for (uint32_t i = 0, count = 0; i < result->topic_count; i += count) {
        uint64_t pending = 0, scheduled = 0;
        count = topics_told_same(result, i);
        for (uint32_t k = i; k < i + count; k++) {
            pending += pending_of(&result->topics[k]);
            scheduled += result->topics[k].totals.scheduled;
        }
        if (scheduled == 0)
            continue;
        json_write_key_string(&r->json, name_strip(result->topics[i].name));
        json_write_uint64(&r->json, pending);
    }
    json_write_object_end(&r->json);
}

static void then_stats(struct request *r)
{
    struct query_result *result = &r->op.query_result;
    if (reply_if_failed(r))
        return;
    topics_told_sort(result);
    struct topic_totals sum = {0};
    uint64_t pending = 0;
    for (uint32_t i = 0; i < result->topic_count; i++) {
        const struct topic_totals *totals = &result->topics[i].totals;
        sum.scheduled += totals->scheduled;
        sum.scheduled_delay_us += totals->scheduled_delay_us;
        sum.due += totals->due;
        sum.cancelled += totals->cancelled;
        pending += pending_of(&result->topics[i]);
    }
    const uint64_t average_us = sum.scheduled > 0 ? sum.scheduled_delay_us / sum.scheduled : 0;
    r->out.size_max = REPLY_SIZE_MAX;
    json_write_object_begin(&r->json);
    json_member_u64(r, "pending_count", pending);
    json_member_u64(r, "delivered_count", sum.due);
    json_member_u64(r, "cancelled_count", sum.cancelled);
    json_member_duration(r, "avg_delay", (int64_t)average_us);
    json_member_u64(r, "canceled_count", sum.cancelled);
    json_member_u64(r, "total_scheduled", sum.scheduled);
    json_member_u64(r, "total_delivered", sum.due);
    json_member_u64(r, "total_canceled", sum.cancelled);
    json_member_u64(r, "total_pending", pending);
    write_pending_by_topic(r, result);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_delay_stats(struct request *r)
{
    topics_told_submit(r, then_stats);
}
