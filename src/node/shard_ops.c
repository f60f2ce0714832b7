/* What the shard does with each kind of op. Commands go to the queue for the journal; everything
 * else is answered at once or parked. */
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>

#include "command/codec.h"
#include "node/logline.h"
#include "node/shard_state.h"
#include "std/alloc.h"
#include "std/check.h"

enum { HIDDEN_RUNS_MAX = 1024 }; /* told with one fetch */

#define OP_OF(pointer, member)                                                                     \
    ((struct op *)(void *)((char *)(pointer)-offsetof(struct op, member)))

void shard_finish(struct shard *s, struct op *op)
{
    inbox_done(&s->inbox, op);
    op->done(op);
}

void shard_enqueue(struct shard *s, struct op *op, struct buf *own_record)
{
    struct pending_queue *q = &s->queue;
    if (q->count == q->capacity) {
        uint32_t capacity = q->capacity == 0 ? 256 : q->capacity * 2;
        struct pending *items = alloc_array(capacity, sizeof *items);
        for (uint32_t i = 0; i < q->count; i++)
            items[i] = q->items[(q->first + i) % q->capacity];
        free(q->items);
        *q = (struct pending_queue){.items = items, .count = q->count, .capacity = capacity};
    }
    struct pending *item = &q->items[(q->first + q->count++) % q->capacity];
    *item = (struct pending){.op = op};
    if (own_record != NULL)
        item->record = *own_record;
}

/* Splits runs at the end of a log segment and says where each is to be read. */
static void poll_attach_ranges(struct shard *s, struct poll_request *poll)
{
    struct delivered_run *runs = NULL;
    uint32_t count = 0, capacity = 0;
    for (uint32_t i = 0; i < poll->run_count; i++) {
        struct delivered_run rest = poll->runs[i];
        while (rest.count > 0) {
            struct log_range *range = arena_new(poll->arena, struct log_range);
            logs_find(&s->logs, logs_slot(rest.source), rest.messages[0].offset, range);
            CHECK(range->segment != NULL || s->logs.failed != ST_OK); /* it was appended */
            struct delivered_run part = rest;
            part.range = range;
            part.count = 0;
            while (part.count < rest.count &&
                   rest.messages[part.count].offset < range->limit_offset)
                part.count++;
            CHECK(part.count > 0);
            if (count == capacity) {
                capacity = capacity == 0 ? poll->run_count + 4 : capacity * 2;
                struct delivered_run *grown = arena_array(poll->arena, capacity, sizeof *grown);
                if (count > 0)
                    memcpy(grown, runs, count * sizeof *grown);
                runs = grown;
            }
            runs[count++] = part;
            rest.messages += part.count;
            rest.count -= part.count;
        }
    }
    poll->runs = runs;
    poll->run_count = count;
}

static void poll_done(struct poll_request *poll)
{
    struct op *op = OP_OF(poll, poll);
    poll_attach_ranges(op->shard, poll);
    shard_finish(op->shard, op);
}

static void join_done(struct join_request *join)
{
    struct op *op = OP_OF(join, join);
    shard_finish(op->shard, op);
}

static void waiter_remove(struct op *op)
{
    list_remove(&op->fetch.parked);
    if (list_linked(&op->fetch.slot_link))
        list_remove(&op->fetch.slot_link);
}

static void waiter_add(struct shard *s, struct op *op, int64_t now_us)
{
    struct fetch_request *f = &op->fetch;
    const struct topic *topic = machine_find_topic(s->machine, f->topic);
    f->due_us = now_us + f->wait_us;
    list_push(&s->waiters, &f->parked);
    list_push(&logs_slot(topic->partitions[f->partition])->waiters, &f->slot_link);
    if (f->due_us < s->waiters_due_us)
        s->waiters_due_us = f->due_us;
}

/* What of the partition is not to be shown, from the offset on: runs of hidden messages, and all
 * from the first message of an open transaction on. */
static void fetch_tell_hidden(struct fetch_request *f, const struct partition *partition,
                              struct arena *arena)
{
    f->hidden = NULL;
    f->hidden_count = 0;
    f->hidden_end = partition_stable_end(partition);
    f->pending = partition_is_pending(partition, f->offset);
    if (partition->exceptions == NULL)
        return;
    const struct offset_set *hidden = &partition->exceptions->hidden;
    uint64_t at = f->offset;
    while (offset_set_next(hidden, at, &at) && at < f->hidden_end) {
        if (f->hidden_count == HIDDEN_RUNS_MAX) {
            f->hidden_end = at;
            return;
        }
        if (f->hidden == NULL)
            f->hidden = arena_array(arena, HIDDEN_RUNS_MAX, sizeof *f->hidden);
        struct hidden_run *run = &f->hidden[f->hidden_count++];
        run->first = at;
        run->end = offset_set_next_gap(hidden, at);
        if (run->end >
            f->hidden_end) /* gone ones before open ones, which are not to be stepped over */
            run->end = f->hidden_end;
        at = run->end;
    }
}

/* False: nothing to read yet, and the request may wait. */
static bool fetch_answer(struct shard *s, struct fetch_request *f, struct arena *arena)
{
    f->range = (struct log_range){0};
    struct topic *topic = machine_find_topic(s->machine, f->topic);
    if (topic == NULL) {
        f->status = ST_TOPIC_NOT_FOUND;
        return true;
    }
    if (f->partition >= topic->partition_count) {
        f->status = ST_PARTITION_NOT_FOUND;
        return true;
    }
    const struct partition *partition = topic->partitions[f->partition];
    f->status = ST_OK;
    f->start_offset = partition->start_offset;
    f->next_offset = partition->next_offset;
    logs_find(&s->logs, logs_slot(partition), f->offset, &f->range);
    if (s->logs.failed != ST_OK) {
        f->status = ST_IO;
        return true;
    }
    uint64_t from = f->offset < f->start_offset ? f->start_offset : f->offset;
    bool found = partition_skip_hidden(partition, from) < partition_stable_end(partition);
    if (!found && f->wait_us > 0 && f->offset <= partition->next_offset) {
        log_range_release(&f->range);
        return false;
    }
    fetch_tell_hidden(f, partition, arena);
    return true;
}

static void waiter_answer(struct shard *s, struct op *op)
{
    if (fetch_answer(s, &op->fetch, &op->arena)) {
        waiter_remove(op);
        shard_finish(s, op);
    }
}

void shard_wake_waiters(struct shard *s)
{
    struct logs *l = &s->logs;
    for (uint32_t i = 0; i < l->woken_count; i++) {
        struct log_slot *slot = l->woken[i];
        slot->woken = false;
        struct list_node *next = NULL;
        for (struct list_node *n = slot->waiters.next; n != &slot->waiters; n = next) {
            next = n->next;
            waiter_answer(s, OP_OF(list_entry(n, struct fetch_request, slot_link), fetch));
        }
    }
    l->woken_count = 0;
}

/* Walks all of them, but only when the earliest one is due. */
void shard_run_waiters(struct shard *s, int64_t now_us)
{
    s->waiters_due_us = INT64_MAX;
    struct list_node *next = NULL;
    for (struct list_node *n = s->waiters.next; n != &s->waiters; n = next) {
        next = n->next;
        struct fetch_request *f = list_entry(n, struct fetch_request, parked);
        if (now_us >= f->due_us || atomic_load(&s->draining))
            f->wait_us = 0;
        if (f->wait_us == 0)
            waiter_answer(s, OP_OF(f, fetch));
        else if (f->due_us < s->waiters_due_us)
            s->waiters_due_us = f->due_us;
    }
}

static void dispatch_query(struct shard *s, struct op *op)
{
    machine_query(s->machine, &op->query, &op->arena, &op->query_result);
    for (uint32_t i = 0; i < op->query_result.group_count; i++)
        delivery_fill_group_info(s->delivery, &op->query_result.groups[i]);
    if (op->query.type == QUERY_STATS)
        delivery_stats_get(s->delivery, &op->delivery_stats);
    if (op->query.type == QUERY_IN_FLIGHT && op->query_result.status == ST_OK)
        delivery_fill_in_flight(s->delivery, machine_find_topic(s->machine, op->query.name),
                                &op->arena, &op->query_result.in_flight);
    shard_finish(s, op);
}

static void dispatch_ack(struct shard *s, struct op *op, int64_t now_us)
{
    op->ack.arena = &op->arena;
    delivery_ack_begin(s->delivery, &op->ack, now_us);
    if (op->ack.command.ack.entry_count == 0) {
        shard_finish(s, op);
        return;
    }
    buf_fini(&op->record); /* of the group before, when a batch has several */
    buf_init(&op->record, JOURNAL_RECORD_SIZE_MAX);
    command_encode(&op->ack.command, &op->record);
    CHECK(!op->record.overflowed);
    shard_enqueue(s, op, NULL);
}

static void dispatch_transaction_ack(struct shard *s, struct op *op, int64_t now_us)
{
    op->transaction_ack.arena = &op->arena;
    if (delivery_transaction_ack_begin(s->delivery, &op->transaction_ack, now_us)) {
        shard_finish(s, op);
        return;
    }
    buf_init(&op->record, JOURNAL_RECORD_SIZE_MAX);
    command_encode(&op->transaction_ack.command, &op->record);
    CHECK(!op->record.overflowed);
    shard_enqueue(s, op, NULL);
}

static void resolve_done(struct resolve_request *resolve)
{
    struct op *op = OP_OF(resolve, resolve);
    shard_finish(op->shard, op);
}

static void dispatch_resolve(struct shard *s, struct op *op, int64_t now_us)
{
    op->resolve.arena = &op->arena;
    op->resolve.done = resolve_done;
    if (delivery_resolve_begin(s->delivery, &op->resolve, now_us)) {
        shard_finish(s, op);
    } else if (op->resolve.command.release.entry_count > 0) {
        buf_init(&op->record, JOURNAL_RECORD_SIZE_MAX);
        command_encode(&op->resolve.command, &op->record);
        CHECK(!op->record.overflowed);
        shard_enqueue(s, op, NULL);
    } /* else it is to be a dead letter: resolve_done() comes later */
}

static void dispatch_waiting(struct shard *s, struct op *op, int64_t now_us)
{
    if (op->kind == OP_POLL) {
        op->poll.arena = &op->arena;
        op->poll.done = poll_done;
        if (atomic_load(&s->draining))
            op->poll.wait_us = 0;
        delivery_poll(s->delivery, &op->poll, now_us);
    } else if (op->kind == OP_JOIN) {
        op->join.arena = &op->arena;
        op->join.done = join_done;
        delivery_join(s->delivery, &op->join, now_us);
    } else {
        if (atomic_load(&s->draining))
            op->fetch.wait_us = 0;
        if (fetch_answer(s, &op->fetch, &op->arena))
            shard_finish(s, op);
        else
            waiter_add(s, op, now_us);
    }
}

void shard_dispatch(struct shard *s, struct op *op, int64_t now_us)
{
    op->shard = s;
    switch (op->kind) {
    case OP_COMMAND:
        shard_enqueue(s, op, NULL);
        break;
    case OP_QUERY:
        dispatch_query(s, op);
        break;
    case OP_SEEK:
        shard_dispatch_seek(s, op);
        break;
    case OP_ACK:
        dispatch_ack(s, op, now_us);
        break;
    case OP_TRANSACTION_ACK:
        dispatch_transaction_ack(s, op, now_us);
        break;
    case OP_RESOLVE:
        dispatch_resolve(s, op, now_us);
        break;
    case OP_DEAD_LETTERS:
        shard_dispatch_dead_letters(s, op, now_us);
        break;
    case OP_KEYS:
        shard_dispatch_keys(s, op, now_us);
        break;
    case OP_RELEASE:
        delivery_release(s->delivery, op->ack.receipts, op->ack.count, now_us);
        shard_finish(s, op);
        break;
    case OP_HEARTBEAT:
        op->heartbeat.arena = &op->arena;
        delivery_heartbeat(s->delivery, &op->heartbeat, now_us);
        shard_finish(s, op);
        break;
    case OP_POLL:
    case OP_JOIN:
    case OP_FETCH:
        dispatch_waiting(s, op, now_us);
        break;
    }
}

/* The client's end of a parked poll: closed, wholly or for sending, or silent. */
bool shard_connected(void *user, struct poll_request *parked)
{
    (void)user;
    const struct op *op = OP_OF(parked, poll);
    struct pollfd client = {.fd = op->client_fd, .events = POLLRDHUP}; /* -1: nothing happens */
    return poll(&client, 1, 0) <= 0;
}

void shard_submit_own(void *user, const struct command *cmd)
{
    struct shard *s = user;
    struct buf record;
    buf_init(&record, JOURNAL_RECORD_SIZE_MAX);
    command_encode(cmd, &record);
    CHECK(!record.overflowed);
    shard_enqueue(s, NULL, &record);
}

enum status shard_apply(struct shard *s, uint64_t index, struct span record, struct op *op,
                        int64_t now_us)
{
    struct arena *arena = op != NULL ? &op->arena : &s->scratch;
    struct command cmd;
    enum status st = command_decode(record, arena, &cmd);
    if (st != ST_OK)
        return st;
    struct result result = {0};
    machine_apply(s->machine, &cmd, index, arena, &result);
    if (s->replaying) {
        s->last_time_us = cmd.time_us;
        return ST_OK;
    }
    if (op == NULL) {
        delivery_on_own_applied(s->delivery, &cmd, &result, now_us);
    } else if (op->kind == OP_RESOLVE) {
        delivery_resolve_end(s->delivery, &op->resolve, &result, now_us);
    } else if (op->kind == OP_DEAD_LETTERS) {
        shard_dead_letters_applied(s, op, &result, now_us);
    } else if (op->kind == OP_TRANSACTION_ACK) {
        delivery_transaction_ack_end(s->delivery, &op->transaction_ack, &result, now_us);
    } else if (op->kind == OP_ACK) {
        delivery_ack_end(s->delivery, &op->ack, &result, now_us);
    } else {
        op->result = result;
        if (cmd.type == COMMAND_OFFSETS_COMMIT && result.status == ST_OK)
            delivery_touch(s->delivery, cmd.offsets_commit.group, cmd.offsets_commit.member_id,
                           now_us);
        else if (cmd.type == COMMAND_TRANSACTION_OFFSETS && result.status == ST_OK)
            delivery_touch(s->delivery, cmd.transaction_offsets.commit.group,
                           cmd.transaction_offsets.commit.member_id, now_us);
        else if (cmd.type == COMMAND_GROUP_REVOKE && result.status == ST_OK)
            delivery_touch(s->delivery, cmd.group_revoke.group, cmd.group_revoke.member_id, now_us);
    }
    return ST_OK;
}
