/* The verbs of the command line: one function per verb, one or more files each.
 *
 * Each gets its own arguments, argv[0] being the verb, and returns the exit code of the process:
 * 0 done, 1 failed, 2 wrong usage (and said so on stderr). */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_bench(int argc, char **argv); /* goqueue bench: the load generator */
int cli_check(int argc, char **argv); /* goqueue check: verify a data directory */

#endif
