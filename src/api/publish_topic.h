/* The topic that a request publishes to: as this thread remembers it, as the shard knows it, or
 * made now; and what to do when it was not what it seemed to be. */
#ifndef API_PUBLISH_TOPIC_H
#define API_PUBLISH_TOPIC_H

#include "api/publish_builder.h"
#include "api/request.h"

/* r->state points to a struct that begins with this one. */
struct publish_topic {
    struct span name; /* qualified */
    /* Reads the body into the thread's scratch memory, in which there may be another one after the
     * shard was asked. False: answered. */
    bool (*read)(struct request *r);
    /* What was read is for this topic: submits the command, or answers. */
    void (*build)(struct request *r, const struct publish_target *target);
    /* Its own. */
    bool guessed;          /* the topic is as this thread remembers it */
    unsigned stale_count;  /* how often the topic was not what it had been */
    unsigned full_count;   /* how often there was less room for delayed messages than needed */
    uint64_t delayed_room; /* UINT64_MAX: not known, so enough */
};

/* Finds the topic, or makes it, and goes on with `build`. The body was read just now. The last
 * thing a handler does, as the next. */
void publish_topic_find(struct request *r, struct span name);
/* Asks the shard, whatever this thread remembers. */
void publish_topic_resolve(struct request *r);
/* The command was applied, or not. True: its result asks for another attempt, which is under way,
 * or the request has been answered since there were too many. delayed_room: for so many delayed
 * messages the topic has room, on ST_DELAYED_FULL. */
bool publish_topic_retry(struct request *r, uint32_t delayed_room);

#endif
