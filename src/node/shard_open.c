/* Recovery: lock the data directory, load the newest snapshot, cut the partition logs to it, replay
 * the journal. And the way back: closing. */
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "journal/disk.h"
#include "journal/snapshot.h"
#include "node/logline.h"
#include "node/shard_state.h"
#include "node/topic_defaults.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/clock.h"
#include "std/path.h"

enum { PATH_SIZE_MAX = 640 };

static void effect_topic_created(void *user, const struct topic *topic)
{
    struct shard *s = user;
    if (logs_open_topic(&s->logs, topic, 0) != ST_OK)
        shard_fail(s, "partition_log");
}

static void effect_partitions_added(void *user, const struct topic *topic, uint32_t first)
{
    struct shard *s = user;
    if (logs_open_topic(&s->logs, topic, first) != ST_OK)
        shard_fail(s, "partition_log");
}

static void effect_topic_deleted(void *user, const struct topic *topic)
{
    struct shard *s = user;
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        struct list_node *node = NULL;
        while ((node = list_pop(&logs_slot(topic->partitions[i])->waiters)) != NULL)
            list_entry(node, struct fetch_request, slot_link)->wait_us = 0; /* answered when due */
    }
    s->waiters_due_us = 0;
    delivery_on_topic_deleted(s->delivery, topic);
    logs_close_topic(&s->logs, topic, true);
}

static void effect_append(void *user, struct partition *partition, uint64_t base_offset,
                          int64_t time_us, struct span batch)
{
    struct shard *s = user;
    logs_append(&s->logs, partition, base_offset, time_us, batch);
    if (!s->replaying)
        delivery_on_append(s->delivery, partition, base_offset, batch);
}

static void effect_became_visible(void *user, struct partition *partition,
                                  const struct due_entry *entries, uint32_t count)
{
    struct shard *s = user;
    if (s->replaying)
        return;
    logs_wake(&s->logs, partition);
    delivery_on_became_visible(s->delivery, partition, entries, count);
}

static void effect_due_changed(void *user, struct partition *partition)
{
    struct shard *s = user;
    if (!s->replaying)
        delivery_on_due_changed(s->delivery, partition);
}

static void effect_became_gone(void *user, struct partition *partition, uint64_t offset)
{
    struct shard *s = user;
    if (s->replaying)
        return;
    logs_wake(&s->logs, partition); /* an aborted one may have held readers back */
    delivery_on_became_gone(s->delivery, partition, offset);
}

static void effect_transaction_begun(void *user, struct transaction *t)
{
    struct shard *s = user;
    if (!s->replaying)
        delivery_on_transaction_begun(s->delivery, t);
}

static void effect_transaction_ended(void *user, const struct transaction *t)
{
    struct shard *s = user;
    if (!s->replaying)
        delivery_on_transaction_ended(s->delivery, t);
}

static void effect_group_changed(void *user, struct group *group)
{
    struct shard *s = user;
    if (!s->replaying)
        delivery_on_group_changed(s->delivery, group);
}

static void effect_member_gone(void *user, struct group *group, struct member *member)
{
    struct shard *s = user;
    if (!s->replaying)
        delivery_on_member_gone(s->delivery, group, member);
}

static void effect_group_deleted(void *user, struct group *group)
{
    struct shard *s = user;
    if (!s->replaying)
        delivery_on_group_deleted(s->delivery, group);
}

static void effect_position_moved(void *user, struct group_partition *gp)
{
    struct shard *s = user;
    if (!s->replaying)
        delivery_on_position_moved(s->delivery, gp);
}

static void effect_group_partition_gone(void *user, struct group_partition *gp)
{
    struct shard *s = user;
    if (!s->replaying)
        delivery_on_group_partition_gone(s->delivery, gp);
}

static void journal_synced(void *user, int64_t took_us, size_t bytes)
{
    struct shard *s = user;
    struct shard_counters *c = &s->counters;
    atomic_fetch_add_explicit(&c->syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->sync_us, (unsigned long long)took_us, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->journal_bytes, bytes, memory_order_relaxed);
    CHECK(pthread_mutex_lock(&c->sync_lock) == 0);
    histogram_add(&c->sync_histogram, (uint64_t)took_us);
    CHECK(pthread_mutex_unlock(&c->sync_lock) == 0);
}

static enum status problem_at(struct journal_problem *problem, const char *path, const char *what,
                              enum status st)
{
    (void)snprintf(problem->path, sizeof problem->path, "%.500s", path);
    problem->position = 0;
    problem->what = what;
    return st;
}

/* How many partition logs may have a descriptor open: a share of what the process may have, of
 * which connections get most (api/acceptor.c). */
static uint32_t logs_awake_max(void)
{
    enum { SHARE = 8, LEAST = 16, MOST = 100000 };
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0 || descriptors.rlim_cur / SHARE > MOST)
        return MOST;
    uint32_t share = (uint32_t)(descriptors.rlim_cur / SHARE);
    return share > LEAST ? share : LEAST;
}

static enum status make_dirs(struct shard *s, struct journal_problem *problem)
{
    const char *root = s->config->data_dir;
    char shard_dir[PATH_SIZE_MAX], log_dir[PATH_SIZE_MAX];
    if (path_join(shard_dir, sizeof shard_dir, root, "shard-0") != ST_OK ||
        path_join(log_dir, sizeof log_dir, shard_dir, "logs") != ST_OK ||
        path_join(s->journal_dir, sizeof s->journal_dir, shard_dir, "journal") != ST_OK ||
        path_join(s->snapshot_dir, sizeof s->snapshot_dir, shard_dir, "snapshots") != ST_OK ||
        strlen(log_dir) >= sizeof s->logs.dir)
        return problem_at(problem, root, "the path is too long", ST_TOO_BIG);
    const char *dirs[] = {root, shard_dir, s->journal_dir, s->snapshot_dir, log_dir};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
        if (disk_make_dir(dirs[i]) != ST_OK)
            return problem_at(problem, dirs[i], "cannot create the directory", ST_IO);
    if (disk_sync_dir(root) != ST_OK || disk_sync_dir(shard_dir) != ST_OK)
        return problem_at(problem, root, "cannot sync the directory", ST_IO);
    logs_init(&s->logs, log_dir, (uint64_t)s->config->log_segment_bytes, logs_awake_max());
    return ST_OK;
}

static enum status take_lock(struct shard *s, struct journal_problem *problem)
{
    char path[PATH_SIZE_MAX];
    if (path_join(path, sizeof path, s->config->data_dir, "lock") != ST_OK)
        return problem_at(problem, s->config->data_dir, "the path is too long", ST_TOO_BIG);
    if (disk_open(path, O_RDWR | O_CREAT, &s->lock_fd) != ST_OK)
        return problem_at(problem, path, "cannot open the lock file", ST_IO);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return problem_at(problem, path, "another broker uses this data directory", ST_LOCKED);
    return ST_OK;
}

/* The key of receipt handles: made once, so that handles stay good across restarts. */
static enum status load_receipt_key(struct shard *s, struct journal_problem *problem)
{
    char path[PATH_SIZE_MAX], fresh[PATH_SIZE_MAX];
    const char *root = s->config->data_dir;
    if (path_join(path, sizeof path, root, "receipt.key") != ST_OK ||
        path_join(fresh, sizeof fresh, root, "receipt.key.new") != ST_OK)
        return problem_at(problem, root, "the path is too long", ST_TOO_BIG);
    int fd = -1;
    size_t size = 0;
    uint8_t *key = s->receipt_key.bytes;
    if (access(path, F_OK) != 0) {
        randombytes_buf(key, RECEIPT_KEY_SIZE);
        struct iovec iov = {.iov_base = key, .iov_len = RECEIPT_KEY_SIZE};
        enum status st = disk_open(fresh, O_RDWR | O_CREAT | O_TRUNC, &fd);
        if (st == ST_OK) {
            st = disk_write_sync(fd, &iov, 1, 0);
            disk_close(fd);
        }
        if (st == ST_OK)
            st = disk_rename(fresh, path);
        if (st == ST_OK)
            st = disk_sync_dir(root);
        return st == ST_OK ? ST_OK : problem_at(problem, path, "cannot write the key", ST_IO);
    }
    if (disk_open(path, O_RDONLY, &fd) != ST_OK)
        return problem_at(problem, path, "cannot open the key", ST_IO);
    enum status st = disk_read(fd, key, RECEIPT_KEY_SIZE, 0, &size);
    disk_close(fd);
    if (st != ST_OK || size != RECEIPT_KEY_SIZE)
        return problem_at(problem, path, "the key is not 16 bytes", ST_CORRUPT);
    return ST_OK;
}

static void open_topic(void *user, struct topic *topic)
{
    struct shard *s = user;
    if (s->logs.failed == ST_OK)
        (void)logs_open_topic(&s->logs, topic, 0);
}

static enum status load_snapshot(struct shard *s, struct journal_problem *problem)
{
    struct buf payload = {0};
    enum status st = snapshot_read_newest(s->snapshot_dir, &s->snapshot_index, &payload, problem);
    if (st == ST_OK && s->snapshot_index > 0) {
        st = machine_load(s->machine, buf_span(&payload));
        if (st != ST_OK)
            st = problem_at(problem, s->snapshot_dir, "the newest snapshot cannot be read", st);
    }
    buf_fini(&payload);
    if (st != ST_OK)
        return st;
    s->last_time_us = machine_time_us(s->machine);
    if (logs_remove_strangers(&s->logs, s->machine) != ST_OK)
        return problem_at(problem, s->logs.dir, "cannot remove files of deleted topics", ST_IO);
    machine_each_topic(s->machine, open_topic, s);
    if (s->logs.failed != ST_OK)
        *problem = s->logs.problem;
    return s->logs.failed;
}

static enum status replay_record(void *user, uint64_t index, struct span record)
{
    struct shard *s = user;
    enum status st = shard_apply(s, index, record, NULL, 0);
    arena_clear(&s->scratch);
    if (st == ST_OK && logs_flush_due(&s->logs))
        (void)logs_flush(&s->logs);
    return st != ST_OK ? st : s->logs.failed;
}

static enum status open_journal(struct shard *s, struct journal_problem *problem)
{
    struct journal_options options = {
        .dir = s->journal_dir,
        .segment_bytes = (uint64_t)s->config->journal_segment_bytes,
        .durability = s->config->durability == 0 ? DURABILITY_FSYNC : DURABILITY_OS,
        .done = shard_journal_done,
        .synced = journal_synced,
        .user = s,
    };
    enum status st = journal_open(&options, &s->journal, problem);
    if (st != ST_OK)
        return st;
    s->replaying = true;
    st = journal_replay(s->journal, s->snapshot_index + 1, replay_record, s, problem);
    s->replaying = false;
    if (st == ST_OK && logs_flush(&s->logs) != ST_OK)
        st = s->logs.failed;
    if (s->logs.failed != ST_OK)
        *problem = s->logs.problem;
    return st;
}

static void shard_init(struct shard *s, const struct config *config)
{
    s->config = config;
    s->lock_fd = -1;
    s->waiters_due_us = INT64_MAX;
    list_init(&s->waiters);
    inbox_init(&s->inbox);
    arena_init(&s->scratch);
    CHECK(pthread_mutex_init(&s->counters.sync_lock, NULL) == 0);
    s->machine = machine_new(&(struct machine_effects){
        .topic_created = effect_topic_created,
        .partitions_added = effect_partitions_added,
        .transaction_begun = effect_transaction_begun,
        .transaction_ended = effect_transaction_ended,
        .topic_deleted = effect_topic_deleted,
        .append = effect_append,
        .group_changed = effect_group_changed,
        .member_gone = effect_member_gone,
        .group_deleted = effect_group_deleted,
        .position_moved = effect_position_moved,
        .became_visible = effect_became_visible,
        .due_changed = effect_due_changed,
        .became_gone = effect_became_gone,
        .group_partition_gone = effect_group_partition_gone,
        .user = s,
    });
    struct delivery_options options = {
        .submit = shard_submit_own,
        .connected = shard_connected,
        .dead_letter = shard_dead_letter,
        .read_keys = shard_read_keys,
        .user = s,
    };
    randombytes_buf(&options.boot_id, sizeof options.boot_id);
    s->delivery = delivery_new(s->machine, &options);
}

enum status shard_open(const struct config *config, struct shard **out,
                       struct journal_problem *out_problem)
{
    *out = NULL;
    *out_problem = (struct journal_problem){0};
    struct shard *s = new_zero(struct shard);
    shard_init(s, config);
    int64_t start_us = clock_mono_us();
    enum status st = make_dirs(s, out_problem);
    if (st == ST_OK)
        st = take_lock(s, out_problem);
    if (st == ST_OK)
        st = load_receipt_key(s, out_problem);
    if (st == ST_OK)
        st = load_snapshot(s, out_problem);
    if (st == ST_OK)
        st = open_journal(s, out_problem);
    if (st != ST_OK) {
        if (out_problem->path[0] == '\0')
            (void)problem_at(out_problem, config->data_dir,
                             "a file cannot be written or read; is the disk full?", st);
        shard_close(s);
        return st;
    }
    s->checkpointer =
        checkpointer_new(s->journal, s->snapshot_dir, s->logs.dir, shard_checkpoint_done, s);
    s->dead_letters = dead_letters_new(&(struct dead_letters_options){
        .settings = topic_dead_letter_settings(config),
        .ready = shard_dead_letters_ready,
        .user = s,
    });
    s->key_reader =
        key_reader_new(&(struct key_reader_options){.ready = shard_keys_ready, .user = s});
    log_line(LOG_INFO, "recovered",
             "snapshot_index=%" PRIu64 " applied_index=%" PRIu64 " took_ms=%" PRId64,
             s->snapshot_index, machine_applied_index(s->machine),
             (clock_mono_us() - start_us) / 1000);
    *out = s;
    return ST_OK;
}

static void close_topic(void *user, struct topic *topic)
{
    struct shard *s = user;
    logs_close_topic(&s->logs, topic, false);
}

void shard_close(struct shard *s)
{
    if (s == NULL)
        return;
    CHECK(!s->started);
    checkpointer_free(s->checkpointer);
    dead_letters_free(s->dead_letters);
    key_reader_free(s->key_reader);
    journal_close(s->journal);
    delivery_free(s->delivery);
    machine_each_topic(s->machine, close_topic, s);
    machine_free(s->machine);
    logs_fini(&s->logs);
    arena_fini(&s->scratch);
    free(s->queue.items);
    inbox_fini(&s->inbox);
    CHECK(pthread_mutex_destroy(&s->counters.sync_lock) == 0);
    if (s->lock_fd >= 0)
        disk_close(s->lock_fd);
    free(s);
}

struct shard_counters *shard_get_counters(struct shard *s)
{
    return &s->counters;
}
