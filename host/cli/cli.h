/*
 * The subcommands: each takes its own arguments, argv[0] being its name, and
 * returns the exit status: 0, 1 if what was asked for failed, 2 if it was
 * asked for in the wrong way.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_serve(int argc, char **argv);
int cli_run(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_token(int argc, char **argv);
int cli_list(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_rollback(int argc, char **argv);
int cli_drain(int argc, char **argv);

/* Says on standard error how to get help on a subcommand; returns 2. */
int cli_misused(const char *subcommand);

#endif
