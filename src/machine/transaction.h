/* Transactions: messages that become visible together or never, acks and offsets that count with
 * them or never.
 *
 * A message of an open transaction is in its log and has its offset; it is hidden ("open") until
 * the end: then it is visible, or waits for its time, or is gone. An acked message is reserved: not
 * done, and nobody else's. Ended ones are remembered for a while, for those who ask. */
#ifndef MACHINE_TRANSACTION_H
#define MACHINE_TRANSACTION_H

#include "machine/producer.h"

struct transaction_message {
    uint32_t topic_id;
    uint32_t partition;
    uint64_t offset;
    int64_t due_us; /* 0: not delayed */
    uint8_t priority;
};

struct transaction_ack {
    struct delivery_place place;
    uint64_t index; /* of the command; void if a commit went back since */
};

struct transaction {
    uint64_t number;           /* never reused */
    struct producer *producer; /* borrowed; it has us in .open */
    int64_t began_us;
    int64_t expires_us;
    struct transaction_message *messages; /* owned, in the order in which they came */
    uint32_t message_count, message_capacity;
    struct list_node sequences;   /* owned */
    struct transaction_ack *acks; /* owned, as the next */
    uint32_t ack_count, ack_capacity;
    struct delivery_place *offsets; /* positions to be set, the last one of a partition counts */
    uint32_t offset_count, offset_capacity;
    struct list_node by_age; /* of the book */
    void *timer;             /* delivery's; not part of the state */
};

struct ended_transaction {
    uint64_t number;
    uint64_t producer_id;
    struct span scope; /* owned, as the next */
    struct span transactional_id;
    uint32_t epoch;
    enum transaction_state state;
    int64_t began_us;
    int64_t ended_us;
    uint32_t message_count;
    uint32_t ack_count;
    struct list_node by_age;
};

enum { ENDED_TRANSACTIONS_MAX = 10000 };
#define ENDED_TRANSACTION_KEPT_US (3600LL * 1000 * 1000)

struct transaction_book {
    uint64_t next_number;   /* 1 first */
    struct list_node open;  /* owned; the oldest first, as the next */
    struct list_node ended; /* owned */
    struct map open_by_number, ended_by_number;
    uint32_t open_count;
    uint32_t ended_count;
    uint64_t message_total; /* of open ones: messages, acks and offsets */
};

void transaction_book_init(struct transaction_book *book);
void transaction_book_fini(struct transaction_book *book, struct producer_book *producers);

struct transaction *transaction_begin(struct transaction_book *book, struct producer *producer,
                                      int64_t now_us);
/* One that is open; NULL: there is none with that number. */
struct transaction *transaction_find(const struct transaction_book *book, uint64_t number);
bool transaction_is_empty(const struct transaction *t);
/* Has it, and have all together, room for so many more messages, acks or offsets? */
bool transaction_has_room(const struct transaction_book *book, const struct transaction *t,
                          uint32_t count);
void transaction_add_message(struct transaction_book *book, struct transaction *t,
                             const struct transaction_message *message);
void transaction_add_ack(struct transaction_book *book, struct transaction *t,
                         const struct transaction_ack *ack);
void transaction_add_offset(struct transaction_book *book, struct transaction *t,
                            const struct delivery_place *to);
/* Forgets it, sorted, as ended with `state`: the producer remembers how, and the book for a while.
 */
void transaction_end(struct transaction_book *book, struct producer_book *producers,
                     struct transaction *t, enum transaction_state state, int64_t now_us);
/* One that ended, to be told of for a while. Copies. Times do not fall. */
void transaction_remember(struct transaction_book *book, const struct ended_transaction *like);
void transaction_sort_messages(struct transaction *t);             /* by topic, partition, offset */
uint32_t transaction_partition_count(const struct transaction *t); /* of sorted ones */

#endif
