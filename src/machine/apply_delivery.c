/* Deliveries that ended without an ack, and what a restart must know of those that have not ended.
 */
#include "machine/state.h"
#include "std/check.h"

/* One whose deadline is kept by itself. */
static void lease_again(struct group_partition *gp, const struct lease_entry *entry)
{
    uint64_t offset = entry->place.offset;
    if (group_partition_is_done(gp, offset))
        return;
    (void)offset_set_remove(&gp->out, offset);
    struct retry *retry = group_partition_need_retry(gp, offset);
    retry->delivery_count = entry->delivery_count;
    retry->not_before_us = entry->deadline_us;
    retry->first_us = entry->first_us;
    retry->returned = false;
}

static void lease_first(struct group_partition *gp, const struct lease_entry *entry)
{
    uint64_t start = entry->place.offset, end = start + entry->count;
    offset_set_remove_below(&gp->out, gp->position);
    if (offset_set_is_empty(&gp->out))
        gp->out_until_us = 0;
    if (start < gp->position)
        start = gp->position;
    if (end > gp->partition->next_offset)
        end = gp->partition->next_offset;
    if (start >= end)
        return;
    for (uint64_t offset = start; gp->retry_count > 0 && offset < end; offset++)
        group_partition_drop_retry(gp, offset); /* a first delivery has no past */
    offset_set_add_run(&gp->out, start, end);
    if (entry->deadline_us > gp->out_until_us)
        gp->out_until_us = entry->deadline_us;
}

void apply_lease(struct machine *m, const struct command_lease *cmd, struct arena *arena,
                 struct result *out)
{
    (void)arena;
    (void)out;
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        const struct lease_entry *entry = &cmd->entries[i];
        struct group_partition *gp = machine_find_place(m, &entry->place);
        if (gp == NULL || cmd->as_of_index < gp->rewound_index)
            continue; /* gone, or counts have started over since */
        if (entry->delivery_count > 1 || entry->extended)
            lease_again(gp, entry);
        else
            lease_first(gp, entry);
    }
}

static void resolve(struct machine *m, uint64_t lease_id, const struct resolved *how)
{
    struct resolved resolved = *how;
    resolved.lease_id = lease_id;
    resolved.time_us = m->time_us;
    resolved_book_add(&m->resolved, &resolved);
}

/* A repeat of a nack that was applied: the answer it had. */
static void describe_repeat(const struct resolved *before, struct released *out)
{
    if (before->how == RESOLVED_REJECTED) {
        out->status = ST_MESSAGE_NOT_FOUND;
        return;
    }
    out->already = true;
    out->dead = before->how == RESOLVED_NACKED_DEAD;
    out->delivery_count = before->delivery_count;
    out->not_before_us = before->not_before_us;
}

static void release_one(struct machine *m, const struct release_entry *entry, uint64_t as_of_index,
                        struct released *out)
{
    bool nacked = entry->kind == RELEASE_NACK;
    const struct resolved *before = nacked ? machine_find_resolved(m, entry->lease_id) : NULL;
    if (before != NULL) {
        describe_repeat(before, out);
        return;
    }
    struct group_partition *gp = machine_find_place(m, &entry->place);
    bool stale = gp != NULL && !nacked && as_of_index < gp->rewound_index;
    if (gp == NULL || stale || group_partition_is_done(gp, entry->place.offset)) {
        out->status = ST_MESSAGE_NOT_FOUND;
        return;
    }
    (void)offset_set_remove(&gp->out, entry->place.offset);
    if (entry->delivery_count == 0) {
        group_partition_drop_retry(gp, entry->place.offset);
    } else {
        struct retry *retry = group_partition_need_retry(gp, entry->place.offset);
        retry->delivery_count = entry->delivery_count;
        retry->not_before_us = entry->not_before_us;
        retry->first_us = entry->first_us;
        retry->returned = true;
        retry_set_reason(retry, entry->reason);
    }
    out->delivery_count = entry->delivery_count;
    out->not_before_us = entry->not_before_us;
    if (!nacked)
        return;
    gp->partition->topic->totals.nacked++;
    resolve(m, entry->lease_id,
            &(struct resolved){.how = RESOLVED_NACKED,
                               .delivery_count = entry->delivery_count,
                               .not_before_us = entry->not_before_us});
}

void apply_release(struct machine *m, const struct command_release *cmd, struct arena *arena,
                   struct result *out)
{
    struct released *released = arena_array(arena, cmd->entry_count, sizeof *released);
    for (uint32_t i = 0; i < cmd->entry_count; i++)
        release_one(m, &cmd->entries[i], cmd->as_of_index, &released[i]);
    out->release = (struct result_release){released, cmd->entry_count};
}

/* The dead-letter topic of `source`, made if it is not there. NULL: it cannot be made. */
static struct topic *need_dead_letter_topic(struct machine *m, const struct topic *source,
                                            const struct topic_settings *settings,
                                            struct arena *arena)
{
    struct span name = topic_dead_letter_name(source, arena);
    struct topic *t = machine_find_topic(m, name);
    return t != NULL ? t : machine_create_topic(m, name, source->partition_count, settings);
}

static void append_dead_letter(struct machine *m, const struct command_dead_letter *cmd,
                               const struct dead_letter_entry *entry, struct topic *source,
                               struct arena *arena, struct dead_lettered *out)
{
    struct topic *t = need_dead_letter_topic(m, source, &cmd->settings, arena);
    if (t == NULL) {
        out->status = ST_QUOTA_EXCEEDED;
        return;
    }
    struct partition *p = t->partitions[entry->hash % t->partition_count];
    out->topic = arena_copy(arena, topic_name(t));
    out->partition = p->index;
    out->offset = partition_append(m, p, entry->batch);
}

static void count_dead_letter(const struct dead_letter_entry *entry, struct topic_totals *totals)
{
    totals->rejected += entry->asked;
    totals->nacked += entry->nacked;
    if (entry->batch.size == 0)
        totals->dropped++;
    else if (entry->reason == DEAD_LETTER_REJECTED)
        totals->dead_rejected++;
    else
        totals->dead_max_retries++;
}

static void dead_letter_one(struct machine *m, const struct command_dead_letter *cmd,
                            const struct dead_letter_entry *entry, struct arena *arena,
                            struct dead_lettered *out)
{
    struct group_partition *gp = machine_find_place(m, &entry->place);
    if (gp == NULL) {
        out->status = ST_MESSAGE_NOT_FOUND;
        return;
    }
    /* What a client asked for is done once, even if a commit went back before its repeat came. */
    const bool asked = entry->asked || entry->nacked;
    const bool repeat = asked && machine_find_resolved(m, entry->lease_id) != NULL;
    out->already = repeat || group_partition_is_done(gp, entry->place.offset);
    if (out->already)
        return;
    struct topic *source = gp->partition->topic;
    if (entry->batch.size > 0)
        append_dead_letter(m, cmd, entry, source, arena, out);
    if (out->status != ST_OK)
        return;
    (void)group_partition_mark_done(gp, entry->place.offset);
    count_dead_letter(entry, &source->totals);
    if (asked)
        resolve(m, entry->lease_id,
                &(struct resolved){.how = entry->asked ? RESOLVED_REJECTED : RESOLVED_NACKED_DEAD,
                                   .delivery_count = entry->delivery_count});
}

void apply_dead_letter(struct machine *m, const struct command_dead_letter *cmd,
                       struct arena *arena, struct result *out)
{
    struct dead_lettered *entries = arena_array(arena, cmd->entry_count, sizeof *entries);
    for (uint32_t i = 0; i < cmd->entry_count; i++)
        dead_letter_one(m, cmd, &cmd->entries[i], arena, &entries[i]);
    out->dead_letter = (struct result_dead_letter){entries, cmd->entry_count};
}

void apply_replay(struct machine *m, const struct command_replay *cmd, struct arena *arena,
                  struct result *out)
{
    (void)arena;
    struct topic *source = machine_topic_by_id(m, cmd->topic_id);
    struct topic *target = machine_topic_by_id(m, cmd->target_topic_id);
    if (source == NULL || target == NULL)
        out->status = ST_TOPIC_NOT_FOUND;
    else if (cmd->partition >= source->partition_count)
        out->status = ST_PARTITION_NOT_FOUND;
    if (out->status != ST_OK)
        return;
    struct partition *from = source->partitions[cmd->partition];
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        const struct replay_entry *entry = &cmd->entries[i];
        if (entry->offset >= from->next_offset || entry->offset < from->start_offset ||
            partition_is_hidden(from, entry->offset)) {
            out->replay.skipped++;
            continue;
        }
        struct partition *to = target->partitions[entry->hash % target->partition_count];
        (void)partition_append(m, to, entry->batch);
        partition_make_gone(m, from, entry->offset, partition_lane_of(from, entry->offset));
        out->replay.moved++;
    }
}
