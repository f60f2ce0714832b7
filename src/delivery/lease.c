#include "delivery/lease.h"

#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

enum { CHUNK_LEASES = 512 };

struct lease_chunk {
    struct lease_chunk *next;
    struct lease leases[CHUNK_LEASES];
};

#define TO(STATE) (1U << LEASE_##STATE)
/* From each state, where it may go, and what moves it. */
static const unsigned allowed[LEASE_STATE_COUNT] = {
    [LEASE_FREE] = TO(LEASED)        /* poll: first delivery; a start: it was in flight before */
                   | TO(SETTLING)    /* ack with a receipt from before a restart */
                   | TO(DELAYED)     /* a start: nacked before */
                   | TO(RELEASED)    /* a start: returned before */
                   | TO(HELD),       /* its turn came, but its key is out */
    [LEASE_LEASED] = TO(SETTLING)    /* ack, nack, reject; the last deadline: dead letter */
                     | TO(EXPIRED)   /* deadline */
                     | TO(RELEASED)  /* leave, eviction, answer not written */
                     | TO(FREE),     /* offset commit, replay; topic or group deleted */
    [LEASE_SETTLING] = TO(FREE)      /* its last command is applied: done; topic or group deleted */
                       | TO(DELAYED) /* nack applied */
                       | TO(RELEASED) /* nack without delay; ack, but a commit went back since */
                       | TO(LEASED),  /* the dead letter could not be made */
    [LEASE_DELAYED] = TO(RELEASED)    /* its time has come */
                      | TO(FREE),     /* offset commit, replay; topic or group deleted */
    [LEASE_EXPIRED] = TO(LEASED)      /* poll: next delivery */
                      | TO(SETTLING)  /* ack, nack, reject, late but before another delivery */
                      | TO(HELD)      /* its turn came, but its key is out */
                      | TO(FREE),     /* offset commit, retention; topic or group deleted */
    [LEASE_RELEASED] = TO(LEASED)     /* poll: next delivery */
                       | TO(HELD)     /* its turn came, but its key is out */
                       | TO(FREE),    /* offset commit, retention; topic or group deleted */
    [LEASE_HELD] = TO(RELEASED)       /* its key is free */
                   | TO(FREE),        /* offset commit, replay; topic or group deleted */
};
#undef TO

void lease_book_init(struct lease_book *book, struct wheel *wheel, uint16_t timer_kind,
                     uint64_t boot_id)
{
    *book = (struct lease_book){.wheel = wheel, .timer_kind = timer_kind, .boot_id = boot_id};
    list_init(&book->free);
    list_init(&book->key_news);
}

void lease_book_fini(struct lease_book *book)
{
    CHECK(book->lease_count == 0);
    CHECK(book->in_flight == 0);
    CHECK(book->held_count == 0 && book->keyed_count == 0);
    CHECK(list_empty(&book->key_news));
    while (book->chunks != NULL) {
        struct lease_chunk *chunk = book->chunks;
        book->chunks = chunk->next;
        free(chunk);
    }
}

static void add_chunk(struct lease_book *book)
{
    struct lease_chunk *chunk = new_zero(struct lease_chunk);
    chunk->next = book->chunks;
    book->chunks = chunk;
    for (unsigned i = 0; i < CHUNK_LEASES; i++)
        list_push(&book->free, &chunk->leases[i].held);
}

struct lease *lease_new(struct lease_book *book, struct readout *readout, uint64_t offset,
                        enum priority lane)
{
    if (list_empty(&book->free))
        add_chunk(book);
    struct lease *lease = list_entry(list_pop(&book->free), struct lease, held);
    CHECK(lease->state == LEASE_FREE);
    *lease = (struct lease){.readout = readout,
                            .offset = offset,
                            .lane = (uint8_t)lane,
                            .waiting_index = LEASE_NOT_WAITING,
                            .timer.kind = book->timer_kind};
    book->lease_count++;
    return lease;
}

void lease_free(struct lease_book *book, struct lease *lease)
{
    CHECK(lease->state == LEASE_FREE);
    CHECK(book->lease_count > 0);
    lease_check(lease);
    book->lease_count--;
    lease->readout = NULL;
    /* To the front: the memory that was used last is still in the cache. */
    list_push(book->free.next, &lease->held);
}

bool lease_id_is_ours(const struct lease_book *book, uint64_t id)
{
    return id - book->boot_id < book->ids_given;
}

void lease_check(const struct lease *lease)
{
    bool waits = lease->state == LEASE_EXPIRED || lease->state == LEASE_RELEASED ||
                 lease->state == LEASE_HELD;
    bool timed = lease->state == LEASE_LEASED || lease->state == LEASE_DELAYED;
    CHECK(wheel_armed(&lease->timer) == timed);
    CHECK(waits == (lease->waiting_index != LEASE_NOT_WAITING));
    CHECK((lease->commands > 0) == (lease->state == LEASE_SETTLING));
    CHECK(list_linked(&lease->held) == (lease->holder != NULL));
    CHECK(lease->holder == NULL || lease->state == LEASE_LEASED || lease->state == LEASE_SETTLING);
}

void lease_move(struct lease *lease, enum lease_state to)
{
    CHECK(to < LEASE_STATE_COUNT);
    CHECK((allowed[lease->state] & 1U << to) != 0);
    lease->state = (uint8_t)to;
    lease_check(lease);
}

void lease_grant(struct lease_book *book, struct lease *lease, struct lease_holder *holder,
                 int64_t now_us, int64_t deadline_us)
{
    CHECK(lease->holder == NULL);
    lease->id = book->boot_id + book->ids_given++;
    lease->delivery_count++;
    lease->last_us = now_us;
    if (lease->delivery_count == 1)
        lease->first_us = now_us;
    else
        book->retries_total++;
    lease->visibility_us = holder->visibility_us;
    lease->deliveries_max = holder->deliveries_max;
    lease->holder = holder;
    list_push(&holder->leases, &lease->held);
    holder->count++;
    book->in_flight++;
    wheel_add(book->wheel, &lease->timer, deadline_us);
    lease_move(lease, LEASE_LEASED);
}

void lease_resume(struct lease_book *book, struct lease *lease, int64_t deadline_us)
{
    CHECK(lease->commands == 0);
    if (!lease_in_flight(lease))
        book->in_flight++;
    wheel_add(book->wheel, &lease->timer, deadline_us);
    lease_move(lease, LEASE_LEASED);
}

void lease_delay(struct lease_book *book, struct lease *lease, int64_t not_before_us)
{
    lease_let_go(book, lease);
    wheel_add(book->wheel, &lease->timer, not_before_us);
    lease_move(lease, LEASE_DELAYED);
}

void lease_extend(struct lease_book *book, struct lease *lease, int64_t deadline_us)
{
    CHECK(lease->state == LEASE_LEASED);
    wheel_remove(book->wheel, &lease->timer);
    wheel_add(book->wheel, &lease->timer, deadline_us);
}

void lease_settle(struct lease_book *book, struct lease *lease, enum lease_settlement settlement)
{
    lease->commands++;
    lease->settlement = (uint8_t)settlement;
    if (lease->state == LEASE_SETTLING)
        return;
    if (lease->state != LEASE_LEASED)
        book->in_flight++;
    lease->deadline_us = wheel_armed(&lease->timer) ? wheel_due_us(&lease->timer) : 0;
    wheel_remove(book->wheel, &lease->timer);
    lease_move(lease, LEASE_SETTLING);
}

void lease_let_go(struct lease_book *book, struct lease *lease)
{
    if (lease_in_flight(lease)) {
        CHECK(book->in_flight > 0);
        book->in_flight--;
    }
    wheel_remove(book->wheel, &lease->timer);
    lease_forget_holder(lease);
}

void lease_forget_holder(struct lease *lease)
{
    if (lease->holder == NULL)
        return;
    CHECK(lease->holder->count > 0);
    lease->holder->count--;
    list_remove(&lease->held);
    lease->holder = NULL;
}
