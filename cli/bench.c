#include "cli/bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "std/alloc.h"

enum {
    EXIT_USAGE = 2,
    CALL_TIMEOUT_MS = 10000,
    SETUP_SIZE_MAX = 65536,
    REQUEST_SIZE_MAX = 67108864, /* the broker's limit */
    CONNECTIONS_MAX = 10000,
    THREADS_MAX = 64,
    SIZE_BYTES_MAX = 16 * 1024 * 1024,
};

static const char usage_text[] =
    "Usage: goqueue bench VERB [OPTION]...\n"
    "Puts load on a running broker and reports throughput, latency and errors.\n"
    "\n"
    "Verbs:\n"
    "  publish  POST messages\n"
    "  consume  read partitions by offset, again from the start at their end\n"
    "  poll     join a group with one member a connection, poll and acknowledge,\n"
    "           until the topic is drained\n"
    "  latency  time from publish to a waiting poll, one message at a time\n"
    "  parked   many members, each waiting in a long poll: memory and CPU time of the broker,\n"
    "           and the time from publish to the one poll that waits for the message\n"
    "  transaction  begin, publish --batch messages one by one, commit; a producer a connection\n"
    "  get      GET --path, for comparison\n"
    "  echo     POST what publish would to --path, for comparison\n"
    "\n"
    "Options (defaults in brackets):\n"
    "  --url URL          the broker [http://127.0.0.1:8080]\n"
    "  --topic NAME       [bench]\n"
    "  --group NAME       poll, latency [bench]\n"
    "  --partitions N     create the topic with N partitions first, unless it exists\n"
    "  --connections N    each has one request under way [4; parked: 10000]\n"
    "  --threads N        of this program [1]\n"
    "  --batch N          messages a request [100; latency: 1]\n"
    "  --size BYTES       of a value [100]\n"
    "  --keys N           distinct keys, 0 for none [0]\n"
    "  --duration TIME    such as 10s or 500ms [10s; with --messages: no limit]\n"
    "  --warmup TIME      before measuring [1s; with --messages, poll and latency: 0s]\n"
    "  --messages N       stop after N, rounded up to whole requests\n"
    "  --rate R           requests a second, sent on time whether or not replies come;\n"
    "                     latency counts from when a request was due [as fast as it goes; parked: "
    "500]\n"
    "  --delay TIME       publish: of each message [none]\n"
    "  --hold             poll: acknowledge nothing, hold up to 100000 messages and do not leave\n"
    "  --single-ack       poll: one ack request a message instead of one a poll\n"
    "  --follow           poll: keep polling when the topic is drained\n"
    "  --groups N         parked: over which the members are spread [100]\n"
    "  --topics N         parked: over which the groups are spread [as many]\n"
    "  --idle TIME        parked: nothing happens for so long, before the first message [5s]\n"
    "  --pid PID          parked: the broker's, to be watched [not watched]\n"
    "  --path PATH        get, echo [/health]\n"
    "  --json             the result as JSON\n"
    "\n"
    "Exit status: 0 no errors, 1 errors, 2 wrong usage.\n";

/* --- options -------------------------------------------------------------------------------- */

static bool parse_number(const char *name, const char *text, uint64_t min, uint64_t max,
                         uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min ||
        value > max) {
        fprintf(stderr, "--%s %s: expected a number from %llu to %llu\n", name, text,
                (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *out = value;
    return true;
}

static bool parse_unsigned(const char *name, const char *text, unsigned min, unsigned max,
                           unsigned *out)
{
    uint64_t value;
    if (!parse_number(name, text, min, max, &value))
        return false;
    *out = (unsigned)value;
    return true;
}

static bool parse_pid(const char *text, pid_t *out)
{
    uint64_t value;
    if (!parse_number("pid", text, 1, INT32_MAX, &value))
        return false;
    *out = (pid_t)value;
    return true;
}

static bool parse_rate(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end != text && *end == '\0' && *out > 0 && *out <= 1e8)
        return true;
    fprintf(stderr, "--rate %s: expected requests a second\n", text);
    return false;
}

static bool parse_time(const char *name, const char *text, int64_t *out_ns)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    char *end;
    double value = strtod(text, &end);
    for (size_t i = 0; end != text && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].name) == 0 && value >= 0 && value * units[i].ns < 1e16) {
            *out_ns = (int64_t)(value * units[i].ns);
            return true;
        }
    }
    fprintf(stderr, "--%s %s: expected a time such as 10s or 500ms\n", name, text);
    return false;
}

/* Names go into paths and JSON as they are, so only what needs no escaping is let through. */
static bool parse_name(const char *name, const char *text, const char **out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t size = strlen(text);
    if (size == 0 || size > 255 || strspn(text, letters) != size) {
        fprintf(stderr, "--%s %s: expected 1 to 255 letters, digits, '.', '_' or '-'\n", name,
                text);
        return false;
    }
    *out = text;
    return true;
}

static bool parse_path(const char *text, const char **out)
{
    if (text[0] != '/' || strlen(text) > 255 || strpbrk(text, " \r\n") != NULL) {
        fprintf(stderr, "--path %s: expected a path such as /health\n", text);
        return false;
    }
    *out = text;
    return true;
}

enum option_id {
    OPT_URL = 256,
    OPT_TOPIC,
    OPT_GROUP,
    OPT_PARTITIONS,
    OPT_CONNECTIONS,
    OPT_THREADS,
    OPT_BATCH,
    OPT_SIZE,
    OPT_KEYS,
    OPT_DURATION,
    OPT_WARMUP,
    OPT_MESSAGES,
    OPT_RATE,
    OPT_PATH,
    OPT_GROUPS,
    OPT_TOPICS,
    OPT_IDLE,
    OPT_PID,
    OPT_DELAY,
    OPT_HOLD,
    OPT_SINGLE_ACK,
    OPT_FOLLOW,
    OPT_JSON,
    OPT_HELP,
};

static const struct option long_options[] = {
    {"url", required_argument, NULL, OPT_URL},
    {"topic", required_argument, NULL, OPT_TOPIC},
    {"group", required_argument, NULL, OPT_GROUP},
    {"partitions", required_argument, NULL, OPT_PARTITIONS},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"size", required_argument, NULL, OPT_SIZE},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"messages", required_argument, NULL, OPT_MESSAGES},
    {"rate", required_argument, NULL, OPT_RATE},
    {"path", required_argument, NULL, OPT_PATH},
    {"groups", required_argument, NULL, OPT_GROUPS},
    {"topics", required_argument, NULL, OPT_TOPICS},
    {"idle", required_argument, NULL, OPT_IDLE},
    {"pid", required_argument, NULL, OPT_PID},
    {"delay", required_argument, NULL, OPT_DELAY},
    {"hold", no_argument, NULL, OPT_HOLD},
    {"single-ack", no_argument, NULL, OPT_SINGLE_ACK},
    {"follow", no_argument, NULL, OPT_FOLLOW},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static bool parse_option(struct bench_options *o, int option, const char *text)
{
    switch ((enum option_id)option) {
    case OPT_URL:
        o->url = text;
        return true;
    case OPT_TOPIC:
        return parse_name("topic", text, &o->topic);
    case OPT_GROUP:
        return parse_name("group", text, &o->group);
    case OPT_PARTITIONS:
        return parse_unsigned("partitions", text, 1, 1024, &o->partitions);
    case OPT_CONNECTIONS:
        return parse_unsigned("connections", text, 1, CONNECTIONS_MAX, &o->connections);
    case OPT_THREADS:
        return parse_unsigned("threads", text, 1, THREADS_MAX, &o->threads);
    case OPT_BATCH:
        return parse_unsigned("batch", text, 1, 10000, &o->batch);
    case OPT_SIZE:
        return parse_unsigned("size", text, 0, SIZE_BYTES_MAX, &o->size_bytes);
    case OPT_KEYS:
        return parse_unsigned("keys", text, 0, 1000000000, &o->keys);
    case OPT_DURATION:
        return parse_time("duration", text, &o->duration_ns);
    case OPT_WARMUP:
        return parse_time("warmup", text, &o->warmup_ns);
    case OPT_MESSAGES:
        return parse_number("messages", text, 1, INT64_MAX, &o->messages_max);
    case OPT_RATE:
        return parse_rate(text, &o->rate);
    case OPT_PATH:
        return parse_path(text, &o->path);
    case OPT_GROUPS:
        return parse_unsigned("groups", text, 1, CONNECTIONS_MAX, &o->groups);
    case OPT_TOPICS:
        return parse_unsigned("topics", text, 1, CONNECTIONS_MAX, &o->topics);
    case OPT_IDLE:
        return parse_time("idle", text, &o->idle_ns);
    case OPT_PID:
        return parse_pid(text, &o->pid);
    case OPT_DELAY:
        return parse_time("delay", text, &o->delay_ns);
    case OPT_HOLD:
        return o->hold = true;
    case OPT_SINGLE_ACK:
        return o->single_ack = true;
    case OPT_FOLLOW:
        return o->follow = true;
    case OPT_JSON:
        return o->json = true;
    case OPT_HELP:
        break;
    }
    return false; /* getopt_long() has said why */
}

static bool parse_verb(struct bench_options *o, const char *text)
{
    static const char *const names[] = {"publish", "consume", "poll",   "latency",
                                        "get",     "echo",    "parked", "transaction"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            o->verb = (enum bench_verb)i;
            o->verb_name = names[i];
            return true;
        }
    }
    fprintf(stderr, "goqueue bench: unknown verb '%s'; try goqueue bench --help\n", text);
    return false;
}

static bool fits(bool good, const char *problem)
{
    if (!good)
        fprintf(stderr, "goqueue bench: %s\n", problem);
    return good;
}

/* A topic has a partition for each member that a group can have. */
static bool parked_settle(struct bench_options *o)
{
    const int64_t second_ns = 1000LL * 1000 * 1000;
    if (o->connections == 0)
        o->connections = CONNECTIONS_MAX;
    if (o->groups == 0)
        o->groups = o->connections < 100 ? 1 : 100;
    if (o->topics == 0)
        o->topics = o->groups;
    if (o->rate == 0)
        o->rate = 500;
    if (o->duration_ns < 0)
        o->duration_ns = 10 * second_ns;
    if (o->idle_ns < 0)
        o->idle_ns = 5 * second_ns;
    o->partitions = (o->connections + o->groups - 1) / o->groups;
    o->batch = 1;
    return fits(o->duration_ns <= 40 * second_ns && o->idle_ns <= 40 * second_ns - o->duration_ns,
                "a poll waits for a minute: --idle and --duration have 40 s together") &&
           fits(o->groups % o->topics == 0, "every topic needs equally many groups") &&
           fits(o->partitions <= 1024, "a group has at most 1024 members here: more --groups");
}

/* What is left open depends on the verb; then everything must fit together. */
static bool options_settle(struct bench_options *o)
{
    if (o->verb == BENCH_PARKED)
        return parked_settle(o);
    bool bounded = o->messages_max != UINT64_MAX;
    bool latency = o->verb == BENCH_LATENCY;
    bool reads = o->verb == BENCH_CONSUME || o->verb == BENCH_POLL;
    if (o->batch == 0)
        o->batch = latency ? 1 : 100;
    if (o->connections == 0)
        o->connections = latency ? 2 : 4;
    if (o->duration_ns < 0)
        o->duration_ns = bounded ? INT64_MAX : 10LL * 1000 * 1000 * 1000;
    if (o->warmup_ns < 0)
        o->warmup_ns = bounded || o->verb == BENCH_POLL || latency ? 0 : 1000LL * 1000 * 1000;
    if (o->partitions == 0 && latency)
        o->partitions = 1;
    if (o->threads > o->connections)
        o->threads = o->connections;
    return fits(o->verb != BENCH_TRANSACTION || !bounded, "transaction has no --messages") &&
           fits(o->verb != BENCH_GET || !bounded, "get has no messages to count") &&
           fits(!reads || o->batch <= 1000, "a reply has at most 1000 messages: --batch 1000") &&
           fits(!latency || o->batch == 1, "latency sends one message at a time: --batch 1") &&
           fits(o->verb != BENCH_POLL || o->rate == 0, "poll has no --rate") &&
           fits(!o->hold || o->verb == BENCH_POLL, "only poll can --hold") &&
           fits(o->delay_ns == 0 || o->verb == BENCH_PUBLISH, "only publish has a --delay") &&
           fits((uint64_t)o->batch * o->size_bytes <= REQUEST_SIZE_MAX,
                "a request may have at most 64 MiB: smaller --batch or --size");
}

static int options_parse(struct bench_options *o, int argc, char **argv)
{
    *o = (struct bench_options){
        .url = "http://127.0.0.1:8080",
        .topic = "bench",
        .group = "bench",
        .path = "/health",
        .threads = 1,
        .size_bytes = 100,
        .duration_ns = -1,
        .warmup_ns = -1,
        .idle_ns = -1,
        .messages_max = UINT64_MAX,
    };
    if (argc < 2) {
        fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    bool help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0;
    if (!help && !parse_verb(o, argv[1]))
        return EXIT_USAGE;
    static char program[] = "goqueue bench"; /* what getopt_long() calls itself */
    argv[0] = program;
    optind = 2;
    int option;
    while (!help && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1) { // NOLINT
        help = option == OPT_HELP;
        if (!help && !parse_option(o, option, optarg))
            return EXIT_USAGE;
    }
    if (help) {
        fputs(usage_text, stdout);
        return -1;
    }
    if (optind < argc) {
        fprintf(stderr, "goqueue bench: what is '%s'? Try goqueue bench --help\n", argv[optind]);
        return EXIT_USAGE;
    }
    return options_settle(o) ? 0 : EXIT_USAGE;
}

/* --- setting up ----------------------------------------------------------------------------- */

static bool setup_call(struct bench *bench, struct http_connection *c, const char *method,
                       const char *path, const char *json)
{
    struct buf request;
    buf_init(&request, SETUP_SIZE_MAX);
    request_put(&request, &bench->target, method, path, span_text(json));
    bool ok = http_call(c, buf_span(&request), CALL_TIMEOUT_MS);
    if (!ok)
        fprintf(stderr, "%s %s%s: %s\n", method, bench->target.url, path, c->problem);
    buf_fini(&request);
    return ok;
}

static bool setup_create(struct bench *bench, struct http_connection *c)
{
    char json[512];
    snprintf(json, sizeof json, "{\"name\":\"%s\",\"num_partitions\":%u}", bench->options.topic,
             bench->options.partitions);
    if (!setup_call(bench, c, "POST", "/topics", json))
        return false;
    if (c->status == 201 || c->status == 409)
        return true;
    fprintf(stderr, "cannot create topic %s: HTTP %d: %.*s\n", bench->options.topic, c->status,
            SPAN_ARG(http_body(c)));
    return false;
}

static bool setup_look(struct bench *bench, struct http_connection *c)
{
    char path[512];
    snprintf(path, sizeof path, "/topics/%s", bench->options.topic);
    if (!setup_call(bench, c, "GET", path, ""))
        return false;
    uint64_t partitions;
    if (c->status == 200 && json_find_u64(http_body(c), "partitions", &partitions) &&
        partitions > 0 && partitions <= UINT32_MAX) {
        bench->partitions = (unsigned)partitions;
        return true;
    }
    if (c->status == 404)
        fprintf(stderr, "topic %s does not exist; fill it with: goqueue bench publish --topic %s\n",
                bench->options.topic, bench->options.topic);
    else
        fprintf(stderr, "topic %s: HTTP %d: %.*s\n", bench->options.topic, c->status,
                SPAN_ARG(http_body(c)));
    return false;
}

/* Creates the topic if that was asked for, learns its partitions if the verb reads them. */
static bool setup(struct bench *bench)
{
    const struct bench_options *o = &bench->options;
    bool reads = o->verb == BENCH_CONSUME || o->verb == BENCH_POLL || o->verb == BENCH_LATENCY;
    struct http_connection c;
    http_init(&c);
    int error = http_open(&c, &bench->target);
    if (error != 0)
        bench_say_no_connection(&bench->target, error);
    bool ok = error == 0;
    ok = ok && (o->partitions == 0 || o->verb == BENCH_PARKED || setup_create(bench, &c));
    if (ok && c.close) {
        http_close(&c);
        ok = http_open(&c, &bench->target) == 0;
    }
    ok = ok && (!reads || setup_look(bench, &c));
    http_fini(&c);
    return ok;
}

int cli_bench(int argc, char **argv)
{
    struct bench *bench = new_zero(struct bench);
    int code = options_parse(&bench->options, argc, argv);
    if (code == 0 && !http_target_parse(bench->options.url, &bench->target))
        code = EXIT_USAGE;
    if (code != 0) {
        free(bench);
        return code < 0 ? EXIT_SUCCESS : code;
    }

    struct bench_result *result = new_zero(struct bench_result);
    bool ran = setup(bench);
    if (ran && bench->options.verb == BENCH_LATENCY)
        ran = bench_run_latency(bench, result);
    else if (ran && bench->options.verb == BENCH_PARKED)
        ran = bench_run_parked(bench, result);
    else if (ran)
        ran = bench_run(bench, result);
    if (ran)
        bench_report(bench, result);
    bool clean = ran && result->errors == 0;
    free(result);
    free(bench);
    return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}
