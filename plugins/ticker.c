/*
 * ticker - emits numbered events at a steady pace, for tests and measurements.
 *
 *     {"count":10,"period_ms":100,"bytes":64}
 *
 * Event n of count is emitted n periods after the start:
 *
 *     tick {"n":1,"ns":81234567890,"pad":"xxx"}
 *
 * ns is CLOCK_MONOTONIC at that moment, in nanoseconds; pad fills the JSON up to
 * `bytes` bytes.
 */
#include <sluice/agent_json.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS UINT64_C(1000000)

struct schedule {
    uint64_t count;
    uint64_t period_ms;
    size_t bytes;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

static bool take(const cJSON *json, const char *name, double fallback, double most, double *out)
{
    *out = json_number(json, name, fallback);
    return *out >= 0 && *out <= most;
}

static int read_schedule(const char *input, struct schedule *schedule)
{
    cJSON *json = cJSON_Parse(input);
    double count, period, bytes;
    bool fine = take(json, "count", 10, 1e9, &count) &&
                take(json, "period_ms", 100, 1e9, &period) &&
                take(json, "bytes", 0, AGENT_EVENT_MAX, &bytes);

    cJSON_Delete(json);
    if (!fine)
        return run_fail("bad_input",
                        "send {\"count\":N,\"period_ms\":P,\"bytes\":B}; "
                        "B is at most %d",
                        AGENT_EVENT_MAX);
    *schedule = (struct schedule){(uint64_t)count, (uint64_t)period, (size_t)bytes};
    return 0;
}

/* Emit event n. */
static int tick(char *json, size_t size, uint64_t n, size_t bytes)
{
    int length =
        snprintf(json, size, "{\"n\":%" PRIu64 ",\"ns\":%" PRIu64 ",\"pad\":\"", n, now_ns());
    size_t pad = bytes > (size_t)length + 2 ? bytes - (size_t)length - 2 : 0;

    memset(json + length, 'x', pad);
    strcpy(json + (size_t)length + pad, "\"}");
    return emit_event("tick", json);
}

static int run_schedule(const struct schedule *schedule, char *json, size_t size)
{
    uint64_t start = now_ns();
    int status = 0;

    for (uint64_t n = 1; n <= schedule->count && status == 0; n++) {
        uint64_t due = start + n * schedule->period_ms * MS, now = now_ns();
        if (now < due)
            status = agent_sleep((uint32_t)((due - now + MS - 1) / MS));
        if (status == 0)
            status = tick(json, size, n, schedule->bytes);
    }
    return status;
}

static int handle(void *self, const char *input)
{
    struct schedule schedule = {0};
    size_t size;
    char *json;
    int status = read_schedule(input, &schedule);

    (void)self;
    if (status < 0)
        return status;
    size = schedule.bytes + 128;
    json = malloc(size);
    if (json == NULL)
        return -ENOMEM;
    status = run_schedule(&schedule, json, size);
    free(json);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "ticker", .version = "1.0",
             .description = "Emits numbered events at a steady pace", .handle = handle)
