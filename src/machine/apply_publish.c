/* Publishing: gives each batch its partition; looks at messages only where some are not plain. */
#include "command/codec.h"
#include "command/record_batch.h"
#include "machine/state.h"
#include "std/check.h"

static struct partition *place(struct topic *t, uint32_t target)
{
    uint32_t index = target;
    if (target & PUBLISH_KEYLESS)
        index = (t->round_robin + (target & ~PUBLISH_KEYLESS)) % t->partition_count;
    CHECK(index < t->partition_count);
    return t->partitions[index];
}

/* Is there room for the delayed messages of the command? All of them or none. */
static bool has_room(const struct machine *m, const struct topic *t,
                     const struct command_publish *cmd, struct result *out)
{
    size_t cursor = 0;
    struct publish_entry entry;
    struct span batch;
    struct batch_header header;
    uint64_t delayed = 0;
    while (publish_entry_next(cmd, &cursor, &entry, &batch)) {
        enum status st = batch_header_read(batch, &header);
        CHECK(st == ST_OK);
        delayed += partition_count_delayed(m, batch, &header);
    }
    uint64_t max = t->settings.delayed_max;
    uint64_t room = t->pending_count < max ? max - t->pending_count : 0;
    if (delayed <= room)
        return true;
    out->status = ST_DELAYED_FULL;
    out->publish.delayed_room = (uint32_t)room;
    return false;
}

void apply_publish(struct machine *m, const struct command_publish *cmd, struct arena *arena,
                   struct result *out)
{
    bool once = cmd->idempotency_key.size > 0;
    if (once &&
        idempotency_find(&m->idempotency, cmd->idempotency_key, m->time_us, arena, &out->publish))
        return;
    struct topic *t = machine_topic_by_id(m, cmd->topic_id);
    if (t == NULL || t->partition_count != cmd->partition_count) {
        out->status = ST_STALE;
        return;
    }
    if (!has_room(m, t, cmd, out))
        return;
    struct placement *placements = arena_array(arena, cmd->entry_count, sizeof *placements);
    size_t cursor = 0;
    struct publish_entry entry;
    struct span batch;
    uint32_t done = 0;
    while (publish_entry_next(cmd, &cursor, &entry, &batch)) {
        CHECK(done < cmd->entry_count);
        struct partition *p = place(t, entry.target);
        placements[done++] = (struct placement){p->index, partition_append(m, p, batch)};
    }
    CHECK(done == cmd->entry_count);
    t->round_robin = (t->round_robin + cmd->keyless_count) % t->partition_count;
    out->publish =
        (struct result_publish){.placements = placements, .count = done, .time_us = m->time_us};
    if (once)
        idempotency_add(&m->idempotency, cmd->idempotency_key, cmd->memo, &out->publish);
}
