/* Which messages of a readout are held back because of their keys. A readout has this while one of
 * two rules holds for it; a plain one has nothing of it.
 *
 *   ordered   (the group's ordering is "key"): one message of a key is out at a time. While one is
 *             in flight or delayed, or waits to be delivered again, the others of its key are held
 *             back. Then the first of them goes on: of the highest priority, of these the lowest
 *             offset.
 *   handover  (any group, for a while): the partition has moved to another member, and there are
 *             *foreign* leases, in flight at somebody else than the owner. A message is held back
 *             while there are some of its key, if the first of them was an earlier message.
 *
 * Keys are numbers here (command/key_hash.h), and they are asked for: the log has them, which this
 * thread must not read. Those of messages to come lie in windows, arrays of contiguous offsets; a
 * message whose key is not known stops its lane until it is, a lease whose key is needed and not
 * known stops all lanes. Whoever keeps up with the partition gets the keys as they are appended.
 *
 * Invariants (key_order_check):
 *   - there is an entry for each key >= KEY_HASH_MIN of a lease, and its counts are right;
 *   - a HELD lease is in its key's heap, and its key is blocked: under "ordered" some other lease
 *     of it is out or waits, under "handover" some lease of it is foreign;
 *   - `unknown` are the offsets of the leases whose key is needed and not known. */
#ifndef DELIVERY_KEY_ORDER_H
#define DELIVERY_KEY_ORDER_H

#include "command/key_hash.h"
#include "delivery/lease.h"
#include "machine/offset_set.h"
#include "std/map.h"

enum {
    KEYS_PER_JOB_MAX = 4096, /* also of a window */
    HELD_PER_READOUT_MAX = 16384,
    HELD_MAX = 262144, /* of a shard */
};

enum key_rule { KEY_RULE_NONE, KEY_RULE_HANDOVER, KEY_RULE_ORDERED };

/* One for each lane, whose cursor moves along it, and: */
enum key_window_kind {
    KEY_WINDOW_LATE = PRIORITY_COUNT, /* for late messages of all lanes */
    KEY_WINDOW_TAIL,                  /* the end of the partition, taken as it is appended */
    KEY_WINDOW_COUNT,
    KEY_WINDOW_LEASES = KEY_WINDOW_COUNT /* of a job: for leases, not kept */
};

struct key_window { /* zeroed: empty */
    uint32_t *keys; /* owned */
    uint64_t from;
    uint32_t count;
    uint32_t capacity;
};

struct key_order {
    enum key_rule rule;
    struct map entries; /* struct key_entry by key */
    struct offset_set unknown;
    struct key_window windows[KEY_WINDOW_COUNT];
    uint64_t job_id;      /* of the job under way; 0: none */
    uint64_t wanted_from; /* what the next one is to ask for */
    uint32_t held_count;
    uint8_t wanted_window;
    bool wanted;
    bool stopped; /* a lane stopped because no more may be held back */
};

/* The message that is the next of its lane, but for its key. */
struct key_candidate {
    struct lease *lease; /* that waits; NULL: it has none yet */
    uint64_t offset;
    enum priority lane;
    uint8_t window; /* enum key_window_kind: where its key is looked for by a job */
};

enum key_verdict {
    KEY_FREE,
    KEY_HELD_BACK, /* it is to be held */
    KEY_FULL,      /* it is to be held, but no more may be: only what waits may come */
    KEY_STOP,      /* its key is not known: nothing comes from the lane */
};

struct readout;
struct keys_job;

/* Begins and ends as the group's ordering and foreign leases say. What was held waits afterwards.
 */
void key_order_update(struct readout *r, struct lease_book *book);
/* The partition has another owner, whose holder that is: other leases are foreign now. */
void key_order_hand_over(struct readout *r, struct lease_book *book,
                         const struct lease_holder *owner);
void key_order_free(struct readout *r, struct lease_book *book); /* accepts that there is none */

/* The rest is for readouts that have one. */

/* A lease has changed its state. What becomes free by that waits from now on, and the readout is
 * put on the book's list of news: its owner is to be woken. May end it. */
void key_order_moved(struct readout *r, struct lease_book *book, struct lease *lease,
                     enum lease_state before);
/* KEY_STOP for want of a key puts the readout on the list of news, too: a job is wanted. */
enum key_verdict key_order_judge(struct readout *r, struct lease_book *book,
                                 const struct key_candidate *next);
/* FREE, EXPIRED, RELEASED -> HELD; it is in no lane's heap. */
void key_order_hold(struct readout *r, struct lease_book *book, struct lease *lease);
/* Takes a HELD lease off its key's heap, before another state. */
void key_order_unhold(struct readout *r, struct lease_book *book, struct lease *lease);
/* The message's key, if a window has it; else KEY_UNKNOWN. */
uint32_t key_order_find(const struct key_order *ko, uint64_t offset);
/* The batch was appended: its keys are kept if this readout keeps up with the partition. */
void key_order_append(struct readout *r, uint64_t base_offset, struct span batch);
/* The keys of its job came. Takes job->keys. */
void key_order_learn(struct readout *r, struct lease_book *book, struct keys_job *job);
void key_order_check(const struct readout *r);

static inline bool key_order_awaits_keys(const struct key_order *ko)
{
    return ko != NULL && (ko->wanted || ko->job_id != 0);
}

#endif
