/*
 * `sluice` holds plugins: it is the workers' program, and `sluice run`. Every other command is
 * that of `sluice-front`, which this program becomes.
 *
 * A plugin finds the names of what this program is linked with before its own. So it is linked
 * with the C library alone: libuv, libltdl and inih are in it, where the system has them as
 * archives, and libcurl is loaded when an agent needs it (worker/curl.c). What serves HTTP, and
 * what operators ask, brings libraries by the dozen: that is sluice-front.
 */
#include "worker/main.h"
#include "base/sibling.h"
#include "base/why.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: sluice COMMAND [ARGUMENT]...\n"
    "\n"
    "Hosts agents that are plugins (.so) and streams what they emit to clients as\n"
    "server-sent events.\n"
    "\n"
    "  serve   serve the agents of a plugin folder over HTTP\n"
    "  run     run one agent once, here, and print its stream\n"
    "  check   load a plugin in a process of its own; say whether it is fit to serve\n"
    "  token   make a token that lets a client in\n"
    "\n"
    "To a running server:\n"
    "\n"
    "  list      show its plugins, generations and workers\n"
    "  reload    swap a plugin for its file as it is now, or all that has changed\n"
    "  rollback  swap a plugin for the generation before\n"
    "  drain     let a plugin take no more runs\n"
    "\n"
    "  sluice COMMAND --help   what a command takes\n"
    "  sluice --version        the version\n";

/* If fd 0 to 2 is closed, the next open() would reuse it and receive our output. */
static void fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

/*
 * Allocate before any library does. A preloaded sanitizer starts with the first allocation. If
 * a library's constructor makes that allocation inside of newlocale(), the sanitizer takes the
 * lock of locales a second time, and exit() waits for that lock forever.
 */
static void allocate_first(void)
{
    void *volatile first = malloc(1);

    free(first);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const before_libraries)(void) = allocate_first;

/* Become sluice-front. */
static int run_front(char **argv)
{
    struct why why = {0};
    char *path = sibling_path("sluice-front", &why);

    if (path) {
        execv(path, argv);
        why_set(&why, 0, "%s: %s", path, strerror(errno));
    }
    fprintf(stderr, "sluice: %s\n", why_text(&why));
    return 1;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "--help";

    fill_standard_descriptors();
    if (strcmp(name, "run") == 0)
        return cli_run(argc - 1, argv + 1);
    if (strcmp(name, "worker") == 0) /* started by serve and check, not by people */
        return worker_main(argc > 3 ? argv[3] : "");
    if (strcmp(name, "--version") == 0) {
        printf("sluice %s\n", PACKAGE_VERSION);
        return 0;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        fputs(usage, argc > 1 ? stdout : stderr);
        return argc > 1 ? 0 : 2;
    }
    return run_front(argv);
}
