/*
 * Chat with a model: one request, an answer in pieces, and what can go wrong.
 *
 *     agent_llm_chat()
 *       1. make the request's JSON
 *       2. ask(): up to `attempts` times, until an attempt succeeds or no further one
 *          is of use:
 *            attempt(): open ── status 200 ── read the stream ── hand over the calls
 *                         │         │               │
 *                  fail_to_connect  refuse    fail_to_read
 *       3. emit the tool calls and the usage
 *
 * Each attempt has a struct exchange of its own, which is cleared before the next one.
 * The answer outlives it: its text and calls are handed over when an attempt ends.
 *
 * The stream is a sequence of events, each a JSON chunk; take_event() takes one. It
 * emits text and reasoning at once, and collects the pieces of tool calls, because
 * servers cut arguments anywhere. A stream is complete after "[DONE]" or after a
 * chunk with a finish_reason; servers leave out either of them.
 *
 * Only a failure before the first piece may lead to another attempt: a client that has
 * read the beginning of one answer must not read the beginning of another after it.
 *
 * Each function that fails sets answer->code and answer->message, and returns a
 * negative errno. To add an error, add it to the table of agent_llm_chat() in
 * agent_llm.h.
 */
#include "agent_llm.h"

/* A tool call whose pieces arrive. */
struct call {
    long index; /* the server's; -1 if it gives none */
    char *id, *name;
    struct agent_sse_text arguments;
};

/* One attempt: a request and its response. */
struct exchange {
    const struct agent_llm *llm;
    struct agent_llm_answer *answer;
    struct agent_http *http;
    struct agent_sse sse;
    struct agent_sse_text text;
    struct call calls[AGENT_LLM_CALLS_MAX];
    size_t call_count;
    size_t size;       /* of all pieces, at most AGENT_LLM_ANSWER_MAX */
    int events;        /* an event has arrived */
    int done;          /* [DONE] has arrived */
    int may_try_again; /* no piece has arrived, and another attempt may succeed */
    long wait_s;       /* from Retry-After; -1 without it */
};

/* ---- errors ------------------------------------------------------------- */

AGENT_PRINTF(4, 5)
static int fail(struct agent_llm_answer *answer, int status, const char *code, const char *format,
                ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(answer->message, sizeof answer->message, format, args);
    va_end(args);
    answer->code = code;
    return status;
}

/* Explain a status of memory, limits, emitting or waiting, unless it is 0; return it. */
static int check(struct agent_llm_answer *answer, int status)
{
    switch (status) {
    case 0:
        return 0;
    case -ECANCELED:
        return fail(answer, status, "cancelled", "the run was cancelled");
    case -EMSGSIZE:
        return fail(answer, status, "model_too_large",
                    "the model's answer is larger than this host accepts; ask for less, or set a "
                    "limit such as max_tokens");
    case -ENOMEM:
        return fail(answer, status, "out_of_memory", "there is no memory for the answer");
    default:
        return fail(answer, status, "model_broken",
                    "the model's server sent text that is not UTF-8; check the server");
    }
}

static int fail_to_connect(struct exchange *exchange, int status)
{
    const char *why = agent_http_error(exchange->http);
    struct agent_llm_answer *answer = exchange->answer;

    if (status == -ECANCELED)
        return check(answer, status);
    if (status == -ETIMEDOUT)
        return fail(answer, status, "model_timeout",
                    "the model's server does not answer (%s); try again, or check base_url", why);
    exchange->may_try_again =
        status == -ECONNREFUSED || status == -EHOSTUNREACH || status == -ECONNRESET;
    return fail(answer, status, "model_unreachable",
                "the model's server cannot be reached (%s); check base_url, and that the server "
                "runs",
                why);
}

static int fail_to_read(struct exchange *exchange, int status)
{
    const char *why = agent_http_error(exchange->http);
    struct agent_llm_answer *answer = exchange->answer;

    if (status == -ECANCELED || status == -EMSGSIZE)
        return check(answer, status);
    if (status == -ETIMEDOUT)
        return fail(answer, status, "model_timeout",
                    "the model stopped in the middle of its answer (%s); try again", why);
    return fail(answer, status, "model_broken", "the model's answer broke off (%s); try again",
                why);
}

/* Return what the server says of an error, {"error":{"message":...}} or {"error":...}; or NULL. */
static const char *error_text(const cJSON *json)
{
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");

    if (cJSON_IsString(error))
        return error->valuestring;
    return agent_json_string(error, "message",
                             cJSON_IsObject(error) ? "it does not say why" : NULL);
}

/* Turn a response with another status than 200 into an error with advice. */
static int refuse(struct exchange *exchange, int http_status)
{
    static const struct {
        int from, to; /* HTTP statuses; the first range that matches counts */
        int status;
        const char *code;
        const char *advice;
    } refusals[] = {
        {300, 399, -EINVAL, "model_unreachable", "set base_url to the server's new address"},
        {401, 401, -EACCES, "model_auth", "check api_key"},
        {402, 402, -EACCES, "model_auth", "the account has no credit left"},
        {403, 403, -EACCES, "model_auth", "check api_key and its permissions"},
        {404, 404, -ENOENT, "model_not_found", "check base_url and model"},
        {413, 413, -EMSGSIZE, "model_refused", "the conversation is too long; send less"},
        {429, 429, -EAGAIN, "model_busy", "try again later, or check the account's limits"},
        {503, 503, -EAGAIN, "model_busy", "try again later"},
        {500, 599, -EIO, "model_failed", "try again later, or check the server"},
        {100, 599, -EINVAL, "model_refused", "the server does not take this request: check model"},
    };
    const char *retry_after = agent_http_header(exchange->http, "Retry-After");
    struct agent_sse_text body = {0};
    const char *data, *error;
    cJSON *json = NULL;
    size_t i = 0;
    long length;
    int status;

    while (refusals[i].from != 100 &&
           (http_status < refusals[i].from || http_status > refusals[i].to))
        i++;
    exchange->may_try_again = refusals[i].status == -EAGAIN;
    if (retry_after && *retry_after >= '0' && *retry_after <= '9')
        exchange->wait_s = strtol(retry_after, NULL, 10);

    /* The server's own words, if they are JSON and short. */
    while ((length = agent_http_read(exchange->http, &data)) > 0) {
        if (agent_sse_add(&body, data, (size_t)length, 64 * 1024) < 0)
            break;
    }
    if (length == 0 && body.length > 0)
        json = agent_json_parse(body.data);
    error = error_text(json);
    status = fail(exchange->answer, refusals[i].status, refusals[i].code,
                  "the model's server answered %d%s%.300s%s; %s", http_status, error ? " (" : "",
                  error ? error : "", error ? ")" : "", refusals[i].advice);
    cJSON_Delete(json);
    free(body.data);
    return status;
}

/* ---- pieces ------------------------------------------------------------- */

static char *copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copied = malloc(size);

    return copied ? memcpy(copied, text, size) : NULL;
}

/* Count a piece; from the first one on there is no other attempt. */
static int count(struct exchange *exchange, const char *piece)
{
    exchange->size += strlen(piece);
    exchange->answer->begun = 1;
    return exchange->size > AGENT_LLM_ANSWER_MAX ? -EMSGSIZE : 0;
}

static int take_text(struct exchange *exchange, const char *piece)
{
    int status;

    if (piece == NULL || *piece == '\0')
        return 0;
    status = count(exchange, piece);
    if (status == 0)
        status = agent_sse_add(&exchange->text, piece, strlen(piece), AGENT_LLM_ANSWER_MAX);
    if (status == 0 && !(exchange->llm->quiet & AGENT_LLM_QUIET_TEXT))
        status = emit_text(piece);
    return status;
}

static int take_reasoning(struct exchange *exchange, const char *piece)
{
    cJSON *event;
    int status;

    if (piece == NULL || *piece == '\0')
        return 0;
    status = count(exchange, piece);
    if (status < 0 || exchange->llm->quiet & AGENT_LLM_QUIET_TEXT)
        return status;
    event = cJSON_CreateObject();
    cJSON_AddStringToObject(event, "delta", piece);
    return agent_emit_json("reasoning", event);
}

/*
 * Return the call to which a piece with this index and id belongs, the newest first, or
 * a new call; NULL if there are too many. Some servers give no index, or the same index
 * to all calls; some repeat the id in each piece.
 */
static struct call *find_call(struct exchange *exchange, long index, const char *id)
{
    struct call *call;
    size_t i;

    for (i = exchange->call_count; i > 0; i--) {
        call = &exchange->calls[i - 1];
        if (*id && call->id && strcmp(call->id, id) != 0)
            continue;
        if (index == call->index && (index >= 0 || *id == '\0' || call->id))
            return call;
    }
    if (exchange->call_count == AGENT_LLM_CALLS_MAX)
        return NULL;
    call = &exchange->calls[exchange->call_count++];
    call->index = index;
    return call;
}

/* Keep the first text that is not empty. */
static int keep_first(char **kept, const char *text)
{
    if (*kept || *text == '\0')
        return 0;
    *kept = copy(text);
    return *kept ? 0 : -ENOMEM;
}

static int take_call_piece(struct exchange *exchange, const cJSON *piece)
{
    const cJSON *function = cJSON_GetObjectItemCaseSensitive(piece, "function");
    const char *id = agent_json_string(piece, "id", "");
    const char *name = agent_json_string(function, "name", "");
    const char *arguments = agent_json_string(function, "arguments", "");
    struct call *call = find_call(exchange, (long)agent_json_integer(piece, "index", -1), id);
    int status;

    if (call == NULL)
        return -EMSGSIZE;
    status = count(exchange, arguments);
    exchange->size += strlen(id) + strlen(name);
    if (status == 0)
        status = keep_first(&call->id, id);
    if (status == 0)
        status = keep_first(&call->name, name);
    if (status == 0)
        status =
            agent_sse_add(&call->arguments, arguments, strlen(arguments), AGENT_LLM_ANSWER_MAX);
    return status;
}

/* Take an event of the stream; 1 ends the stream. */
static int take_event(void *arg, const char *type, const char *data)
{
    struct exchange *exchange = arg;
    struct agent_llm_answer *answer = exchange->answer;
    const cJSON *choice, *delta, *usage, *piece;
    const char *error, *reasoning, *reason;
    cJSON *chunk;
    int status;

    (void)type;
    exchange->events = 1;
    if (strcmp(data, "[DONE]") == 0) {
        exchange->done = 1;
        return 1;
    }
    chunk = agent_json_parse(data);
    error = error_text(chunk);
    if (!cJSON_IsObject(chunk)) {
        status = fail(answer, -EPROTO, "model_broken",
                      "the model's server sent data that is not JSON; check the server");
        goto out;
    }
    if (error) {
        status = fail(answer, -EIO, "model_failed",
                      "the model failed in the middle of its answer (%.300s); try again", error);
        goto out;
    }
    usage = cJSON_GetObjectItemCaseSensitive(chunk, "usage");
    if (cJSON_IsObject(usage)) {
        answer->input_tokens = (long)agent_json_integer(usage, "prompt_tokens", -1);
        answer->output_tokens = (long)agent_json_integer(usage, "completion_tokens", -1);
    }

    /* The request asks for one choice, so others are ignored. */
    choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(chunk, "choices"), 0);
    delta = cJSON_GetObjectItemCaseSensitive(choice, "delta");
    reasoning = agent_json_string(delta, "reasoning_content", NULL);
    if (reasoning == NULL)
        reasoning = agent_json_string(delta, "reasoning", NULL);
    status = take_reasoning(exchange, reasoning);
    if (status == 0)
        status = take_text(exchange, agent_json_string(delta, "content", NULL));
    cJSON_ArrayForEach(piece, cJSON_GetObjectItemCaseSensitive(delta, "tool_calls")) {
        if (status == 0)
            status = take_call_piece(exchange, piece);
    }
    reason = agent_json_string(choice, "finish_reason", "");
    if (*reason)
        snprintf(answer->finish_reason, sizeof answer->finish_reason, "%s", reason);
    status = check(answer, status);
out:
    cJSON_Delete(chunk);
    return status;
}

/* Hand the calls over to the answer. A call needs an id for its result, so make one if need be. */
static int finish_calls(struct exchange *exchange)
{
    struct agent_llm_answer *answer = exchange->answer;
    size_t i;

    if (exchange->call_count == 0)
        return 0;
    answer->calls = calloc(exchange->call_count, sizeof(struct agent_llm_call));
    if (answer->calls == NULL)
        return -ENOMEM;
    for (i = 0; i < exchange->call_count; i++) {
        struct call *from = &exchange->calls[i];
        struct agent_llm_call *call = &answer->calls[answer->call_count++];
        char id[32];

        snprintf(id, sizeof id, "call_%zu", i + 1);
        call->id = from->id ? from->id : copy(id);
        call->name = from->name ? from->name : copy("");
        if (from->arguments.length > 0) {
            call->arguments = from->arguments.data;
        } else {
            call->arguments = copy("{}");
            free(from->arguments.data);
        }
        memset(from, 0, sizeof *from);
        if (call->id == NULL || call->name == NULL || call->arguments == NULL)
            return -ENOMEM;
    }
    return 0;
}

/* ---- the request -------------------------------------------------------- */

/* Return the setting, or the environment's variable if it is not set, or "". */
static const char *setting(const char *set, const char *variable)
{
    const char *value = set && *set ? set : getenv(variable);

    return value ? value : "";
}

static const char *base_url(const struct agent_llm *llm)
{
    const char *url = setting(llm->base_url, "OPENAI_BASE_URL");

    if (*url == '\0' && *setting(llm->api_key, "OPENAI_API_KEY"))
        url = "https://api.openai.com/v1";
    return url;
}

/* Return the request's JSON; an option replaces a member of the same name. */
static char *make_body(const struct agent_llm *llm, const cJSON *messages, const cJSON *tools)
{
    cJSON *body = cJSON_CreateObject(), *stream_options = cJSON_CreateObject();
    const cJSON *option;
    char *text;

    cJSON_AddStringToObject(body, "model", setting(llm->model, "OPENAI_MODEL"));
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

/* Return the first `length` bytes of a, and b after them, in memory that the caller frees. */
static char *join(const char *a, size_t length, const char *b)
{
    size_t size = strlen(b) + 1;
    char *joined = malloc(length + size);

    if (joined) {
        memcpy(joined, a, length);
        memcpy(joined + length, b, size);
    }
    return joined;
}

static int open_exchange(struct exchange *exchange, const char *body)
{
    static const char bearer[] = "Authorization: Bearer ";
    const struct agent_llm *llm = exchange->llm;
    const char *base = base_url(llm), *key = setting(llm->api_key, "OPENAI_API_KEY");
    size_t length = strlen(base);
    char *url, *authorization = join(bearer, sizeof bearer - 1, key);
    int status = -ENOMEM;

    while (length > 0 && base[length - 1] == '/')
        length--;
    url = join(base, length, "/chat/completions");
    if (url && authorization) {
        const char *headers[] = {"Content-Type: application/json", "Accept: text/event-stream",
                                 *key ? authorization : NULL, NULL};
        struct agent_http_request request = {
            .url = url,
            .headers = headers,
            .body = body,
            .idle_timeout_ms = llm->idle_timeout_ms ? llm->idle_timeout_ms : AGENT_LLM_IDLE_MS,
            .max_bytes = AGENT_LLM_STREAM_MAX,
            .http2 = 1};
        status = agent_http_open(&request, &exchange->http);
    }
    free(url);
    free(authorization);
    if (status == -EINVAL)
        return fail(exchange->answer, status, "not_configured",
                    "base_url must begin with http:// or https://, and base_url and api_key must "
                    "not contain a line break");
    return check(exchange->answer, status);
}

/* ---- attempts ----------------------------------------------------------- */

/* Read the response to the end of the answer. */
static int read_stream(struct exchange *exchange)
{
    struct agent_llm_answer *answer = exchange->answer;
    const char *data;
    long length;
    int status = 0;

    while (status == 0 && (length = agent_http_read(exchange->http, &data)) != 0) {
        if (length < 0 && length != -ECANCELED && *answer->finish_reason)
            return 0; /* the answer was complete before the connection failed */
        if (length < 0)
            return fail_to_read(exchange, (int)length);
        status = agent_sse_feed(&exchange->sse, data, (size_t)length, take_event, exchange);
    }
    if (status == 0) /* the server may leave out the last empty line */
        status = agent_sse_feed(&exchange->sse, "\n\n", 2, take_event, exchange);
    if (status < 0)
        return answer->code ? status : check(answer, status);
    if (exchange->done || *answer->finish_reason)
        return 0;
    if (!exchange->events)
        return fail(answer, -EPROTO, "model_broken",
                    "the model's server did not answer with a stream of events; check base_url");
    return fail(answer, -ECONNRESET, "model_broken",
                "the model's answer ended too early; try again");
}

static int attempt(struct exchange *exchange, const char *body)
{
    int status = open_exchange(exchange, body), http_status;

    if (status < 0)
        return status;
    http_status = agent_http_status(exchange->http);
    if (http_status < 0)
        return fail_to_connect(exchange, http_status);
    if (http_status != 200)
        return refuse(exchange, http_status);
    status = read_stream(exchange);
    if (status == 0)
        status = check(exchange->answer, finish_calls(exchange));
    return status;
}

/* Free the exchange's memory, except its text, which becomes the answer's. */
static void finish_exchange(struct exchange *exchange)
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

/* Return the pause before the next attempt, scattered so that runs do not return together. */
static uint32_t pause_ms(const struct exchange *exchange, unsigned attempt_number)
{
    uint32_t scatter = (uint32_t)((uintptr_t)exchange >> 12) * UINT32_C(2654435761) >> 24;
    uint32_t most = AGENT_LLM_WAIT_MAX_S * 1000u;
    uint32_t pause;

    if (exchange->wait_s >= 0)
        pause = exchange->wait_s < AGENT_LLM_WAIT_MAX_S ? (uint32_t)exchange->wait_s * 1000 : most;
    else
        pause = (uint32_t)AGENT_LLM_BACKOFF_MS << (attempt_number < 7 ? attempt_number - 1 : 6);
    return (pause < most ? pause : most) + scatter;
}

/* Attempt until the answer is there or another attempt is of no use. */
static int ask(const struct agent_llm *llm, const char *body, struct agent_llm_answer *answer)
{
    unsigned attempts = llm->attempts ? llm->attempts : AGENT_LLM_ATTEMPTS, number;
    struct exchange *exchange = malloc(sizeof *exchange);
    int status;

    if (exchange == NULL)
        return check(answer, -ENOMEM);
    for (number = 1;; number++) {
        memset(exchange, 0, sizeof *exchange);
        exchange->llm = llm;
        exchange->answer = answer;
        exchange->wait_s = -1;
        status = attempt(exchange, body);
        finish_exchange(exchange);
        if (status == 0 || !exchange->may_try_again || number >= attempts)
            break;
        agent_log(AGENT_LOG_WARN, "attempt %u of %u: %s", number, attempts, answer->message);
        answer->code = NULL;
        status = agent_sleep(pause_ms(exchange, number));
        if (status < 0) {
            status = check(answer, status);
            break;
        }
        answer->message[0] = '\0';
    }
    free(exchange);
    return status;
}

/* ---- the answer --------------------------------------------------------- */

int agent_llm_emit_call(const struct agent_llm_call *call)
{
    cJSON *tree = agent_json_parse(call->arguments), *event = cJSON_CreateObject();

    cJSON_AddStringToObject(event, "id", call->id);
    cJSON_AddStringToObject(event, "name", call->name);
    if (tree) /* the text itself, so that numbers keep all their digits */
        cJSON_AddRawToObject(event, "arguments", call->arguments);
    else
        cJSON_AddStringToObject(event, "arguments", call->arguments);
    cJSON_Delete(tree);
    return agent_emit_json("tool_call", event);
}

/* Emit what follows the text: tool calls and usage. */
static int emit_end(const struct agent_llm *llm, const struct agent_llm_answer *answer)
{
    cJSON *usage;
    size_t i;
    int status = 0;

    for (i = 0; i < answer->call_count && status == 0; i++) {
        if (!(llm->quiet & AGENT_LLM_QUIET_CALLS))
            status = agent_llm_emit_call(&answer->calls[i]);
    }
    if (status < 0 || llm->quiet & AGENT_LLM_QUIET_USAGE ||
        (answer->input_tokens < 0 && answer->output_tokens < 0))
        return status;
    usage = cJSON_CreateObject();
    if (answer->input_tokens >= 0)
        cJSON_AddNumberToObject(usage, "input_tokens", (double)answer->input_tokens);
    if (answer->output_tokens >= 0)
        cJSON_AddNumberToObject(usage, "output_tokens", (double)answer->output_tokens);
    return agent_emit_json("usage", usage);
}

int agent_llm_chat(const struct agent_llm *llm, const cJSON *messages, const cJSON *tools,
                   struct agent_llm_answer *answer)
{
    const char *agent = ctx_get("run.agent");
    char *body;
    int status;

    memset(answer, 0, sizeof *answer);
    answer->input_tokens = answer->output_tokens = -1;
    if (!agent_llm_is_configured(llm)) {
        status = fail(answer, -EINVAL, "not_configured",
                      "no model is configured: set model, and base_url or api_key, in the "
                      "section [plugin %s] of the configuration, or OPENAI_MODEL, and "
                      "OPENAI_BASE_URL or OPENAI_API_KEY, in the server's environment and "
                      "env = OPENAI_* in that section",
                      agent ? agent : "NAME");
    } else {
        body = make_body(llm, messages, tools);
        status = body ? ask(llm, body, answer) : check(answer, -ENOMEM);
        cJSON_free(body);
    }
    if (answer->text == NULL)
        answer->text = copy("");
    if (answer->text == NULL)
        return check(answer, -ENOMEM);
    return status == 0 ? check(answer, emit_end(llm, answer)) : status;
}

void agent_llm_answer_finish(struct agent_llm_answer *answer)
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

/* ---- the conversation --------------------------------------------------- */

void agent_llm_configure(struct agent_llm *llm, const cJSON *settings)
{
    llm->base_url = agent_json_string(settings, "base_url", NULL);
    llm->api_key = agent_json_string(settings, "api_key", NULL);
    llm->model = agent_json_string(settings, "model", NULL);
}

int agent_llm_is_configured(const struct agent_llm *llm)
{
    return *base_url(llm) && *setting(llm->model, "OPENAI_MODEL");
}

int agent_llm_say(cJSON *messages, const char *role, const char *content)
{
    cJSON *message = cJSON_CreateObject();

    if (cJSON_AddStringToObject(message, "role", role) &&
        cJSON_AddStringToObject(message, "content", content) &&
        cJSON_AddItemToArray(messages, message))
        return 0;
    cJSON_Delete(message);
    return -ENOMEM;
}

int agent_llm_say_answer(cJSON *messages, const struct agent_llm_answer *answer)
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

int agent_llm_say_result(cJSON *messages, const struct agent_llm_call *call, const char *content)
{
    int status = agent_llm_say(messages, "tool", content);
    cJSON *message;

    if (status < 0)
        return status;
    message = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    return cJSON_AddStringToObject(message, "tool_call_id", call->id) ? 0 : -ENOMEM;
}
