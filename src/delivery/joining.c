#include "delivery/joining.h"

#include <stdlib.h>

#include "delivery/state.h"
#include "std/alloc.h"
#include "std/check.h"

void joining_init(struct joining *j)
{
    list_init(&j->windows);
    list_init(&j->submitted);
    j->waiting_count = 0;
}

static size_t joiner_size(const struct joiner *joiner)
{
    size_t size = 64 + joiner->member_id.size + joiner->client_id.size;
    for (uint32_t i = 0; i < joiner->topic_count; i++)
        size += 4 + joiner->topics[i].size;
    return size;
}

static struct join_batch *join_batch_new(const struct delivery *d)
{
    struct join_batch *batch = new_zero(struct join_batch);
    batch->last = &batch->first;
    batch->timer.kind = TIMER_JOIN;
    batch->opened_us = d->now_us;
    return batch;
}

static void join_batch_add(struct delivery *d, struct join_batch *batch, struct join_request *join)
{
    join->next = NULL;
    *batch->last = join;
    batch->last = &join->next;
    batch->count++;
    batch->size_bytes += joiner_size(&join->joiner);
    d->joining.waiting_count++;
}

static void join_batch_submit(struct delivery *d, struct join_batch *batch)
{
    CHECK(batch->count > 0);
    wheel_remove(&d->wheel, &batch->timer);
    if (list_linked(&batch->link))
        list_remove(&batch->link);
    list_push(&d->joining.submitted, &batch->link);
    struct joiner *joiners = alloc_array(batch->count, sizeof *joiners);
    uint32_t count = 0;
    for (const struct join_request *join = batch->first; join != NULL; join = join->next)
        joiners[count++] = join->joiner;
    CHECK(count == batch->count);
    const struct join_request *first = batch->first;
    CHECK(first != NULL);
    struct command cmd = {
        .type = COMMAND_GROUP_JOIN,
        .group_join = {.group = first->group, .joiners = joiners, .joiner_count = count},
    };
    d->options.submit(d->options.user, &cmd);
    free(joiners);
}

static struct join_batch *find_window(const struct joining *j, struct span group)
{
    for (struct list_node *node = j->windows.next; node != &j->windows; node = node->next) {
        struct join_batch *window = list_entry(node, struct join_batch, link);
        CHECK(window->first != NULL);
        if (span_equal(window->first->group, group))
            return window;
    }
    return NULL;
}

static void fail(struct join_request *join, enum status st)
{
    join->result = (struct result){.status = st};
    join->done(join);
}

void joining_join(struct delivery *d, struct join_request *join)
{
    if (d->draining || d->joining.waiting_count >= JOINS_WAITING_MAX) {
        fail(join, d->draining ? ST_NOT_READY : ST_BUSY);
        return;
    }
    const struct group *group = machine_find_group(d->machine, join->group);
    if (join->joiner.rejoin || (group != NULL && group->member_count > 0)) {
        struct join_batch *alone = join_batch_new(d);
        join_batch_add(d, alone, join);
        join_batch_submit(d, alone);
        return;
    }
    struct join_batch *window = find_window(&d->joining, join->group);
    if (window == NULL) {
        window = join_batch_new(d);
        list_push(&d->joining.windows, &window->link);
    }
    join_batch_add(d, window, join);
    if (window->count >= JOINS_PER_WINDOW_MAX || window->size_bytes > JOIN_COMMAND_SIZE_MAX) {
        join_batch_submit(d, window);
        return;
    }
    int64_t closes = d->now_us + JOIN_WINDOW_US;
    if (closes > window->opened_us + JOIN_WINDOW_MAX_US)
        closes = window->opened_us + JOIN_WINDOW_MAX_US;
    wheel_remove(&d->wheel, &window->timer);
    wheel_add(&d->wheel, &window->timer, closes);
}

void joining_timer(struct delivery *d, struct join_batch *window)
{
    join_batch_submit(d, window);
}

/* The one joiner's view of the result, copied into its own arena: the command's arena ends. */
static void copy_result(struct join_request *join, const struct result *from, uint32_t index)
{
    struct arena *arena = join->arena;
    struct result *to = &join->result;
    *to = (struct result){.status = from->status};
    join->index = 0;
    if (from->detail != NULL)
        to->detail = arena_string(arena, span_text(from->detail));
    if (from->status != ST_OK)
        return;
    const struct result_group_join *in = &from->join;
    struct result_group_join *out = &to->join;
    CHECK(index < in->joined_count);
    out->group_id = in->group_id;
    out->generation = in->generation;
    out->leader_id = arena_copy(arena, in->leader_id);
    out->member_count = in->member_count;
    out->member_ids = arena_array(arena, in->member_count, sizeof(struct span));
    for (uint32_t i = 0; i < in->member_count; i++)
        out->member_ids[i] = arena_copy(arena, in->member_ids[i]);
    out->joined_count = 1;
    out->joined = arena_new(arena, struct joined);
    *out->joined = in->joined[index];
    out->joined->member_id = arena_copy(arena, in->joined[index].member_id);
    uint32_t count = in->joined[index].assigned_count;
    out->joined->assigned = arena_array(arena, count, sizeof(struct assigned));
    for (uint32_t i = 0; i < count; i++) {
        out->joined->assigned[i] = in->joined[index].assigned[i];
        out->joined->assigned[i].topic = arena_copy(arena, in->joined[index].assigned[i].topic);
    }
}

static struct join_batch *find_submitted(const struct joining *j,
                                         const struct command_group_join *cmd)
{
    for (struct list_node *node = j->submitted.next; node != &j->submitted; node = node->next) {
        struct join_batch *batch = list_entry(node, struct join_batch, link);
        if (batch->count == cmd->joiner_count && span_equal(batch->first->group, cmd->group) &&
            span_equal(batch->first->joiner.member_id, cmd->joiners[0].member_id))
            return batch;
    }
    return NULL;
}

void joining_joined(struct delivery *d, const struct command *cmd, const struct result *result)
{
    CHECK(cmd->type == COMMAND_GROUP_JOIN);
    if (cmd->group_join.joiner_count == 0)
        return;
    struct join_batch *batch = find_submitted(&d->joining, &cmd->group_join);
    if (batch == NULL)
        return; /* of an earlier run: replayed */
    list_remove(&batch->link);
    CHECK(d->joining.waiting_count >= batch->count);
    d->joining.waiting_count -= batch->count;
    struct join_request *join = batch->first;
    for (uint32_t i = 0; join != NULL; i++) {
        struct join_request *next = join->next; /* done() may free it */
        copy_result(join, result, i);
        join->done(join);
        join = next;
    }
    free(batch);
}

static void fail_all(struct delivery *d, struct list_node *batches)
{
    for (struct list_node *node; (node = list_pop(batches)) != NULL;) {
        struct join_batch *batch = list_entry(node, struct join_batch, link);
        wheel_remove(&d->wheel, &batch->timer);
        d->joining.waiting_count -= batch->count;
        struct join_request *join = batch->first;
        while (join != NULL) {
            struct join_request *next = join->next;
            fail(join, ST_NOT_READY);
            join = next;
        }
        free(batch);
    }
}

void joining_drain(struct delivery *d)
{
    fail_all(d, &d->joining.windows);
}

void joining_fini(struct delivery *d)
{
    fail_all(d, &d->joining.windows);
    fail_all(d, &d->joining.submitted);
    CHECK(d->joining.waiting_count == 0);
}

void joining_check(const struct joining *j)
{
    uint32_t count = 0;
    for (struct list_node *node = j->windows.next; node != &j->windows; node = node->next) {
        const struct join_batch *window = list_entry(node, struct join_batch, link);
        CHECK(wheel_armed(&window->timer));
        CHECK(find_window(j, window->first->group) == window);
        count += window->count;
    }
    for (struct list_node *node = j->submitted.next; node != &j->submitted; node = node->next) {
        const struct join_batch *batch = list_entry(node, struct join_batch, link);
        CHECK(!wheel_armed(&batch->timer));
        count += batch->count;
    }
    CHECK(count == j->waiting_count);
}
