#include "serve.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/server.h"
#include "journal/journal.h"
#include "node/config.h"
#include "node/logline.h"
#include "node/shard.h"
#include "std/check.h"

enum {
    PROBLEMS_SIZE_MAX = 65536,
    QUOTED_SIZE_MAX = 1024,
    FAILURE_POLL_MS = 200,
    SWEEP_EVERY = 5, /* of those */
};

/* A connection is a descriptor, and so is a log segment: take what the system allows. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Signals are taken by the main thread alone, in wait_for_end(); threads inherit the mask. */
static void block_signals(sigset_t *out)
{
    CHECK(sigemptyset(out) == 0);
    CHECK(sigaddset(out, SIGTERM) == 0);
    CHECK(sigaddset(out, SIGINT) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, out, NULL) == 0);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* Until a signal comes (true) or the disk fails (false). */
static bool wait_for_end(const sigset_t *signals, const struct shard *shard, struct server *server)
{
    unsigned steps = 0;
    const struct timespec step = {.tv_nsec = FAILURE_POLL_MS * 1000000L};
    for (;;) {
        int got = sigtimedwait(signals, NULL, &step);
        if (got > 0) {
            log_line(LOG_INFO, "stopping", "signal=%s", got == SIGTERM ? "SIGTERM" : "SIGINT");
            return true;
        }
        CHECK(errno == EAGAIN || errno == EINTR);
        if (++steps % SWEEP_EVERY == 0)
            server_sweep(server);
        if (shard_has_failed(shard))
            return false;
    }
}

static void report_problem(const struct journal_problem *problem, enum status st)
{
    char path[QUOTED_SIZE_MAX];
    log_line(LOG_ERROR, "cannot_start", "file=%s position=%" PRIu64 " problem=\"%s\" status=%s",
             log_quote(path, sizeof path, problem->path, strlen(problem->path)), problem->position,
             problem->what != NULL ? problem->what : status_text(st), status_name(st));
}

/* The order matters: no new connections, then the parked requests are answered (with Connection:
 * close), then what is journalled is finished and a snapshot written. */
static void stop(struct server *server, struct shard *shard)
{
    server_drain(server);
    shard_drain(shard);
    if (!server_stop(server)) {
        log_line(LOG_ERROR, "stopped", "clean=false problem=\"the disk does not answer\"");
        _exit(1); /* what was answered is in the journal */
    }
    shard_stop(shard);
    shard_close(shard);
}

static int run(const struct config *config)
{
    sigset_t signals;
    block_signals(&signals);
    struct shard *shard = NULL;
    struct journal_problem problem;
    enum status st = shard_open(config, &shard, &problem);
    if (st != ST_OK) {
        report_problem(&problem, st);
        return 1;
    }
    shard_start(shard);
    struct server *server = NULL;
    char why[QUOTED_SIZE_MAX];
    if (server_start(config, shard, &server, why, sizeof why) != ST_OK) {
        log_line(LOG_ERROR, "cannot_start", "problem=\"%s\"", why);
        shard_stop(shard);
        shard_close(shard);
        return 1;
    }
    char host[QUOTED_SIZE_MAX];
    (void)snprintf(host, sizeof host, strchr(config->listen_host, ':') ? "[%s]" : "%s",
                   config->listen_host);
    log_line(LOG_INFO, "started", "http=%s:%u version=%s commit=%s", host, server_port(server),
             GQ_VERSION, GQ_COMMIT);
    bool asked = wait_for_end(&signals, shard, server);
    stop(server, shard);
    log_line(LOG_INFO, "stopped", "clean=%s", asked ? "true" : "false");
    return asked ? 0 : 1;
}

int serve_run(int argc, char *const *argv)
{
    struct buf text;
    buf_init(&text, PROBLEMS_SIZE_MAX);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            buf_put_text(&text, "usage: goqueue serve [--flag value]...\n\n");
            config_help(&text);
            printf("%.*s", SPAN_ARG(buf_span(&text)));
            buf_fini(&text);
            return 0;
        }
    struct config config;
    int code = 2;
    if (config_load(&config, argc, argv, &text)) {
        log_set_level((enum log_level)config.log_level);
        raise_descriptor_limit();
        code = run(&config);
    } else {
        (void)fprintf(stderr, "goqueue serve: the settings are not valid:\n%.*s",
                      SPAN_ARG(buf_span(&text)));
    }
    config_fini(&config);
    buf_fini(&text);
    return code;
}
