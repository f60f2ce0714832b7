/* The listening socket and the thread that takes connections from it, until there are as many as
 * may be: whoever comes then is told so with a 503 and let go.
 *
 * The limit is the configured one, less where the system does not have so many descriptors: a
 * quarter of them, and at least FILES_MIN, is left to the files, because a broker that cannot open
 * its log has to stop. */
#ifndef API_ACCEPTOR_H
#define API_ACCEPTOR_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "node/config.h"
#include "std/status.h"

struct acceptor {
    struct MHD_Daemon *daemon; /* borrowed: whose threads serve the connections */
    int listen_fd;
    int stop_fd; /* tells the thread to end; -1: it has, or never ran */
    uint16_t port;
    unsigned limit;
    atomic_uint open; /* connections, as the server counts them */
    pthread_t thread;
    int64_t told_us;  /* when the log last said that some were refused */
    unsigned refused; /* since then */
};

/* Binds and listens. Borrows: config, during the call.
 * Errors: ST_IO, with a sentence in `problem` (port taken, no such address). */
enum status acceptor_open(struct acceptor *a, const struct config *config, char *problem,
                          size_t problem_size);
void acceptor_start(struct acceptor *a, struct MHD_Daemon *daemon);
/* Ends the thread and closes the socket; may be called twice, and after acceptor_open() alone. */
void acceptor_stop(struct acceptor *a);

#endif
