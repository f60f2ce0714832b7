/* A thread for work that the shard's thread must not do: jobs go in, their owner has them done one
 * after the other. */
#ifndef NODE_WORKER_H
#define NODE_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include "std/list.h"

struct worker_options {
    const char *name; /* of the thread; at most 15 characters */
    /* Takes one of the jobs off the list at least. On the worker's thread. */
    void (*run)(void *user, struct list_node *jobs);
    size_t load_max; /* nothing is run while worker_add_load() is beyond; 0: no bound */
    void *user;
};

struct worker {
    struct worker_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under lock. */
    struct list_node waiting; /* jobs, oldest first */
    size_t load;
    bool stopping;
    /* The thread's. */
    struct list_node jobs; /* taken from `waiting` */
};

/* Starts the thread. Pair: worker_stop(), then worker_fini(). */
void worker_init(struct worker *w, const struct worker_options *options);
/* Finishes what was pushed, whatever the load, then ends the thread. Nothing is pushed any more. */
void worker_stop(struct worker *w);
void worker_fini(struct worker *w);

/* Never blocks for long. Any thread. */
void worker_push(struct worker *w, struct list_node *job);
/* What was made of jobs and is not taken off the worker's hands yet. Any thread, until
 * worker_fini(). */
void worker_add_load(struct worker *w, size_t load);
void worker_remove_load(struct worker *w, size_t load);

#endif
