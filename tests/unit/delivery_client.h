/* A world with three clients, for the suites of delivery. Each that includes this has one of its
 * own, between clients_setup() and clients_teardown(). */
#ifndef TESTS_UNIT_DELIVERY_CLIENT_H
#define TESTS_UNIT_DELIVERY_CLIENT_H

#include <check.h>
#include <stdio.h>

#include "delivery/joining.h"
#include "delivery/readout.h"
#include "tests/unit/delivery_world.h"

/* One client with one request of each kind under way; two of those that resolve. */
struct client {
    struct arena arena;
    struct span topics[2];
    char member_id[64];
    struct join_request join;
    struct poll_request poll;
    struct ack_request ack;
    struct receipt ack_receipt;
    struct resolve_request resolve, second;
    struct heartbeat_request beat;
    uint32_t generation;
    int joins_done;
    int polls_done;
    int resolves_done; /* answered by `done` */
};

#define CLIENT(request, field)                                                                     \
    ((struct client *)(void *)((char *)(request)-offsetof(struct client, field)))

static struct world world;
static struct client alice, bob, carol;

static inline void clients_setup(void)
{
    world_init(&world);
    world_create_topic(&world, "orders", 2);
    struct client *clients[] = {&alice, &bob, &carol};
    const char *names[] = {"alice-1", "bob-1", "carol-1"};
    for (int i = 0; i < 3; i++) {
        struct client *c = clients[i];
        *c = (struct client){0};
        arena_init(&c->arena);
        memcpy(c->member_id, names[i], strlen(names[i]));
    }
}

static inline void clients_teardown(void)
{
    world_fini(&world);
    struct client *clients[] = {&alice, &bob, &carol};
    for (int i = 0; i < 3; i++)
        arena_fini(&clients[i]->arena);
}

/* Until no command is left, those included that delivery itself submits. */
static inline void settle(void)
{
    do
        world_settle(&world);
    while (world.journal_count > 0);
}

/* Time goes on, and everything that becomes due in it is applied. */
static inline void pass(int64_t us)
{
    world_pass(&world, us);
    settle();
}

static inline void create_topic(const char *name, uint32_t partition_count,
                                struct topic_settings settings)
{
    struct command cmd = {
        .type = COMMAND_TOPIC_CREATE,
        .topic_create = {.name = span_text(name),
                         .partition_count = partition_count,
                         .settings = settings},
    };
    world_submit(&world, &cmd);
    settle();
    ck_assert_int_eq(world.last_status, ST_OK);
}

static inline void publish_records(const char *topic_name, uint32_t partition,
                                   const struct record *records, uint32_t count)
{
    const struct topic *topic = machine_find_topic(world.machine, span_text(topic_name));
    ck_assert_ptr_nonnull(topic);
    struct buf batch, entries;
    struct batch_builder builder;
    buf_init(&batch, BATCH_SIZE_MAX);
    buf_init(&entries, BATCH_SIZE_MAX);
    batch_begin(&builder, &batch);
    for (uint32_t i = 0; i < count; i++)
        batch_add(&builder, &records[i]);
    batch_end(&builder);
    wire_put_u32(&entries, partition);
    wire_put_u32(&entries, (uint32_t)batch.size);
    buf_put_span(&entries, buf_span(&batch));
    struct command cmd = {
        .type = COMMAND_PUBLISH,
        .publish = {.topic_id = topic->id,
                    .partition_count = topic->partition_count,
                    .entry_count = 1,
                    .entries = buf_span(&entries)},
    };
    world_submit(&world, &cmd);
    buf_fini(&entries);
    buf_fini(&batch);
    settle();
}

/* `count` messages of one kind. */
static inline void publish(const char *topic_name, uint32_t partition, enum priority priority,
                           int64_t delay_us, uint32_t count)
{
    struct record *records = alloc_array(count, sizeof *records);
    for (uint32_t i = 0; i < count; i++)
        records[i] =
            (struct record){.value = span_text("m"), .priority = priority, .delay_us = delay_us};
    publish_records(topic_name, partition, records, count);
    free(records);
}

static inline void on_join(struct join_request *join)
{
    struct client *c = CLIENT(join, join);
    c->joins_done++;
    if (join->result.status == ST_OK)
        c->generation = join->result.join.generation;
}

/* To "workers", reading the topics that c->topics has; "orders" when it has none. */
static inline void start_join(struct client *c, uint32_t in_flight_max)
{
    if (c->topics[0].size == 0)
        c->topics[0] = span_text("orders");
    int64_t visibility_us = c->join.joiner.visibility_us;
    uint32_t deliveries_max = c->join.joiner.deliveries_max;
    enum ordering ordering = c->join.joiner.ordering;
    bool rejoin = c->join.joiner.rejoin;
    c->join = (struct join_request){
        .group = span_text("workers"),
        .joiner = {.member_id = span_text(c->member_id),
                   .client_id = span_text("client"),
                   .topics = c->topics,
                   .topic_count = c->topics[1].size == 0 ? 1 : 2,
                   .session_us = 30 * WORLD_SECOND,
                   .in_flight_max = in_flight_max,
                   .visibility_us = visibility_us, /* what the test asked for, as the rest */
                   .deliveries_max = deliveries_max,
                   .ordering = ordering,
                   .rejoin = rejoin},
        .arena = &c->arena,
        .done = on_join,
    };
    delivery_join(world.delivery, &c->join, world.now_us);
}

static inline void join_now(struct client *c, uint32_t in_flight_max)
{
    start_join(c, in_flight_max);
    world_pass(&world, JOIN_WINDOW_US + 2000);
    world_settle(&world);
    ck_assert_int_eq(c->joins_done, 1);
    ck_assert_int_eq(c->join.result.status, ST_OK);
    ck_assert_int_eq(c->join.result.join.joined[c->join.index].status, ST_OK);
}

static inline void on_poll(struct poll_request *poll)
{
    CLIENT(poll, poll)->polls_done++;
}

static inline void start_poll(struct client *c, uint32_t max, int64_t wait_us)
{
    c->polls_done = 0;
    c->poll = (struct poll_request){.group = span_text("workers"),
                                    .member_id = span_text(c->member_id),
                                    .generation = -1,
                                    .messages_max = max,
                                    .wait_us = wait_us,
                                    .arena = &c->arena,
                                    .done = on_poll};
    delivery_poll(world.delivery, &c->poll, world.now_us);
    world_serve(&world);
    delivery_check(world.delivery);
}

static inline uint32_t received(const struct client *c)
{
    ck_assert_int_eq(c->polls_done, 1);
    ck_assert_int_eq(c->poll.status, ST_OK);
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->poll.run_count; i++)
        count += c->poll.runs[i].count;
    return count;
}

static inline uint32_t poll_now(struct client *c, uint32_t max)
{
    start_poll(c, max, 0);
    return received(c);
}

/* The number index of all messages that came, from that run on. */
static inline const struct delivered *message_of(const struct client *c, uint32_t run,
                                                 uint32_t index)
{
    ck_assert_uint_lt(run, c->poll.run_count);
    const struct delivered_run *r = &c->poll.runs[run];
    while (index >= r->count && ++run < c->poll.run_count) { /* partitions take turns */
        index -= r->count;
        r = &c->poll.runs[run];
    }
    ck_assert_uint_lt(index, r->count);
    return &r->messages[index];
}

static inline struct receipt receipt_of(const struct client *c, uint32_t run, uint32_t index)
{
    const struct delivered *message = message_of(c, run, index);
    const struct delivered_run *r = &c->poll.runs[run];
    while (message < r->messages || message >= r->messages + r->count)
        r++;
    return (struct receipt){.group_id = r->group_id,
                            .topic_id = r->topic_id,
                            .partition = r->partition,
                            .delivery_count = message->delivery_count,
                            .offset = message->offset,
                            .lease_id = message->lease_id};
}

/* Polls one message, which must be there. */
static inline struct receipt poll_one(struct client *c)
{
    ck_assert_uint_eq(poll_now(c, 1), 1);
    return receipt_of(c, 0, 0);
}

static inline void begin_ack(struct client *c, struct receipt *receipts, uint32_t count)
{
    c->ack = (struct ack_request){.receipts = receipts, .count = count, .arena = &c->arena};
    delivery_ack_begin(world.delivery, &c->ack, world.now_us);
    if (c->ack.command.ack.entry_count > 0)
        world_submit(&world, &c->ack.command)->ack = &c->ack;
    delivery_check(world.delivery);
}

static inline const struct acked *ack_now(struct client *c, struct receipt receipt)
{
    c->ack_receipt = receipt;
    begin_ack(c, &c->ack_receipt, 1);
    settle();
    return &c->ack.acked[0];
}

static inline void on_resolve(struct resolve_request *resolve)
{
    alice.resolves_done += resolve == &alice.resolve || resolve == &alice.second;
    bob.resolves_done += resolve == &bob.resolve || resolve == &bob.second;
}

/* True: it is answered already. */
static inline bool begin_resolve(struct client *c, struct resolve_request *resolve,
                                 enum resolve_kind kind, struct receipt receipt, int64_t delay_us)
{
    struct span reason = resolve->reason; /* what the test asked for */
    *resolve = (struct resolve_request){.kind = kind,
                                        .receipt = receipt,
                                        .delay_us = delay_us,
                                        .reason = reason,
                                        .arena = &c->arena,
                                        .done = on_resolve};
    bool answered = delivery_resolve_begin(world.delivery, resolve, world.now_us);
    if (!answered && resolve->command.release.entry_count > 0)
        world_submit(&world, &resolve->command)->resolve = resolve;
    delivery_settle(world.delivery, world.now_us);
    delivery_check(world.delivery);
    return answered;
}

static inline const struct resolve_request *resolve_now(struct client *c, enum resolve_kind kind,
                                                        struct receipt receipt, int64_t delay_us)
{
    (void)begin_resolve(c, &c->resolve, kind, receipt, delay_us);
    settle();
    return &c->resolve;
}

static inline const struct resolve_request *nack_now(struct client *c, struct receipt receipt,
                                                     int64_t delay_us)
{
    return resolve_now(c, RESOLVE_NACK, receipt, delay_us);
}

static inline const struct resolve_request *reject_now(struct client *c, struct receipt receipt)
{
    return resolve_now(c, RESOLVE_REJECT, receipt, 0);
}

static inline const struct resolve_request *extend_now(struct client *c, struct receipt receipt,
                                                       int64_t delay_us)
{
    return resolve_now(c, RESOLVE_EXTEND, receipt, delay_us);
}

static inline void submit_leave(const struct client *c)
{
    struct command cmd = {
        .type = COMMAND_GROUP_LEAVE,
        .group_leave = {.group = span_text("workers"), .member_id = span_text(c->member_id)},
    };
    world_submit(&world, &cmd);
}

static inline void leave(const struct client *c)
{
    submit_leave(c);
    settle();
}

static inline void submit_commit(const struct client *c, uint32_t partition, uint64_t offset)
{
    struct offset_entry entry = {
        .topic = span_text("orders"), .partition = partition, .offset = offset};
    struct command cmd = {
        .type = COMMAND_OFFSETS_COMMIT,
        .offsets_commit = {.group = span_text("workers"),
                           .member_id = span_text(c->member_id),
                           .entries = &entry,
                           .entry_count = 1,
                           .generation = -1},
    };
    world_submit(&world, &cmd);
}

static inline enum status commit(const struct client *c, uint32_t partition, uint64_t offset)
{
    submit_commit(c, partition, offset);
    world_settle(&world);
    return world.last_status;
}

static inline struct delivery_stats stats(void)
{
    struct delivery_stats out;
    delivery_stats_get(world.delivery, &out);
    return out;
}

/* The topic's messages in a partition; 0 when there is no such topic. */
static inline uint64_t message_count(const char *topic_name, uint32_t partition)
{
    const struct topic *topic = machine_find_topic(world.machine, span_text(topic_name));
    return topic == NULL ? 0 : topic->partitions[partition]->message_count;
}

static inline struct group_partition *group_partition(const char *topic_name, uint32_t partition)
{
    const struct topic *topic = machine_find_topic(world.machine, span_text(topic_name));
    const struct group *group = machine_find_group(world.machine, span_text("workers"));
    ck_assert(topic != NULL && group != NULL);
    return group_find_partition(group, topic->id, partition);
}

/* The lease of a message of "orders"; NULL: none. */
static inline const struct lease *lease_of(uint32_t partition, uint64_t offset)
{
    const struct group_partition *gp = group_partition("orders", partition);
    return gp == NULL || gp->readout == NULL ? NULL : readout_find(gp->readout, offset);
}

/* The first command under way that is a dead letter's. */
static inline struct world_entry *job_entry(void)
{
    for (struct list_node *n = world.journal.next; n != &world.journal; n = n->next) {
        struct world_entry *entry = list_entry(n, struct world_entry, link);
        if (entry->job != NULL)
            return entry;
    }
    return NULL;
}

static inline uint32_t jobs_under_way(void)
{
    uint32_t count = 0;
    for (struct list_node *n = world.journal.next; n != &world.journal; n = n->next)
        count += list_entry(n, struct world_entry, link)->job != NULL;
    return count;
}

/* The worker is slow: its command comes behind all that are under way. */
static inline void delay_job(void)
{
    struct world_entry *entry = job_entry();
    ck_assert_ptr_nonnull(entry);
    list_remove(&entry->link);
    list_push(&world.journal, &entry->link);
}

/* The worker cannot read the message, or the command cannot be journalled. */
static inline void fail_job(enum status st)
{
    struct world_entry *entry = job_entry();
    ck_assert_ptr_nonnull(entry);
    list_remove(&entry->link);
    world.journal_count--;
    const struct dead_lettered dead = {.status = st};
    delivery_dead_letter_end(world.delivery, entry->job, &dead, world.now_us);
    arena_fini(&entry->arena);
    free(entry);
    delivery_settle(world.delivery, world.now_us);
    delivery_check(world.delivery);
}

/* The broker dies: what was not applied is lost with everybody who waited for it. */
static inline void crash(uint64_t boot_id)
{
    while (!list_empty(&world.journal)) {
        struct world_entry *entry = list_entry(list_pop(&world.journal), struct world_entry, link);
        free(entry->job);
        arena_fini(&entry->arena);
        free(entry);
    }
    world.journal_count = 0;
    world_restart(&world, boot_id);
    delivery_check(world.delivery);
}

#endif
