#include "tests/property/picture.h"

#include <stdlib.h>

#include "std/check.h"

void picture_init(struct picture *p, uint64_t seed)
{
    memset(p, 0, sizeof *p);
    p->dice = dice_of(seed);
    p->all_weighted = roll(p, 4) == 0;
    p->hoarding = roll(p, 4) == 0;
    p->cooperative = roll(p, 2) == 0;
    arena_init(&p->arena);
    world_init(&p->world);
    p->boot_id = 0xFEDCBA9876543210ULL;
    p->world.user = p;
    p->world.applied = picture_on_applied;
    p->world.dead_letter = picture_on_job;
    model_init(&p->model, p->world.now_us);
}

void picture_fini(struct picture *p)
{
    p->moment = DRAINING;
    world_fini(&p->world);
    picture_drop_jobs(p);
    for (uint32_t i = 0; i < p->request_count; i++)
        p->requests[i]->done = true;
    picture_end_requests(p);
    arena_fini(&p->arena);
}

struct fact *picture_fact(struct picture *p, uint32_t group, struct model_place at)
{
    return &p->facts[group][at.topic][at.partition][at.offset];
}

bool picture_find(struct picture *p, const struct receipt *receipt, uint32_t *out_group,
                  struct model_place *out_at)
{
    const struct delivery_place place = {receipt->group_id, receipt->topic_id, receipt->partition,
                                         receipt->offset};
    if (model_find_place(&p->model, &place) == NULL)
        return false;
    *out_group = (uint32_t)model_group_by_id(&p->model, receipt->group_id);
    *out_at = (struct model_place){(uint32_t)model_topic_by_id(&p->model, receipt->topic_id),
                                   receipt->partition, receipt->offset};
    return true;
}

bool picture_is_available(struct picture *p, uint32_t group, struct model_place at)
{
    const struct fact *fact = picture_fact(p, group, at);
    return model_is_visible(&p->model, at) && !model_is_done(&p->model, group, at) &&
           (fact->state == FREE || fact->state == EXPIRED || fact->state == RELEASED);
}

static bool is_out(const struct fact *fact)
{
    return fact->state == LEASED || fact->state == SETTLING;
}

uint32_t picture_in_flight(struct picture *p, uint32_t group, uint32_t topic, uint32_t partition)
{
    uint32_t count = 0;
    struct model_place at = {topic, partition, 0};
    for (; at.offset < p->model.topics[topic].partitions[partition].next; at.offset++)
        count += is_out(picture_fact(p, group, at));
    return count;
}

uint32_t picture_held(struct picture *p, uint32_t group, uint32_t number)
{
    uint32_t count = 0;
    struct model_place at = {0};
    for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++) {
        const struct model_topic *t = &p->model.topics[at.topic];
        for (at.partition = 0; t->alive && at.partition < t->partition_count; at.partition++)
            for (at.offset = 0; at.offset < t->partitions[at.partition].next; at.offset++) {
                const struct fact *fact = picture_fact(p, group, at);
                count += is_out(fact) && fact->holder == number;
            }
    }
    return count;
}

const struct model_member *picture_member(const struct picture *p, uint32_t group, uint32_t number)
{
    const struct model_group *g = &p->model.groups[group];
    int at = number == 0 ? MODEL_NOBODY : model_member_by_number(g, number);
    return at == MODEL_NOBODY ? NULL : &g->members[at];
}

void picture_inherit(struct picture *p, uint32_t group, struct model_place at)
{
    const struct model_group *g = &p->model.groups[group];
    int owner = g->progress[at.topic][at.partition].owner;
    struct fact *fact = picture_fact(p, group, at);
    fact->deliveries_max = owner == MODEL_NOBODY ? 0 : g->members[owner].deliveries_max;
    fact->visibility_us = owner == MODEL_NOBODY ? 0 : g->members[owner].visibility_us;
}

uint32_t picture_deliveries_max(struct picture *p, uint32_t group, struct model_place at)
{
    const struct fact *fact = picture_fact(p, group, at);
    return fact->deliveries_max > 0 ? fact->deliveries_max
                                    : p->model.topics[at.topic].settings.deliveries_max;
}

int64_t picture_visibility_us(struct picture *p, uint32_t group, struct model_place at)
{
    const struct fact *fact = picture_fact(p, group, at);
    return fact->visibility_us > 0 ? fact->visibility_us
                                   : p->model.topics[at.topic].settings.visibility_us;
}

struct picture_session *picture_session(struct picture *p, uint32_t group, uint32_t number)
{
    for (uint32_t i = 0; i < p->session_count; i++)
        if (p->sessions[i].group == group && p->sessions[i].number == number)
            return &p->sessions[i];
    return NULL;
}

void picture_touch(struct picture *p, uint32_t group, uint32_t number)
{
    struct picture_session *s = picture_session(p, group, number);
    if (s != NULL)
        s->last_seen_us = p->world.now_us;
}

bool picture_owns(const struct picture *p, uint32_t group, uint32_t number, uint32_t topic,
                  uint32_t partition)
{
    const struct model_group *g = &p->model.groups[group];
    const struct model_progress *progress = &g->progress[topic][partition];
    return progress->known && progress->owner != MODEL_NOBODY &&
           g->members[progress->owner].number == number;
}

void picture_tell(struct picture *p, uint32_t group, uint32_t number)
{
    struct picture_session *s = picture_session(p, group, number);
    CHECK(s != NULL);
    s->was_told = true;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++)
            s->told[t][i] = picture_owns(p, group, number, t, i)
                                ? p->model.groups[group].progress[t][i].owner_index
                                : 0;
}

bool picture_is_ours(const struct picture *p, uint64_t lease_id)
{
    return lease_id - p->boot_id < 1ULL << 32;
}

void picture_forget(struct picture *p, uint32_t group, uint32_t topic, uint32_t partition)
{
    memset(p->facts[group][topic][partition], 0, sizeof p->facts[group][topic][partition]);
}

struct request *picture_request(struct picture *p, enum request_kind kind, uint32_t group,
                                uint32_t number)
{
    CHECK(p->request_count < REQUESTS_MAX);
    struct request *request = new_zero(struct request);
    p->requests[p->request_count++] = request;
    request->picture = p;
    request->kind = kind;
    request->group = group;
    request->number = number;
    arena_init(&request->arena);
    return request;
}

void picture_end_requests(struct picture *p)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->request_count; i++) {
        struct request *request = p->requests[i];
        if (!request->done) {
            p->requests[kept++] = request;
            continue;
        }
        arena_fini(&request->arena);
        free(request);
    }
    p->request_count = kept;
}

/* What a restart would begin with, if nothing is under way, is what we believe. */
static void compare_with_durable(const struct picture *p, uint32_t group, struct model_place at,
                                 const struct fact *fact)
{
    const struct model_progress *progress =
        &p->model.groups[group].progress[at.topic][at.partition];
    const struct model_retry *retry = &progress->retries[at.offset];
    bool out = progress->out[at.offset], timed = !fact->resumed;
    if (fact->doubtful || fact->state == SETTLING)
        return;
    switch (fact->state) {
    case LEASED:
    case EXPIRED:
        timed = timed && fact->state == LEASED;
        if (retry->count > 0) {
            CHECK(retry->count == fact->count && !retry->returned);
            CHECK(!timed || retry->not_before_us == fact->due_us);
            CHECK(retry->first_us == fact->first_us);
        } else {
            CHECK(fact->count == 1 && out);
            CHECK(!timed || progress->out_until_us >= fact->due_us);
        }
        break;
    case DELAYED:
    case RELEASED:
        CHECK(retry->count == fact->count);
        CHECK(!out);
        CHECK(retry->count == 0 || retry->returned);
        CHECK(retry->count == 0 || retry->first_us == fact->first_us);
        CHECK(fact->state == RELEASED || retry->not_before_us == fact->due_us);
        break;
    case FREE:
        CHECK(retry->count == 0 && !out);
        break;
    case SETTLING:
        break;
    }
}

struct tally {
    uint64_t out, waiting;
};

static void compare_partition(struct picture *p, uint32_t group, struct model_place at, bool calm,
                              struct tally *tally)
{
    const uint64_t next = p->model.topics[at.topic].partitions[at.partition].next;
    uint32_t out = 0;
    for (at.offset = 0; at.offset < next; at.offset++) {
        const struct fact *fact = picture_fact(p, group, at);
        bool done = model_is_done(&p->model, group, at);
        CHECK(!done || fact->state == FREE || fact->state == SETTLING);
        CHECK((fact->commands > 0) == (fact->state == SETTLING));
        CHECK(model_is_visible(&p->model, at) || fact->state == FREE || fact->state == SETTLING);
        out += is_out(fact);
        tally->waiting += fact->state != FREE && !is_out(fact);
        if (calm && !done)
            compare_with_durable(p, group, at, fact);
    }
    tally->out += out;
    const struct group *real = machine_group_by_id(p->world.machine, p->model.groups[group].id);
    const struct group_partition *gp =
        group_find_partition(real, p->model.topics[at.topic].id, at.partition);
    CHECK(delivery_in_flight(p->world.delivery, gp) == out);
}

static void compare_in_flight(struct picture *p, uint32_t topic)
{
    struct in_flight_info info;
    const struct model_topic *t = &p->model.topics[topic];
    delivery_fill_in_flight(p->world.delivery, machine_topic_by_id(p->world.machine, t->id),
                            &p->arena, &info);
    for (uint32_t i = 0; i < t->partition_count; i++) {
        uint64_t out = 0;
        int64_t oldest_us = 0;
        struct model_place at = {topic, i, 0};
        for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
            for (at.offset = 0; at.offset < t->partitions[i].next; at.offset++) {
                const struct fact *fact = picture_fact(p, g, at);
                out += is_out(fact);
                if (is_out(fact) && fact->last_us > 0 &&
                    (oldest_us == 0 || fact->last_us < oldest_us))
                    oldest_us = fact->last_us;
            }
        }
        CHECK(info.partitions[i].count == out);
        CHECK(info.partitions[i].oldest_us == oldest_us);
    }
    uint32_t readers = 0;
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
        uint64_t out = 0;
        bool reads = false;
        for (uint32_t i = 0; i < t->partition_count; i++) {
            reads |= p->model.groups[g].progress[topic][i].known;
            out += picture_in_flight(p, g, topic, i);
        }
        readers += reads;
        for (uint32_t i = 0; i < info.group_count && reads; i++)
            if (span_equal(info.groups[i].name, span_text(model_group_name(g))))
                CHECK(info.groups[i].count == out);
    }
    CHECK(info.group_count == readers);
}

/* When the members were seen last. */
static void compare_sessions(struct picture *p, uint32_t group)
{
    struct query q = {.type = QUERY_GROUP, .name = span_text(model_group_name(group))};
    struct query_result got;
    machine_query(p->world.machine, &q, &p->arena, &got);
    if (got.status != ST_OK)
        return;
    delivery_fill_group_info(p->world.delivery, got.groups);
    for (uint32_t i = 0; i < got.groups->member_count; i++) {
        uint32_t number = p->model.groups[group].members[i].number;
        const struct picture_session *s = picture_session(p, group, number);
        int64_t seen_us = picture_parked(p, group, number) > 0 ? p->world.now_us : s->last_seen_us;
        CHECK(got.groups->members[i].last_seen_us == seen_us);
    }
}

static void compare_stats(const struct picture *p, const struct tally *tally)
{
    struct delivery_stats stats;
    delivery_stats_get(p->world.delivery, &stats);
    uint64_t parked = 0;
    for (uint32_t i = 0; i < p->request_count; i++)
        parked += p->requests[i]->parked && !p->requests[i]->done;
    CHECK(stats.parked_polls == parked);
    CHECK(stats.in_flight == tally->out);
    CHECK(stats.waiting == tally->waiting);
    CHECK(stats.leases_total == p->stats.leases_total);
    CHECK(stats.expired_total == p->stats.expired_total);
    CHECK(stats.extended_total == p->stats.extended_total);
    CHECK(stats.retries_total == p->stats.retries_total);
    CHECK(stats.sessions_expired_total == p->stats.sessions_expired_total);
}

void picture_compare(struct picture *p)
{
    struct tally tally = {0};
    bool calm = p->world.journal_count == 0;
    for (uint32_t topic = 0; topic < MODEL_TOPICS; topic++) {
        const struct model_topic *t = &p->model.topics[topic];
        if (!t->alive)
            continue;
        for (uint32_t i = 0; i < t->partition_count; i++)
            for (uint32_t g = 0; g < PICTURE_GROUPS; g++)
                if (p->model.groups[g].alive && p->model.groups[g].progress[topic][i].known)
                    compare_partition(p, g, (struct model_place){topic, i, 0}, calm, &tally);
        compare_in_flight(p, topic);
    }
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++)
        compare_sessions(p, g);
    compare_stats(p, &tally);
}
