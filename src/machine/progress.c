/* What a group has done of a partition, and what it knows of messages that were delivered in vain.
 */
#include <stdlib.h>

#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

bool group_partition_is_done(const struct group_partition *gp, uint64_t offset)
{
    return offset < gp->position || offset_set_has(&gp->done, offset) ||
           partition_is_gone(gp->partition, offset);
}

uint64_t group_partition_next_open(const struct group_partition *gp, uint64_t from)
{
    for (;;) {
        uint64_t at = partition_skip_gone(gp->partition, offset_set_next_gap(&gp->done, from));
        if (at == from)
            return at;
        from = at;
    }
}

uint64_t group_partition_lag(const struct group_partition *gp)
{
    const struct partition *p = gp->partition;
    uint64_t from = gp->position < p->start_offset ? p->start_offset : gp->position;
    if (from >= p->next_offset)
        return 0;
    uint64_t lag =
        p->next_offset - from - offset_set_count_between(&gp->done, from, p->next_offset);
    if (p->exceptions != NULL)
        lag = lag - offset_set_count_between(&p->exceptions->hidden, from, p->next_offset) +
              offset_set_count_common(&p->exceptions->hidden, &gp->done);
    return lag;
}

static void rise(struct group_partition *gp, uint64_t from)
{
    gp->position = group_partition_next_open(gp, from);
    offset_set_remove_below(&gp->done, gp->position);
}

bool group_partition_mark_done(struct group_partition *gp, uint64_t offset)
{
    group_partition_drop_retry(gp, offset);
    if (offset == gp->position) {
        rise(gp, offset + 1);
        return true;
    }
    bool added = offset_set_add(&gp->done, offset);
    CHECK(added);
    return false;
}

void group_partition_lose(struct group_partition *gp, uint64_t offset)
{
    group_partition_drop_retry(gp, offset);
    (void)offset_set_remove(&gp->done, offset); /* gone says it now */
    if (offset == gp->position)
        rise(gp, offset);
}

static void drop_retries_below(struct group_partition *gp, uint64_t offset)
{
    for (uint32_t i = gp->retry_count; i-- > 0;)
        if (gp->retries[i]->offset < offset)
            group_partition_drop_retry(gp, gp->retries[i]->offset);
}

void group_partition_rewind(struct group_partition *gp, uint64_t offset, uint64_t index)
{
    CHECK(offset <= gp->position);
    gp->rewound_index = index;
    offset_set_clear(&gp->done);
    offset_set_clear(&gp->out);
    gp->out_until_us = 0;
    group_partition_clear_retries(gp);
    rise(gp, offset);
}

void group_partition_advance(struct group_partition *gp, uint64_t offset)
{
    CHECK(offset >= gp->position);
    rise(gp, offset);
    offset_set_remove_below(&gp->out, gp->position);
    drop_retries_below(gp, gp->position);
}

struct retry *group_partition_find_retry(const struct group_partition *gp, uint64_t offset)
{
    return gp->retry_count == 0 ? NULL : map_find_number(&gp->retries_by_offset, offset);
}

struct retry *group_partition_need_retry(struct group_partition *gp, uint64_t offset)
{
    struct retry *retry = group_partition_find_retry(gp, offset);
    if (retry != NULL)
        return retry;
    CHECK(!group_partition_is_done(gp, offset));
    if (gp->retry_count == gp->retry_capacity) {
        gp->retry_capacity = gp->retry_capacity == 0 ? 8 : gp->retry_capacity * 2;
        gp->retries = alloc_resize(gp->retries, gp->retry_capacity, sizeof(struct retry *));
    }
    retry = new_zero(struct retry);
    retry->offset = offset;
    retry->index = gp->retry_count;
    gp->retries[gp->retry_count++] = retry;
    map_put_number(&gp->retries_by_offset, offset, retry);
    return retry;
}

void group_partition_clear_retries(struct group_partition *gp)
{
    for (uint32_t i = 0; i < gp->retry_count; i++) {
        free(gp->retries[i]->reason);
        free(gp->retries[i]);
    }
    free(gp->retries);
    gp->retries = NULL;
    gp->retry_count = 0;
    gp->retry_capacity = 0;
    map_fini(&gp->retries_by_offset);
}

void group_partition_drop_retry(struct group_partition *gp, uint64_t offset)
{
    struct retry *retry = group_partition_find_retry(gp, offset);
    if (retry == NULL)
        return;
    if (gp->retry_count == 1) { /* memory follows what is outstanding */
        group_partition_clear_retries(gp);
        return;
    }
    map_remove_number(&gp->retries_by_offset, offset);
    struct retry *last = gp->retries[--gp->retry_count];
    gp->retries[retry->index] = last;
    last->index = retry->index;
    free(retry->reason);
    free(retry);
}

void retry_set_reason(struct retry *retry, struct span reason)
{
    if (reason.size == 0)
        return;
    free(retry->reason);
    retry->reason = alloc_bytes(reason.size);
    retry->reason_size = (uint32_t)reason.size;
    memcpy(retry->reason, reason.data, reason.size);
}

struct group_partition *machine_find_place(const struct machine *m,
                                           const struct delivery_place *place)
{
    const struct group *g = machine_group_by_id(m, place->group_id);
    struct group_partition *gp =
        g == NULL ? NULL : group_find_partition(g, place->topic_id, place->partition);
    return gp != NULL && place->offset < gp->partition->next_offset ? gp : NULL;
}
