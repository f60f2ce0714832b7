/* The reference for `make bench`: libmicrohttpd and nothing else. It takes a body in and answers
 * 200 with a fixed JSON text of the size of a publish result; what the broker reaches against this
 * is the price of being a broker.
 *
 *     echo_server PORT [THREADS]     port 0: any; prints "listening on 127.0.0.1:PORT"
 *
 * Ends on SIGTERM or SIGINT. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "std/alloc.h"
#include "std/buf.h"

enum { BODY_SIZE_MAX = 64 * 1024 * 1024 };

static const char reply[] =
    "{\"results\":[{\"partition\":0,\"offset\":0,\"priority\":\"normal\",\"delayed\":false}]}";

/* NOLINTNEXTLINE(readability-function-size): the signature is libmicrohttpd's */
static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_size, void **state)
{
    (void)user;
    (void)url;
    (void)method;
    (void)version;
    struct buf *body = *state;
    if (body == NULL) {
        body = new_zero(struct buf);
        buf_init(body, BODY_SIZE_MAX);
        *state = body;
        return MHD_YES;
    }
    if (*data_size > 0) {
        buf_put(body, data, *data_size);
        *data_size = 0;
        return MHD_YES;
    }
    char text[sizeof reply];
    memcpy(text, reply, sizeof reply);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof reply - 1, text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return queued;
}

static void completed(void *user, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode why)
{
    (void)user;
    (void)connection;
    (void)why;
    if (*state != NULL) {
        buf_fini(*state);
        free(*state);
        *state = NULL;
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s PORT [THREADS]\n", argv[0]);
        return 2;
    }
    long port = strtol(argv[1], NULL, 10);
    long threads = argc == 3 ? strtol(argv[2], NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
    if (port < 0 || port > UINT16_MAX || threads < 1 || threads > 1024) {
        fprintf(stderr, "%s: bad port or number of threads\n", argv[0]);
        return 2;
    }

    /* Blocked before the daemon's threads exist, so that only sigwait() below sees them. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, &answer,
                         NULL, MHD_OPTION_SOCK_ADDR, (const struct sockaddr *)&address,
                         MHD_OPTION_THREAD_POOL_SIZE, (unsigned)(threads > 1 ? threads : 0),
                         MHD_OPTION_NOTIFY_COMPLETED, &completed, NULL, MHD_OPTION_END);
    if (daemon == NULL) {
        fprintf(stderr, "%s: cannot listen on 127.0.0.1:%ld\n", argv[0], port);
        return 1;
    }
    printf("listening on 127.0.0.1:%u\n",
           (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);

    int received;
    sigwait(&signals, &received);
    MHD_stop_daemon(daemon);
    return 0;
}
