/* Everything we know to be true of publish_builder on any bytes at all, checked against a naive
 * reading of the same body by jansson. The fuzz target and the property test share it.
 *
 * jansson refuses some documents that are valid for us, see json_check.h; those are only checked
 * for what the command looks like. */
#ifndef TESTS_PUBLISH_CHECK_H
#define TESTS_PUBLISH_CHECK_H

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

#include "api/publish_builder.h"
#include "command/codec.h"
#include "command/record_batch.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/duration.h"
#include "std/murmur3.h"
#include "std/timestamp.h"

enum { PUBLISH_CHECK_TOPIC_ID = 77 };

#define PUBLISH_CHECK_NOW_US    1800000000000000LL
#define PUBLISH_CHECK_DELAY_MAX (8760LL * 3600 * 1000 * 1000)

/* One record of the command. */
struct publish_found {
    uint32_t target;
    uint32_t batch_end; /* index of the first record behind its batch */
    struct record record;
};

struct publish_decoded {
    struct command command;
    struct publish_found *found; /* owned; in order of the command */
    uint32_t count;
    uint32_t *entry_first; /* owned; index into found of each entry's first record */
};

static inline void publish_decode(struct span bytes, struct arena *arena,
                                  struct publish_decoded *out)
{
    *out = (struct publish_decoded){0};
    CHECK(command_decode(bytes, arena, &out->command) == ST_OK);
    CHECK(out->command.type == COMMAND_PUBLISH);
    const struct command_publish *publish = &out->command.publish;
    out->found = alloc_array(MESSAGES_PER_PUBLISH_MAX, sizeof *out->found);
    out->entry_first = alloc_array(MESSAGES_PER_PUBLISH_MAX, sizeof *out->entry_first);
    size_t cursor = 0;
    uint32_t entries = 0;
    struct publish_entry entry;
    struct span batch;
    while (publish_entry_next(publish, &cursor, &entry, &batch)) {
        struct batch_header header;
        CHECK(batch_verify(batch, &header) == ST_OK);
        CHECK(header.size == batch.size && header.count >= 1);
        CHECK(header.count == 1 || batch.size <= BATCH_SIZE_AIM + BATCH_HEADER_SIZE);
        CHECK((entry.target & ~PUBLISH_KEYLESS) < publish->partition_count);
        out->entry_first[entries++] = out->count;
        size_t at = 0;
        struct record record;
        uint32_t end = out->count + header.count;
        while (batch_next(batch, &at, &record))
            out->found[out->count++] = (struct publish_found){entry.target, end, record};
        CHECK(at == batch.size || at == batch.size - BATCH_HEADER_SIZE);
        CHECK(out->count == end);
    }
    CHECK(entries == publish->entry_count);
}

static inline void publish_decoded_fini(struct publish_decoded *d)
{
    free(d->found);
    free(d->entry_first);
}

/* The member unless it is null; *wrong if it is of another type. */
static inline const json_t *publish_naive_get(const json_t *message, const char *name,
                                              json_type type, bool *wrong)
{
    const json_t *value = json_object_get(message, name);
    if (value == NULL || json_is_null(value))
        return NULL;
    if (json_typeof(value) != type) {
        *wrong = true;
        return NULL;
    }
    return value;
}

static inline struct span publish_naive_text(const json_t *string)
{
    return span_of(json_string_value(string), json_string_length(string));
}

/* One message as jansson reads it. */
struct publish_naive {
    const json_t *value, *key, *headers, *partition;
    bool wrong; /* a field of the wrong type: the request is refused */
    bool fault; /* the message is refused */
    int priority;
    int64_t delay_us, deliver_at_us;
};

static inline void publish_naive_due(struct publish_naive *n, const json_t *delay,
                                     const json_t *deliver_at)
{
    int64_t value = 0;
    if (delay != NULL) {
        n->fault |= !duration_parse(publish_naive_text(delay), &value) || value < 0;
        n->delay_us = value / 1000 + (value % 1000 != 0);
        n->fault |= n->delay_us > PUBLISH_CHECK_DELAY_MAX;
    } else if (deliver_at != NULL) {
        n->fault |= !timestamp_parse(publish_naive_text(deliver_at), &value);
        if (value > PUBLISH_CHECK_NOW_US)
            n->deliver_at_us = value;
        n->fault |= value - PUBLISH_CHECK_NOW_US > PUBLISH_CHECK_DELAY_MAX;
    }
}

static inline void publish_naive_headers(struct publish_naive *n)
{
    size_t size = 0;
    const char *name;
    json_t *value;
    json_t *headers = (json_t *)(uintptr_t)n->headers;
    json_object_foreach(headers, name, value)
    {
        n->wrong |= !json_is_string(value) && !json_is_null(value);
        if (json_is_string(value))
            size += strlen(name) + json_string_length(value);
    }
    n->fault |= size > HEADERS_SIZE_MAX;
}

static inline struct publish_naive publish_naive_read(const json_t *message, uint32_t partitions)
{
    struct publish_naive n = {.priority = PRIORITY_NORMAL};
    if (!json_is_object(message)) {
        n.wrong = true;
        return n;
    }
    n.value = publish_naive_get(message, "value", JSON_STRING, &n.wrong);
    n.key = publish_naive_get(message, "key", JSON_STRING, &n.wrong);
    n.partition = publish_naive_get(message, "partition", JSON_INTEGER, &n.wrong);
    n.headers = publish_naive_get(message, "headers", JSON_OBJECT, &n.wrong);
    const json_t *delay = publish_naive_get(message, "delay", JSON_STRING, &n.wrong);
    const json_t *at = publish_naive_get(message, "deliverAt", JSON_STRING, &n.wrong);
    const json_t *alias = publish_naive_get(message, "deliver_at", JSON_STRING, &n.wrong);
    const json_t *priority = publish_naive_get(message, "priority", JSON_STRING, &n.wrong);
    n.fault = n.value == NULL || json_string_length(n.value) > VALUE_SIZE_MAX ||
              (n.key != NULL && json_string_length(n.key) > KEY_SIZE_MAX);
    if (n.partition != NULL && (json_integer_value(n.partition) < 0 ||
                                json_integer_value(n.partition) >= (json_int_t)partitions))
        n.fault = true;
    if (priority != NULL) {
        const char *const names[] = {"critical", "high", "normal", "low", "background"};
        n.priority = -1;
        for (int i = 0; i < PRIORITY_COUNT; i++) {
            if (strcasecmp(json_string_value(priority), names[i]) == 0 &&
                strlen(names[i]) == json_string_length(priority))
                n.priority = i;
        }
        n.fault |= n.priority < 0;
    }
    publish_naive_due(&n, delay, at != NULL ? at : alias);
    publish_naive_headers(&n);
    return n;
}

static inline void publish_check_text(struct span raw, bool escaped, const json_t *expected)
{
    char *text = alloc_bytes(raw.size + 3);
    text[0] = '"';
    if (raw.size > 0)
        memcpy(text + 1, raw.data, raw.size);
    text[raw.size + 1] = '"';
    json_t *value = json_loadb(text, raw.size + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    CHECK(value != NULL && json_equal(value, expected));
    CHECK(escaped == (raw.size != json_string_length(value)));
    json_decref(value);
    free(text);
}

static inline void publish_check_headers(struct span text, const json_t *expected)
{
    json_t *kept = json_object();
    const char *name;
    json_t *value;
    json_t *headers = (json_t *)(uintptr_t)expected;
    json_object_foreach(headers, name, value)
    {
        if (json_is_string(value))
            json_object_set(kept, name, value);
    }
    if (json_object_size(kept) == 0) {
        CHECK(text.size == 0);
    } else {
        json_t *found = json_loadb((const char *)text.data, text.size,
                                   JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
        CHECK(found != NULL && json_equal(found, kept));
        json_decref(found);
    }
    json_decref(kept);
}

static inline uint32_t publish_naive_target(const struct publish_naive *n, uint32_t partitions,
                                            uint32_t *keyless)
{
    if (n->partition != NULL)
        return (uint32_t)json_integer_value(n->partition);
    if (n->key != NULL && json_string_length(n->key) > 0)
        return murmur3_32(publish_naive_text(n->key)) % partitions;
    return PUBLISH_KEYLESS | (*keyless)++ % partitions;
}

static inline void publish_check_found(const struct publish_found *found,
                                       const struct publish_naive *n)
{
    const struct record *record = &found->record;
    publish_check_text(record->value, record->value_escaped, n->value);
    struct span key = n->key == NULL ? span_of(NULL, 0) : publish_naive_text(n->key);
    CHECK(span_equal(record->key, key));
    publish_check_headers(record->headers, n->headers);
    CHECK((int)record->priority == n->priority);
    CHECK(record->delay_us == n->delay_us && record->deliver_at_us == n->deliver_at_us);
}

/* Messages that may meet in one partition must be in order of the request. */
struct publish_order {
    uint32_t last_placed[PARTITIONS_MAX]; /* position + 1 of the last one to that target */
    uint32_t last_keyless[PARTITIONS_MAX];
    uint32_t highest_placed, highest_keyless; /* of any target */
};

static inline void publish_check_order(struct publish_order *o, uint32_t target, uint32_t position)
{
    const bool keyless = (target & PUBLISH_KEYLESS) != 0;
    uint32_t *last = (keyless ? o->last_keyless : o->last_placed) + (target & ~PUBLISH_KEYLESS);
    CHECK(position >= *last);
    CHECK(position >= (keyless ? o->highest_placed : o->highest_keyless));
    *last = position + 1;
    uint32_t *highest = keyless ? &o->highest_keyless : &o->highest_placed;
    *highest = position + 1 > *highest ? position + 1 : *highest;
}

static inline void publish_check_messages(const json_t *messages, const struct publish_plan *plan,
                                          const struct publish_decoded *decoded,
                                          uint32_t partitions)
{
    struct publish_order *order = new_zero(struct publish_order);
    uint32_t keyless = 0;
    uint32_t stored = 0;
    CHECK(plan->count == json_array_size(messages));
    for (uint32_t i = 0; i < plan->count; i++) {
        struct publish_naive n = publish_naive_read(json_array_get(messages, i), partitions);
        const struct publish_outcome *outcome = &plan->outcomes[i];
        CHECK(n.fault == (outcome->error != NULL));
        if (n.fault)
            continue;
        stored++;
        CHECK(outcome->entry < decoded->command.publish.entry_count);
        uint32_t position = decoded->entry_first[outcome->entry] + outcome->index;
        CHECK(position < decoded->count);
        const struct publish_found *found = &decoded->found[position];
        CHECK(position < decoded->found[decoded->entry_first[outcome->entry]].batch_end);
        CHECK(found->target == publish_naive_target(&n, partitions, &keyless));
        CHECK(outcome->priority == n.priority && outcome->delay_us == n.delay_us &&
              outcome->deliver_at_us == n.deliver_at_us);
        publish_check_found(found, &n);
        publish_check_order(order, found->target, position);
    }
    CHECK(stored == plan->stored_count && stored == decoded->count);
    CHECK(keyless == decoded->command.publish.keyless_count);
    free(order);
}

/* Whether the naive reading accepts the request as a whole. */
static inline bool publish_naive_accepts(const json_t *body, uint32_t partitions)
{
    const json_t *messages = json_object_get(body, "messages");
    size_t count = json_array_size(messages); /* 0 for anything but an array */
    if (!json_is_object(body) || count == 0 || count > MESSAGES_PER_PUBLISH_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (publish_naive_read(json_array_get(messages, i), partitions).wrong)
            return false;
    }
    return true;
}

/* The other members of a body that is one message, which are skipped here. */
static inline void publish_skip_member(void *user, struct json_string name, struct json_scan *scan)
{
    (void)name;
    if (++*(unsigned *)user % 2 == 0)
        CHECK(json_scan_skip(scan, NULL) || json_scan_failed(scan));
}

static inline void publish_check_batch(struct span bytes, uint32_t target,
                                       const struct publish_naive *n, uint32_t partitions)
{
    struct batch_header header;
    struct publish_found found = {.target = target};
    size_t at = 0;
    uint32_t keyless = 0;
    CHECK(batch_check(bytes, &header) == ST_OK && header.count == 1 && header.size == bytes.size);
    CHECK(batch_next(bytes, &at, &found.record));
    CHECK(target == publish_naive_target(n, partitions, &keyless));
    publish_check_found(&found, n);
}

/* The body as one message. */
static inline void publish_check_one(struct publish_builder *b, struct span body,
                                     const json_t *naive, uint32_t partitions)
{
    struct arena arena;
    struct buf batch;
    unsigned calls = 0;
    const struct publish_members others = {publish_skip_member, &calls};
    const struct publish_target target = {.topic_id = PUBLISH_CHECK_TOPIC_ID,
                                          .partition_count = partitions,
                                          .delayed_room = UINT64_MAX};
    const char *detail = NULL;
    arena_init(&arena);
    buf_init(&batch, BATCH_SIZE_MAX);
    enum status st =
        publish_reader_read_one(&b->reader, body, PUBLISH_CHECK_NOW_US, &others, &arena, &detail);
    CHECK(st == ST_OK || (st == ST_INVALID_JSON && detail != NULL));
    struct publish_message *m = b->reader.messages;
    uint32_t to = 0;
    if (st == ST_OK && m->error == NULL) {
        struct publish_plan plan;
        publish_builder_build_one(b, &target, &arena, &batch, &to, &plan);
        CHECK((plan.stored_count == 1) == (batch.size > 0) &&
              (m->error == NULL) == (batch.size > 0));
    }
    if (naive != NULL && (detail == NULL || strstr(detail, "nested too deep") == NULL)) {
        const struct publish_naive n = publish_naive_read(naive, partitions);
        CHECK(n.wrong == (st != ST_OK));
        CHECK(st != ST_OK || n.fault == (m->error != NULL));
        CHECK(st != ST_OK || n.value == NULL || m->value_size == json_string_length(n.value) ||
              m->error != NULL);
        if (batch.size > 0)
            publish_check_batch(buf_span(&batch), to, &n, partitions);
    }
    buf_fini(&batch);
    arena_fini(&arena);
}

static inline void publish_check_body(struct publish_builder *b, struct span body,
                                      uint32_t partitions)
{
    struct arena arena;
    struct buf record;
    struct publish_plan plan = {0};
    const struct publish_target target = {.topic_id = PUBLISH_CHECK_TOPIC_ID,
                                          .partition_count = partitions,
                                          .delayed_room = UINT64_MAX};
    const char *detail = NULL;
    arena_init(&arena);
    buf_init(&record, BATCH_SIZE_MAX);
    enum status st = publish_builder_read(b, body, PUBLISH_CHECK_NOW_US, &arena, &detail);
    CHECK(st == ST_OK || st == ST_INVALID_JSON || st == ST_INVALID_ARGUMENT);
    CHECK((st == ST_OK) == (detail == NULL));
    struct publish_decoded decoded = {0};
    if (st == ST_OK) {
        CHECK(publish_builder_build(b, &target, &arena, &record, &plan) == ST_OK);
        CHECK((plan.stored_count == 0) == (record.size == 0));
    }
    if (record.size > 0) {
        publish_decode(buf_span(&record), &arena, &decoded);
        CHECK(decoded.command.publish.topic_id == PUBLISH_CHECK_TOPIC_ID);
        CHECK(decoded.command.publish.partition_count == partitions);
    }
    json_t *naive =
        json_loadb((const char *)body.data, body.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (naive != NULL && memchr(body.data, 0, body.size) == NULL) {
        /* jansson goes deeper than we do. */
        bool deep = detail != NULL && strstr(detail, "nested too deep") != NULL;
        CHECK(deep || publish_naive_accepts(naive, partitions) == (st == ST_OK));
        if (st == ST_OK)
            publish_check_messages(json_object_get(naive, "messages"), &plan, &decoded, partitions);
    }
    publish_check_one(b, body, memchr(body.data, 0, body.size) == NULL ? naive : NULL, partitions);
    json_decref(naive);
    publish_decoded_fini(&decoded);
    buf_fini(&record);
    arena_fini(&arena);
}

#endif
