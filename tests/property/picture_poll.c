/* What polls are answered, message by message: contract 7.2, rules 1 to 5. */
#include "delivery/readout.h"
#include "std/check.h"
#include "tests/property/picture.h"

enum { POLL_MAX = 1000, PARKED_MAX = 64 };

/* How many messages of a partition the group may get beyond those that are out. */
static uint32_t room_of(struct picture *p, uint32_t group, uint32_t topic, uint32_t partition)
{
    uint32_t max = p->model.topics[topic].settings.in_flight_max;
    uint32_t out = picture_in_flight(p, group, topic, partition);
    return max == 0 ? UINT32_MAX : out < max ? max - out : 0;
}

/* The first message of the lane that the group can get; false: none. */
static bool first_in_lane(struct picture *p, uint32_t group, struct model_place *at,
                          enum priority lane)
{
    uint64_t next = p->model.topics[at->topic].partitions[at->partition].next;
    for (at->offset = 0; at->offset < next; at->offset++)
        if (picture_is_available(p, group, *at) &&
            model_message_at(&p->model, *at)->priority == lane)
            return true;
    return false;
}

/* Are keys of messages that the member may get still to be read? Only delivery can tell. */
static bool awaits_keys(const struct picture *p, const struct request *request)
{
    const struct group *g = machine_find_group(p->world.machine, request->poll.group);
    const struct member *member = group_find_member(g, request->poll.member_id);
    for (uint32_t i = 0; member != NULL && i < member->assigned_count; i++) {
        const struct readout *r = member->assigned[i]->readout;
        if (r != NULL && key_order_awaits_keys(r->keys))
            return true;
    }
    return false;
}

/* Is there something in a lane above `end` for the member, of topics that read so? */
static bool has_above(struct picture *p, uint32_t group, uint32_t number, enum priority_mode mode,
                      unsigned end)
{
    struct model_place at = {0};
    for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++) {
        const struct model_topic *t = &p->model.topics[at.topic];
        for (at.partition = 0; t->alive && at.partition < t->partition_count; at.partition++) {
            if (t->settings.priority_mode != mode ||
                !picture_owns(p, group, number, at.topic, at.partition) ||
                room_of(p, group, at.topic, at.partition) == 0)
                continue;
            for (unsigned lane = 0; lane < end; lane++)
                if (first_in_lane(p, group, &at, (enum priority)lane))
                    return true;
        }
    }
    return false;
}

static uint32_t member_room(struct picture *p, uint32_t group, uint32_t number)
{
    uint32_t held = picture_held(p, group, number);
    uint32_t max = picture_member(p, group, number)->in_flight_max;
    return held < max ? max - held : 0;
}

bool picture_has_messages(struct picture *p, uint32_t group, uint32_t number)
{
    return member_room(p, group, number) > 0 &&
           (has_above(p, group, number, PRIORITY_STRICT, PRIORITY_COUNT) ||
            has_above(p, group, number, PRIORITY_WEIGHTED, PRIORITY_COUNT));
}

static bool is_parked(const struct request *request)
{
    return request->kind == REQUEST_POLL && request->parked && !request->done;
}

uint32_t picture_parked(const struct picture *p, uint32_t group, uint32_t number)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->request_count; i++)
        count += is_parked(p->requests[i]) && p->requests[i]->group == group &&
                 p->requests[i]->number == number;
    return count;
}

static void check_is_oldest(const struct picture *p, const struct request *request)
{
    for (uint32_t i = 0; i < p->request_count; i++) {
        const struct request *other = p->requests[i];
        if (is_parked(other) && other->group == request->group && other->number == request->number)
            CHECK(other->order > request->order);
    }
}

/* Is it the time to look whether the member lives? */
static bool session_is_due(struct picture *p, const struct request *request)
{
    return picture_session(p, request->group, request->number)->looked_us == p->world.now_us;
}

/* Nobody got anything: why? */
static void check_empty(struct picture *p, const struct request *request)
{
    const struct poll_request *poll = &request->poll;
    if (p->moment == DRAINING)
        return;
    if (!request->parked) {
        CHECK(poll->wait_us <= 0 || poll->messages_max == 0);
        CHECK(poll->messages_max == 0 ||
              (p->moment == SERVING && !p->world.connected) || /* it waited for keys */
              !picture_has_messages(p, request->group, request->number));
    } else if (p->moment != TIMERS || !picture_is_due(p, request->ends_us)) {
        bool crowded = p->moment == POLLING &&
                       picture_parked(p, request->group, request->number) + 1 == PARKED_MAX;
        bool vanished =
            !p->world.connected && (picture_has_messages(p, request->group, request->number) ||
                                    (p->moment == TIMERS && session_is_due(p, request)));
        CHECK(crowded || vanished);
    }
}

static void deliver(struct picture *p, const struct request *request, struct model_place at,
                    const struct delivered_run *run, const struct delivered *message)
{
    struct fact *fact = picture_fact(p, request->group, at);
    int64_t now_us = p->world.now_us;
    CHECK(picture_is_available(p, request->group, at));
    CHECK(picture_is_ours(p, message->lease_id) && message->lease_id > p->last_lease_id);
    CHECK(message->delivery_count == fact->count + 1);
    CHECK(message->first_us == (fact->count == 0 ? now_us : fact->first_us));
    p->last_lease_id = message->lease_id;
    const struct model_member *member = picture_member(p, request->group, request->number);
    *fact = (struct fact){.state = LEASED,
                          .lease_id = message->lease_id,
                          .holder = request->number,
                          .count = message->delivery_count,
                          .deliveries_max = member->deliveries_max,
                          .visibility_us = member->visibility_us,
                          .due_us = run->deadline_us,
                          .first_us = message->first_us,
                          .last_us = now_us};
    CHECK(run->deadline_us == now_us + picture_visibility_us(p, request->group, at));
    p->stats.leases_total++;
    p->stats.retries_total += fact->count > 1;
    p->receipts[p->receipt_count++ % RECEIPTS_MAX] =
        (struct receipt){.group_id = run->group_id,
                         .topic_id = run->topic_id,
                         .partition = run->partition,
                         .delivery_count = message->delivery_count,
                         .offset = message->offset,
                         .lease_id = message->lease_id};
}

/* Strict topics: nothing of a lane while one above has something. In all: the first of its lane. */
static void judge_message(struct picture *p, const struct request *request, struct model_place at)
{
    struct model_place first = at;
    const enum priority lane = model_message_at(&p->model, at)->priority;
    const struct topic_settings *settings = &p->model.topics[at.topic].settings;
    CHECK(first_in_lane(p, request->group, &first, lane) && first.offset == at.offset);
    CHECK(room_of(p, request->group, at.topic, at.partition) > 0);
    if (settings->priority_mode == PRIORITY_STRICT)
        CHECK(awaits_keys(p, request) ||
              !has_above(p, request->group, request->number, PRIORITY_STRICT, lane));
}

/* What a poll took: of each partition, by lane. */
struct taken {
    uint32_t count;
    uint32_t of[MODEL_TOPICS][PICTURE_PARTITIONS][PRIORITY_COUNT];
};

static void judge_run(struct picture *p, const struct request *request,
                      const struct delivered_run *run, struct taken *taken)
{
    int topic = model_topic_by_id(&p->model, run->topic_id);
    CHECK(topic != MODEL_NOBODY);
    struct model_place at = {(uint32_t)topic, run->partition, 0};
    CHECK(run->group_id == p->model.groups[request->group].id);
    CHECK(span_equal(run->topic, span_text(model_topic_name(at.topic))));
    CHECK(picture_owns(p, request->group, request->number, at.topic, at.partition));
    CHECK(run->source->topic->id == run->topic_id && run->source->index == run->partition);
    CHECK(run->count > 0);
    for (uint32_t i = 0; i < run->count; i++) {
        at.offset = run->messages[i].offset;
        CHECK(i == 0 || run->messages[i - 1].offset < at.offset);
        CHECK(at.offset < p->model.topics[topic].partitions[at.partition].next);
        CHECK(model_is_visible(&p->model, at));
        judge_message(p, request, at);
        deliver(p, request, at, run, &run->messages[i]);
        taken->of[at.topic][at.partition][model_message_at(&p->model, at)->priority]++;
    }
    taken->count += run->count;
}

/* Of the member's partitions of topics that read so, how much was taken of the lane. */
static uint32_t sum(struct picture *p, const struct request *request, enum priority_mode mode,
                    unsigned lane, const struct taken *taken)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++)
            if (picture_owns(p, request->group, request->number, t, i) &&
                p->model.topics[t].settings.priority_mode == mode)
                count += taken->of[t][i][lane];
    return count;
}

/* Partitions take turns: nobody is passed over more often than there are others. */
static void judge_turns(struct picture *p, const struct request *request, const struct taken *taken)
{
    struct picture_session *s = picture_session(p, request->group, request->number);
    uint32_t owned = 0;
    CHECK(s != NULL);
    bool same = s->generation == p->model.groups[request->group].generation;
    s->generation = p->model.groups[request->group].generation;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++) {
        for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++) {
            bool owns = picture_owns(p, request->group, request->number, t, i);
            same = same && s->owned[t][i] == owns;
            s->owned[t][i] = owns;
            owned += owns;
        }
    }
    if (!same)
        memset(s->skipped, 0, sizeof s->skipped);
    struct model_place at = {0};
    for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++) {
        for (at.partition = 0; at.partition < PICTURE_PARTITIONS; at.partition++) {
            if (!picture_owns(p, request->group, request->number, at.topic, at.partition))
                continue;
            enum priority_mode mode = p->model.topics[at.topic].settings.priority_mode;
            bool room = room_of(p, request->group, at.topic, at.partition) > 0;
            for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
                uint32_t *skipped = &s->skipped[at.topic][at.partition][lane];
                bool waits = room && taken->of[at.topic][at.partition][lane] == 0 &&
                             first_in_lane(p, request->group, &at, (enum priority)lane);
                if (!waits)
                    *skipped = 0;
                else if (sum(p, request, mode, lane, taken) > 0)
                    ++*skipped;
                CHECK(*skipped < owned);
            }
        }
    }
}

/* Where all that the member reads is weighted and unlimited, no lane starves: one of weight w gets
 * a message in 100 / w, or a little later. */
static void judge_hunger(struct picture *p, const struct request *request,
                         const bool had[PRIORITY_COUNT], uint32_t room, const struct taken *taken)
{
    static const uint32_t patience[PRIORITY_COUNT] = {4, 8, 14, 30, 68};
    struct picture_session *s = picture_session(p, request->group, request->number);
    bool all = true;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++)
            if (picture_owns(p, request->group, request->number, t, i))
                all = all && p->model.topics[t].settings.priority_mode == PRIORITY_WEIGHTED &&
                      p->model.topics[t].settings.in_flight_max == 0;
    for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++) {
        bool waits = all && had[lane] && sum(p, request, PRIORITY_WEIGHTED, lane, taken) == 0;
        s->hunger[lane] = waits ? s->hunger[lane] + room : 0;
        CHECK(s->hunger[lane] < patience[lane]);
    }
}

static void forget_turns(struct picture_session *s)
{
    memset(s->skipped, 0, sizeof s->skipped);
    memset(s->hunger, 0, sizeof s->hunger);
}

static void judge(struct picture *p, const struct request *request)
{
    const struct poll_request *poll = &request->poll;
    uint32_t room = member_room(p, request->group, request->number);
    if (room > poll->messages_max)
        room = poll->messages_max;
    if (room > POLL_MAX)
        room = POLL_MAX;
    bool had[PRIORITY_COUNT] = {false};
    struct model_place at = {0};
    for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++)
        for (at.partition = 0; at.partition < PICTURE_PARTITIONS; at.partition++)
            for (unsigned lane = 0; lane < PRIORITY_COUNT; lane++)
                had[lane] |=
                    picture_owns(p, request->group, request->number, at.topic, at.partition) &&
                    first_in_lane(p, request->group, &at, (enum priority)lane);
    if (request->parked) {
        check_is_oldest(p, request);
        CHECK(p->world.connected && p->moment != CALM && p->moment != DRAINING);
    }
    struct taken taken = {0};
    for (uint32_t i = 0; i < poll->run_count; i++)
        judge_run(p, request, &poll->runs[i], &taken);
    CHECK(taken.count <= room);
    /* Nothing is left behind that there is room for. */
    if (awaits_keys(p, request)) { /* turns are taken among the others: counting starts over */
        forget_turns(picture_session(p, request->group, request->number));
        return;
    }
    CHECK(taken.count == room || !picture_has_messages(p, request->group, request->number));
    judge_turns(p, request, &taken);
    judge_hunger(p, request, had, room, &taken);
}

void picture_on_poll(struct poll_request *poll)
{
    struct request *request = list_entry(poll, struct request, poll);
    struct picture *p = request->picture;
    const struct model_group *g = &p->model.groups[request->group];
    const struct model_member *member = picture_member(p, request->group, request->number);
    CHECK(!request->done);
    request->done = true;
    if (member == NULL) {
        CHECK(poll->status == (g->alive ? ST_MEMBER_NOT_FOUND : ST_GROUP_NOT_FOUND));
        CHECK(poll->run_count == 0);
        return;
    }
    CHECK(poll->current_generation == g->generation);
    if (poll->status == ST_STALE_GENERATION) {
        CHECK(!request->parked && poll->generation >= 0);
        CHECK(poll->generation != (int64_t)g->generation);
        return;
    }
    CHECK(poll->status == ST_OK);
    CHECK(request->parked || poll->generation < 0 || poll->generation == (int64_t)g->generation);
    /* Only who waited may have been overtaken. */
    CHECK(poll->rebalance_required ==
          (poll->generation >= 0 && poll->generation < (int64_t)g->generation &&
           member->changed_generation > (uint64_t)poll->generation));
    if (!request->parked || p->world.connected) /* else it is no sign of life */
        picture_touch(p, request->group, request->number);
    if (poll->run_count == 0)
        check_empty(p, request);
    else
        judge(p, request);
}

/* No poll waits in vain, or for somebody who is not there any more, or too long. */
void picture_check_parked(struct picture *p)
{
    for (uint32_t i = 0; i < p->request_count; i++) {
        const struct request *request = p->requests[i];
        if (!is_parked(request))
            continue;
        CHECK(picture_member(p, request->group, request->number) != NULL);
        CHECK(!picture_has_messages(p, request->group, request->number));
    }
}
