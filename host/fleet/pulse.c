#include "fleet/pulse.h"

#include <stdio.h>
#include <unistd.h>

/* Return true if a debugger or a tracer is attached. */
static bool is_traced(pid_t pid)
{
    char path[48], line[128];
    int tracer = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) && sscanf(line, "TracerPid: %d", &tracer) != 1)
        ;
    fclose(file);
    return tracer > 0;
}

enum pulse_change pulse_miss(struct pulse *pulse, pid_t pid, unsigned timeout_s)
{
    uint64_t timeout_ms = timeout_s * UINT64_C(1000);

    pulse->silent_ms = is_traced(pid) ? 0 : pulse->silent_ms + PULSE_MS;
    if (pulse->is_stuck)
        return pulse->silent_ms >= 2 * timeout_ms ? PULSE_DEAD : PULSE_SAME;
    pulse->is_stuck = pulse->silent_ms >= timeout_ms;
    return pulse->is_stuck ? PULSE_STUCK : PULSE_SAME;
}

bool pulse_answer(struct pulse *pulse)
{
    bool was_stuck = pulse->is_stuck;

    pulse->pings--;
    pulse->silent_ms = 0;
    pulse->is_stuck = false;
    return was_stuck;
}

void pulse_weigh(struct pulse *pulse, pid_t pid)
{
    char path[48];
    unsigned long pages;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fscanf(file, "%*u %lu", &pages) == 1)
        pulse->memory = pages * (size_t)sysconf(_SC_PAGESIZE);
    fclose(file);
}
