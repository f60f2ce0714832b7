/* A partition's messages: visible in the lane of their priority, pending, or gone. */
#include <stdlib.h>

#include "command/codec.h"
#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

enum { LANE_EXCEPTIONAL = BATCH_HAS_DELAYS | BATCH_HAS_PRIORITIES };

struct exceptions *partition_need_exceptions(struct partition *p)
{
    if (p->exceptions == NULL)
        p->exceptions = new_zero(struct exceptions);
    return p->exceptions;
}

void partition_fini(struct partition *p)
{
    struct exceptions *e = p->exceptions;
    if (e == NULL)
        return;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
        offset_set_fini(&e->lanes[lane]);
    offset_set_fini(&e->hidden);
    offset_set_fini(&e->gone);
    due_index_fini(&e->due);
    offset_set_fini(&e->open);
    free(e);
    p->exceptions = NULL;
}

bool partition_is_hidden(const struct partition *p, uint64_t offset)
{
    return p->exceptions != NULL && offset_set_has(&p->exceptions->hidden, offset);
}

bool partition_is_pending(const struct partition *p, uint64_t offset)
{
    return partition_is_hidden(p, offset) && !offset_set_has(&p->exceptions->gone, offset) &&
           !offset_set_has(&p->exceptions->open, offset);
}

bool partition_is_gone(const struct partition *p, uint64_t offset)
{
    return p->exceptions != NULL && offset_set_has(&p->exceptions->gone, offset);
}

uint64_t partition_stable_end(const struct partition *p)
{
    uint64_t first = 0;
    bool open = p->exceptions != NULL && offset_set_next(&p->exceptions->open, 0, &first);
    return open ? first : p->next_offset;
}

uint64_t partition_skip_gone(const struct partition *p, uint64_t from)
{
    return p->exceptions == NULL ? from : offset_set_next_gap(&p->exceptions->gone, from);
}

uint64_t partition_skip_hidden(const struct partition *p, uint64_t from)
{
    return p->exceptions == NULL ? from : offset_set_next_gap(&p->exceptions->hidden, from);
}

/* What is in no other lane and not hidden. */
static uint64_t next_normal(const struct exceptions *e, uint64_t from)
{
    for (;;) {
        uint64_t at = offset_set_next_gap(&e->hidden, from);
        for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
            at = offset_set_next_gap(&e->lanes[lane], at);
        if (at == from)
            return at;
        from = at;
    }
}

bool partition_next_in_lane(const struct partition *p, enum priority lane, uint64_t from,
                            uint64_t *out)
{
    const struct exceptions *e = p->exceptions;
    if (from >= p->next_offset)
        return false;
    if (lane != PRIORITY_NORMAL)
        return e != NULL && offset_set_next(&e->lanes[lane], from, out);
    *out = e == NULL ? from : next_normal(e, from);
    return *out < p->next_offset;
}

enum priority partition_lane_of(const struct partition *p, uint64_t offset)
{
    if (p->exceptions == NULL)
        return PRIORITY_NORMAL;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
        if (offset_set_has(&p->exceptions->lanes[lane], offset))
            return (enum priority)lane;
    return PRIORITY_NORMAL;
}

uint64_t partition_priority_count(const struct partition *p, enum priority priority)
{
    const struct exceptions *e = p->exceptions;
    if (priority != PRIORITY_NORMAL)
        return e == NULL ? 0 : e->counts[priority];
    uint64_t others = 0;
    for (unsigned i = 0; e != NULL && i < PRIORITY_COUNT; i++)
        others += e->counts[i];
    CHECK(others <= p->message_count);
    return p->message_count - others;
}

static void show(struct partition *p, uint64_t offset, enum priority priority)
{
    if (priority == PRIORITY_NORMAL)
        return;
    bool added = offset_set_add(&partition_need_exceptions(p)->lanes[priority], offset);
    CHECK(added);
}

/* When the record is due; 0: it is not delayed. */
static int64_t due_of(const struct record *record, int64_t time_us)
{
    int64_t due_us = record->deliver_at_us;
    if (record->delay_us > 0)
        due_us = record->delay_us < DUE_US_MAX - time_us ? time_us + record->delay_us : DUE_US_MAX;
    if (due_us > DUE_US_MAX)
        due_us = DUE_US_MAX;
    return due_us > time_us ? due_us : 0;
}

uint32_t partition_count_delayed(const struct machine *m, struct span batch,
                                 const struct batch_header *header)
{
    struct record record;
    size_t cursor = 0;
    uint32_t count = 0;
    if ((header->flags & BATCH_HAS_DELAYS) == 0)
        return 0;
    while (batch_next(batch, &cursor, &record))
        count += due_of(&record, m->time_us) > 0;
    return count;
}

/* It is hidden, or will be. */
static void add_pending(struct machine *m, struct partition *p, const struct due_entry *entry)
{
    struct exceptions *e = partition_need_exceptions(p);
    bool added = due_index_add(&e->due, entry);
    CHECK(added);
    (void)offset_set_add(&e->hidden, entry->offset);
    struct topic *t = p->topic;
    t->pending_count++;
    t->totals.scheduled++;
    t->totals.scheduled_delay_us += (uint64_t)(entry->due_us - m->time_us);
}

/* When the first pending message is due; INT64_MAX: there is none. */
static int64_t first_due_us(const struct partition *p)
{
    struct due_entry first;
    bool pending = p->exceptions != NULL && due_index_first(&p->exceptions->due, &first);
    return pending ? first.due_us : INT64_MAX;
}

/* Only batches whose flags say so are walked. */
static void take_records(struct machine *m, struct partition *p, struct span batch,
                         uint64_t base_offset)
{
    int64_t due_before_us = first_due_us(p);
    struct record record;
    size_t cursor = 0;
    for (uint64_t offset = base_offset; batch_next(batch, &cursor, &record); offset++) {
        CHECK(offset < p->next_offset);
        if (record.priority != PRIORITY_NORMAL)
            partition_need_exceptions(p)->counts[record.priority]++;
        int64_t due_us = due_of(&record, m->time_us);
        if (due_us > 0)
            add_pending(m, p, &(struct due_entry){due_us, offset, record.priority});
        else
            show(p, offset, record.priority);
    }
    if (first_due_us(p) < due_before_us)
        EFFECT(m, due_changed, p);
}

/* Counts the batch in and gives it its offsets. */
static uint64_t take_offsets(struct partition *p, struct span batch, struct batch_header *header)
{
    enum status st = batch_header_read(batch, header);
    CHECK(st == ST_OK); /* as when it was decoded */
    uint64_t base_offset = p->next_offset;
    p->next_offset += header->count;
    p->message_count += header->count;
    p->size_bytes += header->size;
    return base_offset;
}

void partition_append_open(struct machine *m, struct partition *p, struct span batch,
                           struct transaction_message *out)
{
    struct batch_header header;
    uint64_t offset = take_offsets(p, batch, &header);
    struct record record;
    size_t cursor = 0;
    bool whole = header.count == 1 && batch_next(batch, &cursor, &record);
    CHECK(whole); /* likewise */
    struct exceptions *e = partition_need_exceptions(p);
    if (record.priority != PRIORITY_NORMAL)
        e->counts[record.priority]++;
    bool added = offset_set_add(&e->open, offset);
    CHECK(added);
    added = offset_set_add(&e->hidden, offset);
    CHECK(added);
    *out = (struct transaction_message){.topic_id = p->topic->id,
                                        .partition = p->index,
                                        .offset = offset,
                                        .due_us = due_of(&record, m->time_us),
                                        .priority = (uint8_t)record.priority};
    EFFECT(m, append, p, offset, m->time_us, batch);
}

void partition_make_visible(struct machine *m, struct partition *p,
                            const struct transaction_message *messages, uint32_t count,
                            struct arena *arena)
{
    struct exceptions *e = p->exceptions;
    CHECK(e != NULL);
    struct due_entry *visible = arena_array(arena, count, sizeof *visible);
    uint32_t visible_count = 0;
    int64_t due_before_us = first_due_us(p);
    for (uint32_t i = 0; i < count; i++) {
        const struct transaction_message *message = &messages[i];
        const struct due_entry entry = {message->due_us, message->offset,
                                        (enum priority)message->priority};
        bool was_open = offset_set_remove(&e->open, message->offset);
        CHECK(was_open);
        if (message->due_us > m->time_us) {
            add_pending(m, p, &entry);
            continue;
        }
        (void)offset_set_remove(&e->hidden, message->offset);
        show(p, message->offset, entry.priority);
        visible[visible_count++] = entry;
    }
    EFFECT(m, became_visible, p, visible, visible_count); /* even if none: they held readers back */
    if (first_due_us(p) < due_before_us)
        EFFECT(m, due_changed, p);
}

uint64_t partition_append(struct machine *m, struct partition *p, struct span batch)
{
    struct batch_header header;
    uint64_t base_offset = take_offsets(p, batch, &header);
    if ((header.flags & LANE_EXCEPTIONAL) != 0)
        take_records(m, p, batch, base_offset);
    EFFECT(m, append, p, base_offset, m->time_us, batch);
    return base_offset;
}

void partition_make_gone(struct machine *m, struct partition *p, uint64_t offset,
                         enum priority priority)
{
    struct exceptions *e = partition_need_exceptions(p);
    bool added = offset_set_add(&e->gone, offset);
    CHECK(added);
    (void)offset_set_add(&e->hidden, offset); /* a pending one is there already */
    (void)offset_set_remove(&e->lanes[priority], offset);
    (void)offset_set_remove(&e->open, offset);
    CHECK(p->message_count > 0);
    p->message_count--;
    if (priority != PRIORITY_NORMAL)
        e->counts[priority]--;
    for (struct group_partition *gp = p->readers; gp != NULL; gp = gp->next_reader)
        group_partition_lose(gp, offset);
    EFFECT(m, became_gone, p, offset);
}
