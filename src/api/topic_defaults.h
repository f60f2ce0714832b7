/* What a topic gets that does not say, also one that publishing creates. */
#ifndef API_TOPIC_DEFAULTS_H
#define API_TOPIC_DEFAULTS_H

#include "command/command.h"
#include "node/config.h"

struct topic_settings topic_default_settings(const struct config *config);

#endif
