/*
 * ask - answers questions from the documents of this machine.
 *
 *     documents = /usr/share/doc:/usr/share/man    files and folders
 *     base_url, api_key, model, options, headers   as in chat.c; optional
 *
 * A run gets {"question": "How do I ...?", "max": 4}. It emits, each from the
 * function that does the work:
 *
 *     step       {name: "search" | "answer", status, counts}
 *     citation   {file, line, score, heading?} for each passage of the answer;
 *                score is above 0, higher is better, and compares passages of
 *                the same answer only
 *     text       the answer: sentences of the documents, each with its source
 *
 * The result is {answer, citations}.
 *
 * If model or base_url in the plugin's section, or OPENAI_MODEL in the environment,
 * names a model, the model writes the answer from the passages that were found, and
 * the citations follow the answer. If the model fails before its first word, the run
 * emits the following event and answers with sentences of the documents:
 *
 *     step       {name: "model", status: "failed", code, message}
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* vasprintf() */
#endif

#include <sluice/agent.h>
#include <sluice/agent_json.h>
#include <sluice/agent_llm.h>

#include "answer.h"
#include "index.h"
#include "prompt.h"
#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ASK_DOCUMENTS
#define ASK_DOCUMENTS "."
#endif

#define PASSAGES_DEFAULT 4

struct ask {
    struct index *index;
    cJSON *settings;
    struct agent_llm llm; /* refers to the settings */
    bool has_model;
};

/* One answer on its way to the client. */
struct reply {
    struct answer answer;
    struct text text; /* the answer so far */
    cJSON *citations;
};

/* ---- text --------------------------------------------------------------- */

/* Emit a piece of the answer, and keep it for the result. */
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

/* Emit the document and the section, unless the previous sentence was of the same ones. */
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

/* Emit a sentence with its source. A sentence that is the title, as in NAME, gets no title line. */
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

/* Return {file, line, score, heading?}. */
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

static int cite(struct reply *reply, const struct passage *passage)
{
    cJSON_AddItemToArray(reply->citations, citation_json(passage));
    return emit_json("citation", citation_json(passage));
}

static int cite_passages(struct reply *reply)
{
    const struct passage *last = NULL;
    int status = 0;

    for (size_t i = 0; i < reply->answer.count && status == 0; i++) {
        const struct passage *passage = reply->answer.parts[i].passage;
        if (passage != last)
            status = cite(reply, passage);
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

/* Set the result {answer, citations}; leave out an answer that is too long for a result. */
static int finish(struct reply *reply)
{
    cJSON *result = cJSON_CreateObject();
    char *text = text_take(&reply->text);
    char *json;
    int status;

    if (text && strlen(text) < AGENT_EVENT_MAX / 8)
        cJSON_AddStringToObject(result, "answer", text);
    cJSON_AddItemReferenceToObject(result, "citations", reply->citations);
    json = cJSON_PrintUnformatted(result);
    status = text && json ? run_result(json) : -ENOMEM;
    cJSON_free(json);
    cJSON_Delete(result);
    free(text);
    return status;
}

/* Answer with sentences of the passages. */
static int extract_answer(struct reply *reply, const struct findings *findings)
{
    int status = answer_compose(findings, &reply->answer);

    if (status == 0)
        status = cite_passages(reply);
    if (status == 0)
        status = say_answer(reply);
    if (status == 0)
        status = step("answer", "finished", "sentences", reply->answer.count);
    return status;
}

static int emit_failure(const char *code, const char *message)
{
    cJSON *json = cJSON_CreateObject();

    agent_log(AGENT_LOG_WARN, "the model failed, answering without it: %s", message);
    cJSON_AddStringToObject(json, "name", "model");
    cJSON_AddStringToObject(json, "status", "failed");
    cJSON_AddStringToObject(json, "code", code);
    cJSON_AddStringToObject(json, "message", message);
    return emit_json("step", json);
}

/* Cite the passages that the model names. */
static int cite_named(struct reply *reply, const char *answer, const struct findings *findings)
{
    int status = 0;

    for (size_t i = 0; i < findings->count && status == 0; i++)
        if (prompt_is_cited(answer, &findings->passages[i]))
            status = cite(reply, &findings->passages[i]);
    if (status == 0)
        status =
            step("answer", "finished", "citations", (size_t)cJSON_GetArraySize(reply->citations));
    return status;
}

/*
 * Let the model write the answer. *written is false if the model failed before its first
 * word, thoughts aside, so that another answer may follow.
 */
static int write_answer(const struct ask *ask, struct reply *reply, const char *question,
                        const struct findings *findings, bool *written)
{
    struct agent_llm_answer answer;
    cJSON *messages = prompt_messages(question, findings);
    int status = agent_llm_chat(&ask->llm, messages, NULL, &answer);

    *written = *answer.text || status == -ECANCELED;
    if (!*written && status == 0) {
        status = emit_failure("model_broken", "the model called a tool, but has none to call");
    } else if (!*written) {
        status = emit_failure(answer.code, answer.message);
    } else if (status < 0) {
        run_fail(answer.code, "%s", answer.message);
    } else {
        text_add(&reply->text, answer.text);
        status = cite_named(reply, answer.text, findings);
    }
    agent_llm_answer_finish(&answer);
    cJSON_Delete(messages);
    return status;
}

static int reply_with(const struct ask *ask, const char *question, const struct findings *findings)
{
    struct reply reply = {.citations = cJSON_CreateArray()};
    int status = step("answer", "started", NULL, 0);
    bool written = false;

    if (status == 0 && ask->has_model && findings->count > 0)
        status = write_answer(ask, &reply, question, findings, &written);
    if (status == 0 && !written)
        status = extract_answer(&reply, findings);
    if (status == 0)
        status = finish(&reply);
    answer_finish(&reply.answer);
    text_finish(&reply.text);
    cJSON_Delete(reply.citations);
    return status;
}

static int answer_question(const struct ask *ask, const char *question, size_t max)
{
    struct findings findings = {.count = 0};
    int status = step("search", "started", NULL, 0);

    if (status == 0)
        status = index_search(ask->index, question, max, &findings);
    if (status == 0)
        status = step("search", "finished", "passages", findings.count);
    if (status == 0)
        status = reply_with(ask, question, &findings);
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
              " that are not documents, %" PRIu64 " too large, %" PRIu64 " binary, %" PRIu64
              " empty, %" PRIu64 " repeated, %" PRIu64 " unreadable",
              counts->files, counts->passages, counts->other, counts->large, counts->binary,
              counts->empty, counts->duplicates, counts->unreadable);
}

/*
 * Decide whether there is a model. An API key alone does not count: it may be in the
 * environment for another agent, and must not send documents to a model.
 */
static int read_model(struct ask *ask)
{
    const char *model = getenv("OPENAI_MODEL");
    int status = agent_llm_configure(&ask->llm, ask->settings);

    ask->has_model = (ask->llm.model && *ask->llm.model) ||
                     (ask->llm.base_url && *ask->llm.base_url) || (model && *model);
    if (ask->has_model)
        agent_log(AGENT_LOG_INFO, "a model writes the answers");
    return status;
}

static void destroy(void *self)
{
    struct ask *ask = self;

    index_destroy(ask->index);
    cJSON_Delete(ask->settings);
    free(ask);
}

static int create(const char *config, const char *state, void **self)
{
    struct ask *ask = calloc(1, sizeof(*ask));
    char error[512] = "out of memory";
    int status = -ENOMEM;

    (void)state;
    if (ask == NULL)
        return status;
    ask->settings = cJSON_Parse(config ? config : "{}");
    status = read_model(ask);
    if (status == 0) {
        status = index_create(json_string(ask->settings, "documents", ASK_DOCUMENTS), &ask->index,
                              error, sizeof(error));
        if (status < 0)
            agent_log(AGENT_LOG_ERROR, "documents: %s", error);
    }
    if (status < 0) {
        destroy(ask);
        return status;
    }
    log_counts(index_counts(ask->index));
    *self = ask;
    return 0;
}

_Static_assert(INDEX_RESULTS_MAX == 10, "input_schema has it as the maximum of max");

/* clang-format off */
AGENT_PLUGIN(.name = "ask", .version = "1.0",
             .description = "Answers questions from the documents of this machine, with sources",
             .create = create, .handle = handle, .destroy = destroy, .title = "Ask the documents",
             .input_schema = AGENT_JSON({
                 "type": "object",
                 "properties": {
                     "question": {"type": "string", "minLength": 1, "title": "Question"},
                     "max": {
                         "type": "number",
                         "minimum": 1,
                         "maximum": 10,
                         "title": "The most passages that the answer may draw on"
                     }
                 },
                 "required": ["question"]
             }),
             .examples = AGENT_JSON([{"question": "How is a plugin registered?"}]),
             .tags = "documents, search")
/* clang-format on */
