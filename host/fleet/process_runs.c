#include "fleet/process_runs.h"

#include "base/mem.h"

#include <stdlib.h>

/* Runs that process_runs_list() names. */
#define LIST_MAX 16

uint32_t process_runs_add(struct process_runs *runs, struct run *run)
{
    uint32_t number;

    if (runs->free_count == 0) {
        uint32_t capacity = runs->capacity ? runs->capacity * 2 : 16;
        runs->taken = mem_realloc(runs->taken, capacity * sizeof *runs->taken);
        runs->free = mem_realloc(runs->free, capacity * sizeof *runs->free);
        for (number = capacity; number-- > runs->capacity;) {
            runs->taken[number] = NULL;
            runs->free[runs->free_count++] = number;
        }
        runs->capacity = capacity;
    }
    number = runs->free[--runs->free_count];
    runs->taken[number] = run;
    runs->live++;
    return number;
}

void process_runs_remove(struct process_runs *runs, uint32_t number)
{
    runs->taken[number] = NULL;
    runs->free[runs->free_count++] = number;
    runs->live--;
}

struct run *process_runs_find(const struct process_runs *runs, uint32_t number)
{
    return number < runs->capacity ? runs->taken[number] : NULL;
}

unsigned process_runs_abort(const struct process_runs *runs, enum run_error error)
{
    unsigned count = 0;

    for (uint32_t number = 0; number < runs->capacity; number++) {
        struct run *run = runs->taken[number];
        if (run == NULL || run_has_ended(run))
            continue;
        run_abort(run, error, NULL);
        count++;
    }
    return count;
}

bool process_runs_are_given_up(const struct process_runs *runs)
{
    for (uint32_t number = 0; number < runs->capacity; number++) {
        if (runs->taken[number] && !run_is_given_up(runs->taken[number]))
            return false;
    }
    return true;
}

void process_runs_fail(const struct process_runs *runs, enum run_error error,
                       const struct run *culprit, const char *reason)
{
    struct wire_end end = {.status = WIRE_FAILED, .code = run_error_code(error), .result = ""};
    char *others =
        culprit ? mem_printf("another run ended the worker process of this one: %s", reason) : NULL;

    for (uint32_t number = 0; number < runs->capacity; number++) {
        struct run *run = runs->taken[number];
        end.message = others && run != culprit ? others : reason;
        if (run)
            run_end(run, &end);
    }
    free(others);
}

char *process_runs_list(const struct process_runs *runs, const struct run *culprit)
{
    struct buf ids = {0};
    unsigned listed = culprit != NULL;

    if (culprit)
        buf_puts(&ids, run_id(culprit));
    for (uint32_t number = 0; number < runs->capacity && listed < LIST_MAX; number++) {
        const struct run *run = runs->taken[number];
        if (run && run != culprit)
            buf_printf(&ids, "%s%s", listed++ > 0 ? "," : "", run_id(run));
    }
    if (listed == 0)
        buf_puts(&ids, "-");
    return buf_steal(&ids);
}

void process_runs_finish(struct process_runs *runs)
{
    free(runs->taken);
    free(runs->free);
    *runs = (struct process_runs){0};
}
