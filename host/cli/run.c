/*
 * One agent, one run, one process: the worker's code and the front's, with
 * the terminal where there would be a socket and a client. For scripts,
 * debuggers and sanitizers.
 */
#include "cli/cli.h"

#include "base/json.h"
#include "base/json_fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/why.h"
#include "cli/lines.h"
#include "cli/settings.h"
#include "cli/terminal.h"
#include "run/questions.h"
#include "run/readers.h"
#include "run/runs.h"
#include "worker/crash.h"
#include "worker/signals.h"
#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: sluice run [OPTION]... PLUGIN.so [INPUT|-]\n"
    "\n"
    "Runs the plugin's agent once in this process and prints its stream. INPUT is\n"
    "JSON, {} if not given; - reads it from standard input. Exit status 0 if the run\n"
    "finished, 1 if it failed or was cancelled.\n"
    "\n"
    "When the agent waits for input or asks a question, it gets a line of standard\n"
    "input, as JSON if it is that, else as a JSON string; when there is no more, the\n"
    "run is cancelled. Questions are put one at a time.\n"
    "\n"
    "      --text              print only the text\n" SETTINGS_USAGE
    "  -h, --help              print this\n"
    "\n"
    "Try it:\n"
    "  sluice run --text ask.so '{\"question\":\"How is a plugin registered?\"}'\n";

#define INPUT_MAX (1024u * 1024)

struct session {
    struct subscriber subscriber; /* first */
    uv_loop_t loop;
    uv_signal_t interrupted;
    struct worker *worker;
    struct lines *lines;
    struct runs *runs;
    struct run *run;
    struct terminal *terminal;
    struct buf scratch;              /* kept from one event to the next */
    char asked[QUESTION_ID_MAX + 1]; /* the question that the next line answers; "" for none */
    bool text;
    bool finished;    /* the run has ended as finished */
    uint64_t rescued; /* events that a crash has printed */
};

/* Print all new events. */
static void on_appended(struct subscriber *subscriber)
{
    struct session *session = (struct session *)subscriber;
    const struct eventlog *log = run_log(subscriber->run);
    struct log_cursor cursor = subscriber->cursor;
    struct event event;

    while (cursor.at < log->end.at) {
        eventlog_read(log, &cursor, &session->scratch, &event);
        terminal_print(session->terminal, run_identity(subscriber->run), &event);
    }
    terminal_flush(session->terminal);
    run_consume(subscriber, &cursor);
}

/* ---- the worker ---- */

/* Put the oldest open question to whoever is at the terminal, one at a time. */
static void ask_next(struct session *session)
{
    const struct question *question = run_question_next(session->run, NULL);
    struct buf message = {0};

    if (question == NULL || *session->asked)
        return;
    snprintf(session->asked, sizeof session->asked, "%s", question->id);
    if (session->text && json_member_text(question->json, question->length, "message", &message))
        fprintf(stderr, "sluice: the agent asks: %.*s\n", (int)buf_length(&message),
                buf_data(&message));
    buf_finish(&message);
    lines_ask(session->lines);
}

/* Say what the question's schema wants; ask_next() puts the question once more. */
static void tell_no_answer(struct session *session, const char *asked, const char *json)
{
    struct why why = {0};

    run_question_check(run_question_find(session->run, asked), json, strlen(json), &why);
    fprintf(stderr, "sluice: this is no answer: %s\n", why_text(&why));
    why_finish(&why);
}

/* Hand a line to the agent, as the answer to what was asked if anything was. */
static void hand_over(struct session *session, const char *json)
{
    char asked[sizeof session->asked];
    int status = 0;

    memcpy(asked, session->asked, sizeof asked);
    *session->asked = '\0';
    if (*asked == '\0')
        worker_input(session->worker, 0, 0, json);
    else if ((status = run_answer(session->run, asked, json, strlen(json))) == -EINVAL)
        tell_no_answer(session, asked, json);
    else if (status < 0)
        fprintf(stderr, "sluice: the agent does not take this answer now\n");
    ask_next(session);
}

/* Hand the next line of standard input to the agent, which waits for it. */
static void on_line(void *data, const char *line)
{
    struct session *session = data;
    struct buf text = {0};
    char *json;

    if (line == NULL) {
        fprintf(stderr, "sluice: the agent waits for input, and standard input has ended\n");
        run_cancel(session->run);
        return;
    }
    if (json_check(line, strlen(line)) >= 0)
        buf_puts(&text, line);
    else
        json_append_string(&text, line);
    json = buf_steal(&text);
    hand_over(session, json);
    free(json);
}

static int take_event(struct session *session, struct event *event)
{
    int status = run_append(session->run, event);

    ask_next(session);
    return status;
}

static int take_waiting(struct session *session, const struct wire_frame *frame)
{
    uint32_t counts[2];

    memcpy(counts, frame->data, sizeof counts);
    if (counts[1] > 0)
        lines_ask(session->lines);
    return 0;
}

static int take_closed(struct session *session, const struct wire_frame *frame)
{
    uint32_t number;
    int status;

    memcpy(&number, frame->data, sizeof number);
    status = run_close_question(session->run, number);
    if (*session->asked && run_question_find(session->run, session->asked) == NULL)
        *session->asked = '\0';
    ask_next(session);
    return status;
}

static int take_frame(struct session *session, const struct wire_frame *frame)
{
    struct event event;
    struct wire_end end;

    if (frame->type == WIRE_EVENT && wire_read_event(frame, &event.type, &event.type_length,
                                                     &event.json, &event.json_length) == 0)
        return take_event(session, &event);
    if (frame->type == WIRE_WAITING)
        return take_waiting(session, frame);
    if (frame->type == WIRE_CLOSED)
        return take_closed(session, frame);
    if (frame->type == WIRE_HELD)
        return 0;
    if (frame->type != WIRE_END || wire_read_end(frame, &end) < 0)
        return -EPROTO;
    worker_quit(session->worker);
    return run_end(session->run, &end);
}

static void on_take(void *data, struct buf *frames)
{
    struct session *session = data;
    struct wire_frame frame;
    ssize_t size;

    while ((size = wire_next(frames, WIRE_WORKER, &frame)) > 0) {
        if (take_frame(session, &frame) < 0)
            log_fatal("the worker's code sent a bad frame: %s", wire_name(frame.type));
        buf_consume(frames, (size_t)size);
    }
}

/* ---- of a crash, from a signal handler ---- */

static uint64_t next_sequence(struct session *session)
{
    return run_log(session->run)->end.sequence + ++session->rescued;
}

static bool may_rescue(const struct session *session)
{
    return session->run && !run_has_ended(session->run);
}

static void on_rescue(void *data, const char *frames, size_t length)
{
    struct session *session = data;
    struct buf rest = {.base = (char *)frames, .end = length};
    struct wire_frame frame;
    struct event event;
    ssize_t size;

    while (may_rescue(session) && (size = wire_next(&rest, WIRE_WORKER, &frame)) > 0) {
        if (frame.type == WIRE_EVENT && wire_read_event(&frame, &event.type, &event.type_length,
                                                        &event.json, &event.json_length) == 0) {
            event.sequence = next_sequence(session);
            terminal_rescue(session->terminal, run_identity(session->run), &event);
        }
        rest.start += (size_t)size;
    }
}

static void on_crashed(void *data, const struct worker_crash *crash)
{
    struct session *session = data;

    if (may_rescue(session) && !session->text)
        terminal_rescue_end(session->terminal, run_identity(session->run), next_sequence(session),
                            crash->text);
}

/* ---- the run ---- */

/* What the run's end means for the process. */
static void session_finish(struct session *session)
{
    struct buf json = {0};

    session->finished = run_get_state(session->run) == RUN_finished;
    if (!session->finished && session->text) {
        run_describe(session->run, &json);
        fprintf(stderr, "sluice: %.*s\n", (int)buf_length(&json), buf_data(&json));
        buf_finish(&json);
    }
    run_unsubscribe(&session->subscriber);
    run_unref(session->run);
}

static void on_left(void *data)
{
    struct session *session = data;

    if (session->run)
        session_finish(session);
    session->run = NULL;
    crash_leave();
    uv_close((uv_handle_t *)&session->interrupted, NULL);
    lines_destroy(session->lines);
    runs_destroy(session->runs);
    worker_destroy(session->worker);
    buf_finish(&session->scratch);
}

static void executor_cancel(void *data, uint32_t number)
{
    struct session *session = data;

    worker_cancel(session->worker, number);
}

/* The text is not terminated. */
static int executor_input(void *data, uint32_t number, uint32_t question, const char *json,
                          size_t length)
{
    struct session *session = data;
    char *copy = mem_copy(json, length);

    worker_input(session->worker, number, question, copy);
    free(copy);
    return 0;
}

static void executor_credit(void *data, uint32_t number, uint32_t bytes)
{
    struct session *session = data;

    worker_credit(session->worker, number, bytes);
}

static void on_interrupted(uv_signal_t *handle, int number)
{
    struct session *session = handle->data;

    run_cancel(session->run);
    (void)number;
}

static int session_load(struct session *session, const struct settings *settings, const char *input)
{
    const struct config_plugin *plugin;
    struct worker_settings worker_settings;
    struct refusal refusal = {0};
    struct why why = {0};
    char *config = NULL;
    /* With a slash in it, as the dynamic linker is given it. */
    char *path = strchr(settings->plugin, '/') ? mem_strdup(settings->plugin)
                                               : mem_printf("./%s", settings->plugin);
    int status;

    crash_watch(&session->loop, session->worker, path, settings->plugin);
    status = worker_open(session->worker, path, settings->plugin, &refusal);
    free(path);
    if (status == 0) {
        const char *name = worker_plugin(session->worker)->name;
        plugin = config_plugin(settings->config, name);
        worker_settings.threads = plugin->threads;
        worker_settings.stack_size = plugin->stack;
        worker_settings.start_ms = settings->config->start_timeout * 1000;
        config = config_plugin_json(settings->config, name);
        status = worker_create_plugin(session->worker, &worker_settings, config, NULL, &refusal);
        free(config);
        worker_watch(session->worker, true, LOG_WARN);
    }
    if (status < 0)
        fprintf(stderr, "sluice: refused at %s: %s\n", refusal.step, why_text(&refusal.why));
    refusal_finish(&refusal);
    if (status == 0) {
        status = card_check_input(worker_card(session->worker), input, strlen(input), &why);
        if (status < 0)
            fprintf(stderr, "sluice: the input does not match input_schema: %s\n", why_text(&why));
        why_finish(&why);
    }
    return status;
}

static void session_start(struct session *session, const char *input)
{
    static const struct executor executor = {
        .cancel = executor_cancel, .credit = executor_credit, .input = executor_input};
    const struct agent_plugin *plugin = worker_plugin(session->worker);
    struct run_agent agent = {.name = plugin->name, .version = plugin->version, .generation = 1};
    struct run_request request = {.agent = agent.name,
                                  .input = input,
                                  .input_length = strlen(input),
                                  .subject = "",
                                  .linger_ms = NEVER,
                                  .input_ms = NEVER,
                                  .deadline_ms = NEVER,
                                  .grace_ms = NEVER};
    struct run_gap gap;
    struct buf *all;

    if (run_create(session->runs, &request, &session->run) < 0)
        log_fatal("there is no randomness for a run id");
    session->subscriber.appended = on_appended;
    run_subscribe(session->run, &session->subscriber, 0, &gap);
    all = run_pairs(session->run, &agent);
    run_start(session->run, &agent, &executor, session, 0);
    worker_start(session->worker, 0, buf_data(all), buf_length(all));
    buf_finish(all);
}

static int run(const struct settings *settings, const char *input)
{
    static const struct worker_sink sink = {
        .take = on_take, .rescue = on_rescue, .crashed = on_crashed, .left = on_left};
    /* Printed events need not be kept. */
    static const struct runs_limits limits = {.log_budget = SIZE_MAX};
    struct session session = {.text = settings->text};
    int status;

    if (uv_loop_init(&session.loop) < 0)
        log_fatal("the event loop does not start");
    signals_outlive(SIGPIPE);
    session.terminal = terminal_open(settings->text);
    uv_signal_init(&session.loop, &session.interrupted);
    session.interrupted.data = &session;
    session.runs = runs_create(&session.loop, &limits);
    session.lines = lines_create(&session.loop, on_line, &session);
    session.worker = worker_create(&session.loop, &sink, &session);
    pthread_cleanup_push(crash_on_pthread_exit, NULL);
    status = session_load(&session, settings, input);
    if (status < 0) {
        on_left(&session);
    } else {
        /* Once: a second one ends the process, even when an agent does not let the loop run. */
        uv_signal_start_oneshot(&session.interrupted, on_interrupted, SIGINT);
        session_start(&session, input);
    }
    uv_run(&session.loop, UV_RUN_DEFAULT);
    pthread_cleanup_pop(0);
    uv_loop_close(&session.loop);
    status = terminal_close(session.terminal);
    if (status < 0) {
        fprintf(stderr, "sluice: standard output: %s\n", strerror(-status));
        return 1;
    }
    return session.finished ? 0 : 1;
}

/* Standard input whole, "" if it is no text; NULL, and a message, if it cannot be had. */
static char *read_input(void)
{
    struct buf input = {0};
    ssize_t got = 1;

    while (got > 0 && buf_length(&input) <= INPUT_MAX) {
        got = read(STDIN_FILENO, buf_reserve(&input, 65536), 65536);
        if (got > 0)
            buf_commit(&input, (size_t)got);
    }
    if (memchr(buf_data(&input), '\0', buf_length(&input)))
        buf_consume(&input, buf_length(&input));
    if (got == 0)
        return buf_steal(&input);
    fprintf(stderr, "sluice: standard input %s\n",
            got < 0 ? strerror(errno) : "has more than 1 MiB, the most an input may have");
    buf_finish(&input);
    return NULL;
}

static int run_with(const struct settings *settings, const char *input)
{
    struct buf fault = {0};

    if (input == NULL)
        return 1;
    json_fault_tell(&fault, input, strlen(input));
    if (buf_length(&fault) > 0) {
        fprintf(stderr, "sluice: the input is %.*s. Give one JSON value, such as {}\n",
                (int)buf_length(&fault), buf_data(&fault));
        buf_finish(&fault);
        return 2;
    }
    return run(settings, input);
}

int cli_run(int argc, char **argv)
{
    struct settings settings;
    const char *input = "{}";
    char *read = NULL;
    int status;

    log_open("run", "", LOG_WARN);
    if (!settings_read(argc, argv, usage, &settings, &status))
        return status;
    if (settings.extra_count > 0)
        input = settings.extra[0];
    if (strcmp(input, "-") == 0)
        input = read = read_input();
    status = settings.extra_count > 1 ? cli_misused("run") : run_with(&settings, input);
    free(read);
    settings_finish(&settings);
    return status;
}
