#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* program_invocation_short_name */
#endif
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void options_refuse(const struct option_row *rows)
{
    fprintf(stderr, "usage: %s [--OPTION VALUE …]\n", program_invocation_short_name);
    for (; rows->name; rows++)
        fprintf(stderr, "  --%-12s %s\n", rows->name, rows->help);
    exit(2);
}

static void take(const struct option_row *rows, const char *argument, const char *value)
{
    const struct option_row *row = rows;
    char *end;

    while (row->name && (strncmp(argument, "--", 2) != 0 || strcmp(argument + 2, row->name) != 0))
        row++;
    if (row->name == NULL)
        options_refuse(rows);
    if (row->word) {
        *row->word = value;
        return;
    }
    *row->number = strtol(value, &end, 10);
    if (end == value || *end || *row->number < 0)
        options_refuse(rows);
}

void options_read(const struct option_row *rows, int argc, char **argv)
{
    if (argc % 2 == 0)
        options_refuse(rows);
    for (int i = 1; i < argc; i += 2)
        take(rows, argv[i], argv[i + 1]);
}
