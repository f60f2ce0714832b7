/* The inside of a server, shared by server.c (listening, starting, stopping) and connection.c (what
 * libmicrohttpd calls for each connection and request). Nobody else includes it. */
#ifndef API_SERVER_STATE_H
#define API_SERVER_STATE_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "api/acceptor.h"
#include "api/peers.h"
#include "api/server.h"
#include "node/metrics.h"

struct server {
    const struct config *config;
    struct shard *shard;
    struct MHD_Daemon *daemon;
    struct metrics *metrics;
    struct peers peers;
    struct acceptor acceptor;
    int64_t start_us;
    int64_t head_timeout_us; /* from connecting or the last reply to the end of the headers */
    atomic_bool draining;
    _Atomic uint64_t next_id; /* of requests, from a random start */
    atomic_uint suspended;    /* of them, those that wait for the shard */
    atomic_uint under_way;    /* requests whose headers were seen and whose reply is not sent */
};

/* libmicrohttpd's callbacks; `user` is the server. */
void *connection_on_target(void *user, const char *uri, struct MHD_Connection *connection);
enum MHD_Result connection_on_access(void *user, struct MHD_Connection *connection, const char *url,
                                     const char *method, const char *version, const char *upload,
                                     size_t *upload_size, void **state);
void connection_on_completed(void *user, struct MHD_Connection *connection, void **state,
                             enum MHD_RequestTerminationCode how);
void connection_on_change(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what);
size_t connection_keep_escapes(void *user, struct MHD_Connection *connection, char *text);
void connection_on_log(void *user, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));

#endif
