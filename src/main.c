/* `goqueue <verb> ...`: serve starts a broker, every other verb is a tool in cli/. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "serve.h"

static const char usage[] = "usage: goqueue <verb> [options]\n"
                            "\n"
                            "  serve     run a broker                     goqueue serve --help\n"
                            "  bench     put load on a broker             goqueue bench --help\n"
                            "  check     verify a stopped broker's data   goqueue check DIR\n"
                            "  version   print the version\n";

int main(int argc, char **argv)
{
    if (sodium_init() < 0) {
        (void)fputs("goqueue: the system has no source of random numbers\n", stderr);
        return 1;
    }
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "serve") == 0)
        return serve_run(argc - 1, argv + 1);
    if (strcmp(verb, "bench") == 0)
        return cli_bench(argc - 1, argv + 1);
    if (strcmp(verb, "check") == 0)
        return cli_check(argc - 1, argv + 1);
    if (strcmp(verb, "version") == 0 || strcmp(verb, "--version") == 0) {
        printf("goqueue %s (%s)\n", GQ_VERSION, GQ_COMMIT);
        return 0;
    }
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        (void)fputs(usage, stdout);
        return 0;
    }
    if (verb[0] != '\0')
        (void)fprintf(stderr, "goqueue: no verb '%s'\n\n", verb);
    (void)fputs(usage, stderr);
    return 2;
}
