/*
 * The states of a deployment, of its generations and of their worker processes,
 * side by side, with the words that operators and clients see.
 */
#ifndef FLEET_STATES_H
#define FLEET_STATES_H

/*
 * A deployment: name, word, whether it takes runs, and why not: words for
 * clients, who are not told files, paths and how workers died.
 *
 *     starting    no generation serves yet; runs wait for the first
 *     serving     its current generation takes runs
 *     crash_loop  the current generation's workers die as soon as they start
 *     draining    the host stops: all workers leave
 *     drained     its operator wants no runs here
 *     removed     its file is gone
 *     refused     no generation serves, and the last attempt failed
 *
 * In the last three no generation serves and none is being started.
 */
#define DEPLOYMENT_STATES(X)                                                                    \
    X(starting, "starting", true, NULL)                                                         \
    X(serving, "serving", true, NULL)                                                           \
    X(crash_loop, "crash-loop", false, "its workers die as soon as they start; " FOR_OPERATORS) \
    X(draining, "draining", false, "the server is stopping")                                    \
    X(drained, "drained", false, "its operator drained it")                                     \
    X(removed, "removed", false, "its file is gone")                                            \
    X(refused, "refused", false, "its plugin was refused; " FOR_OPERATORS)

/* Number of states of a deployment. */
#define COUNT_ONE(...)         +1
#define DEPLOYMENT_STATE_COUNT (0 DEPLOYMENT_STATES(COUNT_ONE))

#define FOR_OPERATORS "the server's log and `sluice list` say why"

/* A generation: name, word. */
#define GENERATION_STATES(X)    \
    X(starting, "starting")     \
    X(serving, "serving")       \
    X(crash_loop, "crash-loop") \
    X(draining, "draining")

/*
 * A worker process: name, word. A process whose loop does not answer is shown
 * as stuck, whatever state it is in.
 */
#define PROCESS_STATES(X)   \
    X(loading, "starting")  \
    X(greeted, "starting")  \
    X(creating, "starting") \
    X(ready, "serving")     \
    X(draining, "draining") \
    X(leaving, "leaving")   \
    X(stuck, "stuck")

#endif
