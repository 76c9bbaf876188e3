/*
 * e2e_watch: runs until it is told to stop, and writes when it saw that, as
 * CLOCK_MONOTONIC in nanoseconds, into the new file that its input may name.
 *
 *     {"file":PATH,"how":"poll"|"sleep"|"emit"|"flood"}
 *
 *     poll   asks run_cancelled() every 5 ms
 *     sleep  waits in one long agent_sleep()
 *     emit   emits every 5 ms, until that fails
 *     flood  emits without pause, until that fails: it waits for its reader
 *
 * First it emits the event ready {} and makes the file PATH.begun.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PERIOD_MS 5
#define LONG_MS   600000

static int poll_run(void)
{
    while (!run_cancelled())
        agent_sleep(PERIOD_MS);
    return -ECANCELED;
}

static int emit_run(unsigned pause_ms)
{
    char pad[256] = "";
    int status;

    memset(pad, 'p', sizeof pad - 1);
    while ((status = emit_text(pad)) == 0) {
        if (pause_ms)
            agent_sleep(pause_ms);
    }
    return status;
}

static void note_begin(const char *path)
{
    char begun[4096];
    FILE *file;

    snprintf(begun, sizeof begun, "%s.begun", path);
    file = fopen(begun, "w");
    if (file)
        fclose(file);
}

/* Written whole under another name first: who waits for the file finds a number in it. */
static void note_stop(const char *path)
{
    char temporary[4096];
    struct timespec now;
    FILE *file;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    file = fopen(temporary, "w");
    if (file == NULL)
        return;
    fprintf(file, "%" PRId64 " %d\n", (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
            run_cancelled());
    fclose(file);
    rename(temporary, path);
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const char *how = json_string(json, "how", "poll");
    const char *path = json_string(json, "file", NULL);
    int status;

    (void)self;
    emit_event("ready", "{}");
    if (path)
        note_begin(path);
    if (strcmp(how, "sleep") == 0)
        status = agent_sleep(LONG_MS);
    else if (strcmp(how, "poll") == 0)
        status = poll_run();
    else
        status = emit_run(strcmp(how, "emit") == 0 ? PERIOD_MS : 0);
    if (path)
        note_stop(path);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_watch"), .version = "1.0",
             .handle = handle)
