#include "node/checkpoint.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "journal/snapshot.h"
#include "std/alloc.h"
#include "std/check.h"

enum { SNAPSHOTS_KEPT = 2 };

struct checkpointer {
    struct journal *journal;
    const char *snapshot_dir;
    const char *log_dir;
    void (*done)(void *user, uint64_t index, enum status st);
    void *user;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct checkpoint_job job; /* valid while busy */
    atomic_bool busy;
    bool stopping;
};

static enum status checkpoint_run(struct checkpointer *c, struct checkpoint_job *job)
{
    enum status st = log_sync(&job->dirty);
    if (job->index > 0) {
        if (st == ST_OK) /* a snapshot must not be ahead of the journal on the disk */
            st = journal_flush(c->journal);
        if (st == ST_OK)
            st = snapshot_write(c->snapshot_dir, job->index, buf_span(&job->snapshot));
        if (st == ST_OK) {
            journal_release_below(c->journal, job->index + 1);
            st = snapshot_prune(c->snapshot_dir, SNAPSHOTS_KEPT);
        }
        if (st == ST_OK)
            st = logs_remove_doomed(c->log_dir, &job->doomed);
    }
    free(job->doomed.ids);
    buf_fini(&job->snapshot);
    return st;
}

static void *checkpointer_main(void *user)
{
    struct checkpointer *c = user;
    (void)pthread_setname_np(pthread_self(), "checkpoint");
    CHECK(pthread_mutex_lock(&c->lock) == 0);
    for (;;) {
        while (!atomic_load(&c->busy) && !c->stopping)
            CHECK(pthread_cond_wait(&c->changed, &c->lock) == 0);
        if (!atomic_load(&c->busy))
            break;
        struct checkpoint_job job = c->job;
        CHECK(pthread_mutex_unlock(&c->lock) == 0);
        uint64_t index = job.index;
        enum status st = checkpoint_run(c, &job);
        CHECK(pthread_mutex_lock(&c->lock) == 0);
        atomic_store(&c->busy, false);
        c->done(c->user, index, st);
    }
    CHECK(pthread_mutex_unlock(&c->lock) == 0);
    return NULL;
}

struct checkpointer *checkpointer_new(struct journal *journal, const char *snapshot_dir,
                                      const char *log_dir,
                                      void (*done)(void *user, uint64_t index, enum status st),
                                      void *user)
{
    struct checkpointer *c = new_zero(struct checkpointer);
    c->journal = journal;
    c->snapshot_dir = snapshot_dir;
    c->log_dir = log_dir;
    c->done = done;
    c->user = user;
    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    CHECK(pthread_cond_init(&c->changed, NULL) == 0);
    CHECK(pthread_create(&c->thread, NULL, checkpointer_main, c) == 0);
    return c;
}

void checkpointer_free(struct checkpointer *c)
{
    if (c == NULL)
        return;
    CHECK(pthread_mutex_lock(&c->lock) == 0);
    c->stopping = true;
    CHECK(pthread_cond_signal(&c->changed) == 0);
    CHECK(pthread_mutex_unlock(&c->lock) == 0);
    CHECK(pthread_join(c->thread, NULL) == 0);
    CHECK(pthread_cond_destroy(&c->changed) == 0);
    CHECK(pthread_mutex_destroy(&c->lock) == 0);
    free(c);
}

bool checkpointer_busy(const struct checkpointer *c)
{
    return atomic_load(&c->busy);
}

void checkpointer_submit(struct checkpointer *c, struct checkpoint_job *job)
{
    CHECK(pthread_mutex_lock(&c->lock) == 0);
    CHECK(!atomic_load(&c->busy));
    c->job = *job;
    *job = (struct checkpoint_job){0};
    atomic_store(&c->busy, true);
    CHECK(pthread_cond_signal(&c->changed) == 0);
    CHECK(pthread_mutex_unlock(&c->lock) == 0);
}
