/* Who publishes under an identity that outlives a lost reply: producers, their epochs and open
 * transactions, and the sequence numbers they have used lately.
 *
 * A producer with a transactional id publishes in transactions; one without, at once. Both may
 * number their messages: a number that comes again with the same message is a repetition. What is
 * kept of numbers is bounded: those of the open transaction; without transactions, the last
 * SEQUENCES_PER_WINDOW of each topic and partition, and SEQUENCES_TOTAL_MAX of all producers. */
#ifndef MACHINE_PRODUCER_H
#define MACHINE_PRODUCER_H

#include "machine/machine.h"
#include "std/list.h"
#include "std/map.h"
#include "std/wire.h"

enum {
    SEQUENCES_PER_WINDOW = 1000,
    SEQUENCES_TOTAL_MAX = 262144,
    SEQUENCE_KEY_SIZE = 1 + 8 + 4 + 4 + 4,
};
#define PRODUCER_KEPT_US  (7LL * 24 * 3600 * 1000 * 1000) /* without a sign of life */
#define PRODUCER_SAFE_US  (3600LL * 1000 * 1000) /* so long even when there are too many of them */
#define SEQUENCE_ANYWHERE UINT32_MAX             /* of a message that may go to any partition */

/* One message that was published with a number. */
struct sequence {
    uint8_t key[SEQUENCE_KEY_SIZE]; /* in the book's map */
    uint8_t content[CONTENT_SIZE];
    uint32_t partition; /* where it is */
    uint64_t offset;
    struct list_node link;          /* of its window or transaction; the oldest first */
    struct list_node age;           /* of all in windows; the oldest first */
    struct sequence_window *window; /* borrowed; NULL: a transaction's */
};

struct sequence_window {       /* of one producer without transactions, topic and partition */
    struct producer *producer; /* borrowed */
    uint32_t topic_id;
    uint32_t partition;         /* or SEQUENCE_ANYWHERE */
    struct list_node sequences; /* owned */
    uint32_t count;
};

struct producer {
    uint64_t id;                  /* never reused */
    struct span scope;            /* owned, as the next two */
    struct span transactional_id; /* size 0: none */
    struct span name; /* scope, NUL, transactional id: in the book's map; size 0: none */
    uint32_t epoch;
    int64_t timeout_us;
    int64_t used_us;          /* the last sign of life */
    struct transaction *open; /* owned by the book; NULL: none */
    /* What became of the transaction before, begun in this epoch. */
    enum transaction_state last; /* TRANSACTION_ONGOING: there was none */
    struct result_transaction last_result;
    uint64_t committed_count, aborted_count, timed_out_count;
    uint64_t duration_sum_us;
    struct sequence_window **windows; /* owned; by topic, then partition */
    uint32_t window_count;
    struct list_node by_use; /* of the book; who was used least lately first */
};

struct producer_book {
    uint64_t next_id; /* 1 first */
    struct map by_id;
    struct map by_name;
    struct list_node by_use; /* owned */
    uint32_t count;
    struct map sequences;  /* by key */
    struct list_node ages; /* of sequences in windows */
    uint32_t aged_count;
    struct transaction_stats retired; /* of producers that are gone */
};

void producer_book_init(struct producer_book *book);
void producer_book_fini(struct producer_book *book); /* no transaction is open any more */

/* Borrowed; NULL with a status: not there, of another tenant, another epoch. */
struct producer *producer_find(const struct producer_book *book, const struct producer_ref *ref,
                               enum status *out_status);
struct producer *producer_find_named(const struct producer_book *book, struct span scope,
                                     struct span transactional_id);
/* A new one, with the next id. NULL: there are too many that were used lately. */
struct producer *producer_add(struct producer_book *book, struct span scope,
                              struct span transactional_id, int64_t now_us);
void producer_remove(struct producer_book *book, struct producer *producer);
void producer_use(struct producer_book *book, struct producer *producer, int64_t now_us);

/* The message that was published with this number; NULL: none is known. */
struct sequence *sequence_find(const struct producer_book *book, const struct sequence *like);
/* Notes one that is not known: in the transaction's list, or in the producer's window. */
void sequence_add(struct producer_book *book, const struct sequence *like, struct list_node *list);
void sequence_add_to_window(struct producer_book *book, struct producer *producer,
                            uint32_t topic_id, uint32_t partition, const struct sequence *like);
void sequences_drop(struct producer_book *book, struct list_node *list); /* of a transaction */
/* Fills in the key: of a transaction (by number) or of a producer (by id). */
void sequence_set_key(struct sequence *s, bool transactional, uint64_t owner, uint32_t topic_id,
                      uint32_t partition, int64_t sequence);

#endif
