#include "delivery/wheel.h"

#include "std/check.h"

enum { SLOT_BITS = 6, SLOT_MASK = WHEEL_SLOTS - 1, WHEEL_DUE = WHEEL_LEVELS * WHEEL_SLOTS };
#define TICK_MAX ((1LL << (SLOT_BITS * WHEEL_LEVELS)) - 1)

_Static_assert(WHEEL_SLOTS == 1 << SLOT_BITS, "a level's slots are one 64-bit word");

static int64_t tick_floor(int64_t us)
{
    int64_t tick = us >> WHEEL_TICK_SHIFT;
    return tick < 0 ? 0 : tick > TICK_MAX ? TICK_MAX : tick;
}

static int64_t tick_ceil(int64_t us)
{
    int64_t late = (1 << WHEEL_TICK_SHIFT) - 1;
    return us > INT64_MAX - late ? TICK_MAX : tick_floor(us + late);
}

void wheel_init(struct wheel *w, int64_t now_us)
{
    *w = (struct wheel){.tick = tick_floor(now_us)};
    for (unsigned i = 0; i < WHEEL_LEVELS * WHEEL_SLOTS; i++)
        list_init(&w->slots[i]);
    list_init(&w->due);
}

static void place(struct wheel *w, struct wheel_node *node)
{
    if (node->due_tick <= w->tick) {
        node->slot = WHEEL_DUE;
        list_push(&w->due, &node->link);
        return;
    }
    uint64_t differs = (uint64_t)(node->due_tick ^ w->tick);
    unsigned level = (63U - (unsigned)__builtin_clzll(differs)) / SLOT_BITS;
    unsigned slot = (unsigned)(node->due_tick >> (SLOT_BITS * level)) & SLOT_MASK;
    CHECK(level < WHEEL_LEVELS);
    node->slot = (uint16_t)(level * WHEEL_SLOTS + slot);
    list_push(&w->slots[node->slot], &node->link);
    w->occupied[level] |= 1ULL << slot;
}

void wheel_add(struct wheel *w, struct wheel_node *node, int64_t due_us)
{
    CHECK(!wheel_armed(node));
    node->due_tick = tick_ceil(due_us);
    place(w, node);
    w->count++;
}

void wheel_remove(struct wheel *w, struct wheel_node *node)
{
    if (!wheel_armed(node))
        return;
    list_remove(&node->link);
    w->count--;
    if (node->slot != WHEEL_DUE && list_empty(&w->slots[node->slot]))
        w->occupied[node->slot / WHEEL_SLOTS] &= ~(1ULL << (node->slot % WHEEL_SLOTS));
}

/* The first occupied slot in time, and the tick at which it begins. The lowest level wins: what
 * lies there shares more of the wheel's tick than anything above. */
static bool next_slot(const struct wheel *w, unsigned *out_index, int64_t *out_tick)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (w->occupied[level] == 0)
            continue;
        unsigned slot = (unsigned)__builtin_ctzll(w->occupied[level]);
        unsigned above = SLOT_BITS * (level + 1);
        *out_index = level * WHEEL_SLOTS + slot;
        *out_tick = (w->tick >> above << above) | ((int64_t)slot << (SLOT_BITS * level));
        return true;
    }
    return false;
}

void wheel_advance(struct wheel *w, int64_t now_us)
{
    int64_t target = tick_floor(now_us);
    unsigned index = 0;
    int64_t begins = 0;
    while (next_slot(w, &index, &begins) && begins <= target) {
        CHECK(begins > w->tick);
        w->tick = begins;
        w->occupied[index / WHEEL_SLOTS] &= ~(1ULL << (index % WHEEL_SLOTS));
        struct list_node moved;
        list_init(&moved);
        list_append(&moved, &w->slots[index]);
        for (struct list_node *node; (node = list_pop(&moved)) != NULL;)
            place(w, list_entry(node, struct wheel_node, link));
    }
    if (target > w->tick)
        w->tick = target; /* no slot in between, so every node's level stays right */
}

struct wheel_node *wheel_pop(struct wheel *w)
{
    struct list_node *node = list_pop(&w->due);
    if (node == NULL)
        return NULL;
    CHECK(w->count > 0);
    w->count--;
    return list_entry(node, struct wheel_node, link);
}

int64_t wheel_next_us(const struct wheel *w)
{
    unsigned index = 0;
    int64_t begins = 0;
    if (!list_empty(&w->due))
        return 0;
    return next_slot(w, &index, &begins) ? begins << WHEEL_TICK_SHIFT : INT64_MAX;
}

void wheel_check(const struct wheel *w)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < WHEEL_LEVELS * WHEEL_SLOTS; i++) {
        const struct list_node *head = &w->slots[i];
        bool marked = (w->occupied[i / WHEEL_SLOTS] >> (i % WHEEL_SLOTS) & 1) != 0;
        CHECK(marked == !list_empty(head));
        for (struct list_node *n = head->next; n != head; n = n->next, count++) {
            const struct wheel_node *node = list_entry(n, struct wheel_node, link);
            CHECK(node->slot == i);
            CHECK(node->due_tick > w->tick);
        }
    }
    for (struct list_node *n = w->due.next; n != &w->due; n = n->next)
        count++;
    CHECK(count == w->count);
}
