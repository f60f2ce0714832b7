#include "api/publish_builder.h"

#include <endian.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "command/codec.h"
#include "command/record_batch.h"
#include "std/check.h"
#include "std/murmur3.h"

enum { PUBLISH_VERSION = 1, RECORD_OVERHEAD_MAX = 40, ERROR_SIZE = 96 };

#define NONE UINT32_MAX

/* The command while it is written. */
struct building {
    struct publish_message *messages;
    struct publish_outcome *outcomes;
    struct buf *out;
    uint32_t entry_count;
};

void publish_builder_init(struct publish_builder *b)
{
    publish_reader_init(&b->reader);
    b->touched_count = 0;
    for (uint32_t i = 0; i < PARTITIONS_MAX; i++)
        b->first[i] = NONE;
}

void publish_builder_fini(struct publish_builder *b)
{
    publish_reader_fini(&b->reader);
}

enum status publish_builder_read(struct publish_builder *b, struct span body, int64_t now_us,
                                 struct arena *arena, const char **out_detail)
{
    return publish_reader_read(&b->reader, body, now_us, arena, out_detail);
}

static void put_u16(uint8_t *to, uint16_t value)
{
    value = htole16(value);
    memcpy(to, &value, sizeof value);
}

static void put_u32(uint8_t *to, uint32_t value)
{
    value = htole32(value);
    memcpy(to, &value, sizeof value);
}

__attribute__((format(printf, 3, 4))) static void refuse(struct publish_message *m,
                                                         struct arena *arena, const char *fmt, ...)
{
    char text[ERROR_SIZE];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    m->error = arena_string(arena, span_text(text));
}

/* What only the topic can say against a message. */
static void judge_message(struct publish_message *m, const struct publish_target *target,
                          struct arena *arena, uint64_t *room, struct publish_plan *plan)
{
    const uint32_t count = target->partition_count;
    if (m->has_partition && (m->partition < 0 || m->partition >= count)) {
        refuse(m, arena, "partition %" PRId64 " is not in 0..%" PRIu32, m->partition, count - 1);
        plan->misplaced_count++;
        return;
    }
    if (m->delay_us == 0 && m->deliver_at_us == 0)
        return;
    if (*room == 0) {
        refuse(m, arena, "the topic holds its limit of %" PRIu32 " delayed messages",
               target->delayed_max);
        plan->no_room_count++;
    } else {
        --*room;
    }
}

/* Where a message goes; *keyless counts those that go anywhere. */
static uint32_t target_of(const struct publish_message *m, uint32_t partition_count,
                          uint32_t *keyless)
{
    if (m->has_partition)
        return (uint32_t)m->partition;
    if (m->key.size > 0)
        return murmur3_32(m->key) % partition_count;
    return PUBLISH_KEYLESS | (*keyless)++ % partition_count;
}

/* Decides where each message goes. Gives: bytes that the command takes at most. */
static size_t place_messages(struct publish_reader *r, const struct publish_target *target,
                             struct arena *arena, uint32_t *out_keyless, struct publish_plan *plan)
{
    const size_t overhead_max = RECORD_OVERHEAD_MAX + PUBLISH_ENTRY_SIZE + BATCH_HEADER_SIZE;
    uint64_t room = target->delayed_room;
    uint32_t keyless = 0;
    *plan = (struct publish_plan){0};
    for (uint32_t i = 0; i < r->count; i++) {
        struct publish_message *m = &r->messages[i];
        if (m->error == NULL)
            judge_message(m, target, arena, &room, plan);
        if (m->error != NULL)
            continue;
        m->target = target_of(m, target->partition_count, &keyless);
        plan->stored_count++;
        plan->stored_bytes += m->value.size + m->key.size + m->headers.size;
    }
    *out_keyless = keyless;
    return COMMAND_HEADER_SIZE + PUBLISH_BODY_SIZE + plan->stored_bytes +
           plan->stored_count * overhead_max;
}

static size_t entry_begin(struct building *in, uint32_t target, struct batch_builder *batch)
{
    uint8_t entry[PUBLISH_ENTRY_SIZE] = {0};
    size_t at = in->out->size;
    put_u32(entry, target);
    buf_put(in->out, entry, sizeof entry);
    batch_begin(batch, in->out);
    return at;
}

static void entry_end(struct building *in, size_t at, struct batch_builder *batch)
{
    batch_end(batch);
    put_u32(in->out->data + at + 4, (uint32_t)(in->out->size - at - PUBLISH_ENTRY_SIZE));
    in->entry_count++;
}

static void add_record(struct batch_builder *batch, const struct publish_message *m)
{
    batch_add(batch, &(struct record){
                         .key = m->key,
                         .headers = m->headers,
                         .value = m->value,
                         .value_escaped = m->value_escaped,
                         .priority = (enum priority)m->priority,
                         .delay_us = m->delay_us,
                         .deliver_at_us = m->deliver_at_us,
                     });
}

/* Writes the messages of one target, which are a list from `first` on, as one or more batches. */
static void write_target(struct building *in, uint32_t first)
{
    const uint32_t target = in->messages[first].target;
    struct batch_builder batch;
    size_t at = entry_begin(in, target, &batch);
    for (uint32_t i = first; i != NONE; i = in->messages[i].next) {
        const struct publish_message *m = &in->messages[i];
        const size_t size = m->value.size + m->key.size + m->headers.size;
        if (batch.count > 0 && batch_size(&batch) + size > BATCH_SIZE_AIM) {
            entry_end(in, at, &batch);
            at = entry_begin(in, target, &batch);
        }
        struct publish_outcome *outcome = &in->outcomes[i];
        outcome->entry = in->entry_count;
        outcome->index = batch.count;
        add_record(&batch, m);
    }
    entry_end(in, at, &batch);
}

/* Chains the messages from *at on by target, up to the next one of the other kind, and moves *at
 * there. */
static void collect_run(struct publish_builder *b, uint32_t *at)
{
    struct publish_reader *r = &b->reader;
    const uint32_t kind = r->messages[*at].target & PUBLISH_KEYLESS;
    for (; *at < r->count; ++*at) {
        struct publish_message *m = &r->messages[*at];
        if (m->error != NULL)
            continue;
        if ((m->target & PUBLISH_KEYLESS) != kind)
            return;
        const uint32_t t = m->target & ~PUBLISH_KEYLESS;
        m->next = NONE;
        if (b->first[t] == NONE) {
            b->first[t] = *at;
            b->touched[b->touched_count++] = t;
        } else {
            r->messages[b->last[t]].next = *at;
        }
        b->last[t] = *at;
    }
}

static void write_runs(struct publish_builder *b, struct building *in)
{
    uint32_t at = 0;
    while (at < b->reader.count) {
        if (b->reader.messages[at].error != NULL) {
            at++;
            continue;
        }
        collect_run(b, &at);
        for (uint32_t i = 0; i < b->touched_count; i++) {
            const uint32_t t = b->touched[i];
            write_target(in, b->first[t]);
            b->first[t] = NONE;
        }
        b->touched_count = 0;
    }
}

static void list_outcomes(const struct publish_reader *r, struct arena *arena,
                          struct publish_plan *plan)
{
    plan->outcomes = arena_array(arena, r->count, sizeof *plan->outcomes);
    plan->count = r->count;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct publish_message *m = &r->messages[i];
        plan->outcomes[i] = (struct publish_outcome){
            .error = m->error,
            .delay_us = m->delay_us,
            .deliver_at_us = m->deliver_at_us,
            .priority = m->priority,
        };
    }
}

static void write_head(uint8_t *to, uint32_t size, const uint32_t body[4])
{
    memset(to, 0, COMMAND_HEADER_SIZE); /* the shard stamps the time */
    put_u32(to, size);
    put_u16(to + 4, COMMAND_PUBLISH);
    put_u16(to + 6, PUBLISH_VERSION);
    for (size_t i = 0; i < 4; i++)
        put_u32(to + COMMAND_HEADER_SIZE + 4 * i, body[i]);
}

enum status publish_builder_build(struct publish_builder *b, const struct publish_target *target,
                                  struct arena *arena, struct buf *out,
                                  struct publish_plan *out_plan)
{
    CHECK(target->partition_count >= 1 && target->partition_count <= PARTITIONS_MAX);
    CHECK(b->touched_count == 0);
    uint32_t keyless;
    size_t size_max = place_messages(&b->reader, target, arena, &keyless, out_plan);
    list_outcomes(&b->reader, arena, out_plan);
    if (out_plan->stored_count == 0)
        return ST_OK;
    const size_t start = out->size;
    if (buf_reserve(out, size_max) == NULL) /* once: what follows never grows the buffer */
        return ST_TOO_BIG;
    buf_commit(out, COMMAND_HEADER_SIZE + PUBLISH_BODY_SIZE);
    struct building in = {
        .messages = b->reader.messages, .outcomes = out_plan->outcomes, .out = out};
    write_runs(b, &in);
    CHECK(!out->overflowed);
    const uint32_t body[4] = {target->topic_id, target->partition_count, keyless, in.entry_count};
    write_head(out->data + start, (uint32_t)(out->size - start), body);
    return ST_OK;
}

void publish_builder_build_one(struct publish_builder *b, const struct publish_target *target,
                               struct arena *arena, struct buf *out, uint32_t *out_target,
                               struct publish_plan *out_plan)
{
    CHECK(b->reader.count == 1 && b->reader.messages[0].error == NULL);
    uint32_t keyless;
    (void)place_messages(&b->reader, target, arena, &keyless, out_plan);
    if (out_plan->stored_count == 0)
        return;
    struct batch_builder batch;
    batch_begin(&batch, out);
    add_record(&batch, &b->reader.messages[0]);
    batch_end(&batch);
    *out_target = b->reader.messages[0].target;
}
