/* Connections and by when each must have sent what we wait for: the guard against clients that send
 * a byte now and then, which libmicrohttpd's idle timeout does not see.
 *
 * Thread: any; peer_expect() is one relaxed store. A peer belongs to the list from add to remove.
 */
#ifndef API_PEERS_H
#define API_PEERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "std/list.h"

#define PEER_NO_DEADLINE INT64_MAX

struct peer {
    struct list_node link;
    int fd; /* borrowed; open as long as the peer is listed */
    _Atomic int64_t deadline_us;
    void *pending; /* the connection's: a request whose head has not come in full; may be NULL */
};

struct peers {
    pthread_mutex_t mutex;
    struct list_node list;
};

void peers_init(struct peers *p);
void peers_fini(struct peers *p); /* all were removed */
struct peer *peers_add(struct peers *p, int fd, int64_t deadline_us);
void peers_remove(struct peers *p, struct peer *peer); /* before its fd is closed; frees it */
void peer_expect(struct peer *peer, int64_t deadline_us);
/* Shuts the sockets of those that are late, or that left before they sent what we wait for (an
 * edge-triggered epoll may miss that); their owner then closes them. Gives how many. Cost: a recv()
 * for each that waits. */
uint32_t peers_sweep(struct peers *p, int64_t now_us);

#endif
