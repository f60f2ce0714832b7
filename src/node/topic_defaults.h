/* What a topic gets that does not say, also one that publishing or dead-lettering creates. */
#ifndef NODE_TOPIC_DEFAULTS_H
#define NODE_TOPIC_DEFAULTS_H

#include "command/command.h"
#include "node/config.h"

struct topic_settings topic_default_settings(const struct config *config);
/* The same, but kept for longer: of a dead-letter topic that the broker makes. */
struct topic_settings topic_dead_letter_settings(const struct config *config);

#endif
