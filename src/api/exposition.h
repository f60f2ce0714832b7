/* Prometheus text format 0.0.4: families of samples.
 *
 * Between exposition_family() and the next one or exposition_end() come the family's samples, in an
 * order that the caller keeps the same from scrape to scrape. */
#ifndef API_EXPOSITION_H
#define API_EXPOSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "node/metrics.h"
#include "std/buf.h"
#include "std/histogram.h"

enum { EXPOSITION_SERIES_MAX = 10000 }; /* of a family */

struct label {
    const char *name;
    struct span value; /* any bytes but NUL; a label without a value is left out */
};

struct exposition {
    struct buf *out;    /* borrowed */
    const char *family; /* NULL: none is open */
    bool open_ended;    /* how many series it has is up to the clients */
    uint32_t series_count;
    bool truncated;
};

void exposition_init(struct exposition *e, struct buf *out);
/* `type` is counter, gauge or histogram. An open-ended family is followed by a gauge
 * `<name>_truncated`: 1 if samples beyond EXPOSITION_SERIES_MAX were dropped. */
void exposition_family(struct exposition *e, const char *name, const char *type, const char *help,
                       bool open_ended);
void exposition_sample(struct exposition *e, const struct label *labels, unsigned label_count,
                       uint64_t value);
/* For a caller that knows that more samples exist than it has. */
void exposition_truncate(struct exposition *e);
/* The three kinds of lines of a histogram, in seconds. */
void exposition_latency(struct exposition *e, const struct metrics_latency *latency);
/* The same from a histogram of microseconds; a bucket may hold values up to 1/64 above its bound.
 */
void exposition_histogram(struct exposition *e, const struct histogram *h);
void exposition_end(struct exposition *e); /* closes the last family */

#endif
