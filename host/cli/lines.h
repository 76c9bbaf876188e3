/* Lines of standard input, read on the loop as they are asked for. */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <uv.h>

struct lines;

/* take() gets each line that was asked for, without its end; NULL if no line is left. */
struct lines *lines_create(uv_loop_t *loop, void (*take)(void *data, const char *line), void *data);

/* Ask for one line. Asking again before it has come changes nothing. */
void lines_ask(struct lines *lines);

void lines_destroy(struct lines *lines);

#endif
