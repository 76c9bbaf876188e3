/*
 * tools.h - the tools that the model of `chat` may call.
 *
 * To add a tool, write a function in tools.c and name it in the table there.
 */
#ifndef PLUGIN_TOOLS_H
#define PLUGIN_TOOLS_H

#include <sluice/agent_llm.h>

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

/* Return the table for agent_llm_run_tools(), whose arg is the tools. */
const struct agent_llm_tool *tools_list(const struct tools *tools);

#endif
