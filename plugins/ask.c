/*
 * ask - answers questions from the documents of this machine.
 *
 *     documents = /usr/share/doc:/usr/share/man    files and folders
 *
 * A run gets {"question": "How do I ...?", "max": 4} and emits, each from the
 * function that does the work:
 *
 *     step       {name: "search" | "answer", status, counts}
 *     citation   {file, line, score, heading?} for each passage that is used
 *     text       the answer: sentences of the documents, each with its source
 *
 * The result is {answer, citations}.
 */
#include <sluice/agent.h>
#include <sluice/agent_json.h>

#include "answer.h"
#include "index.h"
#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ASK_DOCUMENTS
#define ASK_DOCUMENTS "."
#endif

#define PASSAGES_DEFAULT 4
#define SOURCE_MAX       512 /* bytes of a source's name in the text */

struct ask {
    struct index *index;
};

/* One answer on its way to the client. */
struct reply {
    const struct findings *findings;
    struct answer answer;
    struct text text; /* what was said so far */
    cJSON *citations;
};

/* ---- steps -------------------------------------------------------------- */

static int step_started(const char *name)
{
    cJSON *step = cJSON_CreateObject();

    cJSON_AddStringToObject(step, "name", name);
    cJSON_AddStringToObject(step, "status", "started");
    return emit_json("step", step);
}

static int step_finished(const char *name, const char *counted, size_t count)
{
    cJSON *step = cJSON_CreateObject();

    cJSON_AddStringToObject(step, "name", name);
    cJSON_AddStringToObject(step, "status", "finished");
    cJSON_AddNumberToObject(step, counted, (double)count);
    return emit_json("step", step);
}

/* ---- text --------------------------------------------------------------- */

static int say(struct reply *reply, const char *text)
{
    text_add(&reply->text, text);
    return emit_text(text);
}

/* The document, unless it is that of the last sentence, and the section. */
static void add_title(struct text *title, const struct passage *passage, const struct passage *last)
{
    bool same = last && strcmp(last->file, passage->file) == 0;

    if (!same)
        text_add(title, *passage->title ? passage->title : passage->file);
    if (!same && *passage->heading)
        text_add(title, ", ");
    text_add(title, *passage->heading || !same ? passage->heading : "…");
}

static int say_title(struct reply *reply, const struct passage *passage, const struct passage *last)
{
    struct text title = {0};
    char *line;
    int status;

    if (reply->text.length > 0)
        text_add(&title, "\n");
    add_title(&title, passage, last);
    text_add(&title, ":\n");
    line = text_take(&title);
    status = line ? say(reply, line) : -ENOMEM;
    free(line);
    return status;
}

static int say_source(struct reply *reply, const struct answer_part *part)
{
    char source[SOURCE_MAX];

    snprintf(source, sizeof(source), "%s[%s:%u]\n", *part->text ? " " : "", part->passage->file,
             part->line);
    return say(reply, source);
}

static int say_sentence(struct reply *reply, const struct answer_part *part, const char *bullet)
{
    int status = bullet ? say(reply, bullet) : 0;

    if (status == 0 && *part->text)
        status = say(reply, part->text);
    if (status == 0)
        status = say_source(reply, part);
    if (status == 0 && *part->code)
        status = say(reply, part->code);
    return status;
}

static bool is_same_section(const struct passage *a, const struct passage *b)
{
    return strcmp(a->file, b->file) == 0 && strcmp(a->heading, b->heading) == 0;
}

/* A sentence that is the title, as in section NAME, needs none above it. */
static int say_part(struct reply *reply, const struct answer_part *part, const struct passage *last)
{
    int status = 0;

    if (strcmp(part->text, part->passage->title) == 0)
        return say_sentence(reply, part, last ? "\n" : NULL);
    if (last == NULL || !is_same_section(last, part->passage))
        status = say_title(reply, part->passage, last);
    return status < 0 ? status : say_sentence(reply, part, "- ");
}

static int say_parts(struct reply *reply)
{
    const struct passage *last = NULL;
    int status = 0;

    for (size_t i = 0; i < reply->answer.count && status == 0; i++) {
        status = say_part(reply, &reply->answer.parts[i], last);
        last = reply->answer.parts[i].passage;
    }
    return status;
}

static int say_answer(struct reply *reply)
{
    int status = 0;

    if (reply->answer.count == 0)
        return say(reply, "The documents say nothing about this.\n");
    if (!reply->answer.direct)
        status = say(reply, "The documents do not answer this directly. Closest:\n");
    return status < 0 ? status : say_parts(reply);
}

/* ---- citations ---------------------------------------------------------- */

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

static bool is_used(const struct answer *answer, const struct passage *passage)
{
    for (size_t i = 0; i < answer->count; i++)
        if (answer->parts[i].passage == passage)
            return true;
    return false;
}

static int cite_passages(struct reply *reply)
{
    int status = 0;

    for (size_t i = 0; i < reply->findings->count && status == 0; i++)
        if (is_used(&reply->answer, &reply->findings->passages[i]))
            status = cite(reply, &reply->findings->passages[i]);
    return status;
}

/* ---- the run ------------------------------------------------------------ */

static int finish_with(struct reply *reply)
{
    cJSON *result = cJSON_CreateObject();
    char *json = NULL;
    int status = -ENOMEM;

    text_add(&reply->text, "");
    if (!reply->text.failed)
        cJSON_AddStringToObject(result, "answer", reply->text.data);
    cJSON_AddItemReferenceToObject(result, "citations", reply->citations);
    if (!reply->text.failed)
        json = cJSON_PrintUnformatted(result);
    if (json)
        status = run_result(json);
    cJSON_free(json);
    cJSON_Delete(result);
    return status;
}

static int compose_and_say(struct reply *reply)
{
    int status = step_started("answer");

    if (status == 0)
        status = answer_compose(reply->findings, &reply->answer);
    if (status == 0)
        status = cite_passages(reply);
    if (status == 0)
        status = say_answer(reply);
    if (status == 0)
        status = step_finished("answer", "sentences", reply->answer.count);
    return status < 0 ? status : finish_with(reply);
}

static int reply_to(const struct findings *findings)
{
    struct reply reply = {.findings = findings, .citations = cJSON_CreateArray()};
    int status = compose_and_say(&reply);

    answer_finish(&reply.answer);
    text_finish(&reply.text);
    cJSON_Delete(reply.citations);
    return status;
}

static int search(struct ask *ask, const char *question, size_t max, struct findings *findings)
{
    int status = step_started("search");

    if (status == 0)
        status = index_search(ask->index, question, max, findings);
    return status < 0 ? status : step_finished("search", "passages", findings->count);
}

static int answer_question(struct ask *ask, const char *question, size_t max)
{
    struct findings findings = {.count = 0};
    int status = search(ask, question, max, &findings);

    if (status == 0)
        status = reply_to(&findings);
    findings_finish(&findings);
    return status;
}

static bool is_blank(const char *string)
{
    return string[strspn(string, " \t\r\n")] == '\0';
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

static void log_counts(const struct index *index)
{
    struct index_counts counts;

    index_counts(index, &counts);
    agent_log(AGENT_LOG_INFO,
              "indexed %" PRIu64 " files as %" PRIu64 " passages; skipped %" PRIu64
              " that are no documents, %" PRIu64 " too large, %" PRIu64 " binary, %" PRIu64
              " empty, %" PRIu64 " repeated, %" PRIu64 " unreadable",
              counts.files, counts.passages, counts.other, counts.large, counts.binary,
              counts.empty, counts.duplicates, counts.unreadable);
}

static int create(const char *config, const char *state, void **self)
{
    cJSON *settings = cJSON_Parse(config ? config : "{}");
    struct ask *ask = calloc(1, sizeof(*ask));
    char error[512] = "out of memory";
    int status = -ENOMEM;

    (void)state;
    if (ask)
        status = index_create(json_string(settings, "documents", ASK_DOCUMENTS), &ask->index, error,
                              sizeof(error));
    if (status < 0) {
        agent_log(AGENT_LOG_ERROR, "documents: %s", error);
        free(ask);
    } else {
        log_counts(ask->index);
        *self = ask;
    }
    cJSON_Delete(settings);
    return status;
}

/* A passage must be found by its own words. */
static int selftest(void *self)
{
    struct ask *ask = self;
    struct findings findings;
    char sample[256];
    int status = index_sample(ask->index, sample, sizeof(sample));

    if (status == 0)
        status = index_search(ask->index, sample, 1, &findings);
    if (status == 0) {
        status = findings.count == 1 ? 0 : -ENODATA;
        findings_finish(&findings);
    }
    if (status < 0)
        agent_log(AGENT_LOG_ERROR, "a passage was not found by its own words: %s", sample);
    return status;
}

static void destroy(void *self)
{
    struct ask *ask = self;

    index_destroy(ask->index);
    free(ask);
}

AGENT_PLUGIN(.name = "ask", .version = "1.0",
             .description = "Answers questions from the documents of this machine, with sources",
             .create = create, .selftest = selftest, .handle = handle, .destroy = destroy)
