#include "api/publish_headers.h"

#include <stdlib.h>
#include <xxhash.h>

#include "command/command.h"
#include "std/alloc.h"
#include "std/check.h"

enum { COMPARED_MAX = 16, CAPACITY_MIN = 16, CAPACITY_KEPT_MAX = 1024 };

void header_reader_init(struct header_reader *r)
{
    *r = (struct header_reader){0};
}

void header_reader_fini(struct header_reader *r)
{
    free(r->headers);
    free(r->slots);
    header_reader_init(r);
}

static void reader_clear(struct header_reader *r)
{
    free(r->slots);
    r->slots = NULL;
    r->slot_count = 0;
    if (r->capacity > CAPACITY_KEPT_MAX) { /* one huge object must not hold memory for ever */
        free(r->headers);
        r->headers = NULL;
        r->capacity = 0;
    }
    r->count = 0;
    r->names_size = 0;
}

/* Where `name` is in the table, or the free slot where it belongs. The seed is an address, so that
 * nobody can prepare names that collide. */
static uint32_t *slot_find(struct header_reader *r, struct span name)
{
    uint64_t hash = XXH3_64bits_withSeed(name.data, name.size, (uintptr_t)r);
    uint32_t mask = r->slot_count - 1;
    for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
        uint32_t *slot = &r->slots[i];
        if (*slot == 0 || span_equal(r->headers[*slot - 1].name, name))
            return slot;
    }
}

static void table_build(struct header_reader *r)
{
    free(r->slots);
    r->slot_count = r->slot_count == 0 ? 4 * COMPARED_MAX : r->slot_count * 2;
    r->slots = alloc_array(r->slot_count, sizeof *r->slots);
    for (uint32_t i = 0; i < r->count; i++)
        *slot_find(r, r->headers[i].name) = i + 1;
}

/* Borrowed; NULL if the name is new. */
static struct header *header_find(struct header_reader *r, struct span name)
{
    if (r->slot_count > 0) {
        uint32_t slot = *slot_find(r, name);
        return slot == 0 ? NULL : &r->headers[slot - 1];
    }
    for (uint32_t i = 0; i < r->count; i++) {
        if (span_equal(r->headers[i].name, name))
            return &r->headers[i];
    }
    return NULL;
}

static struct header *header_add(struct header_reader *r, struct json_string raw, struct span name)
{
    if (r->count == r->capacity) {
        r->capacity = r->capacity == 0 ? CAPACITY_MIN : r->capacity * 2;
        r->headers = alloc_resize(r->headers, r->capacity, sizeof *r->headers);
    }
    struct header *header = &r->headers[r->count++];
    *header = (struct header){.name = name, .raw_name = raw};
    r->names_size += name.size;
    if (r->slot_count > 0)
        *slot_find(r, name) = r->count;
    if (r->count > COMPARED_MAX && r->count > r->slot_count / 2)
        table_build(r);
    return header;
}

/* Borrowed; NULL when the names alone are over the limit, which no later member can undo. */
static struct header *header_of(struct header_reader *r, struct json_string raw,
                                struct arena *arena)
{
    if (raw.unescaped_size > HEADERS_SIZE_MAX)
        return NULL;
    struct span name = raw.raw;
    uint8_t small[64];
    if (raw.has_escapes && raw.unescaped_size <= sizeof small)
        name = span_of(small, json_unescape(raw, small));
    else if (raw.has_escapes) {
        uint8_t *text = arena_alloc(arena, raw.unescaped_size);
        name = span_of(text, json_unescape(raw, text));
    }
    struct header *header = header_find(r, name);
    if (header != NULL)
        return header;
    if (r->names_size + name.size > HEADERS_SIZE_MAX)
        return NULL;
    if (name.data == small)
        name = arena_copy(arena, name);
    return header_add(r, raw, name);
}

static uint8_t *put(uint8_t *to, struct span s)
{
    *to++ = '"';
    memcpy(to, s.data, s.size);
    to += s.size;
    *to++ = '"';
    return to;
}

static struct span headers_text(const struct header_reader *r, struct arena *arena)
{
    size_t size = 1;
    for (uint32_t i = 0; i < r->count; i++)
        size += r->headers[i].raw_name.raw.size + r->headers[i].value.raw.size + 6;
    uint8_t *text = arena_alloc(arena, size);
    uint8_t *to = text;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct header *header = &r->headers[i];
        if (header->state == HEADER_NULL)
            continue;
        *to = to == text ? '{' : ',';
        to = put(to + 1, header->raw_name.raw);
        *to++ = ':';
        to = put(to, header->value.raw);
    }
    if (to == text)
        return span_of(NULL, 0);
    *to++ = '}';
    CHECK((size_t)(to - text) <= size);
    return span_of(text, (size_t)(to - text));
}

enum headers_problem header_reader_read(struct header_reader *r, struct json_scan *s,
                                        struct arena *arena, struct span *out_text)
{
    *out_text = span_of(NULL, 0);
    reader_clear(r);
    if (!json_scan_object_begin(s))
        return HEADERS_FINE;
    bool too_large = false;
    struct json_string name;
    while (json_scan_member(s, &name)) {
        struct header *header = too_large ? NULL : header_of(r, name, arena);
        if (header == NULL) {
            too_large = true;
            continue; /* the scanner steps over the value */
        }
        if (json_scan_string(s, &header->value))
            header->state = HEADER_TEXT;
        else
            header->state = json_scan_null(s) ? HEADER_NULL : HEADER_WRONG;
    }
    if (json_scan_failed(s))
        return HEADERS_FINE;
    size_t size = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct header *header = &r->headers[i];
        if (header->state == HEADER_WRONG)
            return HEADERS_NOT_STRINGS;
        if (header->state == HEADER_TEXT)
            size += header->name.size + header->value.unescaped_size;
    }
    if (too_large || size > HEADERS_SIZE_MAX)
        return HEADERS_TOO_LARGE;
    *out_text = headers_text(r, arena);
    return HEADERS_FINE;
}
