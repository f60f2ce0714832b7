#include "api/target.h"

#include "std/utf8.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False: a bad escape or bytes that are not UTF-8. */
static bool percent_decode(struct span text, bool plus_is_space, struct arena *arena,
                           struct span *out)
{
    uint8_t *to = arena_alloc(arena, text.size);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.size ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        to[size++] = c;
    }
    *out = span_of(to, size);
    return utf8_valid_size(*out) == size;
}

/* Cuts `*rest` at the first `separator`; *rest is what follows it, data NULL when there was none.
 */
static struct span cut(struct span *rest, char separator)
{
    const uint8_t *at = rest->size == 0 ? NULL : memchr(rest->data, separator, rest->size);
    struct span head = *rest;
    if (at == NULL) {
        *rest = (struct span){0};
        return head;
    }
    head.size = (size_t)(at - rest->data);
    *rest = span_of(at + 1, rest->size - head.size - 1);
    return head;
}

/* "http://host:port/path" is the same as "/path" (RFC 9112, 3.2.2). */
static struct span without_authority(struct span path)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t size = strlen(schemes[i]);
        if (path.size < size || memcmp(path.data, schemes[i], size) != 0)
            continue;
        struct span rest = span_of(path.data + size, path.size - size);
        const uint8_t *slash = rest.size == 0 ? NULL : memchr(rest.data, '/', rest.size);
        return slash == NULL ? span_text("/")
                             : span_of(slash, rest.size - (size_t)(slash - rest.data));
    }
    return path;
}

static enum status parse_path(struct span path, struct arena *arena, struct target *out)
{
    if (path.size == 0 || path.data[0] != '/')
        return ST_NOT_FOUND;
    path = span_of(path.data + 1, path.size - 1);
    if (path.size > 0 && path.data[path.size - 1] == '/')
        path.size--;
    while (path.data != NULL && path.size > 0) {
        struct span segment = cut(&path, '/');
        bool dangling = path.data != NULL && path.size == 0; /* "a//": an empty last segment */
        if (segment.size == 0 || dangling || out->segment_count == SEGMENTS_MAX ||
            !percent_decode(segment, false, arena, &out->segments[out->segment_count]))
            return ST_NOT_FOUND;
        out->segment_count++;
    }
    if (out->segment_count > 1 && span_equal(out->segments[0], span_text("v1"))) {
        out->segment_count--;
        memmove(out->segments, out->segments + 1, out->segment_count * sizeof out->segments[0]);
    }
    return ST_OK;
}

static enum status parse_query(struct span query, struct arena *arena, struct target *out)
{
    while (query.data != NULL) {
        struct span value = cut(&query, '&');
        if (value.size == 0)
            continue;
        if (out->query_count == QUERY_ARGS_MAX)
            break; /* no route knows so many: the rest is unknown, and ignored */
        struct query_arg *arg = &out->query[out->query_count++];
        struct span name = cut(&value, '=');
        if (!percent_decode(name, true, arena, &arg->name) ||
            !percent_decode(value, true, arena, &arg->value))
            return ST_INVALID_ARGUMENT;
    }
    return ST_OK;
}

enum status target_parse(struct span raw, struct arena *arena, struct target *out)
{
    out->segment_count = 0;
    out->query_count = 0;
    struct span query = cut(&raw, '#'); /* a fragment has no business here */
    struct span path = cut(&query, '?');
    enum status st = parse_path(without_authority(path), arena, out);
    return st == ST_OK ? parse_query(query, arena, out) : st;
}
