#ifndef SLUICE_BENCH_OPTIONS_H
#define SLUICE_BENCH_OPTIONS_H

/* Command lines of the benchmark's programs: --NAME VALUE, as often as needed. */
struct option_row {
    const char *name; /* NULL ends a table */
    const char *help;
    long *number;      /* where its value goes, which is not negative, */
    const char **word; /* or, if this is not NULL, its words */
};

/* Exits, with what there is to choose from, if the arguments are not of the table. */
void options_read(const struct option_row *rows, int argc, char **argv);

__attribute__((noreturn)) void options_refuse(const struct option_row *rows);

#endif
