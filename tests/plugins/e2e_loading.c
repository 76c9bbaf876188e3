/*
 * e2e_loading: asks a server, before there are runs. create() and selftest() each send a
 * request to the url of the configuration, if there is one; handle() emits both answers as asked
 * [A, B]. "leave" in the configuration: create() leaves an exchange open. Built in both modes, see
 * mode.h.
 */
#include "mode.h"

#include <sluice/agent_http.h>

#include <stdio.h>
#include <string.h>

static char url[128];
static char answers[2][64]; /* JSON */

static int ask(char *answer, size_t size)
{
    struct agent_http_request request = {.url = url};
    struct agent_http *http;
    int status = agent_http_open(&request, &http);
    char *body;

    if (status < 0)
        return status;
    body = agent_http_collect(http, &status);
    if (body == NULL)
        agent_log(AGENT_LOG_ERROR, "the server is not there: %s", agent_http_error(http));
    else
        snprintf(answer, size, "%s", body);
    free(body);
    agent_http_close(http);
    return status < 0 ? status : 0;
}

static int create(const char *config, const char *state, void **self)
{
    const char *at = strstr(config, "\"url\":\"");
    struct agent_http_request request = {.url = url};
    struct agent_http *left;

    (void)state;
    (void)self;
    if (at == NULL)
        return 0;
    sscanf(at, "\"url\":\"%127[^\"]", url);
    if (strstr(config, "\"leave\"") && agent_http_open(&request, &left) == 0)
        agent_http_status(left);
    return ask(answers[0], sizeof answers[0]);
}

static int selftest(void *self)
{
    (void)self;
    return *url ? ask(answers[1], sizeof answers[1]) : 0;
}

static int handle(void *self, const char *input)
{
    char json[160];

    (void)self;
    (void)input;
    snprintf(json, sizeof json, "[%s,%s]", answers[0], answers[1]);
    return emit_event("asked", json);
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_loading"), .version = "1.0",
             .create = create, .selftest = selftest, .handle = handle)
