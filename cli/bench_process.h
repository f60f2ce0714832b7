/* What another process of this machine uses: the broker, while the load generator watches it. */
#ifndef CLI_BENCH_PROCESS_H
#define CLI_BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* False: there is no such process, or it may not be looked at. */
bool process_resident_bytes(pid_t pid, uint64_t *out);
bool process_cpu_ns(pid_t pid, int64_t *out); /* of all its threads, user and system, ever */

#endif
