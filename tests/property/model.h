/* A naive machine: a small world in plain arrays, every answer computed by walking all of it.
 * Shares no code with the real one and has no assignment of its own: it judges what the real one
 * chose (model_adopt). */
#ifndef TESTS_PROPERTY_MODEL_H
#define TESTS_PROPERTY_MODEL_H

#include "machine/machine.h"

enum {
    MODEL_TOPICS = 5, /* names, and so topics at a time */
    MODEL_PARTITIONS = 5,
    MODEL_GROUPS = 3,
    MODEL_MEMBERS = 7,     /* of a group at a time */
    MODEL_OFFSETS = 4096,  /* of a partition */
    MODEL_DEPARTED = 4096, /* of a group */
    MODEL_NOBODY = -1,
};

struct model_topic {
    bool alive;
    uint32_t id;
    uint32_t partition_count;
    uint32_t round_robin;
    uint64_t next[MODEL_PARTITIONS];
    uint64_t bytes[MODEL_PARTITIONS];
    struct topic_settings settings;
};

struct model_member {
    uint32_t number; /* its id is "m<number>" */
    bool topics[MODEL_TOPICS];
    bool from_latest;
    uint32_t changed_generation;
};

struct model_progress { /* of a group in a partition */
    bool known;
    int owner; /* index among the members */
    uint64_t position;
    bool done[MODEL_OFFSETS];
};

struct model_group {
    bool alive;
    uint32_t id;
    uint32_t generation;
    uint32_t member_count;
    struct model_member members[MODEL_MEMBERS];
    struct model_progress progress[MODEL_TOPICS][MODEL_PARTITIONS];
    uint32_t departed[MODEL_DEPARTED];
    int64_t departed_us[MODEL_DEPARTED];
    uint32_t departed_count;
    bool stale; /* membership or subscriptions changed: the owners are to be adopted */
};

struct model {
    int64_t now_us;
    uint32_t next_topic_id;
    uint32_t next_group_id;
    struct model_topic topics[MODEL_TOPICS];
    struct model_group groups[MODEL_GROUPS];
};

const char *model_topic_name(uint32_t topic); /* "acme/t3", "t0" */
const char *model_group_name(uint32_t group);

/* Each checks the real machine's result and follows. Times are in m->now_us. */
void model_topic_create(struct model *m, uint32_t topic, const struct command_topic_create *cmd,
                        const struct result *result);
void model_topic_delete(struct model *m, uint32_t topic, const struct result *result);
/* How many messages each entry holds, and its bytes, as the sender knows them. */
void model_publish(struct model *m, const struct command_publish *cmd, const uint32_t *targets,
                   const uint32_t *counts, const uint32_t *sizes, const struct result *result);
void model_join(struct model *m, uint32_t group, const struct command_group_join *cmd,
                const struct result *result);
void model_leave(struct model *m, uint32_t group, uint32_t member_number,
                 const struct result *result);
void model_group_delete(struct model *m, uint32_t group, const struct result *result);
void model_ack(struct model *m, const struct command_ack *cmd, const struct result *result);
void model_commit(struct model *m, uint32_t group, const struct command_offsets_commit *cmd,
                  const struct result *result);

/* Compares everything that can be asked. Where a group has a new generation, judges its owners and
 * takes them over. */
void model_compare(struct model *m, const struct machine *machine, struct arena *arena);

#endif
