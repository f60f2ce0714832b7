/* Which member of a group reads which partition: sticky, balanced, deterministic. A pure function
 * on plain arrays.
 *
 * What it promises:
 *   - each partition of a topic that somebody subscribes to has one owner, who subscribes to it;
 *   - no partition could move from its owner to a subscriber with at least two partitions fewer;
 *     so members with equal subscriptions differ by one at most;
 *   - a partition keeps its owner unless the two rules above need it to move: none of those that
 *     moved could go back alone; with equal subscriptions the number of moves is the smallest
 *     possible. */
#ifndef MACHINE_ASSIGN_H
#define MACHINE_ASSIGN_H

#include <stdint.h>

#define ASSIGN_NOBODY UINT32_MAX

struct assign_member {
    const uint32_t *topics; /* indexes of topics, ascending, no duplicates */
    uint32_t topic_count;
};

struct assign_topic {
    uint32_t partition_count;
    uint32_t *owners; /* in: indexes of members or ASSIGN_NOBODY; out: the new ones. An owner that
                         does not subscribe any more counts as nobody. */
};

/* Members are in order of seniority: where loads are equal, the earlier one gets a free partition,
 * and the later one gives one away.
 * Cost: O(members + subscriptions of two members * members) for each partition that gets an owner.
 */
void assign(const struct assign_member *members, uint32_t member_count, struct assign_topic *topics,
            uint32_t topic_count);

#endif
