/*
 * The chat input: what an agent gets of a conversation, whatever protocol its client
 * speaks.
 *
 *     {"messages": [{role, content, tool_calls?, tool_call_id?, name?}, ...],
 *      "tools"?, "thread"?, "state"?, "context"?, "options"?, "forwardedProps"?}
 *
 * Messages have the shape of OpenAI's chat completions. A role is system (also for
 * developer), user, assistant or tool. content is a string if all of its parts are text, else
 * OpenAI's parts; null beside tool_calls, if there is none.
 *
 * Agents that take something else get what their input schema asks for:
 *
 *     it has a property "messages", or there is no schema    the chat input
 *     its only required property is a string                 {that: the last user text}
 *     else                                                   the last user text, if that is
 *                                                            a JSON object
 *
 * A reader of a protocol makes the messages with the functions below, or has them already.
 */
#ifndef PROTOCOL_CHAT_H
#define PROTOCOL_CHAT_H

#include "base/buf.h"
#include "base/why.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* A conversation as a request has it. Other members than messages may be NULL: left out. */
struct chat {
    const cJSON *messages; /* in the shape of OpenAI; may be anything that a client sends */
    const cJSON *tools;
    const char *thread;
    const cJSON *state;
    const cJSON *context;
    const cJSON *options;
    const cJSON *forwarded; /* forwardedProps, of AG-UI */
    bool may_be_empty;      /* the list of messages, for agents that take the chat input */
};

/*
 * Append the agent's input, for this schema or NULL. -EINVAL, and why, if the messages are
 * none, or the agent cannot take them; then nothing is appended.
 */
int chat_write(const struct chat *chat, const cJSON *schema, struct buf *input, struct why *why);

/* Append the messages alone, as an array. If -EINVAL, what is appended is of no use. */
int chat_write_messages(const cJSON *messages, struct buf *out, struct why *why);

/*
 * Make messages: add one to the array and return it, NULL if there is no memory. A text of
 * NULL is null. arguments are JSON as text, as OpenAI has them.
 */
cJSON *chat_add(cJSON *messages, const char *role, const char *text);
void chat_add_call(cJSON *message, const char *id, const char *name, const char *arguments);
cJSON *chat_add_result(cJSON *messages, const char *call_id, const char *text);

#endif
