/* Publishing: gives each batch its partition and base offset; never looks at a message. */
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
    return &t->partitions[index];
}

void apply_publish(struct machine *m, const struct command_publish *cmd, struct arena *arena,
                   struct result *out)
{
    struct topic *t = machine_topic_by_id(m, cmd->topic_id);
    if (t == NULL || t->partition_count != cmd->partition_count) {
        out->status = ST_STALE;
        return;
    }
    struct placement *placements = arena_array(arena, cmd->entry_count, sizeof *placements);
    size_t cursor = 0;
    struct publish_entry entry;
    struct span batch;
    uint32_t done = 0;
    while (publish_entry_next(cmd, &cursor, &entry, &batch)) {
        CHECK(done < cmd->entry_count);
        struct batch_header header;
        enum status st = batch_header_read(batch, &header);
        CHECK(st == ST_OK);
        struct partition *p = place(t, entry.target);
        uint64_t base_offset = p->next_offset;
        p->next_offset += header.count;
        p->message_count += header.count;
        p->size_bytes += header.size;
        placements[done++] = (struct placement){p->index, base_offset};
        EFFECT(m, append, p, base_offset, m->time_us, batch);
    }
    CHECK(done == cmd->entry_count);
    t->round_robin = (t->round_robin + cmd->keyless_count) % t->partition_count;
    out->publish = (struct result_publish){placements, done, m->time_us};
}
