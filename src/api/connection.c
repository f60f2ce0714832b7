/* One connection's requests: what libmicrohttpd calls, in the order it does: target, headers, body,
 * handler, reply, completion. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "api/reply.h"
#include "api/route.h"
#include "api/server_state.h"
#include "api/target.h"
#include "node/logline.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/clock.h"

enum {
    OUT_SIZE_MAX = 256 * 1024 * 1024,
    DISCARD_FACTOR = 4, /* times the body limit that is read and dropped before giving up */
    ID_DIGITS = 16,
};

#define BODY_TIMEOUT_US (30 * 1000000LL)
#define BODY_RATE_MIN   (128UL * 1024) /* bytes a second of a body, beyond that time */

static void op_done(struct op *op)
{
    const struct request *r = op->user;
    MHD_resume_connection(r->connection);
}

/* The connection is suspended first: `done` may come before shard_submit() returns. */
void request_submit(struct request *r, void (*then)(struct request *r))
{
    if (r->gone) {
        reply_error(r, ST_NOT_READY); /* which nobody sees */
        return;
    }
    r->then = then;
    r->op.done = op_done;
    r->op.user = r;
    r->suspended = true;
    atomic_fetch_add(&r->server->suspended, 1);
    MHD_suspend_connection(r->connection);
    enum status st = shard_submit(r->shard, &r->op);
    if (st != ST_OK) {
        r->refused = st;
        MHD_resume_connection(r->connection);
    }
}

static struct request *request_new(struct server *s, struct MHD_Connection *connection)
{
    struct request *r = new_zero(struct request);
    r->server = s;
    r->shard = s->shard;
    r->config = s->config;
    r->metrics = s->metrics;
    r->connection = connection;
    r->content_type = "application/json";
    arena_init(&r->op.arena);
    r->op.client_fd = -1;
    buf_init(&r->out, OUT_SIZE_MAX);
    json_writer_init(&r->json, &r->out);
    return r;
}

static void request_free(struct request *r)
{
    buf_fini(&r->body);
    buf_fini(&r->out);
    buf_fini(&r->op.record);
    arena_fini(&r->op.arena);
    free(r);
}

static const void *arena_keep(struct arena *arena, const void *data, size_t size)
{
    return arena_copy(arena, span_of(data, size)).data;
}

/* libmicrohttpd's first call for a request: the target as it came. What is wrong with it is
 * answered later, when the headers are in. */
void *connection_on_target(void *user, const char *uri, struct MHD_Connection *connection)
{
    struct request *r = request_new(user, connection);
    const union MHD_ConnectionInfo *context =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    r->peer = context != NULL ? context->socket_context : NULL;
    if (r->peer != NULL)
        r->peer->pending = r;
    struct target target; /* has room for the longest: the request keeps what there is */
    struct span raw = arena_copy(&r->op.arena, span_text(uri));
    enum status st = target_parse(raw, &r->op.arena, &target);
    if (st == ST_OK) {
        r->query_count = target.query_count;
        r->query = arena_keep(&r->op.arena, target.query, target.query_count * sizeof *r->query);
        r->segment_count = target.segment_count;
        r->segments =
            arena_keep(&r->op.arena, target.segments, target.segment_count * sizeof *r->segments);
        return r;
    }
    r->refused = st;
    r->refused_detail = st == ST_INVALID_ARGUMENT ? "the query string is malformed" : NULL;
    return r;
}

static enum method method_of(const char *text)
{
    static const char *const names[] = {
        [METHOD_GET] = "GET",     [METHOD_POST] = "POST",     [METHOD_PUT] = "PUT",
        [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS"};
    for (unsigned i = 0; i < METHOD_OTHER; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum method)i;
    return METHOD_OTHER;
}

static void take_request_id(struct request *r, const char *value)
{
    size_t size = strlen(value);
    if (size == 0 || size > REQUEST_ID_SIZE_MAX)
        return;
    for (size_t i = 0; i < size; i++)
        if (value[i] < 0x21 || value[i] > 0x7e)
            return; /* one of ours instead */
    memcpy(r->id, value, size + 1);
}

static void take_tenant(struct request *r, const char *value)
{
    struct span name = span_text(value);
    if (name.size == 0)
        return;
    if (!name_is_tenant(name)) {
        if (r->refused == ST_OK) {
            r->refused = ST_INVALID_ARGUMENT;
            r->refused_detail = "X-Tenant-ID: must match ^[a-z][a-z0-9-]{2,63}$";
        }
        return;
    }
    uint8_t *scope = arena_alloc(&r->op.arena, name.size + 1);
    memcpy(scope, name.data, name.size);
    scope[name.size] = '/';
    r->scope = span_of(scope, name.size + 1);
}

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    struct request *r = user;
    (void)kind;
    if (value == NULL)
        return MHD_YES;
    if (strcasecmp(key, "X-Request-ID") == 0) {
        take_request_id(r, value);
    } else if (strcasecmp(key, "X-Tenant-ID") == 0) {
        take_tenant(r, value);
    } else if (strcasecmp(key, "Idempotency-Key") == 0) {
        r->idempotency_key = span_of(arena_string(&r->op.arena, span_text(value)), strlen(value));
    } else if (strcasecmp(key, "Content-Length") == 0) {
        r->announced_size = strtoull(value, NULL, 10); /* the library has checked its syntax */
        r->framings++;
    } else if (strcasecmp(key, "Transfer-Encoding") == 0) {
        r->framings++;
    }
    return MHD_YES;
}

static bool is_scoped(const struct request *r)
{
    static const char *const unscoped[] = {"health",  "healthz", "livez", "readyz",
                                           "metrics", "version", "admin"};
    for (size_t i = 0; i < sizeof unscoped / sizeof unscoped[0]; i++)
        if (r->segment_count > 0 && span_equal(r->segments[0], span_text(unscoped[i])))
            return false;
    return true;
}

static void find_route(struct request *r, const char *method)
{
    if (r->refused != ST_OK)
        return;
    r->head = strcmp(method, "HEAD") == 0;
    r->method = r->head ? METHOD_GET : method_of(method);
    r->route = route_find(r->method, r->segments, r->segment_count, r->params, &r->allow);
    if (r->route == NULL && r->allow == 0)
        r->refused = ST_NOT_FOUND;
    else if (r->route == NULL && r->method != METHOD_OPTIONS)
        r->refused = ST_METHOD_NOT_ALLOWED;
}

static uint64_t body_limit(const struct request *r)
{
    bool large = r->route != NULL && r->route->body == BODY_PUBLISH;
    return (uint64_t)(large ? r->config->publish_body_max_bytes : r->config->body_max_bytes);
}

/* Unlike any other of this run and, by its random start, of others: an odd factor permutes 64 bits.
 */
static void make_request_id(struct request *r)
{
    static const char hex[] = "0123456789abcdef";
    const uint64_t odd = 0x9E3779B97F4A7C15ULL;
    uint64_t id = atomic_fetch_add_explicit(&r->server->next_id, 1, memory_order_relaxed) * odd;
    for (int i = 0; i < ID_DIGITS; i++)
        r->id[i] = hex[id >> (60 - 4 * i) & 15];
    r->id[ID_DIGITS] = '\0';
}

static void on_headers(struct request *r, const char *method)
{
    struct server *s = r->server;
    r->started = true;
    atomic_fetch_add(&s->under_way, 1);
    (void)MHD_get_connection_values(r->connection, MHD_HEADER_KIND, on_header, r);
    if (r->id[0] == '\0')
        make_request_id(r);
    if (r->refused == ST_INVALID_ARGUMENT && r->scope.size == 0 && !is_scoped(r) &&
        r->segment_count > 0) {
        r->refused = ST_OK; /* health and admin have no tenant, not even a bad one */
        r->refused_detail = NULL;
    }
    find_route(r, method);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    r->op.client_fd = info != NULL ? info->connect_fd : -1;
    buf_init(&r->body, body_limit(r));
    peer_expect(r->peer, clock_mono_us() + BODY_TIMEOUT_US +
                             (int64_t)(body_limit(r) / BODY_RATE_MIN) * 1000000);
}

/* Keeps what is within the limit, drops the rest. False: far too much, the connection is closed. */
static bool take_body(struct request *r, const char *data, size_t size)
{
    r->body_size += size;
    uint64_t limit = body_limit(r);
    if (r->body_size > limit) {
        buf_fini(&r->body);
        return r->body_size <= limit * DISCARD_FACTOR;
    }
    if (r->refused != ST_OK || r->route == NULL || r->route->body == BODY_NONE)
        return true; /* read to keep the connection usable */
    if (r->body.capacity == 0 && r->announced_size > 0 && r->announced_size <= limit)
        (void)buf_reserve(&r->body, (size_t)r->announced_size);
    buf_put(&r->body, data, size);
    return true;
}

static void add_allow(struct request *r, struct MHD_Response *response)
{
    static const char *const names[] = {"GET, HEAD", "POST", "PUT", "PATCH", "DELETE"};
    char text[64] = "OPTIONS";
    size_t size = strlen(text);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (r->allow & 1U << i)
            size += (size_t)snprintf(text + size, sizeof text - size, ", %s", names[i]);
    (void)MHD_add_response_header(response, "Allow", text);
}

static void add_preflight(struct MHD_Response *response)
{
    (void)MHD_add_response_header(response, "Access-Control-Allow-Methods",
                                  "GET, POST, PUT, PATCH, DELETE, OPTIONS");
    (void)MHD_add_response_header(response, "Access-Control-Allow-Headers",
                                  "Accept, Authorization, Content-Type, X-API-Key, X-Request-ID, "
                                  "X-Tenant-ID, traceparent, Idempotency-Key");
    (void)MHD_add_response_header(response, "Access-Control-Max-Age", "300");
}

static enum MHD_Result send_reply(struct request *r)
{
    CHECK(r->http_status != 0);
    metrics_request(r->metrics, r->http_status);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(r->out.size, r->out.data, MHD_RESPMEM_PERSISTENT);
    CHECK(response != NULL);
    (void)MHD_add_response_header(response, "Content-Type", r->content_type);
    (void)MHD_add_response_header(response, "X-Request-ID", r->id);
    (void)MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
    (void)MHD_add_response_header(response, "Access-Control-Expose-Headers",
                                  "X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, "
                                  "X-RateLimit-Reset, Retry-After");
    if (r->http_status == 405 || (r->method == METHOD_OPTIONS && r->allow != 0))
        add_allow(r, response);
    if (r->method == METHOD_OPTIONS)
        add_preflight(response);
    if (r->retry_after_s > 0) {
        char text[24];
        (void)snprintf(text, sizeof text, "%" PRId64, r->retry_after_s);
        (void)MHD_add_response_header(response, "Retry-After", text);
    }
    if (r->close || atomic_load_explicit(&r->server->draining, memory_order_relaxed))
        (void)MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result queued = MHD_queue_response(r->connection, r->http_status, response);
    MHD_destroy_response(response);
    return queued;
}

static void run_handler(struct request *r)
{
    r->start_us = clock_mono_us();
    peer_expect(r->peer, PEER_NO_DEADLINE); /* our turn */
    if (r->refused == ST_OK && r->body_size > body_limit(r)) {
        reply_error_text(r, ST_PAYLOAD_TOO_LARGE, "the body is larger than %" PRIu64 " bytes",
                         body_limit(r));
    } else if (r->refused != ST_OK) {
        reply_error_begin(r, r->refused, r->refused_detail);
        reply_error_end(r, r->refused);
    } else if (r->method == METHOD_OPTIONS) {
        json_write_object_begin(&r->json);
        json_write_object_end(&r->json);
        reply_send(r, MHD_HTTP_OK);
    } else {
        r->route->handler(r);
    }
}

/* The op came back: its step, or the error of an op that the shard did not take. */
static void run_step(struct request *r)
{
    void (*step)(struct request *) = r->then;
    r->then = NULL;
    r->suspended = false;
    atomic_fetch_sub(&r->server->suspended, 1);
    if (r->refused == ST_OK)
        step(r);
    else if (r->on_refused != NULL)
        r->on_refused(r, r->refused);
    else
        reply_error(r, r->refused);
}

/* A body that is not worth reading, or whose end is disputed: answered at once, and the connection
 * closed, so that nothing behind it is taken for a request. */
static void refuse_unread(struct request *r)
{
    r->close = true;
    r->start_us = clock_mono_us();
    if (r->framings > 1)
        reply_error_text(r, ST_INVALID_ARGUMENT,
                         "more than one Content-Length or Transfer-Encoding header");
    else
        reply_error_text(r, ST_PAYLOAD_TOO_LARGE, "the body is larger than %" PRIu64 " bytes",
                         body_limit(r));
}

/* NOLINTNEXTLINE(readability-function-size): libmicrohttpd calls it so */
enum MHD_Result connection_on_access(void *user, struct MHD_Connection *connection, const char *url,
                                     const char *method, const char *version, const char *upload,
                                     size_t *upload_size, void **state)
{
    struct request *r = *state;
    (void)user;
    (void)connection;
    (void)url;
    (void)version;
    if (!r->started) {
        on_headers(r, method);
        if (r->framings <= 1 && r->announced_size <= body_limit(r) * DISCARD_FACTOR)
            return MHD_YES;
        refuse_unread(r);
        return send_reply(r);
    }
    if (*upload_size > 0) {
        size_t size = *upload_size;
        *upload_size = 0;
        return take_body(r, upload, size) ? MHD_YES : MHD_NO;
    }
    if (r->http_status != 0)
        return MHD_YES;
    if (r->suspended)
        run_step(r);
    else
        run_handler(r);
    return r->suspended ? MHD_YES : send_reply(r);
}

void connection_on_completed(void *user, struct MHD_Connection *connection, void **state,
                             enum MHD_RequestTerminationCode how)
{
    struct server *s = user;
    struct request *r = *state;
    (void)connection;
    if (r == NULL)
        return;
    *state = NULL;
    if (r->suspended) { /* the client left while the op was under way: its results must be let go */
        r->gone = true;
        run_step(r);
    }
    bool sent = how == MHD_REQUEST_TERMINATED_COMPLETED_OK && r->http_status != 0;
    if (!sent && r->on_unsent != NULL)
        r->on_unsent(r);
    if (r->started)
        atomic_fetch_sub(&s->under_way, 1);
    if (r->peer != NULL) {
        r->peer->pending = NULL;
        peer_expect(r->peer, clock_mono_us() + s->head_timeout_us);
    }
    request_free(r);
}

void connection_on_change(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct server *s = user;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        atomic_fetch_add(&s->acceptor.open, 1);
        *context = peers_add(&s->peers, info->connect_fd, clock_mono_us() + s->head_timeout_us);
    } else {
        struct peer *peer = *context;
        if (peer->pending != NULL) /* the head was refused: nobody was told of its end */
            request_free(peer->pending);
        peers_remove(&s->peers, peer);
        atomic_fetch_sub(&s->acceptor.open, 1);
        *context = NULL;
    }
}

/* libmicrohttpd decodes nothing: targets are ours. */
size_t connection_keep_escapes(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return strlen(text);
}

/* One line from libmicrohttpd, e.g. about a connection it gave up. */
void connection_on_log(void *user, const char *fmt, va_list args)
{
    char text[256], quoted[600];
    (void)user;
    (void)vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    log_line(LOG_DEBUG, "http", "text=%s", log_quote(quoted, sizeof quoted, text, strlen(text)));
}
