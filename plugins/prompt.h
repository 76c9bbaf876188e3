/*
 * prompt.h - what a model is told to answer a question from passages.
 */
#ifndef PLUGIN_PROMPT_H
#define PLUGIN_PROMPT_H

#include "index.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* The conversation, as OpenAI's protocol has it, which the caller deletes; NULL without memory. */
cJSON *prompt_messages(const char *question, const struct findings *findings);

/* Whether an answer names the passage, as it was told to: [FILE:LINE]. */
bool prompt_is_cited(const char *answer, const struct passage *passage);

#endif
