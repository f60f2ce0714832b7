#include "node/worker.h"

#include "std/check.h"

static void lock(struct worker *w)
{
    CHECK(pthread_mutex_lock(&w->lock) == 0);
}

static void unlock(struct worker *w)
{
    CHECK(pthread_mutex_unlock(&w->lock) == 0);
}

/* Whoever stops us does not take any load off us any more. False: stopped, and nothing is left. */
static bool wait_for_jobs(struct worker *w)
{
    for (;;) {
        list_append(&w->jobs, &w->waiting);
        const bool idle = list_empty(&w->jobs);
        if (w->stopping)
            return !idle;
        if (!idle && (w->options.load_max == 0 || w->load < w->options.load_max))
            return true;
        CHECK(pthread_cond_wait(&w->changed, &w->lock) == 0);
    }
}

static void *worker_main(void *user)
{
    struct worker *w = user;
    (void)pthread_setname_np(pthread_self(), w->options.name);
    lock(w);
    while (wait_for_jobs(w)) {
        unlock(w);
        w->options.run(w->options.user, &w->jobs);
        lock(w);
    }
    unlock(w);
    return NULL;
}

void worker_init(struct worker *w, const struct worker_options *options)
{
    *w = (struct worker){.options = *options};
    list_init(&w->waiting);
    list_init(&w->jobs);
    CHECK(pthread_mutex_init(&w->lock, NULL) == 0);
    CHECK(pthread_cond_init(&w->changed, NULL) == 0);
    CHECK(pthread_create(&w->thread, NULL, worker_main, w) == 0);
}

void worker_stop(struct worker *w)
{
    lock(w);
    w->stopping = true;
    CHECK(pthread_cond_signal(&w->changed) == 0);
    unlock(w);
    CHECK(pthread_join(w->thread, NULL) == 0);
    CHECK(list_empty(&w->waiting) && list_empty(&w->jobs));
}

void worker_fini(struct worker *w)
{
    CHECK(pthread_cond_destroy(&w->changed) == 0);
    CHECK(pthread_mutex_destroy(&w->lock) == 0);
}

void worker_push(struct worker *w, struct list_node *job)
{
    lock(w);
    CHECK(!w->stopping);
    list_push(&w->waiting, job);
    CHECK(pthread_cond_signal(&w->changed) == 0);
    unlock(w);
}

void worker_add_load(struct worker *w, size_t load)
{
    lock(w);
    w->load += load;
    unlock(w);
}

void worker_remove_load(struct worker *w, size_t load)
{
    lock(w);
    CHECK(w->load >= load);
    w->load -= load;
    CHECK(pthread_cond_signal(&w->changed) == 0);
    unlock(w);
}
