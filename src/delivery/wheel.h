/* One timing wheel for everything that becomes due: leases, sessions, parked polls, join windows.
 *
 * Hierarchical: WHEEL_LEVELS rings of 64 slots; a slot of level n spans 64^n ticks of 1.024 ms. A
 * node lies on the level of the highest bit in which its due tick differs from the wheel's tick, so
 * it moves down at most once a level before it is due. Nodes lie in the things that wait; the wheel
 * allocates nothing. A node is never due early and at most WHEEL_LATE_US late, plus the caller's
 * own delay between two wheel_advance().
 *
 * Use: wheel_advance(), then wheel_pop() until it gives NULL. Cost: all O(1), amortised. */
#ifndef DELIVERY_WHEEL_H
#define DELIVERY_WHEEL_H

#include <stdint.h>

#include "std/list.h"

enum { WHEEL_LEVELS = 8, WHEEL_SLOTS = 64, WHEEL_TICK_SHIFT = 10, WHEEL_LATE_US = 1024 };

struct wheel_node {
    struct list_node link;
    int64_t due_tick;
    uint16_t slot; /* level * WHEEL_SLOTS + slot, or WHEEL_DUE */
    uint16_t kind; /* the caller's: what this node lies in */
};

struct wheel {
    int64_t tick;                    /* all before it, and it, has been taken off the slots */
    uint64_t count;                  /* nodes on the wheel */
    uint64_t occupied[WHEEL_LEVELS]; /* a bit for each slot that is not empty */
    struct list_node slots[WHEEL_LEVELS * WHEEL_SLOTS];
    struct list_node due; /* in order of due time, for wheel_pop() */
};

void wheel_init(struct wheel *w, int64_t now_us);
/* Puts a node on that is not on the wheel. A time that has passed is due at the next
 * wheel_pop(). */
void wheel_add(struct wheel *w, struct wheel_node *node, int64_t due_us);
void wheel_remove(struct wheel *w, struct wheel_node *node); /* one that is on no wheel: nothing */
/* Moves on to now_us; going back does nothing. */
void wheel_advance(struct wheel *w, int64_t now_us);
/* The next node that is due, off the wheel; NULL if there is none. */
struct wheel_node *wheel_pop(struct wheel *w);
/* When to call wheel_advance() next: never after the first node is due, possibly (to move nodes
 * down) before. INT64_MAX: the wheel is empty; 0: wheel_pop() has something now. */
int64_t wheel_next_us(const struct wheel *w);
void wheel_check(const struct wheel *w);

/* When an armed node is due, as the wheel keeps it: at most WHEEL_LATE_US after what was asked. */
static inline int64_t wheel_due_us(const struct wheel_node *node)
{
    return node->due_tick << WHEEL_TICK_SHIFT;
}

static inline bool wheel_armed(const struct wheel_node *node)
{
    return list_linked(&node->link);
}

#endif
