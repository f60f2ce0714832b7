#include "api/offsets_body.h"

#include "api/member_body.h"

enum { ENTRIES_MAX = 65536 };

/* The entries of a commit while they are read. */
struct offsets_reading {
    struct fields *f;
    struct offset_entry *entries;
    uint32_t count;
    bool impossible_topic; /* a name that no topic can have */
};

static void add_entry(struct offsets_reading *in, struct span topic, uint32_t partition,
                      const json_t *offset)
{
    if (!json_is_integer(offset) || json_integer_value(offset) < 0) {
        fields_problem(in->f, "offsets: must be integers of 0 or more");
        return;
    }
    if (in->count == ENTRIES_MAX) {
        fields_problem(in->f, "offsets: must have at most %d entries", ENTRIES_MAX);
        return;
    }
    in->entries[in->count++] = (struct offset_entry){
        .topic = topic, .partition = partition, .offset = (uint64_t)json_integer_value(offset)};
}

static struct span read_topic(struct offsets_reading *in, struct span name)
{
    in->impossible_topic |= !name_is_topic_address(name);
    return request_qualify(in->f->r, name);
}

/* {"orders": {"0": 17}} */
static void read_map(struct offsets_reading *in, json_t *offsets)
{
    const char *name;
    json_t *partitions;
    json_object_foreach(offsets, name, partitions)
    {
        if (!json_is_object(partitions)) {
            fields_problem(in->f, "offsets: must be an object of objects");
            return;
        }
        struct span topic = read_topic(in, span_text(name));
        const char *key;
        json_t *offset;
        json_object_foreach(partitions, key, offset)
        {
            uint32_t partition;
            if (!fields_partition_name(key, &partition)) {
                fields_problem(in->f, "offsets: a partition must be a number from 0 on");
                return;
            }
            add_entry(in, topic, partition, offset);
        }
    }
}

/* [{"topic": "orders", "partition": 0, "offset": 17}] */
static void read_list(struct offsets_reading *in, json_t *offsets)
{
    size_t i;
    json_t *item;
    json_array_foreach(offsets, i, item)
    {
        const json_t *topic = json_object_get(item, "topic");
        const json_t *partition = json_object_get(item, "partition");
        if (!json_is_string(topic) || !json_is_integer(partition) ||
            json_integer_value(partition) < 0) {
            fields_problem(in->f, "offsets[%zu]: must have topic, partition and offset", i);
            return;
        }
        const json_int_t number = json_integer_value(partition);
        add_entry(in, read_topic(in, fields_text_of(topic)),
                  number > UINT32_MAX ? UINT32_MAX : (uint32_t)number,
                  json_object_get(item, "offset"));
    }
}

static size_t count_entries(json_t *offsets)
{
    if (json_is_array(offsets))
        return json_array_size(offsets);
    size_t count = 0;
    const char *name;
    json_t *partitions;
    json_object_foreach(offsets, name, partitions) count += json_object_size(partitions);
    return count;
}

static void read_entries(struct offsets_reading *in)
{
    json_t *offsets = fields_get(in->f, "offsets");
    if (fields_failed(in->f))
        return;
    if (offsets == NULL) {
        fields_problem(in->f, "offsets: is required");
        return;
    }
    size_t count = count_entries(offsets);
    in->entries = arena_array(&in->f->r->op.arena, count < ENTRIES_MAX ? count + 1 : ENTRIES_MAX,
                              sizeof *in->entries);
    if (json_is_object(offsets))
        read_map(in, offsets);
    else if (json_is_array(offsets))
        read_list(in, offsets);
    else
        fields_problem(in->f, "offsets: must be an object");
    if (!fields_failed(in->f) && in->count == 0)
        fields_problem(in->f, "offsets: must not be empty");
}

bool offsets_body_read(struct fields *f, struct command_offsets_commit *out)
{
    struct offsets_reading in = {.f = f};
    member_body_identity(f, &out->member_id, &out->generation);
    read_entries(&in);
    out->entries = in.entries;
    out->entry_count = in.count;
    return !in.impossible_topic;
}
