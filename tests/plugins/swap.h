/*
 * swap: the agent that is swapped. Each swap_*.c is one version of it, and
 * defines SWAP_VERSION first.
 *
 *     {"count":N,"period_ms":P,"until":PATH}
 *
 * emits numbered events at a steady pace, each of which tells who made it,
 *
 *     tick {"n":1,"version":"one","generation":3,"ns":81234567890}
 *
 * until there are N of them or the file PATH exists, and then one that counts
 * them and repeats the note of its configuration:
 *
 *     total {"ticks":N,"note":"..."}
 *
 * ns is CLOCK_MONOTONIC. Of its section of the configuration it reads
 *
 *     note  any word
 *     gate  a file: create() makes the file GATE.reached and waits until GATE exists
 */
#include <sluice/agent_json.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

static char note[64];

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

static int exists(const char *path)
{
    return path && access(path, F_OK) == 0;
}

static void make_file(const char *path)
{
    FILE *file = fopen(path, "w");

    if (file)
        fclose(file);
}

static void wait_at_gate(const char *gate)
{
    struct timespec pause = {.tv_nsec = (long)(5 * MS)};
    char reached[4096];

    snprintf(reached, sizeof reached, "%s.reached", gate);
    make_file(reached);
    while (!exists(gate))
        nanosleep(&pause, NULL);
}

static int create(const char *config, const char *state, void **self)
{
    cJSON *json = cJSON_Parse(config);
    const char *gate = json_string(json, "gate", NULL);

    (void)state;
    (void)self;
    snprintf(note, sizeof note, "%s", json_string(json, "note", ""));
    if (gate)
        wait_at_gate(gate);
    cJSON_Delete(json);
    return 0;
}

static int tick(uint64_t n)
{
    char json[192];

    snprintf(json, sizeof json,
             "{\"n\":%" PRIu64 ",\"version\":\"" SWAP_VERSION "\",\"generation\":%s,\"ns\":%" PRIu64
             "}",
             n, ctx_get("plugin.generation"), now_ns());
    return emit_event("tick", json);
}

/* Sleeps until the n-th event is due. */
static int pace(uint64_t start, uint64_t n, uint64_t period_ms)
{
    uint64_t due = start + n * period_ms * MS, now = now_ns();

    return now < due ? agent_sleep((uint32_t)((due - now + MS - 1) / MS)) : 0;
}

static int emit_total(uint64_t ticks)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddNumberToObject(json, "ticks", (double)ticks);
    cJSON_AddStringToObject(json, "note", note);
    return emit_json("total", json);
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    uint64_t count = (uint64_t)json_number(json, "count", 1e15), n = 0, start = now_ns();
    uint64_t period_ms = (uint64_t)json_number(json, "period_ms", 10);
    const char *until = json_string(json, "until", NULL);
    int status = 0;

    (void)self;
    while (status == 0 && n < count && !exists(until)) {
        status = pace(start, ++n, period_ms);
        if (status == 0)
            status = tick(n);
    }
    cJSON_Delete(json);
    return status < 0 ? status : emit_total(n);
}
