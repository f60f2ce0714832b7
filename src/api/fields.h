/* Members of a JSON body by the contract's type rules (2.3): null is absent, integers are integers,
 * unknown members are ignored. For requests that are not hot; publish and ack have their own
 * scanner.
 *
 * All getters stop at the first problem: they do nothing once fields_failed(), so a handler reads
 * all it needs and asks once. Strings point into the body's tree, which lives until fields_fini().
 */
#ifndef API_FIELDS_H
#define API_FIELDS_H

#include <jansson.h>

#include "api/request.h"

struct fields {
    struct request *r;
    json_t *root; /* owned; an object */
    enum status status;
    char text[256]; /* the first problem, naming the field */
};

/* Parses r->body. An empty body is {} if `optional`, else an error. */
void fields_init(struct fields *f, struct request *r, bool optional);
void fields_fini(struct fields *f);
bool fields_failed(const struct fields *f);
/* Answers 400 with the problem and releases; true if there was one. */
bool fields_reply(struct fields *f);
void fields_problem(struct fields *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

json_t *fields_get(struct fields *f, const char *name); /* borrowed; NULL when absent or null */
/* Required ones report a missing member. False: absent (or failed), *out unchanged. */
bool fields_string(struct fields *f, const char *name, bool required, struct span *out);
bool fields_int(struct fields *f, const char *name, bool required, int64_t lowest, int64_t highest,
                int64_t *out);
bool fields_duration(struct fields *f, const char *name, int64_t lowest_us, int64_t highest_us,
                     int64_t *out_us);
bool fields_time(struct fields *f, const char *name, bool required, int64_t *out_us);
bool fields_array(struct fields *f, const char *name, bool required, json_t **out);
bool fields_object(struct fields *f, const char *name, bool required, json_t **out);
struct span fields_text_of(const json_t *string);
/* A partition as the name of a member: digits. False: it is none. */
bool fields_partition_name(const char *name, uint32_t *out);

#endif
