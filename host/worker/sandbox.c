/*
 * In this order:
 *
 *   1. limits (setrlimit(2)), soft and hard;
 *   2. the memory guard (base/guard.h).
 */
#include "worker/sandbox.h"

#include "base/guard.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

static const struct limit {
    const char *name;
    __rlimit_resource_t resource;
} limits[] = {
    {"core", RLIMIT_CORE}, {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC},
    {"as", RLIMIT_AS},     {"fsize", RLIMIT_FSIZE},
};

static int set_limits(const cJSON *confinement, struct refusal *refusal)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(confinement, limits[i].name);
        rlim_t number = value ? (rlim_t)value->valuedouble : 0;
        const struct rlimit limit = {.rlim_cur = number, .rlim_max = number};
        if (value && setrlimit(limits[i].resource, &limit) < 0)
            return refuse(refusal, -errno, "confine",
                          "%s = %.0f is more than this process may have: %s", limits[i].name,
                          value->valuedouble, strerror(errno));
    }
    return 0;
}

int sandbox_enter(const cJSON *confinement, struct refusal *refusal)
{
    int status = set_limits(confinement, refusal);

    guard_set(confinement && !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(confinement, "debug")));
    return status;
}
