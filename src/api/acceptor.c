#include "api/acceptor.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/logline.h"
#include "std/check.h"
#include "std/clock.h"

enum {
    LISTEN_BACKLOG = 1024,
    PAUSE_MS = 10,
    FILES_MIN = 64,
    FILES_SHARE = 4, /* one of so many descriptors */
    REPLY_SIZE_MAX = 512,
};

#define TELL_EVERY_US (10 * 1000000LL)

static int bind_listener(const struct addrinfo *address)
{
    const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    const int error = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = error;
    return -1;
}

static unsigned connection_limit(const struct config *config)
{
    const uint64_t wanted = (uint64_t)config->connections_max;
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0 || descriptors.rlim_cur == RLIM_INFINITY)
        return (unsigned)wanted;
    const uint64_t all = descriptors.rlim_cur;
    const uint64_t share = all / FILES_SHARE;
    const uint64_t files = share > FILES_MIN ? share : FILES_MIN;
    const uint64_t possible = all > files ? all - files : 1;
    if (possible >= wanted)
        return (unsigned)wanted;
    log_line(LOG_WARN, "connections_limited",
             "connections=%" PRIu64 " wanted=%" PRIu64 " descriptors=%" PRIu64, possible, wanted,
             all);
    return (unsigned)possible;
}

enum status acceptor_open(struct acceptor *a, const struct config *config, char *problem,
                          size_t problem_size)
{
    *a = (struct acceptor){.listen_fd = -1, .stop_fd = -1};
    char port[8];
    (void)snprintf(port, sizeof port, "%u", config->listen_port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(config->listen_host, port, &hints, &found);
    if (failed != 0) {
        (void)snprintf(problem, problem_size, "cannot listen on %s: %s", config->http_listen,
                       gai_strerror(failed));
        return ST_IO;
    }
    a->listen_fd = bind_listener(found);
    const int error = errno;
    freeaddrinfo(found);
    union {
        struct sockaddr_in6 v6;
        struct sockaddr_in v4;
        struct sockaddr any;
    } bound = {0};
    socklen_t size = sizeof bound;
    if (a->listen_fd < 0) {
        (void)snprintf(problem, problem_size, "cannot listen on %s: %s%s", config->http_listen,
                       strerror(error), /* NOLINT(concurrency-mt-unsafe): glibc's is safe */
                       error == EADDRINUSE ? " (is another broker running there?)" : "");
        return ST_IO;
    }
    CHECK(getsockname(a->listen_fd, &bound.any, &size) == 0);
    a->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    a->limit = connection_limit(config);
    return ST_OK;
}

/* One line for many refusals: a client that is refused tries again. */
static void tell(struct acceptor *a, const char *reason)
{
    const int64_t now_us = clock_mono_us();
    a->refused++;
    if (a->told_us != 0 && now_us - a->told_us < TELL_EVERY_US)
        return;
    log_line(LOG_WARN, "connections_refused", "reason=%s refused=%u open=%u limit=%u", reason,
             a->refused, atomic_load(&a->open), a->limit);
    a->told_us = now_us;
    a->refused = 0;
}

/* What of the request is here already is read first: closing over unread bytes resets the
 * connection, and the client may never see the answer. */
static void refuse(int fd)
{
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) == (ssize_t)sizeof bytes)
        continue;
    char body[REPLY_SIZE_MAX / 2];
    char reply[REPLY_SIZE_MAX];
    int body_size = snprintf(body, sizeof body,
                             "{\"error\":\"too many open connections\",\"status\":%d,\"code\":"
                             "\"%s\"}",
                             status_http(ST_BUSY), status_code(ST_BUSY));
    int size = snprintf(reply, sizeof reply,
                        "HTTP/1.1 %d Service Unavailable\r\nContent-Type: application/json\r\n"
                        "Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s",
                        status_http(ST_BUSY), body_size, body);
    (void)send(fd, reply, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    (void)close(fd);
}

static void accept_one(struct acceptor *a)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int fd =
        accept4(a->listen_fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
        tell(a, errno == EMFILE || errno == ENFILE ? "descriptors" : "memory");
        (void)usleep(PAUSE_MS * 1000); /* until one is closed */
    } else if (fd >= 0 && atomic_load(&a->open) >= a->limit) {
        tell(a, "limit");
        refuse(fd);
    } else if (fd >= 0) {
        (void)MHD_add_connection(a->daemon, fd, (struct sockaddr *)&address, size);
    }
}

/* Connections are accepted here and dealt out by turns: left to themselves, the first thread to
 * wake takes all that are waiting, and one core does the work of two. */
static void *acceptor_main(void *user)
{
    struct acceptor *a = user;
    (void)pthread_setname_np(pthread_self(), "acceptor");
    struct pollfd fds[] = {{.fd = a->listen_fd, .events = POLLIN},
                           {.fd = a->stop_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
        if (fds[1].revents != 0)
            break;
        accept_one(a);
    }
    return NULL;
}

void acceptor_start(struct acceptor *a, struct MHD_Daemon *daemon)
{
    CHECK(a->listen_fd >= 0);
    a->daemon = daemon;
    a->stop_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(a->stop_fd >= 0);
    CHECK(pthread_create(&a->thread, NULL, acceptor_main, a) == 0);
}

void acceptor_stop(struct acceptor *a)
{
    if (a->stop_fd >= 0) {
        const uint64_t one = 1;
        CHECK(write(a->stop_fd, &one, sizeof one) == (ssize_t)sizeof one);
        CHECK(pthread_join(a->thread, NULL) == 0);
        (void)close(a->stop_fd);
        a->stop_fd = -1;
    }
    if (a->listen_fd >= 0)
        (void)close(a->listen_fd);
    a->listen_fd = -1;
}
