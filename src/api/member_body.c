#include "api/member_body.h"

bool member_body_id(struct fields *f, const char *name, bool required, size_t size_max,
                    struct span *out)
{
    struct span id;
    if (!fields_string(f, name, required, &id))
        return false;
    if (id.size == 0 || id.size > size_max)
        fields_problem(f, "%s: must be 1 to %zu bytes", name, size_max);
    else if (memchr(id.data, 0, id.size) != NULL)
        fields_problem(f, "%s: must not contain U+0000", name);
    if (fields_failed(f))
        return false;
    *out = arena_copy(&f->r->op.arena, id);
    return true;
}

void member_body_identity(struct fields *f, struct span *out_member_id, int64_t *out_generation)
{
    (void)member_body_id(f, "member_id", true, MEMBER_ID_SIZE_MAX, out_member_id);
    *out_generation = -1;
    (void)fields_int(f, "generation", false, 0, INT64_MAX, out_generation);
}
