/*
 * cost: measures what a call of emit_event() costs its caller, beside fprintf()
 * of the same event to /dev/null. Its input
 *
 *     {"batches":200}
 *
 * says how long, 200 if it does not; its result is
 *
 *     {"emit_ns":123,"fprintf_ns":45}
 *
 * each the median, over so many batches of 1,000 calls, of the CPU time that the
 * calling thread spent in a batch, divided by its calls. The two alternate, and
 * between them it sleeps, so that the events leave and no call waits for space.
 * Built in both modes, see mode.h.
 */
#include "../../plugins/mode.h"

#include <sluice/agent_json.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCHES  200 /* at most, too */
#define CALLS    1000
#define PAUSE_MS 20
#define JSON     "{\"n\":\"0000001\",\"t\":\"1764038888123456\",\"pad\":\"xxxxxxxxxxxxxxxxx\"}"

static int64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int emit_batch(int64_t *ns)
{
    int64_t start = cpu_ns();
    int status = 0;

    for (int i = 0; i < CALLS && status == 0; i++)
        status = emit_event("token", JSON);
    *ns = (cpu_ns() - start) / CALLS;
    return status;
}

/* volatile: the text is not known at compile time, as an agent's is not. */
static int print_batch(FILE *file, int64_t *ns)
{
    const char *volatile type = "token", *volatile json = JSON;
    int64_t start = cpu_ns();
    int status = 0;

    for (int i = 0; i < CALLS && status >= 0; i++)
        status = fprintf(file, "event: %s\ndata: %s\n\n", type, json);
    *ns = (cpu_ns() - start) / CALLS;
    return status < 0 ? -EIO : 0;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static int64_t median(int64_t *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static int measure(FILE *file, size_t batches)
{
    int64_t emit[BATCHES], print[BATCHES];
    char json[128];
    int status = 0;

    for (size_t i = 0; i < batches && status == 0; i++) {
        status = emit_batch(&emit[i]);
        if (status == 0)
            status = agent_sleep(PAUSE_MS);
        if (status == 0)
            status = print_batch(file, &print[i]);
        if (status == 0)
            status = agent_sleep(PAUSE_MS);
    }
    if (status < 0)
        return status;
    snprintf(json, sizeof json, "{\"emit_ns\":%" PRId64 ",\"fprintf_ns\":%" PRId64 "}",
             median(emit, batches), median(print, batches));
    return run_result(json);
}

static int handle(void *self, const char *input)
{
    cJSON *json = json_parse(input);
    double batches = json_number(json, "batches", BATCHES);
    FILE *file = fopen("/dev/null", "w");
    int status = file ? 0 : -errno;

    (void)self;
    cJSON_Delete(json);
    if (!(batches >= 1 && batches <= BATCHES))
        status = run_fail("bad_input", "batches is 1 to %d", BATCHES);
    if (status == 0)
        status = measure(file, (size_t)batches);
    if (file)
        fclose(file);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("cost"), .version = "1.0", .handle = handle)
