/* Statistics over topics: those of the request's tenant, or without one those of all tenants, which
 * are then told by plain name as one (names never carry the tenant; contract 2.8). */
#ifndef API_TOPICS_TOLD_H
#define API_TOPICS_TOLD_H

#include "api/request.h"

/* Asks for the topics with their partitions. */
void topics_told_submit(struct request *r, void (*then)(struct request *r));
/* Puts the answer in the order of plain names. */
void topics_told_sort(struct query_result *topics);
/* How many from `first` on have the same plain name, one in each tenant that has it. */
uint32_t topics_told_same(const struct query_result *topics, uint32_t first);
/* Is a qualified name among what the request is told? */
bool topics_told_has(const struct request *r, struct span qualified);

#endif
