/*
 * tools.h - the tools that the model of `chat` may call.
 *
 * To add a tool, write a function in tools.c and name it in the table there.
 */
#ifndef PLUGIN_TOOLS_H
#define PLUGIN_TOOLS_H

#include <cjson/cJSON.h>
#include <stddef.h>

struct tools;

/*
 * Create the tools. documents are files and folders to search, as for index_create();
 * with "" there is no search tool. On an error nothing is created, error says why, and
 * the result is a negative errno.
 */
int tools_create(const char *documents, struct tools **out, char *error, size_t error_size);

/* Destroy the tools; ignore NULL. */
void tools_destroy(struct tools *tools);

/* Return the tools' descriptions in the form of OpenAI's protocol; they live as long as the tools.
 */
const cJSON *tools_list(const struct tools *tools);

/*
 * Call a tool, on any thread or fiber. The model wrote name and arguments, so they may
 * be wrong; the text then says what is wrong. The caller frees the text. NULL: out of
 * memory.
 */
char *tools_call(const struct tools *tools, const char *name, const char *arguments);

#endif
