/* goqueue check: is everything in a data directory what the broker wrote there?
 *
 * Reads only. Does what a start does (snapshot, logs up to it, replay) and what a start has no time
 * for: every batch of every log is read, its checksum, records and offsets are checked. */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "command/codec.h"
#include "journal/snapshot.h"
#include "machine/machine.h"
#include "node/fetch.h"
#include "std/check.h"
#include "std/path.h"

enum { SEGMENT_BYTES = 64 * 1024 * 1024, PROBLEMS_MAX = 100 };

struct check {
    const char *dir;
    struct machine *machine;
    struct journal_problem problems[PROBLEMS_MAX];
    enum status statuses[PROBLEMS_MAX];
    uint32_t problem_count; /* may exceed PROBLEMS_MAX; those are counted only */
    uint64_t snapshot_index;
    uint64_t first_index;
    uint64_t next_index;
    uint64_t topic_count;
    uint64_t group_count;
    uint64_t partition_count;
    uint64_t message_count;
    uint64_t log_bytes;
    uint64_t digest;
    bool replayed;
};

static void add_problem(struct check *c, enum status st, const struct journal_problem *problem)
{
    if (c->problem_count < PROBLEMS_MAX) {
        c->problems[c->problem_count] = *problem;
        c->statuses[c->problem_count] = st;
    }
    c->problem_count++;
}

static void add_simple(struct check *c, enum status st, const char *path, const char *what)
{
    struct journal_problem problem = {.what = what};
    (void)snprintf(problem.path, sizeof problem.path, "%s", path);
    add_problem(c, st, &problem);
}

/* Every message of the partition that the snapshot knows of. */
static enum status read_messages(struct check *c, const struct partition_log *log,
                                 const struct partition *partition, struct journal_problem *problem)
{
    uint64_t offset = partition->start_offset;
    while (offset < partition->next_offset) {
        struct log_range range;
        struct fetch fetch;
        enum status st = ST_OK;
        bool end = false;
        partition_log_find(log, offset, &range);
        fetch_init(&fetch, &range, offset);
        while (st == ST_OK && !end) {
            struct fetched message;
            st = fetch_next(&fetch, &message, &end, problem);
            if (st == ST_OK && !end && message.offset != offset++) {
                *problem = (struct journal_problem){.what = "offsets are not dense"};
                (void)snprintf(problem->path, sizeof problem->path, "%s", log_range_path(&range));
                st = ST_CORRUPT;
            }
        }
        fetch_fini(&fetch);
        bool last = range.last;
        log_range_release(&range);
        if (st != ST_OK)
            return st;
        CHECK(offset == partition->next_offset || !last); /* the log was opened up to there */
    }
    c->message_count += partition->next_offset - partition->start_offset;
    return ST_OK;
}

static void check_partition(struct check *c, const struct partition *partition)
{
    char dir[PATH_MAX];
    struct log_options options = {.segment_bytes = SEGMENT_BYTES, .read_only = true};
    struct journal_problem problem = {0};
    struct partition_log *log = NULL;
    enum status st = path_join(dir, sizeof dir, c->dir, "shard-0/logs/%" PRIu32 "/%" PRIu32,
                               partition->topic->id, partition->index);
    if (st == ST_OK)
        st = partition_log_open(dir, &options, partition->start_offset, partition->next_offset,
                                &log, &problem);
    if (st == ST_OK) {
        c->log_bytes += partition_log_size_bytes(log);
        st = read_messages(c, log, partition, &problem);
    }
    partition_log_close(log);
    c->partition_count++;
    if (st != ST_OK)
        add_problem(c, st, &problem);
}

static void check_topic(void *user, struct topic *topic)
{
    for (uint32_t i = 0; i < topic->partition_count; i++)
        check_partition(user, topic->partitions[i]);
}

static void count_topic(void *user, struct topic *topic)
{
    (void)topic;
    ((struct check *)user)->topic_count++;
}

static void count_group(void *user, struct group *group)
{
    (void)group;
    ((struct check *)user)->group_count++;
}

static bool load_snapshot(struct check *c)
{
    char dir[PATH_MAX];
    struct journal_problem problem = {0};
    struct buf image = {0};
    enum status st = path_join(dir, sizeof dir, c->dir, "shard-0/snapshots");
    if (st == ST_OK)
        st = snapshot_read_newest(dir, &c->snapshot_index, &image, &problem);
    if (st != ST_OK) {
        add_problem(c, st, &problem);
    } else if (c->snapshot_index > 0) {
        st = machine_load(c->machine, buf_span(&image));
        if (st == ST_OK && machine_applied_index(c->machine) != c->snapshot_index)
            st = ST_CORRUPT;
        if (st != ST_OK)
            add_simple(c, st, dir, "the newest snapshot does not describe a possible state");
    }
    buf_fini(&image);
    if (st == ST_OK)
        machine_check(c->machine);
    return st == ST_OK;
}

static enum status replay_one(void *user, uint64_t index, struct span record)
{
    struct check *c = user;
    struct arena arena;
    struct command command;
    struct result result;
    arena_init(&arena);
    enum status st = command_decode(record, &arena, &command);
    if (st == ST_OK)
        machine_apply(c->machine, &command, index, &arena, &result);
    arena_fini(&arena);
    return st;
}

static void replay_journal(struct check *c)
{
    char dir[PATH_MAX];
    struct journal_problem problem = {0};
    struct journal *journal = NULL;
    struct journal_options options = {.segment_bytes = SEGMENT_BYTES, .read_only = true};
    enum status st = path_join(dir, sizeof dir, c->dir, "shard-0/journal");
    options.dir = dir;
    if (st == ST_OK)
        st = journal_open(&options, &journal, &problem);
    if (st == ST_OK) {
        c->first_index = journal_first_index(journal);
        c->next_index = journal_next_index(journal);
        st = journal_replay(journal, c->snapshot_index + 1, replay_one, c, &problem);
        if (st != ST_OK && problem.what == NULL) {
            (void)snprintf(problem.path, sizeof problem.path, "%.500s", dir);
            problem.what = "a command cannot be decoded";
            problem.position = machine_applied_index(c->machine) + 1;
        }
    }
    journal_close(journal);
    c->replayed = st == ST_OK;
    if (st != ST_OK)
        add_problem(c, st, &problem);
}

static void check_all(struct check *c)
{
    char path[PATH_MAX];
    int lock = -1;
    enum status st = path_join(path, sizeof path, c->dir, "lock");
    if (st == ST_OK && access(path, F_OK) != 0) {
        add_simple(c, ST_IO, c->dir, "not a data directory: it has no lock file");
        return;
    }
    if (st == ST_OK)
        st = disk_lock(path, &lock);
    if (st != ST_OK) {
        add_simple(c, st, path, st == ST_LOCKED ? "a broker is using it" : "cannot be opened");
        return;
    }
    struct machine_effects none = {0};
    c->machine = machine_new(&none);
    if (load_snapshot(c)) {
        machine_each_topic(c->machine, check_topic, c); /* before replay moves their ends */
        replay_journal(c);
        machine_check(c->machine);
        machine_each_topic(c->machine, count_topic, c);
        machine_each_group(c->machine, count_group, c);
        c->digest = machine_digest(c->machine);
    }
    machine_free(c->machine);
    disk_close(lock);
}

static void print_text(const struct check *c)
{
    uint32_t listed = c->problem_count < PROBLEMS_MAX ? c->problem_count : PROBLEMS_MAX;
    for (uint32_t i = 0; i < listed; i++) {
        const struct journal_problem *problem = &c->problems[i];
        printf("%s: %s at byte %" PRIu64 ": %s\n", status_name(c->statuses[i]), problem->path,
               problem->position, problem->what != NULL ? problem->what : "cannot be read");
    }
    if (listed < c->problem_count)
        printf("and %" PRIu32 " more\n", c->problem_count - listed);
    if (c->replayed) {
        printf("snapshot   index %" PRIu64 "\n", c->snapshot_index);
        printf("journal    indexes %" PRIu64 " to %" PRIu64 ", replayed from %" PRIu64 "\n",
               c->first_index, c->next_index - 1, c->snapshot_index + 1);
        printf("state      %" PRIu64 " topics, %" PRIu64 " groups, digest %016" PRIx64 "\n",
               c->topic_count, c->group_count, c->digest);
    }
    printf("logs       %" PRIu64 " messages in %" PRIu64 " partitions, %" PRIu64
           " bytes, up to the snapshot\n",
           c->message_count, c->partition_count, c->log_bytes);
    printf("%s: %" PRIu32 " problems found\n", c->dir, c->problem_count);
}

static void print_json(const struct check *c)
{
    char digest[17];
    (void)snprintf(digest, sizeof digest, "%016" PRIx64, c->digest);
    json_t *problems = json_array();
    for (uint32_t i = 0; i < c->problem_count && i < PROBLEMS_MAX; i++) {
        const struct journal_problem *problem = &c->problems[i];
        (void)json_array_append_new(
            problems,
            json_pack("{s:s, s:s, s:I, s:s}", "status", status_name(c->statuses[i]), "path",
                      problem->path, "position", (json_int_t)problem->position, "problem",
                      problem->what != NULL ? problem->what : "cannot be read"));
    }
    json_t *report = json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:I, s:o}", "ok",
        c->problem_count == 0, "snapshotIndex", (json_int_t)c->snapshot_index, "firstIndex",
        (json_int_t)c->first_index, "nextIndex", (json_int_t)c->next_index, "topics",
        (json_int_t)c->topic_count, "groups", (json_int_t)c->group_count, "partitions",
        (json_int_t)c->partition_count, "messages", (json_int_t)c->message_count, "logBytes",
        (json_int_t)c->log_bytes, "digest", c->replayed ? digest : NULL, "problemCount",
        (json_int_t)c->problem_count, "problems", problems);
    CHECK(report != NULL);
    (void)json_dumpf(report, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(report);
}

static int usage(FILE *to)
{
    (void)fputs("usage: goqueue check DIR [--json]\n"
                "Verifies the data directory of a broker that is not running: snapshot, journal,\n"
                "every partition log. Changes nothing. Exits 0 if all is well, 1 if not.\n",
                to);
    return to == stdout ? 0 : 2;
}

int cli_check(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool json = false;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) { /* NOLINT: one thread */
        if (c == 'h')
            return usage(stdout);
        if (c != 'j')
            return usage(stderr);
        json = true;
    }
    if (optind + 1 != argc)
        return usage(stderr);
    struct check *check = calloc(1, sizeof *check);
    CHECK(check != NULL);
    check->dir = argv[optind];
    check_all(check);
    if (json)
        print_json(check);
    else
        print_text(check);
    int code = check->problem_count == 0 ? 0 : 1;
    free(check);
    return code;
}
