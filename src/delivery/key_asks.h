/* Keys between the readouts that need them and the shard, who has them read. */
#ifndef DELIVERY_KEY_ASKS_H
#define DELIVERY_KEY_ASKS_H

#include "delivery/delivery.h"

/* Wakes the owners of readouts where something has become free, and asks for the keys that are
 * wanted. */
void key_asks_attend(struct delivery *d);

#endif
