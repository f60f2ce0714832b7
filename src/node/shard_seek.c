/* Where messages of a time begin: the part that needs the shard's thread, without I/O. */
#include "node/shard_state.h"

static enum status find_partitions(const struct topic *topic, const struct seek_request *seek,
                                   uint32_t *out_first, uint32_t *out_end)
{
    *out_first = 0;
    *out_end = topic->partition_count;
    if (seek->partition < 0)
        return ST_OK;
    if (seek->partition >= topic->partition_count)
        return ST_PARTITION_NOT_FOUND;
    *out_first = (uint32_t)seek->partition;
    *out_end = *out_first + 1;
    return ST_OK;
}

void shard_dispatch_seek(struct shard *s, struct op *op)
{
    struct seek_request *seek = &op->seek;
    const struct topic *topic = machine_find_topic(s->machine, seek->topic);
    uint32_t first = 0, end = 0;
    seek->found_count = 0;
    seek->status = topic == NULL ? ST_TOPIC_NOT_FOUND : find_partitions(topic, seek, &first, &end);
    if (seek->status == ST_OK)
        seek->found = arena_array(&op->arena, end - first, sizeof *seek->found);
    for (uint32_t p = first; seek->status == ST_OK && p < end; p++) {
        struct seek_found *found = &seek->found[seek->found_count++];
        found->partition = p;
        logs_seek_time(&s->logs, logs_slot(topic->partitions[p]), seek->time_us, &found->range,
                       &found->offset);
        if (s->logs.failed != ST_OK)
            seek->status = ST_IO; /* those found so far are released by the asker as well */
    }
    shard_finish(s, op);
}
