/* Bodies of the commands about groups: who is in them, and how far they are. */
#include "command/codec_body.h"

enum {                                                  /* the least that one of them takes */
       JOINER_SIZE_MIN = 2 + 2 + 4 + 8 + 8 + 4 + 1 + 1, /* in version 1 */
       TOPIC_NAME_SIZE_MIN = 2 + 1,
       REVOKED_ENTRY_SIZE_MIN = TOPIC_NAME_SIZE_MIN + 4,
       OFFSET_ENTRY_SIZE_MIN = TOPIC_NAME_SIZE_MIN + 4 + 8,
       RESET_ENTRY_SIZE = 4 + 1 + 8,
};

static struct span get_member_id(struct wire_reader *r)
{
    return wire_get_string(r, 1, MEMBER_ID_SIZE_MAX);
}

static void encode_joiner(const struct joiner *j, struct buf *out)
{
    wire_put_string(out, j->member_id);
    wire_put_string(out, j->client_id);
    wire_put_u32(out, j->topic_count);
    for (uint32_t i = 0; i < j->topic_count; i++)
        wire_put_string(out, j->topics[i]);
    wire_put_i64(out, j->session_us);
    wire_put_i64(out, j->visibility_us);
    wire_put_u32(out, j->in_flight_max);
    wire_put_u8(out, j->rejoin);
    wire_put_u8(out, j->from_latest);
    wire_put_u32(out, j->deliveries_max);
    wire_put_u8(out, j->cooperative);
    wire_put_u8(out, (uint8_t)j->ordering);
}

static void decode_joiner(struct wire_reader *r, struct arena *arena, struct joiner *out)
{
    out->member_id = get_member_id(r);
    out->client_id = wire_get_string(r, 1, NAME_SIZE_MAX);
    out->topic_count = wire_get_count(r, 1, TOPICS_PER_MEMBER_MAX, TOPIC_NAME_SIZE_MIN);
    out->topics = arena_array(arena, out->topic_count, sizeof *out->topics);
    for (uint32_t i = 0; i < out->topic_count; i++)
        out->topics[i] = qualified_name_decode(r);
    out->session_us = wire_get_i64(r);
    out->visibility_us = wire_get_i64(r);
    out->in_flight_max = wire_get_u32(r);
    out->rejoin = wire_get_bool(r);
    out->from_latest = wire_get_bool(r);
    out->deliveries_max = r->version > 1 ? wire_get_u32(r) : 0;
    out->cooperative = r->version > 2 && wire_get_bool(r);
    uint8_t ordering = r->version > 2 ? wire_get_u8(r) : ORDERING_UNSET;
    wire_expect(r, ordering <= ORDERING_KEY);
    out->ordering = wire_ok(r) ? (enum ordering)ordering : ORDERING_UNSET;
    wire_expect(r, out->session_us >= 1 && out->visibility_us >= 0 && out->in_flight_max >= 1);
}

void encode_group_join(const struct command_group_join *c, struct buf *out)
{
    wire_put_string(out, c->group);
    wire_put_u32(out, c->joiner_count);
    for (uint32_t i = 0; i < c->joiner_count; i++)
        encode_joiner(&c->joiners[i], out);
}

void decode_group_join(struct wire_reader *r, struct arena *arena, struct command_group_join *out)
{
    out->group = qualified_name_decode(r);
    out->joiner_count = wire_get_count(r, 1, MEMBERS_PER_GROUP_MAX, JOINER_SIZE_MIN);
    out->joiners = arena_array(arena, out->joiner_count, sizeof *out->joiners);
    for (uint32_t i = 0; i < out->joiner_count && wire_ok(r); i++)
        decode_joiner(r, arena, &out->joiners[i]);
}

void encode_group_leave(const struct command_group_leave *c, struct buf *out)
{
    wire_put_string(out, c->group);
    wire_put_string(out, c->member_id);
    wire_put_u8(out, (uint8_t)c->reason);
}

void decode_group_leave(struct wire_reader *r, struct arena *arena, struct command_group_leave *out)
{
    (void)arena;
    out->group = qualified_name_decode(r);
    out->member_id = get_member_id(r);
    out->reason = wire_get_bool(r) ? LEAVE_SESSION_EXPIRED : LEAVE_ASKED;
}

void encode_group_delete(const struct command_group_delete *c, struct buf *out)
{
    wire_put_string(out, c->group);
}

void decode_group_delete(struct wire_reader *r, struct arena *arena,
                         struct command_group_delete *out)
{
    (void)arena;
    out->group = qualified_name_decode(r);
}

void encode_offsets_commit(const struct command_offsets_commit *c, struct buf *out)
{
    wire_put_string(out, c->group);
    wire_put_string(out, c->member_id);
    wire_put_i64(out, c->generation);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++) {
        wire_put_string(out, c->entries[i].topic);
        wire_put_u32(out, c->entries[i].partition);
        wire_put_u64(out, c->entries[i].offset);
    }
}

void decode_offsets_commit(struct wire_reader *r, struct arena *arena,
                           struct command_offsets_commit *out)
{
    out->group = qualified_name_decode(r);
    out->member_id = get_member_id(r);
    out->generation = wire_get_i64(r);
    out->entry_count = wire_get_count(r, 1, OFFSETS_PER_COMMIT_MAX, OFFSET_ENTRY_SIZE_MIN);
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count && wire_ok(r); i++) {
        out->entries[i].topic = qualified_name_decode(r);
        out->entries[i].partition = wire_get_u32(r);
        out->entries[i].offset = wire_get_u64(r);
        wire_expect(r, out->entries[i].offset <= OFFSET_MAX);
    }
}

void encode_group_revoke(const struct command_group_revoke *c, struct buf *out)
{
    wire_put_string(out, c->group);
    wire_put_u8(out, c->expired);
    wire_put_string(out, c->member_id);
    wire_put_i64(out, c->generation);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++) {
        wire_put_string(out, c->entries[i].topic);
        wire_put_u32(out, c->entries[i].partition);
    }
}

void decode_group_revoke(struct wire_reader *r, struct arena *arena,
                         struct command_group_revoke *out)
{
    out->group = qualified_name_decode(r);
    out->expired = wire_get_bool(r);
    out->member_id = wire_get_string(r, out->expired ? 0 : 1, MEMBER_ID_SIZE_MAX);
    out->generation = wire_get_i64(r);
    out->entry_count = wire_get_count(r, 0, REVOKED_PER_COMMAND_MAX, REVOKED_ENTRY_SIZE_MIN);
    wire_expect(r, !out->expired || (out->member_id.size == 0 && out->entry_count == 0));
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count && wire_ok(r); i++) {
        out->entries[i].topic = qualified_name_decode(r);
        out->entries[i].partition = wire_get_u32(r);
    }
}

void encode_offsets_reset(const struct command_offsets_reset *c, struct buf *out)
{
    wire_put_string(out, c->group);
    wire_put_string(out, c->topic);
    wire_put_u32(out, c->entry_count);
    for (uint32_t i = 0; i < c->entry_count; i++) {
        wire_put_u32(out, c->entries[i].partition);
        wire_put_u8(out, (uint8_t)c->entries[i].to);
        wire_put_u64(out, c->entries[i].offset);
    }
}

void decode_offsets_reset(struct wire_reader *r, struct arena *arena,
                          struct command_offsets_reset *out)
{
    out->group = qualified_name_decode(r);
    out->topic = qualified_name_decode(r);
    out->entry_count = wire_get_count(r, 1, PARTITIONS_MAX, RESET_ENTRY_SIZE);
    out->entries = arena_array(arena, out->entry_count, sizeof *out->entries);
    for (uint32_t i = 0; i < out->entry_count && wire_ok(r); i++) {
        struct reset_entry *entry = &out->entries[i];
        entry->partition = wire_get_u32(r);
        uint8_t to = wire_get_u8(r);
        entry->offset = wire_get_u64(r);
        wire_expect(r, to <= RESET_OFFSET && entry->offset <= OFFSET_MAX);
        wire_expect(r, out->entry_count == 1 || entry->partition != RESET_EVERY_PARTITION);
        entry->to = wire_ok(r) ? (enum reset_to)to : RESET_EARLIEST;
    }
}
