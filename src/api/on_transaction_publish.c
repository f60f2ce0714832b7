/* POST /transactions/publish: one message, of the producer's open transaction, or visible at once
 * if the producer has no transactional id. Contract 4.8. */
#include "api/digest.h"
#include "api/producer_body.h"
#include "api/publish_topic.h"
#include "api/reply.h"
#include "api/route.h"
#include "api/scratch.h"
#include "node/metrics.h"
#include "std/clock.h"

enum other_member {
    MEMBER_PRODUCER_ID,
    MEMBER_EPOCH,
    MEMBER_SEQUENCE,
    MEMBER_TOPIC,
    MEMBER_TRANSACTIONAL_ID,
    MEMBER_COUNT
};

static const struct {
    const char *name;
    bool is_text;
} members[MEMBER_COUNT] = {
    [MEMBER_PRODUCER_ID] = {"producer_id", false},
    [MEMBER_EPOCH] = {"epoch", false},
    [MEMBER_SEQUENCE] = {"sequence", false},
    [MEMBER_TOPIC] = {"topic", true},
    [MEMBER_TRANSACTIONAL_ID] = {"transactional_id", true},
};

/* The members of the body that are not the message's. */
struct body {
    enum json_kind kinds[MEMBER_COUNT]; /* JSON_KIND_NONE: absent */
    bool read[MEMBER_COUNT];            /* with the right type */
    int64_t numbers[MEMBER_COUNT];
    struct json_string texts[MEMBER_COUNT]; /* borrowed from the request's body */
};

struct publishing {
    struct publish_topic topic; /* first */
    struct producer_ref producer;
    int64_t sequence; /* -1: none */
    struct publish_plan plan;
    uint64_t stored_bytes;
};

static void read_member(void *user, struct json_string name, struct json_scan *scan)
{
    struct body *body = user;
    for (enum other_member m = 0; m < MEMBER_COUNT; m++) {
        if (!json_string_equals(name, members[m].name))
            continue;
        body->kinds[m] = json_scan_null(scan) ? JSON_KIND_NONE : json_scan_peek(scan);
        if (body->kinds[m] == JSON_KIND_NONE)
            body->read[m] = false;
        else if (members[m].is_text)
            body->read[m] = json_scan_string(scan, &body->texts[m]);
        else
            body->read[m] = json_scan_int64(scan, &body->numbers[m]);
        return;
    }
}

/* Wrong types, and what is missing. True: answered. */
static bool reply_if_ill_typed(struct request *r, const struct body *body)
{
    for (enum other_member m = 0; m < MEMBER_COUNT; m++) {
        if (body->kinds[m] == JSON_KIND_NONE || body->read[m])
            continue;
        reply_error_text(r, ST_INVALID_JSON, "invalid JSON: %s must be %s, not %s", members[m].name,
                         members[m].is_text ? "a string" : "an integer of 64 bits",
                         json_kind_text(body->kinds[m]));
        return true;
    }
    static const enum other_member required[] = {MEMBER_PRODUCER_ID, MEMBER_EPOCH, MEMBER_TOPIC};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (body->read[required[i]])
            continue;
        reply_error_text(r, ST_INVALID_ARGUMENT, "%s is required", members[required[i]].name);
        return true;
    }
    return false;
}

static struct span plain_text(struct request *r, struct json_string text)
{
    uint8_t *out = arena_alloc(&r->op.arena, text.unescaped_size);
    return span_of(out, json_unescape(text, out));
}

/* False: answered. */
static bool take_members(struct request *r, const struct body *body, struct publishing *p)
{
    if (reply_if_ill_typed(r, body))
        return false;
    const size_t id_size = body->texts[MEMBER_TRANSACTIONAL_ID].unescaped_size;
    const bool has_id = body->read[MEMBER_TRANSACTIONAL_ID];
    p->sequence = body->read[MEMBER_SEQUENCE] ? body->numbers[MEMBER_SEQUENCE] : -1;
    if (body->read[MEMBER_SEQUENCE] && (p->sequence < 0 || p->sequence > SEQUENCE_MAX)) {
        reply_error_text(r, ST_INVALID_ARGUMENT, "sequence must be 0 to %d", SEQUENCE_MAX);
        return false;
    }
    if (has_id && (id_size == 0 || id_size > TRANSACTIONAL_ID_SIZE_MAX)) {
        reply_error_text(r, ST_INVALID_ARGUMENT, "transactional_id must be 1 to %d bytes",
                         TRANSACTIONAL_ID_SIZE_MAX);
        return false;
    }
    p->producer = (struct producer_ref){.scope = r->scope,
                                        .id = producer_body_id(body->numbers[MEMBER_PRODUCER_ID]),
                                        .epoch = producer_body_epoch(body->numbers[MEMBER_EPOCH])};
    if (has_id)
        p->producer.transactional_id = plain_text(r, body->texts[MEMBER_TRANSACTIONAL_ID]);
    return true;
}

/* True: the message has a fault; it is answered. */
static bool reply_if_faulty(struct request *r, const struct publish_message *m)
{
    if (m->error == NULL)
        return false;
    reply_error_text(r, m->too_large ? ST_PAYLOAD_TOO_LARGE : ST_INVALID_ARGUMENT, "%s", m->error);
    return true;
}

/* False: answered. */
static bool read_all(struct request *r, struct body *body)
{
    const struct publish_members others = {read_member, body};
    struct publish_reader *reader = &scratch_get()->publish.reader;
    const char *detail = NULL;
    enum status st = publish_reader_read_one(reader, buf_span(&r->body), clock_wall_us(), &others,
                                             &r->op.arena, &detail);
    if (st != ST_OK) {
        reply_error_text(r, st, "%s", detail);
        return false;
    }
    struct publish_message *m = &reader->messages[0];
    if (m->has_partition && m->partition == -1)
        m->has_partition = false; /* upstream's way to say so */
    return true;
}

static bool read_again(struct request *r)
{
    struct body body = {0};
    return read_all(r, &body);
}

static void then_published(struct request *r)
{
    struct publishing *p = r->state;
    const struct result_transaction_publish *result = &r->op.result.transaction_publish;
    if (publish_topic_retry(r, 0))
        return;
    if (reply_if_failed(r)) {
        metrics_failed(r->metrics, p->topic.name,
                       r->op.failed != ST_OK ? r->op.failed : r->op.result.status, 1);
        return;
    }
    if (!result->duplicate)
        metrics_published(r->metrics, p->topic.name, 1, p->stored_bytes,
                          clock_mono_us() - r->start_us);
    json_write_object_begin(&r->json);
    json_member_u64(r, "partition", result->partition);
    json_member_u64(r, "offset", result->offset);
    json_member_bool(r, "duplicate", result->duplicate);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

/* What a repetition has to have in common with the first: key and value, however they are escaped.
 */
static void digest_content(struct request *r, const struct publish_message *m,
                           uint8_t out[CONTENT_SIZE])
{
    struct span value = m->value;
    if (m->value_escaped) {
        const struct json_string text = {
            .raw = m->value, .unescaped_size = m->value_size, .has_escapes = true};
        value = plain_text(r, text);
    }
    const struct span parts[] = {m->key, value};
    digest_parts(parts, sizeof parts / sizeof parts[0], out);
}

static void build(struct request *r, const struct publish_target *target)
{
    struct publishing *p = r->state;
    struct publish_builder *builder = &scratch_get()->publish;
    const struct publish_message *m = &builder->reader.messages[0];
    struct command cmd = {.type = COMMAND_TRANSACTION_PUBLISH};
    struct command_transaction_publish *publish = &cmd.transaction_publish;
    uint8_t content[CONTENT_SIZE];
    struct buf batch;
    buf_init(&batch, BATCH_SIZE_MAX);
    publish_builder_build_one(builder, target, &r->op.arena, &batch, &publish->target, &p->plan);
    if (p->topic.guessed && p->plan.misplaced_count > 0) {
        publish_topic_resolve(r); /* it may have more partitions by now */
    } else if (reply_if_faulty(r, m)) {
        metrics_failed(r->metrics, p->topic.name, ST_INVALID_ARGUMENT, 1);
    } else {
        digest_content(r, m, content);
        publish->producer = p->producer;
        publish->topic_id = target->topic_id;
        publish->partition_count = target->partition_count;
        publish->sequence = p->sequence;
        publish->content = span_of(content, sizeof content);
        publish->batch = buf_span(&batch);
        p->stored_bytes = p->plan.stored_bytes;
        request_submit_command(r, &cmd, then_published);
    }
    buf_fini(&batch);
}

void on_transaction_publish(struct request *r)
{
    struct publishing *p = arena_new(&r->op.arena, struct publishing);
    struct body body = {0};
    struct span name;
    r->state = p;
    p->topic.read = read_again;
    p->topic.build = build;
    if (!read_all(r, &body) || !take_members(r, &body, p) ||
        reply_if_faulty(r, &scratch_get()->publish.reader.messages[0]) ||
        !request_topic_create_name(r, plain_text(r, body.texts[MEMBER_TOPIC]), &name))
        return;
    publish_topic_find(r, name); /* which makes it: all else is judged before */
}
