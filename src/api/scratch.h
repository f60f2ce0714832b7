/* What each I/O thread keeps for itself from request to request. */
#ifndef API_SCRATCH_H
#define API_SCRATCH_H

#include "api/publish_builder.h"
#include "api/topic_cache.h"

struct scratch {
    struct publish_builder publish;
    struct topic_cache *topics;
};

/* The calling thread's; made at the first call, freed when the thread ends. Never NULL. */
struct scratch *scratch_get(void);

#endif
