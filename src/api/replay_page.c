#include "api/replay_page.h"

#include "command/dead_letter_headers.h"
#include "node/fetch.h"
#include "std/check.h"
#include "std/murmur3.h"

enum { BATCHES_SIZE_MAX = 80 * 1024 * 1024 };

/* What a reading of a page keeps in mind. */
struct reading {
    struct replay_page *page;
    const struct fetch_request *fetched;
    struct fetch fetch;
    struct buf headers; /* of the message at hand, as it had them before it died */
    uint32_t hidden;    /* index of the first run that does not lie behind us */
    size_t bytes;       /* of messages that were looked at */
};

/* Steps over what is not there to be moved. False: the page's end, or the piece's, is reached. */
static bool skip_hidden(struct reading *in)
{
    struct replay_page *p = in->page;
    const struct fetch_request *fetched = in->fetched;
    const uint64_t end = p->end < fetched->hidden_end ? p->end : fetched->hidden_end;
    while (in->hidden < fetched->hidden_count && p->next < end) {
        const struct hidden_run *run = &fetched->hidden[in->hidden];
        if (p->next < run->first)
            break;
        const uint64_t to = run->end < end ? run->end : end;
        if (p->next < to) {
            p->skipped_count += to - p->next;
            p->next = to;
        }
        if (p->next >= run->end)
            in->hidden++;
    }
    return p->next < end;
}

/* Where the message is to go, qualified, into `out`; 0: nowhere. */
static uint32_t target_name(const struct replay_page *p, const struct dead_letter_origin *origin,
                            uint8_t out[QUALIFIED_NAME_SIZE_MAX])
{
    const struct span topic = span_of(origin->topic, origin->topic_size);
    if (p->target.size > 0) {
        CHECK(p->target.size <= QUALIFIED_NAME_SIZE_MAX);
        memcpy(out, p->target.data, p->target.size);
        return (uint32_t)p->target.size;
    }
    if (!name_is_topic(topic) || p->scope.size + topic.size > QUALIFIED_NAME_SIZE_MAX)
        return 0; /* nor to a dead-letter topic: no dead letter came from there */
    if (p->scope.size > 0)
        memcpy(out, p->scope.data, p->scope.size);
    memcpy(out + p->scope.size, topic.data, topic.size);
    return (uint32_t)(p->scope.size + topic.size);
}

static const struct replay_target *find_target(const struct replay_page *p, struct span name)
{
    for (unsigned i = 0; i < REPLAY_TARGETS_MAX; i++) {
        if (span_equal(p->targets[i].name, name))
            return &p->targets[i];
    }
    return NULL;
}

/* A keyed message goes where its key belongs; another to the partition it came from, in its own
 * topic, else to the one whose number it has now: so those of one partition stay together. */
static uint32_t hash_of(const struct replay_page *p, const struct record *record,
                        const struct dead_letter_origin *origin, struct span target)
{
    if (record->key.size > 0)
        return murmur3_32(record->key);
    const struct span topic = span_of(origin->topic, origin->topic_size);
    const bool home = topic.size > 0 && span_equal(name_strip(target), topic);
    return home && origin->has_partition ? origin->partition : p->partition;
}

static void add_entry(struct reading *in, const struct fetched *message, uint32_t hash)
{
    struct replay_page *p = in->page;
    const size_t start = p->batches.size;
    struct record record = message->record;
    record.headers = buf_span(&in->headers);
    record.delay_us = 0; /* it was due long ago */
    record.deliver_at_us = 0;
    struct batch_builder builder;
    batch_begin(&builder, &p->batches);
    batch_add(&builder, &record);
    batch_end(&builder);
    CHECK(!p->batches.overflowed); /* a publish has a smaller bound */
    p->entries[p->entry_count++] = (struct replay_entry){
        .offset = message->offset, .hash = hash, .batch = {.size = p->batches.size - start}};
}

/* False: the message is not for this page, which ends before it. */
static bool take_message(struct reading *in, const struct fetched *message)
{
    struct replay_page *p = in->page;
    struct dead_letter_origin origin;
    uint8_t text[QUALIFIED_NAME_SIZE_MAX];
    buf_clear(&in->headers);
    dead_letter_headers_strip(message->record.headers, &in->headers, &origin);
    const struct span name = span_of(text, target_name(p, &origin, text));
    const struct replay_target *target = name.size == 0 ? NULL : find_target(p, name);
    if (name.size > 0 && target == NULL) {
        memcpy(p->unknown, text, name.size);
        p->unknown_size = (uint32_t)name.size;
        return false;
    }
    if (target == NULL || target->topic_id == 0) {
        p->error_count++;
    } else if (p->entry_count > 0 && target->topic_id != p->target_topic_id) {
        return false;
    } else {
        p->target_topic_id = target->topic_id;
        add_entry(in, message, hash_of(p, &message->record, &origin, name));
    }
    in->bytes += record_payload(&message->record);
    p->next = message->offset + 1;
    return true;
}

static bool is_full(const struct reading *in)
{
    const struct replay_page *p = in->page;
    return p->entry_count == REPLAYS_PER_COMMAND_MAX || in->bytes >= REPLAY_PAGE_SIZE_AIM ||
           p->entry_count + p->error_count >= p->message_max;
}

static void point_entries(struct replay_page *p)
{
    size_t at = 0; /* the buffer does not move any more */
    for (uint32_t i = 0; i < p->entry_count; i++) {
        p->entries[i].batch.data = p->batches.data + at;
        at += p->entries[i].batch.size;
    }
    CHECK(at == p->batches.size);
}

enum status replay_page_read(struct replay_page *p, const struct fetch_request *fetched,
                             struct journal_problem *out_problem)
{
    struct reading in = {.page = p, .fetched = fetched};
    enum status st = ST_OK;
    p->entry_count = 0;
    p->error_count = 0;
    p->skipped_count = 0;
    p->unknown_size = 0;
    if (p->next < fetched->start_offset)
        p->next = fetched->start_offset;
    buf_init(&p->batches, BATCHES_SIZE_MAX);
    buf_init(&in.headers, BATCH_SIZE_MAX);
    fetch_init(&in.fetch, &fetched->range, p->next);
    while (!is_full(&in) && skip_hidden(&in)) {
        struct fetched message;
        bool end = false;
        fetch_seek(&in.fetch, p->next);
        st = fetch_next(&in.fetch, &message, &end, out_problem);
        if (st != ST_OK || end || message.offset >= p->end || !take_message(&in, &message))
            break;
    }
    fetch_fini(&in.fetch);
    buf_fini(&in.headers);
    point_entries(p);
    return st;
}

void replay_page_fini(struct replay_page *p)
{
    buf_fini(&p->batches);
}
