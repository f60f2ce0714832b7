/* Runs every property with random input: GQ_SEED=<number> replays, GQ_ROUNDS=<number> runs longer,
 * an argument names the one property to run. A new property is one line below.
 *
 * A property is a function of a seed that does nothing when it holds and fails a CHECK when not. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "std/check.h"

/*    name               rounds */
#define PROPERTIES(X)                                                                              \
    X(delivery, 100)                                                                               \
    X(json_documents, 3000)                                                                        \
    X(json_broken_documents, 10000)                                                                \
    X(machine_commands, 200)                                                                       \
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

static bool number_from_environment(const char *name, uint64_t *out)
{
    const char *text = getenv(name); /* NOLINT(concurrency-mt-unsafe): one thread */
    if (text == NULL)
        return false;
    *out = strtoull(text, NULL, 0);
    return true;
}

/* Runs one property in a process of its own, so that its seed is known whatever ends it. */
static bool holds(const struct property *p, uint64_t start, uint64_t count)
{
    uint64_t *seed =
        mmap(NULL, sizeof *seed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(seed != MAP_FAILED);
    (void)fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (*seed = start; *seed < start + count; ++*seed)
            p->run(*seed);
        exit(EXIT_SUCCESS); /* reports leaks. NOLINT(concurrency-mt-unsafe) */
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
    if (ok)
        (void)printf("%s holds: %" PRIu64 " rounds from GQ_SEED=%" PRIu64 "\n", p->name, count,
                     start);
    else
        (void)printf("%s FAILS: GQ_SEED=%" PRIu64 "\n", p->name, *seed);
    CHECK(munmap(seed, sizeof *seed) == 0);
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t start = 0, rounds = 0;
    bool replay = number_from_environment("GQ_SEED", &start);
    bool fixed_rounds = number_from_environment("GQ_ROUNDS", &rounds);
    if (!replay) {
        CHECK(getrandom(&start, sizeof start, 0) == (ssize_t)sizeof start);
        start &= UINT32_MAX; /* easier to type */
    }
    bool ok = true;
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++) {
        const struct property *p = &properties[i];
        if (argc > 1 && strcmp(argv[1], p->name) != 0)
            continue;
        ok &= holds(p, start, fixed_rounds ? rounds : replay ? 1 : p->rounds);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
