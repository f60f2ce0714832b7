#include "api/group_reply.h"

void group_write_labels(struct request *r, const char *name, const struct assigned *assigned,
                        uint32_t count)
{
    struct json_writer *w = &r->json;
    json_write_key(w, name);
    json_write_array_begin(w);
    for (uint32_t i = 0; i < count; i++) {
        struct buf label;
        buf_init(&label, QUALIFIED_NAME_SIZE_MAX + 16);
        buf_put_span(&label, name_strip(assigned[i].topic));
        buf_put_byte(&label, '-');
        buf_put_u64(&label, assigned[i].partition);
        json_write_string(w, buf_span(&label));
        buf_fini(&label);
    }
    json_write_array_end(w);
}
