/* The leases of one readout, found by offset: open addressing, whose memory follows their number.
 */
#ifndef DELIVERY_LEASE_TABLE_H
#define DELIVERY_LEASE_TABLE_H

#include "delivery/lease.h"

struct lease_table {      /* zeroed: empty */
    struct lease **slots; /* owned; NULL: no lease yet */
    uint32_t capacity;    /* power of two, or 0 */
    uint32_t count;
};

void lease_table_fini(struct lease_table *t);                     /* it is empty */
void lease_table_add(struct lease_table *t, struct lease *lease); /* no other has its offset */
void lease_table_remove(struct lease_table *t, const struct lease *lease);    /* it is there */
struct lease *lease_table_find(const struct lease_table *t, uint64_t offset); /* NULL: none */

#endif
