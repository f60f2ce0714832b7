#include "node/inbox.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "std/check.h"

void inbox_init(struct inbox *in)
{
    atomic_init(&in->head, NULL);
    atomic_init(&in->op_count, 0);
    atomic_init(&in->byte_count, 0);
    atomic_init(&in->sleep, INBOX_AWAKE);
    in->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(in->event_fd >= 0);
}

void inbox_fini(struct inbox *in)
{
    CHECK(atomic_load(&in->head) == NULL);
    (void)close(in->event_fd);
}

/* Reserves the op's place before it is visible, so that the bounds hold however many threads push.
 */
static bool inbox_reserve(struct inbox *in, uint64_t bytes)
{
    if (atomic_fetch_add(&in->op_count, 1) >= INBOX_OPS_MAX) {
        atomic_fetch_sub(&in->op_count, 1);
        return false;
    }
    if (atomic_fetch_add(&in->byte_count, bytes) + bytes > INBOX_BYTES_MAX) {
        atomic_fetch_sub(&in->byte_count, bytes);
        atomic_fetch_sub(&in->op_count, 1);
        return false;
    }
    return true;
}

static void push(struct inbox *in, struct op *op)
{
    /* Read before the push: afterwards the op is the shard's. */
    bool is_journalled =
        op->kind == OP_COMMAND || op->kind == OP_ACK || op->kind == OP_DEAD_LETTERS;
    op->next = atomic_load_explicit(&in->head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&in->head, &op->next, op))
        continue;
    int sleep = atomic_load(&in->sleep);
    if (sleep == INBOX_ASLEEP || (sleep == INBOX_ASLEEP_FOR_DISK && !is_journalled))
        inbox_wake(in);
}

bool inbox_push(struct inbox *in, struct op *op)
{
    op->inbox_bytes = op->record.capacity;
    if (!inbox_reserve(in, op->inbox_bytes))
        return false;
    push(in, op);
    return true;
}

void inbox_push_own(struct inbox *in, struct op *op)
{
    op->inbox_bytes = op->record.capacity;
    atomic_fetch_add(&in->op_count, 1);
    atomic_fetch_add(&in->byte_count, op->inbox_bytes);
    push(in, op);
}

void inbox_done(struct inbox *in, const struct op *op)
{
    atomic_fetch_sub(&in->byte_count, op->inbox_bytes);
    atomic_fetch_sub(&in->op_count, 1);
}

struct op *inbox_take_all(struct inbox *in)
{
    struct op *newest = atomic_exchange(&in->head, NULL);
    struct op *oldest = NULL;
    while (newest != NULL) {
        struct op *older = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = older;
    }
    return oldest;
}

bool inbox_is_empty(const struct inbox *in)
{
    return atomic_load(&in->head) == NULL;
}

void inbox_wake(struct inbox *in)
{
    if (atomic_exchange(&in->sleep, INBOX_AWAKE) == INBOX_AWAKE)
        return; /* awake, or somebody else has just woken it */
    const uint64_t one = 1;
    ssize_t n = write(in->event_fd, &one, sizeof one);
    CHECK(n == (ssize_t)sizeof one || errno == EAGAIN);
}

bool inbox_arm(struct inbox *in, bool for_disk)
{
    atomic_store(&in->sleep, for_disk ? INBOX_ASLEEP_FOR_DISK : INBOX_ASLEEP);
    if (atomic_load(&in->head) == NULL)
        return true;
    inbox_disarm(in);
    return false;
}

void inbox_disarm(struct inbox *in)
{
    atomic_store(&in->sleep, INBOX_AWAKE);
}

void inbox_wait(struct inbox *in, int64_t timeout_us)
{
    struct pollfd pfd = {.fd = in->event_fd, .events = POLLIN};
    struct timespec timeout = {.tv_sec = timeout_us / 1000000,
                               .tv_nsec = timeout_us % 1000000 * 1000};
    int ready = ppoll(&pfd, 1, timeout_us < 0 ? NULL : &timeout, NULL);
    CHECK(ready >= 0 || errno == EINTR);
    atomic_store(&in->sleep, INBOX_AWAKE);
    uint64_t count;
    ssize_t n = read(in->event_fd, &count, sizeof count);
    CHECK(n == (ssize_t)sizeof count || errno == EAGAIN || errno == EINTR);
}
