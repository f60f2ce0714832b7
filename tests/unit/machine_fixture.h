/* A machine whose effects are written down as words, for its suites. Each that includes this has
 * one of its own, between fixture_setup() and fixture_teardown().
 *
 * After every command: machine_check(), and the state goes through its image and back. */
#ifndef TESTS_UNIT_MACHINE_FIXTURE_H
#define TESTS_UNIT_MACHINE_FIXTURE_H

#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "machine/machine.h"
#include "std/check.h"
#include "std/little_endian.h"
#include "std/wire.h"

#define START_US  1700000000000000LL
#define SECOND_US 1000000LL
#define MINUTE_US (60 * SECOND_US)
enum { EVENTS_SIZE = 1024 };

static struct machine *machine;
static struct arena arena;
static struct command cmd;
static struct result result;
static int64_t now_us;
static char events[EVENTS_SIZE]; /* what the effects said, one word each */

static inline void event(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline void event(const char *format, ...)
{
    size_t used = strlen(events);
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(events + used, sizeof events - used, format, arguments);
    va_end(arguments);
    CHECK(size > 0 && used + (size_t)size < sizeof events);
}

static inline void fixture_created(void *user, const struct topic *t)
{
    (void)user, (void)t;
    event("created ");
}

static inline void fixture_deleted(void *user, const struct topic *t)
{
    (void)user, (void)t;
    event("deleted ");
}

static inline void fixture_appended(void *user, struct partition *p, uint64_t base_offset,
                                    int64_t time_us, struct span batch)
{
    (void)user;
    CHECK(time_us == now_us);
    CHECK(batch.size > 0);
    event("append:%s/%" PRIu32 "@%" PRIu64 " ", p->topic->name, p->index, base_offset);
}

static inline void fixture_changed(void *user, struct group *g)
{
    (void)user, (void)g;
    event("changed ");
}

static inline void fixture_member_gone(void *user, struct group *g, struct member *member)
{
    (void)user, (void)g, (void)member;
    event("member_gone ");
}

static inline void fixture_group_deleted(void *user, struct group *g)
{
    (void)user, (void)g;
    event("group_deleted ");
}

static inline void fixture_moved(void *user, struct group_partition *gp)
{
    (void)user, (void)gp;
    event("moved ");
}

static inline void fixture_visible(void *user, struct partition *p, const struct due_entry *entries,
                                   uint32_t count)
{
    (void)user;
    for (uint32_t i = 0; i < count; i++)
        CHECK(!partition_is_hidden(p, entries[i].offset));
    event("visible:%" PRIu32 " ", count);
}

static inline void fixture_due(void *user, struct partition *p)
{
    (void)user;
    event("due:%" PRIu32 " ", p->index);
}

static inline void fixture_gone(void *user, struct partition *p, uint64_t offset)
{
    (void)user;
    CHECK(partition_is_gone(p, offset));
    event("gone:%" PRIu64 " ", offset);
}

static inline void fixture_partition_gone(void *user, struct group_partition *gp)
{
    (void)user, (void)gp;
    event("partition_gone ");
}

static inline void fixture_partitions_added(void *user, const struct topic *t, uint32_t first)
{
    (void)user;
    event("added:%" PRIu32 "-%" PRIu32 " ", first, t->partition_count);
}

static inline void fixture_transaction_ended(void *user, const struct transaction *t)
{
    (void)user, (void)t;
    event("ended ");
}

static inline void fixture_setup(void)
{
    static const struct machine_effects effects = {
        .topic_created = fixture_created,
        .topic_deleted = fixture_deleted,
        .partitions_added = fixture_partitions_added,
        .transaction_ended = fixture_transaction_ended,
        .append = fixture_appended,
        .group_changed = fixture_changed,
        .member_gone = fixture_member_gone,
        .group_deleted = fixture_group_deleted,
        .position_moved = fixture_moved,
        .became_visible = fixture_visible,
        .due_changed = fixture_due,
        .became_gone = fixture_gone,
        .group_partition_gone = fixture_partition_gone,
    };
    machine = machine_new(&effects);
    arena_init(&arena);
    now_us = START_US;
    events[0] = '\0';
}

static inline void fixture_teardown(void)
{
    machine_free(machine);
    arena_fini(&arena);
}

/* What is saved can be loaded, and is the same state. */
static inline void check_image(void)
{
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    struct machine *copy = machine_new(NULL);
    ck_assert_int_eq(machine_load(copy, buf_span(&image)), ST_OK);
    ck_assert_uint_eq(machine_digest(copy), machine_digest(machine));
    machine_check(copy);
    machine_free(copy);
    buf_fini(&image);
}

/* Of everything but the last command's index and time: whether a command changed nothing. */
static inline uint64_t state_digest(void)
{
    enum { AT_NEXT_TOPIC_ID = 4 + 8 + 8 };
    struct buf image;
    buf_init(&image, SIZE_MAX);
    machine_save(machine, &image);
    uint64_t digest = 14695981039346656037ULL; /* FNV-1a */
    for (size_t i = AT_NEXT_TOPIC_ID; i < image.size; i++)
        digest = (digest ^ image.data[i]) * 1099511628211ULL;
    buf_fini(&image);
    return digest;
}

static inline enum status apply(void)
{
    cmd.time_us = now_us;
    events[0] = '\0';
    machine_apply(machine, &cmd, machine_applied_index(machine) + 1, &arena, &result);
    machine_check(machine);
    check_image();
    return result.status;
}

static inline struct topic_settings fixture_settings(void)
{
    return (struct topic_settings){.retention_us = 604800000000,
                                   .retention_bytes = -1,
                                   .visibility_us = 30 * SECOND_US,
                                   .deliveries_max = 3,
                                   .delayed_max = 1000};
}

static inline enum status create(const char *name, uint32_t partitions, bool if_absent)
{
    cmd = (struct command){.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create =
        (struct command_topic_create){span_text(name), partitions, if_absent, fixture_settings()};
    return apply();
}

static inline enum status delete_topic(const char *name)
{
    cmd = (struct command){.type = COMMAND_TOPIC_DELETE};
    cmd.topic_delete.name = span_text(name);
    return apply();
}

static inline enum status delete_group(void)
{
    cmd = (struct command){.type = COMMAND_GROUP_DELETE};
    cmd.group_delete.group = span_text("g");
    return apply();
}

static inline struct joiner joiner(const char *id, struct span *topics, uint32_t count)
{
    return (struct joiner){.member_id = span_text(id),
                           .client_id = span_text("client"),
                           .topics = topics,
                           .topic_count = count,
                           .session_us = 30 * SECOND_US,
                           .in_flight_max = 1000};
}

static inline enum status join(struct joiner *joiners, uint32_t count)
{
    cmd = (struct command){.type = COMMAND_GROUP_JOIN};
    cmd.group_join = (struct command_group_join){span_text("g"), joiners, count};
    return apply();
}

static inline enum status join_one(const char *id, const char *topic)
{
    struct span topics[] = {span_text(topic)};
    struct joiner one = joiner(id, topics, 1);
    (void)join(&one, 1);
    return result.join.joined[0].status;
}

static inline enum status leave(const char *id)
{
    cmd = (struct command){.type = COMMAND_GROUP_LEAVE};
    cmd.group_leave = (struct command_group_leave){span_text("g"), span_text(id), LEAVE_ASKED};
    return apply();
}

static inline enum status commit(const char *id, const char *topic, uint32_t partition,
                                 uint64_t offset, int64_t generation)
{
    struct offset_entry entry = {span_text(topic), partition, offset};
    cmd = (struct command){.type = COMMAND_OFFSETS_COMMIT};
    cmd.offsets_commit =
        (struct command_offsets_commit){span_text("g"), span_text(id), &entry, 1, generation};
    return apply();
}

static inline struct acked ack_at(uint32_t topic_id, uint32_t partition, uint64_t offset)
{
    struct ack_entry entry = {topic_id, partition, offset};
    cmd = (struct command){.type = COMMAND_ACK};
    cmd.ack = (struct command_ack){1, 1, &entry};
    ck_assert_int_eq(apply(), ST_OK);
    return result.ack.acked[0];
}

static inline struct acked ack(uint64_t offset)
{
    return ack_at(1, 0, offset);
}

static inline struct topic *topic(const char *name)
{
    struct topic *t = machine_find_topic(machine, span_text(name));
    ck_assert_ptr_nonnull(t);
    return t;
}

static inline struct group *group(void)
{
    return machine_find_group(machine, span_text("g"));
}

/* What the group knows of a partition of the topic. */
static inline struct group_partition *known(const char *topic_name, uint32_t partition)
{
    struct group_partition *gp = group_find_partition(group(), topic(topic_name)->id, partition);
    ck_assert_ptr_nonnull(gp);
    return gp;
}

static inline void assert_reason(const struct retry *retry, const char *text)
{
    ck_assert(span_equal(span_of(retry->reason, retry->reason_size), span_text(text)));
}

/* Any number of messages: the partition's counters move as if they had been published. */
static inline void fill(const char *topic_name, uint32_t partition, uint64_t count)
{
    struct partition *p = topic(topic_name)->partitions[partition];
    p->next_offset += count;
    p->message_count += count;
}

/* A batch of the records, in the arena. */
static inline struct span batch_of(const struct record *records, uint32_t count)
{
    struct buf bytes;
    struct batch_builder builder;
    buf_init(&bytes, BATCH_SIZE_MAX);
    batch_begin(&builder, &bytes);
    for (uint32_t i = 0; i < count; i++)
        batch_add(&builder, &records[i]);
    batch_end(&builder);
    struct span batch = arena_copy(&arena, buf_span(&bytes));
    buf_fini(&bytes);
    return batch;
}

static inline struct span batch_of_one(const char *value)
{
    struct record record = {.value = span_text(value), .priority = PRIORITY_NORMAL};
    return batch_of(&record, 1);
}

/* Publishes the records to one partition. */
static inline enum status publish(const char *topic_name, uint32_t partition,
                                  const struct record *records, uint32_t count)
{
    struct span batch = batch_of(records, count);
    struct buf bytes;
    buf_init(&bytes, BATCH_SIZE_MAX);
    wire_put_u32(&bytes, partition);
    wire_put_u32(&bytes, (uint32_t)batch.size);
    buf_put_span(&bytes, batch);
    cmd = (struct command){.type = COMMAND_PUBLISH};
    cmd.publish = (struct command_publish){.topic_id = topic(topic_name)->id,
                                           .partition_count = topic(topic_name)->partition_count,
                                           .entry_count = 1,
                                           .entries = arena_copy(&arena, buf_span(&bytes))};
    buf_fini(&bytes);
    return apply();
}

static inline struct record record_of(enum priority priority, int64_t delay_us)
{
    return (struct record){.value = span_text("v"), .priority = priority, .delay_us = delay_us};
}

static inline enum status publish_one(const char *topic_name, uint32_t partition,
                                      enum priority priority, int64_t delay_us)
{
    struct record record = record_of(priority, delay_us);
    return publish(topic_name, partition, &record, 1);
}

#endif
