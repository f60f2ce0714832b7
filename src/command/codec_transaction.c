/* Bodies of the commands about producers and transactions. */
#include "command/codec_body.h"

enum { ACK_ENTRY_SIZE = 4 + 4 + 8 };

static void put_producer(struct buf *out, const struct producer_ref *producer)
{
    wire_put_string(out, producer->scope);
    wire_put_u64(out, producer->id);
    wire_put_u32(out, producer->epoch);
    wire_put_string(out, producer->transactional_id);
}

static struct producer_ref get_producer(struct wire_reader *r)
{
    struct producer_ref producer = {.scope = wire_get_string(r, 0, TENANT_SCOPE_SIZE_MAX)};
    producer.id = wire_get_u64(r);
    producer.epoch = wire_get_u32(r);
    producer.transactional_id = wire_get_string(r, 0, TRANSACTIONAL_ID_SIZE_MAX);
    wire_expect(r, producer.scope.size == 0 ||
                       memchr(producer.scope.data, 0, producer.scope.size) == NULL);
    return producer;
}

void encode_producer_init(const struct command_producer_init *c, struct buf *out)
{
    wire_put_string(out, c->scope);
    wire_put_string(out, c->transactional_id);
    wire_put_i64(out, c->timeout_us);
}

void decode_producer_init(struct wire_reader *r, struct arena *arena,
                          struct command_producer_init *out)
{
    (void)arena;
    out->scope = wire_get_string(r, 0, TENANT_SCOPE_SIZE_MAX);
    wire_expect(r, out->scope.size == 0 || memchr(out->scope.data, 0, out->scope.size) == NULL);
    out->transactional_id = wire_get_string(r, 0, TRANSACTIONAL_ID_SIZE_MAX);
    out->timeout_us = wire_get_i64(r);
    wire_expect(r, out->timeout_us >= 1 && out->timeout_us <= TRANSACTION_TIMEOUT_US_MAX);
}

void encode_producer_heartbeat(const struct command_producer_heartbeat *c, struct buf *out)
{
    put_producer(out, &c->producer);
}

void decode_producer_heartbeat(struct wire_reader *r, struct arena *arena,
                               struct command_producer_heartbeat *out)
{
    (void)arena;
    out->producer = get_producer(r);
}

void encode_transaction_begin(const struct command_transaction_begin *c, struct buf *out)
{
    put_producer(out, &c->producer);
}

void decode_transaction_begin(struct wire_reader *r, struct arena *arena,
                              struct command_transaction_begin *out)
{
    (void)arena;
    out->producer = get_producer(r);
}

void encode_transaction_publish(const struct command_transaction_publish *c, struct buf *out)
{
    put_producer(out, &c->producer);
    wire_put_u32(out, c->topic_id);
    wire_put_u32(out, c->partition_count);
    wire_put_u32(out, c->target);
    wire_put_i64(out, c->sequence);
    buf_put_span(out, c->content);
    wire_put_u32(out, (uint32_t)c->batch.size);
    buf_put_span(out, c->batch);
}

void decode_transaction_publish(struct wire_reader *r, struct arena *arena,
                                struct command_transaction_publish *out)
{
    (void)arena;
    out->producer = get_producer(r);
    out->topic_id = wire_get_u32(r);
    out->partition_count = wire_get_u32(r);
    out->target = wire_get_u32(r);
    out->sequence = wire_get_i64(r);
    out->content = wire_get_bytes(r, CONTENT_SIZE);
    out->batch = message_batch_decode(r, wire_get_u32(r));
    wire_expect(r, out->partition_count >= 1 && out->partition_count <= PARTITIONS_MAX);
    wire_expect(r, out->target == PUBLISH_KEYLESS || out->target < out->partition_count);
    wire_expect(r, out->sequence >= -1 && out->sequence <= SEQUENCE_MAX);
}

void encode_transaction_ack(const struct command_transaction_ack *c, struct buf *out)
{
    put_producer(out, &c->producer);
    wire_put_u32(out, c->group_id);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++)
        ack_entry_encode(&c->entries[i], out);
}

void decode_transaction_ack(struct wire_reader *r, struct arena *arena,
                            struct command_transaction_ack *out)
{
    out->producer = get_producer(r);
    out->group_id = wire_get_u32(r);
    out->entry_count = wire_get_count(r, 1, ACKS_PER_COMMAND_MAX, ACK_ENTRY_SIZE);
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count; i++)
        out->entries[i] = ack_entry_decode(r);
}

void encode_transaction_offsets(const struct command_transaction_offsets *c, struct buf *out)
{
    put_producer(out, &c->producer);
    encode_offsets_commit(&c->commit, out);
}

void decode_transaction_offsets(struct wire_reader *r, struct arena *arena,
                                struct command_transaction_offsets *out)
{
    out->producer = get_producer(r);
    decode_offsets_commit(r, arena, &out->commit);
}

void encode_transaction_end(const struct command_transaction_end *c, struct buf *out)
{
    put_producer(out, &c->producer);
    wire_put_u8(out, (uint8_t)c->how);
    wire_put_u64(out, c->number);
}

void decode_transaction_end(struct wire_reader *r, struct arena *arena,
                            struct command_transaction_end *out)
{
    (void)arena;
    out->producer = get_producer(r);
    uint8_t how = wire_get_u8(r);
    out->number = wire_get_u64(r);
    wire_expect(r, how <= TRANSACTION_EXPIRE);
    out->how = wire_ok(r) ? (enum transaction_end)how : TRANSACTION_ABORT;
}
