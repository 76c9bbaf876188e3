/*
 * fiber_sleep: how long agent_sleep() takes, and what happens meanwhile.
 *
 *     {"how":"measure","ms":M,"count":K}  sleeps K times for M ms; result
 *         {"early":E,"shortest_ns":S}: E sleeps were shorter than they had to be
 *     {"how":"zero"}  emits ready {} and calls agent_sleep(0) until run_cancelled()
 *     {"how":"zero_status"}  the same until agent_sleep(0) fails
 */
#include <sluice/agent_json.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int measure(uint32_t ms, unsigned count)
{
    int64_t shortest = INT64_MAX;
    unsigned early = 0;
    char result[96];
    int status = 0;

    for (unsigned i = 0; i < count && status == 0; i++) {
        int64_t begin = now_ns(), took;
        status = agent_sleep(ms);
        took = now_ns() - begin;
        early += took < (int64_t)ms * 1000000;
        shortest = took < shortest ? took : shortest;
    }
    snprintf(result, sizeof result, "{\"early\":%u,\"shortest_ns\":%lld}", early,
             (long long)shortest);
    run_result(result);
    return status;
}

static int sleep_zero(bool ask)
{
    int status = 0;

    emit_event("ready", "{}");
    while (ask ? !run_cancelled() : status == 0)
        status = agent_sleep(0);
    return -ECANCELED;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const char *how = json_string(json, "how", "");
    int status;

    (void)self;
    if (strcmp(how, "measure") == 0)
        status =
            measure((uint32_t)json_number(json, "ms", 1), (unsigned)json_number(json, "count", 1));
    else
        status = sleep_zero(strcmp(how, "zero") == 0);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fiber_sleep", .version = "1.0", .handle = handle)
