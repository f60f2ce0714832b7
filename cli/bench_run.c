#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench.h"
#include "std/alloc.h"
#include "std/check.h"

enum {
    EVENTS_MAX = 64,
    TICK_NS = 100 * 1000 * 1000,
    ERRORS_IN_ROW_MAX = 100,
};
static const int64_t GRACE_NS = 5LL * 1000 * 1000 * 1000; /* to finish what is under way */

struct worker {
    struct bench *bench;
    pthread_t thread;
    unsigned first; /* number of its first client */
    unsigned count;
    struct client *clients;
    int epoll_fd;
    unsigned busy; /* clients with an exchange under way */
    bool stopping;

    /* --rate: requests begin at fixed times, whether or not the last one is back, and their
     * latency counts from then; a slow broker cannot slow its own measurement down. */
    int64_t interval_ns; /* 0: no rate */
    int64_t slot_ns;
    struct client **idle; /* a stack of clients that wait for their slot */
    unsigned idle_count;

    struct bench_result result;
};

int64_t bench_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* --- results -------------------------------------------------------------------------------- */

void result_error(struct bench_result *r, uint64_t count, const char *fmt, ...)
{
    if (r->errors == 0) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(r->first_error, sizeof r->first_error, fmt, args);
        va_end(args);
    }
    r->errors += count;
}

void result_merge(struct bench_result *into, const struct bench_result *from)
{
    if (into->errors == 0)
        memcpy(into->first_error, from->first_error, sizeof into->first_error);
    into->errors += from->errors;
    into->requests += from->requests;
    into->messages += from->messages;
    into->bytes += from->bytes;
    into->acks += from->acks;
    into->ack_requests += from->ack_requests;
    into->empty += from->empty;
    if (into->first_ns == 0 || (from->first_ns != 0 && from->first_ns < into->first_ns))
        into->first_ns = from->first_ns;
    if (from->last_ns > into->last_ns)
        into->last_ns = from->last_ns;
    histogram_merge(&into->latency, &from->latency);
    histogram_merge(&into->ack_latency, &from->ack_latency);
}

void result_add_usage(struct bench_result *r, double sign)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    r->run_s += sign * 1e-9 * (double)bench_now_ns();
    r->cpu_user_s += sign * ((double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec);
    r->cpu_system_s +=
        sign * ((double)usage.ru_stime.tv_sec + 1e-6 * (double)usage.ru_stime.tv_usec);
}

void bench_say_no_connection(const struct http_target *target, int error)
{
    if (error == ECONNREFUSED)
        fprintf(stderr,
                "connection refused at %s: is the broker running? start it with: goqueue serve\n",
                target->url);
    else
        fprintf(stderr, "cannot connect to %s: %s\n", target->url, strerror(error)); // NOLINT
}

/* --- one exchange after the other ----------------------------------------------------------- */

static bool client_connect(struct worker *w, struct client *c)
{
    int error = http_open(&c->http, &w->bench->target);
    if (error != 0) {
        result_error(&w->result, 1, "cannot connect to %s: %s", w->bench->target.url,
                     strerror(error)); // NOLINT(concurrency-mt-unsafe): glibc's is safe
        return false;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    CHECK(epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, c->http.fd, &event) == 0);
    return true;
}

/* After a reply, or at the start: sends the next request, unless it has to wait for its slot or
 * there is none. */
static void client_go_on(struct worker *w, struct client *c, int64_t started_ns)
{
    for (;;) {
        if (c->in_flight) {
            c->in_flight = false;
            w->busy--;
        }
        if (w->interval_ns > 0 && !w->stopping && started_ns == 0) {
            w->idle[w->idle_count++] = c;
            return;
        }
        bool stop = atomic_load_explicit(&w->bench->stop, memory_order_relaxed);
        struct span request = work_next(w->bench, c, w->stopping || stop);
        if (request.size == 0)
            return;
        if (c->http.fd < 0 && !client_connect(w, c))
            return; /* this connection is over */
        c->in_flight = true;
        w->busy++;
        c->started_ns = started_ns != 0 ? started_ns : bench_now_ns();
        if (http_start(&c->http, request) != HTTP_BROKEN)
            return;
        result_error(&w->result, 1, "connection lost: %s", c->http.problem);
        http_close(&c->http);
        if (++c->errors_in_row >= ERRORS_IN_ROW_MAX)
            atomic_store(&w->bench->stop, true);
        started_ns = 0;
    }
}

/* Counts a 200 whose exchange began and ended inside the window, judges it in any case. */
static void client_judge(struct worker *w, struct client *c, int64_t now_ns)
{
    struct bench_result *r = &w->result;
    const struct bench *bench = w->bench;
    enum phase phase = c->phase;
    if (c->http.status != 200) {
        struct span body = http_body(&c->http);
        result_error(r, 1, "HTTP %d: %.*s", c->http.status,
                     (int)(body.size > 300 ? 300 : body.size), (const char *)body.data);
        c->errors_in_row++;
        return;
    }
    bool counted = c->started_ns >= bench->window_start_ns && now_ns <= bench->window_end_ns;
    uint64_t empty_before = r->empty;
    if (!work_reply(w->bench, c, counted, r)) {
        c->errors_in_row++;
        return;
    }
    c->errors_in_row = 0;
    if (!counted || r->empty != empty_before || phase == PHASE_JOIN || phase == PHASE_LEAVE)
        return;
    if (r->first_ns == 0)
        r->first_ns = c->started_ns;
    r->last_ns = now_ns;
    uint64_t latency_ns = (uint64_t)(now_ns - c->started_ns);
    if (phase == PHASE_ACK) {
        histogram_add(&r->ack_latency, latency_ns);
    } else {
        histogram_add(&r->latency, latency_ns);
        r->requests++;
    }
}

static void client_ready(struct worker *w, struct client *c)
{
    if (!c->in_flight)
        return; /* a stale event: the server closed an idle connection; sending will tell */
    switch (http_advance(&c->http)) {
    case HTTP_WAIT:
        return;
    case HTTP_DONE:
        client_judge(w, c, bench_now_ns());
        if (c->http.close)
            http_close(&c->http);
        break;
    case HTTP_BROKEN:
        result_error(&w->result, 1, "connection lost: %s", c->http.problem);
        http_close(&c->http);
        c->errors_in_row++;
        break;
    }
    if (c->errors_in_row >= ERRORS_IN_ROW_MAX)
        atomic_store(&w->bench->stop, true);
    client_go_on(w, c, 0);
}

/* --- thread --------------------------------------------------------------------------------- */

static void start_due_slots(struct worker *w, int64_t now_ns)
{
    while (w->idle_count > 0 && w->slot_ns <= now_ns) {
        struct client *c = w->idle[--w->idle_count];
        client_go_on(w, c, w->slot_ns);
        w->slot_ns += w->interval_ns;
    }
}

static int wait_events(struct worker *w, struct epoll_event *events, int64_t now_ns)
{
    int64_t wait_ns = TICK_NS;
    if (!w->stopping && w->bench->window_end_ns - now_ns < wait_ns)
        wait_ns = w->bench->window_end_ns - now_ns;
    if (w->idle_count > 0 && w->slot_ns - now_ns < wait_ns)
        wait_ns = w->slot_ns - now_ns;
    if (wait_ns < 0)
        wait_ns = 0;
    struct timespec timeout = {.tv_nsec = wait_ns};
    int n = epoll_pwait2(w->epoll_fd, events, EVENTS_MAX, &timeout, NULL);
    CHECK(n >= 0 || errno == EINTR);
    return n;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct bench *bench = w->bench;
    for (unsigned i = 0; i < w->count; i++)
        client_go_on(w, &w->clients[i], 0);

    struct epoll_event events[EVENTS_MAX];
    int64_t give_up_ns = INT64_MAX;
    while (w->busy > 0 || w->idle_count > 0) {
        int64_t now_ns = bench_now_ns();
        if (now_ns >= bench->window_end_ns ||
            atomic_load_explicit(&bench->stop, memory_order_relaxed))
            w->stopping = true;
        if (w->stopping && give_up_ns == INT64_MAX) {
            give_up_ns = now_ns + GRACE_NS;
            w->idle_count = 0;
        }
        if (now_ns > give_up_ns) {
            result_error(&w->result, w->busy, "no reply within 5 s after the end");
            break;
        }
        if (w->interval_ns > 0)
            start_due_slots(w, now_ns);
        int n = wait_events(w, events, now_ns);
        for (int i = 0; i < n; i++)
            client_ready(w, events[i].data.ptr);
    }
    return NULL;
}

static bool worker_init(struct worker *w, struct bench *bench, unsigned first, unsigned count)
{
    w->bench = bench;
    w->first = first;
    w->count = count;
    w->clients = alloc_array(count, sizeof *w->clients);
    w->idle = alloc_array(count, sizeof(struct client *));
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(w->epoll_fd >= 0);
    for (unsigned i = 0; i < count; i++)
        client_init(&w->clients[i], bench, first + i);
    for (unsigned i = 0; i < count; i++) {
        if (!client_connect(w, &w->clients[i]))
            return false;
    }
    return true;
}

static void worker_fini(struct worker *w)
{
    for (unsigned i = 0; i < w->count; i++)
        client_fini(&w->clients[i]);
    if (w->epoll_fd > 0)
        close(w->epoll_fd);
    free(w->clients);
    free((void *)w->idle);
}

static void set_window(struct bench *bench, struct worker *workers)
{
    const struct bench_options *o = &bench->options;
    int64_t now_ns = bench_now_ns();
    bench->window_start_ns = now_ns + o->warmup_ns;
    bench->window_end_ns =
        o->duration_ns == INT64_MAX ? INT64_MAX : bench->window_start_ns + o->duration_ns;
    for (unsigned i = 0; o->rate > 0 && i < o->threads; i++) {
        workers[i].interval_ns = (int64_t)(1e9 * (double)o->threads / o->rate);
        if (workers[i].interval_ns == 0)
            workers[i].interval_ns = 1;
        workers[i].slot_ns = now_ns + workers[i].interval_ns * (i + 1) / o->threads;
    }
}

bool bench_run(struct bench *bench, struct bench_result *out)
{
    const struct bench_options *o = &bench->options;
    struct worker *workers = alloc_array(o->threads, sizeof *workers);
    bool ok = true;
    unsigned first = 0;
    for (unsigned i = 0; ok && i < o->threads; i++) {
        unsigned count = o->connections / o->threads + (i < o->connections % o->threads);
        ok = worker_init(&workers[i], bench, first, count);
        if (!ok)
            fprintf(stderr, "%s\n", workers[i].result.first_error);
        first += count;
    }

    if (ok) {
        set_window(bench, workers);
        result_add_usage(out, -1);
        for (unsigned i = 0; i < o->threads; i++)
            CHECK(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0);
        for (unsigned i = 0; i < o->threads; i++) {
            CHECK(pthread_join(workers[i].thread, NULL) == 0);
            result_merge(out, &workers[i].result);
        }
        result_add_usage(out, 1);
        if (out->last_ns > 0)
            out->elapsed_s = 1e-9 * (double)(out->last_ns - out->first_ns);
    }
    for (unsigned i = 0; i < o->threads; i++)
        worker_fini(&workers[i]);
    free(workers);
    return ok;
}
