/* What the bodies of a group's members have in common: their ids, and what a member says with each
 * sign of life. Strings go into the request's arena, since the body's tree goes before the op. */
#ifndef API_MEMBER_BODY_H
#define API_MEMBER_BODY_H

#include "api/fields.h"

/* A string that becomes an id: 1 to size_max bytes without U+0000. False: absent or failed. */
bool member_body_id(struct fields *f, const char *name, bool required, size_t size_max,
                    struct span *out);
/* `member_id`, which is required, and `generation`, -1 if absent. */
void member_body_identity(struct fields *f, struct span *out_member_id, int64_t *out_generation);

#endif
