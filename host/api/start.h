/*
 * Starting a run for a request, whatever its protocol:
 *
 *     start_begin    find the agent, read what all protocols have in common
 *     ...            the protocol sets the input and the form of the answer
 *     start_run      admit and start the run, and answer with it
 *
 * Each answers the request if it refuses; start_finish() is due then, too.
 */
#ifndef API_START_H
#define API_START_H

#include "api/request.h"

struct api;
struct chat;
struct deployment;
struct http_request;
struct run;
struct why;

struct start {
    struct deployment *deployment; /* NULL: there is none, and start_run() refuses */
    const char *protocol;          /* of SETTING_PROTOCOL_NAMES */
    struct request_view view;
    struct request_texts texts;
    struct run_request wanted; /* its input is the request's body, unless it is set */
    struct buf input;          /* for the input of a protocol that makes one */
};

/* Return a view of the request, which must outlive it. */
struct request_view start_view(struct http_request *request);

/*
 * agent and protocol must outlive the start. linger_s: how long the run goes on without a
 * reader, as setting_disconnect() has it; DISCONNECT_DEFAULT is what the plugin's section
 * says. Return false if the request was answered.
 */
#define DISCONNECT_DEFAULT (UINT_MAX - 1)
bool start_begin(const struct api *api, struct http_request *request, const char *agent,
                 const char *protocol, unsigned linger_s, struct start *start);

/* Return the request's body as a tree; NULL if the request was answered and the start finished. */
cJSON *start_read_tree(struct http_request *request, struct start *start);

/*
 * Set the input to what the agent takes of the conversation (protocol/chat.h). -EINVAL, and
 * why, if there is no conversation or the agent takes none.
 */
int start_set_chat(struct start *start, const struct chat *chat, struct why *why);

/* Run the conversation in its thread: start_set_chat(), then start_run() or a refusal. */
void start_run_chat(const struct api *api, struct http_request *request, struct start *start,
                    const struct chat *chat);

/* The start is finished, and the request is answered. */
void start_run(const struct api *api, struct http_request *request, struct start *start);

void start_finish(struct start *start);

/*
 * Answer with a run that is there: its stream after the event of this number, its document,
 * or its state. The form is copied.
 */
void start_answer(const struct api *api, struct http_request *request, struct run *run,
                  const struct answer_form *form, uint64_t after);

/* Answer with the run's state. */
void start_reply_state(struct http_request *request, unsigned status, const struct run *run);

#endif
