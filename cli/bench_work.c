#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "std/alloc.h"
#include "std/check.h"

enum {
    REQUEST_SIZE_MAX = 256 * 1024 * 1024,
    PREBUILT_BYTES = 1024 * 1024, /* a connection sends this much before it repeats itself */
    PREBUILT_MAX = 64,
    POLL_WAIT_MS = 500,
    PATH_SIZE_MAX = 1024,
};

/* --- building requests ---------------------------------------------------------------------- */

static void header_put(struct buf *out, const struct http_target *target, const char *method,
                       const char *path, size_t body_size)
{
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, target->host);
    if (body_size > 0)
        buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body_size);
    buf_put_text(out, "\r\n");
}

void request_put(struct buf *out, const struct http_target *target, const char *method,
                 const char *path, struct span json)
{
    header_put(out, target, method, path, json.size);
    buf_put_span(out, json);
    CHECK(!out->overflowed);
}

static uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* Printable, and nothing that JSON would escape. */
static void put_random_text(struct buf *out, size_t size, uint64_t *seed)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    uint8_t *at = buf_reserve(out, size);
    CHECK(at != NULL);
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)letters[random_next(seed) >> 58];
    buf_commit(out, size);
}

static void put_publish_body(struct buf *out, const struct bench_options *o, uint64_t *seed)
{
    buf_put_text(out, "{\"messages\":[");
    for (unsigned i = 0; i < o->batch; i++) {
        buf_put_text(out, i == 0 ? "{" : ",{");
        if (o->keys > 0) /* fixed width keeps all prebuilt requests equally long */
            buf_printf(out, "\"key\":\"key-%010u\",", (unsigned)(random_next(seed) % o->keys));
        buf_put_text(out, "\"value\":\"");
        put_random_text(out, o->size_bytes, seed);
        buf_put_text(out, "\"");
        if (o->delay_ns > 0)
            buf_printf(out, ",\"delay\":\"%" PRId64 "ms\"", o->delay_ns / 1000000);
        buf_put_text(out, "}");
    }
    buf_put_text(out, "]}");
    CHECK(!out->overflowed);
}

static void prebuild_posts(struct client *c, const struct bench *bench, const char *path)
{
    uint64_t seed = 0x9E3779B97F4A7C15U * (c->number + 1U);
    struct buf body;
    buf_init(&body, REQUEST_SIZE_MAX);
    do {
        buf_clear(&body);
        put_publish_body(&body, &bench->options, &seed);
        request_put(&c->prebuilt, &bench->target, "POST", path, buf_span(&body));
        c->prebuilt_count++;
        c->prebuilt_size = c->prebuilt.size / c->prebuilt_count;
    } while (c->prebuilt_count < PREBUILT_MAX && c->prebuilt.size < PREBUILT_BYTES);
    CHECK(c->prebuilt_count * c->prebuilt_size == c->prebuilt.size);
    c->body_size = body.size;
    buf_fini(&body);
}

static void prebuild_get(struct client *c, const struct bench *bench, const char *path)
{
    c->prebuilt.size = 0;
    request_put(&c->prebuilt, &bench->target, "GET", path, span_of(NULL, 0));
    c->prebuilt_count = 1;
    c->prebuilt_size = c->prebuilt.size;
}

void client_init(struct client *c, const struct bench *bench, unsigned number)
{
    const struct bench_options *o = &bench->options;
    *c = (struct client){.number = number, .phase = PHASE_REQUEST};
    http_init(&c->http);
    buf_init(&c->prebuilt, REQUEST_SIZE_MAX);
    buf_init(&c->acks, REQUEST_SIZE_MAX);
    buf_init(&c->scratch, REQUEST_SIZE_MAX);
    c->acks_per_request = o->single_ack ? 1 : o->batch;

    char path[PATH_SIZE_MAX];
    switch (o->verb) {
    case BENCH_PUBLISH:
        snprintf(path, sizeof path, "/topics/%s/messages", o->topic);
        prebuild_posts(c, bench, path);
        break;
    case BENCH_ECHO:
        prebuild_posts(c, bench, o->path);
        break;
    case BENCH_GET:
        prebuild_get(c, bench, o->path);
        break;
    case BENCH_CONSUME:
        c->partition = number % bench->partitions;
        break;
    case BENCH_POLL:
    case BENCH_LATENCY:
        c->phase = PHASE_JOIN;
        c->ack_end = alloc_array(o->batch, sizeof *c->ack_end);
        break;
    case BENCH_PARKED:
    case BENCH_TRANSACTION:
        break; /* have their own */
    }
}

void client_fini(struct client *c)
{
    http_fini(&c->http);
    buf_fini(&c->prebuilt);
    buf_fini(&c->acks);
    buf_fini(&c->scratch);
    free(c->ack_end);
}

/* --- what to send --------------------------------------------------------------------------- */

static struct span next_consume(struct bench *bench, struct client *c)
{
    const struct bench_options *o = &bench->options;
    buf_clear(&c->scratch);
    if (c->prebuilt.size == 0) {
        /* The line's end and the headers never change; only what is before them does. */
        buf_printf(&c->prebuilt, " HTTP/1.1\r\nHost: %s\r\n\r\n", bench->target.host);
    }
    buf_put_text(&c->scratch, "GET /topics/");
    buf_put_text(&c->scratch, o->topic);
    buf_put_text(&c->scratch, "/partitions/");
    buf_put_u64(&c->scratch, c->partition);
    buf_put_text(&c->scratch, "/messages?limit=");
    buf_put_u64(&c->scratch, o->batch);
    buf_put_text(&c->scratch, "&offset=");
    buf_put_u64(&c->scratch, c->offset);
    buf_put_span(&c->scratch, buf_span(&c->prebuilt));
    return buf_span(&c->scratch);
}

static struct span next_group_post(struct bench *bench, struct client *c, const char *verb,
                                   const char *json)
{
    char path[PATH_SIZE_MAX];
    snprintf(path, sizeof path, "/groups/%s/%s", bench->options.group, verb);
    buf_clear(&c->scratch);
    request_put(&c->scratch, &bench->target, "POST", path, span_text(json));
    return buf_span(&c->scratch);
}

static struct span next_join(struct bench *bench, struct client *c)
{
    char json[PATH_SIZE_MAX];
    snprintf(json, sizeof json, "{\"client_id\":\"bench-%u\",\"topics\":[\"%s\"]%s}", c->number,
             bench->options.topic, bench->options.hold ? ",\"max_in_flight\":100000" : "");
    return next_group_post(bench, c, "join", json);
}

static struct span next_leave(struct bench *bench, struct client *c)
{
    char json[PATH_SIZE_MAX];
    snprintf(json, sizeof json, "{\"member_id\":\"%s\"}", c->member_id);
    return next_group_post(bench, c, "leave", json);
}

static struct span next_ack(struct client *c)
{
    CHECK(c->ack_next < c->ack_count);
    size_t from = c->ack_next == 0 ? 0 : c->ack_end[c->ack_next - 1];
    size_t end = c->ack_end[c->ack_next++];
    return span_of(c->acks.data + from, end - from);
}

static bool no_more_messages(struct bench *bench)
{
    uint64_t max = bench->options.messages_max;
    if (max == UINT64_MAX)
        return false;
    if (bench->options.verb != BENCH_PUBLISH && bench->options.verb != BENCH_ECHO)
        return atomic_load_explicit(&bench->issued, memory_order_relaxed) >= max;
    return atomic_fetch_add_explicit(&bench->issued, bench->options.batch, memory_order_relaxed) >=
           max;
}

struct span work_next(struct bench *bench, struct client *c, bool stopping)
{
    const struct span nothing = span_of(NULL, 0);
    if (c->phase == PHASE_ACK && c->ack_next < c->ack_count)
        return next_ack(c); /* also when stopping: polled messages are not left behind */
    if (c->phase == PHASE_ACK)
        c->phase = PHASE_REQUEST;
    if (stopping || (c->phase == PHASE_REQUEST && no_more_messages(bench)))
        c->phase = c->member_id[0] != '\0' && c->phase != PHASE_LEAVE && !bench->options.hold
                       ? PHASE_LEAVE
                       : PHASE_OVER;

    switch (c->phase) {
    case PHASE_JOIN:
        return next_join(bench, c);
    case PHASE_LEAVE: {
        struct span request = next_leave(bench, c);
        c->member_id[0] = '\0';
        return request;
    }
    case PHASE_REQUEST:
        if (bench->options.verb == BENCH_CONSUME)
            return next_consume(bench, c);
        if (bench->options.verb == BENCH_TRANSACTION)
            return transaction_next(bench, c);
        c->prebuilt_next = (c->prebuilt_next + 1) % c->prebuilt_count;
        return span_of(c->prebuilt.data + c->prebuilt_next * c->prebuilt_size, c->prebuilt_size);
    case PHASE_ACK:
    case PHASE_OVER:
        break;
    }
    return nothing;
}

/* --- what came back ------------------------------------------------------------------------- */

static bool unexpected(struct bench_result *r, uint64_t count, const char *what, struct span body)
{
    result_error(r, count, "%s: %.*s", what, (int)(body.size > 200 ? 200 : body.size),
                 (const char *)body.data);
    return false;
}

static bool reply_publish(struct bench *bench, struct client *c, bool counted,
                          struct bench_result *r)
{
    struct span body = http_body(&c->http);
    uint64_t results = json_count_key(body, "offset");
    uint64_t refused = json_count_key(body, "error");
    if (results != bench->options.batch)
        return unexpected(r, bench->options.batch, "not one result per message", body);
    if (counted) {
        r->messages += results - refused;
        r->bytes += c->body_size;
    }
    if (refused > 0)
        return unexpected(r, refused, "messages refused", body);
    return true;
}

static bool reply_consume(struct bench *bench, struct client *c, bool counted,
                          struct bench_result *r)
{
    struct span body = http_body(&c->http);
    uint64_t next;
    if (!json_find_u64(body, "next_offset", &next))
        return unexpected(r, 1, "no next_offset", body);
    uint64_t messages = json_count_key(body, "offset");
    if (messages == 0) { /* the end, or nothing there at all */
        if (c->offset == 0 && ++c->empty_partitions >= bench->partitions) {
            atomic_store(&bench->stop, true);
            return unexpected(r, 1, "the topic is empty: publish to it first", body);
        }
        c->partition = (c->partition + 1) % bench->partitions;
        c->offset = 0;
        r->empty++;
        return true;
    }
    c->empty_partitions = 0;
    c->offset = next;
    atomic_fetch_add_explicit(&bench->issued, messages, memory_order_relaxed);
    if (counted) {
        r->messages += messages;
        r->bytes += body.size;
    }
    return true;
}

static bool reply_join(struct bench *bench, struct client *c, struct bench_result *r)
{
    struct span body = http_body(&c->http);
    struct span id;
    size_t from = 0;
    if (!json_next_string(body, "member_id", &from, &id) || id.size == 0 ||
        id.size >= sizeof c->member_id || memchr(id.data, '\\', id.size) != NULL)
        return unexpected(r, 1, "no member_id", body);
    memcpy(c->member_id, id.data, id.size);
    c->member_id[id.size] = '\0';

    char path[PATH_SIZE_MAX];
    snprintf(path, sizeof path, "/groups/%s/poll?member_id=%s&max_messages=%u&timeout=%dms",
             bench->options.group, c->member_id, bench->options.batch, POLL_WAIT_MS);
    prebuild_get(c, bench, path);
    c->phase = PHASE_REQUEST;
    return true;
}

/* Turns the receipts of a poll into ack requests, built whole before the first is sent. */
static bool build_acks(struct bench *bench, struct client *c, uint64_t messages,
                       struct bench_result *r)
{
    struct span body = http_body(&c->http);
    size_t from = 0;
    uint64_t left = messages;
    buf_clear(&c->acks);
    c->ack_count = 0;
    c->ack_next = 0;
    bool single = bench->options.single_ack;
    while (left > 0) {
        buf_clear(&c->scratch);
        buf_put_text(&c->scratch, single ? "{\"receipt_handle\":" : "{\"receipt_handles\":[");
        for (unsigned i = 0; left > 0 && i < c->acks_per_request; i++, left--) {
            struct span handle;
            if (!json_next_string(body, "receipt_handle", &from, &handle))
                return unexpected(r, left, "message without a receipt_handle", body);
            buf_put_text(&c->scratch, i == 0 ? "\"" : ",\"");
            buf_put_span(&c->scratch, handle);
            buf_put_byte(&c->scratch, '"');
        }
        buf_put_text(&c->scratch, single ? "}" : "]}");
        request_put(&c->acks, &bench->target, "POST",
                    single ? "/messages/ack" : "/messages/ack/batch", buf_span(&c->scratch));
        CHECK(c->ack_count < bench->options.batch);
        c->ack_end[c->ack_count++] = c->acks.size;
    }
    return true;
}

static void client_set_dry(struct bench *bench, struct client *c, bool dry)
{
    if (dry == c->dry)
        return;
    c->dry = dry;
    if (!dry) {
        atomic_fetch_sub(&bench->dry, 1);
    } else if (atomic_fetch_add(&bench->dry, 1) + 1 == bench->options.connections &&
               !bench->options.follow) {
        atomic_store(&bench->stop, true);
    }
}

static bool reply_poll(struct bench *bench, struct client *c, bool counted, struct bench_result *r)
{
    struct span body = http_body(&c->http);
    uint64_t messages = json_count_key(body, "receipt_handle");
    client_set_dry(bench, c, messages == 0);
    if (messages == 0) {
        r->empty++;
        return true;
    }
    if (messages > bench->options.batch)
        return unexpected(r, messages, "more messages than asked for", body);
    atomic_fetch_add_explicit(&bench->issued, messages, memory_order_relaxed);
    if (counted) {
        r->messages += messages;
        r->bytes += body.size;
    }
    if (bench->options.hold)
        return true;
    c->phase = PHASE_ACK;
    return build_acks(bench, c, messages, r);
}

static bool reply_ack(struct bench *bench, struct client *c, bool counted, struct bench_result *r)
{
    struct span body = http_body(&c->http);
    uint64_t acknowledged = 0;
    if (bench->options.single_ack)
        acknowledged = json_count_key(body, "acknowledged");
    else if (!json_find_u64(body, "success_count", &acknowledged))
        return unexpected(r, 1, "no success_count", body);
    if (counted) {
        r->acks += acknowledged;
        r->ack_requests++;
    }
    uint64_t refused = json_count_key(body, "error");
    if (refused > 0 || acknowledged == 0)
        return unexpected(r, refused > 0 ? refused : 1, "acks refused", body);
    return true;
}

bool work_reply(struct bench *bench, struct client *c, bool counted, struct bench_result *r)
{
    switch (c->phase) {
    case PHASE_JOIN:
        return reply_join(bench, c, r);
    case PHASE_ACK:
        return reply_ack(bench, c, counted, r);
    case PHASE_LEAVE:
    case PHASE_OVER:
        return true;
    case PHASE_REQUEST:
        break;
    }
    switch (bench->options.verb) {
    case BENCH_PUBLISH:
        return reply_publish(bench, c, counted, r);
    case BENCH_CONSUME:
        return reply_consume(bench, c, counted, r);
    case BENCH_POLL:
    case BENCH_LATENCY:
        return reply_poll(bench, c, counted, r);
    case BENCH_GET:
        r->bytes += counted ? c->http.body_size : 0;
        return true;
    case BENCH_ECHO:
        r->messages += counted ? bench->options.batch : 0;
        r->bytes += counted ? c->body_size : 0;
        return true;
    case BENCH_TRANSACTION:
        return transaction_reply(bench, c, counted, r);
    case BENCH_PARKED:
        break;
    }
    return true;
}
