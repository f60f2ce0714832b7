#include "api/request.h"

#include <inttypes.h>

#include "api/reply.h"
#include "command/codec.h"
#include "std/check.h"
#include "std/duration.h"

enum { RECORD_SIZE_MAX = 80 * 1024 * 1024 };

void request_submit_command(struct request *r, const struct command *cmd,
                            void (*then)(struct request *r))
{
    buf_fini(&r->op.record);
    buf_init(&r->op.record, RECORD_SIZE_MAX);
    command_encode(cmd, &r->op.record);
    if (r->op.record.overflowed) { /* short names in the body, long ones with the tenant's prefix */
        reply_error(r, ST_PAYLOAD_TOO_LARGE);
        return;
    }
    r->op.kind = OP_COMMAND;
    request_submit(r, then);
}

void request_submit_query(struct request *r, struct query query, void (*then)(struct request *r))
{
    r->op.kind = OP_QUERY;
    r->op.query = query;
    request_submit(r, then);
}

struct span request_query(const struct request *r, const char *name)
{
    struct span wanted = span_text(name);
    for (uint32_t i = 0; i < r->query_count; i++)
        if (span_equal(r->query[i].name, wanted))
            return r->query[i].value; /* the first occurrence wins */
    return (struct span){0};
}

bool request_parse_int(struct span text, int64_t *out)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    if (at == text.size)
        return false;
    int64_t value = 0;
    for (; at < text.size; at++) {
        if (text.data[at] < '0' || text.data[at] > '9')
            return false;
        int digit = text.data[at] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            (negative ? __builtin_sub_overflow(value, digit, &value)
                      : __builtin_add_overflow(value, digit, &value)))
            return false;
    }
    *out = value;
    return true;
}

bool request_query_int(struct request *r, const char *name, int64_t lowest, int64_t highest,
                       int64_t *out)
{
    struct span text = request_query(r, name);
    if (text.size == 0)
        return true;
    int64_t value = 0;
    if (!request_parse_int(text, &value)) {
        reply_error_text(r, ST_INVALID_ARGUMENT, "%s: must be an integer", name);
        return false;
    }
    if (value < lowest || value > highest) {
        if (highest == INT64_MAX)
            reply_error_text(r, ST_INVALID_ARGUMENT, "%s: must be at least %" PRId64, name, lowest);
        else
            reply_error_text(r, ST_INVALID_ARGUMENT, "%s: must be %" PRId64 " to %" PRId64, name,
                             lowest, highest);
        return false;
    }
    *out = value;
    return true;
}

bool request_query_duration(struct request *r, const char *name, int64_t *out_us)
{
    struct span text = request_query(r, name);
    int64_t ns = 0;
    if (text.size == 0)
        return true;
    if (!duration_parse(text, &ns) || ns < 0) {
        reply_error_text(r, ST_INVALID_ARGUMENT,
                         "%s: must be a duration such as 30s or 500ms, not negative", name);
        return false;
    }
    *out_us = ns / 1000;
    return true;
}

static bool equals_ignoring_case(struct span text, const char *word)
{
    if (text.size != strlen(word))
        return false;
    for (size_t i = 0; i < text.size; i++)
        if ((text.data[i] | 0x20) != (uint8_t)(word[i] | 0x20))
            return false;
    return true;
}

bool request_query_bool(struct request *r, const char *name, bool *out)
{
    struct span text = request_query(r, name);
    if (text.size == 0)
        return true;
    if (equals_ignoring_case(text, "true") || equals_ignoring_case(text, "1")) {
        *out = true;
    } else if (equals_ignoring_case(text, "false") || equals_ignoring_case(text, "0")) {
        *out = false;
    } else {
        reply_error_text(r, ST_INVALID_ARGUMENT, "%s: must be true or false", name);
        return false;
    }
    return true;
}

static bool is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

bool name_is_topic(struct span name)
{
    if (name.size < 1 || name.size > NAME_SIZE_MAX)
        return false;
    if (name.size >= 2 && name.data[0] == '_' && name.data[1] == '_')
        return false; /* the broker's own */
    for (size_t i = 0; i < name.size; i++)
        if (!is_word(name.data[i]))
            return false;
    return true;
}

bool name_is_dead_letter(struct span name)
{
    const size_t size = strlen(DEAD_LETTER_SUFFIX);
    return name.size > size && memcmp(name.data + name.size - size, DEAD_LETTER_SUFFIX, size) == 0;
}

bool name_is_topic_address(struct span name)
{
    if (name_is_dead_letter(name))
        name.size -= strlen(DEAD_LETTER_SUFFIX);
    return name_is_topic(name);
}

bool name_is_group(struct span name)
{
    if (name.size < 1 || name.size > NAME_SIZE_MAX)
        return false;
    size_t dots = 0;
    for (size_t i = 0; i < name.size; i++) {
        dots += name.data[i] == '.';
        if (!is_word(name.data[i]) && name.data[i] != '.')
            return false;
    }
    return dots != name.size || name.size > 2; /* not "." or ".." */
}

bool name_is_tenant(struct span name)
{
    if (name.size < 3 || name.size > 64 || name.data[0] < 'a' || name.data[0] > 'z')
        return false;
    for (size_t i = 1; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

struct span request_qualify(struct request *r, struct span name)
{
    uint8_t *to = arena_alloc(&r->op.arena, r->scope.size + name.size);
    if (r->scope.size > 0)
        memcpy(to, r->scope.data, r->scope.size);
    if (name.size > 0)
        memcpy(to + r->scope.size, name.data, name.size);
    return span_of(to, r->scope.size + name.size);
}

struct span name_strip(struct span qualified)
{
    const uint8_t *slash = qualified.size == 0 ? NULL : memchr(qualified.data, '/', qualified.size);
    if (slash == NULL)
        return qualified;
    size_t head = (size_t)(slash - qualified.data) + 1;
    return span_of(slash + 1, qualified.size - head);
}

bool request_topic_param(struct request *r, unsigned param, struct span *out)
{
    if (!name_is_topic_address(r->params[param])) {
        reply_error(r, ST_TOPIC_NOT_FOUND);
        return false;
    }
    *out = request_qualify(r, r->params[param]);
    return true;
}

bool request_topic_create_name(struct request *r, struct span name, struct span *out)
{
    if (!name_is_topic_address(name)) {
        reply_error_text(r, ST_INVALID_ARGUMENT,
                         "topic name: must be 1 to 255 of A-Z a-z 0-9 _ -, not starting with __");
        return false;
    }
    *out = request_qualify(r, name);
    return true;
}

bool request_topic_create_param(struct request *r, unsigned param, struct span *out)
{
    return request_topic_create_name(r, r->params[param], out);
}

bool request_group_param(struct request *r, unsigned param, struct span *out)
{
    if (!name_is_group(r->params[param])) {
        reply_error_text(r, ST_INVALID_ARGUMENT,
                         "group id: must be 1 to 255 of A-Z a-z 0-9 . _ -, not . or ..");
        return false;
    }
    *out = request_qualify(r, r->params[param]);
    return true;
}

bool request_int_param(struct request *r, unsigned param, const char *what, int64_t *out)
{
    if (request_parse_int(r->params[param], out) && *out >= 0)
        return true;
    reply_error_text(r, ST_INVALID_ARGUMENT, "%s: must be a non-negative integer", what);
    return false;
}
