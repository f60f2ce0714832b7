/* The partition logs of a shard: opened, appended to and dropped as the machine's effects say.
 *
 * Each partition's `log` field points to its slot. Thread: the shard's. Appends are buffered, since
 * the journal already has them, and written when a reader looks for them (logs_find), when they are
 * many, and before a checkpoint: a publish to many partitions is not a write to each. The files of
 * a deleted topic stay until a snapshot no longer knows it, because a replay from the older one
 * needs them: they are doomed. */
#ifndef NODE_LOGS_H
#define NODE_LOGS_H

#include "journal/partition_log.h"
#include "machine/machine.h"
#include "node/op.h"

struct log_slot {
    struct partition_log *log; /* owned */
    struct list_node waiters;  /* parked fetches of this partition, by slot_link */
    struct list_node awake;    /* of those that may have a descriptor open */
    bool woken;                /* it is in the list of logs.woken */
    bool buffered;             /* appended to since the last flush */
    bool disk_dirty;           /* appended to since the last logs_take_dirty() */
};

struct doomed {    /* topic ids whose files may go */
    uint32_t *ids; /* owned */
    uint32_t count;
};

struct logs {
    char dir[512];
    struct log_options options;
    struct list_node awake; /* slots that were appended to; the least lately first */
    uint32_t awake_count;
    uint32_t
        awake_max; /* beyond it, who was not appended to for longest gives its descriptor back */
    struct log_slot **buffered; /* owned array of the slots that are */
    uint32_t buffered_count, buffered_capacity;
    uint64_t buffered_bytes; /* appended since the last flush of all */
    struct log_slot **woken; /* owned array of slots with waiters that were woken */
    uint32_t woken_count, woken_capacity;
    struct log_slot **dirty; /* owned array of the slots that are disk_dirty */
    uint32_t dirty_count, dirty_capacity;
    struct doomed doomed;
    enum status failed; /* ST_OK until a write fails; then all stops */
    struct journal_problem problem;
};

void logs_init(struct logs *l, const char *dir, uint64_t segment_bytes, uint32_t awake_max);
void logs_fini(struct logs *l); /* the slots are closed with their topics */

/* Opens the logs of the partitions from `first` on, cut to where the machine says. Errors: as
 * partition_log_open(). */
enum status logs_open_topic(struct logs *l, const struct topic *topic, uint32_t first);
/* Closes them and marks the topic's files doomed (`drop`) or just closes (shutdown). */
void logs_close_topic(struct logs *l, const struct topic *topic, bool drop);
void logs_append(struct logs *l, struct partition *partition, uint64_t base_offset, int64_t time_us,
                 struct span batch);
/* The partition has something to show to parked fetches. */
void logs_wake(struct logs *l, const struct partition *partition);
/* Writes out everything appended so far. Errors: ST_IO, remembered in l->failed. */
enum status logs_flush(struct logs *l);
/* True when so much is buffered that logs_flush() is due. */
bool logs_flush_due(const struct logs *l);
/* Where to read `offset`, as partition_log_find(), of what was appended until now. When the disk
 * fails: nothing is found, l->failed says why. */
void logs_find(struct logs *l, struct log_slot *slot, uint64_t offset, struct log_range *out);
/* Where to read for the first message of a time, as partition_log_seek_time(), likewise. */
void logs_seek_time(struct logs *l, struct log_slot *slot, int64_t time_us,
                    struct log_range *out_range, uint64_t *out_offset);
/* What a snapshot of now needs on the disk first; flushed by then. Gives: both. */
void logs_take_dirty(struct logs *l, struct log_dirty *out);
struct doomed logs_take_doomed(struct logs *l);
/* Removes the files of topics that `keep` does not know. At start, before the replay. */
enum status logs_remove_strangers(const struct logs *l, const struct machine *keep);
enum status logs_remove_doomed(const char *dir, struct doomed *doomed); /* any thread; frees it */

struct log_slot *logs_slot(const struct partition *partition);

#endif
