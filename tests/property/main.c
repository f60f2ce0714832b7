/* Runs every property with random input: GQ_SEED=<number> replays, GQ_ROUNDS=<number> runs longer,
 * an argument names the one property to run. A new property is one line below.
 *
 * A property is a function of a seed that does nothing when it holds and fails a CHECK when not.
 * Its rounds are shared out to a process for each core, so that a failing seed is known whatever
 * ends it. */
#include "tests/property/property.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "std/check.h"

#ifdef GQ_DEBUG
enum { FEWER = 10 }; /* sanitizers are slow; release makes the million steps */
#else
enum { FEWER = 1 };
#endif

/*    name               rounds */
#define PROPERTIES(X)                                                                              \
    X(assignment, 2000)                                                                            \
    X(delivery, 2400 / FEWER)                                                                      \
    X(json_documents, 3000)                                                                        \
    X(json_broken_documents, 10000)                                                                \
    X(machine_commands, 900 / FEWER)                                                               \
    X(publish_requests, 3000)

#define DECLARE(name, rounds) void property_##name(uint64_t seed);
PROPERTIES(DECLARE)
#undef DECLARE

static const struct property {
    const char *name;
    void (*run)(uint64_t seed);
    uint64_t rounds;
} properties[] = {
#define LIST(name, rounds) {#name, property_##name, rounds},
    PROPERTIES(LIST)
#undef LIST
};

enum { WORKERS_MAX = 16 };

static struct worker { /* shared with the process that writes it */
    uint64_t seed;
    uint64_t steps;
} * workers, *self;

void property_count_steps(uint64_t count)
{
    self->steps += count;
}

static bool number_from_environment(const char *name, uint64_t *out)
{
    const char *text = getenv(name); /* NOLINT(concurrency-mt-unsafe): one thread */
    if (text == NULL)
        return false;
    *out = strtoull(text, NULL, 0);
    return true;
}

static unsigned worker_count(uint64_t rounds)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t count = cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (uint64_t)cores;
    return (unsigned)(count < rounds ? count : rounds);
}

static pid_t start(const struct property *p, unsigned index, unsigned count, uint64_t first,
                   uint64_t end)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child > 0)
        return child;
    self = &workers[index];
    for (self->seed = first + index; self->seed < end; self->seed += count)
        p->run(self->seed);
    exit(EXIT_SUCCESS); /* reports leaks. NOLINT(concurrency-mt-unsafe) */
}

/* Runs one property. Gives whether it holds; adds its steps. */
static bool holds(const struct property *p, uint64_t first, uint64_t rounds, uint64_t *steps_total)
{
    pid_t children[WORKERS_MAX];
    const unsigned count = worker_count(rounds);
    memset(workers, 0, WORKERS_MAX * sizeof *workers);
    (void)fflush(NULL);
    for (unsigned i = 0; i < count; i++)
        children[i] = start(p, i, count, first, first + rounds);
    bool ok = true;
    uint64_t steps = 0;
    for (unsigned i = 0; i < count; i++) {
        int status = 0;
        CHECK(waitpid(children[i], &status, 0) == children[i]);
        steps += workers[i].steps;
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
            continue;
        (void)printf("%s FAILS: GQ_SEED=%" PRIu64 "\n", p->name, workers[i].seed);
        ok = false;
    }
    if (ok)
        (void)printf("%s holds: %" PRIu64 " rounds", p->name, rounds);
    if (ok && steps > 0)
        (void)printf(", %" PRIu64 " steps", steps);
    if (ok)
        (void)printf(" from GQ_SEED=%" PRIu64 "\n", first);
    *steps_total += steps;
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t first = 0, rounds = 0, steps = 0;
    bool replay = number_from_environment("GQ_SEED", &first);
    bool fixed_rounds = number_from_environment("GQ_ROUNDS", &rounds);
    if (!replay) {
        CHECK(getrandom(&first, sizeof first, 0) == (ssize_t)sizeof first);
        first &= UINT32_MAX; /* easier to type */
    }
    workers = mmap(NULL, WORKERS_MAX * sizeof *workers, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(workers != MAP_FAILED);
    bool ok = true;
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++) {
        const struct property *p = &properties[i];
        if (argc > 1 && strcmp(argv[1], p->name) != 0)
            continue;
        ok &= holds(p, first, fixed_rounds ? rounds : replay ? 1 : p->rounds, &steps);
    }
    (void)printf("%" PRIu64 " steps\n", steps);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
