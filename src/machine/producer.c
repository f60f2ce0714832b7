#include "machine/producer.h"

#include <stdlib.h>
#include <string.h>

#include "std/alloc.h"
#include "std/check.h"
#include "std/little_endian.h"

void producer_book_init(struct producer_book *book)
{
    *book = (struct producer_book){.next_id = 1};
    list_init(&book->by_use);
    list_init(&book->ages);
}

void producer_book_fini(struct producer_book *book)
{
    while (!list_empty(&book->by_use))
        producer_remove(book, list_entry(book->by_use.next, struct producer, by_use));
    CHECK(book->sequences.count == 0);
    map_fini(&book->by_id);
    map_fini(&book->by_name);
    map_fini(&book->sequences);
}

struct producer *producer_find(const struct producer_book *book, const struct producer_ref *ref,
                               enum status *out_status)
{
    struct producer *producer = map_find_number(&book->by_id, ref->id);
    *out_status = ST_PRODUCER_NOT_FOUND;
    if (producer == NULL || !span_equal(producer->scope, ref->scope))
        return NULL;
    if (ref->transactional_id.size > 0 &&
        !span_equal(producer->transactional_id, ref->transactional_id))
        return NULL;
    *out_status = producer->epoch == ref->epoch ? ST_OK : ST_PRODUCER_FENCED;
    return *out_status == ST_OK ? producer : NULL;
}

/* Gives: bytes to free. A scope has no NUL, so no two of them are alike. */
static struct span name_of(struct span scope, struct span transactional_id)
{
    if (transactional_id.size == 0)
        return (struct span){0};
    uint8_t *name = alloc_bytes(scope.size + 1 + transactional_id.size);
    if (scope.size > 0)
        memcpy(name, scope.data, scope.size);
    name[scope.size] = 0;
    memcpy(name + scope.size + 1, transactional_id.data, transactional_id.size);
    return span_of(name, scope.size + 1 + transactional_id.size);
}

struct producer *producer_find_named(const struct producer_book *book, struct span scope,
                                     struct span transactional_id)
{
    struct span name = name_of(scope, transactional_id);
    struct producer *found = map_find(&book->by_name, name);
    free_span(name);
    return found;
}

static bool is_old(const struct producer *producer, int64_t now_us, int64_t kept_us)
{
    return producer->open == NULL && now_us - producer->used_us > kept_us;
}

/* Those that gave no sign of life for so long, and one more if there is no room. */
static void forget_old_ones(struct producer_book *book, int64_t now_us)
{
    while (!list_empty(&book->by_use)) {
        struct producer *oldest = list_entry(book->by_use.next, struct producer, by_use);
        bool full = book->count >= PRODUCERS_MAX;
        if (!is_old(oldest, now_us, full ? PRODUCER_SAFE_US : PRODUCER_KEPT_US))
            return;
        producer_remove(book, oldest);
    }
}

struct producer *producer_add(struct producer_book *book, struct span scope,
                              struct span transactional_id, int64_t now_us)
{
    forget_old_ones(book, now_us);
    if (book->count >= PRODUCERS_MAX)
        return NULL;
    struct producer *producer = new_zero(struct producer);
    producer->id = book->next_id++;
    producer->scope = alloc_span(scope);
    producer->transactional_id = alloc_span(transactional_id);
    producer->name = name_of(scope, transactional_id);
    producer->used_us = now_us;
    list_push(&book->by_use, &producer->by_use);
    map_put_number(&book->by_id, producer->id, producer);
    if (producer->name.size > 0)
        map_put(&book->by_name, producer->name, producer);
    book->count++;
    return producer;
}

void producer_use(struct producer_book *book, struct producer *producer, int64_t now_us)
{
    producer->used_us = now_us;
    list_remove(&producer->by_use);
    list_push(&book->by_use, &producer->by_use);
}

void sequence_set_key(struct sequence *s, bool transactional, uint64_t owner, uint32_t topic_id,
                      uint32_t partition, int64_t sequence)
{
    s->key[0] = transactional;
    store_u64(s->key + 1, owner);
    store_u32(s->key + 9, topic_id);
    store_u32(s->key + 13, partition);
    store_u32(s->key + 17, (uint32_t)sequence);
}

struct sequence *sequence_find(const struct producer_book *book, const struct sequence *like)
{
    return map_find(&book->sequences, span_of(like->key, sizeof like->key));
}

static struct sequence *add(struct producer_book *book, const struct sequence *like,
                            struct list_node *list)
{
    struct sequence *s = new_zero(struct sequence);
    memcpy(s->key, like->key, sizeof s->key);
    memcpy(s->content, like->content, sizeof s->content);
    s->partition = like->partition;
    s->offset = like->offset;
    list_push(list, &s->link);
    map_put(&book->sequences, span_of(s->key, sizeof s->key), s);
    return s;
}

/* Takes it off whatever list it is on still, and frees it. */
static void forget(struct producer_book *book, struct sequence *s)
{
    map_remove(&book->sequences, span_of(s->key, sizeof s->key));
    if (s->window != NULL) {
        s->window->count--;
        book->aged_count--;
    }
    if (list_linked(&s->link))
        list_remove(&s->link);
    if (list_linked(&s->age))
        list_remove(&s->age);
    free(s);
}

void sequence_add(struct producer_book *book, const struct sequence *like, struct list_node *list)
{
    (void)add(book, like, list);
}

void sequences_drop(struct producer_book *book, struct list_node *list)
{
    for (struct list_node *node = NULL; (node = list_pop(list)) != NULL;)
        forget(book, list_entry(node, struct sequence, link));
}

/* Index of the first window that is not before it. */
static uint32_t window_lower_bound(const struct producer *producer, uint32_t topic_id,
                                   uint32_t partition)
{
    uint32_t low = 0, end = producer->window_count;
    while (low < end) {
        uint32_t middle = low + (end - low) / 2;
        const struct sequence_window *w = producer->windows[middle];
        if (w->topic_id < topic_id || (w->topic_id == topic_id && w->partition < partition))
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

static struct sequence_window *need_window(struct producer *producer, uint32_t topic_id,
                                           uint32_t partition)
{
    uint32_t at = window_lower_bound(producer, topic_id, partition);
    if (at < producer->window_count && producer->windows[at]->topic_id == topic_id &&
        producer->windows[at]->partition == partition)
        return producer->windows[at];
    struct sequence_window *window = new_zero(struct sequence_window);
    window->producer = producer;
    window->topic_id = topic_id;
    window->partition = partition;
    list_init(&window->sequences);
    producer->windows = alloc_resize(producer->windows, (size_t)producer->window_count + 1,
                                     sizeof(struct sequence_window *));
    memmove(&producer->windows[at + 1], &producer->windows[at],
            (producer->window_count - at) * sizeof(struct sequence_window *));
    producer->windows[at] = window;
    producer->window_count++;
    return window;
}

static void drop_window(struct producer_book *book, struct sequence_window *window)
{
    struct producer *producer = window->producer;
    sequences_drop(book, &window->sequences);
    uint32_t at = window_lower_bound(producer, window->topic_id, window->partition);
    CHECK(at < producer->window_count && producer->windows[at] == window);
    producer->window_count--;
    memmove(&producer->windows[at], &producer->windows[at + 1],
            (producer->window_count - at) * sizeof(struct sequence_window *));
    free(window);
}

static void drop_oldest(struct producer_book *book)
{
    struct list_node *node = list_pop(&book->ages);
    CHECK(node != NULL);
    struct sequence *oldest = list_entry(node, struct sequence, age);
    struct sequence_window *window = oldest->window;
    forget(book, oldest);
    if (window->count == 0)
        drop_window(book, window);
}

void sequence_add_to_window(struct producer_book *book, struct producer *producer,
                            uint32_t topic_id, uint32_t partition, const struct sequence *like)
{
    if (book->aged_count == SEQUENCES_TOTAL_MAX)
        drop_oldest(book);
    struct sequence_window *window = need_window(producer, topic_id, partition);
    if (window->count == SEQUENCES_PER_WINDOW) {
        struct list_node *oldest = list_pop(&window->sequences);
        CHECK(oldest != NULL);
        forget(book, list_entry(oldest, struct sequence, link));
    }
    struct sequence *s = add(book, like, &window->sequences);
    s->window = window;
    window->count++;
    list_push(&book->ages, &s->age);
    book->aged_count++;
}

void producer_remove(struct producer_book *book, struct producer *producer)
{
    CHECK(producer->open == NULL);
    while (producer->window_count > 0)
        drop_window(book, producer->windows[producer->window_count - 1]);
    free(producer->windows);
    book->retired.committed_total += producer->committed_count;
    book->retired.aborted_total += producer->aborted_count;
    book->retired.timed_out_total += producer->timed_out_count;
    book->retired.duration_sum_us += producer->duration_sum_us;
    map_remove_number(&book->by_id, producer->id);
    if (producer->name.size > 0)
        map_remove(&book->by_name, producer->name);
    list_remove(&producer->by_use);
    book->count--;
    free_span(producer->scope);
    free_span(producer->transactional_id);
    free_span(producer->name);
    free(producer);
}
