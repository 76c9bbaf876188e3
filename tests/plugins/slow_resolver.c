/*
 * slow_resolver: no plugin; preloaded into a server, it makes the resolver of
 * the host slow.test wait until the file exists that SLOW_RESOLVER names, and then
 * say that there is no such host. It first makes that file with .begun behind.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PERIOD_US 1000

static int resolve_slowly(const char *path)
{
    char begun[4096];

    snprintf(begun, sizeof begun, "%s.begun", path);
    close(open(begun, O_WRONLY | O_CREAT, 0600));
    while (access(path, F_OK) < 0)
        usleep(PERIOD_US);
    return EAI_NONAME;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("SLOW_RESOLVER");

    if (path && node && strcmp(node, "slow.test") == 0)
        return resolve_slowly(path);
    memcpy(&real, &symbol, sizeof real);
    return real(node, service, hints, found);
}
