/* Many parked polls on one broker: what they cost it while nothing happens, and how long a message
 * takes to the poll that waits for it, among all that do not.
 *
 * Each connection is one member with one poll; members are spread over groups, groups over topics,
 * and a topic has a partition for each member of a group. A message for a random partition of a
 * random topic must therefore end exactly one poll in each group of that topic; any other poll that
 * ends is an error. The woken member acknowledges and parks again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/bench_process.h"
#include "std/alloc.h"
#include "std/check.h"

enum {
    PUBLISHERS = 4,
    EVENTS_MAX = 256,
    WINDOW = 64, /* joins under way: each one rebalances its group */
    REQUEST_SIZE_MAX = 4096,
    NAME_MAX_SIZE = 320,
    CALL_TIMEOUT_MS = 10000,
};

#define SECOND_NS   1000000000LL
#define SETTLE_NS   (SECOND_NS / 2) /* from the last poll sent to the last one parked */
#define PATIENCE_NS (10 * SECOND_NS)

struct message {
    int64_t sent_ns;
    unsigned missing; /* deliveries, one for each group */
};

enum state { STATE_JOIN, STATE_PARKED, STATE_ACK, STATE_PUBLISH };

struct waiter {
    struct http_connection http;
    enum state state;
    unsigned group;
    struct buf poll;    /* the request, once it has joined */
    struct buf request; /* any other */
};

struct parked_run {
    struct bench *bench;
    struct bench_result *r;
    struct waiter *waiters; /* and, behind them, the publishers */
    unsigned count;         /* of waiters */
    int epoll_fd;
    unsigned started; /* of them, those that were told to join */
    unsigned parked;
    struct waiter *idle_publishers[PUBLISHERS];
    unsigned idle_count;
    struct message *messages;
    uint64_t message_count;
    uint64_t message_max;
    uint64_t missing; /* deliveries not yet seen */
    uint64_t random;
};

/* --- requests ------------------------------------------------------------------------------- */

static void topic_name(const struct bench_options *o, unsigned topic, char out[NAME_MAX_SIZE])
{
    (void)snprintf(out, NAME_MAX_SIZE, "%s-%u", o->topic, topic);
}

static bool begin(struct parked_run *p, struct waiter *w, const struct buf *request)
{
    if (http_start(&w->http, buf_span(request)) != HTTP_BROKEN)
        return true;
    result_error(p->r, 1, "connection lost: %s", w->http.problem);
    return false;
}

static bool send_json(struct parked_run *p, struct waiter *w, const char *path, const char *json)
{
    buf_clear(&w->request);
    request_put(&w->request, &p->bench->target, "POST", path, span_text(json));
    return begin(p, w, &w->request);
}

static bool start_join(struct parked_run *p)
{
    const struct bench_options *o = &p->bench->options;
    struct waiter *w = &p->waiters[p->started++];
    char topic[NAME_MAX_SIZE], path[2 * NAME_MAX_SIZE], json[2 * NAME_MAX_SIZE];
    topic_name(o, w->group % o->topics, topic);
    (void)snprintf(path, sizeof path, "/groups/%s-%u/join", o->group, w->group);
    (void)snprintf(json, sizeof json,
                   "{\"client_id\":\"w\",\"topics\":[\"%s\"],\"session_timeout\":\"5m\"}", topic);
    w->state = STATE_JOIN;
    return send_json(p, w, path, json);
}

static bool start_poll(struct parked_run *p, struct waiter *w)
{
    w->state = STATE_PARKED;
    p->parked++;
    return begin(p, w, &w->poll);
}

static uint64_t random_next(struct parked_run *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return p->random >> 11;
}

static bool publish(struct parked_run *p)
{
    const struct bench_options *o = &p->bench->options;
    struct waiter *w = p->idle_publishers[--p->idle_count];
    char topic[NAME_MAX_SIZE], path[2 * NAME_MAX_SIZE], json[2 * NAME_MAX_SIZE];
    topic_name(o, (unsigned)(random_next(p) % o->topics), topic);
    (void)snprintf(path, sizeof path, "/topics/%s/messages", topic);
    (void)snprintf(json, sizeof json,
                   "{\"messages\":[{\"partition\":%u,\"value\":\"%" PRIu64 "\"}]}",
                   (unsigned)(random_next(p) % o->partitions), p->message_count);
    struct message *m = &p->messages[p->message_count++];
    m->missing = o->groups / o->topics;
    p->missing += m->missing;
    m->sent_ns = bench_now_ns();
    return send_json(p, w, path, json);
}

/* --- replies -------------------------------------------------------------------------------- */

static bool unexpected(struct parked_run *p, const char *what, struct span body)
{
    result_error(p->r, 1, "%s: %.*s", what, (int)(body.size > 200 ? 200 : body.size),
                 (const char *)body.data);
    return false;
}

static bool on_joined(struct parked_run *p, struct waiter *w)
{
    struct span body = http_body(&w->http), id;
    size_t from = 0;
    if (!json_next_string(body, "member_id", &from, &id))
        return unexpected(p, "no member_id", body);
    char path[2 * NAME_MAX_SIZE];
    (void)snprintf(path, sizeof path, "/groups/%s-%u/poll?member_id=%.*s&timeout=60s",
                   p->bench->options.group, w->group, SPAN_ARG(id));
    request_put(&w->poll, &p->bench->target, "GET", path, span_of(NULL, 0));
    p->parked++;
    return p->started == p->count || start_join(p);
}

/* A poll came back: it must be with one message that its group has not had. */
static bool on_woken(struct parked_run *p, struct waiter *w)
{
    struct span body = http_body(&w->http), value, handle;
    size_t from = 0;
    const int64_t now_ns = bench_now_ns();
    p->parked--;
    if (!json_next_string(body, "value", &from, &value)) {
        p->r->empty++;
        return unexpected(p, "a poll came back without a message", body);
    }
    uint64_t number = strtoull((const char *)value.data, NULL, 10); /* a quote ends it */
    if (number >= p->message_count || p->messages[number].missing == 0)
        return unexpected(p, "a message that nobody waits for", body);
    p->messages[number].missing--;
    p->missing--;
    p->r->requests++;
    p->r->messages++;
    p->r->bytes += body.size;
    histogram_add(&p->r->latency, (uint64_t)(now_ns - p->messages[number].sent_ns));
    if (!json_next_string(body, "receipt_handle", &from, &handle))
        return unexpected(p, "message without a receipt_handle", body);
    if (json_next_string(body, "value", &from, &value))
        return unexpected(p, "more than one message", body);
    char json[2 * NAME_MAX_SIZE];
    (void)snprintf(json, sizeof json, "{\"receipt_handle\":\"%.*s\"}", SPAN_ARG(handle));
    w->state = STATE_ACK;
    return send_json(p, w, "/messages/ack", json);
}

static bool on_reply(struct parked_run *p, struct waiter *w)
{
    if (w->http.status != 200)
        return unexpected(p, "not a 200", http_body(&w->http));
    switch (w->state) {
    case STATE_JOIN:
        return on_joined(p, w);
    case STATE_PARKED:
        return on_woken(p, w);
    case STATE_ACK:
        p->r->acks++;
        p->r->ack_requests++;
        return start_poll(p, w);
    case STATE_PUBLISH:
        p->idle_publishers[p->idle_count++] = w;
        return json_count_key(http_body(&w->http), "offset") == 1 ||
               unexpected(p, "message refused", http_body(&w->http));
    }
    return false;
}

/* Takes in what comes until then. False: something that must not happen did. */
static bool take_replies(struct parked_run *p, int64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t wait_ns = until_ns - bench_now_ns();
    if (wait_ns < 0)
        wait_ns = 0;
    struct timespec timeout = {.tv_sec = wait_ns / SECOND_NS, .tv_nsec = wait_ns % SECOND_NS};
    int n = epoll_pwait2(p->epoll_fd, events, EVENTS_MAX, &timeout, NULL);
    CHECK(n >= 0 || errno == EINTR);
    for (int i = 0; i < n; i++) {
        struct waiter *w = events[i].data.ptr;
        enum http_progress progress = http_advance(&w->http);
        if (progress == HTTP_BROKEN)
            result_error(p->r, 1, "connection lost: %s", w->http.problem);
        if (progress == HTTP_BROKEN || (progress == HTTP_DONE && !on_reply(p, w)))
            return false;
    }
    return true;
}

/* --- one phase after the other -------------------------------------------------------------- */

static bool create_topics(struct parked_run *p)
{
    const struct bench_options *o = &p->bench->options;
    struct waiter *w = &p->waiters[p->count]; /* a publisher */
    for (unsigned i = 0; i < o->topics; i++) {
        char topic[NAME_MAX_SIZE], json[2 * NAME_MAX_SIZE];
        topic_name(o, i, topic);
        (void)snprintf(json, sizeof json, "{\"name\":\"%s\",\"num_partitions\":%u}", topic,
                       o->partitions);
        buf_clear(&w->request);
        request_put(&w->request, &p->bench->target, "POST", "/topics", span_text(json));
        if (!http_call(&w->http, buf_span(&w->request), CALL_TIMEOUT_MS)) {
            result_error(p->r, 1, "connection lost: %s", w->http.problem);
            return false;
        }
        if (w->http.status != 201)
            return unexpected(p, "cannot create the topics", http_body(&w->http));
    }
    return true;
}

static bool connect_all(struct parked_run *p, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        struct waiter *w = &p->waiters[i];
        int error = http_open(&w->http, &p->bench->target);
        if (error != 0) {
            result_error(p->r, 1, "cannot open connection %u: %s", i,
                         strerror(error)); // NOLINT(concurrency-mt-unsafe): glibc's is safe
            return false;
        }
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = w};
        CHECK(epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, w->http.fd, &event) == 0);
    }
    return true;
}

static bool join_all(struct parked_run *p)
{
    while (p->started < p->count && p->started < WINDOW)
        if (!start_join(p))
            return false;
    while (p->parked < p->count)
        if (!take_replies(p, bench_now_ns() + PATIENCE_NS))
            return false;
    p->parked = 0;
    return true;
}

static bool park_all(struct parked_run *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (!start_poll(p, &p->waiters[i]))
            return false;
    return take_replies(p, bench_now_ns() + SETTLE_NS);
}

/* Nothing may happen for the whole time. */
static bool stay_idle(struct parked_run *p)
{
    const struct bench_options *o = &p->bench->options;
    int64_t before_ns = 0, after_ns = 0;
    const int64_t end_ns = bench_now_ns() + o->idle_ns;
    if (o->pid > 0 && !process_cpu_ns(o->pid, &before_ns))
        return false;
    if (!take_replies(p, end_ns))
        return false;
    if (o->pid > 0 && !process_cpu_ns(o->pid, &after_ns))
        return false;
    p->r->parked.idle_cpu_s = 1e-9 * (double)(after_ns - before_ns);
    p->r->parked.idle_s = 1e-9 * (double)o->idle_ns;
    return true;
}

static bool publish_all(struct parked_run *p)
{
    const struct bench_options *o = &p->bench->options;
    const int64_t interval_ns = (int64_t)(1e9 / o->rate);
    const int64_t begin_ns = bench_now_ns();
    const int64_t end_ns = begin_ns + o->duration_ns;
    int64_t slot_ns = begin_ns;
    p->r->first_ns = begin_ns;
    result_add_usage(p->r, -1);
    for (int64_t now_ns = begin_ns; now_ns < end_ns; now_ns = bench_now_ns()) {
        if (now_ns >= slot_ns && p->idle_count > 0 && p->message_count < p->message_max) {
            if (!publish(p))
                return false;
            slot_ns += interval_ns;
        }
        if (!take_replies(p, p->idle_count > 0 && slot_ns < end_ns ? slot_ns : end_ns))
            return false;
    }
    p->r->last_ns = bench_now_ns();
    p->r->elapsed_s = 1e-9 * (double)(p->r->last_ns - p->r->first_ns);
    result_add_usage(p->r, 1);
    const int64_t give_up_ns = bench_now_ns() + PATIENCE_NS;
    while (p->missing > 0 && bench_now_ns() < give_up_ns)
        if (!take_replies(p, give_up_ns))
            return false;
    if (p->missing > 0)
        result_error(p->r, p->missing, "messages whose polls were not woken within 10 s");
    return p->missing == 0;
}

static bool look(const struct parked_run *p, uint64_t *out_bytes)
{
    pid_t pid = p->bench->options.pid;
    return pid == 0 || process_resident_bytes(pid, out_bytes);
}

static void run(struct parked_run *p)
{
    struct parked_result *out = &p->r->parked;
    const unsigned all = p->count + PUBLISHERS;
    bool ok = connect_all(p, p->count, all) && create_topics(p) && look(p, &out->bytes_before) &&
              connect_all(p, 0, p->count) && join_all(p) && look(p, &out->bytes_joined) &&
              park_all(p) && look(p, &out->bytes_parked);
    out->polls = p->parked;
    for (unsigned i = p->count; i < all; i++)
        p->idle_publishers[p->idle_count++] = &p->waiters[i];
    ok = ok && stay_idle(p) && publish_all(p);
    if (!ok && p->r->errors == 0)
        result_error(p->r, 1, "process %d cannot be watched", (int)p->bench->options.pid);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

bool bench_run_parked(struct bench *bench, struct bench_result *out)
{
    const struct bench_options *o = &bench->options;
    raise_descriptor_limit();
    struct parked_run p = {
        .bench = bench, .r = out, .count = o->connections, .random = 0x9E3779B97F4A7C15U};
    p.message_max = (uint64_t)(1e-9 * (double)o->duration_ns * o->rate) + 1;
    p.messages = alloc_array(p.message_max, sizeof *p.messages);
    p.waiters = alloc_array(p.count + PUBLISHERS, sizeof *p.waiters);
    p.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(p.epoll_fd >= 0);
    for (unsigned i = 0; i < p.count + PUBLISHERS; i++) {
        struct waiter *w = &p.waiters[i];
        w->group = i % o->groups;
        w->state = STATE_PUBLISH;
        http_init(&w->http);
        buf_init(&w->poll, REQUEST_SIZE_MAX);
        buf_init(&w->request, REQUEST_SIZE_MAX);
    }
    run(&p);
    for (unsigned i = 0; i < p.count + PUBLISHERS; i++) {
        http_fini(&p.waiters[i].http);
        buf_fini(&p.waiters[i].poll);
        buf_fini(&p.waiters[i].request);
    }
    (void)close(p.epoll_fd);
    free(p.waiters);
    free(p.messages);
    return true;
}
