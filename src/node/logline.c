#include "node/logline.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "std/clock.h"
#include "std/timestamp.h"

enum { LINE_SIZE_MAX = 4096 };

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};
static atomic_int lowest_level = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store(&lowest_level, (int)level);
}

void log_line(enum log_level level, const char *event, const char *fields, ...)
{
    if ((int)level < atomic_load(&lowest_level))
        return;
    char line[LINE_SIZE_MAX];
    char now[TIMESTAMP_SIZE_MAX];
    (void)timestamp_format(now, clock_wall_us());
    int head = snprintf(line, sizeof line, "%s %s %s ", now, level_names[level], event);
    if (head < 0 || (size_t)head >= sizeof line)
        return;
    va_list args;
    va_start(args, fields);
    int tail = vsnprintf(line + head, sizeof line - (size_t)head, fields, args);
    va_end(args);
    size_t size = (size_t)head + (tail < 0 ? 0 : (size_t)tail);
    if (size > sizeof line - 2)
        size = sizeof line - 2; /* cut: a line is never split and never lost */
    line[size++] = '\n';
    ssize_t n = write(STDERR_FILENO, line, size);
    (void)n; /* nobody is left to tell */
}

const char *log_quote(char *out, size_t out_size, const void *text, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *in = text;
    size_t at = 0;
    if (out_size < 3)
        return "";
    out[at++] = '"';
    for (size_t i = 0; i < size && at + 6 < out_size; i++) {
        if (in[i] == '"' || in[i] == '\\') {
            out[at++] = '\\';
            out[at++] = (char)in[i];
        } else if (in[i] < 0x20 || in[i] == 0x7f) {
            out[at++] = '\\';
            out[at++] = 'x';
            out[at++] = hex[in[i] >> 4];
            out[at++] = hex[in[i] & 15];
        } else {
            out[at++] = (char)in[i];
        }
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}
