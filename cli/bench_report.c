#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "cli/bench.h"

static double per_second(uint64_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0;
}

static double milliseconds(const struct histogram *h, double quantile)
{
    return 1e-6 * (double)histogram_quantile(h, quantile);
}

static void put_latency(const char *name, const struct histogram *h)
{
    if (h->count == 0)
        return;
    printf("  %-16s min %.3f  p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f ms\n", name,
           milliseconds(h, 0), milliseconds(h, 0.5), milliseconds(h, 0.9), milliseconds(h, 0.99),
           milliseconds(h, 0.999), milliseconds(h, 1));
}

static double bytes_each(const struct parked_result *p, uint64_t now)
{
    return p->polls == 0 ? 0 : ((double)now - (double)p->bytes_before) / p->polls;
}

static void put_parked(const struct parked_result *p)
{
    if (p->polls == 0)
        return;
    printf("  %-16s %u, %.0f bytes each, connection and member included (%.0f before the poll)\n",
           "parked polls", p->polls, bytes_each(p, p->bytes_parked),
           bytes_each(p, p->bytes_joined));
    printf("  %-16s %.3f s of CPU time in %.1f s\n", "idle broker", p->idle_cpu_s, p->idle_s);
}

static json_t *parked_json(const struct parked_result *p)
{
    if (p->polls == 0)
        return json_null();
    return json_pack("{s:i, s:f, s:f, s:f, s:f}", "polls", (int)p->polls, "bytes_each",
                     bytes_each(p, p->bytes_parked), "bytes_each_joined",
                     bytes_each(p, p->bytes_joined), "idle_seconds", p->idle_s, "idle_cpu_seconds",
                     p->idle_cpu_s);
}

static void report_text(const struct bench *bench, const struct bench_result *r)
{
    const struct bench_options *o = &bench->options;
    bool plain = o->verb == BENCH_GET;
    printf("%s %s, %u connections, %u thread%s", o->verb_name, bench->target.url, o->connections,
           o->threads, o->threads == 1 ? "" : "s");
    if (!plain)
        printf(", %u messages a request", o->batch);
    if (o->verb == BENCH_PUBLISH || o->verb == BENCH_ECHO)
        printf(", %u bytes each", o->size_bytes);
    printf(", %.2f s measured\n", r->elapsed_s);
    printf("  %-16s %.0f\n", "requests/s", per_second(r->requests, r->elapsed_s));
    if (!plain)
        printf("  %-16s %.0f  (%" PRIu64 " in all)\n", "messages/s",
               per_second(r->messages, r->elapsed_s), r->messages);
    printf("  %-16s %.1f  (HTTP bodies)\n", "MB/s", 1e-6 * per_second(r->bytes, r->elapsed_s));
    put_parked(&r->parked);
    put_latency("latency", &r->latency);
    put_latency("publish latency", &r->publish_latency);
    if (r->ack_requests > 0)
        printf("  %-16s %.0f in %.0f requests/s\n", "acks/s", per_second(r->acks, r->elapsed_s),
               per_second(r->ack_requests, r->elapsed_s));
    put_latency("ack latency", &r->ack_latency);
    printf("  %-16s %" PRIu64 "\n", "errors", r->errors);
    if (r->errors > 0)
        printf("  %-16s %s\n", "first error", r->first_error);
    printf("  %-16s %.2f cores (user %.2f s, system %.2f s)\n", "client CPU",
           r->run_s > 0 ? (r->cpu_user_s + r->cpu_system_s) / r->run_s : 0, r->cpu_user_s,
           r->cpu_system_s);
}

static json_t *latency_json(const struct histogram *h)
{
    if (h->count == 0)
        return json_null();
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "min", milliseconds(h, 0), "mean",
                     1e-6 * histogram_mean(h), "p50", milliseconds(h, 0.5), "p90",
                     milliseconds(h, 0.9), "p99", milliseconds(h, 0.99), "p99_9",
                     milliseconds(h, 0.999), "max", milliseconds(h, 1));
}

static void report_json(const struct bench *bench, const struct bench_result *r)
{
    const struct bench_options *o = &bench->options;
    json_t *json = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:f}", "verb", o->verb_name, "url",
                             bench->target.url, "connections", (int)o->connections, "threads",
                             (int)o->threads, "batch", (int)o->batch, "value_size_bytes",
                             (int)o->size_bytes, "elapsed_seconds", r->elapsed_s);
    json_t *rates = json_pack("{s:f, s:f, s:f, s:f, s:f}", "requests_per_second",
                              per_second(r->requests, r->elapsed_s), "messages_per_second",
                              per_second(r->messages, r->elapsed_s), "body_mb_per_second",
                              1e-6 * per_second(r->bytes, r->elapsed_s), "acks_per_second",
                              per_second(r->acks, r->elapsed_s), "ack_requests_per_second",
                              per_second(r->ack_requests, r->elapsed_s));
    json_t *counts = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "requests", (json_int_t)r->requests, "messages",
        (json_int_t)r->messages, "acks", (json_int_t)r->acks, "body_bytes", (json_int_t)r->bytes,
        "empty_replies", (json_int_t)r->empty, "errors", (json_int_t)r->errors);
    json_object_update_new(json, rates);
    json_object_update_new(json, counts);
    json_object_set_new(json, "latency_ms", latency_json(&r->latency));
    json_object_set_new(json, "ack_latency_ms", latency_json(&r->ack_latency));
    json_object_set_new(json, "publish_latency_ms", latency_json(&r->publish_latency));
    json_object_set_new(json, "parked", parked_json(&r->parked));
    if (r->errors > 0)
        json_object_set_new(json, "first_error", json_string(r->first_error));
    json_object_update_new(json, json_pack("{s:f, s:f, s:f}", "run_seconds", r->run_s,
                                           "client_cpu_user_seconds", r->cpu_user_s,
                                           "client_cpu_system_seconds", r->cpu_system_s));
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(8));
    putchar('\n');
    json_decref(json);
}

void bench_report(const struct bench *bench, const struct bench_result *r)
{
    if (bench->options.json)
        report_json(bench, r);
    else
        report_text(bench, r);
}
