/* What a member commits: its ids and the positions. Contract 4.5; also those of a transaction. */
#ifndef API_OFFSETS_BODY_H
#define API_OFFSETS_BODY_H

#include "api/fields.h"

/* Reads `member_id`, `generation` and `offsets` into the request's arena; the group is the
 * caller's. False: a topic has a name that none can have; it is then to be answered that it is not
 * there. */
bool offsets_body_read(struct fields *f, struct command_offsets_commit *out);

#endif
