/*
 * Chat with a model: one request, an answer in pieces, and what can go wrong.
 *
 *     agent_llm_chat()
 *       1. make the request's JSON
 *       2. ask(): up to `attempts` times, until an attempt succeeds or no further one
 *          is of use:
 *            attempt(): send ── status 200 ── read the stream ── hand over the calls
 *                         │         │               │
 *                  fail_to_connect  refuse    fail_to_read
 *       3. emit the tool calls and the usage
 *
 * Each attempt has a struct llm_exchange of its own, which is cleared before the next one.
 * The answer outlives it: its text and calls are handed over when an attempt ends.
 *
 * Only a failure before the first piece may lead to another attempt: a client that has
 * read the beginning of one answer must not read the beginning of another after it.
 *
 * Each function that fails sets answer->code and answer->message, and returns a
 * negative errno. To add an error, add it to the table of agent_llm_chat() in
 * agent_llm.h.
 */
#include "exchange.h"

int agent_llm_is_configured(const struct agent_llm *llm)
{
    return *agent_llm_base_url(llm) && *agent_llm_model(llm);
}

/* ---- attempts ----------------------------------------------------------- */

static int attempt(struct llm_exchange *exchange, const char *body)
{
    int status = agent_llm_send(exchange, body);

    if (status < 0)
        return status;
    return status == 200 ? agent_llm_stream_read(exchange) : agent_llm_refuse(exchange, status);
}

/* Free the exchange's memory, except its text, which becomes the answer's. */
static void finish_exchange(struct llm_exchange *exchange)
{
    free(exchange->answer->text);
    exchange->answer->text = exchange->stream.text.data;
    agent_llm_stream_finish(&exchange->stream);
    agent_http_close(exchange->http);
}

/* Return the pause before the next attempt, scattered so that runs do not return together. */
static uint32_t pause_ms(const struct llm_exchange *exchange, unsigned attempt_number)
{
    uint32_t scatter = (uint32_t)((uintptr_t)exchange >> 12) * UINT32_C(2654435761) >> 24;
    uint32_t most = AGENT_LLM_WAIT_MAX_S * 1000u;
    uint32_t pause;

    if (exchange->wait_ms >= 0)
        pause = exchange->wait_ms < (long)most ? (uint32_t)exchange->wait_ms : most;
    else
        pause = (uint32_t)AGENT_LLM_BACKOFF_MS << (attempt_number < 7 ? attempt_number - 1 : 6);
    return (pause < most ? pause : most) + scatter;
}

/* Attempt until the answer is there or another attempt is of no use. */
static int ask(const struct agent_llm *llm, const char *body, struct agent_llm_answer *answer)
{
    unsigned attempts = llm->attempts ? llm->attempts : AGENT_LLM_ATTEMPTS, number;
    struct llm_exchange *exchange = (struct llm_exchange *)malloc(sizeof *exchange);
    int status;

    if (exchange == NULL)
        return agent_llm_check(answer, -ENOMEM);
    for (number = 1;; number++) {
        memset(exchange, 0, sizeof *exchange);
        exchange->llm = llm;
        exchange->answer = answer;
        exchange->wait_ms = -1;
        status = attempt(exchange, body);
        finish_exchange(exchange);
        if (status == 0 || !exchange->may_try_again || number >= attempts)
            break;
        agent_log(AGENT_LOG_WARN, "attempt %u of %u: %s", number, attempts, answer->message);
        answer->code = NULL;
        status = agent_sleep(pause_ms(exchange, number));
        if (status < 0) {
            status = agent_llm_check(answer, status);
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
    char *body;
    int status;

    memset(answer, 0, sizeof *answer);
    answer->input_tokens = answer->output_tokens = -1;
    if (!agent_llm_is_configured(llm)) {
        status =
            agent_llm_fail(answer, -EINVAL, "not_configured",
                           "no model is configured: set model, and base_url or api_key, in the "
                           "section [plugin %s] of the configuration, or OPENAI_MODEL, and "
                           "OPENAI_BASE_URL or OPENAI_API_KEY, in the server's environment and "
                           "env = OPENAI_* in that section",
                           agent_llm_agent());
    } else {
        body = agent_llm_body(llm, messages, tools);
        status = body ? ask(llm, body, answer) : agent_llm_check(answer, -ENOMEM);
        cJSON_free(body);
    }
    if (answer->text == NULL)
        answer->text = agent_llm_copy("", 0);
    if (answer->text == NULL)
        return agent_llm_check(answer, -ENOMEM);
    return status == 0 ? agent_llm_check(answer, emit_end(llm, answer)) : status;
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
    free(answer->reasoning);
    cJSON_Delete(answer->extra_content);
    answer->calls = NULL;
    answer->call_count = 0;
    answer->text = answer->reasoning = NULL;
    answer->extra_content = NULL;
}
