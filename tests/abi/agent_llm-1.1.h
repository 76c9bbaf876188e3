/*
 * agent_llm.h - chat with a model, at any server that speaks OpenAI's protocol
 * (POST {base_url}/chat/completions, streamed): OpenAI, vLLM, llama.cpp, Ollama,
 * and many more. For plugins that link with cJSON.
 *
 *     struct agent_llm llm = {0};
 *     struct agent_llm_answer answer;
 *     cJSON *messages = cJSON_CreateArray();
 *     int status;
 *
 *     agent_llm_configure(&llm, settings);
 *     agent_llm_say(messages, "user", "Why is the sky blue?");
 *     status = agent_llm_chat(&llm, messages, NULL, &answer);
 *     if (status < 0)
 *         status = run_fail(answer.code, "%s", answer.message);
 *     agent_llm_answer_finish(&answer);
 *     cJSON_Delete(messages);
 *
 * What comes is emitted as it comes, from inside of agent_llm_chat():
 *
 *     text {delta}  reasoning {delta}           each piece
 *     tool_call {id, name, arguments}           when it is whole; arguments are
 *                                               JSON, or a string if it is none
 *     usage {input_tokens, output_tokens}       at the end, if the server tells
 *
 * A server that is busy (429, 503) or not there is asked again, with pauses
 * that grow, or as long as its Retry-After says; never once a piece came. An
 * answer that ends early, in whatever way, is an error and never a short answer.
 * One answer holds AGENT_LLM_ANSWER_MAX bytes at most.
 *
 * Tags and conventions are those of agent.h; needs ABI 1.1.
 */
#ifndef SLUICE_AGENT_LLM_H
#define SLUICE_AGENT_LLM_H

#include "agent.h"
#include "agent_http.h"
#include "agent_json.h"
#include "agent_sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AGENT_LLM_ANSWER_MAX (4 * 1024 * 1024)  /* bytes: text, reasoning and arguments together */
#define AGENT_LLM_STREAM_MAX (64 * 1024 * 1024) /* bytes of a response, with all that is around */
#define AGENT_LLM_CALLS_MAX  64                 /* tool calls of one answer */

#define AGENT_LLM_ATTEMPTS   4      /* in all */
#define AGENT_LLM_IDLE_MS    120000 /* a model may think before its first word */
#define AGENT_LLM_BACKOFF_MS 500    /* before the second attempt; then twice as much each */
#define AGENT_LLM_WAIT_MAX_S 30     /* of a Retry-After, too */

/* Events that agent_llm_chat() leaves to its caller. */
enum agent_llm_quiet {
    AGENT_LLM_QUIET_TEXT = 1, /* and reasoning */
    AGENT_LLM_QUIET_CALLS = 2,
    AGENT_LLM_QUIET_USAGE = 4,
    AGENT_LLM_QUIET = 7
};

/* clang-format off */
/*
 * Whom to ask. All zero is fine: what is NULL, or "", is taken from the
 * environment. The strings are the caller's, and live as long as the struct is
 * used; runs may share it.
 */
struct agent_llm {
    /* As "http://localhost:11434/v1"; else OPENAI_BASE_URL, else OpenAI's, if there is a key. */
    const char *base_url AGENT_OPTIONAL;
    const char *api_key AGENT_OPTIONAL;      /* else OPENAI_API_KEY, else none is sent */
    const char *model AGENT_OPTIONAL;        /* else OPENAI_MODEL */
    const cJSON *options AGENT_OPTIONAL;     /* further members of the request, such as temperature */
    unsigned quiet AGENT_OPTIONAL;           /* of enum agent_llm_quiet */
    unsigned attempts AGENT_OPTIONAL;        /* AGENT_LLM_ATTEMPTS */
    uint32_t idle_timeout_ms AGENT_OPTIONAL; /* while nothing comes: AGENT_LLM_IDLE_MS */
};
/* clang-format on */

/* A call of a tool that the model asks for. */
struct agent_llm_call {
    char *id; /* never "" */
    char *name;
    char *arguments; /* JSON, if the model made no mistake */
};

/* All that is in it lives until agent_llm_answer_finish(). */
struct agent_llm_answer {
    char *text; /* as far as it came; never NULL */
    struct agent_llm_call *calls;
    size_t call_count;
    char finish_reason[32]; /* "stop", "length", "tool_calls", ...; "" if none came */
    long input_tokens;      /* -1 if the server does not tell */
    long output_tokens;
    int begun;         /* a piece has come: text, reasoning, or of a tool call */
    const char *code;  /* on error, for run_fail() */
    char message[512]; /* on error: what happened, and what to do; else "" */
};

/* ---- private: the answer ------------------------------------------------ */

struct llm_call {
    long index; /* the server's; -1 if it gives none */
    char *id, *name;
    struct agent_sse_text arguments;
};

/* One request and what came of it. */
struct llm_exchange {
    const struct agent_llm *llm;
    struct agent_llm_answer *answer;
    struct agent_http *http;
    struct agent_sse sse;
    struct agent_sse_text text;
    struct llm_call calls[AGENT_LLM_CALLS_MAX];
    size_t call_count;
    size_t size;       /* of what came, against AGENT_LLM_ANSWER_MAX */
    int events;        /* any came */
    int done;          /* [DONE] came */
    int may_try_again; /* nothing came, and that may be different soon */
    long wait_s;       /* as the server says; -1 if it does not */
};

AGENT_PRINTF(4, 5)
static inline int llm_fail(struct agent_llm_answer *answer, int status, const char *code,
                           const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(answer->message, sizeof answer->message, format, args);
    va_end(args);
    answer->code = code;
    return status;
}

static inline int llm_fail_to_keep(struct agent_llm_answer *answer, int status)
{
    switch (status) {
    case 0:
        return 0;
    case -ECANCELED:
        return llm_fail(answer, status, "cancelled", "the run was cancelled");
    case -EMSGSIZE:
        return llm_fail(answer, status, "model_too_large",
                        "the model's answer is larger than this host takes; ask for less, or set "
                        "a limit such as max_tokens");
    case -ENOMEM:
        return llm_fail(answer, status, "out_of_memory", "there is no memory for the answer");
    default:
        return llm_fail(answer, status, "model_broken",
                        "the model's server sent what is not UTF-8; look at the server");
    }
}

/* A piece came, of text or not. */
static inline int llm_count(struct llm_exchange *exchange, const char *piece)
{
    exchange->size += strlen(piece);
    exchange->answer->begun = 1;
    return exchange->size > AGENT_LLM_ANSWER_MAX ? -EMSGSIZE : 0;
}

static inline int llm_take_text(struct llm_exchange *exchange, const char *piece)
{
    int status;

    if (piece == NULL || *piece == '\0')
        return 0;
    status = llm_count(exchange, piece);
    if (status == 0)
        status = agent_sse_add(&exchange->text, piece, strlen(piece), AGENT_LLM_ANSWER_MAX);
    if (status == 0 && !(exchange->llm->quiet & AGENT_LLM_QUIET_TEXT))
        status = emit_text(piece);
    return status;
}

static inline int llm_take_reasoning(struct llm_exchange *exchange, const char *piece)
{
    cJSON *event;
    int status;

    if (piece == NULL || *piece == '\0')
        return 0;
    status = llm_count(exchange, piece);
    if (status < 0 || exchange->llm->quiet & AGENT_LLM_QUIET_TEXT)
        return status;
    event = cJSON_CreateObject();
    cJSON_AddStringToObject(event, "delta", piece);
    return emit_json("reasoning", event);
}

/* ---- private: tool calls ------------------------------------------------ */

/* Whether a piece with this index and id belongs to the call. Some servers give no index, or the
   same to all. */
static inline int llm_is_of(const struct llm_call *call, long index, const char *id)
{
    if (*id && call->id && strcmp(call->id, id) != 0)
        return 0;
    return index == call->index && (index >= 0 || *id == '\0' || call->id);
}

static inline struct llm_call *llm_find_call(struct llm_exchange *exchange, long index,
                                             const char *id)
{
    struct llm_call *call;
    size_t i;

    for (i = exchange->call_count; i > 0; i--) {
        if (llm_is_of(&exchange->calls[i - 1], index, id))
            return &exchange->calls[i - 1];
    }
    if (exchange->call_count == AGENT_LLM_CALLS_MAX)
        return NULL;
    call = &exchange->calls[exchange->call_count++];
    call->index = index;
    return call;
}

static inline char *llm_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = (char *)malloc(size);

    return copy ? (char *)memcpy(copy, text, size) : NULL;
}

/* The first that is not empty stays. */
static inline int llm_keep_first(char **kept, const char *text)
{
    if (*kept || *text == '\0')
        return 0;
    *kept = llm_copy(text);
    return *kept ? 0 : -ENOMEM;
}

static inline int llm_take_call_piece(struct llm_exchange *exchange, const cJSON *piece)
{
    const cJSON *function = cJSON_GetObjectItemCaseSensitive(piece, "function");
    const char *id = json_string(piece, "id", ""), *name = json_string(function, "name", "");
    const char *arguments = json_string(function, "arguments", "");
    struct llm_call *call = llm_find_call(exchange, (long)json_number(piece, "index", -1), id);
    int status;

    if (call == NULL)
        return -EMSGSIZE;
    status = llm_count(exchange, arguments);
    exchange->size += strlen(id) + strlen(name);
    if (status == 0)
        status = llm_keep_first(&call->id, id);
    if (status == 0)
        status = llm_keep_first(&call->name, name);
    if (status == 0)
        status =
            agent_sse_add(&call->arguments, arguments, strlen(arguments), AGENT_LLM_ANSWER_MAX);
    return status;
}

/* A server may leave out the id; the results need one. */
static inline char *llm_call_id(struct llm_call *call, size_t number)
{
    char id[32];

    if (call->id == NULL) {
        snprintf(id, sizeof id, "call_%lu", (unsigned long)number);
        call->id = llm_copy(id);
    }
    return call->id;
}

/* Hands the calls over to the answer. */
static inline int llm_finish_calls(struct llm_exchange *exchange)
{
    struct agent_llm_answer *answer = exchange->answer;
    size_t i;

    if (exchange->call_count == 0)
        return 0;
    answer->calls =
        (struct agent_llm_call *)calloc(exchange->call_count, sizeof(struct agent_llm_call));
    if (answer->calls == NULL)
        return -ENOMEM;
    for (i = 0; i < exchange->call_count; i++) {
        struct llm_call *from = &exchange->calls[i];
        struct agent_llm_call *call = &answer->calls[answer->call_count++];
        call->id = llm_call_id(from, i + 1);
        call->name = from->name ? from->name : llm_copy("");
        call->arguments = from->arguments.length ? from->arguments.data : llm_copy("{}");
        if (from->arguments.length == 0)
            free(from->arguments.data);
        memset(from, 0, sizeof *from);
        if (call->id == NULL || call->name == NULL || call->arguments == NULL)
            return -ENOMEM;
    }
    return 0;
}

/* ---- private: events of the stream -------------------------------------- */

static inline void llm_take_usage(struct agent_llm_answer *answer, const cJSON *usage)
{
    if (!cJSON_IsObject(usage))
        return;
    answer->input_tokens = (long)json_number(usage, "prompt_tokens", -1);
    answer->output_tokens = (long)json_number(usage, "completion_tokens", -1);
}

static inline int llm_take_delta(struct llm_exchange *exchange, const cJSON *delta)
{
    const char *reasoning = json_string(delta, "reasoning_content", NULL);
    const cJSON *piece;
    int status;

    status =
        llm_take_reasoning(exchange, reasoning ? reasoning : json_string(delta, "reasoning", NULL));
    if (status == 0)
        status = llm_take_text(exchange, json_string(delta, "content", NULL));
    cJSON_ArrayForEach(piece, cJSON_GetObjectItemCaseSensitive(delta, "tool_calls")) {
        if (status == 0)
            status = llm_take_call_piece(exchange, piece);
    }
    return status;
}

/* What a server says of an error: {"error":{"message":...}}, or {"error":...}; or NULL. */
static inline const char *llm_error_text(const cJSON *json)
{
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");

    if (cJSON_IsString(error))
        return error->valuestring;
    return json_string(error, "message", cJSON_IsObject(error) ? "it does not say why" : NULL);
}

/* Of several choices only the first is ours: none was asked for. */
static inline int llm_take_chunk(struct llm_exchange *exchange, const cJSON *json)
{
    const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "choices"), 0);
    struct agent_llm_answer *answer = exchange->answer;
    const char *error = llm_error_text(json), *reason = json_string(choice, "finish_reason", "");
    int status;

    if (error)
        return llm_fail(answer, -EIO, "model_failed",
                        "the model failed in the middle of its answer (%.300s); try again", error);
    llm_take_usage(answer, cJSON_GetObjectItemCaseSensitive(json, "usage"));
    status = llm_take_delta(exchange, cJSON_GetObjectItemCaseSensitive(choice, "delta"));
    if (*reason)
        snprintf(answer->finish_reason, sizeof answer->finish_reason, "%s", reason);
    return llm_fail_to_keep(answer, status);
}

/* An event of the stream, for agent_sse_feed(); 1 ends it. */
static inline int llm_take_event(void *arg, const char *type, const char *data)
{
    struct llm_exchange *exchange = (struct llm_exchange *)arg;
    cJSON *json;
    int status;

    (void)type;
    exchange->events = 1;
    if (strcmp(data, "[DONE]") == 0) {
        exchange->done = 1;
        return 1;
    }
    json = json_parse(data);
    if (!cJSON_IsObject(json))
        status = llm_fail(exchange->answer, -EPROTO, "model_broken",
                          "the model's server sent what is no JSON; look at the server");
    else
        status = llm_take_chunk(exchange, json);
    cJSON_Delete(json);
    return status;
}

/* ---- private: errors ---------------------------------------------------- */

static inline int llm_fail_to_connect(struct llm_exchange *exchange, int status)
{
    const char *why = agent_http_error(exchange->http);
    struct agent_llm_answer *answer = exchange->answer;

    if (status == -ECANCELED)
        return llm_fail_to_keep(answer, status);
    if (status == -ETIMEDOUT)
        return llm_fail(answer, status, "model_timeout",
                        "the model's server does not answer (%s); try again, or check base_url",
                        why);
    exchange->may_try_again =
        status == -ECONNREFUSED || status == -EHOSTUNREACH || status == -ECONNRESET;
    return llm_fail(answer, status, "model_unreachable",
                    "the model's server cannot be reached (%s); check base_url, and that the "
                    "server runs",
                    why);
}

static inline int llm_fail_to_read(struct llm_exchange *exchange, int status)
{
    const char *why = agent_http_error(exchange->http);
    struct agent_llm_answer *answer = exchange->answer;

    if (status == -ECANCELED || status == -EMSGSIZE)
        return llm_fail_to_keep(answer, status);
    if (status == -ETIMEDOUT)
        return llm_fail(answer, status, "model_timeout",
                        "the model stopped in the middle of its answer (%s); try again", why);
    return llm_fail(answer, status, "model_broken", "the model's answer broke off (%s); try again",
                    why);
}

/* A response other than 200: which error it is, and what to do. */
struct llm_refusal {
    int from, to; /* of these statuses */
    int status;
    const char *code;
    const char *advice;
};

static inline const struct llm_refusal *llm_find_refusal(int http_status)
{
    static const struct llm_refusal refusals[] = {
        {300, 399, -EINVAL, "model_unreachable", "set base_url to where it is now"},
        {401, 401, -EACCES, "model_auth", "check api_key"},
        {402, 402, -EACCES, "model_auth", "the account has no credit left"},
        {403, 403, -EACCES, "model_auth", "check api_key, and what it may use"},
        {404, 404, -ENOENT, "model_not_found", "check base_url and model"},
        {413, 413, -EMSGSIZE, "model_refused", "the conversation is too long; send less"},
        {429, 429, -EAGAIN, "model_busy", "try again later, or check the account's limits"},
        {503, 503, -EAGAIN, "model_busy", "try again later"},
        {500, 599, -EIO, "model_failed", "try again later, or look at the server"},
        {100, 599, -EINVAL, "model_refused", "the server does not take this request: check model"},
    };
    const struct llm_refusal *refusal = refusals;

    while (refusal->from != 100 && (http_status < refusal->from || http_status > refusal->to))
        refusal++;
    return refusal;
}

/* Reads what the server says of it, if that is JSON and not long. */
static inline cJSON *llm_read_refusal(struct llm_exchange *exchange)
{
    struct agent_sse_text body = {NULL, 0, 0};
    const char *data;
    long length;
    cJSON *json;

    while ((length = agent_http_read(exchange->http, &data)) > 0) {
        if (agent_sse_add(&body, data, (size_t)length, 64 * 1024) < 0)
            break;
    }
    json = length == 0 && body.length > 0 ? json_parse(body.data) : NULL;
    free(body.data);
    return json;
}

static inline int llm_refuse(struct llm_exchange *exchange, int http_status)
{
    const struct llm_refusal *refusal = llm_find_refusal(http_status);
    const char *retry_after = agent_http_header(exchange->http, "Retry-After");
    cJSON *json = llm_read_refusal(exchange);
    const char *error = llm_error_text(json);
    int status;

    exchange->may_try_again = refusal->status == -EAGAIN;
    if (retry_after && *retry_after >= '0' && *retry_after <= '9')
        exchange->wait_s = strtol(retry_after, NULL, 10);
    status = llm_fail(exchange->answer, refusal->status, refusal->code,
                      "the model's server answered %d%s%.300s%s; %s", http_status,
                      error ? " (" : "", error ? error : "", error ? ")" : "", refusal->advice);
    cJSON_Delete(json);
    return status;
}

/* ---- private: the request ----------------------------------------------- */

/* The first of these that is set. */
static inline const char *llm_setting(const char *set, const char *variable)
{
    return set && *set ? set : getenv(variable) ? getenv(variable) : "";
}

static inline const char *llm_base_url(const struct agent_llm *llm)
{
    const char *url = llm_setting(llm->base_url, "OPENAI_BASE_URL");

    if (*url == '\0' && *llm_setting(llm->api_key, "OPENAI_API_KEY"))
        url = "https://api.openai.com/v1";
    return url;
}

/* The two strings as one, in memory that the caller frees. */
static inline char *llm_join(const char *a, size_t length, const char *b)
{
    char *joined = (char *)malloc(length + strlen(b) + 1);

    if (joined) {
        memcpy(joined, a, length);
        memcpy(joined + length, b, strlen(b) + 1);
    }
    return joined;
}

static inline char *llm_url(const struct agent_llm *llm)
{
    const char *base = llm_base_url(llm);
    size_t length = strlen(base);

    while (length > 0 && base[length - 1] == '/')
        length--;
    return llm_join(base, length, "/chat/completions");
}

/* The request's JSON; of members that are there twice the option counts. */
static inline char *llm_body(const struct agent_llm *llm, const cJSON *messages, const cJSON *tools)
{
    cJSON *body = cJSON_CreateObject(), *stream_options = cJSON_CreateObject();
    const cJSON *option;
    char *text;

    cJSON_AddStringToObject(body, "model", llm_setting(llm->model, "OPENAI_MODEL"));
    cJSON_AddBoolToObject(body, "stream", 1);
    cJSON_AddBoolToObject(stream_options, "include_usage", 1);
    cJSON_AddItemToObject(body, "stream_options", stream_options);
    cJSON_AddItemReferenceToObject(body, "messages", (cJSON *)(uintptr_t)messages);
    if (cJSON_GetArraySize(tools) > 0)
        cJSON_AddItemReferenceToObject(body, "tools", (cJSON *)(uintptr_t)tools);
    cJSON_ArrayForEach(option, llm->options) {
        cJSON_DeleteItemFromObjectCaseSensitive(body, option->string);
        cJSON_AddItemToObject(body, option->string, cJSON_Duplicate(option, 1));
    }
    text = cJSON_PrintUnformatted(body);
    cJSON_Delete(body);
    return text;
}

static inline int llm_open(struct llm_exchange *exchange, const char *body)
{
    const struct agent_llm *llm = exchange->llm;
    const char *key = llm_setting(llm->api_key, "OPENAI_API_KEY");
    char *url = llm_url(llm);
    char *authorization = llm_join("Authorization: Bearer ", strlen("Authorization: Bearer "), key);
    const char *headers[] = {"Content-Type: application/json", "Accept: text/event-stream",
                             *key ? authorization : NULL, NULL};
    struct agent_http_request request = {
        .url = url,
        .headers = headers,
        .body = body,
        .idle_timeout_ms = llm->idle_timeout_ms ? llm->idle_timeout_ms : AGENT_LLM_IDLE_MS,
        .max_bytes = AGENT_LLM_STREAM_MAX,
        .http2 = 1};
    int status = -ENOMEM;

    if (url && authorization)
        status = agent_http_open(&request, &exchange->http);
    free(url);
    free(authorization);
    if (status == -EINVAL)
        return llm_fail(exchange->answer, status, "not_configured",
                        "base_url must begin with http:// or https://, and neither it nor api_key "
                        "may have a line break");
    return llm_fail_to_keep(exchange->answer, status);
}

/* ---- private: one attempt ----------------------------------------------- */

/* The response is over, without an error of its own. */
static inline int llm_check_end(struct llm_exchange *exchange)
{
    struct agent_llm_answer *answer = exchange->answer;

    if (exchange->done || *answer->finish_reason)
        return 0;
    if (!exchange->events)
        return llm_fail(answer, -EPROTO, "model_broken",
                        "the model's server did not answer with a stream of events; check "
                        "base_url");
    return llm_fail(answer, -ECONNRESET, "model_broken",
                    "the model's answer ended too early; try again");
}

static inline int llm_read(struct llm_exchange *exchange)
{
    struct agent_llm_answer *answer = exchange->answer;
    const char *data;
    long length;
    int status = 0;

    while (status == 0 && (length = agent_http_read(exchange->http, &data)) != 0) {
        if (length < 0 && length != -ECANCELED && *answer->finish_reason)
            return 0; /* it was whole */
        if (length < 0)
            return llm_fail_to_read(exchange, (int)length);
        status = agent_sse_feed(&exchange->sse, data, (size_t)length, llm_take_event, exchange);
    }
    if (status == 0)
        status = agent_sse_feed(&exchange->sse, "\n\n", 2, llm_take_event, exchange);
    if (status < 0)
        return answer->code ? status : llm_fail_to_keep(answer, status);
    return llm_check_end(exchange);
}

static inline void llm_exchange_finish(struct llm_exchange *exchange)
{
    size_t i;

    for (i = 0; i < exchange->call_count; i++) {
        free(exchange->calls[i].id);
        free(exchange->calls[i].name);
        free(exchange->calls[i].arguments.data);
    }
    free(exchange->answer->text);
    exchange->answer->text = exchange->text.data;
    agent_sse_finish(&exchange->sse);
    agent_http_close(exchange->http);
}

static inline int llm_attempt(struct llm_exchange *exchange, const char *body)
{
    int status = llm_open(exchange, body), http_status;

    if (status < 0)
        return status;
    http_status = agent_http_status(exchange->http);
    if (http_status < 0)
        return llm_fail_to_connect(exchange, http_status);
    if (http_status != 200)
        return llm_refuse(exchange, http_status);
    status = llm_read(exchange);
    if (status == 0)
        status = llm_fail_to_keep(exchange->answer, llm_finish_calls(exchange));
    return status;
}

/* How long to wait; runs that fail together do not come back together. */
static inline uint32_t llm_pause_ms(const struct llm_exchange *exchange, unsigned attempt)
{
    uint32_t scatter = (uint32_t)((uintptr_t)exchange >> 12) * UINT32_C(2654435761) >> 24;
    uint32_t most = AGENT_LLM_WAIT_MAX_S * 1000u;
    uint32_t pause;

    if (exchange->wait_s >= 0)
        pause = exchange->wait_s < AGENT_LLM_WAIT_MAX_S ? (uint32_t)exchange->wait_s * 1000 : most;
    else
        pause = (uint32_t)AGENT_LLM_BACKOFF_MS << (attempt < 7 ? attempt - 1 : 6);
    return (pause < most ? pause : most) + scatter;
}

static inline int llm_ask(const struct agent_llm *llm, const char *body,
                          struct agent_llm_answer *answer)
{
    unsigned attempts = llm->attempts ? llm->attempts : AGENT_LLM_ATTEMPTS, attempt;
    struct llm_exchange *exchange = (struct llm_exchange *)malloc(sizeof *exchange);
    int status = exchange ? 0 : llm_fail_to_keep(answer, -ENOMEM);

    for (attempt = 1; exchange; attempt++) {
        memset(exchange, 0, sizeof *exchange);
        exchange->llm = llm;
        exchange->answer = answer;
        exchange->wait_s = -1;
        status = llm_attempt(exchange, body);
        llm_exchange_finish(exchange);
        if (status == 0 || !exchange->may_try_again || attempt >= attempts)
            break;
        agent_log(AGENT_LOG_WARN, "attempt %u of %u: %s", attempt, attempts, answer->message);
        answer->code = NULL;
        status = agent_sleep(llm_pause_ms(exchange, attempt));
        if (status < 0) {
            status = llm_fail_to_keep(answer, status);
            break;
        }
        answer->message[0] = '\0';
    }
    free(exchange);
    return status;
}

/* ---- private: what is emitted at the end -------------------------------- */

/*
 * Emits tool_call {id, name, arguments}; for those that keep agent_llm_chat()
 * from it. As emit_event(). [run]
 */
static inline int agent_llm_emit_call(const struct agent_llm_call *call)
{
    cJSON *tree = json_parse(call->arguments), *event = cJSON_CreateObject();

    cJSON_AddStringToObject(event, "id", call->id);
    cJSON_AddStringToObject(event, "name", call->name);
    if (tree) /* as they are: numbers keep all their digits */
        cJSON_AddRawToObject(event, "arguments", call->arguments);
    else
        cJSON_AddStringToObject(event, "arguments", call->arguments);
    cJSON_Delete(tree);
    return emit_json("tool_call", event);
}

static inline int llm_emit_usage(const struct agent_llm_answer *answer)
{
    cJSON *event;

    if (answer->input_tokens < 0 && answer->output_tokens < 0)
        return 0;
    event = cJSON_CreateObject();
    if (answer->input_tokens >= 0)
        cJSON_AddNumberToObject(event, "input_tokens", (double)answer->input_tokens);
    if (answer->output_tokens >= 0)
        cJSON_AddNumberToObject(event, "output_tokens", (double)answer->output_tokens);
    return emit_json("usage", event);
}

static inline int llm_emit_end(const struct agent_llm *llm, struct agent_llm_answer *answer)
{
    int status = 0;
    size_t i;

    for (i = 0; i < answer->call_count && status == 0; i++) {
        if (!(llm->quiet & AGENT_LLM_QUIET_CALLS))
            status = agent_llm_emit_call(&answer->calls[i]);
    }
    if (status == 0 && !(llm->quiet & AGENT_LLM_QUIET_USAGE))
        status = llm_emit_usage(answer);
    return llm_fail_to_keep(answer, status);
}

/* ---- for authors -------------------------------------------------------- */

/*
 * Takes base_url, api_key and model from a plugin's configuration, as create()
 * gets it, parsed. They stay the tree's, which must live as long. [any-thread]
 */
static inline void agent_llm_configure(struct agent_llm *llm, const cJSON *settings)
{
    llm->base_url = json_string(settings, "base_url", NULL);
    llm->api_key = json_string(settings, "api_key", NULL);
    llm->model = json_string(settings, "model", NULL);
}

/* 1 if there is a model to ask, by the struct or the environment; else 0. [any-thread] */
static inline int agent_llm_is_configured(const struct agent_llm *llm)
{
    return *llm_base_url(llm) && *llm_setting(llm->model, "OPENAI_MODEL");
}

/* Appends a message to a conversation, which is a JSON array. 0 or -ENOMEM. [any-thread] */
static inline int agent_llm_say(cJSON *messages, const char *role, const char *content)
{
    cJSON *message = cJSON_CreateObject();

    if (cJSON_AddStringToObject(message, "role", role) &&
        cJSON_AddStringToObject(message, "content", content) &&
        cJSON_AddItemToArray(messages, message))
        return 0;
    cJSON_Delete(message);
    return -ENOMEM;
}

/* Appends the model's answer with its tool calls. 0 or -ENOMEM. [any-thread] */
static inline int agent_llm_say_answer(cJSON *messages, const struct agent_llm_answer *answer)
{
    int status = agent_llm_say(messages, "assistant", answer->text);
    cJSON *message, *calls;
    size_t i;

    if (status < 0 || answer->call_count == 0)
        return status;
    message = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    calls = cJSON_AddArrayToObject(message, "tool_calls");
    for (i = 0; i < answer->call_count; i++) {
        cJSON *call = cJSON_CreateObject(), *function = cJSON_AddObjectToObject(call, "function");
        cJSON_AddStringToObject(call, "id", answer->calls[i].id);
        cJSON_AddStringToObject(call, "type", "function");
        cJSON_AddStringToObject(function, "name", answer->calls[i].name);
        cJSON_AddStringToObject(function, "arguments", answer->calls[i].arguments);
        cJSON_AddItemToArray(calls, call);
    }
    return (size_t)cJSON_GetArraySize(calls) == answer->call_count ? 0 : -ENOMEM;
}

/* Appends what a tool returned for the call. 0 or -ENOMEM. [any-thread] */
static inline int agent_llm_say_result(cJSON *messages, const struct agent_llm_call *call,
                                       const char *content)
{
    int status = agent_llm_say(messages, "tool", content);
    cJSON *message;

    if (status < 0)
        return status;
    message = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    return cJSON_AddStringToObject(message, "tool_call_id", call->id) ? 0 : -ENOMEM;
}

/*
 * Asks the model and waits until its answer is whole. messages is the
 * conversation and tools what the model may call, both as OpenAI's protocol has
 * them; tools may be NULL. They are only read, and may be changed afterwards.
 * *answer is filled in whatever the result, and is the caller's then, until
 * agent_llm_answer_finish(). On error answer->code and answer->message say it:
 *
 *     not_configured    -EINVAL        no model, or a bad base_url
 *     model_unreachable -ECONNREFUSED, -EHOSTUNREACH, -ECONNRESET, -EPROTO, -EINVAL
 *     model_auth        -EACCES        401, 402, 403
 *     model_not_found   -ENOENT        404
 *     model_refused     -EINVAL, -EMSGSIZE   another 4xx
 *     model_busy        -EAGAIN        429, 503, at the last attempt, too
 *     model_failed      -EIO           5xx, or an error in the middle of the answer
 *     model_timeout     -ETIMEDOUT     nothing came for idle_timeout_ms
 *     model_broken      -ECONNRESET, -EPROTO   the answer broke off, or is no such stream
 *     model_too_large   -EMSGSIZE      more than AGENT_LLM_ANSWER_MAX, or another limit above
 *     cancelled         -ECANCELED
 *     out_of_memory     -ENOMEM
 *
 * [run]
 */
static inline int agent_llm_chat(const struct agent_llm *llm, const cJSON *messages,
                                 const cJSON *tools, struct agent_llm_answer *answer)
{
    const char *agent = ctx_get("run.agent");
    char *body;
    int status;

    memset(answer, 0, sizeof *answer);
    answer->input_tokens = answer->output_tokens = -1;
    if (!agent_llm_is_configured(llm)) {
        status = llm_fail(answer, -EINVAL, "not_configured",
                          "no model is configured: set model, and base_url or api_key, in the "
                          "section [plugin %s] of the configuration, or OPENAI_MODEL, and "
                          "OPENAI_BASE_URL or OPENAI_API_KEY, in the server's environment",
                          agent ? agent : "NAME");
    } else {
        body = llm_body(llm, messages, tools);
        status = body ? llm_ask(llm, body, answer) : llm_fail_to_keep(answer, -ENOMEM);
        cJSON_free(body);
    }
    if (answer->text == NULL)
        answer->text = llm_copy("");
    if (answer->text == NULL)
        return llm_fail_to_keep(answer, -ENOMEM);
    return status == 0 ? llm_emit_end(llm, answer) : status;
}

/* Frees what the answer holds. [any-thread] */
static inline void agent_llm_answer_finish(struct agent_llm_answer *answer)
{
    size_t i;

    for (i = 0; i < answer->call_count; i++) {
        free(answer->calls[i].id);
        free(answer->calls[i].name);
        free(answer->calls[i].arguments);
    }
    free(answer->calls);
    free(answer->text);
    answer->calls = NULL;
    answer->call_count = 0;
    answer->text = NULL;
}

#ifdef __cplusplus
}
#endif
#endif
