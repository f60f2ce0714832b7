#include "machine/machine.h"

#include <stdlib.h>

#include "machine/state.h"
#include "std/alloc.h"
#include "std/check.h"

struct machine *machine_new(const struct machine_effects *effects)
{
    struct machine *m = new_zero(struct machine);
    if (effects != NULL)
        m->effects = *effects;
    m->next_topic_id = 1;
    m->next_group_id = 1;
    producer_book_init(&m->producers);
    transaction_book_init(&m->transactions);
    idempotency_book_init(&m->idempotency);
    return m;
}

void machine_free(struct machine *m)
{
    if (m == NULL)
        return;
    for (uint32_t i = 0; i < m->group_count; i++)
        group_free(m->groups[i]);
    for (uint32_t i = 0; i < m->topic_count; i++)
        topic_free(m->topics[i]);
    resolved_book_fini(&m->resolved);
    transaction_book_fini(&m->transactions, &m->producers);
    producer_book_fini(&m->producers);
    idempotency_book_fini(&m->idempotency);
    map_fini(&m->topics_by_name);
    map_fini(&m->topics_by_id);
    map_fini(&m->groups_by_name);
    map_fini(&m->groups_by_id);
    free(m->topics);
    free(m->groups);
    free(m);
}

void machine_apply(struct machine *m, const struct command *cmd, uint64_t index,
                   struct arena *arena, struct result *out)
{
    CHECK(index == m->applied_index + 1);
    CHECK(cmd->time_us >= m->time_us);
    m->applied_index = index;
    m->time_us = cmd->time_us;
    *out = (struct result){.status = ST_OK};
    switch (cmd->type) {
#define COMMAND(number, NAME, name)                                                                \
    case COMMAND_##NAME:                                                                           \
        apply_##name(m, &cmd->name, arena, out);                                                   \
        break;
#include "command/commands.def"
#undef COMMAND
    default:
        CHECK(false); /* a command that was not decoded */
    }
}

uint64_t machine_applied_index(const struct machine *m)
{
    return m->applied_index;
}

int64_t machine_time_us(const struct machine *m)
{
    return m->time_us;
}

struct topic *machine_find_topic(const struct machine *m, struct span qualified_name)
{
    return map_find(&m->topics_by_name, qualified_name);
}

struct topic *machine_topic_by_id(const struct machine *m, uint32_t id)
{
    return map_find_number(&m->topics_by_id, id);
}

struct group *machine_find_group(const struct machine *m, struct span qualified_name)
{
    return map_find(&m->groups_by_name, qualified_name);
}

struct group *machine_group_by_id(const struct machine *m, uint32_t id)
{
    return map_find_number(&m->groups_by_id, id);
}

const struct resolved *machine_find_resolved(const struct machine *m, uint64_t lease_id)
{
    return resolved_book_find(&m->resolved, lease_id, m->time_us);
}

void machine_each_topic(const struct machine *m, void (*fn)(void *user, struct topic *), void *user)
{
    for (uint32_t i = 0; i < m->topic_count; i++)
        fn(user, m->topics[i]);
}

void machine_each_transaction(const struct machine *m, void (*fn)(void *user, struct transaction *),
                              void *user)
{
    for (struct list_node *n = m->transactions.open.next; n != &m->transactions.open; n = n->next)
        fn(user, list_entry(n, struct transaction, by_age));
}

void machine_each_group(const struct machine *m, void (*fn)(void *user, struct group *), void *user)
{
    for (uint32_t i = 0; i < m->group_count; i++)
        fn(user, m->groups[i]);
}
