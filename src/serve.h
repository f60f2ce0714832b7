/* `goqueue serve`: everything built from the settings, started in order, stopped in the reverse
 * order. */
#ifndef SERVE_H
#define SERVE_H

/* Runs a broker until SIGTERM or SIGINT, or until its disk fails. argv[0] is the verb.
 * Gives the exit code: 0 stopped as asked, 1 could not start or the disk failed, 2 bad settings. */
int serve_run(int argc, char *const *argv);

#endif
