/* When a partition log cannot be read: a line in the log that names file and position, and 500. */
#ifndef API_FETCH_PROBLEM_H
#define API_FETCH_PROBLEM_H

#include "api/request.h"

void fetch_problem_log(enum status st, const struct journal_problem *problem);
void fetch_problem_reply(struct request *r, enum status st, const struct journal_problem *problem);

#endif
