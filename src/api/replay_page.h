/* One step of a replay: from a piece of a dead-letter partition to the entries of one REPLAY
 * command, all for one target topic.
 *
 * A page ends where the command is full, where a message goes to another topic, where its topic is
 * not known yet, or where the piece ends. Pure, but for reading the log. */
#ifndef API_REPLAY_PAGE_H
#define API_REPLAY_PAGE_H

#include "api/request.h"
#include "std/buf.h"

enum {
    REPLAY_TARGETS_MAX = 8,
    REPLAY_PAGE_SIZE_AIM = 1024 * 1024, /* no message is added beyond it; one may be larger */
};

struct replay_target { /* what is known of a topic that messages go to */
    struct span name;  /* qualified; size 0: nothing */
    uint32_t topic_id; /* 0: there is no such topic */
};

struct replay_page {
    /* The caller's. */
    struct span scope;    /* the tenant's prefix */
    struct span target;   /* qualified: where all messages go; size 0: each to its original topic */
    uint32_t partition;   /* of the dead-letter topic */
    uint64_t end;         /* the first offset that is not looked at */
    uint32_t message_max; /* so many are looked at, at most */
    struct replay_target targets[REPLAY_TARGETS_MAX];

    uint64_t next; /* the first offset to look at; moves behind what was */

    /* What was found. */
    struct replay_entry entries[REPLAYS_PER_COMMAND_MAX];
    uint32_t entry_count;
    struct buf batches;       /* of the entries; see replay_page_fini() */
    uint32_t target_topic_id; /* of the entries */
    uint32_t error_count;     /* messages that have nowhere to go */
    uint64_t skipped_count;   /* messages that are gone already, or wait for their time */
    /* Qualified: a topic that is in no slot of `targets`; the message at `next` goes there. */
    uint8_t unknown[QUALIFIED_NAME_SIZE_MAX];
    uint32_t unknown_size; /* 0: that is not why the page ended */
};

/* Reads a page from p->next on. `fetched` was asked for that offset, and has a range.
 * Errors: ST_IO, ST_CORRUPT, with *out_problem; what was found before it counts all the same.
 * Pair: replay_page_fini(). */
enum status replay_page_read(struct replay_page *p, const struct fetch_request *fetched,
                             struct journal_problem *out_problem);
/* Frees the batches; what else was found stays. */
void replay_page_fini(struct replay_page *p);

#endif
