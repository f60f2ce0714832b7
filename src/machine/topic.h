/* Topics and their partitions, as the machine keeps them. Read by delivery; changed by apply only.
 */
#ifndef MACHINE_TOPIC_H
#define MACHINE_TOPIC_H

#include "command/command.h"

struct partition {
    struct topic *topic; /* borrowed: its owner */
    uint32_t index;
    uint64_t start_offset;  /* of the oldest retained message */
    uint64_t next_offset;   /* which the next message gets */
    uint64_t message_count; /* retained */
    uint64_t size_bytes;    /* of retained batches */
    void *log;              /* the shard's partition log; not part of the state */
    void *waiting;          /* delivery's list of readers; not part of the state */
};

struct topic {
    uint32_t id; /* never reused */
    char *name;  /* qualified, owned, NUL-terminated */
    uint32_t partition_count;
    struct partition
        *partitions; /* owned; does not move while the topic lives, unless partitions are added */
    uint32_t round_robin; /* partition of the next keyless message */
    struct topic_settings settings;
    int64_t created_us;
};

#endif
