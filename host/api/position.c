#include "api/position.h"

#include "http/problem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_DIGITS 18

/* -EINVAL if it is not a number of at most NUMBER_DIGITS. */
static int read_number(const char *text, uint64_t *number)
{
    size_t length = strspn(text, "0123456789");

    if (length == 0 || length > NUMBER_DIGITS || text[length] != '\0')
        return -EINVAL;
    *number = strtoull(text, NULL, 10);
    return 0;
}

int position_read(const char *id, struct position *position)
{
    if (strcspn(id, ".") != RUN_ID_LENGTH || id[RUN_ID_LENGTH] != '.' ||
        read_number(id + RUN_ID_LENGTH + 1, &position->after) < 0)
        return -EINVAL;
    memcpy(position->run, id, RUN_ID_LENGTH);
    position->run[RUN_ID_LENGTH] = '\0';
    return 0;
}

const char *position_id(const struct http_request *request)
{
    const char *id = http_header(request, "Last-Event-ID");

    if (id == NULL || *id == '\0')
        id = http_query(request, "last_event_id");
    return id && *id ? id : NULL;
}

/* What the request says; replies if it says nonsense. */
static bool find_after(struct http_request *request, const struct run *run, uint64_t *after)
{
    const char *id = position_id(request), *number = http_query(request, "after");
    struct position position;

    *after = 0;
    if (id) {
        if (position_read(id, &position) < 0 || strcmp(position.run, run_id(run)) != 0) {
            problem_reply(request, 400, "the last event id is not of this run; its ids are RUN.N");
            return false;
        }
        *after = position.after;
    } else if (number && read_number(number, after) < 0) {
        problem_reply(request, 400, "after must be the number of an event, or 0");
        return false;
    }
    return true;
}

bool position_in_run(struct http_request *request, const struct run *run, uint64_t *after)
{
    char detail[96];

    if (!find_after(request, run, after))
        return false;
    if (*after <= run_log(run)->last)
        return true;
    snprintf(detail, sizeof detail, "the run has no event %llu; its last is %llu",
             (unsigned long long)*after, (unsigned long long)run_log(run)->last);
    problem_reply(request, 400, detail);
    return false;
}
