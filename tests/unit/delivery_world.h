/* A machine and its delivery without threads, disk or clock, for tests: commands wait in a queue,
 * as in the journal, until world_apply() applies the oldest. */
#ifndef TESTS_DELIVERY_WORLD_H
#define TESTS_DELIVERY_WORLD_H

#include <stdlib.h>

#include "command/record_batch.h"
#include "delivery/delivery.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/list.h"

#define WORLD_START_US 1700000000000000LL
#define WORLD_SECOND   1000000LL

struct world_entry { /* a command on its way */
    struct list_node link;
    struct arena arena;
    struct command cmd;
    struct ack_request *ack; /* to be ended; NULL: none */
    enum status status;      /* of the result */
};

struct world {
    struct machine *machine;
    struct delivery *delivery;
    struct list_node journal;
    uint32_t journal_count;
    uint64_t index;
    int64_t now_us;
    bool connected;
    enum status last_status; /* of the command applied last */
    /* The test's, called after delivery's own; may be NULL. */
    void (*member_gone)(void *user, struct group *group, struct member *member);
    void (*partition_gone)(void *user, struct group_partition *gp);
    void (*position_moved)(void *user, struct group_partition *gp);
    void (*applied)(void *user, const struct world_entry *entry);
    void *user;
};

static inline void world_effect_append(void *user, struct partition *partition,
                                       uint64_t base_offset, int64_t time_us, struct span batch)
{
    struct world *w = user;
    CHECK(base_offset + 1 <= partition->next_offset + 1);
    CHECK(time_us > 0);
    CHECK(batch.size > 0);
    delivery_on_append(w->delivery, partition);
}

static inline void world_effect_group_changed(void *user, struct group *group)
{
    struct world *w = user;
    delivery_on_group_changed(w->delivery, group);
}

static inline void world_effect_member_gone(void *user, struct group *group, struct member *member)
{
    struct world *w = user;
    delivery_on_member_gone(w->delivery, group, member);
    if (w->member_gone != NULL)
        w->member_gone(w->user, group, member);
}

static inline void world_effect_group_deleted(void *user, struct group *group)
{
    struct world *w = user;
    delivery_on_group_deleted(w->delivery, group);
}

static inline void world_effect_position_moved(void *user, struct group_partition *gp)
{
    struct world *w = user;
    delivery_on_position_moved(w->delivery, gp);
    if (w->position_moved != NULL)
        w->position_moved(w->user, gp);
}

static inline void world_effect_partition_gone(void *user, struct group_partition *gp)
{
    struct world *w = user;
    if (w->partition_gone != NULL)
        w->partition_gone(w->user, gp);
    delivery_on_group_partition_gone(w->delivery, gp);
}

static inline struct span *world_copy_spans(struct arena *a, const struct span *from, uint32_t n)
{
    struct span *to = arena_array(a, n, sizeof *to);
    for (uint32_t i = 0; i < n; i++)
        to[i] = arena_copy(a, from[i]);
    return to;
}

/* Copies what a command points to; but an ACK's entries must outlive it. */
static inline struct world_entry *world_submit(struct world *w, const struct command *cmd)
{
    struct world_entry *entry = new_zero(struct world_entry);
    struct arena *a = &entry->arena;
    arena_init(a);
    struct command *to = &entry->cmd;
    *to = *cmd;
    if (cmd->type == COMMAND_GROUP_JOIN) {
        struct command_group_join *join = &to->group_join;
        join->group = arena_copy(a, join->group);
        struct joiner *joiners = arena_array(a, join->joiner_count, sizeof *joiners);
        for (uint32_t i = 0; i < join->joiner_count; i++) {
            joiners[i] = join->joiners[i];
            joiners[i].member_id = arena_copy(a, joiners[i].member_id);
            joiners[i].client_id = arena_copy(a, joiners[i].client_id);
            joiners[i].topics = world_copy_spans(a, joiners[i].topics, joiners[i].topic_count);
        }
        join->joiners = joiners;
    } else if (cmd->type == COMMAND_PUBLISH) {
        to->publish.entries = arena_copy(a, to->publish.entries);
    } else if (cmd->type == COMMAND_GROUP_LEAVE) {
        to->group_leave.group = arena_copy(a, to->group_leave.group);
        to->group_leave.member_id = arena_copy(a, to->group_leave.member_id);
    } else if (cmd->type == COMMAND_OFFSETS_COMMIT) {
        to->offsets_commit.group = arena_copy(a, to->offsets_commit.group);
        to->offsets_commit.member_id = arena_copy(a, to->offsets_commit.member_id);
    } else if (cmd->type == COMMAND_GROUP_DELETE) {
        to->group_delete.group = arena_copy(a, to->group_delete.group);
    } else if (cmd->type == COMMAND_TOPIC_DELETE) {
        to->topic_delete.name = arena_copy(a, to->topic_delete.name);
    }
    list_push(&w->journal, &entry->link);
    w->journal_count++;
    return entry;
}

static inline void world_option_submit(void *user, const struct command *cmd)
{
    world_submit(user, cmd);
}

static inline bool world_option_connected(void *user, struct poll_request *poll)
{
    struct world *w = user;
    CHECK(poll->wait == NULL);
    return w->connected;
}

/* Applies the oldest command; false if there is none. Parked polls are not served. */
static inline bool world_apply(struct world *w)
{
    struct list_node *node = list_pop(&w->journal);
    if (node == NULL)
        return false;
    w->journal_count--;
    struct world_entry *entry = list_entry(node, struct world_entry, link);
    struct result result = {0};
    entry->cmd.time_us = w->now_us;
    machine_apply(w->machine, &entry->cmd, ++w->index, &entry->arena, &result);
    w->last_status = entry->status = result.status;
    if (entry->ack != NULL)
        delivery_ack_end(w->delivery, entry->ack, &result, w->now_us);
    if (entry->cmd.type == COMMAND_GROUP_JOIN)
        delivery_on_joined(w->delivery, &entry->cmd, &result, w->now_us);
    if (w->applied != NULL)
        w->applied(w->user, entry);
    arena_fini(&entry->arena);
    free(entry);
    return true;
}

/* Applies all that waits, then serves polls. The last command's status: last_status. */
static inline void world_settle(struct world *w)
{
    while (world_apply(w))
        ;
    delivery_settle(w->delivery, w->now_us);
    machine_check(w->machine);
    delivery_check(w->delivery);
}

static inline void world_pass(struct world *w, int64_t us)
{
    w->now_us += us;
    while (delivery_run_timers(w->delivery, w->now_us) <= w->now_us)
        ;
}

static inline void world_init(struct world *w)
{
    *w = (struct world){.now_us = WORLD_START_US, .connected = true};
    list_init(&w->journal);
    struct machine_effects effects = {
        .append = world_effect_append,
        .group_changed = world_effect_group_changed,
        .member_gone = world_effect_member_gone,
        .group_deleted = world_effect_group_deleted,
        .position_moved = world_effect_position_moved,
        .group_partition_gone = world_effect_partition_gone,
        .user = w,
    };
    struct delivery_options options = {
        .boot_id = 0xFEDCBA9876543210ULL,
        .submit = world_option_submit,
        .connected = world_option_connected,
        .user = w,
    };
    w->machine = machine_new(&effects);
    w->delivery = delivery_new(w->machine, &options);
    delivery_start(w->delivery, w->now_us);
}

/* The broker's run ends without a word and another begins: delivery is new, the state is not. */
static inline void world_restart(struct world *w, uint64_t boot_id)
{
    struct delivery_options options = {
        .boot_id = boot_id,
        .submit = world_option_submit,
        .connected = world_option_connected,
        .user = w,
    };
    delivery_drain(w->delivery);
    delivery_free(w->delivery);
    w->delivery = delivery_new(w->machine, &options);
    delivery_start(w->delivery, w->now_us);
}

static inline void world_fini(struct world *w)
{
    delivery_drain(w->delivery);
    delivery_free(w->delivery);
    machine_free(w->machine);
    while (!list_empty(&w->journal)) {
        struct world_entry *entry = list_entry(list_pop(&w->journal), struct world_entry, link);
        arena_fini(&entry->arena);
        free(entry);
    }
}

static inline void world_create_topic(struct world *w, const char *name, uint32_t partition_count)
{
    struct command cmd = {
        .type = COMMAND_TOPIC_CREATE,
        .topic_create = {.name = span_text(name),
                         .partition_count = partition_count,
                         .if_absent = true,
                         .settings = {.retention_us = -1,
                                      .retention_bytes = -1,
                                      .visibility_us = 30 * WORLD_SECOND,
                                      .deliveries_max = 3}},
    };
    world_submit(w, &cmd);
    world_settle(w);
    CHECK(w->last_status == ST_OK);
}

/* Submits `count` messages for one partition. */
static inline void world_publish(struct world *w, const char *topic_name, uint32_t partition,
                                 uint32_t count)
{
    const struct topic *topic = machine_find_topic(w->machine, span_text(topic_name));
    CHECK(topic != NULL);
    struct buf bytes;
    buf_init(&bytes, BATCH_SIZE_MAX);
    uint8_t head[8] = {(uint8_t)partition, (uint8_t)(partition >> 8)};
    buf_put(&bytes, head, sizeof head);
    struct batch_builder batch;
    batch_begin(&batch, &bytes);
    for (uint32_t i = 0; i < count; i++) {
        struct record record = {.value = span_text("m"), .priority = PRIORITY_NORMAL};
        batch_add(&batch, &record);
    }
    batch_end(&batch);
    size_t size = bytes.size - sizeof head;
    for (unsigned i = 0; i < 4; i++)
        bytes.data[4 + i] = (uint8_t)(size >> (8 * i));
    struct command cmd = {
        .type = COMMAND_PUBLISH,
        .publish = {.topic_id = topic->id,
                    .partition_count = topic->partition_count,
                    .entry_count = 1,
                    .entries = buf_span(&bytes)},
    };
    world_submit(w, &cmd);
    buf_fini(&bytes);
}

#endif
