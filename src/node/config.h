/* Settings of `goqueue serve`: defaults, then environment, then flags, from one table (config.def);
 * validated before anything binds or is created, all problems reported at once. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "std/buf.h"

struct config { /* owned strings; sizes in bytes, durations in ns, booleans 0 or 1, choices their
                   index */
#define FIELD_TEXT(name)                                                char *name;
#define FIELD_CHOICE(name)                                              int64_t name;
#define FIELD_INTEGER(name)                                             int64_t name;
#define FIELD_BOOLEAN(name)                                             int64_t name;
#define FIELD_DURATION(name)                                            int64_t name##_ns;
#define FIELD_SIZE(name)                                                int64_t name##_bytes;
#define SETTING(name, env, flag, kind, fallback, lowest, highest, help) FIELD_##kind(name)
#include "node/config.def"
#undef SETTING
    /* Taken apart from http_listen. */
    char listen_host[256];
    uint16_t listen_port;
};

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Reads getenv() and the flags (`--flag value` or `--flag=value`) after the verb. False: *problems
 * has one line for each problem. Pair: config_fini(). */
bool config_load(struct config *c, int argc, char *const *argv, struct buf *problems);
void config_fini(struct config *c);
void config_help(struct buf *out); /* for `goqueue serve --help` */

#endif
