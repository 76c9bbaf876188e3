/*
 * ask - answers questions from the documents of this machine.
 *
 *     documents = /usr/share/doc:/usr/share/man    files and folders
 *
 * A run gets {"question": "How do I ...?", "max": 4} and emits, each from the
 * function that does the work:
 *
 *     step       {name: "search" | "answer", status, counts}
 *     citation   {file, line, score, heading?} for each passage that is used;
 *                score is above 0, higher is better, and compares the passages
 *                of one answer only
 *     text       the answer: sentences of the documents, each with its source
 *
 * The result is {answer, citations}.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* vasprintf() */
#endif

#include <sluice/agent.h>
#include <sluice/agent_json.h>

#include "answer.h"
#include "index.h"
#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ASK_DOCUMENTS
#define ASK_DOCUMENTS "."
#endif

#define PASSAGES_DEFAULT 4

/* One answer on its way to the client. */
struct reply {
    struct answer answer;
    struct text text; /* what was said so far */
    cJSON *citations;
};

/* ---- text --------------------------------------------------------------- */

/* Emits a piece of the answer, and keeps it for the result. */
AGENT_PRINTF(2, 3) static int say(struct reply *reply, const char *format, ...)
{
    va_list args;
    char *piece = NULL;
    int status = -ENOMEM;

    va_start(args, format);
    if (vasprintf(&piece, format, args) >= 0) {
        text_add(&reply->text, piece);
        status = emit_text(piece);
        free(piece);
    }
    va_end(args);
    return status;
}

/* The document and the section, as far as the last sentence was not of them, too. */
static int say_title(struct reply *reply, const struct passage *passage, const struct passage *last)
{
    bool file = !last || strcmp(last->file, passage->file) != 0;

    if (!file && strcmp(last->heading, passage->heading) == 0)
        return 0;
    return say(reply, "%s%s%s%s:\n", last ? "\n" : "",
               !file             ? ""
               : *passage->title ? passage->title
                                 : passage->file,
               file && *passage->heading ? ", " : "", passage->heading);
}

/* A sentence that is the title, as in section NAME, needs none above it. */
static int say_part(struct reply *reply, const struct answer_part *part, const struct passage *last)
{
    bool titled = strcmp(part->text, part->passage->title) == 0;
    int status = titled ? 0 : say_title(reply, part->passage, last);

    if (status == 0)
        status = say(reply, "%s%s%s[%s:%u]\n",
                     !titled ? "- "
                     : last  ? "\n"
                             : "",
                     part->text, *part->text ? " " : "", part->passage->file, part->line);
    if (status == 0 && *part->code)
        status = say(reply, "%s", part->code);
    return status;
}

static int say_answer(struct reply *reply)
{
    const struct answer *answer = &reply->answer;
    int status = 0;

    if (answer->count == 0)
        return say(reply, "The documents say nothing about this.\n");
    if (!answer->direct)
        status = say(reply, "The documents do not answer this directly. Closest:\n");
    for (size_t i = 0; i < answer->count && status == 0; i++)
        status = say_part(reply, &answer->parts[i], i > 0 ? answer->parts[i - 1].passage : NULL);
    return status;
}

/* ---- citations ---------------------------------------------------------- */

/* {file, line, score, heading?}; a higher score is better. */
static cJSON *citation_json(const struct passage *passage)
{
    cJSON *citation = cJSON_CreateObject();

    cJSON_AddStringToObject(citation, "file", passage->file);
    cJSON_AddNumberToObject(citation, "line", passage->line);
    cJSON_AddNumberToObject(citation, "score", round(passage->score * 100) / 100);
    if (*passage->heading)
        cJSON_AddStringToObject(citation, "heading", passage->heading);
    return citation;
}

static int cite_passages(struct reply *reply)
{
    const struct passage *last = NULL;
    int status = 0;

    for (size_t i = 0; i < reply->answer.count && status == 0; i++) {
        const struct passage *passage = reply->answer.parts[i].passage;
        if (passage != last) {
            cJSON_AddItemToArray(reply->citations, citation_json(passage));
            status = emit_json("citation", citation_json(passage));
        }
        last = passage;
    }
    return status;
}

/* ---- the run ------------------------------------------------------------ */

static int step(const char *name, const char *status, const char *counted, size_t count)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "name", name);
    cJSON_AddStringToObject(json, "status", status);
    if (counted)
        cJSON_AddNumberToObject(json, counted, (double)count);
    return emit_json("step", json);
}

/* The result: {answer, citations} */
static int finish(struct reply *reply)
{
    cJSON *result = cJSON_CreateObject();
    char *text = text_take(&reply->text);
    char *json;
    int status;

    cJSON_AddStringToObject(result, "answer", text ? text : "");
    cJSON_AddItemReferenceToObject(result, "citations", reply->citations);
    json = cJSON_PrintUnformatted(result);
    status = text && json ? run_result(json) : -ENOMEM;
    cJSON_free(json);
    cJSON_Delete(result);
    free(text);
    return status;
}

static int reply_with(const struct findings *findings)
{
    struct reply reply = {.citations = cJSON_CreateArray()};
    int status = step("answer", "started", NULL, 0);

    if (status == 0)
        status = answer_compose(findings, &reply.answer);
    if (status == 0)
        status = cite_passages(&reply);
    if (status == 0)
        status = say_answer(&reply);
    if (status == 0)
        status = step("answer", "finished", "sentences", reply.answer.count);
    if (status == 0)
        status = finish(&reply);
    answer_finish(&reply.answer);
    text_finish(&reply.text);
    cJSON_Delete(reply.citations);
    return status;
}

static int answer_question(struct index *index, const char *question, size_t max)
{
    struct findings findings = {.count = 0};
    int status = step("search", "started", NULL, 0);

    if (status == 0)
        status = index_search(index, question, max, &findings);
    if (status == 0)
        status = step("search", "finished", "passages", findings.count);
    if (status == 0)
        status = reply_with(&findings);
    findings_finish(&findings);
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *request = cJSON_Parse(input);
    const char *question = json_string(request, "question", "");
    double max = json_number(request, "max", PASSAGES_DEFAULT);
    int status;

    if (is_blank(question) || !(max >= 1 && max <= INDEX_RESULTS_MAX))
        status = run_fail("bad_input", "send {\"question\": \"…\"}");
    else
        status = answer_question(self, question, (size_t)max);
    cJSON_Delete(request);
    return status;
}

/* ---- the plugin --------------------------------------------------------- */

static void log_counts(const struct index_counts *counts)
{
    agent_log(AGENT_LOG_INFO,
              "indexed %" PRIu64 " files as %" PRIu64 " passages; skipped %" PRIu64
              " that are no documents, %" PRIu64 " too large, %" PRIu64 " binary, %" PRIu64
              " empty, %" PRIu64 " repeated, %" PRIu64 " unreadable",
              counts->files, counts->passages, counts->other, counts->large, counts->binary,
              counts->empty, counts->duplicates, counts->unreadable);
}

static int create(const char *config, const char *state, void **self)
{
    cJSON *settings = cJSON_Parse(config ? config : "{}");
    const char *documents = json_string(settings, "documents", ASK_DOCUMENTS);
    struct index *index = NULL;
    char error[512] = "out of memory";
    int status = index_create(documents, &index, error, sizeof(error));

    (void)state;
    if (status < 0) {
        agent_log(AGENT_LOG_ERROR, "documents: %s", error);
    } else {
        log_counts(index_counts(index));
        *self = index;
    }
    cJSON_Delete(settings);
    return status;
}

static void destroy(void *self)
{
    index_destroy(self);
}

AGENT_PLUGIN(.name = "ask", .version = "1.0",
             .description = "Answers questions from the documents of this machine, with sources",
             .create = create, .handle = handle, .destroy = destroy)
