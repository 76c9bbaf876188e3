/* `sluice-front`: the commands that hold no plugin. main.c becomes it. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", cli_serve},   {"check", cli_check},       {"token", cli_token}, {"list", cli_list},
    {"reload", cli_reload}, {"rollback", cli_rollback}, {"drain", cli_drain},
};

/*
 * Allocate before any library does. A preloaded sanitizer starts with the first allocation; if
 * that is made by a library's constructor inside of newlocale(), the sanitizer takes the lock of
 * locales a second time, and exit() waits for that lock forever.
 */
static void allocate_first(void)
{
    void *volatile first = malloc(1);

    free(first);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const before_libraries)(void) = allocate_first;

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "sluice: there is no command '%s'\ntry: sluice --help\n", name);
    return 2;
}
