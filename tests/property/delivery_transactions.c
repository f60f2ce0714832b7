/* Steps of producers: what they publish, ack and commit in transactions, some of which are left to
 * their time. */
#include "std/check.h"
#include "tests/property/delivery_steps.h"

enum { NAMES = 3, UNDER_WAY = 16 };

static const char *const names[NAMES] = {"one", "two", "three"};

static bool one_in(struct picture *p, uint64_t n)
{
    return roll(p, n) == 0;
}

/* Mostly one with an open transaction, if there is one. */
static struct producer_ref pick_ref(struct picture *p, bool open)
{
    uint32_t at = 0;
    for (int tries = 0; tries < 30; tries++) {
        at = (uint32_t)roll(p, p->model.producer_count);
        if (p->model.producers[at].alive && (p->model.producers[at].open > 0) == open)
            break;
    }
    struct producer_ref ref = {.id = at + 1U, .epoch = p->model.producers[at].epoch};
    if (one_in(p, 40) && ref.epoch > 0)
        ref.epoch--;
    return ref;
}

static void init(struct picture *p)
{
    struct command cmd = {.type = COMMAND_PRODUCER_INIT};
    cmd.producer_init = (struct command_producer_init){
        .transactional_id = span_text(one_in(p, 9) ? "" : names[roll(p, NAMES)]),
        .timeout_us = 1 + (int64_t)roll(p, one_in(p, 2) ? 10 * WORLD_SECOND : 90 * WORLD_SECOND)};
    world_submit(&p->world, &cmd);
}

static void begin(struct picture *p)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_BEGIN};
    cmd.transaction_begin.producer = pick_ref(p, one_in(p, 9));
    world_submit(&p->world, &cmd);
}

static void send(struct picture *p)
{
    uint32_t topic = (uint32_t)roll(p, PICTURE_NAMES);
    const struct model_topic *t = &p->model.topics[topic];
    if (!t->alive || picture_space(p, topic) < MODEL_OFFSETS / 4 + MODEL_ENTRIES * MODEL_BATCH)
        return; /* the rest is for what is replayed */
    const uint8_t content[CONTENT_SIZE] = {(uint8_t)roll(p, 2)};
    struct under_way *u = picture_under_way(p, NULL);
    struct buf batch;
    buf_init(&batch, BATCH_SIZE_MAX);
    picture_put_messages(p, 1, &batch, &u->sent[0]);
    struct command cmd = {.type = COMMAND_TRANSACTION_PUBLISH};
    cmd.transaction_publish = (struct command_transaction_publish){
        .producer = pick_ref(p, !one_in(p, 9)),
        .topic_id = t->id,
        .partition_count = t->partition_count,
        .target = one_in(p, 3) ? PUBLISH_KEYLESS : (uint32_t)roll(p, t->partition_count),
        .sequence = one_in(p, 2) ? -1 : (int64_t)roll(p, 20),
        .content = span_of(content, sizeof content),
        .batch = buf_span(&batch)};
    u->topic = topic;
    u->count = 1;
    u->entry = world_submit(&p->world, &cmd);
    buf_fini(&batch);
}

static void ack(struct picture *p)
{
    struct request *request = picture_request(p, REQUEST_TRANSACTION_ACK, 0, 0);
    struct transaction_ack_request *ack = &request->transaction_ack;
    uint32_t wanted = 1 + (uint32_t)roll(p, one_in(p, 2) ? 1 : RECEIPTS_PER_ACK), count = 0;
    request->done = true; /* unless a command is under way */
    for (uint32_t i = 0; i < wanted; i++)
        if (picture_pick_receipt(p, &request->receipts[count]) &&
            request->receipts[count].group_id == request->receipts[0].group_id)
            count++; /* of one group: the API sees to it */
    if (count == 0)
        return;
    *ack = (struct transaction_ack_request){.producer = pick_ref(p, !one_in(p, 20)),
                                            .receipts = request->receipts,
                                            .count = count,
                                            .arena = &request->arena};
    uint32_t refused;
    enum status st = picture_transaction_ack(p, request->receipts, count, &refused);
    bool answered = delivery_transaction_ack_begin(p->world.delivery, ack, p->world.now_us);
    CHECK(answered == (st != ST_OK) && ack->refused == refused);
    if (answered) {
        CHECK(ack->status == st);
        return;
    }
    CHECK(ack->command.transaction_ack.entry_count == count);
    world_submit(&p->world, &ack->command)->transaction_ack = ack;
    request->done = false;
}

static void add_offsets(struct picture *p)
{
    struct offset_entry entries[COMMITTED_MAX];
    struct command cmd = {.type = COMMAND_TRANSACTION_OFFSETS};
    cmd.transaction_offsets.producer = pick_ref(p, !one_in(p, 9));
    const struct model_producer *producer =
        &p->model.producers[cmd.transaction_offsets.producer.id - 1];
    if (producer->open > 0 &&
        p->model.transactions[producer->open - 1].offset_count + UNDER_WAY * COMMITTED_MAX >
            MODEL_SPREAD)
        return; /* the model is full */
    if (picture_pick_commit(p, entries, &cmd.transaction_offsets.commit))
        world_submit(&p->world, &cmd);
}

static void end(struct picture *p)
{
    struct command cmd = {.type = COMMAND_TRANSACTION_END};
    cmd.transaction_end.producer = pick_ref(p, !one_in(p, 9));
    cmd.transaction_end.how = one_in(p, 3) ? TRANSACTION_ABORT : TRANSACTION_COMMIT;
    world_submit(&p->world, &cmd);
}

static bool is_full(const struct picture *p)
{
    return p->model.producer_count + UNDER_WAY >= MODEL_PRODUCERS ||
           p->model.transaction_count + UNDER_WAY >= MODEL_TRANSACTIONS ||
           p->model.sequence_count + UNDER_WAY >= MODEL_SEQUENCES || picture_journal_is_full(p);
}

void step_transaction(struct picture *p)
{
    uint64_t dice = roll(p, 100);
    if (is_full(p))
        return;
    if (p->model.producer_count == 0 || dice < 6)
        init(p);
    else if (dice < 28)
        begin(p);
    else if (dice < 48)
        send(p);
    else if (dice < 78)
        ack(p);
    else if (dice < 83)
        add_offsets(p);
    else
        end(p);
}
