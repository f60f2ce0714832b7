/* HTTP in, HTTP out: libmicrohttpd, one epoll thread a core. A request that waits suspends its
 * connection and is resumed by its op's done().
 *
 * Bounds: connections, header size (14 KiB with what the library needs for them), body sizes
 * (config), idle time, and the time in which a request must have come: a byte now and then does not
 * keep it open. Every reply is JSON but /metrics. What is not even HTTP is answered by
 * libmicrohttpd itself and the connection closed. */
#ifndef API_SERVER_H
#define API_SERVER_H

#include "node/config.h"
#include "node/shard.h"

struct server;

/* Binds and serves. Borrows: config and shard, until server_stop().
 * Errors: ST_IO, with a sentence in `problem` (port taken, no such address). */
enum status server_start(const struct config *config, struct shard *shard, struct server **out,
                         char *problem, size_t problem_size);
uint16_t server_port(const struct server *s);
int64_t server_start_us(const struct server *s); /* clock_mono_us() */
/* No new connections; replies carry `Connection: close` from now on. */
void server_drain(struct server *s);
/* Waits until every request under way is answered (10 s at most; half-sent ones get 1 s), then ends
 * the threads. */
/* False: the shard still has some after that time; nothing was ended and the process must. */
bool server_stop(struct server *s) __attribute__((warn_unused_result));
/* Closes connections whose request does not come on: to be called about every second. */
void server_sweep(struct server *s);

#endif
