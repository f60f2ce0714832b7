/* Everything we know to be true of json_scan and json_write on any bytes at all, checked against
 * jansson. The fuzz target and the property test share it.
 *
 * What jansson does differently, on purpose, and how each is met:
 *   - it refuses integers outside int64 and reals outside double: such numbers are overwritten by
 *     "0" in the copy that jansson reads;
 *   - it keeps the last of equal names, and we give out all: jansson reads our output too, so the
 *     same one is kept on both sides;
 *   - it refuses U+0000 in names: where we saw one it must refuse;
 *   - it drops a NUL byte right behind a number or a literal, where we stop;
 *   - it nests 2048 deep, we 64: a document we found too deep must be deep. */
#ifndef TESTS_JSON_CHECK_H
#define TESTS_JSON_CHECK_H

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"
#include "std/json_scan.h"
#include "std/json_write.h"
#include "std/utf8.h"

enum { REWRITE_SIZE_FACTOR = 8, REWRITE_SIZE_EXTRA = 64 };

/* One pass over a document: what it holds, written again by us. */
struct json_rewrite {
    struct json_scan scan;
    struct json_writer writer;
    struct buf out;
    uint8_t *copy; /* the document, numbers that jansson cannot hold overwritten */
    struct span document;
    bool nul_in_name;
};

static inline void json_rewrite_value(struct json_rewrite *r);

/* The string, unescaped, in memory of its own. Pair: free(). */
static inline uint8_t *json_check_unescape(struct json_string string)
{
    uint8_t *text = alloc_bytes(string.unescaped_size + 1);
    CHECK(json_unescape(string, text) == string.unescaped_size);
    struct span plain = span_of(text, string.unescaped_size);
    CHECK(utf8_valid(plain));
    CHECK(string.has_escapes || span_equal(plain, string.raw));
    CHECK(string.has_escapes == (string.raw.size > string.unescaped_size));
    CHECK(!string.has_escapes || json_string_equals_escaped(string, plain));
    if (plain.size > 0) {
        text[plain.size / 2] ^= 1;
        CHECK(!string.has_escapes || !json_string_equals_escaped(string, plain));
        text[plain.size / 2] ^= 1;
    }
    return text;
}

static inline void json_check_escape(struct span plain)
{
    struct buf fast, slow;
    buf_init(&fast, plain.size * 6 + 64);
    buf_init(&slow, plain.size * 6 + 64);
    json_escape(&fast, plain);
    json_escape_portable(&slow, plain);
    CHECK(span_equal(buf_span(&fast), buf_span(&slow)));
    buf_fini(&fast);
    buf_fini(&slow);
}

static inline void json_rewrite_object(struct json_rewrite *r)
{
    struct json_string name;
    json_write_object_begin(&r->writer);
    while (json_scan_member(&r->scan, &name)) {
        uint8_t *text = json_check_unescape(name);
        struct span plain = span_of(text, name.unescaped_size);
        r->nul_in_name |= plain.size > 0 && memchr(plain.data, 0, plain.size) != NULL;
        json_write_key_string(&r->writer, plain);
        free(text);
        json_rewrite_value(r);
    }
    json_write_object_end(&r->writer);
}

static inline void json_rewrite_array(struct json_rewrite *r)
{
    json_write_array_begin(&r->writer);
    while (json_scan_next(&r->scan))
        json_rewrite_value(r);
    json_write_array_end(&r->writer);
}

static inline void json_rewrite_number(struct json_rewrite *r)
{
    int64_t integer = 0;
    if (json_scan_int64(&r->scan, &integer)) {
        json_write_int64(&r->writer, integer);
        return;
    }
    struct span raw = {0};
    if (!json_scan_skip(&r->scan, &raw))
        return;
    bool real = false;
    for (size_t i = 0; i < raw.size; i++)
        real |= raw.data[i] == '.' || raw.data[i] == 'e' || raw.data[i] == 'E';
    char *text = alloc_string((const char *)raw.data, raw.size);
    if (real && isfinite(strtod(text, NULL))) {
        json_write_raw(&r->writer, raw);
    } else {
        size_t at = (size_t)(raw.data - r->document.data);
        memset(r->copy + at, ' ', raw.size);
        r->copy[at] = '0';
        json_write_int64(&r->writer, 0);
    }
    free(text);
}

/* Readers of other kinds must leave the value alone. */
static inline void json_check_other_readers(struct json_scan *s, enum json_kind kind)
{
    const uint8_t *at = s->at;
    struct json_string string;
    int64_t integer;
    bool flag;
    CHECK(kind == JSON_KIND_OBJECT || !json_scan_object_begin(s));
    CHECK(kind == JSON_KIND_ARRAY || !json_scan_array_begin(s));
    CHECK(kind == JSON_KIND_STRING || !json_scan_string(s, &string));
    CHECK(kind == JSON_KIND_NUMBER || !json_scan_int64(s, &integer));
    CHECK(kind == JSON_KIND_BOOL || !json_scan_bool(s, &flag));
    CHECK(kind == JSON_KIND_NULL || !json_scan_null(s));
    CHECK(kind == JSON_KIND_NONE || (!json_scan_failed(s) && s->at == at));
}

static inline void json_rewrite_value(struct json_rewrite *r)
{
    enum json_kind kind = json_scan_peek(&r->scan);
    struct json_string string;
    bool flag;
    json_check_other_readers(&r->scan, kind);
    switch (kind) {
    case JSON_KIND_OBJECT:
        if (json_scan_object_begin(&r->scan))
            json_rewrite_object(r);
        break;
    case JSON_KIND_ARRAY:
        if (json_scan_array_begin(&r->scan))
            json_rewrite_array(r);
        break;
    case JSON_KIND_STRING:
        if (json_scan_string(&r->scan, &string)) {
            uint8_t *text = json_check_unescape(string);
            struct span plain = span_of(text, string.unescaped_size);
            json_check_escape(plain);
            json_write_string(&r->writer, plain);
            free(text);
        }
        break;
    case JSON_KIND_NUMBER:
        json_rewrite_number(r);
        break;
    case JSON_KIND_BOOL:
        if (json_scan_bool(&r->scan, &flag))
            json_write_bool(&r->writer, flag);
        break;
    case JSON_KIND_NULL:
        if (json_scan_null(&r->scan))
            json_write_null(&r->writer);
        break;
    case JSON_KIND_NONE:
        CHECK(json_scan_failed(&r->scan));
        break;
    }
}

/* Whether the document was valid; r->out is its rewriting then. Pair: json_rewrite_fini(). */
static inline bool json_rewrite_init(struct json_rewrite *r, struct span document)
{
    *r = (struct json_rewrite){.document = document};
    r->copy = alloc_bytes(document.size + 1);
    if (document.size > 0)
        memcpy(r->copy, document.data, document.size);
    buf_init(&r->out, document.size * REWRITE_SIZE_FACTOR + REWRITE_SIZE_EXTRA);
    json_writer_init(&r->writer, &r->out);
    json_scan_init(&r->scan, document);
    json_rewrite_value(r);
    bool valid = json_scan_end(&r->scan);
    CHECK(valid == !json_scan_failed(&r->scan));
    CHECK(valid == (json_scan_error(&r->scan)[0] == '\0'));
    CHECK(!r->out.overflowed);
    return valid;
}

static inline void json_rewrite_fini(struct json_rewrite *r)
{
    buf_fini(&r->out);
    free(r->copy);
}

static inline json_t *json_check_load(const uint8_t *data, size_t size, json_error_t *out_error)
{
    return json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, out_error);
}

/* How deep the brackets before `size` nest, strings aside. */
static inline unsigned json_check_depth(const uint8_t *data, size_t size)
{
    unsigned depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        if (in_string && data[i] == '\\')
            i++;
        else if (data[i] == '"')
            in_string = !in_string;
        else if (!in_string && (data[i] == '[' || data[i] == '{'))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!in_string && (data[i] == ']' || data[i] == '}') && depth > 0)
            depth--;
    }
    return deepest;
}

/* Whether the scan stopped at a NUL byte right behind a number or a literal. */
static inline bool json_check_nul_dropped(const struct json_scan *s)
{
    return s->at > s->start && s->at < s->end && *s->at == '\0' &&
           (isdigit(s->at[-1]) || islower(s->at[-1]));
}

static inline void json_check_against_jansson(struct json_rewrite *r, bool valid)
{
    json_error_t error;
    json_t *theirs = json_check_load(r->copy, r->document.size, &error);
    if (valid && r->nul_in_name) {
        CHECK(theirs == NULL);
    } else if (valid) {
        CHECK(theirs != NULL);
        json_t *ours = json_check_load(r->out.data, r->out.size, &error);
        CHECK(ours != NULL);
        CHECK(json_equal(ours, theirs));
        json_decref(ours);
    } else if (theirs != NULL && !json_check_nul_dropped(&r->scan)) {
        CHECK(strstr(json_scan_error(&r->scan), "nested too deep") != NULL);
        CHECK(json_check_depth(r->document.data, r->document.size) > JSON_DEPTH_MAX);
    }
    json_decref(theirs);
}

/* The document once more, through each variant and with nobody looking at its values. */
static inline void json_check_variants(const struct json_rewrite *r, bool valid)
{
    unsigned count = 0;
    for (; json_text_scan_variant(count) != NULL; count++) {
        json_text_scan = json_text_scan_variant(count);
        struct json_scan scan;
        json_scan_init(&scan, r->document);
        CHECK(json_scan_end(&scan) == valid);
        CHECK(strcmp(json_scan_error(&scan), json_scan_error(&r->scan)) == 0);

        struct json_rewrite again;
        CHECK(json_rewrite_init(&again, r->document) == valid);
        CHECK(span_equal(buf_span(&again.out), buf_span(&r->out)));
        json_rewrite_fini(&again);
    }
    CHECK(count > 0); /* the last one, the fastest, stays in use */
}

static inline void json_check_document(struct span document)
{
    struct json_rewrite r;
    bool valid = json_rewrite_init(&r, document);
    json_check_against_jansson(&r, valid);
    json_check_variants(&r, valid);
    if (valid) { /* what we write we read, and write the same again */
        struct json_rewrite again;
        CHECK(json_rewrite_init(&again, buf_span(&r.out)));
        CHECK(span_equal(buf_span(&again.out), buf_span(&r.out)));
        json_rewrite_fini(&again);
    }
    json_rewrite_fini(&r);
}

#endif
