/* GET /metrics: what the I/O threads count, and what the shard knows, asked for at each scrape. For
 * the whole broker, whatever the tenant. */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/exposition.h"
#include "api/reply.h"
#include "api/route.h"
#include "node/metrics.h"
#include "std/check.h"

enum {
    /* Labels are at most 2 names and a tenant: no family is larger than 8 MiB, most are small. */
    REPLY_SIZE_MAX = 128 * 1024 * 1024,
    STATUS_NAME_SIZE_MAX = 64,
    STATM_SIZE_MAX = 256,
};

struct scrape {
    struct query_result topics;
    struct query_result groups;
    struct transaction_stats transactions;
    struct query_result *offsets; /* of the first `asked` groups */
    uint32_t asked;
    uint64_t offset_count;
    struct delivery_stats delivery;
    struct exposition text;
};

/* Labels: what `kind` is called, and its tenant unless that is the default one. */
static void set_name_labels(struct label labels[2], const char *kind, struct span qualified)
{
    const struct span name = name_strip(qualified);
    const size_t prefix_size = qualified.size - name.size;
    const size_t tenant_size = prefix_size > 0 ? prefix_size - 1 : 0; /* without the '/' */
    labels[0] = (struct label){kind, name};
    labels[1] = (struct label){"tenant", span_of(qualified.data, tenant_size)};
}

static void write_named(struct exposition *e, const char *kind, struct span qualified,
                        uint64_t value)
{
    struct label labels[2];
    set_name_labels(labels, kind, qualified);
    exposition_sample(e, labels, 2, value);
}

static void write_one(struct exposition *e, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    exposition_family(e, name, type, help, false);
    exposition_sample(e, NULL, 0, value);
}

/* "disk_error" of "DISK_ERROR": codes for clients are the same for several reasons. */
static struct span reason_of(enum status st, char out[STATUS_NAME_SIZE_MAX])
{
    const char *name = status_name(st);
    size_t size = 0;
    for (; size < STATUS_NAME_SIZE_MAX && name[size] != '\0'; size++)
        out[size] = (char)tolower((unsigned char)name[size]);
    return span_of(out, size);
}

static void write_failed(struct exposition *e, const struct metrics_topic *topics, uint32_t count)
{
    exposition_family(e, "goqueue_broker_messages_failed_total", "counter",
                      "Messages that were not stored, by reason.", true);
    for (uint32_t i = 0; i < count; i++) {
        for (unsigned st = 0; st < ST_COUNT; st++) {
            if (topics[i].failed[st] == 0)
                continue;
            char reason[STATUS_NAME_SIZE_MAX];
            struct label labels[3];
            set_name_labels(labels, "topic", topics[i].name);
            labels[2] = (struct label){"reason", reason_of((enum status)st, reason)};
            exposition_sample(e, labels, 3, topics[i].failed[st]);
        }
    }
}

static uint64_t sum_events(const struct metrics_topic *topics, uint32_t count,
                           enum metrics_event event)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += topics[i].events[event];
    return sum;
}

static void write_messages(struct request *r, const struct metrics_totals *totals)
{
    struct exposition *e = &((struct scrape *)r->state)->text;
    struct metrics_topic *topics = NULL;
    const uint32_t count = metrics_read_topics(r->metrics, &r->op.arena, &topics);
    exposition_family(e, "goqueue_broker_messages_published_total", "counter", "Messages stored.",
                      false);
    for (uint32_t i = 0; i < count; i++)
        write_named(e, "topic", topics[i].name, topics[i].published);
    exposition_family(e, "goqueue_broker_messages_consumed_total", "counter",
                      "Messages handed out, redeliveries included.", false);
    for (uint32_t i = 0; i < count; i++)
        write_named(e, "topic", topics[i].name, topics[i].consumed);
    write_one(e, "goqueue_broker_messages_acked_total", "counter", "Messages acknowledged.",
              totals->acked);
    write_one(e, "goqueue_broker_messages_nacked_total", "counter",
              "Messages given back to be delivered again.",
              sum_events(topics, count, METRICS_NACKED));
    write_one(e, "goqueue_broker_messages_rejected_total", "counter", "Messages rejected.",
              sum_events(topics, count, METRICS_REJECTED));
    write_failed(e, topics, count);
    write_one(e, "goqueue_broker_bytes_published_total", "counter",
              "Bytes of keys, values and headers stored.", totals->bytes_published);
    write_one(e, "goqueue_broker_bytes_consumed_total", "counter",
              "Bytes of keys, values and headers handed out.", totals->bytes_consumed);
}

static void write_latencies(struct exposition *e, const struct metrics_totals *totals)
{
    exposition_family(e, "goqueue_broker_publish_latency_seconds", "histogram",
                      "From a publish request's last byte to its durable answer.", false);
    exposition_latency(e, &totals->publish);
    exposition_family(e, "goqueue_broker_fetch_latency_seconds", "histogram",
                      "Of polls and consumes that found messages, their waiting included.", false);
    exposition_latency(e, &totals->fetch);
    exposition_family(e, "goqueue_broker_ack_latency_seconds", "histogram",
                      "From an ack request's last byte to its durable answer.", false);
    exposition_latency(e, &totals->ack);
}

static void write_dead_letters(struct exposition *e, const struct query_result *topics)
{
    uint64_t dropped = 0;
    exposition_family(e, "goqueue_broker_dead_letters_total", "counter",
                      "Messages of the topic that became dead letters, by reason.", true);
    for (uint32_t i = 0; i < topics->topic_count; i++) {
        const struct topic_totals *totals = &topics->topics[i].totals;
        struct label labels[3];
        set_name_labels(labels, "topic", topics->topics[i].name);
        labels[2] = (struct label){"reason", span_text("rejected")};
        if (totals->dead_rejected > 0)
            exposition_sample(e, labels, 3, totals->dead_rejected);
        labels[2].value = span_text("max_retries");
        if (totals->dead_max_retries > 0)
            exposition_sample(e, labels, 3, totals->dead_max_retries);
        dropped += totals->dropped;
    }
    write_one(e, "goqueue_broker_dead_letters_dropped_total", "counter",
              "Messages of dead-letter topics that failed again and were dropped.", dropped);
}

static void write_topics(struct exposition *e, const struct query_result *topics)
{
    write_one(e, "goqueue_broker_topic_count", "gauge", "Topics.", topics->topic_count);
    exposition_family(e, "goqueue_broker_topic_partitions", "gauge", "Partitions of the topic.",
                      true);
    uint64_t size_bytes = 0, pending = 0;
    for (uint32_t i = 0; i < topics->topic_count; i++) {
        const struct topic_info *topic = &topics->topics[i];
        write_named(e, "topic", topic->name, topic->partition_count);
        for (uint32_t p = 0; p < topic->partition_count; p++) {
            size_bytes += topic->partitions[p].size_bytes;
            pending += topic->partitions[p].pending_count;
        }
    }
    write_one(e, "goqueue_broker_delayed_messages_pending", "gauge",
              "Messages that wait for their time.", pending);
    write_dead_letters(e, topics);
    write_one(e, "goqueue_storage_log_size_bytes", "gauge", "Size of all partition logs.",
              size_bytes);
}

static void write_transactions(struct exposition *e, const struct transaction_stats *t)
{
    write_one(e, "goqueue_broker_transactions_started_total", "counter", "Transactions begun.",
              t->active + t->committed_total + t->aborted_total);
    write_one(e, "goqueue_broker_transactions_committed_total", "counter",
              "Transactions committed.", t->committed_total);
    write_one(e, "goqueue_broker_transactions_aborted_total", "counter",
              "Transactions aborted, those that took too long included.", t->aborted_total);
    write_one(e, "goqueue_broker_transactions_timed_out_total", "counter",
              "Transactions aborted since they took too long.", t->timed_out_total);
    write_one(e, "goqueue_broker_transactions_active", "gauge", "Open transactions.", t->active);
    write_one(e, "goqueue_broker_producers", "gauge", "Producers that are remembered.",
              t->producers);
}

static uint64_t member_count_of(const struct group_info *g)
{
    return g->member_count;
}

static uint64_t generation_of(const struct group_info *g)
{
    return g->generation;
}

static uint64_t rebalances_of(const struct group_info *g)
{
    return g->rebalances.total;
}

static void write_each_group(struct scrape *s, const char *name, const char *type, const char *help,
                             uint64_t (*value_of)(const struct group_info *))
{
    exposition_family(&s->text, name, type, help, true);
    for (uint32_t i = 0; i < s->groups.group_count; i++)
        write_named(&s->text, "group", s->groups.groups[i].name, value_of(&s->groups.groups[i]));
}

static uint64_t position_of(const struct offset_info *o)
{
    return o->offset;
}

static uint64_t lag_of(const struct offset_info *o)
{
    return o->lag;
}

static void write_each_offset(struct scrape *s, const char *name, const char *help,
                              uint64_t (*value_of)(const struct offset_info *))
{
    exposition_family(&s->text, name, "gauge", help, true);
    if (s->asked < s->groups.group_count)
        exposition_truncate(&s->text);
    for (uint32_t g = 0; g < s->asked; g++) {
        struct label labels[4];
        set_name_labels(labels, "group", s->groups.groups[g].name);
        for (uint32_t i = 0; i < s->offsets[g].offset_count; i++) {
            const struct offset_info *offset = &s->offsets[g].offsets[i];
            char partition[16];
            const int size = snprintf(partition, sizeof partition, "%" PRIu32, offset->partition);
            labels[2] = (struct label){"topic", name_strip(offset->topic)};
            labels[3] = (struct label){"partition", span_of(partition, (size_t)size)};
            exposition_sample(&s->text, labels, 4, value_of(offset));
        }
    }
}

static void write_groups(struct scrape *s)
{
    write_each_group(s, "goqueue_consumer_group_members", "gauge", "Members of the group.",
                     member_count_of);
    write_each_group(s, "goqueue_consumer_group_generation", "gauge",
                     "Rises with every change of the assignment.", generation_of);
    write_each_group(s, "goqueue_consumer_rebalances_total", "counter",
                     "Rebalances since the group was created.", rebalances_of);
    write_each_offset(s, "goqueue_consumer_committed_offset",
                      "Next offset of the partition that the group has not finished.", position_of);
    write_each_offset(s, "goqueue_consumer_lag",
                      "Visible messages of the partition that the group has not finished.", lag_of);
}

static void write_delivery(struct exposition *e, const struct delivery_stats *d)
{
    write_one(e, "goqueue_broker_in_flight", "gauge", "Messages leased to members, not yet acked.",
              d->in_flight);
    write_one(e, "goqueue_broker_parked_polls", "gauge", "Polls that wait for messages.",
              d->parked_polls);
    write_one(e, "goqueue_broker_held_back_messages", "gauge",
              "Messages that wait for another one of their key.", d->held_back);
    write_one(e, "goqueue_broker_leases_total", "counter", "Messages leased to members.",
              d->leases_total);
    write_one(e, "goqueue_broker_leases_expired_total", "counter",
              "Leases that ended without an ack.", d->expired_total);
    write_one(e, "goqueue_broker_leases_extended_total", "counter",
              "Leases that were given a later deadline.", d->extended_total);
    write_one(e, "goqueue_broker_redeliveries_total", "counter",
              "Leases of messages that had been delivered before.", d->retries_total);
    write_one(e, "goqueue_broker_messages_waiting", "gauge",
              "Messages that wait to be delivered again.", d->waiting);
    write_one(e, "goqueue_broker_sessions_expired_total", "counter",
              "Members that were evicted because they were silent.", d->sessions_expired_total);
}

static void write_syncs(struct request *r)
{
    struct exposition *e = &((struct scrape *)r->state)->text;
    struct shard_counters *counters = shard_get_counters(r->shard);
    struct histogram *copy = arena_new(&r->op.arena, struct histogram);
    CHECK(pthread_mutex_lock(&counters->sync_lock) == 0);
    *copy = counters->sync_histogram;
    CHECK(pthread_mutex_unlock(&counters->sync_lock) == 0);
    exposition_family(e, "goqueue_storage_fsync_latency_seconds", "histogram",
                      "Of making a journal write durable.", false);
    exposition_histogram(e, copy);
}

static void write_requests(struct exposition *e, const struct metrics_totals *totals)
{
    static const char *const classes[METRICS_HTTP_CLASSES] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
    exposition_family(e, "goqueue_http_requests_total", "counter", "HTTP replies, by class.",
                      false);
    for (unsigned i = 0; i < METRICS_HTTP_CLASSES; i++) {
        const struct label label = {"class", span_text(classes[i])};
        exposition_sample(e, &label, 1, totals->http[i]);
    }
}

/* /proc/self/statm: pages of address space, resident pages, ... */
static uint64_t resident_bytes(void)
{
    char line[STATM_SIZE_MAX];
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    char *rest = fgets(line, sizeof line, file);
    (void)fclose(file);
    if (rest == NULL)
        return 0;
    (void)strtoull(rest, &rest, 10);
    return strtoull(rest, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;
    if (dir == NULL)
        return 0;
    for (;;) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread has this stream */
        const struct dirent *entry = readdir(dir);
        if (entry == NULL)
            break;
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return count - 1; /* but for the one that looks */
}

static void write_process(struct exposition *e)
{
    write_one(e, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    write_one(e, "process_open_fds", "gauge", "Open file descriptors.", open_fds());
    const struct label labels[] = {{"version", span_text(GQ_VERSION)},
                                   {"commit", span_text(GQ_COMMIT)}};
    exposition_family(e, "goqueue_build_info", "gauge", "Always 1; the labels say what runs.",
                      false);
    exposition_sample(e, labels, 2, 1);
}

static void then_stats(struct request *r)
{
    struct scrape *s = r->state;
    if (reply_if_failed(r))
        return;
    s->delivery = r->op.delivery_stats;
    struct metrics_totals totals;
    metrics_read_totals(r->metrics, &totals);
    r->out.size_max = REPLY_SIZE_MAX;
    exposition_init(&s->text, &r->out);
    write_messages(r, &totals);
    write_latencies(&s->text, &totals);
    write_topics(&s->text, &s->topics);
    write_transactions(&s->text, &s->transactions);
    write_groups(s);
    write_delivery(&s->text, &s->delivery);
    write_syncs(r);
    write_requests(&s->text, &totals);
    write_process(&s->text);
    exposition_end(&s->text);
    CHECK(!r->out.overflowed);
    r->content_type = "text/plain; version=0.0.4; charset=utf-8";
    reply_send(r, 200);
}

static void then_offsets(struct request *r);

/* One group at a time, so that the shard is not held up by many. */
static void ask_offsets(struct request *r)
{
    const struct scrape *s = r->state;
    if (s->asked < s->groups.group_count && s->offset_count < EXPOSITION_SERIES_MAX) {
        const struct span group = s->groups.groups[s->asked].name;
        request_submit_query(r, (struct query){.type = QUERY_OFFSETS, .name = group}, then_offsets);
    } else {
        request_submit_query(r, (struct query){.type = QUERY_STATS}, then_stats);
    }
}

static void then_offsets(struct request *r)
{
    struct scrape *s = r->state;
    if (reply_if_failed(r))
        return;
    s->offsets[s->asked++] = r->op.query_result;
    s->offset_count += r->op.query_result.offset_count;
    ask_offsets(r);
}

static void then_transactions(struct request *r)
{
    struct scrape *s = r->state;
    if (reply_if_failed(r))
        return;
    s->transactions = r->op.query_result.transaction_stats;
    ask_offsets(r);
}

static void then_groups(struct request *r)
{
    struct scrape *s = r->state;
    if (reply_if_failed(r))
        return;
    s->groups = r->op.query_result;
    s->offsets = arena_array(&r->op.arena, s->groups.group_count, sizeof *s->offsets);
    request_submit_query(r, (struct query){.type = QUERY_TRANSACTIONS, .every_tenant = true},
                         then_transactions);
}

static void then_topics(struct request *r)
{
    struct scrape *s = r->state;
    if (reply_if_failed(r))
        return;
    s->topics = r->op.query_result;
    request_submit_query(r, (struct query){.type = QUERY_GROUPS, .every_tenant = true},
                         then_groups);
}

void on_metrics(struct request *r)
{
    r->state = arena_new(&r->op.arena, struct scrape);
    request_submit_query(r, (struct query){.type = QUERY_TOPICS, .every_tenant = true},
                         then_topics);
}
