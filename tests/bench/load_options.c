#include "load_options.h"

#include "options.h"

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

static const struct load_mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    return NULL;
}

/* The number behind this word in the body; 0 if there is none. */
static long in_body(const char *body, const char *word)
{
    const char *at = strstr(body, word);

    return at ? strtol(at + strlen(word), NULL, 10) : 0;
}

static void complete(struct load_options *options)
{
    if (options->settle_ms < 0)
        options->settle_ms = options->mode->settle_ms;
    if (options->window_ms < 0)
        options->window_ms = options->mode->window_ms;
    options->period_us = in_body(options->body, "\"interval_ms\":") * 1000;
    if (options->period_us == 0)
        options->period_us = in_body(options->body, "interval_us=");
}

static bool are_fine(const struct load_options *options)
{
    return options->port > 0 && options->port <= 65535 && options->streams > 0 &&
           options->expect > 0 && (options->window_ms > 0 || !options->mode->steady);
}

void load_options_read(struct load_options *options, int argc, char **argv)
{
    const char *mode = "live", *pids = "";
    const struct option_row rows[] = {
        {"port", "where the server listens, on the loopback", &options->port, NULL},
        {"path", "what to POST to; /agents/tick/runs", NULL, &options->path},
        {"body", "JSON to POST; in it a * becomes a digit, which differs between thousands", NULL,
         &options->body},
        {"expect", "token events of each run", &options->expect, NULL},
        {"mode", "live, short, flood or idle; live", NULL, &mode},
        {"streams", "streams to open; short: runs in flight; 1", &options->streams, NULL},
        {"ramp-ms", "over which the streams are opened; 0", &options->ramp_ms, NULL},
        {"settle-ms", "from when all are open until the window; short: 500, else 1000",
         &options->settle_ms, NULL},
        {"window-ms", "how long to measure; flood: as long as it takes", &options->window_ms, NULL},
        {"keep-alive", "short: 1 if runs follow each other on a connection; 0",
         &options->keep_alive, NULL},
        {"join", "flood: 1 if all streams read the run of the first; 0", &options->join, NULL},
        {"pids", "the server's processes, as P,Q,R", NULL, &pids},
        {NULL, NULL, NULL, NULL},
    };

    *options = (struct load_options){
        .path = "/agents/tick/runs", .body = "{}", .streams = 1, .settle_ms = -1, .window_ms = -1};
    options_read(rows, argc, argv);
    options->mode = find_mode(mode);
    if (options->mode == NULL || usage_init(&options->usage, pids) < 0)
        options_refuse(rows);
    complete(options);
    if (!are_fine(options))
        options_refuse(rows);
}
