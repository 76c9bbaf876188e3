/* Requests whose run is found later: the linker puts __wrap_runs_lookup() in the place of
 * runs_lookup(), and a test says when it answers. */
#include "../case.h"
#include "api/access.h"
#include "api/api.h"
#include "api/collect.h"
#include "api/routes.h"
#include "api/stream.h"
#include "base/log.h"
#include "base/time.h"
#include "base/why.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/listeners.h"
#include "run/runs.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uv_loop_t loop;
static struct config *config;
static struct api api;
static struct http *http;
static bool stopping;
static struct run *run;
static in_port_t port;
static int client;

/* The lookup that has not answered. */
static struct {
    char id[64];
    void (*done)(void *data, struct run *run);
    void *data;
    int count;
} pending;

void __wrap_runs_lookup(struct runs *runs, const char *id,
                        void (*done)(void *data, struct run *run), void *data);

void __wrap_runs_lookup(struct runs *runs, const char *id,
                        void (*done)(void *data, struct run *run), void *data)
{
    ck_assert_ptr_eq(runs, api.runs);
    snprintf(pending.id, sizeof pending.id, "%s", id);
    pending.done = done;
    pending.data = data;
    pending.count++;
}

static void answer_lookup(void)
{
    pending.done(pending.data, runs_find(api.runs, pending.id));
}

static void on_settled(void *data)
{
    (void)data;
}

static void turn(void)
{
    for (int i = 0; i < 10; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void create_run(void)
{
    struct run_request request = {.agent = "echo",
                                  .input = "{}",
                                  .input_length = 2,
                                  .subject = "",
                                  .linger_ms = NEVER,
                                  .deadline_ms = NEVER,
                                  .grace_ms = 1000};

    ck_assert_int_eq(run_create(api.runs, &request, &run), 0);
}

static void setup(void)
{
    static const struct runs_limits limits = {
        .retention_ms = 60000, .log_size = 1024 * 1024, .log_budget = 16 * 1024 * 1024};
    static const struct pace_times times = {.heartbeat_ms = 60000, .stall_ms = 60000};
    struct http_settings settings = {.max_connections = 10,
                                     .timeout_s = 10,
                                     .request_timeout_s = 10,
                                     .max_headers = 8192,
                                     .max_body = 1000};
    struct why why = {0};

    log_open("test", "", LOG_FATAL);
    memset(&pending, 0, sizeof pending);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    config = config_create();
    api.config = config;
    api.stopping = &stopping;
    api.runs = runs_create(&loop, &limits);
    api.streams = streams_create(&loop, &times);
    api.collectors = collectors_create(&loop, &times);
    api.registry = registry_create(&loop, config, on_settled, NULL);
    api.access = access_create(config, config->listen, NULL);
    ck_assert_int_eq(listeners_open("127.0.0.1:0", "", 0600, &settings.listeners, &why), 0);
    port = htons((in_port_t)atoi(strrchr(listeners_names(settings.listeners), ':') + 1));
    ck_assert_int_eq(http_create(&loop, &settings, &api_handler, &api, &http), 0);
    create_run();
    client = -1;
}

static void teardown(void)
{
    runs_fail_all(api.runs, RUN_ERROR_shutdown);
    turn();
    http_destroy(http);
    close(client);
    run_unref(run);
    registry_destroy(api.registry);
    runs_destroy(api.runs);
    streams_destroy(api.streams);
    collectors_destroy(api.collectors);
    access_destroy(api.access);
    config_destroy(config);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/*
 * Send a request for the run, as far as its lookup. after: of the path, after
 * the run's id. body NULL: one that is too large and does not come.
 */
static void ask(const char *method, const char *after, const char *headers, const char *body)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = port};
    char text[1024];
    int length =
        snprintf(text, sizeof text,
                 "%s /runs/%s%s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: "
                 "%zu\r\n\r\n%s",
                 method, run_id(run), after, headers, body ? strlen(body) : 3000, body ? body : "");

    client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    ck_assert_int_eq(write(client, text, (size_t)length), length);
    fcntl(client, F_SETFL, O_NONBLOCK);
    while (pending.count == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    turn();
    ck_assert_int_eq(read(client, text, sizeof text), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_str_eq(pending.id, run_id(run));
}

/* Read until this text has come; the answer must begin with this status. */
static void expect(const char *status, const char *wanted)
{
    char bytes[4096] = "";
    size_t length = 0;
    ssize_t got;

    while (!strstr(bytes, wanted)) {
        do
            uv_run(&loop, UV_RUN_NOWAIT);
        while ((got = read(client, bytes + length, sizeof bytes - length - 1)) < 0 &&
               errno == EAGAIN);
        ck_assert_msg(got > 0, "no '%s' in: %s", wanted, bytes);
        length += (size_t)got;
    }
    ck_assert_msg(strncmp(bytes + strlen("HTTP/1.1 "), status, 3) == 0, "%s", bytes);
}

CASES("found later", .setup = setup, .teardown = teardown);

CASE(state)
{
    ask("GET", "", "", "");
    answer_lookup();
    expect("200", "\"status\":\"queued\"");
}

CASE(no_run)
{
    ask("GET", "", "", "");
    pending.done(pending.data, NULL);
    expect("404", "there is no such run");
}

CASE(stream)
{
    ask("GET", "/events", "", "");
    answer_lookup();
    turn();
    run_cancel(run);
    expect("200", "{\"status\":\"cancelled\",\"reason\":\"client\"}");
}

CASE(nothing_follows)
{
    char headers[128];

    run_cancel(run);
    snprintf(headers, sizeof headers, "Last-Event-ID: %s.1\r\n", run_id(run));
    ask("GET", "/events", headers, "");
    answer_lookup();
    expect("204", "\r\n\r\n");
}

CASE(cancellation)
{
    ask("POST", "/cancel", "", "");
    ck_assert(!run_has_ended(run));
    answer_lookup();
    ck_assert(run_has_ended(run));
    expect("200", "\"status\":\"cancelled\"");
}

/* The body is still there when the run is. */
CASE(input)
{
    ask("POST", "/input", "Content-Type: application/json\r\n", "{\"answer\":42}");
    answer_lookup();
    expect("409", "the run is queued");
}

CASE(input_that_is_not_json)
{
    ask("POST", "/input", "Content-Type: application/json\r\n", "{\"answer\":");
    answer_lookup();
    expect("400", "the body is not JSON");
}

/* A client that leaves meanwhile wants nothing any longer: its lookup only ends. */
CASE_LOOP(client_leaves, 0, 3)
{
    static const char *const paths[] = {"/events", "/cancel", "/input"};
    const struct linger reset = {.l_onoff = 1};

    ask(_i == 0 ? "GET" : "POST", paths[_i], "Content-Type: application/json\r\n", "{}");
    setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(client);
    while (http_open_requests(http) > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    answer_lookup();
    ck_assert(!run_has_ended(run));
    client = socket(AF_INET, SOCK_STREAM, 0);
}

/* Nor does the end of the server, which resets the connection. */
CASE(server_ends)
{
    ask("POST", "/cancel", "", "");
    http_destroy(http);
    http = NULL;
    answer_lookup();
    ck_assert(!run_has_ended(run));
}

/* A body that is too large is not waited for: neither before the lookup nor after it. */
CASE(body_too_large)
{
    ask("POST", "/input", "Content-Type: application/json\r\n", NULL);
    answer_lookup();
    expect("413", "the body has more than");
}
