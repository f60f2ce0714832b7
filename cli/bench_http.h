/* A minimal HTTP/1.1 client for the load generator: one request at a time on a kept-alive,
 * nonblocking connection.
 *
 * It costs a send() and a recv() per exchange and copies nothing: the request is the caller's
 * prebuilt bytes, the reply's body stays where recv() put it. One connection belongs to one thread.
 *
 *     http_open() once; then http_start(), and http_advance() whenever the socket is ready, until
 *     it says HTTP_DONE; http_body() is the reply until the next http_start(). */
#ifndef CLI_BENCH_HTTP_H
#define CLI_BENCH_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "std/span.h"

enum { HTTP_TEXT_MAX = 256 };

struct http_target {
    struct sockaddr_storage address;
    socklen_t address_size;
    char host[HTTP_TEXT_MAX]; /* "127.0.0.1:8080", as the Host header wants it */
    char url[HTTP_TEXT_MAX];  /* "http://127.0.0.1:8080", for messages */
};

enum http_progress {
    HTTP_WAIT,   /* call again when the socket is ready */
    HTTP_DONE,   /* a whole reply is here */
    HTTP_BROKEN, /* lost, or not HTTP: `problem` says why; http_close() and open again */
};

struct http_connection {
    int fd; /* -1 when closed */
    const char *problem;

    struct span request; /* borrowed until the reply is complete */
    size_t sent_bytes;

    uint8_t *in; /* reply bytes as they came; owned */
    size_t in_size;
    size_t in_capacity;
    size_t header_size; /* 0 until the blank line was seen */
    size_t body_size;   /* announced; when chunked: decoded so far */
    size_t chunk_next;  /* chunked: where the next size line begins in `in` */
    int status;
    bool chunked;
    bool close; /* the server will close after this reply */
};

/* Resolves "http://host:port". Says what is wrong on stderr and returns false. */
bool http_target_parse(const char *url, struct http_target *out);

void http_init(struct http_connection *c); /* pair: http_fini */
void http_fini(struct http_connection *c);

/* Connects, waiting for the outcome; returns 0 or an errno value. */
int http_open(struct http_connection *c, const struct http_target *target);
void http_close(struct http_connection *c);

/* Begins an exchange; the previous reply is gone.
 * Borrows: request, until the exchange is over. */
enum http_progress http_start(struct http_connection *c, struct span request);
enum http_progress http_advance(struct http_connection *c);

/* One whole exchange, waiting at most timeout_ms; false when it broke (`problem` says why). */
bool http_call(struct http_connection *c, struct span request, int timeout_ms);

static inline struct span http_body(const struct http_connection *c)
{
    return span_of(c->in + c->header_size, c->body_size);
}

#endif
