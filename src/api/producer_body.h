/* Who publishes: what the bodies of producers and transactions have in common. Contract 4.8. */
#ifndef API_PRODUCER_BODY_H
#define API_PRODUCER_BODY_H

#include "api/fields.h"

#define TRANSACTION_PREFIX "txn-" /* of a transaction's id, before its number */

/* Reads `producer_id`, `epoch` and `transactional_id`, the last into the request's arena. Numbers
 * that no producer has are good for a reference that is not found, or fenced. */
void producer_body_read(struct fields *f, bool id_required, struct producer_ref *out);
/* `epoch` and `transactional_id` only. */
void producer_body_read_epoch(struct fields *f, bool id_required, struct producer_ref *out);
/* `transactional_id` only: 1 to TRANSACTIONAL_ID_SIZE_MAX bytes; size 0 if it is absent. */
void producer_body_transactional_id(struct fields *f, bool required, struct span *out);
/* The same of values that were read otherwise. */
uint64_t producer_body_id(int64_t producer_id);
uint32_t producer_body_epoch(int64_t epoch);

/* "txn-17" as a member. */
void transaction_id_write(struct request *r, uint64_t number);

#endif
