/* What the files of `goqueue bench` share: the options, the run, the result.
 *
 *     bench.c          options; sets the broker up; starts the run
 *     bench_run.c      threads and epoll: keeps every connection busy until the end, measures
 *     bench_work.c     what each verb sends, and what it makes of the replies
 *     bench_transaction.c  the same for transactions
 *     bench_json.c     finds what it needs in a reply, fast
 *     bench_latency.c  the end-to-end verb, which is not a hammer
 *     bench_parked.c   many parked polls, which is none either
 *     bench_process.c  memory and CPU time of the broker
 *     bench_report.c   the result, for people and as JSON
 *     bench_http.c     the HTTP client
 *
 * Only 200 counts as throughput. Anything else, and every message the broker refused inside a 200,
 * is an error and nothing but an error. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/bench_http.h"
#include "std/buf.h"
#include "std/histogram.h"

enum bench_verb {
    BENCH_PUBLISH,
    BENCH_CONSUME,
    BENCH_POLL,
    BENCH_LATENCY,
    BENCH_GET,
    BENCH_ECHO,
    BENCH_PARKED,
    BENCH_TRANSACTION,
};

struct bench_options {
    enum bench_verb verb;
    const char *verb_name;
    const char *url;
    const char *topic;
    const char *group;
    const char *path; /* get, echo */
    unsigned connections;
    unsigned threads;
    unsigned batch;      /* messages a request */
    unsigned size_bytes; /* of a value */
    unsigned keys;       /* distinct ones; 0: no keys */
    unsigned partitions; /* of the topic to create; 0: do not create */
    unsigned groups;     /* parked */
    unsigned topics;     /* parked: the groups are spread over them */
    pid_t pid;           /* parked: the broker's, to be watched; 0: none */
    int64_t idle_ns;     /* parked: for so long nothing happens */
    int64_t delay_ns;    /* publish: of each message; 0: none */
    int64_t duration_ns; /* INT64_MAX: until --messages are through */
    int64_t warmup_ns;
    uint64_t messages_max; /* UINT64_MAX: no limit */
    double rate;           /* requests a second over all connections; 0: as fast as it goes */
    bool single_ack;
    bool hold;   /* poll: acknowledge nothing, and stay in the group */
    bool follow; /* poll: go on when the topic is drained */
    bool json;
};

/* What the broker uses; zeros without --pid. */
struct parked_result {
    unsigned polls;        /* that were parked at the same time */
    uint64_t bytes_before; /* resident, before the members connected */
    uint64_t bytes_joined; /* when all had joined */
    uint64_t bytes_parked;
    double idle_s; /* while nothing happened */
    double idle_cpu_s;
};

struct bench_result {
    uint64_t requests; /* answered 200 inside the measured window, acks not counted */
    uint64_t messages; /* published, read or polled, and acknowledged as such */
    uint64_t bytes;    /* of the bodies that carried them */
    uint64_t acks;     /* messages acknowledged */
    uint64_t ack_requests;
    uint64_t empty; /* polls without messages; not in `requests` */
    uint64_t errors;
    char first_error[512];
    int64_t first_ns; /* when the first counted request was sent; 0: none */
    int64_t last_ns;  /* when the last counted reply was complete */
    struct histogram latency;
    struct histogram ack_latency;
    struct histogram publish_latency; /* of the latency verb */
    struct parked_result parked;
    double elapsed_s;  /* from first_ns to last_ns */
    double run_s;      /* the whole run, warm-up included */
    double cpu_user_s; /* of this process, during run_s */
    double cpu_system_s;
};

/* One run: what all threads share. Written before they start, except for the atomics. */
struct bench {
    struct bench_options options;
    struct http_target target;
    unsigned partitions; /* consume: how many there are */
    int64_t window_start_ns;
    int64_t window_end_ns;
    atomic_uint_fast64_t issued; /* messages asked for (publish) or received (consume, poll) */
    atomic_uint dry;             /* connections whose last poll was empty */
    atomic_bool stop;
};

/* What a connection does next; only poll goes through all of them. */
enum phase {
    PHASE_JOIN,
    PHASE_REQUEST,
    PHASE_ACK,
    PHASE_LEAVE,
    PHASE_OVER,
};

struct client {
    struct http_connection http;
    unsigned number; /* over all threads */
    enum phase phase;
    bool in_flight;
    int64_t started_ns;     /* when the exchange began, or should have (--rate) */
    unsigned errors_in_row; /* a connection that only fails is given up */

    /* publish, echo, get: prebuilt requests, used in turn */
    struct buf prebuilt;
    size_t prebuilt_size; /* of one request; all are equally long */
    size_t prebuilt_count;
    size_t prebuilt_next;
    size_t body_size;

    /* consume: request = prefix + offset + suffix, in `scratch` */
    unsigned partition;
    uint64_t offset;
    unsigned empty_partitions;

    /* poll */
    char member_id[HTTP_TEXT_MAX];
    bool dry;
    struct buf acks; /* the ack requests for the last poll, one after the other */
    size_t *ack_end; /* where each ends; owned */
    size_t ack_count;
    size_t ack_next;
    unsigned acks_per_request;

    /* transaction */
    uint64_t producer_id; /* 0: not known yet */
    uint64_t epoch;
    unsigned
        transaction_step; /* 0: to begin; 1..batch: to publish that message; beyond: to commit */

    struct buf scratch;
};

/* --- bench_work.c --------------------------------------------------------------------------- */

void client_init(struct client *c, const struct bench *bench, unsigned number);
void client_fini(struct client *c);

/* Gives the next request, an empty span when the connection has nothing more to do. `stopping`:
 * wind up (leave the group) instead of going on.
 * Borrows: the bytes are the client's, good until the next call. */
struct span work_next(struct bench *bench, struct client *c, bool stopping);

/* Takes a 200's body in; adds to *result when `counted`. Returns false and describes the problem
 * in result->first_error when the reply is not what was asked for. */
bool work_reply(struct bench *bench, struct client *c, bool counted, struct bench_result *result);

/* --- bench_transaction.c: the same for that verb ---------------------------------------------- */

struct span transaction_next(struct bench *bench, struct client *c);
bool transaction_reply(struct bench *bench, struct client *c, bool counted,
                       struct bench_result *result);

/* A request with a body; Content-Length included. `json` may be empty: then there is no body. */
void request_put(struct buf *out, const struct http_target *target, const char *method,
                 const char *path, struct span json);

/* --- bench_json.c --------------------------------------------------------------------------- */

/* How often "key": occurs. Quotes inside JSON strings are escaped, so this never counts text. */
uint64_t json_count_key(struct span json, const char *key);
/* The number behind "key":, which occurs once; false when there is none. */
bool json_find_u64(struct span json, const char *key, uint64_t *out);
/* The text of the string behind "key": at or after *from, moving *from past it. Escapes are left
 * as they are: none occur in what is read here (ids and receipt handles). */
bool json_next_string(struct span json, const char *key, size_t *from, struct span *out);

/* --- bench_run.c, bench_latency.c, bench_report.c --------------------------------------------- */

/* Runs the whole load and adds it to the zeroed *out; false when it could not be run at all (said
 * on stderr). */
bool bench_run(struct bench *bench, struct bench_result *out);
bool bench_run_latency(struct bench *bench, struct bench_result *out);
bool bench_run_parked(struct bench *bench, struct bench_result *out);

/* Notes an error; the first one's text is kept for the report. */
void result_error(struct bench_result *r, uint64_t count, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void result_merge(struct bench_result *into, const struct bench_result *from);
/* Adds what this process has used so far, times `sign`: once with -1, at the end with +1. */
void result_add_usage(struct bench_result *r, double sign);
void bench_report(const struct bench *bench, const struct bench_result *r);

/* "connection refused at http://...: is the broker running? ..." on stderr. */
void bench_say_no_connection(const struct http_target *target, int error);
int64_t bench_now_ns(void);

#endif
