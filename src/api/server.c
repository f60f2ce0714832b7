#include "api/server.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/server_state.h"
#include "node/logline.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/clock.h"

enum {
    CONNECTION_MEMORY =
        14 * 1024, /* libmicrohttpd touches all of it: most of what a parked poll costs */
    THREADS_MAX = 64,
    ON_THE_WAY_MAX = 64, /* connections that no thread has counted yet */
    DRAIN_STEP_MS = 5,
};

#define DRAIN_UNFINISHED_US 1000000LL /* for requests that are still being sent */
#define DRAIN_QUIET_US      100000LL  /* without a request, so that none is on its way */
#define DRAIN_US            10000000LL

uint16_t server_port(const struct server *s)
{
    return s->acceptor.port;
}

int64_t server_start_us(const struct server *s)
{
    return s->start_us;
}

void server_sweep(struct server *s)
{
    uint32_t closed = peers_sweep(&s->peers, clock_mono_us());
    if (closed > 0)
        log_line(LOG_INFO, "slow_requests_closed", "connections=%u", closed);
}

static struct MHD_Daemon *start_daemon(struct server *s)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t threads = s->config->io_threads > 0 ? s->config->io_threads : cores;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    /* A pool of one is not a pool to libmicrohttpd. */
    struct MHD_OptionItem pool[] = {
        {threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL}};
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
            MHD_USE_NO_LISTEN_SOCKET,
        0, NULL, NULL, connection_on_access, s, MHD_OPTION_EXTERNAL_LOGGER, connection_on_log, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, connection_on_target, s, MHD_OPTION_UNESCAPE_CALLBACK,
        connection_keep_escapes, NULL, MHD_OPTION_NOTIFY_CONNECTION, connection_on_change, s,
        MHD_OPTION_NOTIFY_COMPLETED, connection_on_completed, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT, s->acceptor.limit + ON_THE_WAY_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(s->config->idle_timeout_ns / 1000000000),
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
}

enum status server_start(const struct config *config, struct shard *shard, struct server **out,
                         char *problem, size_t problem_size)
{
    *out = NULL;
    struct server *s = new_zero(struct server);
    s->config = config;
    s->shard = shard;
    s->start_us = clock_mono_us();
    s->head_timeout_us = config->idle_timeout_ns / 1000;
    peers_init(&s->peers);
    if (acceptor_open(&s->acceptor, config, problem, problem_size) != ST_OK) {
        peers_fini(&s->peers);
        free(s);
        return ST_IO;
    }
    s->metrics = metrics_new();
    uint64_t first_id = 0;
    randombytes_buf(&first_id, sizeof first_id);
    atomic_init(&s->next_id, first_id);
    s->daemon = start_daemon(s);
    if (s->daemon == NULL) {
        (void)snprintf(problem, problem_size, "cannot start the HTTP threads: %s",
                       strerror(errno)); /* NOLINT(concurrency-mt-unsafe): as above */
        acceptor_stop(&s->acceptor);
        metrics_free(s->metrics);
        peers_fini(&s->peers);
        free(s);
        return ST_IO;
    }
    acceptor_start(&s->acceptor, s->daemon);
    *out = s;
    return ST_OK;
}

void server_drain(struct server *s)
{
    atomic_store(&s->draining, true);
    acceptor_stop(&s->acceptor);
}

bool server_stop(struct server *s)
{
    const int64_t start_us = clock_mono_us();
    int64_t busy_us = start_us; /* a request was under way then */
    for (int64_t now_us = start_us; now_us - start_us < DRAIN_US; now_us = clock_mono_us()) {
        const int64_t waited_us = now_us - start_us;
        if (atomic_load(&s->under_way) > 0)
            busy_us = now_us;
        else if (now_us - busy_us >= DRAIN_QUIET_US)
            break; /* whoever was about to send on an open connection was told to close it */
        if (waited_us > DRAIN_UNFINISHED_US)
            (void)peers_sweep(&s->peers, PEER_NO_DEADLINE - 1); /* requests that do not come on */
        (void)usleep(DRAIN_STEP_MS * 1000);
    }
    if (atomic_load(&s->under_way) > 0)
        log_line(LOG_WARN, "drain_gave_up", "requests=%u waiting_for_shard=%u",
                 atomic_load(&s->under_way), atomic_load(&s->suspended));
    if (atomic_load(&s->suspended) > 0)
        return false; /* the library aborts when it is stopped with suspended connections */
    MHD_stop_daemon(s->daemon);
    peers_fini(&s->peers);
    CHECK(s->acceptor.stop_fd < 0); /* drained before */
    metrics_free(s->metrics);
    free(s);
    return true;
}
