/* POST /producers/init and /producers/{id}/heartbeat: who publishes. Contract 4.8. */
#include "api/producer_body.h"
#include "api/reply.h"
#include "api/route.h"

#define SECOND_US          1000000LL
#define TIMEOUT_DEFAULT_US (60LL * SECOND_US)
#define TIMEOUT_MAX_US     (15LL * 60 * SECOND_US)

static void then_init(struct request *r)
{
    const struct span *transactional_id = r->state;
    const struct result_producer *producer = &r->op.result.producer;
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_u64(r, "producer_id", producer->id);
    json_member_u64(r, "epoch", producer->epoch);
    if (transactional_id->size > 0)
        json_member_span(r, "transactional_id", *transactional_id);
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

static int64_t read_timeout(struct fields *f)
{
    int64_t timeout_us = TIMEOUT_DEFAULT_US, timeout_ms = 0;
    if (fields_int(f, "transaction_timeout_ms", false, SECOND_US / 1000, TIMEOUT_MAX_US / 1000,
                   &timeout_ms))
        timeout_us = timeout_ms * 1000;
    (void)fields_duration(f, "transaction_timeout", SECOND_US, TIMEOUT_MAX_US, &timeout_us);
    return timeout_us;
}

void on_producer_init(struct request *r)
{
    struct span *transactional_id = arena_new(&r->op.arena, struct span);
    struct fields f;
    fields_init(&f, r, true);
    struct command cmd = {.type = COMMAND_PRODUCER_INIT,
                          .producer_init = {.scope = r->scope, .timeout_us = read_timeout(&f)}};
    producer_body_transactional_id(&f, false, transactional_id);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    r->state = transactional_id;
    cmd.producer_init.transactional_id = *transactional_id;
    request_submit_command(r, &cmd, then_init);
}

static void then_heartbeat(struct request *r)
{
    if (reply_if_failed(r))
        return;
    json_write_object_begin(&r->json);
    json_member_bool(r, "success", true);
    json_member_text(r, "status", "ok");
    json_write_object_end(&r->json);
    reply_send(r, 200);
}

void on_producer_heartbeat(struct request *r)
{
    struct command cmd = {.type = COMMAND_PRODUCER_HEARTBEAT};
    struct producer_ref *producer = &cmd.producer_heartbeat.producer;
    struct fields f;
    int64_t id;
    if (!request_parse_int(r->params[0], &id)) {
        reply_error(r, ST_PRODUCER_NOT_FOUND);
        return;
    }
    fields_init(&f, r, false);
    producer_body_read_epoch(&f, false, producer);
    if (fields_reply(&f))
        return;
    fields_fini(&f);
    producer->id = producer_body_id(id);
    request_submit_command(r, &cmd, then_heartbeat);
}
