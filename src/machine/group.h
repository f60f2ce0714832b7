/* Consumer groups, as the machine keeps them. Read by delivery; changed by apply only. */
#ifndef MACHINE_GROUP_H
#define MACHINE_GROUP_H

#include "command/command.h"
#include "command/query.h"
#include "machine/offset_set.h"
#include "machine/topic.h"
#include "std/map.h"

struct group;

struct member {
    struct group *group;   /* borrowed */
    uint32_t rank;         /* index among the group's members */
    struct span id;        /* owned; any bytes, as the next */
    struct span client_id; /* owned */
    uint32_t *topic_ids;   /* owned: the subscription, ascending */
    uint32_t topic_count;
    int64_t session_us;
    int64_t visibility_us; /* 0: the topic's own */
    uint32_t in_flight_max;
    uint32_t deliveries_max; /* 0: the topic's own */
    bool from_latest;
    bool cooperative;
    int64_t joined_us;
    struct group_partition *
        *assigned; /* owned array, borrowed members; by topic name, then partition */
    uint32_t assigned_count;
    uint32_t changed_generation; /* in which `assigned` last changed */
    void *session;               /* delivery's; not part of the state */
};

/* A message that was delivered more than once, or given back: what is known of its deliveries. */
struct retry {
    uint64_t offset;
    uint32_t delivery_count; /* >= 1: so many deliveries count */
    int64_t not_before_us;   /* it may be delivered again from then on */
    bool returned;           /* given back (nack, leave); else it is in flight until then */
    int64_t first_us;        /* of the first delivery */
    uint8_t *reason;         /* owned; of the last nack that gave one */
    uint32_t reason_size;    /* 0: none */
    uint32_t index;          /* among the retries of its group_partition */
};

/* What a group knows of one partition. Exists as long as topic and group do, once it was assigned
 * or committed to.
 *
 * What was handed out and is not done is either in `retries`, or, delivered once, in `out`: then it
 * may be delivered again from out_until_us on. Delivery knows better while it runs; this is what a
 * restart begins with. Done messages may linger in `out` above the position; they count no more. */
struct group_partition {
    struct group *group;                  /* borrowed */
    struct partition *partition;          /* borrowed */
    struct member *owner;                 /* borrowed; NULL: nobody reads it now */
    struct member *successor;             /* borrowed; to whom the owner, who is cooperative, is to
                                             hand it over; NULL: nobody */
    int64_t revoke_by_us;                 /* until when; 0: no successor */
    uint64_t owner_index;                 /* of the command that made the owner its owner */
    uint32_t owner_generation;            /* the first one in which it is */
    struct group_partition *next_reader;  /* of the same partition; the list begins there */
    struct group_partition **reader_slot; /* what points at us */
    uint64_t position;                    /* all below is done or gone */
    struct offset_set done;               /* above the position */
    struct offset_set out;                /* at or above the position */
    struct offset_set reserved;           /* acked in transactions that are open; not done */
    int64_t out_until_us;                 /* the latest deadline of those; 0: none */
    uint64_t rewound_index;               /* of the last commit that went back; 0: none did */
    struct map retries_by_offset;
    struct retry **retries; /* owned, in no order; none below the position, none done */
    uint32_t retry_count;
    uint32_t retry_capacity;
    void *readout; /* delivery's: leases, cursor; not part of the state */
};

struct departed {          /* who left lately, so that leaving twice is harmless */
    struct span member_id; /* owned */
    int64_t time_us;
};

struct group {
    uint32_t id; /* never reused */
    char *name;  /* qualified, owned */
    uint32_t generation;
    enum ordering ordering; /* never UNSET */
    int64_t created_us;
    struct rebalance_stats rebalances;
    uint32_t open_rebalances;   /* of those counted: not ended yet */
    bool revocation_expired;    /* during them */
    int64_t rebalance_began_us; /* the first of them */
    struct member **members;    /* owned; longest-serving first */
    uint32_t member_count;
    struct map by_member_id;             /* of the same members */
    struct group_partition **partitions; /* owned; by topic id, then partition */
    uint32_t partition_count;
    struct departed *departed; /* owned; oldest first, at most DEPARTED_MAX and DEPARTED_KEPT_US */
    uint32_t departed_count;
    void *revocation; /* delivery's timer; not part of the state */
};

enum { DEPARTED_MAX = 1024 };
#define REVOCATION_TIMEOUT_US (60LL * 1000 * 1000)
#define DEPARTED_KEPT_US      (10LL * 60 * 1000 * 1000)

/* All borrowed; NULL if there is none. Cost: O(1) for a member, O(log partitions) for the next two.
 */
struct member *group_find_member(const struct group *g, struct span member_id);
bool group_has_departed(const struct group *g, struct span member_id, int64_t now_us);
struct group_partition *group_find_partition(const struct group *g, uint32_t topic_id,
                                             uint32_t partition);
/* How many visible messages the group has not done. Cost: O(bitmap chunks between its position and
 * the end). */
uint64_t group_partition_lag(const struct group_partition *gp);
/* Done for the group, or gone for all. */
bool group_partition_is_done(const struct group_partition *gp, uint64_t offset);
struct retry *group_partition_find_retry(const struct group_partition *gp, uint64_t offset);

#endif
