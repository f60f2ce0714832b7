#include "api/publish_message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "command/command.h"
#include "command/record_batch.h"
#include "std/alloc.h"
#include "std/check.h"
#include "std/duration.h"
#include "std/timestamp.h"

enum { CAPACITY_MIN = 64, DETAIL_SIZE = 160 };

#define DELAY_MAX_US (8760LL * 3600 * 1000 * 1000)

enum field {
    FIELD_VALUE,
    FIELD_KEY,
    FIELD_PARTITION,
    FIELD_DELAY,
    FIELD_DELIVER_AT,
    FIELD_DELIVER_AT_ALIAS, /* deliver_at; counts where deliverAt is absent */
    FIELD_PRIORITY,
    FIELD_HEADERS,
    FIELD_COUNT
};

static const struct {
    const char *name;
    const char *kind; /* for "must be ..." */
} fields[FIELD_COUNT] = {
    [FIELD_VALUE] = {"value", "a string"},
    [FIELD_KEY] = {"key", "a string"},
    [FIELD_PARTITION] = {"partition", "an integer"},
    [FIELD_DELAY] = {"delay", "a string"},
    [FIELD_DELIVER_AT] = {"deliverAt", "a string"},
    [FIELD_DELIVER_AT_ALIAS] = {"deliver_at", "a string"},
    [FIELD_PRIORITY] = {"priority", "a string"},
    [FIELD_HEADERS] = {"headers", "an object of strings"},
};

/* One message while its members are read. Bit `1 << field` in `seen`: present with the right type;
 * in `wrong`: with another one. Of duplicates the last counts. */
struct draft {
    unsigned seen;
    unsigned wrong;
    enum json_kind wrong_kind[FIELD_COUNT];
    struct json_string text[FIELD_COUNT];
    int64_t partition;
    struct span headers;
    bool headers_too_large;
};

/* One request while it is read. */
struct reading {
    struct publish_reader *reader;
    struct json_scan *scan;
    struct arena *arena; /* the request's */
    int64_t now_us;
    const struct publish_members *others; /* NULL: the body is a list */
    bool found;                           /* `messages` is there, as an array */
    bool too_many;
    const char *problem; /* the first wrong type */
};

const char *priority_text(uint8_t priority)
{
    static const char *const texts[PRIORITY_COUNT] = {
        [PRIORITY_CRITICAL] = "critical",     [PRIORITY_HIGH] = "high",
        [PRIORITY_NORMAL] = "normal",         [PRIORITY_LOW] = "low",
        [PRIORITY_BACKGROUND] = "background",
    };
    CHECK(priority < PRIORITY_COUNT);
    return texts[priority];
}

void publish_reader_init(struct publish_reader *r)
{
    *r = (struct publish_reader){0};
    header_reader_init(&r->headers);
    arena_init(&r->arena);
}

void publish_reader_fini(struct publish_reader *r)
{
    free(r->messages);
    header_reader_fini(&r->headers);
    arena_fini(&r->arena);
    *r = (struct publish_reader){0};
}

static struct publish_message *message_add(struct publish_reader *r)
{
    if (r->count == r->capacity) {
        r->capacity = r->capacity == 0 ? CAPACITY_MIN : r->capacity * 2;
        r->messages = alloc_resize(r->messages, r->capacity, sizeof *r->messages);
    }
    return &r->messages[r->count++];
}

static enum field field_of(struct json_string name)
{
    if (json_string_equals(name, "value"))
        return FIELD_VALUE;
    if (json_string_equals(name, "key"))
        return FIELD_KEY;
    for (enum field f = FIELD_PARTITION; f < FIELD_COUNT; f++) {
        if (json_string_equals(name, fields[f].name))
            return f;
    }
    return FIELD_COUNT;
}

__attribute__((format(printf, 2, 3))) static void note_problem(struct reading *in, const char *fmt,
                                                               ...)
{
    if (in->problem != NULL)
        return;
    char text[DETAIL_SIZE];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    in->problem = arena_string(in->arena, span_text(text));
}

/* Reads the member's value if it has the type that the field wants. */
static bool read_field(struct reading *in, struct draft *d, enum field f)
{
    if (f == FIELD_PARTITION)
        return json_scan_int64(in->scan, &d->partition);
    if (f != FIELD_HEADERS)
        return json_scan_string(in->scan, &d->text[f]);
    if (json_scan_peek(in->scan) != JSON_KIND_OBJECT)
        return false;
    enum headers_problem problem =
        header_reader_read(&in->reader->headers, in->scan, &in->reader->arena, &d->headers);
    d->headers_too_large = problem == HEADERS_TOO_LARGE;
    if (problem != HEADERS_NOT_STRINGS)
        return true;
    d->wrong |= 1U << f;
    d->wrong_kind[f] = JSON_KIND_OBJECT;
    return true; /* the value is read */
}

static void read_member(struct reading *in, struct draft *d, enum field f)
{
    const unsigned bit = 1U << f;
    d->seen &= ~bit;
    d->wrong &= ~bit;
    if (read_field(in, d, f)) {
        d->seen |= bit;
    } else if (!json_scan_null(in->scan)) {
        d->wrong |= bit;
        d->wrong_kind[f] = json_scan_peek(in->scan);
    }
}

static void note_wrong_field(struct reading *in, const struct draft *d)
{
    unsigned f = (unsigned)__builtin_ctz(d->wrong);
    char of[32] = "";
    if (in->others == NULL)
        (void)snprintf(of, sizeof of, "messages[%" PRIu32 "].", in->reader->count);
    if (d->wrong_kind[f] == JSON_KIND_OBJECT && f == FIELD_HEADERS)
        note_problem(in, "%sheaders must be an object of strings only", of);
    else if (d->wrong_kind[f] == JSON_KIND_NUMBER && f == FIELD_PARTITION)
        note_problem(in, "%spartition must be an integer of 64 bits", of);
    else
        note_problem(in, "%s%s must be %s, not %s", of, fields[f].name, fields[f].kind,
                     json_kind_text(d->wrong_kind[f]));
}

/* The string's UTF-8: in the body if it has no escapes, else in the reader's arena. */
static struct span plain_text(struct reading *in, struct json_string text)
{
    if (!text.has_escapes)
        return text.raw;
    uint8_t *out = arena_alloc(&in->reader->arena, text.unescaped_size);
    return span_of(out, json_unescape(text, out));
}

static const char *read_priority(struct reading *in, const struct draft *d,
                                 struct publish_message *m)
{
    m->priority = PRIORITY_NORMAL;
    if ((d->seen & 1U << FIELD_PRIORITY) == 0)
        return NULL;
    struct span text = plain_text(in, d->text[FIELD_PRIORITY]);
    for (unsigned p = 0; p < PRIORITY_COUNT; p++) {
        const char *name = priority_text((uint8_t)p);
        if (text.size == strlen(name) &&
            strncasecmp((const char *)text.data, name, text.size) == 0) {
            m->priority = (uint8_t)p;
            return NULL;
        }
    }
    return "priority must be critical, high, normal, low or background";
}

static const char *read_delay(struct reading *in, const struct draft *d, struct publish_message *m)
{
    int64_t ns;
    if (!duration_parse(plain_text(in, d->text[FIELD_DELAY]), &ns))
        return "delay must be a duration such as \"30s\" or \"1h30m\"";
    if (ns < 0)
        return "delay must not be negative";
    int64_t us = ns / 1000 + (ns % 1000 != 0); /* never early */
    if (us > DELAY_MAX_US)
        return "delay must be at most 8760h";
    m->delay_us = us;
    return NULL;
}

static const char *read_deliver_at(struct reading *in, struct json_string text,
                                   struct publish_message *m)
{
    int64_t us;
    if (!timestamp_parse(plain_text(in, text), &us))
        return "deliverAt must be a timestamp such as \"2006-01-02T15:04:05Z\"";
    if (us <= in->now_us)
        return NULL;
    if (us - in->now_us > DELAY_MAX_US)
        return "deliverAt must be at most 8760h ahead";
    m->deliver_at_us = us;
    return NULL;
}

static const char *read_due(struct reading *in, const struct draft *d, struct publish_message *m)
{
    if (d->seen & 1U << FIELD_DELAY)
        return read_delay(in, d, m);
    if (d->seen & 1U << FIELD_DELIVER_AT)
        return read_deliver_at(in, d->text[FIELD_DELIVER_AT], m);
    if (d->seen & 1U << FIELD_DELIVER_AT_ALIAS)
        return read_deliver_at(in, d->text[FIELD_DELIVER_AT_ALIAS], m);
    return NULL;
}

static const char *find_oversize(const struct draft *d)
{
    if (d->text[FIELD_VALUE].unescaped_size > VALUE_SIZE_MAX)
        return "value must be at most 16 MiB";
    if (d->seen & 1U << FIELD_KEY && d->text[FIELD_KEY].unescaped_size > KEY_SIZE_MAX)
        return "key must be at most 65535 bytes";
    if (d->seen & 1U << FIELD_HEADERS && d->headers_too_large)
        return "headers must be at most 65535 bytes together";
    return NULL;
}

/* The first fault of the message, or NULL. */
static const char *read_message_fields(struct reading *in, const struct draft *d,
                                       struct publish_message *m)
{
    if ((d->seen & 1U << FIELD_VALUE) == 0)
        return "value is required";
    const char *oversize = find_oversize(d);
    m->too_large = oversize != NULL;
    if (m->too_large)
        return oversize;
    m->value = d->text[FIELD_VALUE].raw;
    m->value_escaped = d->text[FIELD_VALUE].has_escapes;
    m->value_size = (uint32_t)d->text[FIELD_VALUE].unescaped_size;
    if (d->seen & 1U << FIELD_KEY)
        m->key = plain_text(in, d->text[FIELD_KEY]);
    if (d->seen & 1U << FIELD_HEADERS)
        m->headers = d->headers;
    if (d->seen & 1U << FIELD_PARTITION) {
        m->has_partition = true;
        m->partition = d->partition;
    }
    const char *error = read_priority(in, d, m);
    return error != NULL ? error : read_due(in, d, m);
}

static void read_message(struct reading *in)
{
    struct json_string name;
    if (!json_scan_object_begin(in->scan)) {
        note_problem(in, "messages[%" PRIu32 "] must be an object, not %s", in->reader->count,
                     json_kind_text(json_scan_peek(in->scan)));
        (void)message_add(in->reader);
        return;
    }
    struct draft d;
    d.seen = 0;
    d.wrong = 0;
    while (json_scan_member(in->scan, &name)) {
        enum field f = field_of(name);
        if (f < FIELD_COUNT)
            read_member(in, &d, f);
        else if (in->others != NULL)
            in->others->read(in->others->user, name, in->scan);
    }
    if (d.wrong != 0)
        note_wrong_field(in, &d);
    struct publish_message *m = message_add(in->reader);
    *m = (struct publish_message){.priority = PRIORITY_NORMAL};
    if (d.wrong == 0)
        m->error = read_message_fields(in, &d, m);
}

/* The value of one `messages` member; an earlier one counts no more. */
static void read_messages(struct reading *in)
{
    in->found = false;
    in->too_many = false;
    in->problem = NULL;
    in->reader->count = 0;
    if (!json_scan_array_begin(in->scan)) {
        if (!json_scan_null(in->scan))
            note_problem(in, "messages must be an array, not %s",
                         json_kind_text(json_scan_peek(in->scan)));
        return;
    }
    in->found = true;
    while (json_scan_next(in->scan)) {
        if (in->reader->count == MESSAGES_PER_PUBLISH_MAX)
            in->too_many = true; /* the scanner steps over it */
        else
            read_message(in);
    }
}

static enum status refuse_type(struct arena *arena, const char *problem, const char **out_detail)
{
    char text[DETAIL_SIZE + 16];
    (void)snprintf(text, sizeof text, "invalid JSON: %s", problem);
    *out_detail = arena_string(arena, span_text(text));
    return ST_INVALID_JSON;
}

static void read_body(struct reading *in)
{
    struct json_string name;
    if (in->others != NULL) {
        read_message(in);
        return;
    }
    if (!json_scan_object_begin(in->scan))
        return;
    while (json_scan_member(in->scan, &name)) {
        if (json_string_equals(name, "messages"))
            read_messages(in);
    }
}

/* What every body has to be: an object of JSON, whose known members have the right types. */
static enum status read_document(struct reading *in, struct span body, const char **out_detail)
{
    in->reader->count = 0;
    arena_clear(&in->reader->arena);
    json_scan_init(in->scan, body);
    enum json_kind kind = json_scan_peek(in->scan);
    if (kind == JSON_KIND_OBJECT)
        read_body(in);
    if (!json_scan_end(in->scan)) {
        *out_detail = arena_string(in->arena, span_text(json_scan_error(in->scan)));
        return ST_INVALID_JSON;
    }
    if (kind != JSON_KIND_OBJECT)
        note_problem(in, "the body must be an object, not %s", json_kind_text(kind));
    return in->problem == NULL ? ST_OK : refuse_type(in->arena, in->problem, out_detail);
}

enum status publish_reader_read(struct publish_reader *r, struct span body, int64_t now_us,
                                struct arena *arena, const char **out_detail)
{
    struct json_scan scan;
    struct reading in = {.reader = r, .scan = &scan, .arena = arena, .now_us = now_us};
    enum status st = read_document(&in, body, out_detail);
    if (st != ST_OK)
        return st;
    if (!in.found)
        *out_detail = "messages is required";
    else if (in.too_many || r->count == 0)
        *out_detail = "messages must have 1 to 10000 elements";
    else
        return ST_OK;
    return ST_INVALID_ARGUMENT;
}

enum status publish_reader_read_one(struct publish_reader *r, struct span body, int64_t now_us,
                                    const struct publish_members *others, struct arena *arena,
                                    const char **out_detail)
{
    struct json_scan scan;
    struct reading in = {
        .reader = r, .scan = &scan, .arena = arena, .now_us = now_us, .others = others};
    return read_document(&in, body, out_detail);
}
