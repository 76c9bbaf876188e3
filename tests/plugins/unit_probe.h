/* What test_worker and its plugin share; both live in one process. */
#ifndef UNIT_PROBE_H
#define UNIT_PROBE_H

/*
 * The plugin's life as the test plans and sees it. The plugin's configuration
 * is {"life":"ADDRESS"}, as printf() writes a pointer.
 */
struct probe_life {
    int create_status;
    int selftest_status;
    int created; /* how often */
    int tested;
    int destroyed;
    char config[128]; /* what create() was given */
    char state[128];  /* "none" for NULL */
};

/* The variable that names a function of the test, int (*)(void), to be called as the agent. */
#define PROBE_CALL "test.call"

/* Unless that is set, the input selects what the plugin itself does; see unit_probe.c. */
#define PROBE_MARK "test.mark"

#endif
