/* What the files of the machine share, and nobody else sees: the state itself and one function for
 * each command. */
#ifndef MACHINE_STATE_H
#define MACHINE_STATE_H

#include "machine/machine.h"
#include "std/map.h"

struct machine {
    struct machine_effects effects;
    uint64_t applied_index;
    int64_t time_us;
    uint32_t next_topic_id; /* 1 first */
    uint32_t next_group_id; /* 1 first */
    struct topic **topics;  /* owned; by id */
    uint32_t topic_count;
    uint32_t topic_capacity;
    struct group **groups; /* owned; by id */
    uint32_t group_count;
    uint32_t group_capacity;
    uint64_t partition_total;
    struct map topics_by_name;
    struct map topics_by_id;
    struct map groups_by_name;
    struct map groups_by_id;
};

/* Calls an effect if there is one. */
#define EFFECT(m, name, ...)                                                                       \
    do {                                                                                           \
        if ((m)->effects.name != NULL)                                                             \
            (m)->effects.name((m)->effects.user, __VA_ARGS__);                                     \
    } while (0)

/* One for each command, apply_*.c. `out` is zeroed: status is ST_OK. */
#define COMMAND(number, NAME, name)                                                                \
    void apply_##name(struct machine *m, const struct command_##name *cmd, struct arena *arena,    \
                      struct result *out);
#include "command/commands.def"
#undef COMMAND

/* topic.c */
struct topic *topic_new(uint32_t id, struct span name, uint32_t partition_count);
void topic_free(struct topic *t);
void machine_add_topic(struct machine *m, struct topic *t); /* takes t; its id is the highest */
void machine_remove_topic(struct machine *m, struct topic *t);

/* group.c */
struct group *group_new(uint32_t id, struct span name);
void group_free(struct group *g);
void machine_add_group(struct machine *m, struct group *g); /* takes g; its id is the highest */
void machine_remove_group(struct machine *m, struct group *g);

struct member *group_add_member(struct group *g, struct span id, struct span client_id);
void group_remove_member(struct group *g, struct member *member); /* frees it; it owns nothing */
/* The partition of the group, made without position and owner if there is none. */
struct group_partition *group_need_partition(struct group *g, struct partition *p);
void group_add_departed(struct group *g, struct span member_id, int64_t now_us);
void group_load_departed(struct group *g, struct span member_id, int64_t time_us); /* as it was */
void group_partition_free(struct group_partition *gp);
bool member_subscribes(const struct member *member, uint32_t topic_id);
/* Takes topic_ids, ascending. */
void member_subscribe(struct member *member, uint32_t *topic_ids, uint32_t topic_count);

/* rebalance.c */

/* Starts a new generation: assigns anew, creates what members need of partitions, fills
 * member->assigned. Ends with the group_changed effect. */
void group_rebalance(struct machine *m, struct group *g);
/* Fills member->assigned of all members from the owners of partitions. `generation`: what
 * changed_generation becomes where that differs from before; 0: leave it. */
void group_fill_assigned(struct group *g, uint32_t generation);
/* Drops all that the group knows of the topic, subscriptions included. */
void group_drop_topic(struct machine *m, struct group *g, const struct topic *t);

/* query.c: what a member reads, copied into the arena; *out_count of them. */
struct assigned *member_copy_assigned(const struct member *member, struct arena *arena,
                                      uint32_t *out_count);

/* invariants.c: NULL, or which invariant does not hold. */
const char *machine_find_broken(const struct machine *m);

static inline struct span topic_name(const struct topic *t)
{
    return span_text(t->name);
}

#endif
