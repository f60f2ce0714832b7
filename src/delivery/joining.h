/* Join windows: workers that start together get one generation and their final share.
 *
 * A join to a group without members waits JOIN_WINDOW_US; each further join prolongs the wait by as
 * much, JOIN_WINDOW_MAX_US at most from the first; then one GROUP_JOIN command carries them all.
 * Joins to a group with members, and rejoins, are commands at once. Commands are applied in the
 * order of their submit(), so the batches wait for their results in a queue. */
#ifndef DELIVERY_JOINING_H
#define DELIVERY_JOINING_H

#include "delivery/delivery.h"
#include "delivery/wheel.h"

#define JOIN_WINDOW_US     (250 * 1000LL)
#define JOIN_WINDOW_MAX_US (1000 * 1000LL)

enum {
    JOINS_WAITING_MAX = 4096,            /* in windows and under way; beyond: ST_BUSY */
    JOINS_PER_WINDOW_MAX = 1024,         /* a fuller window closes early, ... */
    JOIN_COMMAND_SIZE_MAX = 1024 * 1024, /* ... as does one with a larger command than this */
};

struct join_batch { /* an open window, or a command under way */
    struct list_node link;
    struct wheel_node timer; /* open windows only */
    struct join_request *first;
    struct join_request **last;
    uint32_t count;
    size_t size_bytes;
    int64_t opened_us;
};

struct joining {
    struct list_node windows;   /* open, oldest first; few at a time */
    struct list_node submitted; /* in the order of their commands */
    uint32_t waiting_count;
};

void joining_init(struct joining *j);
void joining_join(struct delivery *d, struct join_request *join);
void joining_timer(struct delivery *d, struct join_batch *window);
void joining_joined(struct delivery *d, const struct command *cmd, const struct result *result);
/* Answers the open windows with ST_NOT_READY; commands under way still get their results. */
void joining_drain(struct delivery *d);
/* Nothing comes any more: answers those as well. */
void joining_fini(struct delivery *d);
void joining_check(const struct joining *j);

#endif
