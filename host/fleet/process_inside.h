/*
 * struct process, for process.c and process_frames.c alone, and the verbs that these
 * two have for each other.
 */
#ifndef FLEET_PROCESS_INSIDE_H
#define FLEET_PROCESS_INSIDE_H

#include "base/handles.h"
#include "base/patience.h"
#include "base/why.h"
#include "fleet/process.h"
#include "fleet/process_runs.h"
#include "fleet/pulse.h"
#include "fleet/spawn.h"
#include "fleet/states.h"
#include "wire/link.h"

#include <sys/queue.h>

enum process_state {
#define X(name, word) PROCESS_##name,
    PROCESS_STATES(X)
#undef X
};

struct process {
    uv_loop_t *loop;
    struct child child;
    uv_timer_t ping;
    struct patience limit;
    struct handles handles;
    struct link *link;
    struct output *output; /* NULL: it shares the front's standard error */
    struct process_spec spec;
    char *name; /* the plugin's, NULL until it is greeted */
    char *farm; /* where the worker may have made one; see base/farm.h */
    enum process_state state;
    struct process_runs runs;
    uint64_t started;
    uint64_t stray_emits;
    uint64_t refused_calls;
    struct pulse pulse;
    bool saving;          /* the plugin's state was asked for */
    uint64_t since;       /* ms of the loop's clock */
    uint64_t drain_left;  /* ms until the runs are ended, or killed if they were; or NEVER */
    bool cancelled;       /* the runs that did not end before the drain's deadline */
    bool deaf;            /* its socket is closed */
    bool condemned;       /* killed, and not reaped yet */
    bool lost;            /* killed in vain: its owner has forgotten it */
    bool refused;         /* its owner logs that */
    enum run_error error; /* of its runs if it dies */
    struct why note;      /* why it was killed or refused */
    struct why crash;     /* how its plugin has ended it, as the worker said */
    struct run *culprit;  /* the run in which it has; NULL for none */
    const struct process_handler *handler;
    void *data;
    LIST_ENTRY(process) in_lost; /* in lost_processes */
};

/* ---- process.c ---- */

/* The worker is ready: from now on it is sent pings and runs. */
void process_serve(struct process *process);

/* ---- process_frames.c ---- */

/* The link's frame(): return -EPROTO if the frame is not whole or may not come now. */
int process_on_frame(void *data, const struct wire_frame *frame);

#endif
