/* End-to-end latency on an idle system: one member waits in a long poll, then one message is
 * published; the time from the first byte sent to the message received is the result. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "cli/bench.h"

enum {
    CALL_TIMEOUT_MS = 10000,
    GAP_NS = 10 * 1000 * 1000, /* between two messages, so that the poll is parked for sure */
};

/* Sends the member's next request and takes the reply in; false: the run is over. */
static bool member_step(struct bench *bench, struct client *member, bool stopping,
                        struct bench_result *r)
{
    struct span request = work_next(bench, member, stopping);
    if (request.size == 0)
        return false;
    if (!http_call(&member->http, request, CALL_TIMEOUT_MS)) {
        result_error(r, 1, "connection lost: %s", member->http.problem);
        return false;
    }
    struct span body = http_body(&member->http);
    if (member->http.status != 200) {
        result_error(r, 1, "HTTP %d: %.*s", member->http.status,
                     (int)(body.size > 300 ? 300 : body.size), (const char *)body.data);
        return false;
    }
    return work_reply(bench, member, true, r);
}

static void sleep_ns(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&ts, NULL);
}

/* Advances one of the two exchanges; notes when it was complete. */
static bool advance(struct http_connection *c, int64_t *done_ns, struct bench_result *r)
{
    if (*done_ns != 0)
        return true;
    enum http_progress progress = http_advance(c);
    if (progress == HTTP_BROKEN) {
        result_error(r, 1, "connection lost: %s", c->problem);
        return false;
    }
    if (progress == HTTP_DONE && c->status != 200) {
        struct span body = http_body(c);
        result_error(r, 1, "HTTP %d: %.*s", c->status, (int)(body.size > 300 ? 300 : body.size),
                     (const char *)body.data);
        return false;
    }
    if (progress == HTTP_DONE)
        *done_ns = bench_now_ns();
    return true;
}

/* Parks the poll, publishes, waits for both replies. */
static bool measure_once(struct bench *bench, struct client *member, struct client *publisher,
                         int64_t gap_ns, struct bench_result *r)
{
    if (http_start(&member->http, work_next(bench, member, false)) == HTTP_BROKEN) {
        result_error(r, 1, "connection lost: %s", member->http.problem);
        return false;
    }
    sleep_ns(gap_ns);
    publisher->started_ns = bench_now_ns();
    struct span message = work_next(bench, publisher, false);
    if (http_start(&publisher->http, message) == HTTP_BROKEN) {
        result_error(r, 1, "connection lost: %s", publisher->http.problem);
        return false;
    }

    int64_t delivered_ns = 0;
    int64_t published_ns = 0;
    while (delivered_ns == 0 || published_ns == 0) {
        struct pollfd pfd[2] = {
            {.fd = delivered_ns == 0 ? member->http.fd : -1, .events = POLLIN},
            {.fd = published_ns == 0 ? publisher->http.fd : -1, .events = POLLIN},
        };
        int ready = poll(pfd, 2, CALL_TIMEOUT_MS);
        if (ready == 0) {
            result_error(r, 1, "a published message was not delivered within 10 s");
            return false;
        }
        if (ready < 0 && errno != EINTR)
            return false;
        if (!advance(&member->http, &delivered_ns, r) ||
            !advance(&publisher->http, &published_ns, r))
            return false;
    }

    uint64_t messages = r->messages;
    if (!work_reply(bench, member, true, r))
        return false;
    if (r->messages != messages + 1) {
        result_error(r, 1, "a parked poll came back with %llu messages instead of 1",
                     (unsigned long long)(r->messages - messages));
        return false;
    }
    histogram_add(&r->latency, (uint64_t)(delivered_ns - publisher->started_ns));
    histogram_add(&r->publish_latency, (uint64_t)(published_ns - publisher->started_ns));
    r->requests++;
    return true;
}

/* Takes what is left in the topic out of the way. */
static bool drain(struct bench *bench, struct client *member)
{
    struct bench_result ignored = {0};
    while (ignored.empty == 0) {
        if (!member_step(bench, member, false, &ignored)) {
            fprintf(stderr, "%s\n", ignored.first_error);
            return false;
        }
    }
    return true;
}

bool bench_run_latency(struct bench *bench, struct bench_result *out)
{
    const struct bench_options *o = &bench->options;
    int64_t gap_ns = o->rate > 0 ? (int64_t)(1e9 / o->rate) : GAP_NS;
    struct client member;
    struct client publisher;
    client_init(&member, bench, 0);
    bench->options.verb = BENCH_PUBLISH;
    client_init(&publisher, bench, 1);
    bench->options.verb = BENCH_LATENCY;

    int error = http_open(&member.http, &bench->target);
    if (error == 0)
        error = http_open(&publisher.http, &bench->target);
    bool ok = error == 0;
    if (!ok)
        bench_say_no_connection(&bench->target, error);

    ok = ok && drain(bench, &member);
    if (ok) {
        atomic_store(&bench->stop, false);
        result_add_usage(out, -1);
        out->first_ns = bench_now_ns();
        int64_t end_ns = o->duration_ns == INT64_MAX ? INT64_MAX : out->first_ns + o->duration_ns;
        while (out->errors == 0 && bench_now_ns() < end_ns && out->requests < o->messages_max) {
            if (!measure_once(bench, &member, &publisher, gap_ns, out))
                break;
            while (member.phase == PHASE_ACK && member.ack_next < member.ack_count) {
                if (!member_step(bench, &member, false, out))
                    break;
            }
        }
        out->last_ns = bench_now_ns();
        out->elapsed_s = 1e-9 * (double)(out->last_ns - out->first_ns);
        result_add_usage(out, 1);
        while (member.http.fd >= 0 && out->errors == 0 && member_step(bench, &member, true, out)) {
        }
    }
    client_fini(&member);
    client_fini(&publisher);
    return ok;
}
