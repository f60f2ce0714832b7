/* Transactions: every connection is a producer of its own, which begins, publishes --batch messages
 * one by one, and commits. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/bench.h"

enum { PATH_SIZE_MAX = 64 };

static struct span post(struct bench *bench, struct client *c, const char *path, const char *json)
{
    buf_clear(&c->scratch);
    request_put(&c->scratch, &bench->target, "POST", path, span_text(json));
    return buf_span(&c->scratch);
}

static struct span begin_or_commit(struct bench *bench, struct client *c, const char *path)
{
    char json[256];
    (void)snprintf(json, sizeof json,
                   "{\"producer_id\":%" PRIu64 ",\"epoch\":%" PRIu64
                   ",\"transactional_id\":\"bench-%u\"}",
                   c->producer_id, c->epoch, c->number);
    return post(bench, c, path, json);
}

static struct span publish(struct bench *bench, struct client *c)
{
    const struct bench_options *o = &bench->options;
    struct buf body;
    buf_init(&body, (size_t)o->size_bytes + HTTP_TEXT_MAX);
    buf_printf(&body,
               "{\"producer_id\":%" PRIu64 ",\"epoch\":%" PRIu64
               ",\"topic\":\"%s\",\"sequence\":%u,\"value\":\"",
               c->producer_id, c->epoch, o->topic, c->transaction_step);
    for (unsigned i = 0; i < o->size_bytes; i++)
        buf_put_byte(&body, (uint8_t)('a' + (c->number + c->transaction_step + i) % 26));
    buf_put_text(&body, "\"}");
    buf_clear(&c->scratch);
    request_put(&c->scratch, &bench->target, "POST", "/transactions/publish", buf_span(&body));
    c->body_size = body.size;
    buf_fini(&body);
    return buf_span(&c->scratch);
}

struct span transaction_next(struct bench *bench, struct client *c)
{
    if (c->producer_id == 0) {
        char json[PATH_SIZE_MAX];
        (void)snprintf(json, sizeof json, "{\"transactional_id\":\"bench-%u\"}", c->number);
        return post(bench, c, "/producers/init", json);
    }
    if (c->transaction_step == 0)
        return begin_or_commit(bench, c, "/transactions/begin");
    if (c->transaction_step > bench->options.batch)
        return begin_or_commit(bench, c, "/transactions/commit");
    return publish(bench, c);
}

bool transaction_reply(struct bench *bench, struct client *c, bool counted, struct bench_result *r)
{
    struct span body = http_body(&c->http);
    if (c->producer_id == 0) {
        if (json_find_u64(body, "producer_id", &c->producer_id) &&
            json_find_u64(body, "epoch", &c->epoch))
            return true;
        result_error(r, 1, "no producer_id");
        return false;
    }
    bool published = c->transaction_step >= 1 && c->transaction_step <= bench->options.batch;
    if (published && counted) {
        r->messages++;
        r->bytes += c->body_size;
    }
    c->transaction_step = c->transaction_step > bench->options.batch ? 0 : c->transaction_step + 1;
    return true;
}
