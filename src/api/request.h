/* One HTTP request, from its first byte to its last: what the server knows of it, what a handler
 * needs, and the op that takes it through the shard.
 *
 * A handler (`void on_x(struct request *r)`) runs on the connection's I/O thread. It either replies
 * (reply.h), or fills r->op and calls request_submit() with the step to run when the op is done:
 * the connection is suspended meanwhile and the step runs on the same I/O thread. A step may submit
 * again. Everything a request allocates comes from r->op.arena and lives until the reply is sent.
 */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "node/config.h"
#include "node/op.h"
#include "node/shard.h"
#include "std/json_write.h"

enum method {
    METHOD_GET,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_OTHER
};

enum { SEGMENTS_MAX = 8, PARAMS_MAX = 3, QUERY_ARGS_MAX = 32, REQUEST_ID_SIZE_MAX = 128 };

struct query_arg {
    struct span name;  /* decoded */
    struct span value; /* decoded; size 0 counts as absent */
};

struct server;
struct metrics;
struct route;
struct MHD_Connection;

struct request {
    struct op op;          /* op.arena is the request's arena */
    struct server *server; /* borrowed, as the next two */
    struct shard *shard;
    const struct config *config;
    struct metrics *metrics; /* borrowed */
    struct MHD_Connection *connection;

    enum method method;
    const struct route *route;
    struct span params[PARAMS_MAX]; /* decoded path parameters, in the order of the pattern */
    const struct query_arg *query;  /* in the arena */
    uint32_t query_count;
    struct span scope;           /* the tenant's prefix "acme/"; empty: the default tenant */
    struct span idempotency_key; /* the header as it came, in the arena; data NULL: there is none */
    char id[REQUEST_ID_SIZE_MAX + 1];
    int64_t start_us; /* clock_mono_us() when the handler began */

    struct buf body;    /* complete when the handler runs */
    uint64_t body_size; /* bytes that came, also those over the limit */

    struct buf out;          /* the reply's body */
    struct json_writer json; /* onto out */
    unsigned http_status;    /* 0: not replied yet */
    const char *content_type;
    int64_t retry_after_s; /* 0: no such header */

    void (*then)(struct request *r);      /* the step after the op */
    void (*on_unsent)(struct request *r); /* handler's: the reply could not be sent; may be NULL */
    /* Handler's: answers instead of the step when the shard does not take an op, so that what was
     * done before it is told; NULL: the error is the answer. */
    void (*on_refused)(struct request *r, enum status st);
    void *state; /* handler's, from the arena */

    /* The server's. */
    enum status refused; /* why the request is answered without its handler */
    const char *refused_detail;
    struct peer *peer; /* the connection's deadline */
    bool started;      /* headers were seen */
    bool suspended;
    bool gone; /* the connection; only clean-up is left */
    bool head;
    bool close;              /* the connection, after the reply */
    unsigned framings;       /* headers that say where the body ends; more than one is an attack */
    uint64_t announced_size; /* Content-Length */
    const struct span *segments; /* the decoded path, in the arena */
    uint32_t segment_count;
    unsigned allow; /* of a 405: bits 1 << enum method */
};

/* Hands r->op (its kind and parameters are set) to the shard; `then` runs when it is done. If the
 * shard does not take it, the request is answered with the error. The last thing a handler or step
 * does. */
void request_submit(struct request *r, void (*then)(struct request *r));

/* The same for a command, which is encoded here, and for a query. */
void request_submit_command(struct request *r, const struct command *cmd,
                            void (*then)(struct request *r));
void request_submit_query(struct request *r, struct query query, void (*then)(struct request *r));

/* Decimal digits with an optional minus, within int64. */
bool request_parse_int(struct span text, int64_t *out);
/* The value of a query argument; size 0 when absent or empty. */
struct span request_query(const struct request *r, const char *name);
/* Query arguments by type. False: the request has been answered with 400. Absent: *out stays as it
 * is. */
bool request_query_int(struct request *r, const char *name, int64_t lowest, int64_t highest,
                       int64_t *out);
bool request_query_duration(struct request *r, const char *name, int64_t *out_us); /* >= 0 */
bool request_query_bool(struct request *r, const char *name, bool *out);

/* A path parameter as a name, qualified with the scope, in the arena. False: answered (404 for an
 * address that cannot exist, 400 where the contract says so). */
bool request_topic_param(struct request *r, unsigned param,
                         struct span *out); /* 404 if it cannot be */
bool request_topic_create_param(struct request *r, unsigned param,
                                struct span *out); /* 400 if bad */
/* The same for a name that comes from elsewhere. */
bool request_topic_create_name(struct request *r, struct span name, struct span *out);
bool request_group_param(struct request *r, unsigned param, struct span *out); /* 400 if bad */
/* A path parameter as a non-negative integer; 400. */
bool request_int_param(struct request *r, unsigned param, const char *what, int64_t *out);

/* Rules of contract 2.6, on unqualified names. */
bool name_is_topic(struct span name);         /* may be created */
bool name_is_topic_address(struct span name); /* or is the dead-letter topic of one */
bool name_is_dead_letter(struct span name);   /* ends as those do; also of qualified ones */
bool name_is_group(struct span name);
bool name_is_tenant(struct span name);
struct span request_qualify(struct request *r, struct span name); /* in the arena */
struct span name_strip(struct span qualified);                    /* without the tenant */

#endif
