#include "command/codec.h"

#include "command/codec_body.h"
#include "command/record_batch.h"
#include "std/check.h"
#include "std/little_endian.h"
#include "std/wire.h"

enum {
    AT_VERSION = 6, /* u16, below 256 */
    AT_TIME = 8,
    /* The least that one of them takes, so that a count is never trusted beyond the bytes. */
    ACK_ENTRY_SIZE = 4 + 4 + 8,
};

/* The newest; older ones are read. */
static uint16_t version_of(enum command_type type)
{
    if (type == COMMAND_GROUP_JOIN)
        return 3;
    return type == COMMAND_TOPIC_CREATE || type == COMMAND_PUBLISH ? 2 : 1;
}

/* What is written: a publish without an idempotency key is as it always was. */
static uint16_t version_for(const struct command *cmd)
{
    bool plain = cmd->type == COMMAND_PUBLISH && cmd->publish.idempotency_key.size == 0;
    return plain ? 1 : version_of(cmd->type);
}

struct span qualified_name_decode(struct wire_reader *r)
{
    struct span name = wire_get_string(r, 1, QUALIFIED_NAME_SIZE_MAX);
    wire_expect(r, name.size == 0 || memchr(name.data, 0, name.size) == NULL);
    return name;
}

void topic_settings_encode(const struct topic_settings *s, struct buf *out)
{
    wire_put_i64(out, s->retention_us);
    wire_put_i64(out, s->retention_bytes);
    wire_put_i64(out, s->visibility_us);
    wire_put_u32(out, s->deliveries_max);
    wire_put_u8(out, (uint8_t)s->cleanup);
    wire_put_u32(out, s->in_flight_max);
    wire_put_u32(out, s->delayed_max);
    wire_put_u8(out, (uint8_t)s->priority_mode);
}

struct topic_settings topic_settings_decode(struct wire_reader *r)
{
    struct topic_settings s = {.retention_us = wire_get_i64(r), .delayed_max = DELAYED_MAX_DEFAULT};
    s.retention_bytes = wire_get_i64(r);
    s.visibility_us = wire_get_i64(r);
    s.deliveries_max = wire_get_u32(r);
    s.cleanup = wire_get_bool(r) ? CLEANUP_COMPACT : CLEANUP_DELETE;
    wire_expect(r, s.retention_us >= -1 && s.retention_bytes >= -1);
    wire_expect(r, s.visibility_us >= 1 && s.deliveries_max >= 1);
    if (r->version > 1) {
        s.in_flight_max = wire_get_u32(r);
        s.delayed_max = wire_get_u32(r);
        s.priority_mode = wire_get_bool(r) ? PRIORITY_WEIGHTED : PRIORITY_STRICT;
    }
    return s;
}

void encode_topic_create(const struct command_topic_create *c, struct buf *out)
{
    wire_put_string(out, c->name);
    wire_put_u32(out, c->partition_count);
    wire_put_u8(out, c->if_absent);
    topic_settings_encode(&c->settings, out);
}

void decode_topic_create(struct wire_reader *r, struct arena *arena,
                         struct command_topic_create *out)
{
    (void)arena;
    out->name = qualified_name_decode(r);
    out->partition_count = wire_get_u32(r);
    wire_expect(r, out->partition_count >= 1 && out->partition_count <= PARTITIONS_MAX);
    out->if_absent = wire_get_bool(r);
    out->settings = topic_settings_decode(r);
}

void encode_topic_delete(const struct command_topic_delete *c, struct buf *out)
{
    wire_put_string(out, c->name);
}

void decode_topic_delete(struct wire_reader *r, struct arena *arena,
                         struct command_topic_delete *out)
{
    (void)arena;
    out->name = qualified_name_decode(r);
}

void encode_topic_add_partitions(const struct command_topic_add_partitions *c, struct buf *out)
{
    wire_put_string(out, c->name);
    wire_put_u32(out, c->partition_count);
}

void decode_topic_add_partitions(struct wire_reader *r, struct arena *arena,
                                 struct command_topic_add_partitions *out)
{
    (void)arena;
    out->name = qualified_name_decode(r);
    out->partition_count = wire_get_u32(r);
    wire_expect(r, out->partition_count >= 1 && out->partition_count <= PARTITIONS_MAX);
}

static void encode_idempotency(struct span key, struct span memo, struct buf *out)
{
    CHECK(key.size == CONTENT_SIZE);
    buf_put_span(out, key);
    wire_put_u32(out, (uint32_t)memo.size);
    buf_put_span(out, memo);
}

void encode_publish(const struct command_publish *c, struct buf *out)
{
    wire_put_u32(out, c->topic_id);
    wire_put_u32(out, c->partition_count);
    wire_put_u32(out, c->keyless_count);
    wire_put_u32(out, c->entry_count);
    buf_put_span(out, c->entries);
    if (c->idempotency_key.size > 0)
        encode_idempotency(c->idempotency_key, c->memo, out);
}

/* What apply walks must be there. */
static bool records_are_whole(struct span batch, const struct batch_header *header)
{
    struct record record;
    size_t cursor = 0;
    uint32_t count = 0;
    while (batch_next(batch, &cursor, &record))
        count++;
    return cursor == batch.size && count == header->count;
}

struct span message_batch_decode(struct wire_reader *r, uint32_t size)
{
    struct span batch = wire_get_bytes(r, size);
    struct batch_header header = {0};
    wire_expect(r, wire_ok(r) && batch_header_read(batch, &header) == ST_OK);
    wire_expect(r, header.size == size && header.count == 1);
    wire_expect(r, wire_ok(r) && records_are_whole(batch, &header));
    return batch;
}

/* Takes one entry off the reader; the number of its messages, 0 when it failed. */
static uint32_t decode_publish_entry(struct wire_reader *r, const struct command_publish *publish)
{
    uint32_t target = wire_get_u32(r);
    uint32_t size = wire_get_u32(r);
    uint32_t slot = target & ~PUBLISH_KEYLESS;
    wire_expect(r, slot < publish->partition_count);
    wire_expect(r, (target & PUBLISH_KEYLESS) == 0 || slot < publish->keyless_count);
    struct span batch = wire_get_bytes(r, size);
    struct batch_header header = {0};
    wire_expect(r, wire_ok(r) && batch_header_read(batch, &header) == ST_OK);
    wire_expect(r, header.size == size);
    if (wire_ok(r) && (header.flags & (BATCH_HAS_DELAYS | BATCH_HAS_PRIORITIES)) != 0)
        wire_expect(r, records_are_whole(batch, &header)); /* others are never looked at */
    return wire_ok(r) ? header.count : 0;
}

void decode_publish(struct wire_reader *r, struct arena *arena, struct command_publish *out)
{
    (void)arena;
    out->topic_id = wire_get_u32(r);
    out->partition_count = wire_get_u32(r);
    out->keyless_count = wire_get_u32(r);
    wire_expect(r, out->partition_count >= 1 && out->partition_count <= PARTITIONS_MAX);
    out->entry_count =
        wire_get_count(r, 1, MESSAGES_PER_PUBLISH_MAX, PUBLISH_ENTRY_SIZE + BATCH_HEADER_SIZE);
    out->entries = r->left;
    uint64_t messages = 0;
    for (uint32_t i = 0; i < out->entry_count && wire_ok(r); i++)
        messages += decode_publish_entry(r, out);
    out->entries.size -= r->left.size;
    wire_expect(r, messages <= MESSAGES_PER_PUBLISH_MAX && out->keyless_count <= messages);
    if (r->version == 1)
        return;
    out->idempotency_key = wire_get_bytes(r, CONTENT_SIZE);
    out->memo = wire_get_bytes(r, wire_get_u32(r));
}

void ack_entry_encode(const struct ack_entry *entry, struct buf *out)
{
    wire_put_u32(out, entry->topic_id);
    wire_put_u32(out, entry->partition);
    wire_put_u64(out, entry->offset);
}

struct ack_entry ack_entry_decode(struct wire_reader *r)
{
    struct ack_entry entry = {.topic_id = wire_get_u32(r)};
    entry.partition = wire_get_u32(r);
    entry.offset = wire_get_u64(r);
    return entry;
}

void encode_ack(const struct command_ack *c, struct buf *out)
{
    wire_put_u32(out, c->group_id);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++)
        ack_entry_encode(&c->entries[i], out);
}

void decode_ack(struct wire_reader *r, struct arena *arena, struct command_ack *out)
{
    out->group_id = wire_get_u32(r);
    out->entry_count = wire_get_count(r, 1, ACKS_PER_COMMAND_MAX, ACK_ENTRY_SIZE);
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count; i++)
        out->entries[i] = ack_entry_decode(r);
}

void command_encode(const struct command *cmd, struct buf *out)
{
    size_t start = out->size;
    wire_put_u32(out, 0);
    wire_put_u16(out, (uint16_t)cmd->type);
    wire_put_u16(out, version_for(cmd));
    wire_put_i64(out, cmd->time_us);
    switch (cmd->type) {
#define COMMAND(number, NAME, name)                                                                \
    case COMMAND_##NAME:                                                                           \
        encode_##name(&cmd->name, out);                                                            \
        break;
#include "command/commands.def"
#undef COMMAND
    default:
        CHECK(false); /* a command type without an encoding */
    }
    if (out->overflowed)
        return; /* the buffer remembers */
    CHECK(out->size - start <= UINT32_MAX);
    store_u32(out->data + start, (uint32_t)(out->size - start));
}

static bool decode_body(struct wire_reader *r, struct arena *arena, struct command *out)
{
    switch (out->type) {
#define COMMAND(number, NAME, name)                                                                \
    case COMMAND_##NAME:                                                                           \
        decode_##name(r, arena, &out->name);                                                       \
        return wire_at_end(r);
#include "command/commands.def"
#undef COMMAND
    default:
        return false;
    }
}

enum status command_decode(struct span bytes, struct arena *arena, struct command *out)
{
    *out = (struct command){0};
    struct wire_reader r;
    wire_reader_init(&r, bytes);
    uint32_t size = wire_get_u32(&r);
    uint16_t type = wire_get_u16(&r);
    uint16_t version = wire_get_u16(&r);
    out->time_us = wire_get_i64(&r);
    out->type = (enum command_type)type;
    wire_expect(&r, size == bytes.size && out->time_us >= 0);
    wire_expect(&r, version >= 1 && version <= version_of(out->type));
    if (!wire_ok(&r))
        return ST_CORRUPT;
    r.version = version;
    return decode_body(&r, arena, out) ? ST_OK : ST_CORRUPT;
}

void publish_make_idempotent(struct buf *record, struct span key, struct span memo)
{
    encode_idempotency(key, memo, record);
    if (record->overflowed)
        return;
    store_u32(record->data, (uint32_t)record->size);
    record->data[AT_VERSION] = (uint8_t)version_of(COMMAND_PUBLISH);
}

void command_stamp(uint8_t *record, int64_t time_us)
{
    store_u64(record + AT_TIME, (uint64_t)time_us);
}

bool publish_entry_next(const struct command_publish *publish, size_t *cursor,
                        struct publish_entry *out_entry, struct span *out_batch)
{
    struct span entries = publish->entries;
    CHECK(*cursor <= entries.size);
    if (*cursor == entries.size)
        return false;
    CHECK(entries.size - *cursor >= PUBLISH_ENTRY_SIZE);
    const uint8_t *at = entries.data + *cursor;
    *out_entry = (struct publish_entry){.target = load_u32(at), .size = load_u32(at + 4)};
    CHECK(out_entry->size <= entries.size - *cursor - PUBLISH_ENTRY_SIZE);
    *out_batch = span_of(at + PUBLISH_ENTRY_SIZE, out_entry->size);
    *cursor += PUBLISH_ENTRY_SIZE + (size_t)out_entry->size;
    return true;
}
