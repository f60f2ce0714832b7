#include "node/topic_defaults.h"

#define US_PER_HOUR (3600LL * 1000 * 1000)

static int64_t retention_us(int64_t hours)
{
    return hours < 0 ? -1 : hours * US_PER_HOUR;
}

struct topic_settings topic_default_settings(const struct config *config)
{
    return (struct topic_settings){
        .retention_us = retention_us(config->retention_hours),
        .retention_bytes = -1,
        .visibility_us = config->visibility_ns / 1000,
        .deliveries_max = (uint32_t)config->deliveries_max,
        .in_flight_max = 0,
        .delayed_max = (uint32_t)config->delayed_max,
        .cleanup = CLEANUP_DELETE,
        .priority_mode = PRIORITY_STRICT,
    };
}

struct topic_settings topic_dead_letter_settings(const struct config *config)
{
    struct topic_settings settings = topic_default_settings(config);
    settings.retention_us = retention_us(config->dead_letter_hours);
    return settings;
}
