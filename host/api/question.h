/*
 * Answers to a run's questions, for protocols whose answer ends with the question and whose
 * client then comes again: its request is answered with the run's stream after the question.
 */
#ifndef API_QUESTION_H
#define API_QUESTION_H

#include "run/request.h"

#include <stdbool.h>

struct api;
struct http_request;
struct question;
struct run;

/*
 * Hand the answer, JSON, to the agent that has asked; question NULL: it is not open. Return
 * false if the request was refused.
 */
bool question_give(const struct api *api, struct http_request *request, struct run *run,
                   const struct question *question, const char *json, size_t length);

/*
 * id is the question's name on the wire, RUN.N, where N is the number of its event. json is the
 * answer, NULL if the person wants the run to be cancelled. The run must be one of the agent
 * that the request's subject may see; else, and if the question is not open, the request is
 * refused with 409; with 422 if the question's schema does not take the answer. All is copied.
 */
void question_answer(const struct api *api, struct http_request *request, const char *agent,
                     const char *id, const char *json, const struct answer_form *form);

#endif
