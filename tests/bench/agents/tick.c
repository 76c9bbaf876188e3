/*
 * tick: emits numbered events at a steady pace.
 *
 *     {"events":80,"interval_ms":100}
 *
 * Event n is due n intervals after the start, so that the rate holds; with an
 * interval of 0 none waits for anything but its reader.
 */
#include <sluice/agent_json.h>

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int sleep_until(int64_t due_us)
{
    int64_t left = due_us - now_us();

    return left > 0 ? agent_sleep((uint32_t)((left + 999) / 1000)) : 0;
}

static int emit_token(int n)
{
    char json[128];

    snprintf(json, sizeof json,
             "{\"n\":\"%07d\",\"t\":\"%" PRId64 "\",\"pad\":\"xxxxxxxxxxxxxxxxx\"}", n, now_us());
    return emit_event("token", json);
}

static int handle(void *self, const char *input)
{
    cJSON *json = json_parse(input);
    int events = (int)json_number(json, "events", 0), status = 0;
    int64_t interval_us = (int64_t)json_number(json, "interval_ms", 0) * 1000;
    int64_t start = now_us();

    (void)self;
    cJSON_Delete(json);
    for (int n = 1; n <= events && status == 0; n++) {
        if (interval_us)
            status = sleep_until(start + n * interval_us);
        if (status == 0)
            status = emit_token(n);
    }
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "tick", .version = "1.0", .handle = handle)
