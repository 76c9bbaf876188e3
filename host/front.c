/*
 * The front is one libuv loop. This file makes its parts, in the order of
 * front_open(), and hands each what it needs of the others; signals are events
 * of the loop. Everything else is done by the parts.
 *
 * Starting: what only root may open is opened first; then the front becomes host.user
 * (base/user.h), before anything starts a thread or a worker. The port is open before the plugins
 * are settled, so that a load balancer may ask /readyz; runs wait for their plugin meanwhile. The
 * line "listening" follows when every plugin serves or is refused.
 *
 * Stopping begins with SIGINT, SIGTERM or SIGQUIT, which set `stopping`; nobody
 * else knows or decides it. From then on no run starts and /readyz says so. The
 * steps, looked at once a loop turn:
 *
 *     delay   drain_delay: load balancers look at /readyz and send no more clients
 *     drain   live runs may end until shutdown_timeout is over, then they fail;
 *             after SIGQUIT they may take as long as they like
 *     flush   no new connections; answers and streams may leave until FLUSH_MS is
 *             over
 *     leave   HTTP and the operators' socket are closed; workers are told to
 *             leave and are reaped
 *     rest    no part is left; what the kernel still holds may end for REST_MS
 *
 * In the first two, clients connect, resume, read, cancel and send input as ever.
 * A second SIGINT or SIGTERM ends both at once; after SIGQUIT, the first one sets
 * the deadline that SIGQUIT did not.
 *
 * After that no handle is open, and uv_run() returns. A worker that cannot be
 * killed, or a file that cannot be read, keeps one open: leave and rest have
 * deadlines, at which the process exits with FRONT_LEFT_BEHIND.
 *
 * Other signals whose default is to end a process are ignored with a line in the
 * log: no live run ends because somebody wanted to rotate logs.
 *
 * Configuring again (SIGHUP, `sluice reload`): reload.c reads, and the new
 * configuration replaces the old one in place. Settings that need a restart
 * stay as they are in force. The parts get what they keep of the configuration.
 */
#include "front.h"

#include "api/access.h"
#include "api/api.h"
#include "api/collect.h"
#include "api/mcp_session.h"
#include "api/routes.h"
#include "api/stream.h"
#include "base/capacity.h"
#include "base/guard.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/patience.h"
#include "base/user.h"
#include "base/why.h"
#include "fleet/orphans.h"
#include "fleet/spawn.h"
#include "http/listeners.h"
#include "http/tls.h"
#include "ops/admin.h"
#include "ops/report.h"
#include "reload.h"
#include "run/runs.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Descriptors that connections never take: for the front itself, and for each worker. */
#define FILES_RESERVE 64
#define FILES_OF_SEAT 4

#define FLUSH_MS 1000
#define LEAVE_MS 10000 /* more than all workers take to quit, be killed and be given up */
#define REST_MS  1000

/* How often lines that standard error did not take are offered again, and for how long at the end.
 */
#define LOG_FLUSH_MS 250
#define LOG_CLOSE_MS 500

struct front {
    uv_loop_t loop;
    struct patience_clock clock;
    struct config *config; /* its content changes, its place does not */
    struct config *(*reread)(void *data, struct why *why);
    void *data; /* of reread() */
    struct reload *reload;
    struct http *http;
    bool is_https;
    struct admin *admin;
    struct orphans *orphans;
    struct api api;
    enum log_level verbose; /* of the command line: the least that log_level may be */
    uv_timer_t log_time;
    uv_signal_t signals[NSIG]; /* by number; those of front_watch_signal() are open */
    bool stopping;
    enum { FRONT_delay, FRONT_drain, FRONT_flush, FRONT_leave, FRONT_rest } step; /* of stopping */
    bool patient;             /* SIGQUIT: the runs have no deadline */
    bool hurried;             /* the runs fail at once */
    uv_prepare_t turn;        /* active while stopping */
    struct patience deadline; /* of the step */
    bool late;                /* the step's deadline is over */
    char *address;            /* what it listens on: names, separated by blanks */
    struct buf urls;          /* the same as URLs, text */
};

/* ---- stopping ---- */

/* Leave without what cannot be ended; the kernel takes the rest. */
static void front_abandon(const struct front *front)
{
    log_error("stopped, but %s; exiting with status %d",
              front->step == FRONT_leave ? "workers did not leave"
                                         : "a worker or the read of a file could not be ended",
              FRONT_LEFT_BEHIND);
    log_close(LOG_CLOSE_MS);
    _exit(FRONT_LEFT_BEHIND);
}

static void on_deadline(void *data)
{
    struct front *front = data;

    if (front->step >= FRONT_leave)
        front_abandon(front);
    front->late = true;
}

static void front_enter(struct front *front, int step, uint64_t timeout_ms)
{
    front->step = step;
    front->late = false;
    patience_start(&front->deadline, timeout_ms, on_deadline);
}

/* Begin the drain: with its deadline, without a deadline, or with a deadline that is over. */
static void front_drain(struct front *front)
{
    front_enter(front, FRONT_drain, front->config->shutdown_timeout * UINT64_C(1000));
    if (front->patient)
        patience_stop(&front->deadline);
}

/* Free the parts; no worker and no request is left. */
static void front_close(void *data)
{
    struct front *front = data;
    sigset_t blocked;

    /* libuv takes its handlers away; one more signal must not kill a front that ends well. */
    sigemptyset(&blocked);
    for (int number = 1; number < NSIG; number++) {
        if (front->signals[number].data)
            sigaddset(&blocked, number);
    }
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    for (int number = 1; number < NSIG; number++) {
        if (front->signals[number].data)
            uv_close((uv_handle_t *)&front->signals[number], NULL);
    }
    orphans_close(front->orphans);
    reload_destroy(front->reload);
    registry_destroy(front->api.registry);
    runs_destroy(front->api.runs);
    streams_destroy(front->api.streams);
    collectors_destroy(front->api.collectors);
    mcp_sessions_destroy(front->api.mcp_sessions);
    access_destroy(front->api.access);
    uv_close((uv_handle_t *)&front->turn, NULL);
    front_enter(front, FRONT_rest, REST_MS);
    uv_unref((uv_handle_t *)&front->deadline.timer);
}

static void on_turn(uv_prepare_t *prepare)
{
    struct front *front = prepare->data;
    size_t live = runs_live(front->api.runs);

    if (front->step == FRONT_delay && (front->late || front->hurried))
        front_drain(front);
    if (front->step == FRONT_drain && (live == 0 || front->late || front->hurried)) {
        if (live > 0)
            log_warn("live runs failed at shutdown runs=%zu", live);
        runs_fail_all(front->api.runs, RUN_ERROR_shutdown);
        http_quiesce(front->http);
        front_enter(front, FRONT_flush, FLUSH_MS);
    }
    if (front->step == FRONT_flush && (http_open_requests(front->http) == 0 || front->late)) {
        http_destroy(front->http);
        admin_close(front->admin);
        front_enter(front, FRONT_leave, LEAVE_MS);
        registry_stop(front->api.registry, front_close);
    }
}

static void front_stop(struct front *front, int number)
{
    log_info("stopping signal=%s runs=%zu", strsignal(number), runs_live(front->api.runs));
    front->stopping = true;
    reload_stop(front->reload);
    front->patient = number == SIGQUIT;
    front_enter(front, FRONT_delay, front->config->drain_delay * UINT64_C(1000));
    front->late = front->config->drain_delay == 0;
    uv_prepare_start(&front->turn, on_turn);
}

/* One more signal while stopping; it never makes the stop slower. */
static void front_hasten(struct front *front, int number)
{
    if (number == SIGQUIT || front->step > FRONT_drain)
        return;
    log_info("stopping faster signal=%s runs=%zu", strsignal(number), runs_live(front->api.runs));
    front->hurried = !front->patient;
    if (front->patient && front->step == FRONT_drain)
        patience_start(&front->deadline, front->config->shutdown_timeout * UINT64_C(1000),
                       on_deadline);
    front->patient = false;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct front *front = handle->data;

    if (number == SIGHUP)
        reload_ask(front->reload, NULL);
    else if (number != SIGINT && number != SIGTERM && number != SIGQUIT)
        log_warn("signal ignored; SIGHUP reloads, SIGTERM stops, SIGQUIT stops when the runs have "
                 "ended signal=%s",
                 strsignal(number));
    else if (front->stopping)
        front_hasten(front, number);
    else
        front_stop(front, number);
}

/* ---- configuring again ---- */

static struct runs_limits runs_limits(const struct config *config)
{
    return (struct runs_limits){.retention_ms = config->retention * UINT64_C(1000),
                                .log_size = config->log_size,
                                .log_budget = config->log_budget};
}

static struct pace_times pace_times(const struct config *config)
{
    return (struct pace_times){.heartbeat_ms = config->heartbeat * UINT64_C(1000),
                               .stall_ms = config->stall * UINT64_C(1000)};
}

static void front_set_guard(const struct config *config)
{
    guard_set(!config->debug);
    if (config->debug)
        log_warn("host.debug is on: this user's other processes, plugins too, can read the memory "
                 "of server and workers");
}

static void front_apply_log(const struct front *front, const struct config *config)
{
    enum log_level most = (enum log_level)config->log_level;

    log_set(most > front->verbose ? most : front->verbose, (enum log_format)config->log_format);
}

/* Hand the parts what they keep of the configuration. */
static void front_apply(struct front *front)
{
    struct runs_limits limits = runs_limits(front->config);
    struct pace_times times = pace_times(front->config);

    front_set_guard(front->config);
    runs_set_limits(front->api.runs, &limits);
    streams_set_times(front->api.streams, &times);
    collectors_set_times(front->api.collectors, &times);
    http_set_stall(front->http, front->config->stall);
    http_set_proxies(front->http, front->config->trusted_proxies);
}

/* ---- what changed ---- */

/* Two lists of keys, as JSON and for the log. */
struct changes {
    const struct config *config;         /* the new one */
    struct json_writer applied, restart; /* arrays */
    struct buf words[2];                 /* separated by commas: those of applied, of restart */
};

/* Return true if the key gives a plugin a user of its own, and the server gave up what that takes.
 */
static bool is_too_late(const struct config *config, const char *key)
{
    size_t length = strlen(key), start = strlen("plugin."), end = strlen(".user");
    const char *user;
    char *name;

    if (user_may_switch() || !user_became() || strncmp(key, "plugin.", start) != 0 ||
        length <= start + end || strcmp(key + length - end, ".user") != 0)
        return false;
    name = mem_printf("%.*s", (int)(length - start - end), key + start);
    user = config_plugin(config, name)->user;
    free(name);
    return *user && strcmp(user, config->user) != 0;
}

static void on_change(void *data, const char *key, bool needs_restart)
{
    struct changes *changes = data;
    struct buf *words;

    needs_restart |= is_too_late(changes->config, key);
    words = &changes->words[needs_restart];
    json_text(needs_restart ? &changes->restart : &changes->applied, NULL, key);
    buf_printf(words, "%s%s", buf_length(words) > 0 ? "," : "", key);
}

static void log_changes(const struct changes *changes)
{
    const struct buf *applied = &changes->words[0], *restart = &changes->words[1];

    log_info("configuration reloaded applied=%.*s", (int)buf_length(applied), buf_data(applied));
    if (buf_length(restart) > 0)
        log_warn("these settings change only when the server starts again keys=%.*s",
                 (int)buf_length(restart), buf_data(restart));
}

static void on_doubt(void *data, const char *text)
{
    struct json_writer *json = data;

    log_warn("%s", text);
    if (json)
        json_text(json, NULL, text);
}

/* Compare with what is in force, and write {"applied":[],"restart":[],"warnings":[]}. */
static void front_compare(struct front *front, const struct reading *reading, struct buf *report)
{
    struct config *config = reading->config;
    struct buf applied = {0}, restart = {0};
    struct changes changes = {
        .config = config, .applied = {.out = &applied}, .restart = {.out = &restart}};
    struct json_writer json = {.out = report};

    json_open(&changes.applied, NULL, '[');
    json_open(&changes.restart, NULL, '[');
    config_compare(front->config, config, on_change, &changes);
    for (const char *const *key = reading->locked; *key; key++)
        on_change(&changes, *key, true);
    json_close(&changes.applied, ']');
    json_close(&changes.restart, ']');
    log_changes(&changes);
    json_open(&json, NULL, '{');
    json_raw(&json, "applied", buf_data(&applied), buf_length(&applied));
    json_raw(&json, "restart", buf_data(&restart), buf_length(&restart));
    json_open(&json, "warnings", '[');
    config_review(config, on_doubt, &json);
    json_close(&json, ']');
    json_close(&json, '}');
    buf_finish(&applied);
    buf_finish(&restart);
    buf_finish(&changes.words[0]);
    buf_finish(&changes.words[1]);
}

static void front_take(void *owner, struct reading *reading, struct buf *report)
{
    struct front *front = owner;

    front_apply_log(front, reading->config); /* what follows is said as it wants */
    front_compare(front, reading, report);
    config_swap(front->config, reading->config);
    if (reading->keeps_tokens)
        reading->tokens = access_take_tokens(front->api.access);
    access_destroy(front->api.access);
    front->api.access = access_create(front->config, front->address, reading->tokens);
    reading->tokens = NULL;
    if (reading->identity)
        tls_use(reading->identity);
    reading->identity = NULL;
    front_apply(front);
}

static void front_refresh(void *data, const struct refresh *asker)
{
    struct front *front = data;

    reload_ask(front->reload, asker);
}

/* ---- starting ---- */

/* Return how many workers the plugin folder asks for, about. */
static unsigned count_seats(const struct config *config)
{
    DIR *folder = opendir(config->plugins);
    const struct dirent *entry;
    unsigned seats = 0;

    while (folder && (entry = readdir(folder))) {
        size_t length = strlen(entry->d_name);
        char name[256];

        if (length <= 3 || strcmp(entry->d_name + length - 3, ".so") != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)length - 3, entry->d_name);
        seats += config_plugin(config, name)->workers;
    }
    if (folder)
        closedir(folder);
    return seats;
}

/*
 * Each connection takes a descriptor. Some are kept for workers, their images and the
 * operator, so that a crowd of clients cannot keep a worker from being replaced.
 */
static unsigned connections_max(const struct config *config)
{
    size_t files = capacity_files(), reserve = FILES_RESERVE + FILES_OF_SEAT * count_seats(config);

    if (reserve > files / 2)
        reserve = files / 2;
    if (config->max_connections <= files - reserve)
        return config->max_connections;
    log_warn("max_connections is cut to what the limit of open files leaves beside a reserve for "
             "workers; raise the limit (LimitNOFILE=, ulimit -n) max_connections=%u "
             "connections=%zu files=%zu reserve=%zu",
             config->max_connections, files - reserve, files, reserve);
    return (unsigned)(files - reserve);
}

static void on_settled(void *data)
{
    const struct front *front = data;

    for (const char *url = buf_data(&front->urls); *url; url += strspn(url, " ")) {
        size_t length = strcspn(url, " ");
        log_say(LOG_INFO, "listening on %.*s", (int)length, url);
        url += length;
    }
}

static void front_set_address(struct front *front, const char *names)
{
    mem_set(&front->address, names);
    for (size_t length; *names; names += length + strspn(names + length, " ")) {
        bool is_unix = strncmp(names, "unix:", 5) == 0;
        length = strcspn(names, " ");
        buf_printf(&front->urls, "%s%s%.*s", buf_length(&front->urls) > 0 ? " " : "",
                   is_unix           ? ""
                   : front->is_https ? "https://"
                                     : "http://",
                   (int)length, names);
    }
    buf_append(&front->urls, "", 1);
}

/* Return true if the signal is sent by people or programs, not by a fault, and would end us. */
static bool is_request(int number)
{
    static const int requests[] = {SIGINT,  SIGTERM, SIGQUIT,   SIGHUP,  SIGUSR1,
                                   SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGSTKFLT,
                                   SIGIO,   SIGPWR,  SIGXCPU,   SIGXFSZ};

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        if (requests[i] == number)
            return true;
    }
    return number >= SIGRTMIN && number <= SIGRTMAX;
}

/* A profiler that was loaded into this process keeps its signal. */
static bool is_taken(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
           action.sa_handler != SIG_IGN;
}

static void front_watch_signals(struct front *front)
{
    signal(SIGPIPE, SIG_IGN);
    for (int number = 1; number < NSIG; number++) {
        uv_signal_t *handle = &front->signals[number];

        if (!is_request(number) || is_taken(number))
            continue;
        uv_signal_init(&front->loop, handle);
        handle->data = front;
        uv_signal_start(handle, on_signal, number);
    }
    patience_init(&front->loop, &front->deadline, front);
    uv_prepare_init(&front->loop, &front->turn);
    front->turn.data = front;
}

static void on_log_time(uv_timer_t *timer)
{
    (void)timer;
    log_flush();
}

static void front_open_log(struct front *front)
{
    uv_timer_init(&front->loop, &front->log_time);
    uv_timer_start(&front->log_time, on_log_time, LOG_FLUSH_MS, LOG_FLUSH_MS);
    uv_unref((uv_handle_t *)&front->log_time);
}

/* Read the files that the configuration names. */
static int front_open_access(struct front *front)
{
    struct reading reading = {.config = front->config};
    struct why why = {0};
    int status = reading_fill(&reading, NULL, front->config->listen, true, &why);

    config_review(front->config, on_doubt, NULL);
    if (status < 0) {
        log_say(LOG_ERROR, "%s", why_text(&why));
    } else {
        front->api.access = access_create(front->config, front->config->listen, reading.tokens);
        front->is_https = reading.identity != NULL;
    }
    if (reading.identity)
        tls_use(reading.identity);
    why_finish(&why);
    return status;
}

static int front_open_http(struct front *front)
{
    const struct config *config = front->config;
    struct http_settings settings = {.max_connections = connections_max(config),
                                     .max_connections_per_address =
                                         config->max_connections_per_address,
                                     .stall_s = config->stall,
                                     .timeout_s = config->connection_timeout,
                                     .request_timeout_s = config->request_timeout,
                                     .max_headers = config->max_headers,
                                     .max_body = config->max_body};
    struct why why = {0};
    int status;

    if (front->is_https)
        settings.retrieve_certificate = tls_retriever();
    status = listeners_open(config->listen, config->proxy_protocol, config->socket_mode,
                            &settings.listeners, &why);
    if (status < 0) {
        log_say(LOG_ERROR, "%s", why_text(&why));
        why_finish(&why);
        return status;
    }
    front_set_address(front, listeners_names(settings.listeners));
    status = http_create(&front->loop, &settings, &api_handler, &front->api, &front->http);
    if (status < 0) {
        log_say(LOG_ERROR, "cannot start libmicrohttpd");
        listeners_destroy(settings.listeners);
        return status;
    }
    http_set_proxies(front->http, config->trusted_proxies);
    return 0;
}

static void front_open_reload(struct front *front)
{
    struct reload_settings settings = {.reread = front->reread,
                                       .data = front->data,
                                       .in_force = front->config,
                                       .registry = front->api.registry,
                                       .listen = front->address,
                                       .with_tls = front->is_https,
                                       .take = front_take,
                                       .owner = front};

    front->reload = reload_create(&front->loop, &settings);
}

static int front_open_plugins(struct front *front)
{
    int status = registry_open(front->api.registry, front->config->plugins);

    if (status < 0)
        log_say(LOG_ERROR, "cannot read the plugin folder %s: %s", front->config->plugins,
                strerror(-status));
    return status;
}

/*
 * Open the operators' socket. Without it the server serves, and files and signals still
 * work; but of two servers with one socket, operators would ask the wrong one.
 */
static int front_open_admin(struct front *front)
{
    struct admin_settings settings = {.path = front->config->admin,
                                      .listen = buf_data(&front->urls),
                                      .folder = front->config->plugins,
                                      .registry = front->api.registry,
                                      .refresh = front_refresh,
                                      .data = front};
    struct why why = {0};
    int status = admin_open(&front->loop, &settings, &front->admin, &why);

    if (status == -EADDRINUSE)
        fprintf(stderr,
                "sluice: cannot open the admin socket %s: %s; name another with host.admin\n",
                settings.path, why_text(&why));
    else if (status < 0)
        log_warn("admin socket not opened: %s; name another with host.admin admin=%s",
                 why_text(&why), settings.path);
    why_finish(&why);
    return status == -EADDRINUSE ? status : 0;
}

/* Become host.user, if it is another one: what is opened from now on is opened as that user. */
static int front_become(const struct front *front)
{
    const struct config *config = front->config;
    struct why why = {0};
    int status;

    if (user_self() == geteuid())
        return 0;
    if ((status = registry_give(front->api.registry)) < 0)
        log_warn("the state folder is not given to host.user: %s", strerror(-status));
    status = user_become(config_has_users(config), &why);
    guard_set(!config->debug); /* the change has reset it */
    if (status == 0 && (status = spawn_check()) < 0)
        why_set(&why, 0, "user = %s: this user may not execute the sluice binary", config->user);
    if (status < 0)
        log_say(LOG_ERROR, "host.%s", why_text(&why));
    else
        log_info("the server is another user from now on user=%s uid=%u gid=%u plugin_users=%s",
                 config->user, (unsigned)getuid(), (unsigned)getgid(),
                 user_may_switch() ? "yes" : "no");
    why_finish(&why);
    return status;
}

/* Make and open all parts; say on standard error why that fails. */
static int front_open(struct front *front)
{
    struct runs_limits limits = runs_limits(front->config);
    struct pace_times times = pace_times(front->config);
    int status;

    patience_clock_open(&front->loop, &front->clock);
    front_open_log(front);
    front_watch_signals(front);
    front->api.config = front->config;
    front->api.stopping = &front->stopping;
    front->api.report_agents = report_agents;
    front->api.report_agent = report_agent_card;
    front->api.runs = runs_create(&front->loop, &limits);
    front->api.streams = streams_create(&front->loop, &times);
    front->api.collectors = collectors_create(&front->loop, &times);
    front->api.mcp_sessions = mcp_sessions_create();
    front->api.registry = registry_create(&front->loop, front->config, on_settled, front);
    front->orphans = orphans_open(&front->loop, front->api.registry);
    if ((status = front_open_access(front)) < 0 || (status = front_open_http(front)) < 0 ||
        (status = front_open_admin(front)) < 0 || (status = front_become(front)) < 0 ||
        (status = front_open_plugins(front)) < 0)
        return status;
    front_open_reload(front);
    if (front->admin)
        log_info("admin socket open admin=%s", admin_path(front->admin));
    return 0;
}

int front_main(struct config *config, struct config *(*reread)(void *data, struct why *why),
               void *data)
{
    struct front front = {.config = config, .reread = reread, .data = data};
    struct why why = {0};
    int status;

    front.verbose = log_limit() == LOG_DEBUG ? LOG_DEBUG : LOG_FATAL;
    log_open("front", "", log_limit());
    log_detach();
    front_apply_log(&front, config);
    log_info("starting sluice=%s libmicrohttpd=%s libuv=%s cjson=%s", PACKAGE_VERSION,
             http_library(), uv_version_string(), cJSON_Version());
    front_set_guard(config);
    if (*config->user && user_choose(config->user, &why) < 0) {
        log_say(LOG_ERROR, "host.%s", why_text(&why));
        why_finish(&why);
        log_close(LOG_CLOSE_MS);
        return 1;
    }
    if (user_self() == 0)
        log_warn("running as root, and so does every plugin whose section has no user: start "
                 "sluice as another user, or set host.user or plugin.NAME.user");
    status = uv_loop_init(&front.loop);
    if (status < 0) {
        log_say(LOG_ERROR, "the event loop does not start: %s", uv_strerror(status));
        log_close(LOG_CLOSE_MS);
        return 1;
    }
    status = front_open(&front);
    if (status < 0) {
        http_destroy(front.http);
        admin_close(front.admin);
        front_close(&front);
    }
    uv_run(&front.loop, UV_RUN_DEFAULT);
    patience_clock_close(&front.clock);
    uv_close((uv_handle_t *)&front.deadline.timer, NULL);
    uv_close((uv_handle_t *)&front.log_time, NULL);
    uv_run(&front.loop, UV_RUN_DEFAULT);
    uv_loop_close(&front.loop);
    tls_unload();
    log_close(LOG_CLOSE_MS);
    free(front.address);
    buf_finish(&front.urls);
    return status < 0 ? 1 : 0;
}
