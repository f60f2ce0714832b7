#include "cli/bench_process.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

bool process_resident_bytes(pid_t pid, uint64_t *out)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    uint64_t pages = 0;
    bool ok = fscanf(file, "%*s %" SCNu64, &pages) == 1; /* NOLINT(cert-err34-c): the kernel's */
    (void)fclose(file);
    *out = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return ok;
}

bool process_cpu_ns(pid_t pid, int64_t *out)
{
    clockid_t clock;
    struct timespec ts;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &ts) != 0)
        return false;
    *out = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    return true;
}
