/*
 * prompt.h - the prompt with which a model answers a question from passages.
 */
#ifndef PLUGIN_PROMPT_H
#define PLUGIN_PROMPT_H

#include "index.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* Return a conversation in the form of OpenAI's protocol; the caller deletes it. NULL: no memory.
 */
cJSON *prompt_messages(const char *question, const struct findings *findings);

/* Return true if the answer names the passage as the prompt demands: [FILE:LINE]. */
bool prompt_is_cited(const char *answer, const struct passage *passage);

#endif
