/*
 * tools.h - what the model of `chat` may call.
 *
 * To add a tool, write a function in tools.c and name it in the table there.
 */
#ifndef PLUGIN_TOOLS_H
#define PLUGIN_TOOLS_H

#include <cjson/cJSON.h>
#include <stddef.h>

struct tools;

/*
 * documents: files and folders to search, as index_create() takes them; "" for
 * none, and then there is no tool that searches. On error nothing is created,
 * and error says why: -errno.
 */
int tools_create(const char *documents, struct tools **out, char *error, size_t error_size);

/* NULL is fine. */
void tools_destroy(struct tools *tools);

/* As OpenAI's protocol has them; lives as long as the tools. */
const cJSON *tools_list(const struct tools *tools);

/*
 * Calls a tool, on any thread or fiber. arguments are the model's, and need not
 * be right: what is wrong is what the model is told. The text is the caller's to
 * free; NULL when out of memory.
 */
char *tools_call(const struct tools *tools, const char *name, const char *arguments);

#endif
