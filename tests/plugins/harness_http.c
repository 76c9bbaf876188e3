/*
 * harness_http: requests, where a test library could differ from the host.
 *
 *     {"urls":["http://127.0.0.1:9/"]}  ->  opened STATUS, for each URL
 *     {"late":true}                     ->  a thread that is bound to the run uses
 *                                           an exchange when the run is over
 */
#include <sluice/agent_http.h>
#include <sluice/agent_json.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct agent_http *late_http;
static pthread_t late_thread;
static sem_t over;
static int started;

static int open_url(const char *url)
{
    struct agent_http_request request = {.url = url};
    struct agent_http *http;
    char json[16];
    int status = agent_http_open(&request, &http);

    if (status == 0)
        agent_http_close(http);
    snprintf(json, sizeof json, "%d", status);
    return emit_event("opened", json);
}

static void *use_late(void *captured)
{
    const char *data;

    ctx_bind(captured);
    while (sem_wait(&over) < 0)
        ;
    if (*agent_http_error(late_http) || agent_http_header(late_http, "a") ||
        agent_http_status(late_http) != -ECANCELED ||
        agent_http_read(late_http, &data) != -ECANCELED)
        abort();
    agent_http_close(late_http);
    ctx_bind(NULL);
    ctx_release(captured);
    return NULL;
}

static int leave_late(void)
{
    struct agent_http_request request = {.url = "http://127.0.0.1:9/"};
    int status = agent_http_open(&request, &late_http);

    if (status == 0)
        status = -pthread_create(&late_thread, NULL, use_late, ctx_capture());
    started = status == 0;
    return status;
}

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    (void)self;
    return sem_init(&over, 0, 0);
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const cJSON *url;
    int status = cJSON_HasObjectItem(json, "late") ? leave_late() : 0;

    (void)self;
    cJSON_ArrayForEach(url, cJSON_GetObjectItem(json, "urls"))
        if (status == 0)
            status = open_url(cJSON_GetStringValue(url));
    cJSON_Delete(json);
    return status;
}

static void destroy(void *self)
{
    (void)self;
    sem_post(&over);
    if (started)
        pthread_join(late_thread, NULL);
}

AGENT_PLUGIN(.name = "harness_http", .version = "1.0", .create = create, .handle = handle,
             .destroy = destroy)
