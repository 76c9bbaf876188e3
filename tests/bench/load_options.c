#include "load_options.h"

#include "sse_check.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct load_mode modes[] = {
    {.name = "live", .steady = true, .settle_ms = 1000, .window_ms = 5000},
    {.name = "short", .ready_at_once = true, .repeats = true, .settle_ms = 500, .window_ms = 5000},
    {.name = "flood"},
    {.name = "idle",
     .ready_with_head = true,
     .steady = true,
     .leaves = true,
     .settle_ms = 1000,
     .window_ms = 1000},
};

#define OPTIONS(X)                                                                              \
    X(port, "P", "where the server listens")                                                    \
    X(host, "ADDRESS", "numeric; 127.0.0.1")                                                    \
    X(path, "PATH", "what to POST to; /agents/tick/runs")                                       \
    X(body, "JSON", "what to POST; in it a * becomes a digit, which differs between thousands") \
    X(expect, "N", "token events of each run")                                                  \
    X(mode, "MODE", "live, short, flood or idle; live")                                         \
    X(streams, "S", "streams to open; short: runs in flight; 1")                                \
    X(ramp_ms, "MS", "over which the streams are opened; 0")                                    \
    X(settle_ms, "MS", "from when all are open until the window; short: 500, else 1000")        \
    X(window_ms, "MS", "how long to measure; flood: as long as it takes")                       \
    X(duration_ms, "MS", "the same")                                                            \
    X(runs, "K", "short: measure so many runs instead")                                         \
    X(keep_alive, "0|1", "short: whether runs follow each other on one connection; 0")          \
    X(join, "0|1", "flood: all streams read the run of the first; 0")                           \
    X(period_us, "US", "between two events of a stream; else as the body says")                 \
    X(look_us, "US", "look at most so often, below a second; 0 is whenever something comes")    \
    X(stall_ms, "MS", "give up when nothing comes for so long; 30000")                          \
    X(pids, "P,Q,R", "the server's processes")

enum choice {
#define OPTION_NAME(name, value, help) OPTION_##name,
    OPTION_FIRST = 255,
    OPTIONS(OPTION_NAME)
};

__attribute__((noreturn)) static void usage(void)
{
    fputs("usage: load --port P --expect N [--OPTION VALUE …]\n", stderr);
#define OPTION_HELP(name, value, help) fprintf(stderr, "  --%-12s %-8s %s\n", #name, value, help);
    OPTIONS(OPTION_HELP)
    fputs("Options may be written with - for _.\n", stderr);
    exit(2);
}

static long number(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end || value < 0)
        usage();
    return value;
}

static const struct load_mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    usage();
}

static void take(struct load_options *options, int option, const char *value)
{
    switch (option) {
    case OPTION_host:
        options->host = value;
        break;
    case OPTION_path:
        options->path = value;
        break;
    case OPTION_body:
        options->body = value;
        break;
    case OPTION_mode:
        options->mode = find_mode(value);
        break;
    case OPTION_pids:
        if (usage_init(&options->usage, value) < 0)
            usage();
        break;
    default:
        usage();
    }
}

static long *place_of(struct load_options *options, int option)
{
    switch (option) {
    case OPTION_port:
        return &options->port;
    case OPTION_streams:
        return &options->streams;
    case OPTION_ramp_ms:
        return &options->ramp_ms;
    case OPTION_settle_ms:
        return &options->settle_ms;
    case OPTION_window_ms:
    case OPTION_duration_ms:
        return &options->window_ms;
    case OPTION_runs:
        return &options->runs;
    case OPTION_period_us:
        return &options->period_us;
    case OPTION_look_us:
        return &options->look_us;
    case OPTION_stall_ms:
        return &options->stall_ms;
    default:
        return NULL;
    }
}

static void take_option(struct load_options *options, int option, const char *value)
{
    long *place = place_of(options, option);

    if (place)
        *place = number(value);
    else if (option == OPTION_expect)
        options->expect = (uint32_t)number(value);
    else if (option == OPTION_keep_alive)
        options->keep_alive = number(value) != 0;
    else if (option == OPTION_join)
        options->join = number(value) != 0;
    else
        take(options, option, value);
}

/* The number behind this word in the body; -1 if there is none. */
static long in_body(const char *body, const char *word)
{
    const char *at = strstr(body, word);

    return at ? strtol(at + strlen(word), NULL, 10) : -1;
}

static long period_of(const char *body)
{
    long ms = in_body(body, "\"interval_ms\":"), us = in_body(body, "interval_us=");

    return ms > 0 ? ms * 1000 : us > 0 ? us : 0;
}

static void complete(struct load_options *options)
{
    if (options->settle_ms < 0)
        options->settle_ms = options->mode->settle_ms;
    if (options->window_ms < 0)
        options->window_ms = options->runs > 0 ? 0 : options->mode->window_ms;
    if (options->period_us < 0)
        options->period_us = period_of(options->body);
    if (options->expect == 0 && options->mode->leaves)
        options->expect = SSE_CHECK_UNBOUNDED;
    if (options->look_us >= 1000000 || options->port < 1 || options->port > 65535 ||
        options->streams < 1 || options->expect == 0 ||
        (options->window_ms == 0 && options->mode->steady))
        usage();
}

/* Options have _ in their names here, and may have - on the command line. */
static void underscore(char *argument)
{
    if (strncmp(argument, "--", 2) != 0)
        return;
    for (argument += 2; *argument && *argument != '='; argument++)
        if (*argument == '-')
            *argument = '_';
}

void load_options_read(struct load_options *options, int argc, char **argv)
{
    static const struct option names[] = {
#define OPTION_ROW(name, value, help) {#name, required_argument, NULL, OPTION_##name},
        OPTIONS(OPTION_ROW){NULL, 0, NULL, 0}};
    int option;

    *options = (struct load_options){.mode = &modes[0],
                                     .host = "127.0.0.1",
                                     .path = "/agents/tick/runs",
                                     .body = "{}",
                                     .streams = 1,
                                     .settle_ms = -1,
                                     .window_ms = -1,
                                     .period_us = -1,
                                     .stall_ms = 30000};
    for (int i = 1; i < argc; i++)
        underscore(argv[i]);
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        take_option(options, option, optarg);
    if (optind < argc)
        usage();
    complete(options);
}
