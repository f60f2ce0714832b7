#include "api/exposition.h"

#include <inttypes.h>

#include "std/check.h"

static const uint64_t SECOND_US = 1000000;

void exposition_init(struct exposition *e, struct buf *out)
{
    *e = (struct exposition){.out = out};
}

static void write_head(struct buf *out, const char *name, const char *suffix, const char *type,
                       const char *help)
{
    buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
}

void exposition_end(struct exposition *e)
{
    if (e->family != NULL && e->open_ended) {
        write_head(e->out, e->family, "_truncated", "gauge",
                   "1 if there are more series than are shown.");
        buf_printf(e->out, "%s_truncated %d\n", e->family, e->truncated ? 1 : 0);
    }
    e->family = NULL;
}

void exposition_family(struct exposition *e, const char *name, const char *type, const char *help,
                       bool open_ended)
{
    exposition_end(e);
    e->family = name;
    e->open_ended = open_ended;
    e->series_count = 0;
    e->truncated = false;
    write_head(e->out, name, "", type, help);
}

static void write_value(struct buf *out, struct span value)
{
    for (size_t i = 0; i < value.size; i++) {
        const uint8_t byte = value.data[i];
        if (byte == '\n') {
            buf_put_text(out, "\\n");
            continue;
        }
        if (byte == '"' || byte == '\\')
            buf_put_byte(out, '\\');
        buf_put_byte(out, byte);
    }
}

static void write_labels(struct buf *out, const struct label *labels, unsigned count)
{
    char before = '{';
    for (unsigned i = 0; i < count; i++) {
        if (labels[i].value.size == 0)
            continue;
        buf_put_byte(out, (uint8_t)before);
        buf_put_text(out, labels[i].name);
        buf_put_text(out, "=\"");
        write_value(out, labels[i].value);
        buf_put_byte(out, '"');
        before = ',';
    }
    if (before == ',')
        buf_put_byte(out, '}');
}

void exposition_truncate(struct exposition *e)
{
    CHECK(e->open_ended);
    e->truncated = true;
}

void exposition_sample(struct exposition *e, const struct label *labels, unsigned label_count,
                       uint64_t value)
{
    CHECK(e->family != NULL);
    if (e->series_count == EXPOSITION_SERIES_MAX) {
        exposition_truncate(e);
        return;
    }
    e->series_count++;
    buf_put_text(e->out, e->family);
    write_labels(e->out, labels, label_count);
    buf_put_byte(e->out, ' ');
    buf_put_u64(e->out, value);
    buf_put_byte(e->out, '\n');
}

static void write_bucket(const struct exposition *e, int64_t bound_us, uint64_t count)
{
    buf_printf(e->out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", e->family,
               (double)bound_us / (double)SECOND_US, count);
}

static void write_rest(const struct exposition *e, uint64_t count, uint64_t sum_us)
{
    buf_printf(e->out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", e->family, count);
    buf_printf(e->out, "%s_sum %" PRIu64 ".%06" PRIu64 "\n", e->family, sum_us / SECOND_US,
               sum_us % SECOND_US);
    buf_printf(e->out, "%s_count %" PRIu64 "\n", e->family, count);
}

void exposition_latency(struct exposition *e, const struct metrics_latency *latency)
{
    CHECK(e->family != NULL);
    uint64_t count = 0;
    for (unsigned i = 0; i < METRICS_LATENCY_BOUNDS; i++) {
        count += latency->bucket[i];
        write_bucket(e, metrics_latency_bound_us[i], count);
    }
    write_rest(e, count + latency->bucket[METRICS_LATENCY_BOUNDS], latency->sum_us);
}

void exposition_histogram(struct exposition *e, const struct histogram *h)
{
    CHECK(e->family != NULL);
    for (unsigned i = 0; i < METRICS_LATENCY_BOUNDS; i++) {
        const int64_t bound_us = metrics_latency_bound_us[i];
        write_bucket(e, bound_us, histogram_count_up_to(h, (uint64_t)bound_us));
    }
    write_rest(e, h->count, h->sum);
}
