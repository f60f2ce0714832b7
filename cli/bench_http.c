#include "cli/bench_http.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "std/alloc.h"
#include "std/check.h"

enum {
    IN_CAPACITY_FIRST = 64 * 1024,
    REPLY_SIZE_MAX = 256 * 1024 * 1024,
    CONNECT_TIMEOUT_MS = 5000,
};

/* --- where to ------------------------------------------------------------------------------- */

bool http_target_parse(const char *url, struct http_target *out)
{
    static const char scheme[] = "http://";
    *out = (struct http_target){0};
    if (strncasecmp(url, scheme, sizeof scheme - 1) != 0) {
        fprintf(stderr, "--url %s: only http://host:port is understood\n", url);
        return false;
    }
    const char *authority = url + sizeof scheme - 1;
    size_t size = strcspn(authority, "/?#");
    if (size == 0 || size >= sizeof out->host - sizeof scheme ||
        strcmp(authority + size, "/") > 0) {
        fprintf(stderr, "--url %s: expected http://host:port without a path\n", url);
        return false;
    }
    snprintf(out->host, sizeof out->host, "%.*s", (int)size, authority);
    snprintf(out->url, sizeof out->url, "%s%.*s", scheme, (int)size, authority);

    char host[HTTP_TEXT_MAX];
    snprintf(host, sizeof host, "%s", out->host);
    char *name = host;
    char *after_name = host;
    if (host[0] == '[' && strchr(host, ']') != NULL) { /* an IPv6 address */
        name = host + 1;
        after_name = strchr(host, ']');
        *after_name++ = '\0';
    }
    char *colon = strrchr(after_name, ':');
    if (colon != NULL)
        *colon = '\0';
    const char *port = colon == NULL ? "80" : colon + 1;
    char *port_end;
    unsigned long number = strtoul(port, &port_end, 10);
    if (*port < '0' || *port > '9' || *port_end != '\0' || number == 0 || number > UINT16_MAX) {
        fprintf(stderr, "--url %s: the port is a number from 1 to 65535\n", url);
        return false;
    }

    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(name, port, &hints, &found);
    if (rc != 0) {
        fprintf(stderr, "--url %s: %s\n", url, gai_strerror(rc));
        return false;
    }
    /* "localhost" has both kinds of address, and the broker listens on the old one by default. */
    const struct addrinfo *best = found;
    while (best != NULL && best->ai_family != AF_INET)
        best = best->ai_next;
    if (best == NULL)
        best = found;
    CHECK(best != NULL);
    memcpy(&out->address, best->ai_addr, best->ai_addrlen);
    out->address_size = best->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* --- connection ----------------------------------------------------------------------------- */

void http_init(struct http_connection *c)
{
    *c = (struct http_connection){.fd = -1};
    c->in_capacity = IN_CAPACITY_FIRST;
    c->in = alloc_bytes(c->in_capacity);
}

void http_fini(struct http_connection *c)
{
    http_close(c);
    free(c->in);
    c->in = NULL;
}

void http_close(struct http_connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

int http_open(struct http_connection *c, const struct http_target *target)
{
    CHECK(c->fd == -1);
    int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);

    int error = 0;
    if (connect(fd, (const struct sockaddr *)&target->address, target->address_size) != 0)
        error = errno;
    if (error == EINPROGRESS) {
        struct pollfd pfd = {.fd = fd, .events = POLLOUT};
        int ready = poll(&pfd, 1, CONNECT_TIMEOUT_MS);
        socklen_t size = sizeof error;
        if (ready == 0)
            error = ETIMEDOUT;
        else if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
            error = errno;
    }
    if (error != 0) {
        close(fd);
        return error;
    }
    c->fd = fd;
    c->problem = NULL;
    return 0;
}

static enum http_progress broken(struct http_connection *c, const char *problem)
{
    c->problem = problem;
    return HTTP_BROKEN;
}

/* --- reply parser --------------------------------------------------------------------------- */

static void in_reserve(struct http_connection *c, size_t capacity)
{
    if (capacity <= c->in_capacity)
        return;
    while (c->in_capacity < capacity)
        c->in_capacity *= 2;
    c->in = alloc_resize(c->in, c->in_capacity, 1);
}

/* Whether a header line `name: value` has this name; gives the value without blanks around it. */
static bool header_is(struct span line, const char *name, struct span *out_value)
{
    size_t size = strlen(name);
    if (line.size <= size || line.data[size] != ':' ||
        strncasecmp((const char *)line.data, name, size) != 0)
        return false;
    const uint8_t *from = line.data + size + 1;
    const uint8_t *end = line.data + line.size;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *out_value = span_of(from, (size_t)(end - from));
    return true;
}

static bool value_is(struct span value, const char *text)
{
    return value.size == strlen(text) &&
           strncasecmp((const char *)value.data, text, value.size) == 0;
}

static bool parse_length(struct span value, size_t *out)
{
    size_t length = 0;
    if (value.size == 0)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        length = length * 10 + (size_t)(value.data[i] - '0');
        if (length > REPLY_SIZE_MAX)
            return false;
    }
    *out = length;
    return true;
}

/* Reads status line and headers, once the blank line is at header_size - 4. */
static const char *parse_header(struct http_connection *c)
{
    const uint8_t *at = c->in;
    const uint8_t *end = c->in + c->header_size - 2; /* the last line keeps its CRLF */
    if (c->header_size < sizeof "HTTP/1.1 200\r\n\r\n" - 1 || memcmp(at, "HTTP/1.", 7) != 0)
        return "the reply is not HTTP/1.x";
    c->status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0');
    c->close = at[7] == '0';

    bool has_length = c->status == 204 || c->status == 304;
    for (;;) {
        at = memmem(at, (size_t)(end - at), "\r\n", 2);
        CHECK(at != NULL);
        at += 2;
        if (at == end)
            break;
        const uint8_t *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        CHECK(line_end != NULL);
        struct span line = span_of(at, (size_t)(line_end - at));
        struct span value;
        if (header_is(line, "Content-Length", &value)) {
            if (!parse_length(value, &c->body_size))
                return "bad Content-Length";
            has_length = true;
        } else if (header_is(line, "Transfer-Encoding", &value)) {
            c->chunked = value_is(value, "chunked");
        } else if (header_is(line, "Connection", &value)) {
            c->close = c->close || value_is(value, "close");
        }
    }
    if (c->chunked) {
        c->body_size = 0;
        c->chunk_next = c->header_size;
    } else if (!has_length) {
        return "the reply has neither Content-Length nor chunks";
    }
    return NULL;
}

/* Reads one hexadecimal size line; gives where the chunk's data begins. */
static bool parse_chunk_size(struct span line, size_t *out)
{
    size_t size = 0;
    size_t i = 0;
    for (; i < line.size; i++) {
        int digit = line.data[i];
        if (digit >= '0' && digit <= '9')
            digit -= '0';
        else if ((digit | 32) >= 'a' && (digit | 32) <= 'f')
            digit = (digit | 32) - 'a' + 10;
        else
            break;
        size = size * 16 + (size_t)digit;
        if (size > REPLY_SIZE_MAX)
            return false;
    }
    *out = size;
    return i > 0 && (i == line.size || line.data[i] == ';' || line.data[i] == ' ');
}

/* Moves whole chunks together, right behind the header, so that the body is one run of bytes. */
static enum http_progress advance_chunks(struct http_connection *c)
{
    for (;;) {
        const uint8_t *at = c->in + c->chunk_next;
        size_t left = c->in_size - c->chunk_next;
        const uint8_t *line_end = memmem(at, left, "\r\n", 2);
        if (line_end == NULL)
            return left > HTTP_TEXT_MAX ? broken(c, "bad chunk") : HTTP_WAIT;
        size_t size;
        if (!parse_chunk_size(span_of(at, (size_t)(line_end - at)), &size))
            return broken(c, "bad chunk");
        if (size == 0) /* trailers, if any, end with a blank line, as the header does */
            return memmem(line_end, left - (size_t)(line_end - at), "\r\n\r\n", 4) == NULL
                       ? HTTP_WAIT
                       : HTTP_DONE;
        const uint8_t *data = line_end + 2;
        size_t whole = (size_t)(data - at) + size + 2;
        if (left < whole)
            return HTTP_WAIT;
        memmove(c->in + c->header_size + c->body_size, data, size);
        c->body_size += size;
        c->chunk_next += whole;
        if (c->body_size > REPLY_SIZE_MAX)
            return broken(c, "the reply is too large");
    }
}

/* Looks at the bytes that are here. */
static enum http_progress parse_reply(struct http_connection *c, size_t old_size)
{
    if (c->header_size == 0) {
        size_t from = old_size < 3 ? 0 : old_size - 3;
        const uint8_t *blank = memmem(c->in + from, c->in_size - from, "\r\n\r\n", 4);
        if (blank == NULL)
            return HTTP_WAIT;
        c->header_size = (size_t)(blank - c->in) + 4;
        const char *problem = parse_header(c);
        if (problem != NULL)
            return broken(c, problem);
    }
    if (c->chunked)
        return advance_chunks(c);
    size_t whole = c->header_size + c->body_size;
    if (c->in_size > whole)
        return broken(c, "bytes after the reply");
    return c->in_size == whole ? HTTP_DONE : HTTP_WAIT;
}

/* --- exchange ------------------------------------------------------------------------------- */

static enum http_progress send_rest(struct http_connection *c)
{
    while (c->sent_bytes < c->request.size) {
        ssize_t n = send(c->fd, c->request.data + c->sent_bytes, c->request.size - c->sent_bytes,
                         MSG_NOSIGNAL);
        if (n >= 0)
            c->sent_bytes += (size_t)n;
        else if (errno == EAGAIN)
            return HTTP_WAIT;
        else if (errno != EINTR)
            return broken(c, strerror(errno)); // NOLINT(concurrency-mt-unsafe): glibc's is safe
    }
    return HTTP_WAIT;
}

enum http_progress http_start(struct http_connection *c, struct span request)
{
    CHECK(c->fd >= 0);
    CHECK(request.size > 0);
    c->request = request;
    c->sent_bytes = 0;
    c->in_size = 0;
    c->header_size = 0;
    c->body_size = 0;
    c->status = 0;
    c->chunked = false;
    c->close = false;
    return send_rest(c);
}

enum http_progress http_advance(struct http_connection *c)
{
    if (c->sent_bytes < c->request.size && send_rest(c) == HTTP_BROKEN)
        return HTTP_BROKEN;
    for (;;) { /* until EAGAIN, not until a short read: with epoll's edges an end could be missed */
        size_t want = c->header_size == 0 || c->chunked ? c->in_size + IN_CAPACITY_FIRST / 2
                                                        : c->header_size + c->body_size + 1;
        if (want > REPLY_SIZE_MAX)
            return broken(c, "the reply is too large");
        in_reserve(c, want);
        size_t room = c->in_capacity - c->in_size;
        ssize_t n = recv(c->fd, c->in + c->in_size, room, 0);
        if (n == 0)
            return broken(c, "the server closed the connection");
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? HTTP_WAIT : broken(c, strerror(errno)); // NOLINT
        size_t old_size = c->in_size;
        c->in_size += (size_t)n;
        enum http_progress progress = parse_reply(c, old_size);
        if (progress != HTTP_WAIT)
            return progress;
    }
}

bool http_call(struct http_connection *c, struct span request, int timeout_ms)
{
    enum http_progress progress = http_start(c, request);
    while (progress == HTTP_WAIT) {
        bool sending = c->sent_bytes < c->request.size;
        struct pollfd pfd = {.fd = c->fd, .events = (short)(sending ? POLLIN | POLLOUT : POLLIN)};
        int ready = poll(&pfd, 1, timeout_ms);
        if (ready == 0)
            progress = broken(c, "no reply in time");
        else if (ready > 0)
            progress = http_advance(c);
        else if (errno != EINTR)
            progress = broken(c, strerror(errno)); // NOLINT
    }
    return progress == HTTP_DONE;
}
