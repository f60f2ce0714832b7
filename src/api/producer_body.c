#include "api/producer_body.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/reply.h"

uint64_t producer_body_id(int64_t producer_id)
{
    return producer_id >= 1 ? (uint64_t)producer_id : 0; /* which nobody has */
}

uint32_t producer_body_epoch(int64_t epoch)
{
    return epoch >= 0 && epoch <= EPOCH_MAX ? (uint32_t)epoch : UINT32_MAX; /* no one's */
}

void producer_body_transactional_id(struct fields *f, bool required, struct span *out)
{
    struct span id;
    *out = (struct span){0};
    if (!fields_string(f, "transactional_id", required, &id))
        return;
    if (id.size == 0 || id.size > TRANSACTIONAL_ID_SIZE_MAX)
        fields_problem(f, "transactional_id: must be 1 to %d bytes", TRANSACTIONAL_ID_SIZE_MAX);
    else
        *out = arena_copy(&f->r->op.arena, id);
}

void producer_body_read_epoch(struct fields *f, bool id_required, struct producer_ref *out)
{
    int64_t epoch = 0;
    out->scope = f->r->scope;
    (void)fields_int(f, "epoch", true, INT64_MIN, INT64_MAX, &epoch);
    out->epoch = producer_body_epoch(epoch);
    producer_body_transactional_id(f, id_required, &out->transactional_id);
}

void producer_body_read(struct fields *f, bool id_required, struct producer_ref *out)
{
    int64_t producer_id = 0;
    (void)fields_int(f, "producer_id", true, INT64_MIN, INT64_MAX, &producer_id);
    out->id = producer_body_id(producer_id);
    producer_body_read_epoch(f, id_required, out);
}

void transaction_id_write(struct request *r, uint64_t number)
{
    char text[32];
    (void)snprintf(text, sizeof text, TRANSACTION_PREFIX "%" PRIu64, number);
    json_member_text(r, "transaction_id", text);
}
