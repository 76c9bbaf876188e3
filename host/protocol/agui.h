/*
 * AG-UI 1.0 (docs.ag-ui.com): server-sent events, one JSON object each, in the field `data`
 * alone. Its client checks every frame against a schema and their order: the first is
 * RUN_STARTED, the last RUN_FINISHED or RUN_ERROR, an optional member is never null, and
 * no message and no step is open at the end.
 *
 *     text, reasoning     messages, whose ids are RUN-N: they begin with the first delta and
 *                         end where another kind of message or a call begins
 *     step                STEP_STARTED and STEP_FINISHED, see below
 *     tool_call           TOOL_CALL_START, ARGS, END
 *     tool_result         TOOL_CALL_RESULT
 *     state               STATE_SNAPSHOT
 *     usage               counts of RUN_FINISHED or RUN_ERROR
 *     input_request       RUN_FINISHED with an interrupt RUN.N, the event's number; ends the answer
 *     done                RUN_FINISHED or RUN_ERROR
 *     others, and those of the above whose members are not as agent.h has them: CUSTOM
 *
 * A step is open until its event says another status than started or running, or, if it has
 * no status, until the next step without one; all are closed at the end. Names of open steps
 * are kept in AGUI_STEPS_SIZE bytes. A step whose name finds no room, and a step that ends
 * without having begun, is started and finished at once.
 *
 * The terms are the client's name for the run (agui_terms()); without them it is the run's id.
 * The thread is that of the run, or the run's id.
 *
 * Who has no terms is shown the run as a client sees it that comes again: after the interrupt
 * follows RUN_STARTED.
 */
#ifndef PROTOCOL_AGUI_H
#define PROTOCOL_AGUI_H

#include "protocol/encoder.h"

#define AGUI_STEPS_SIZE 22

extern const struct encoder encoder_agui;

/* Append the terms of a client that calls the run like this. */
void agui_terms(const char *run_id, struct buf *terms);

#endif
