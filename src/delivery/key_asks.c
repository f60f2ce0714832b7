#include "delivery/key_asks.h"

#include <stdlib.h>

#include "delivery/readout.h"
#include "delivery/state.h"
#include "std/alloc.h"
#include "std/check.h"

static void ask(struct delivery *d, struct readout *r)
{
    struct key_order *ko = r->keys;
    struct keys_job *job = new_zero(struct keys_job);
    job->id = ++d->leases.keys_jobs_total;
    job->place = place_of(r->gp, ko->wanted_from);
    job->window = ko->wanted_window;
    job->count_max = KEYS_PER_JOB_MAX;
    job->source = r->gp->partition;
    ko->wanted = false;
    ko->job_id = job->id;
    d->options.read_keys(d->options.user, job);
}

void key_asks_attend(struct delivery *d)
{
    for (struct list_node *node; (node = list_pop(&d->leases.key_news)) != NULL;) {
        struct readout *r = list_entry(node, struct readout, key_news);
        if (r->keys != NULL && r->keys->wanted && !d->draining)
            ask(d, r);
        waiting_wake_owner(d, r->gp);
    }
}

void delivery_keys_end(struct delivery *d, struct keys_job *job, int64_t now_us)
{
    delivery_set_now(d, now_us);
    const struct group_partition *gp = machine_find_place(d->machine, &job->place);
    struct readout *r = gp == NULL ? NULL : gp->readout;
    if (r != NULL && r->keys != NULL && r->keys->job_id == job->id)
        key_order_learn(r, &d->leases, job);
    free(job->keys);
    free(job);
}
