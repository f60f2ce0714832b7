#include "node/logs.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"
#include "std/path.h"

enum { PATH_SIZE_MAX = 640, BUFFERED_BYTES_MAX = 8 * 1024 * 1024, REST_TRIES_MAX = 8 };

void logs_init(struct logs *l, const char *dir, uint64_t segment_bytes, uint32_t awake_max)
{
    *l = (struct logs){.options = {.segment_bytes = segment_bytes}, .awake_max = awake_max};
    list_init(&l->awake);
    CHECK(strlen(dir) < sizeof l->dir);
    memcpy(l->dir, dir, strlen(dir) + 1);
}

void logs_fini(struct logs *l)
{
    free(l->buffered);
    free(l->woken);
    free(l->dirty);
    free(l->doomed.ids);
    *l = (struct logs){0};
}

struct log_slot *logs_slot(const struct partition *partition)
{
    struct log_slot *slot = partition->log;
    CHECK(slot != NULL);
    return slot;
}

enum status logs_open_topic(struct logs *l, const struct topic *topic, uint32_t first)
{
    char dir[PATH_SIZE_MAX];
    for (uint32_t i = first; i < topic->partition_count; i++) {
        struct partition *partition = topic->partitions[i];
        if (path_join(dir, sizeof dir, l->dir, "%" PRIu32 "/%" PRIu32, topic->id, i) != ST_OK)
            return ST_TOO_BIG;
        struct log_slot *slot = new_zero(struct log_slot);
        list_init(&slot->waiters);
        enum status st = partition_log_open(dir, &l->options, partition->start_offset,
                                            partition->next_offset, &slot->log, &l->problem);
        if (st != ST_OK) {
            free(slot);
            l->failed = st;
            return st;
        }
        partition->log = slot;
    }
    return ST_OK;
}

static void slot_forget(struct log_slot **slots, uint32_t *count, const struct log_slot *slot)
{
    for (uint32_t i = 0; i < *count; i++)
        if (slots[i] == slot) {
            slots[i] = slots[--*count];
            return;
        }
}

void logs_close_topic(struct logs *l, const struct topic *topic, bool drop)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        struct log_slot *slot = topic->partitions[i]->log;
        topic->partitions[i]->log = NULL;
        if (slot == NULL)
            continue;
        CHECK(list_empty(&slot->waiters));
        if (slot->woken)
            slot_forget(l->woken, &l->woken_count, slot);
        if (slot->buffered) /* the journal has it, should a replay need it */
            slot_forget(l->buffered, &l->buffered_count, slot);
        if (slot->disk_dirty)
            slot_forget(l->dirty, &l->dirty_count, slot);
        if (list_linked(&slot->awake)) {
            list_remove(&slot->awake);
            l->awake_count--;
        }
        partition_log_close(slot->log);
        free(slot);
    }
    if (!drop)
        return;
    l->doomed.ids = alloc_resize(l->doomed.ids, l->doomed.count + 1U, sizeof *l->doomed.ids);
    l->doomed.ids[l->doomed.count++] = topic->id;
}

static void slot_push(struct log_slot ***slots, uint32_t *count, uint32_t *capacity,
                      struct log_slot *slot)
{
    if (*count == *capacity) {
        *capacity = *capacity == 0 ? 64 : *capacity * 2;
        *slots = alloc_resize(*slots, *capacity, sizeof **slots);
    }
    (*slots)[(*count)++] = slot;
}

void logs_wake(struct logs *l, const struct partition *partition)
{
    struct log_slot *slot = logs_slot(partition);
    if (slot->woken || list_empty(&slot->waiters))
        return;
    slot->woken = true;
    slot_push(&l->woken, &l->woken_count, &l->woken_capacity, slot);
}

/* Some partition has to do without a descriptor. One that is read just now keeps it: then another.
 */
static void put_to_rest(struct logs *l)
{
    for (int tries = 0; tries < REST_TRIES_MAX && l->awake_count > l->awake_max; tries++) {
        struct list_node *node = list_pop(&l->awake);
        CHECK(node != NULL);
        struct log_slot *slot = list_entry(node, struct log_slot, awake);
        bool resting = false;
        if (l->failed == ST_OK)
            l->failed = partition_log_rest(slot->log, &resting);
        if (resting)
            l->awake_count--;
        else
            list_push(&l->awake, &slot->awake);
    }
}

static void wake_slot(struct logs *l, struct log_slot *slot)
{
    if (list_linked(&slot->awake))
        list_remove(&slot->awake);
    else
        l->awake_count++;
    list_push(&l->awake, &slot->awake);
    if (l->awake_count > l->awake_max)
        put_to_rest(l);
}

void logs_append(struct logs *l, struct partition *partition, uint64_t base_offset, int64_t time_us,
                 struct span batch)
{
    if (l->failed != ST_OK)
        return; /* nothing may follow a hole; the shard stops at the end of the round */
    struct log_slot *slot = logs_slot(partition);
    wake_slot(l, slot);
    if (l->failed != ST_OK)
        return;
    l->failed = partition_log_append(slot->log, batch, base_offset, time_us);
    l->buffered_bytes += batch.size;
    logs_wake(l, partition);
    if (!slot->buffered) {
        slot->buffered = true;
        slot_push(&l->buffered, &l->buffered_count, &l->buffered_capacity, slot);
    }
    if (!slot->disk_dirty) {
        slot->disk_dirty = true;
        slot_push(&l->dirty, &l->dirty_count, &l->dirty_capacity, slot);
    }
}

enum status logs_flush(struct logs *l)
{
    for (uint32_t i = 0; i < l->buffered_count; i++) {
        struct log_slot *slot = l->buffered[i];
        slot->buffered = false;
        if (l->failed == ST_OK)
            l->failed = partition_log_flush(slot->log);
    }
    l->buffered_count = 0;
    l->buffered_bytes = 0;
    return l->failed;
}

bool logs_flush_due(const struct logs *l)
{
    return l->buffered_bytes >= BUFFERED_BYTES_MAX;
}

/* Before a reader looks for what was appended. False: the disk fails. */
static bool flush_slot(struct logs *l, struct log_slot *slot)
{
    if (slot->buffered) {
        slot->buffered = false;
        slot_forget(l->buffered, &l->buffered_count, slot);
        if (l->failed == ST_OK)
            l->failed = partition_log_flush(slot->log);
    }
    return l->failed == ST_OK;
}

void logs_find(struct logs *l, struct log_slot *slot, uint64_t offset, struct log_range *out)
{
    *out = (struct log_range){.limit_offset = UINT64_MAX, .last = true};
    if (flush_slot(l, slot))
        partition_log_find(slot->log, offset, out);
}

void logs_seek_time(struct logs *l, struct log_slot *slot, int64_t time_us,
                    struct log_range *out_range, uint64_t *out_offset)
{
    *out_range = (struct log_range){.last = true};
    *out_offset = 0;
    if (flush_slot(l, slot))
        partition_log_seek_time(slot->log, time_us, out_range, out_offset);
}

void logs_take_dirty(struct logs *l, struct log_dirty *out)
{
    *out = (struct log_dirty){0};
    CHECK(l->buffered_count == 0);
    for (uint32_t i = 0; i < l->dirty_count; i++) {
        l->dirty[i]->disk_dirty = false;
        partition_log_take_dirty(l->dirty[i]->log, out);
    }
    l->dirty_count = 0;
}

struct doomed logs_take_doomed(struct logs *l)
{
    struct doomed doomed = l->doomed;
    l->doomed = (struct doomed){0};
    return doomed;
}

enum status logs_remove_doomed(const char *dir, struct doomed *doomed)
{
    char path[PATH_SIZE_MAX];
    enum status st = ST_OK;
    for (uint32_t i = 0; i < doomed->count && st == ST_OK; i++) {
        st = path_join(path, sizeof path, dir, "%" PRIu32, doomed->ids[i]);
        if (st == ST_OK)
            st = partition_log_remove_dir(path);
    }
    free(doomed->ids);
    *doomed = (struct doomed){0};
    return st;
}

enum status logs_remove_strangers(const struct logs *l, const struct machine *keep)
{
    DIR *dir = opendir(l->dir);
    if (dir == NULL)
        return errno == ENOENT ? ST_OK : ST_IO;
    enum status st = ST_OK;
    /* The stream is ours alone. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    for (struct dirent *e = readdir(dir); e != NULL && st == ST_OK; e = readdir(dir)) {
        char *end = NULL;
        unsigned long id = strtoul(e->d_name, &end, 10);
        if (end == e->d_name || *end != '\0' || id > UINT32_MAX)
            continue; /* not ours */
        char path[PATH_SIZE_MAX];
        if (machine_topic_by_id(keep, (uint32_t)id) == NULL &&
            path_join(path, sizeof path, l->dir, "%lu", id) == ST_OK)
            st = partition_log_remove_dir(path);
    }
    (void)closedir(dir);
    return st;
}
