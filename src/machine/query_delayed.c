/* The list of a topic's pending messages, over all its partitions in the order of their time. */
#include "machine/state.h"

enum { PAGE = 32 };

struct cursor { /* in one partition's part of the list */
    const struct due_index *due;
    uint32_t partition;
    uint64_t next; /* what is read next from the index */
    struct due_entry page[PAGE];
    uint32_t page_at, page_count;
};

/* Sets the cursors behind the first `skip` of all, and gives how many that is exactly: fewer than
 * skip by those with the very same due time as the next. By halving the time, so that a page far
 * behind costs no more than the first. */
static uint64_t skip_pending(struct cursor *cursors, uint32_t count, uint64_t skip)
{
    int64_t low = 0, high = DUE_US_MAX; /* no more than `skip` are due before low */
    while (low < high) {
        int64_t middle = low + (high - low) / 2 + 1;
        uint64_t before = 0;
        for (uint32_t i = 0; i < count; i++)
            before += due_index_rank(cursors[i].due, middle);
        if (before <= skip)
            low = middle;
        else
            high = middle - 1;
    }
    uint64_t skipped = 0;
    for (uint32_t i = 0; i < count; i++) {
        cursors[i].next = due_index_rank(cursors[i].due, low);
        skipped += cursors[i].next;
    }
    return skipped;
}

/* The entry at the cursor; NULL: the partition has no more. */
static const struct due_entry *peek(struct cursor *c)
{
    if (c->page_at == c->page_count) {
        c->page_count = due_index_list(c->due, c->next, PAGE, c->page);
        c->next += c->page_count;
        c->page_at = 0;
    }
    return c->page_count == 0 ? NULL : &c->page[c->page_at];
}

/* By time, then partition; a partition's own are in order. */
static bool take_next(struct cursor *cursors, uint32_t count, struct delayed_info *out)
{
    struct cursor *first = NULL;
    const struct due_entry *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct due_entry *entry = peek(&cursors[i]);
        if (entry != NULL && (best == NULL || entry->due_us < best->due_us)) {
            first = &cursors[i];
            best = entry;
        }
    }
    if (first == NULL)
        return false;
    *out = (struct delayed_info){.partition = first->partition,
                                 .offset = best->offset,
                                 .due_us = best->due_us,
                                 .priority = best->priority};
    first->page_at++;
    return true;
}

void query_delayed(const struct topic *t, const struct query *q, struct arena *arena,
                   struct query_result *out)
{
    struct cursor *cursors = arena_array(arena, t->partition_count, sizeof *cursors);
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->partition_count; i++) {
        const struct partition *p = t->partitions[i];
        if (p->exceptions == NULL || (q->partition >= 0 && q->partition != (int64_t)i))
            continue;
        cursors[count++] = (struct cursor){.due = &p->exceptions->due, .partition = i};
        out->delayed_total += due_index_count(&p->exceptions->due);
    }
    out->delayed = arena_array(arena, q->limit, sizeof *out->delayed);
    if (q->skip >= out->delayed_total)
        return;
    uint64_t at = skip_pending(cursors, count, q->skip);
    struct delayed_info next;
    while (at < q->skip && take_next(cursors, count, &next))
        at++;
    while (out->delayed_count < q->limit && take_next(cursors, count, &next))
        out->delayed[out->delayed_count++] = next;
}
