#include "delivery/notes.h"

#include <stdlib.h>

#include "delivery/readout.h"
#include "delivery/state.h"
#include "std/alloc.h"
#include "std/check.h"

void notes_fini(struct notes *n)
{
    free(n->leases);
    free(n->releases);
    *n = (struct notes){0};
}

static void flush_leases(struct delivery *d)
{
    struct notes *n = &d->notes;
    for (uint32_t done = 0; done < n->lease_count;) {
        uint32_t left = n->lease_count - done;
        uint32_t count = left < LEASES_PER_COMMAND_MAX ? left : LEASES_PER_COMMAND_MAX;
        struct command cmd = {.type = COMMAND_LEASE,
                              .lease = {.as_of_index = n->as_of_index,
                                        .entry_count = count,
                                        .entries = &n->leases[done]}};
        d->options.submit(d->options.user, &cmd);
        done += count;
    }
    n->lease_count = 0;
}

static void flush_releases(struct delivery *d)
{
    struct notes *n = &d->notes;
    for (uint32_t done = 0; done < n->release_count;) {
        uint32_t left = n->release_count - done;
        uint32_t count = left < RELEASES_PER_COMMAND_MAX ? left : RELEASES_PER_COMMAND_MAX;
        struct command cmd = {.type = COMMAND_RELEASE,
                              .release = {.as_of_index = n->as_of_index,
                                          .entry_count = count,
                                          .entries = &n->releases[done]}};
        d->options.submit(d->options.user, &cmd);
        done += count;
    }
    n->release_count = 0;
}

void notes_flush(struct delivery *d)
{
    flush_leases(d);
    flush_releases(d);
}

/* What is noted from now on belongs to another moment than what was gathered, if the machine has
 * moved on. */
static void begin_moment(struct delivery *d)
{
    uint64_t index = machine_applied_index(d->machine);
    if (index != d->notes.as_of_index)
        notes_flush(d);
    d->notes.as_of_index = index;
}

static struct lease_entry *add_lease_entry(struct delivery *d, const struct group_partition *gp,
                                           uint64_t offset)
{
    struct notes *n = &d->notes;
    begin_moment(d);
    flush_releases(d);
    if (n->lease_count == n->lease_capacity) {
        n->lease_capacity = n->lease_capacity == 0 ? 64 : n->lease_capacity * 2;
        n->leases = alloc_resize(n->leases, n->lease_capacity, sizeof *n->leases);
    }
    struct lease_entry *entry = &n->leases[n->lease_count++];
    *entry = (struct lease_entry){.place = place_of(gp, offset), .count = 1};
    return entry;
}

void notes_leased(struct delivery *d, const struct group_partition *gp,
                  const struct delivered *messages, uint32_t count, int64_t deadline_us)
{
    struct lease_entry *last = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct delivered *message = &messages[i];
        if (last != NULL && message->delivery_count == 1 && last->delivery_count == 1 &&
            message->offset == last->place.offset + last->count) {
            last->count++;
            continue;
        }
        last = add_lease_entry(d, gp, message->offset);
        last->delivery_count = message->delivery_count;
        last->deadline_us = deadline_us;
        last->first_us = message->first_us;
    }
}

void notes_extended(struct delivery *d, const struct lease *lease, int64_t deadline_us)
{
    struct lease_entry *entry = add_lease_entry(d, lease->readout->gp, lease->offset);
    entry->delivery_count = lease->delivery_count;
    entry->extended = true;
    entry->deadline_us = deadline_us;
    entry->first_us = lease->first_us;
}

void notes_released(struct delivery *d, const struct lease *lease)
{
    struct notes *n = &d->notes;
    CHECK(lease->state == LEASE_RELEASED || lease->state == LEASE_HELD);
    begin_moment(d);
    flush_leases(d);
    if (n->release_count == n->release_capacity) {
        n->release_capacity = n->release_capacity == 0 ? 64 : n->release_capacity * 2;
        n->releases = alloc_resize(n->releases, n->release_capacity, sizeof *n->releases);
    }
    n->releases[n->release_count++] = (struct release_entry){
        .place = place_of(lease->readout->gp, lease->offset),
        .lease_id = lease->id,
        .delivery_count = lease->delivery_count,
        .kind = RELEASE_RETURNED,
        .first_us = lease->first_us,
    };
}
