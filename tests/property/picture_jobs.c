/* Dead letters: what delivery hands over, what becomes of it, and who is told. */
#include <stdio.h>
#include <stdlib.h>

#include "std/check.h"
#include "tests/property/picture.h"

void picture_expect_job(struct picture *p, uint32_t group, struct model_place at,
                        enum dead_letter_reason reason, struct resolve_request *asked)
{
    struct fact *fact = picture_fact(p, group, at);
    const struct model_retry *retry =
        &p->model.groups[group].progress[at.topic][at.partition].retries[at.offset];
    fact->state = SETTLING;
    fact->by = BY_DEAD_LETTER;
    fact->commands++;
    CHECK(p->expected_job_count < JOBS_MAX);
    struct expected_job *job = &p->expected_jobs[p->expected_job_count++];
    *job = (struct expected_job){
        .place = {p->model.groups[group].id, p->model.topics[at.topic].id, at.partition, at.offset},
        .at = at,
        .group = group,
        .lease_id = asked != NULL ? asked->receipt.lease_id : fact->lease_id,
        .delivery_count = fact->count,
        .reason = reason,
        .asked = asked,
        .holder = fact->holder,
        .first_us = fact->first_us,
        .last_us = fact->last_us,
    };
    if (asked != NULL && asked->reason.size > 0)
        CHECK(snprintf(job->error_text, MODEL_REASON_SIZE, "%.*s", SPAN_ARG(asked->reason)) > 0);
    else if (retry->count > 0)
        memcpy(job->error_text, retry->reason, MODEL_REASON_SIZE);
}

void picture_on_job(void *user, struct dead_letter_job *job)
{
    struct picture *p = user;
    CHECK(p->new_job_count < JOBS_MAX);
    p->new_jobs[p->new_job_count++] = job;
}

static void check_job(const struct dead_letter_job *job, const struct expected_job *expected)
{
    char member[16] = "";
    if (expected->holder != 0)
        CHECK(snprintf(member, sizeof member, "m%u", expected->holder) > 0);
    CHECK(job->lease_id == expected->lease_id);
    CHECK(job->delivery_count == expected->delivery_count);
    CHECK(job->reason == expected->reason);
    CHECK(span_equal(job->topic, span_text(model_topic_name(expected->at.topic))));
    CHECK(span_equal(job->group, span_text(model_group_name(expected->group))));
    CHECK(span_equal(job->member_id, span_text(member)));
    CHECK(span_equal(job->error, span_text(expected->error_text)));
    CHECK(job->first_us == expected->first_us);
    CHECK(job->last_us == expected->last_us);
    CHECK(job->drop == (expected->at.topic >= MODEL_NAMES));
}

static bool is_expected(const struct expected_job *expected, const struct dead_letter_job *job)
{
    const struct delivery_place *a = &expected->place, *b = &job->place;
    return a->group_id == b->group_id && a->topic_id == b->topic_id &&
           a->partition == b->partition && a->offset == b->offset && expected->asked == job->asked;
}

/* Those that were handed over are those that were to be, in any order. */
void picture_match_jobs(struct picture *p)
{
    CHECK(p->new_job_count == p->expected_job_count);
    for (uint32_t i = 0; i < p->new_job_count; i++) {
        struct dead_letter_job *job = p->new_jobs[i];
        uint32_t k = 0;
        while (!is_expected(&p->expected_jobs[k], job))
            CHECK(++k < p->expected_job_count);
        check_job(job, &p->expected_jobs[k]);
        p->expected_jobs[k] = p->expected_jobs[--p->expected_job_count];
        CHECK(p->job_count < JOBS_MAX);
        p->jobs[p->job_count++] = job;
    }
    p->new_job_count = 0;
    CHECK(p->expected_job_count == 0);
}

static struct dead_letter_job *take_job(struct picture *p)
{
    uint32_t i = (uint32_t)roll(p, p->job_count);
    struct dead_letter_job *job = p->jobs[i];
    p->jobs[i] = p->jobs[--p->job_count];
    return job;
}

static enum priority priority_of(const struct picture *p, const struct dead_letter_job *job)
{
    int topic = model_topic_by_id(&p->model, job->place.topic_id);
    struct model_place at = {(uint32_t)topic, job->place.partition, job->place.offset};
    return topic == MODEL_NOBODY ? PRIORITY_NORMAL : model_message_at(&p->model, at)->priority;
}

static void add_job(struct picture *p, struct dead_letter_job *job, struct buf *batches,
                    struct dead_letter_entry *entry, struct under_way *u)
{
    uint32_t i = u->job_count++;
    u->jobs[i] = job;
    *entry = (struct dead_letter_entry){
        .place = job->place,
        .lease_id = job->lease_id,
        .delivery_count = job->delivery_count,
        .reason = job->reason,
        .asked = job->asked != NULL && job->asked->kind == RESOLVE_REJECT,
        .nacked = job->asked != NULL && job->asked->kind == RESOLVE_NACK,
        .hash = (uint32_t)roll(p, UINT32_MAX),
    };
    int topic = model_topic_by_id(&p->model, job->place.topic_id);
    uint32_t target = topic == MODEL_NOBODY ? MODEL_TOPICS : (uint32_t)topic + MODEL_NAMES;
    if (job->drop || target >= MODEL_TOPICS || picture_space(p, target) < 2)
        return; /* nothing is appended, as for a message that its log does not have any more */
    struct batch_builder builder;
    struct record record = {.value = span_text("dead"), .priority = priority_of(p, job)};
    size_t start = batches->size;
    batch_begin(&builder, batches);
    batch_add(&builder, &record);
    batch_end(&builder);
    entry->batch = span_of(batches->data + start, batches->size - start);
    u->topic = MODEL_NAMES; /* one of them, or several */
    u->count++;
    u->sent[i] = (struct model_sent){.size = (uint32_t)entry->batch.size,
                                     .count = 1,
                                     .records = {{.priority = record.priority}}};
}

void picture_make_jobs(struct picture *p, uint32_t count)
{
    struct dead_letter_entry entries[MODEL_ENTRIES];
    struct command cmd = {.type = COMMAND_DEAD_LETTER,
                          .dead_letter = {.settings = WORLD_SETTINGS, .entries = entries}};
    if (count > p->job_count)
        count = p->job_count;
    if (count > MODEL_ENTRIES)
        count = MODEL_ENTRIES;
    if (count == 0 || p->under_way_count == UNDER_WAY_MAX)
        return;
    struct buf batches;
    buf_init(&batches, BATCH_SIZE_MAX);
    CHECK(buf_reserve(&batches, 4096) != NULL); /* so that it does not move */
    struct under_way *u = picture_under_way(p, NULL);
    for (uint32_t i = 0; i < count; i++)
        add_job(p, take_job(p), &batches, &entries[i], u);
    cmd.dead_letter.entry_count = count;
    u->entry = world_submit(&p->world, &cmd);
    buf_fini(&batches);
}

void picture_on_resolved(struct resolve_request *resolve)
{
    struct request *request = list_entry(resolve, struct request, resolve);
    const struct expected *expected = &request->expected;
    CHECK(!request->done);
    request->done = true;
    CHECK(resolve->status == expected->status);
    CHECK(resolve->dead);
    CHECK(resolve->already == expected->already);
    CHECK(!expected->details || resolve->delivery_count == expected->delivery_count);
}

/* The job is over: the message is done, or its delivery goes on for a while. */
static void end_job(struct picture *p, struct dead_letter_job *job,
                    const struct dead_lettered *dead)
{
    const struct receipt receipt = {.group_id = job->place.group_id,
                                    .topic_id = job->place.topic_id,
                                    .partition = job->place.partition,
                                    .offset = job->place.offset};
    uint32_t group;
    struct model_place at;
    if (job->asked != NULL) {
        struct request *request = list_entry(job->asked, struct request, resolve);
        const struct model_resolved *how = model_find_resolved(&p->model, job->lease_id);
        bool reject = job->asked->kind == RESOLVE_REJECT;
        bool same = how != NULL && (how->how == RESOLVED_REJECTED) == reject;
        request->expected.already = dead->already;
        request->expected.status = dead->status;
        if (dead->status == ST_OK && dead->already && !same)
            request->expected.status = ST_MESSAGE_NOT_FOUND; /* somebody else was faster */
    }
    if (picture_find(p, &receipt, &group, &at))
        picture_settled(p, group, at, BY_DEAD_LETTER, 0);
    delivery_dead_letter_end(p->world.delivery, job, dead, p->world.now_us); /* frees it */
}

void picture_dead_letter_applied(struct picture *p, const struct under_way *under_way,
                                 const struct result *result)
{
    for (uint32_t i = 0; i < under_way->job_count; i++)
        end_job(p, under_way->jobs[i], &result->dead_letter.entries[i]);
}

void picture_fail_job(struct picture *p)
{
    const struct dead_lettered failed = {.status = ST_IO};
    if (p->job_count > 0)
        end_job(p, take_job(p), &failed);
}

void picture_drop_jobs(struct picture *p)
{
    for (uint32_t i = 0; i < p->under_way_count; i++)
        for (uint32_t k = 0; k < p->under_way[i].job_count; k++)
            free(p->under_way[i].jobs[k]);
    for (uint32_t i = 0; i < p->job_count; i++)
        free(p->jobs[i]);
    p->job_count = 0;
    p->under_way_count = 0;
}
