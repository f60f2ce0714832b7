#include "api/fetch_problem.h"

#include <inttypes.h>

#include "api/reply.h"
#include "node/logline.h"

void fetch_problem_log(enum status st, const struct journal_problem *problem)
{
    char path[sizeof problem->path * 2];
    log_line(LOG_ERROR, "unreadable_messages", "file=%s position=%" PRIu64 " problem=\"%s\"",
             log_quote(path, sizeof path, problem->path, strlen(problem->path)), problem->position,
             problem->what == NULL ? status_text(st) : problem->what);
}

void fetch_problem_reply(struct request *r, enum status st, const struct journal_problem *problem)
{
    fetch_problem_log(st, problem);
    reply_error(r, st);
}
