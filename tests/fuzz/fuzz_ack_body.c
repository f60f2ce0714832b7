/* Any bytes as the body of an ack, single and batch, against a naive reading by jansson. */
#include <jansson.h>
#include <stdlib.h>

#include "api/ack_body.h"
#include "std/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool absent_or_string(const json_t *value)
{
    return value == NULL || json_is_null(value) || json_is_string(value);
}

static bool naive_accepts_one(const json_t *body)
{
    return json_is_object(body) && json_is_string(json_object_get(body, "receipt_handle")) &&
           absent_or_string(json_object_get(body, "consumer_id"));
}

static bool naive_accepts_batch(const json_t *body)
{
    const json_t *handles = json_object_get(body, "receipt_handles");
    const size_t count = json_array_size(handles);
    if (!json_is_object(body) || count == 0 || count > ACK_HANDLES_MAX ||
        !absent_or_string(json_object_get(body, "consumer_id")))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!json_is_string(json_array_get(handles, i)))
            return false;
    }
    return true;
}

static void check_handle(struct span found, const json_t *expected)
{
    struct span text = span_of(json_string_value(expected), json_string_length(expected));
    CHECK(text.size > ACK_HANDLE_SIZE_MAX || span_equal(found, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct ack_body one;
    struct ack_body batch;
    const char *one_detail = "";
    const char *batch_detail = "";
    arena_init(&arena);
    enum status one_st = ack_body_read_one(span_of(data, size), &arena, &one, &one_detail);
    enum status batch_st = ack_body_read_batch(span_of(data, size), &arena, &batch, &batch_detail);
    CHECK(batch.count <= ACK_HANDLES_MAX);
    /* jansson drops NUL bytes at the end, nests deeper and knows no integer beyond 64 bits. */
    json_t *naive =
        size > 0 && memchr(data, 0, size) != NULL
            ? NULL
            : json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (naive != NULL && strstr(one_detail, "nested too deep") == NULL) {
        CHECK((one_st == ST_OK) == naive_accepts_one(naive));
        CHECK((batch_st == ST_OK) == naive_accepts_batch(naive));
        if (one_st == ST_OK)
            check_handle(one.handles[0], json_object_get(naive, "receipt_handle"));
        for (uint32_t i = 0; batch_st == ST_OK && i < batch.count; i++)
            check_handle(batch.handles[i],
                         json_array_get(json_object_get(naive, "receipt_handles"), i));
    }
    json_decref(naive);
    arena_fini(&arena);
    return 0;
}
