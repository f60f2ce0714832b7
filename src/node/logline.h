/* Log lines on stderr: one event a line, `time level event key=value ...`, values from outside
 * escaped.
 *
 *     2026-01-31T12:00:00.123456Z INFO started http=127.0.0.1:8080 recovered_messages=12
 *
 * Any thread; a line is one write(2). */
#ifndef NODE_LOGLINE_H
#define NODE_LOGLINE_H

#include <stdint.h>

#include "node/config.h"

void log_set_level(enum log_level level);
/* fields: printf text of `key=value` pairs; use log_quote() for anything that came from outside. */
void log_line(enum log_level level, const char *event, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));
/* Writes `text` quoted and escaped into out (cut at its size) and returns out. */
const char *log_quote(char *out, size_t out_size, const void *text, size_t size);

#endif
