/* Bodies of the commands about deliveries and delays. */
#include "command/codec_body.h"
#include "command/record_batch.h"

enum { /* the least that one of them takes */
       PLACE_SIZE = 4 + 4 + 4 + 8,
       LEASE_ENTRY_SIZE = PLACE_SIZE + 4 + 4 + 1 + 8 + 8,
       RELEASE_ENTRY_SIZE_MIN = PLACE_SIZE + 8 + 4 + 1 + 8 + 8 + 2,
       DEAD_LETTER_ENTRY_SIZE_MIN = PLACE_SIZE + 8 + 4 + 3 + 4 + 4,
       REPLAY_ENTRY_SIZE_MIN = 8 + 4 + 4 + BATCH_HEADER_SIZE,
};

static void put_place(struct buf *out, const struct delivery_place *place)
{
    wire_put_u32(out, place->group_id);
    wire_put_u32(out, place->topic_id);
    wire_put_u32(out, place->partition);
    wire_put_u64(out, place->offset);
}

static struct delivery_place get_place(struct wire_reader *r)
{
    struct delivery_place place = {.group_id = wire_get_u32(r)};
    place.topic_id = wire_get_u32(r);
    place.partition = wire_get_u32(r);
    place.offset = wire_get_u64(r);
    wire_expect(r, place.offset < OFFSET_MAX);
    return place;
}

void encode_lease(const struct command_lease *c, struct buf *out)
{
    wire_put_u64(out, c->as_of_index);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++) {
        const struct lease_entry *entry = &c->entries[i];
        put_place(out, &entry->place);
        wire_put_u32(out, entry->count);
        wire_put_u32(out, entry->delivery_count);
        wire_put_u8(out, entry->extended);
        wire_put_i64(out, entry->deadline_us);
        wire_put_i64(out, entry->first_us);
    }
}

void decode_lease(struct wire_reader *r, struct arena *arena, struct command_lease *out)
{
    out->as_of_index = wire_get_u64(r);
    out->entry_count = wire_get_count(r, 1, LEASES_PER_COMMAND_MAX, LEASE_ENTRY_SIZE);
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count; i++) {
        struct lease_entry *entry = &out->entries[i];
        entry->place = get_place(r);
        entry->count = wire_get_u32(r);
        entry->delivery_count = wire_get_u32(r);
        entry->extended = wire_get_bool(r);
        entry->deadline_us = wire_get_i64(r);
        entry->first_us = wire_get_i64(r);
        wire_expect(r, entry->count >= 1 && entry->delivery_count >= 1);
        wire_expect(r, entry->count == 1 || (entry->delivery_count == 1 && !entry->extended));
        wire_expect(r, entry->deadline_us >= 0 && entry->first_us >= 0);
    }
}

void encode_release(const struct command_release *c, struct buf *out)
{
    wire_put_u64(out, c->as_of_index);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++) {
        const struct release_entry *entry = &c->entries[i];
        put_place(out, &entry->place);
        wire_put_u64(out, entry->lease_id);
        wire_put_u32(out, entry->delivery_count);
        wire_put_u8(out, (uint8_t)entry->kind);
        wire_put_i64(out, entry->not_before_us);
        wire_put_i64(out, entry->first_us);
        wire_put_string(out, entry->reason);
    }
}

void decode_release(struct wire_reader *r, struct arena *arena, struct command_release *out)
{
    out->as_of_index = wire_get_u64(r);
    out->entry_count = wire_get_count(r, 1, RELEASES_PER_COMMAND_MAX, RELEASE_ENTRY_SIZE_MIN);
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count && wire_ok(r); i++) {
        struct release_entry *entry = &out->entries[i];
        entry->place = get_place(r);
        entry->lease_id = wire_get_u64(r);
        entry->delivery_count = wire_get_u32(r);
        entry->kind = wire_get_bool(r) ? RELEASE_NACK : RELEASE_RETURNED;
        entry->not_before_us = wire_get_i64(r);
        entry->first_us = wire_get_i64(r);
        entry->reason = wire_get_string(r, 0, REASON_SIZE_MAX);
        wire_expect(r, entry->kind == RELEASE_RETURNED || entry->delivery_count >= 1);
        wire_expect(r, entry->not_before_us >= 0 && entry->first_us >= 0);
    }
}

void encode_dead_letter(const struct command_dead_letter *c, struct buf *out)
{
    topic_settings_encode(&c->settings, out);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++) {
        const struct dead_letter_entry *entry = &c->entries[i];
        put_place(out, &entry->place);
        wire_put_u64(out, entry->lease_id);
        wire_put_u32(out, entry->delivery_count);
        wire_put_u8(out, (uint8_t)entry->reason);
        wire_put_u8(out, entry->asked);
        wire_put_u8(out, entry->nacked);
        wire_put_u32(out, entry->hash);
        wire_put_u32(out, (uint32_t)entry->batch.size);
        buf_put_span(out, entry->batch);
    }
}

void decode_dead_letter(struct wire_reader *r, struct arena *arena, struct command_dead_letter *out)
{
    uint16_t version = r->version;
    r->version = 2; /* the settings are those that topics have since this command exists */
    out->settings = topic_settings_decode(r);
    r->version = version;
    out->entry_count =
        wire_get_count(r, 1, DEAD_LETTERS_PER_COMMAND_MAX, DEAD_LETTER_ENTRY_SIZE_MIN);
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count && wire_ok(r); i++) {
        struct dead_letter_entry *entry = &out->entries[i];
        entry->place = get_place(r);
        entry->lease_id = wire_get_u64(r);
        entry->delivery_count = wire_get_u32(r);
        entry->reason = wire_get_bool(r) ? DEAD_LETTER_MAX_RETRIES : DEAD_LETTER_REJECTED;
        entry->asked = wire_get_bool(r);
        entry->nacked = wire_get_bool(r);
        entry->hash = wire_get_u32(r);
        uint32_t size = wire_get_u32(r);
        if (size > 0)
            entry->batch = message_batch_decode(r, size);
        wire_expect(r, entry->delivery_count >= 1 && !(entry->asked && entry->nacked));
    }
}

void encode_delay_due(const struct command_delay_due *c, struct buf *out)
{
    wire_put_u32(out, c->topic_id);
    wire_put_u32(out, c->partition);
    wire_put_u32(out, c->count_max);
}

void decode_delay_due(struct wire_reader *r, struct arena *arena, struct command_delay_due *out)
{
    (void)arena;
    out->topic_id = wire_get_u32(r);
    out->partition = wire_get_u32(r);
    out->count_max = wire_get_u32(r);
    wire_expect(r, out->count_max >= 1 && out->count_max <= DUE_PER_COMMAND_MAX);
}

void encode_delay_cancel(const struct command_delay_cancel *c, struct buf *out)
{
    wire_put_u32(out, c->topic_id);
    wire_put_u32(out, c->partition);
    wire_put_u64(out, c->offset);
    wire_put_i64(out, c->due_us);
}

void decode_delay_cancel(struct wire_reader *r, struct arena *arena,
                         struct command_delay_cancel *out)
{
    (void)arena;
    out->topic_id = wire_get_u32(r);
    out->partition = wire_get_u32(r);
    out->offset = wire_get_u64(r);
    out->due_us = wire_get_i64(r);
    wire_expect(r, out->offset < OFFSET_MAX);
    wire_expect(r, out->due_us >= 0 && out->due_us <= DUE_US_MAX);
}

void encode_replay(const struct command_replay *c, struct buf *out)
{
    wire_put_u32(out, c->topic_id);
    wire_put_u32(out, c->partition);
    wire_put_u32(out, c->target_topic_id);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++) {
        wire_put_u64(out, c->entries[i].offset);
        wire_put_u32(out, c->entries[i].hash);
        wire_put_u32(out, (uint32_t)c->entries[i].batch.size);
        buf_put_span(out, c->entries[i].batch);
    }
}

void decode_replay(struct wire_reader *r, struct arena *arena, struct command_replay *out)
{
    out->topic_id = wire_get_u32(r);
    out->partition = wire_get_u32(r);
    out->target_topic_id = wire_get_u32(r);
    out->entry_count = wire_get_count(r, 1, REPLAYS_PER_COMMAND_MAX, REPLAY_ENTRY_SIZE_MIN);
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count && wire_ok(r); i++) {
        out->entries[i].offset = wire_get_u64(r);
        out->entries[i].hash = wire_get_u32(r);
        uint32_t size = wire_get_u32(r);
        out->entries[i].batch = message_batch_decode(r, size);
    }
}
