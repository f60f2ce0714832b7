#include "node/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "std/alloc.h"
#include "std/check.h"
#include "std/duration.h"

enum kind { KIND_TEXT, KIND_CHOICE, KIND_INTEGER, KIND_BOOLEAN, KIND_DURATION, KIND_SIZE };

struct setting {
    const char *env;
    const char *flag;
    const char *fallback;
    const char *help; /* of a CHOICE: "a | b: what it means" */
    int64_t lowest, highest;
    enum kind kind;
    size_t offset; /* of the field in struct config */
};

#define NAME_TEXT(name)     name
#define NAME_CHOICE(name)   name
#define NAME_INTEGER(name)  name
#define NAME_BOOLEAN(name)  name
#define NAME_DURATION(name) name##_ns
#define NAME_SIZE(name)     name##_bytes

static const struct setting settings[] = {
#define SETTING(name, env_name, flag_name, kind_name, text, low, high, help_text)                  \
    {.env = (env_name),                                                                            \
     .flag = (flag_name),                                                                          \
     .fallback = (text),                                                                           \
     .help = (help_text),                                                                          \
     .lowest = (low),                                                                              \
     .highest = (high),                                                                            \
     .kind = KIND_##kind_name,                                                                     \
     .offset = offsetof(struct config, NAME_##kind_name(name))},
#include "node/config.def"
#undef SETTING
};

enum { SETTINGS = sizeof settings / sizeof settings[0], PROBLEMS_SIZE_MAX = 65536 };

static bool parse_integer(const char *text, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        return false;
    *out = value;
    return true;
}

/* "64MiB", "1 GiB" or plain bytes. */
static bool parse_size(const char *text, int64_t *out)
{
    static const struct {
        const char *suffix;
        int shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || value < 0)
        return false;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcasecmp(end, units[i].suffix) == 0 && value <= INT64_MAX >> units[i].shift) {
            *out = (int64_t)((uint64_t)value << units[i].shift);
            return true;
        }
    return false;
}

static bool parse_boolean(const char *text, int64_t *out)
{
    *out = strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0;
    return *out != 0 || strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

/* The choices are the words before the colon of the help text, in the order of their values. */
static bool parse_choice(const char *choices, const char *text, int64_t *out)
{
    size_t size = strlen(text);
    *out = 0;
    for (const char *at = choices;; (*out)++) {
        size_t word = strcspn(at, " :");
        if (word == size && strncmp(at, text, size) == 0 && size > 0)
            return true;
        at += word;
        if (strncmp(at, " | ", 3) != 0)
            return false;
        at += 3;
    }
}

static const char *const kind_hints[] = {
    [KIND_INTEGER] = "an integer",
    [KIND_BOOLEAN] = "true or false",
    [KIND_DURATION] = "a duration such as 30s or 1h30m",
    [KIND_SIZE] = "a size such as 64MiB",
};

static void set_value(struct config *c, const struct setting *s, const char *text,
                      const char *source, struct buf *problems)
{
    char *field = (char *)c + s->offset;
    int64_t value = 0;
    bool ok = false;
    switch (s->kind) {
    case KIND_TEXT: {
        char **slot = (char **)(void *)field;
        free(*slot);
        *slot = alloc_string(text, strlen(text));
        if (text[0] == '\0')
            buf_printf(problems, "%s: must not be empty\n", source);
        return;
    }
    case KIND_CHOICE:
        if (!parse_choice(s->help, text, &value)) {
            int words = (int)strcspn(s->help, ":");
            buf_printf(problems, "%s: '%s' is not one of: %.*s\n", source, text, words, s->help);
            return;
        }
        *(int64_t *)(void *)field = value;
        return;
    case KIND_INTEGER:
        ok = parse_integer(text, &value);
        break;
    case KIND_BOOLEAN:
        ok = parse_boolean(text, &value);
        break;
    case KIND_DURATION:
        ok = duration_parse(span_text(text), &value);
        break;
    case KIND_SIZE:
        ok = parse_size(text, &value);
        break;
    }
    if (!ok) {
        buf_printf(problems, "%s: '%s' is not %s\n", source, text, kind_hints[s->kind]);
        return;
    }
    if (value < s->lowest || value > s->highest) {
        buf_printf(problems, "%s: '%s' is out of range (%" PRId64 " to %" PRId64 "%s)\n", source,
                   text, s->lowest, s->highest,
                   s->kind == KIND_DURATION ? " ns"
                   : s->kind == KIND_SIZE   ? " bytes"
                                            : "");
        return;
    }
    *(int64_t *)(void *)field = value;
}

static const struct setting *find_flag(const char *name, size_t size)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (strlen(settings[i].flag) == size && strncmp(settings[i].flag, name, size) == 0)
            return &settings[i];
    return NULL;
}

static void read_flags(struct config *c, int argc, char *const *argv, struct buf *problems)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strncmp(arg, "--", 2) != 0) {
            buf_printf(problems, "'%s': not a flag; see goqueue serve --help\n", arg);
            continue;
        }
        size_t size = strcspn(arg + 2, "=");
        const struct setting *s = find_flag(arg + 2, size);
        const char *value = arg[2 + size] == '=' ? arg + 3 + size : NULL;
        if (s == NULL) {
            buf_printf(problems, "'%s': no such flag; see goqueue serve --help\n", arg);
            continue;
        }
        if (value == NULL && i + 1 < argc)
            value = argv[++i];
        if (value == NULL)
            buf_printf(problems, "%s: needs a value\n", arg);
        else
            set_value(c, s, value, arg, problems);
    }
}

/* "host:port", "[v6]:port" or ":port" (every address). */
static void parse_listen(struct config *c, struct buf *problems)
{
    const char *text = c->http_listen;
    const char *colon = strrchr(text, ':');
    int64_t port = 0;
    const char *host = text;
    size_t size = colon != NULL ? (size_t)(colon - text) : 0;
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    } else if (memchr(host, ':', size) != NULL) {
        colon = NULL; /* a bare IPv6 address is ambiguous */
    }
    if (colon == NULL || !parse_integer(colon + 1, &port) || port < 0 || port > 65535 ||
        size >= sizeof c->listen_host) {
        buf_printf(problems, "listeners-http: '%s' is not address:port, such as 127.0.0.1:8080\n",
                   text);
        return;
    }
    memcpy(c->listen_host, size == 0 ? "0.0.0.0" : host, size == 0 ? 7 : size);
    c->listen_host[size == 0 ? 7 : size] = '\0';
    c->listen_port = (uint16_t)port;
}

bool config_load(struct config *c, int argc, char *const *argv, struct buf *problems)
{
    *c = (struct config){0};
    size_t before = problems->size;
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *env = getenv(settings[i].env); /* NOLINT(concurrency-mt-unsafe): one thread */
        set_value(c, &settings[i], settings[i].fallback, settings[i].flag, problems);
        CHECK(problems->size == before || i > 0); /* the defaults are valid */
        if (env != NULL)
            set_value(c, &settings[i], env, settings[i].env, problems);
    }
    read_flags(c, argc, argv, problems);
    parse_listen(c, problems);
    if (c->retention_hours == 0)
        buf_put_text(problems, "topics-retentionhours: must be at least 1, or -1 for unlimited\n");
    if (c->dead_letter_hours == 0)
        buf_put_text(problems,
                     "delivery-dlqretentionhours: must be at least 1, or -1 for unlimited\n");
    return problems->size == before;
}

void config_fini(struct config *c)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (settings[i].kind == KIND_TEXT) {
            char **slot = (char **)(void *)((char *)c + settings[i].offset);
            free(*slot);
            *slot = NULL;
        }
}

void config_help(struct buf *out)
{
    for (size_t i = 0; i < SETTINGS; i++)
        buf_printf(out, "  --%-24s %s\n  %-26s default %s; environment %s\n", settings[i].flag,
                   settings[i].help, "", settings[i].fallback, settings[i].env);
}
