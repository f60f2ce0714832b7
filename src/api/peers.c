#include "api/peers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "std/alloc.h"
#include "std/check.h"

void peers_init(struct peers *p)
{
    CHECK(pthread_mutex_init(&p->mutex, NULL) == 0);
    list_init(&p->list);
}

void peers_fini(struct peers *p)
{
    CHECK(list_empty(&p->list));
    CHECK(pthread_mutex_destroy(&p->mutex) == 0);
}

struct peer *peers_add(struct peers *p, int fd, int64_t deadline_us)
{
    struct peer *peer = new_zero(struct peer);
    peer->fd = fd;
    atomic_init(&peer->deadline_us, deadline_us);
    CHECK(pthread_mutex_lock(&p->mutex) == 0);
    list_push(&p->list, &peer->link);
    CHECK(pthread_mutex_unlock(&p->mutex) == 0);
    return peer;
}

void peers_remove(struct peers *p, struct peer *peer)
{
    CHECK(pthread_mutex_lock(&p->mutex) == 0);
    list_remove(&peer->link);
    CHECK(pthread_mutex_unlock(&p->mutex) == 0);
    free(peer);
}

void peer_expect(struct peer *peer, int64_t deadline_us)
{
    atomic_store_explicit(&peer->deadline_us, deadline_us, memory_order_relaxed);
}

/* All that it sent was read, and nothing can follow. */
static bool has_left(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

uint32_t peers_sweep(struct peers *p, int64_t now_us)
{
    uint32_t closed = 0;
    CHECK(pthread_mutex_lock(&p->mutex) == 0);
    for (struct list_node *n = p->list.next; n != &p->list; n = n->next) {
        struct peer *peer = list_entry(n, struct peer, link);
        int64_t deadline_us = atomic_load_explicit(&peer->deadline_us, memory_order_relaxed);
        if (deadline_us == PEER_NO_DEADLINE || (deadline_us > now_us && !has_left(peer->fd)))
            continue;
        (void)shutdown(peer->fd, SHUT_RDWR);
        peer_expect(peer, PEER_NO_DEADLINE); /* once is enough */
        closed++;
    }
    CHECK(pthread_mutex_unlock(&p->mutex) == 0);
    return closed;
}
