#include "api/start.h"

#include "api/body.h"
#include "api/collect.h"
#include "api/position.h"
#include "base/digest.h"
#include "base/json.h"
#include "config/setting.h"
#include "http/problem.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 255

enum mode { STREAM, WAIT, DETACH };

/* What the request wants, besides what its body says. */
struct options {
    enum mode mode;
    unsigned on_disconnect; /* as setting_disconnect() has it */
    unsigned deadline;      /* seconds, 0 for none */
    char key[KEY_MAX + 1];  /* "" for none */
};

/* ---- what the request wants ---- */

static bool read_mode(const char *text, enum mode *mode)
{
    static const char *const modes[] = {[STREAM] = "stream", [WAIT] = "wait", [DETACH] = "detach"};

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(text, modes[i]) == 0) {
            *mode = (enum mode)i;
            return true;
        }
    }
    return false;
}

/* A key with or without the quotes that the draft of its header asks for. */
static bool read_key(const char *text, char key[KEY_MAX + 1])
{
    size_t length = strlen(text);

    if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
        text++;
        length -= 2;
    }
    if (length == 0 || length > KEY_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < ' ' || text[i] > '~')
            return false;
        key[i] = text[i];
    }
    key[length] = '\0';
    return true;
}

/* What it says wrong, NULL if nothing. */
static const char *read_options(const struct http_request *request,
                                const struct config_plugin *plugin, struct options *options)
{
    const char *mode = http_query(request, "mode"), *key = http_header(request, "Idempotency-Key");
    const char *on_disconnect = http_query(request, "on_disconnect");
    const char *deadline = http_query(request, "deadline");

    if (mode && !read_mode(mode, &options->mode))
        return "mode is 'stream', 'wait' or 'detach'";
    options->on_disconnect = options->mode == DETACH ? DISCONNECT_CONTINUE : plugin->on_disconnect;
    if (on_disconnect && setting_disconnect(on_disconnect, &options->on_disconnect) < 0)
        return "on_disconnect is " DISCONNECT_WANTS;
    if (deadline && setting_number(deadline, 1, 86400, &options->deadline) < 0)
        return "deadline is 1 to 86400 seconds";
    if (plugin->deadline > 0 && (options->deadline == 0 || options->deadline > plugin->deadline))
        options->deadline = plugin->deadline;
    if (key && !read_key(key, options->key))
        return "an Idempotency-Key has 1 to 255 printable ASCII characters";
    return NULL;
}

/* Who is counted: the subject, or the address of one that has none. */
static const char *client_name(const struct http_request *request)
{
    const char *subject = http_subject(request);

    return *subject ? subject : http_client_address(request);
}

/* ---- what an agent may know of the request ---- */

/* W3C Trace Context, 3.2: version, trace id, parent id, flags; no id all zero, no version ff. */
static bool traceparent_is_valid(const char *value)
{
    static const char form[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";

    if (strlen(value) != strlen(form))
        return false;
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == '-' ? value[i] != '-' : !strchr("0123456789abcdef", value[i]))
            return false;
    }
    return strncmp(value, "ff", 2) != 0 && strspn(value + 3, "0") < 32 &&
           strspn(value + 36, "0") < 16;
}

static void add_header(struct buf *pairs, const struct http_request *request, const char *name)
{
    const char *value = http_header(request, name);
    char key[160];

    if (value == NULL || json_escaped_length(value, strlen(value)) < 0)
        return;
    snprintf(key, sizeof key, "request.header.%s", name);
    for (char *p = key; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    wire_append_pair(pairs, key, value);
}

static void add_headers(struct buf *pairs, const struct http_request *request, const char *names)
{
    size_t length;

    for (; (length = setting_word(&names)) > 0; names += length) {
        char name[128];
        if (length < sizeof name) {
            snprintf(name, sizeof name, "%.*s", (int)length, names);
            add_header(pairs, request, name);
        }
    }
}

static void collect_pairs(const struct api *api, const struct http_request *request,
                          struct buf *pairs)
{
    const char *traceparent = http_header(request, "traceparent");

    if (traceparent && traceparent_is_valid(traceparent))
        wire_append_pair(pairs, "traceparent", traceparent);
    if (*http_subject(request))
        wire_append_pair(pairs, "auth.subject", http_subject(request));
    add_headers(pairs, request, api->config->forward_headers);
}

/* ---- room ---- */

/* Whether a run of the agent can start or wait for its start; replies if not. */
static bool check_room(const struct api *api, struct http_request *request, const char *agent)
{
    char reason[1536];
    int status;

    if (api->stopping) {
        problem_reply_busy(request, 503, "the server is stopping");
        return false;
    }
    status = registry_admit(api->registry, agent, reason, sizeof reason);
    if (status == -ENOENT) {
        problem_reply(request, 404, reason);
    } else if (status < 0) {
        problem_reply_busy(request, 503, reason);
    } else if (runs_live(api->runs) >= api->config->max_runs) {
        problem_reply_busy(request, 503,
                           "the server has as many live runs as it allows; try again later");
        status = -EAGAIN;
    } else if (!runs_make_room(api->runs)) {
        problem_reply_busy(request, 503,
                           "the events of live runs fill the server's log_budget; try again later");
        status = -EAGAIN;
    }
    return status == 0;
}

/* Whether the client may have one more live run; replies if not. */
static bool check_client(const struct api *api, struct http_request *request)
{
    unsigned most = api->config->max_runs_per_client;

    if (most == 0 || runs_live_of(api->runs, client_name(request)) < most)
        return true;
    problem_reply_busy(request, 429,
                       "you have as many live runs as one client may have; wait for one to end");
    return false;
}

/* ---- the answer ---- */

static void reply_accepted(struct http_request *request, const struct run *run)
{
    struct buf body = {0};

    run_describe(run, &body);
    buf_puts(&body, "\n");
    http_reply(request, 202, "application/json", &body);
}

static void answer(const struct api *api, struct http_request *request, struct run *run,
                   enum mode mode, uint64_t after)
{
    char location[16 + RUN_ID_LENGTH];

    snprintf(location, sizeof location, "/runs/%s", run_id(run));
    http_add_header(request, "Location", location);
    if (mode == WAIT)
        collect_open(request, run);
    else if (mode == DETACH)
        reply_accepted(request, run);
    else
        stream_open(api->streams, request, run, after);
}

/* ---- a run that there is ---- */

/* Reads on the run that the id names: a client that was cut may send its request once more. */
static void resume(const struct api *api, struct http_request *request, const char *agent,
                   const char *id, enum mode mode)
{
    struct position position;
    struct run *run;
    uint64_t after;

    if (position_read(id, &position) < 0) {
        problem_reply(
            request, 400,
            "Last-Event-ID is not the id of an event, RUN.N; leave it out to start a run");
        return;
    }
    run = api_find_run(api, request, position.run);
    if (run && strcmp(run_agent_name(run), agent) != 0)
        problem_reply(request, 400, "Last-Event-ID is of a run of another agent");
    else if (run && position_in_run(request, run, &after))
        answer(api, request, run, mode, after);
}

/* Whether the key was used before: then the request is answered. */
static bool repeat(const struct api *api, struct http_request *request, const char *agent,
                   const struct options *options, const unsigned char *digest)
{
    struct run *run = runs_find_key(api->runs, http_subject(request), agent, options->key);

    if (run == NULL)
        return false;
    if (memcmp(run_digest(run), digest, DIGEST_SIZE) != 0)
        problem_reply(
            request, 422,
            "this Idempotency-Key was used with another body; use a new key for a new run");
    else
        answer(api, request, run, options->mode, 0);
    return true;
}

/* ---- a new run ---- */

static uint64_t milliseconds(unsigned seconds, unsigned never)
{
    return seconds == never ? NEVER : seconds * UINT64_C(1000);
}

static void start(const struct api *api, struct http_request *request, const char *agent,
                  const struct options *options, const unsigned char *digest)
{
    const struct config_plugin *plugin = config_plugin(api->config, agent);
    struct run_request wanted = {
        .agent = agent,
        .input = buf_data(http_body(request)),
        .input_length = buf_length(http_body(request)),
        .subject = http_subject(request),
        .client = client_name(request),
        .key = *options->key ? options->key : NULL,
        .digest = digest,
        .linger_ms = milliseconds(options->on_disconnect, DISCONNECT_CONTINUE),
        .deadline_ms = milliseconds(options->deadline, 0),
        .grace_ms = milliseconds(plugin->cancel_grace, 0),
    };
    struct run *run;

    collect_pairs(api, request, &wanted.vars);
    if (run_create(api->runs, &wanted, &run) < 0) {
        buf_finish(&wanted.vars);
        problem_reply(request, 500, "the server cannot make a run id");
        return;
    }
    registry_submit(api->registry, run);
    answer(api, request, run, options->mode, 0);
    run_unref(run);
}

void start_handle(const struct api *api, struct http_request *request, const char *agent)
{
    const struct buf *body = http_body(request);
    unsigned char digest[DIGEST_SIZE] = {0};
    const char *id = position_id(request);
    struct options options = {.mode = STREAM};
    const char *wrong = read_options(request, config_plugin(api->config, agent), &options);

    if (wrong) {
        problem_reply(request, 400, wrong);
        return;
    }
    if (id) {
        resume(api, request, agent, id, options.mode);
        return;
    }
    if (!body_check(request, api->config->max_body))
        return;
    if (*options.key) {
        digest_make(buf_data(body), buf_length(body), digest);
        if (repeat(api, request, agent, &options, digest))
            return;
    }
    if (check_room(api, request, agent) && check_client(api, request))
        start(api, request, agent, &options, digest);
}
