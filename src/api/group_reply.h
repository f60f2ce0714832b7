/* Members that several answers about groups share. */
#ifndef API_GROUP_REPLY_H
#define API_GROUP_REPLY_H

#include "api/request.h"

/* `name`: ["orders-0", ...] */
void group_write_labels(struct request *r, const char *name, const struct assigned *assigned,
                        uint32_t count);

#endif
