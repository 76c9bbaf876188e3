/*
 * fiber_starve: runs that together always have a timer that is due.
 *
 *     {"how":"churn","period_ms":P,"work_us":W,"every":E}  sleeps P ms and computes W us in
 *         turn until it is cancelled, and emits the event turn {"n":N} every E turns
 *     {"how":"tick","period_ms":P,"count":K}  sleeps P ms and emits tick {"n":N}, K times
 */
#include <sluice/agent_json.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void compute(int64_t us)
{
    int64_t end = now_ns() + us * 1000;

    while (now_ns() < end)
        ;
}

static int emit_number(const char *type, unsigned n)
{
    char json[32];

    snprintf(json, sizeof json, "{\"n\":%u}", n);
    return emit_event(type, json);
}

static int churn(uint32_t period_ms, int64_t work_us, unsigned every)
{
    int status = 0;

    for (unsigned n = 1; status == 0; n++) {
        status = agent_sleep(period_ms);
        compute(work_us);
        if (status == 0 && n % every == 0)
            status = emit_number("turn", n);
    }
    return status;
}

static int tick(uint32_t period_ms, unsigned count)
{
    int status = 0;

    for (unsigned n = 1; n <= count && status == 0; n++) {
        status = agent_sleep(period_ms);
        if (status == 0)
            status = emit_number("tick", n);
    }
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    uint32_t period_ms = (uint32_t)json_number(json, "period_ms", 1);
    int status;

    (void)self;
    if (strcmp(json_string(json, "how", ""), "churn") == 0)
        status = churn(period_ms, (int64_t)json_number(json, "work_us", 0),
                       (unsigned)json_number(json, "every", 1));
    else
        status = tick(period_ms, (unsigned)json_number(json, "count", 1));
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fiber_starve", .version = "1.0", .handle = handle)
