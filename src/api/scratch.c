#include "api/scratch.h"

#include <pthread.h>
#include <stdlib.h>

#include "std/alloc.h"
#include "std/check.h"

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static _Thread_local struct scratch *own; /* the key is there to free it */

static void scratch_free(void *value)
{
    struct scratch *s = value;
    publish_builder_fini(&s->publish);
    topic_cache_free(s->topics);
    free(s);
    own = NULL;
}

static void key_create(void)
{
    CHECK(pthread_key_create(&key, scratch_free) == 0);
}

struct scratch *scratch_get(void)
{
    if (own != NULL)
        return own;
    CHECK(pthread_once(&key_once, key_create) == 0);
    own = new_zero(struct scratch);
    publish_builder_init(&own->publish);
    own->topics = topic_cache_new();
    CHECK(pthread_setspecific(key, own) == 0);
    return own;
}
