/* What replies about groups have in common. */
#ifndef API_GROUP_REPLY_H
#define API_GROUP_REPLY_H

#include "api/request.h"

/* Replies about groups are at most so large: 256 topics of 1024 partitions with the longest names;
 * none is answered with 500 for its size. */
enum { GROUP_REPLY_SIZE_MAX = 256 * 1024 * 1024 };

/* A member with an array of labels, "<topic>-<partition>". */
void group_write_labels(struct request *r, const char *name, const struct assigned *assigned,
                        uint32_t count);
/* An array of {"topic", "partition"}: as a member of that name, and as a value. */
void group_write_partitions(struct request *r, const char *name, const struct assigned *assigned,
                            uint32_t count);
void group_write_partition_list(struct request *r, const struct assigned *assigned, uint32_t count);
/* The member "topics". */
void group_write_topics(struct request *r, const struct group_info *group);
const char *group_state(const struct group_info *group); /* "stable", "rebalancing", "dead" */
const char *protocol_text(bool cooperative);
/* The members of a rebalance statistic, into an open object. */
void group_write_rebalance_stats(struct request *r, const struct rebalance_stats *stats);

#endif
