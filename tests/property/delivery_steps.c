#include "tests/property/delivery_steps.h"

#include <stdio.h>

#include "std/check.h"

enum { HOARD_STEPS = 250 };

static bool one_in(struct picture *p, uint64_t n)
{
    return roll(p, n) == 0;
}

bool picture_journal_is_full(const struct picture *p)
{
    return p->world.journal_count > 12 || p->under_way_count + 4 > UNDER_WAY_MAX;
}

static struct model_record random_record(struct picture *p)
{
    struct model_record record = {.priority = PRIORITY_NORMAL};
    if (one_in(p, 2))
        record.priority = (enum priority)roll(p, PRIORITY_COUNT);
    if (!one_in(p, 5))
        return record;
    int64_t ahead_us = 1 + (int64_t)roll(p, one_in(p, 2) ? 300000 : 60 * WORLD_SECOND);
    if (one_in(p, 2))
        record.delay_us = ahead_us;
    else
        record.deliver_at_us = p->world.now_us + ahead_us;
    return record;
}

void picture_put_messages(struct picture *p, uint32_t count, struct buf *out,
                          struct model_sent *sent)
{
    struct batch_builder builder;
    batch_begin(&builder, out);
    for (uint32_t i = 0; i < count; i++) {
        sent->records[i] = random_record(p);
        struct record record = {.value = span_text("v"),
                                .priority = sent->records[i].priority,
                                .delay_us = sent->records[i].delay_us,
                                .deliver_at_us = sent->records[i].deliver_at_us};
        batch_add(&builder, &record);
    }
    sent->count = count;
    sent->size = batch_size(&builder);
    batch_end(&builder);
}

void step_publish_messages(struct picture *p)
{
    uint32_t topic = (uint32_t)roll(p, PICTURE_NAMES);
    const struct model_topic *t = &p->model.topics[topic];
    if (!t->alive || picture_journal_is_full(p) ||
        picture_space(p, topic) < MODEL_OFFSETS / 4 + MODEL_ENTRIES * MODEL_BATCH)
        return; /* the rest is for what is replayed */
    struct under_way *u = picture_under_way(p, NULL);
    struct buf entries;
    buf_init(&entries, BATCH_SIZE_MAX);
    struct command cmd = {.type = COMMAND_PUBLISH};
    cmd.publish.topic_id = t->id;
    cmd.publish.partition_count = t->partition_count;
    cmd.publish.entry_count = 1 + (uint32_t)roll(p, 3);
    for (uint32_t i = 0; i < cmd.publish.entry_count; i++) {
        struct model_sent *sent = &u->sent[i];
        sent->target = (uint32_t)roll(p, t->partition_count);
        wire_put_u32(&entries, sent->target);
        size_t size_at = entries.size;
        wire_put_u32(&entries, 0);
        picture_put_messages(p, 1 + (uint32_t)roll(p, MODEL_BATCH), &entries, sent);
        memcpy(entries.data + size_at, &sent->size, sizeof sent->size);
        u->count += sent->count;
    }
    cmd.publish.entries = buf_span(&entries);
    u->topic = topic;
    u->entry = world_submit(&p->world, &cmd);
    buf_fini(&entries);
}

void step_cancel(struct picture *p)
{
    uint32_t topic = (uint32_t)roll(p, PICTURE_NAMES);
    uint32_t partition = (uint32_t)roll(p, PICTURE_PARTITIONS);
    const struct model_partition *at = &p->model.topics[topic].partitions[partition];
    if (!p->model.topics[topic].alive || at->next == 0)
        return;
    uint64_t offset = roll(p, at->next);
    for (uint64_t i = 0; i < at->next && !at->messages[offset].pending; i++)
        offset = (offset + 1) % at->next;
    struct command cmd = {.type = COMMAND_DELAY_CANCEL,
                          .delay_cancel = {.topic_id = p->model.topics[topic].id,
                                           .partition = partition,
                                           .offset = offset,
                                           .due_us = at->messages[offset].due_us}};
    world_submit(&p->world, &cmd);
}

void step_replay_dead(struct picture *p)
{
    uint32_t target = (uint32_t)roll(p, PICTURE_NAMES), source = target + MODEL_NAMES;
    uint32_t partition = (uint32_t)roll(p, PICTURE_PARTITIONS);
    uint64_t next = p->model.topics[source].partitions[partition].next;
    if (!p->model.topics[source].alive || !p->model.topics[target].alive || next == 0 ||
        picture_journal_is_full(p) || picture_space(p, target) < MODEL_ENTRIES * 2)
        return;
    struct replay_entry entries[MODEL_ENTRIES];
    size_t ends[MODEL_ENTRIES];
    struct command cmd = {.type = COMMAND_REPLAY,
                          .replay = {.topic_id = p->model.topics[source].id,
                                     .partition = partition,
                                     .target_topic_id = p->model.topics[target].id,
                                     .entry_count = 1 + (uint32_t)roll(p, 3),
                                     .entries = entries}};
    struct under_way *u = picture_under_way(p, NULL);
    struct buf batches;
    buf_init(&batches, BATCH_SIZE_MAX);
    for (uint32_t i = 0; i < cmd.replay.entry_count; i++) {
        picture_put_messages(p, 1, &batches, &u->sent[i]);
        ends[i] = batches.size;
        entries[i] = (struct replay_entry){.offset = one_in(p, 3) ? roll(p, next) : i % next,
                                           .hash = (uint32_t)roll(p, UINT32_MAX)};
    }
    for (uint32_t i = 0; i < cmd.replay.entry_count; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];
        entries[i].batch = span_of(batches.data + start, ends[i] - start);
    }
    u->topic = target;
    u->count = cmd.replay.entry_count;
    u->entry = world_submit(&p->world, &cmd);
    buf_fini(&batches);
}

void step_create_topic(struct picture *p)
{
    uint32_t topic = (uint32_t)roll(p, PICTURE_NAMES);
    if (p->model.topics[topic].alive)
        return;
    struct command cmd = {.type = COMMAND_TOPIC_CREATE};
    cmd.topic_create.name = span_text(model_topic_name(topic));
    cmd.topic_create.partition_count = 1 + (uint32_t)roll(p, PICTURE_PARTITIONS);
    cmd.topic_create.if_absent = true;
    cmd.topic_create.settings = (struct topic_settings){
        .retention_us = -1,
        .retention_bytes = -1,
        .visibility_us = (int64_t)(3 + roll(p, 20)) * WORLD_SECOND,
        .deliveries_max = 1 + (uint32_t)roll(p, 4),
        .in_flight_max = one_in(p, 2) ? 0 : 1 + (uint32_t)roll(p, 8),
        .delayed_max = one_in(p, 4) ? (uint32_t)roll(p, 6) : 1000,
        .priority_mode = one_in(p, 3) ? PRIORITY_WEIGHTED : PRIORITY_STRICT};
    if (p->all_weighted) {
        cmd.topic_create.settings.priority_mode = PRIORITY_WEIGHTED;
        cmd.topic_create.settings.in_flight_max = 0;
    }
    world_submit(&p->world, &cmd);
}

void step_delete(struct picture *p)
{
    uint32_t topic = (uint32_t)roll(p, PICTURE_NAMES);
    if (one_in(p, 3))
        topic += MODEL_NAMES;
    struct command cmd = {.type = COMMAND_TOPIC_DELETE,
                          .topic_delete = {.name = span_text(model_topic_name(topic))}};
    if (one_in(p, 3))
        cmd = (struct command){.type = COMMAND_GROUP_DELETE,
                               .group_delete = {.group = span_text(model_group_name(
                                                    (uint32_t)roll(p, PICTURE_GROUPS)))}};
    world_submit(&p->world, &cmd);
}

static void on_join(struct join_request *join)
{
    struct request *request = list_entry(join, struct request, join);
    CHECK(!request->done);
    request->done = true;
    request->fresh = join->result.status != ST_NOT_READY;
}

struct span picture_id_of(struct picture *p, uint32_t number)
{
    char text[16];
    int size = snprintf(text, sizeof text, "m%u", number);
    return arena_copy(&p->arena, span_of(text, (size_t)size));
}

/* How many members the group has, or will have. */
static uint32_t members_to_be(const struct picture *p, uint32_t group)
{
    uint32_t count = p->model.groups[group].member_count;
    for (uint32_t i = 0; i < p->request_count; i++) {
        const struct request *request = p->requests[i];
        count += request->kind == REQUEST_JOIN && !request->done && request->group == group;
    }
    return count;
}

void join_with(struct picture *p, uint32_t group, uint32_t number, struct joiner joiner,
               const bool topics[MODEL_TOPICS])
{
    struct request *request = picture_request(p, REQUEST_JOIN, group, number);
    joiner.member_id = arena_copy(&request->arena, picture_id_of(p, number));
    joiner.client_id = span_text("client");
    joiner.topics = arena_array(&request->arena, MODEL_TOPICS, sizeof *joiner.topics);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        if (topics[t])
            joiner.topics[joiner.topic_count++] = span_text(model_topic_name(t));
    request->join = (struct join_request){.group = span_text(model_group_name(group)),
                                          .joiner = joiner,
                                          .arena = &request->arena,
                                          .done = on_join};
    const uint32_t before = p->world.journal_count;
    struct window *window = &p->windows[group];
    bool waits = !joiner.rejoin && p->model.groups[group].member_count == 0;
    delivery_join(p->world.delivery, &request->join, p->world.now_us);
    CHECK(p->world.journal_count == before + !waits); /* at once, unless a window is open */
    if (!waits)
        return;
    if (!window->open)
        *window = (struct window){.open = true, .opened_us = p->world.now_us};
    window->joiners++;
    window->closes_us = p->world.now_us + 250000;
    if (window->closes_us > window->opened_us + 1000000)
        window->closes_us = window->opened_us + 1000000;
}

uint32_t picture_pick_member(struct picture *p, uint32_t group)
{
    const struct model_group *g = &p->model.groups[group];
    if (g->member_count == 0 || one_in(p, 50))
        return 1 + (uint32_t)roll(p, p->next_member + 1);
    return g->members[roll(p, g->member_count)].number;
}

void step_join_group(struct picture *p)
{
    uint32_t group = (uint32_t)roll(p, PICTURE_GROUPS);
    bool rejoin = one_in(p, 6);
    if (picture_journal_is_full(p) || (!rejoin && members_to_be(p, group) >= PICTURE_MEMBERS))
        return;
    bool topics[MODEL_TOPICS] = {false};
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        topics[t] = p->model.topics[t].alive && !one_in(p, t < MODEL_NAMES ? 3 : 2);
    if (memchr(topics, true, sizeof topics) == NULL)
        topics[roll(p, PICTURE_NAMES)] = true;
    struct joiner joiner = {
        .rejoin = rejoin,
        .session_us = (int64_t)(10 + roll(p, one_in(p, 3) ? 300 : 50)) * WORLD_SECOND,
        .visibility_us = one_in(p, 2) ? 0 : (int64_t)(2 + roll(p, 20)) * WORLD_SECOND,
        .in_flight_max = 1 + (uint32_t)roll(p, one_in(p, 2) ? 5 : 50),
        .deliveries_max = one_in(p, 2) ? 0 : 1 + (uint32_t)roll(p, 4),
        .from_latest = one_in(p, 5),
        .cooperative = p->cooperative ? !one_in(p, 5) : one_in(p, 5),
    };
    join_with(p, group, rejoin ? picture_pick_member(p, group) : ++p->next_member, joiner, topics);
}

void step_leave_group(struct picture *p)
{
    uint32_t group = (uint32_t)roll(p, PICTURE_GROUPS);
    struct command cmd = {
        .type = COMMAND_GROUP_LEAVE,
        .group_leave = {.group = span_text(model_group_name(group)),
                        .member_id = picture_id_of(p, picture_pick_member(p, group))}};
    world_submit(&p->world, &cmd);
}

int64_t picture_pick_generation(struct picture *p, uint32_t group)
{
    const struct model_group *g = &p->model.groups[group];
    return (int64_t)g->generation + 1 - (int64_t)roll(p, g->generation < 4 ? g->generation + 2 : 4);
}

void poll_with(struct picture *p, uint32_t group, uint32_t number, int64_t generation,
               uint32_t messages_max, int64_t wait_us)
{
    struct request *request = picture_request(p, REQUEST_POLL, group, number);
    request->poll =
        (struct poll_request){.group = span_text(model_group_name(group)),
                              .member_id = arena_copy(&request->arena, picture_id_of(p, number)),
                              .generation = generation,
                              .messages_max = messages_max,
                              .wait_us = wait_us,
                              .arena = &request->arena,
                              .done = picture_on_poll};
    if (picture_member(p, group, number) != NULL &&
        (generation < 0 || generation == (int64_t)p->model.groups[group].generation))
        picture_touch(p, group, number);
    p->moment = POLLING;
    delivery_poll(p->world.delivery, &request->poll, p->world.now_us);
    p->moment = CALM;
    if (request->done)
        return;
    CHECK(messages_max > 0);
    CHECK(picture_member(p, group, number) != NULL);
    request->parked = wait_us > 0; /* else it waits for keys, which come now */
    request->order = ++p->order;
    request->ends_us = p->world.now_us + wait_us;
    p->moment = SERVING;
    world_serve(&p->world);
    p->moment = CALM;
    CHECK(request->done || (request->parked && !picture_has_messages(p, group, number)));
}

void step_poll(struct picture *p)
{
    uint32_t group = (uint32_t)roll(p, PICTURE_GROUPS);
    if (p->hoarding && p->index < HOARD_STEPS)
        return;
    p->world.connected = !one_in(p, 8);
    poll_with(p, group, picture_pick_member(p, group),
              one_in(p, 6) ? picture_pick_generation(p, group) : -1,
              one_in(p, 40) ? 0 : 1 + (uint32_t)roll(p, one_in(p, 2) ? 4 : 20),
              one_in(p, 2) ? 0 : (int64_t)roll(p, 40 * WORLD_SECOND));
}

bool picture_pick_receipt(struct picture *p, struct receipt *out)
{
    uint64_t count = p->receipt_count < RECEIPTS_MAX ? p->receipt_count : RECEIPTS_MAX;
    if (count == 0)
        return false;
    uint64_t back = one_in(p, 4) || count < 30 ? count : 30;
    *out = p->receipts[(p->receipt_count - 1 - roll(p, back)) % RECEIPTS_MAX];
    return true;
}

void ack_with(struct picture *p, const struct receipt *receipts, uint32_t count)
{
    static const enum status statuses[] = {[VERDICT_WRONG_GROUP] = ST_INVALID_ARGUMENT,
                                           [VERDICT_MISSING] = ST_MESSAGE_NOT_FOUND,
                                           [VERDICT_ALREADY] = ST_OK,
                                           [VERDICT_EXPIRED] = ST_RECEIPT_EXPIRED,
                                           [VERDICT_RESERVED] = ST_TRANSACTION_IN_PROGRESS,
                                           [VERDICT_COMMAND] = ST_OK};
    struct request *request = picture_request(p, REQUEST_ACK, 0, 0);
    enum verdict verdicts[RECEIPTS_PER_ACK];
    uint32_t in_flight[RECEIPTS_PER_ACK] = {0}, commands = 0;
    CHECK(count <= RECEIPTS_PER_ACK);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t group;
        struct model_place at;
        request->receipts[i] = receipts[i];
        verdicts[i] = picture_ack(p, &receipts[i], receipts[0].group_id);
        commands += verdicts[i] == VERDICT_COMMAND;
        if (verdicts[i] != VERDICT_WRONG_GROUP && picture_find(p, &receipts[i], &group, &at))
            in_flight[i] = picture_in_flight(p, group, at.topic, at.partition);
    }
    request->ack = (struct ack_request){
        .receipts = request->receipts, .count = count, .arena = &request->arena};
    delivery_ack_begin(p->world.delivery, &request->ack, p->world.now_us);
    for (uint32_t i = 0; i < count; i++) {
        const struct acked *acked = &request->ack.acked[i];
        CHECK(acked->status == statuses[verdicts[i]]);
        CHECK(acked->already == (verdicts[i] == VERDICT_ALREADY));
        uint32_t group;
        struct model_place at;
        if (verdicts[i] == VERDICT_ALREADY && picture_find(p, &receipts[i], &group, &at))
            CHECK(acked->committed ==
                  p->model.groups[group].progress[at.topic][at.partition].position);
        CHECK(request->ack.in_flight[i] == in_flight[i]);
    }
    CHECK(request->ack.command.ack.entry_count == commands);
    if (commands > 0)
        world_submit(&p->world, &request->ack.command)->ack = &request->ack;
    else
        request->done = true;
}

void step_ack_receipts(struct picture *p)
{
    struct receipt receipts[RECEIPTS_PER_ACK];
    uint32_t wanted = 1 + (uint32_t)roll(p, RECEIPTS_PER_ACK), count = 0;
    for (uint32_t i = 0; i < wanted && picture_pick_receipt(p, &receipts[count]); i++)
        if (count == 0 || receipts[count].group_id == receipts[0].group_id || one_in(p, 20))
            count++;
    if (count > 0)
        ack_with(p, receipts, count);
}

static void compare_answer(const struct resolve_request *resolve, const struct expected *expected)
{
    CHECK(resolve->status == expected->status);
    if (expected->status != ST_OK)
        return;
    CHECK(resolve->already == expected->already);
    CHECK(resolve->dead == expected->dead);
    if (!expected->details)
        return;
    CHECK(resolve->delivery_count == expected->delivery_count);
    CHECK(resolve->kind == RESOLVE_REJECT || resolve->next_us == expected->next_us);
}

void step_resolve(struct picture *p)
{
    static const char *const reasons[] = {"", "", "no", "too late"};
    struct receipt receipt;
    if (!picture_pick_receipt(p, &receipt))
        return;
    uint64_t dice = roll(p, 10);
    struct request *request = picture_request(p, REQUEST_RESOLVE, 0, 0);
    struct resolve_request *resolve = &request->resolve;
    *resolve = (struct resolve_request){
        .kind = dice < 5   ? RESOLVE_NACK
                : dice < 7 ? RESOLVE_REJECT
                           : RESOLVE_EXTEND,
        .receipt = receipt,
        .delay_us = (int64_t)roll(p, one_in(p, 2) ? 2 * WORLD_SECOND : 15 * WORLD_SECOND),
        .reason = span_text(reasons[roll(p, 4)]),
        .arena = &request->arena,
        .done = picture_on_resolved,
    };
    if (resolve->kind == RESOLVE_EXTEND)
        resolve->delay_us++;
    else if (one_in(p, 2))
        resolve->delay_us = one_in(p, 2) ? 0 : -1;
    enum resolving how = picture_resolve(p, resolve, &request->expected);
    bool answered = delivery_resolve_begin(p->world.delivery, resolve, p->world.now_us);
    picture_match_jobs(p);
    CHECK(answered == (how == RESOLVING_ANSWERED));
    if (answered) {
        compare_answer(resolve, &request->expected);
        request->done = true;
        return;
    }
    CHECK(resolve->command.release.entry_count == (how == RESOLVING_COMMAND));
    if (how != RESOLVING_COMMAND)
        return;
    const struct release_entry *entry = &resolve->command.release.entries[0];
    CHECK(entry->not_before_us == request->expected.next_us);
    CHECK(entry->delivery_count == request->expected.delivery_count);
    world_submit(&p->world, &resolve->command)->resolve = resolve;
}

void step_give_back(struct picture *p)
{
    struct receipt receipts[3];
    uint32_t count = 0;
    while (count < 1 + roll(p, 3) && count < 3 && picture_pick_receipt(p, &receipts[count])) {
        picture_release(p, &receipts[count]);
        count++;
    }
    p->moment = SERVING;
    delivery_release(p->world.delivery, receipts, count, p->world.now_us);
    world_serve(&p->world);
    p->moment = CALM;
    picture_check_parked(p);
}

bool picture_pick_commit(struct picture *p, struct offset_entry *entries,
                         struct command_offsets_commit *out)
{
    uint32_t group = (uint32_t)roll(p, PICTURE_GROUPS), number = picture_pick_member(p, group);
    *out = (struct command_offsets_commit){
        .group = span_text(model_group_name(group)),
        .member_id = picture_id_of(p, number),
        .generation = one_in(p, 4) ? picture_pick_generation(p, group) : -1,
        .entries = entries,
    };
    for (uint32_t tries = 0; tries < 20 && out->entry_count < COMMITTED_MAX; tries++) {
        uint32_t topic = (uint32_t)roll(p, PICTURE_NAMES) + (one_in(p, 4) ? MODEL_NAMES : 0);
        uint32_t partition = (uint32_t)roll(p, PICTURE_PARTITIONS);
        const struct model_progress *progress = &p->model.groups[group].progress[topic][partition];
        bool owned = progress->known && progress->owner != MODEL_NOBODY &&
                     p->model.groups[group].members[progress->owner].number == number;
        if (!owned && !one_in(p, 100))
            continue;
        uint64_t next = p->model.topics[topic].partitions[partition].next;
        uint64_t offset = one_in(p, 3) || progress->position > next
                              ? roll(p, next + 2)
                              : progress->position + roll(p, 4);
        if (one_in(p, 3) && progress->position > 0)
            offset =
                progress->position - 1 - roll(p, progress->position < 5 ? progress->position : 5);
        entries[out->entry_count++] = (struct offset_entry){
            .topic = span_text(model_topic_name(topic)), .partition = partition, .offset = offset};
    }
    return out->entry_count > 0;
}

void step_commit_offset(struct picture *p)
{
    struct offset_entry entries[COMMITTED_MAX];
    struct command cmd = {.type = COMMAND_OFFSETS_COMMIT};
    if (picture_pick_commit(p, entries, &cmd.offsets_commit))
        world_submit(&p->world, &cmd);
}

void step_dead_letters(struct picture *p)
{
    if (one_in(p, 6))
        picture_fail_job(p);
    else
        picture_make_jobs(p, 1 + (uint32_t)roll(p, 4));
}
