/* Intrusive doubly linked rings: a head and the nodes that lie in the things on the list.
 *
 * A node is on one list at a time or on none; a zeroed node is on none. All O(1). */
#ifndef STD_LIST_H
#define STD_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "std/check.h"

struct list_node {
    struct list_node *prev;
    struct list_node *next; /* NULL: on no list */
};

/* The thing of `type` whose member `field` is *node. */
#define list_entry(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

static inline void list_init(struct list_node *head)
{
    head->prev = head;
    head->next = head;
}

static inline bool list_linked(const struct list_node *node)
{
    return node->next != NULL;
}

static inline bool list_empty(const struct list_node *head)
{
    return head->next == head;
}

static inline void list_push(struct list_node *head, struct list_node *node) /* at the end */
{
    CHECK(head->prev != NULL);
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list_node *node)
{
    CHECK(node->prev != NULL);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = NULL;
    node->next = NULL;
}

/* The first node, off the list; NULL if there is none. */
static inline struct list_node *list_pop(struct list_node *head)
{
    struct list_node *first = head->next;
    if (first == head)
        return NULL;
    head->next = first->next;
    first->next->prev = head;
    first->prev = NULL;
    first->next = NULL;
    return first;
}

/* Moves all of `from` behind the last of `to`; `from` is empty afterwards. */
static inline void list_append(struct list_node *to, struct list_node *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
