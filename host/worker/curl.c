/*
 * CURL_SONAME is the library that configure has found. It is loaded on a thread of its own: the
 * constructors of thirty libraries need more stack than a fiber has.
 */
#include "worker/curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct curl functions;
static bool is_loaded;
static char failure[256];

static bool find(void *library, const char *name, void *to)
{
    void *symbol = dlsym(library, name);

    memcpy(to, &symbol, sizeof symbol);
    return symbol != NULL;
}

static void *load(void *data)
{
    void *library = dlopen(CURL_SONAME, RTLD_NOW | RTLD_LOCAL);

    (void)data;
    is_loaded = library != NULL;
#define X(name) is_loaded = is_loaded && find(library, "curl_" #name, &functions.name);
    CURL_FUNCTIONS(X)
#undef X
    if (!is_loaded)
        snprintf(failure, sizeof failure, "libcurl cannot be loaded: %s", dlerror());
    return NULL;
}

static void load_once(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, load, NULL) == 0)
        pthread_join(thread, NULL);
    else
        snprintf(failure, sizeof failure, "libcurl cannot be loaded: no thread");
}

const struct curl *curl_load(const char **reason)
{
    pthread_once(&once, load_once);
    *reason = failure;
    return is_loaded ? &functions : NULL;
}
