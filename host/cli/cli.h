/*
 * The subcommands: each reads its own arguments, argv[0] being its name, and
 * returns the exit status: 0, 1 if the command failed, 2 if its arguments were
 * wrong.
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

/* Say on standard error how to get help on a subcommand; return 2. */
int cli_misused(const char *subcommand);

#endif
