/* A machine and its delivery without threads, disk or clock, for tests: commands wait in a queue,
 * as in the journal, until world_apply() applies the oldest. */
#ifndef TESTS_DELIVERY_WORLD_H
#define TESTS_DELIVERY_WORLD_H

#include <stdlib.h>

#include "command/codec.h"
#include "command/key_hash.h"
#include "command/record_batch.h"
#include "delivery/delivery.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/list.h"

#define WORLD_START_US 1700000000000000LL
#define WORLD_SECOND   1000000LL
#define WORLD_SETTINGS                                                                             \
    (struct topic_settings)                                                                        \
    {                                                                                              \
        .retention_us = -1, .retention_bytes = -1, .visibility_us = 30 * WORLD_SECOND,             \
        .deliveries_max = 3, .delayed_max = 1000                                                   \
    }

struct world_entry { /* a command on its way */
    struct list_node link;
    struct arena arena;
    struct command cmd;
    struct ack_request *ack;                         /* to be ended; NULL: none */
    struct transaction_ack_request *transaction_ack; /* likewise, as the next */
    struct resolve_request *resolve;
    struct dead_letter_job *job; /* likewise: its DEAD_LETTER command */
    enum status status;          /* of the result */
    const struct result *result; /* while `applied` is called */
};

struct world_log { /* the keys of one partition's messages, as the log would have them */
    uint32_t topic_id;
    uint32_t partition;
    uint32_t *keys; /* owned; by offset */
    uint64_t count, capacity;
};

struct world {
    struct machine *machine;
    struct delivery *delivery;
    struct list_node journal;
    struct world_log *logs; /* owned */
    uint32_t log_count;
    struct list_node keys_jobs; /* with the reader: answered by world_answer_keys() */
    uint32_t keys_jobs_total;
    uint32_t keys_per_job; /* so many at most */
    bool keys_are_slow;    /* and only when the test calls it */
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
    /* Takes the job; without it, its command is submitted at once. */
    void (*dead_letter)(void *user, struct dead_letter_job *job);
    void *user;
};

static inline struct world_log *world_log_of(struct world *w, uint32_t topic_id, uint32_t partition)
{
    for (uint32_t i = 0; i < w->log_count; i++)
        if (w->logs[i].topic_id == topic_id && w->logs[i].partition == partition)
            return &w->logs[i];
    w->logs = alloc_resize(w->logs, w->log_count + 1, sizeof *w->logs);
    w->logs[w->log_count] = (struct world_log){.topic_id = topic_id, .partition = partition};
    return &w->logs[w->log_count++];
}

static inline void world_log_append(struct world *w, const struct partition *partition,
                                    uint64_t base_offset, struct span batch)
{
    struct world_log *log = world_log_of(w, partition->topic->id, partition->index);
    struct record record;
    size_t cursor = 0;
    CHECK(log->count == base_offset);
    while (batch_next(batch, &cursor, &record)) {
        if (log->count == log->capacity) {
            log->capacity = log->capacity == 0 ? 64 : log->capacity * 2;
            log->keys = alloc_resize(log->keys, log->capacity, sizeof *log->keys);
        }
        log->keys[log->count++] = key_hash(record.key);
    }
}

static inline void world_option_read_keys(void *user, struct keys_job *job)
{
    struct world *w = user;
    CHECK(job->source != NULL);
    w->keys_jobs_total++;
    list_push(&w->keys_jobs, &job->link);
}

/* What the reader does with the oldest of its jobs; false: it has none. */
static inline bool world_answer_keys(struct world *w)
{
    struct list_node *node = list_pop(&w->keys_jobs);
    if (node == NULL)
        return false;
    struct keys_job *job = list_entry(node, struct keys_job, link);
    const struct world_log *log = world_log_of(w, job->place.topic_id, job->place.partition);
    uint64_t left = log->count - job->place.offset;
    job->count = left < job->count_max ? (uint32_t)left : job->count_max;
    if (w->keys_per_job > 0 && job->count > w->keys_per_job)
        job->count = w->keys_per_job;
    job->keys = alloc_array(job->count, sizeof *job->keys);
    memcpy(job->keys, log->keys + job->place.offset, job->count * sizeof *job->keys);
    delivery_keys_end(w->delivery, job, w->now_us);
    return true;
}

/* What the shard does after its requests, until no keys are under way any more. */
static inline void world_serve(struct world *w)
{
    do
        delivery_settle(w->delivery, w->now_us);
    while (!w->keys_are_slow && world_answer_keys(w));
}

static inline void world_drop_keys_jobs(struct world *w)
{
    for (struct list_node *node; (node = list_pop(&w->keys_jobs)) != NULL;)
        free(list_entry(node, struct keys_job, link));
}

static inline void world_effect_append(void *user, struct partition *partition,
                                       uint64_t base_offset, int64_t time_us, struct span batch)
{
    struct world *w = user;
    CHECK(time_us > 0);
    world_log_append(w, partition, base_offset, batch);
    delivery_on_append(w->delivery, partition, base_offset, batch);
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

static inline void world_effect_became_visible(void *user, struct partition *partition,
                                               const struct due_entry *entries, uint32_t count)
{
    struct world *w = user;
    delivery_on_became_visible(w->delivery, partition, entries, count);
}

static inline void world_effect_due_changed(void *user, struct partition *partition)
{
    struct world *w = user;
    delivery_on_due_changed(w->delivery, partition);
}

static inline void world_effect_became_gone(void *user, struct partition *partition,
                                            uint64_t offset)
{
    struct world *w = user;
    delivery_on_became_gone(w->delivery, partition, offset);
}

static inline void world_effect_transaction_begun(void *user, struct transaction *t)
{
    struct world *w = user;
    delivery_on_transaction_begun(w->delivery, t);
}

static inline void world_effect_transaction_ended(void *user, const struct transaction *t)
{
    struct world *w = user;
    delivery_on_transaction_ended(w->delivery, t);
}

static inline void world_effect_topic_deleted(void *user, const struct topic *topic)
{
    struct world *w = user;
    delivery_on_topic_deleted(w->delivery, topic);
}

/* Copies the command by way of its encoding, as the journal does. */
static inline struct world_entry *world_submit(struct world *w, const struct command *cmd)
{
    struct world_entry *entry = new_zero(struct world_entry);
    arena_init(&entry->arena);
    struct buf record;
    buf_init(&record, SIZE_MAX);
    command_encode(cmd, &record);
    struct span kept = arena_copy(&entry->arena, buf_span(&record));
    buf_fini(&record);
    CHECK(command_decode(kept, &entry->arena, &entry->cmd) == ST_OK);
    list_push(&w->journal, &entry->link);
    w->journal_count++;
    return entry;
}

static inline void world_option_submit(void *user, const struct command *cmd)
{
    world_submit(user, cmd);
}

/* What the worker does: the message's body does not matter here. */
static inline void world_option_dead_letter(void *user, struct dead_letter_job *job)
{
    struct world *w = user;
    if (w->dead_letter != NULL) {
        w->dead_letter(w->user, job);
        return;
    }
    struct buf batch;
    struct batch_builder builder;
    buf_init(&batch, BATCH_SIZE_MAX);
    batch_begin(&builder, &batch);
    batch_add(&builder, &(struct record){.value = span_text("dead"), .priority = PRIORITY_NORMAL});
    batch_end(&builder);
    struct dead_letter_entry entry = {
        .place = job->place,
        .lease_id = job->lease_id,
        .delivery_count = job->delivery_count,
        .reason = job->reason,
        .asked = job->asked != NULL && job->asked->kind == RESOLVE_REJECT,
        .nacked = job->asked != NULL && job->asked->kind == RESOLVE_NACK,
        .hash = job->place.partition,
        .batch = job->drop ? (struct span){0} : buf_span(&batch),
    };
    struct command cmd = {
        .type = COMMAND_DEAD_LETTER,
        .dead_letter = {.settings = WORLD_SETTINGS, .entry_count = 1, .entries = &entry},
    };
    world_submit(w, &cmd)->job = job;
    buf_fini(&batch);
}

static inline bool world_option_connected(void *user, struct poll_request *poll)
{
    const struct world *w = user;
    CHECK(poll->arena != NULL);
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
    entry->result = &result;
    if (entry->ack != NULL)
        delivery_ack_end(w->delivery, entry->ack, &result, w->now_us);
    else if (entry->transaction_ack != NULL)
        delivery_transaction_ack_end(w->delivery, entry->transaction_ack, &result, w->now_us);
    else if (entry->resolve != NULL)
        delivery_resolve_end(w->delivery, entry->resolve, &result, w->now_us);
    else if (entry->job != NULL)
        delivery_dead_letter_end(w->delivery, entry->job, &result.dead_letter.entries[0],
                                 w->now_us);
    else
        delivery_on_own_applied(w->delivery, &entry->cmd, &result, w->now_us);
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
    world_serve(w);
    machine_check(w->machine);
    delivery_check(w->delivery);
}

static inline void world_pass(struct world *w, int64_t us)
{
    w->now_us += us;
    while (delivery_run_timers(w->delivery, w->now_us) <= w->now_us)
        ;
}

static inline struct machine *world_new_machine(struct world *w)
{
    struct machine_effects effects = {
        .append = world_effect_append,
        .group_changed = world_effect_group_changed,
        .member_gone = world_effect_member_gone,
        .group_deleted = world_effect_group_deleted,
        .position_moved = world_effect_position_moved,
        .group_partition_gone = world_effect_partition_gone,
        .became_visible = world_effect_became_visible,
        .due_changed = world_effect_due_changed,
        .became_gone = world_effect_became_gone,
        .topic_deleted = world_effect_topic_deleted,
        .transaction_begun = world_effect_transaction_begun,
        .transaction_ended = world_effect_transaction_ended,
        .user = w,
    };
    return machine_new(&effects);
}

static inline void world_start(struct world *w, uint64_t boot_id)
{
    struct delivery_options options = {
        .boot_id = boot_id,
        .submit = world_option_submit,
        .connected = world_option_connected,
        .dead_letter = world_option_dead_letter,
        .read_keys = world_option_read_keys,
        .user = w,
    };
    w->delivery = delivery_new(w->machine, &options);
    delivery_start(w->delivery, w->now_us);
}

static inline void world_stop(struct world *w)
{
    world_drop_keys_jobs(w);
    delivery_drain(w->delivery);
    CHECK(list_empty(&w->keys_jobs));
    delivery_free(w->delivery);
    w->delivery = NULL;
}

static inline void world_init(struct world *w)
{
    *w = (struct world){.now_us = WORLD_START_US, .connected = true};
    list_init(&w->journal);
    list_init(&w->keys_jobs);
    w->machine = world_new_machine(w);
    world_start(w, 0xFEDCBA9876543210ULL);
}

/* The broker's run ends without a word and another begins: delivery is new, the state is not. */
static inline void world_restart(struct world *w, uint64_t boot_id)
{
    world_stop(w);
    world_start(w, boot_id);
}

/* What a crash does to commands that were not durable yet. */
static inline void world_drop_journal(struct world *w)
{
    while (!list_empty(&w->journal)) {
        struct world_entry *entry = list_entry(list_pop(&w->journal), struct world_entry, link);
        free(entry->job);
        arena_fini(&entry->arena);
        free(entry);
    }
    w->journal_count = 0;
}

/* The state goes through a snapshot. Between world_stop() and world_start(). */
static inline void world_reload(struct world *w)
{
    CHECK(w->delivery == NULL);
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(w->machine, &image);
    machine_free(w->machine);
    w->machine = world_new_machine(w);
    enum status st = machine_load(w->machine, buf_span(&image));
    CHECK(st == ST_OK);
    buf_fini(&image);
}

static inline void world_fini(struct world *w)
{
    world_stop(w);
    machine_free(w->machine);
    world_drop_journal(w);
    for (uint32_t i = 0; i < w->log_count; i++)
        free(w->logs[i].keys);
    free(w->logs);
}

static inline void world_create_topic(struct world *w, const char *name, uint32_t partition_count)
{
    struct command cmd = {
        .type = COMMAND_TOPIC_CREATE,
        .topic_create = {.name = span_text(name),
                         .partition_count = partition_count,
                         .if_absent = true,
                         .settings = WORLD_SETTINGS},
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
