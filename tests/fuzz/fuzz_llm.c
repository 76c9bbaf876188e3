/*
 * Any bytes are a model server's answer. The first three say its status, how large its pieces are,
 * and how it ends. The text that is emitted is the answer's; a success has a text or calls, and
 * the calls have names and ids of their own; a failure says why. Nothing is asked again after the
 * first piece.
 */
#include "fuzz.h"

#define AGENT_NO_SHORT_NAMES
#include "base/buf.h"
#include "base/json.h"

#include <agent_llm.h>

#include <assert.h>

static struct {
    int status;
    long end; /* what http_read() returns after the last piece */
    size_t piece;
    const char *data;
    size_t left;
    struct buf text; /* of the text events */
    int opened;
} server;

static int on_emit_event(const char *type, const char *json)
{
    assert(*type);
    return json_check(json, strlen(json)) < 0 ? -EINVAL : 0; /* as the host does */
}

static int on_emit_text(const char *utf8)
{
    if (json_escaped_length(utf8, strlen(utf8)) < 0)
        return -EINVAL;
    buf_puts(&server.text, utf8);
    return 0;
}

static const char *on_ctx_get(const char *key)
{
    (void)key;
    return NULL;
}

static int on_sleep(uint32_t ms)
{
    assert(ms <= AGENT_LLM_WAIT_MAX_S * 1000 + 256);
    return 0;
}

static void on_log(enum agent_log_level level, const char *format, va_list args)
{
    (void)level;
    (void)format;
    (void)args;
}

static int on_open(const struct agent_http_request *request, struct agent_http **http)
{
    assert(json_check(request->body, strlen(request->body)) >= 0);
    assert(buf_length(&server.text) == 0);
    server.opened++;
    *http = (struct agent_http *)&server;
    return 0;
}

static int on_status(struct agent_http *http)
{
    (void)http;
    return server.status;
}

static const char *on_header(struct agent_http *http, const char *name)
{
    (void)http;
    if (strcmp(name, "Location") == 0)
        return server.piece % 3 ? "/v2" : "http://elsewhere.test/";
    return server.piece % 2 ? "30" : NULL;
}

static long on_read(struct agent_http *http, const char **data)
{
    size_t length = server.piece < server.left ? server.piece : server.left;

    (void)http;
    if (length == 0)
        return server.end;
    *data = server.data;
    server.data += length;
    server.left -= length;
    return (long)length;
}

static const char *on_error(struct agent_http *http)
{
    (void)http;
    return "it failed";
}

static void on_close(struct agent_http *http)
{
    (void)http;
}

static void check_answer(int status, const struct agent_llm_answer *answer)
{
    cJSON *messages = cJSON_CreateArray();

    assert((status < 0) == (answer->code != NULL) && (status < 0) == (*answer->message != '\0'));
    assert(answer->input_tokens >= -AGENT_JSON_INTEGER_MAX &&
           answer->output_tokens <= AGENT_JSON_INTEGER_MAX);
    assert(server.opened <= AGENT_LLM_ATTEMPTS + 5 * AGENT_LLM_ATTEMPTS);
    if (status == 0) {
        assert(strlen(answer->text) == buf_length(&server.text) &&
               memcmp(answer->text, buf_data(&server.text), strlen(answer->text)) == 0);
        assert(*answer->text || answer->call_count > 0);
        assert(agent_llm_say_answer(messages, answer) == 0);
    }
    for (size_t i = 0; i < answer->call_count && status == 0; i++) {
        assert(*answer->calls[i].id && *answer->calls[i].name && *answer->calls[i].arguments);
        for (size_t j = 0; j < i; j++)
            assert(strcmp(answer->calls[i].id, answer->calls[j].id) != 0);
    }
    cJSON_Delete(messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 200, 200, 200,           429,
                                   400, 500, 307, -ECONNREFUSED, -ETIMEDOUT};
    static const long ends[] = {0, -ECONNRESET, -ETIMEDOUT, -ECANCELED, -EMSGSIZE};
    static const struct agent_host host = {.size = sizeof host,
                                           .abi = AGENT_ABI,
                                           .emit_event = on_emit_event,
                                           .emit_text = on_emit_text,
                                           .ctx_get = on_ctx_get,
                                           .sleep = on_sleep,
                                           .log = on_log,
                                           .http_open = on_open,
                                           .http_status = on_status,
                                           .http_header = on_header,
                                           .http_read = on_read,
                                           .http_error = on_error,
                                           .http_close = on_close};
    const struct agent_llm llm = {.base_url = "http://127.0.0.1/v1", .model = "m"};
    struct agent_llm_answer answer;
    cJSON *messages;
    int status;

    if (size < 3)
        return 0;
    messages = cJSON_CreateArray();
    agent_host_table = &host;
    server.status = statuses[data[0] % (sizeof statuses / sizeof *statuses)];
    server.piece = 1 + data[1];
    server.end = ends[data[2] % (sizeof ends / sizeof *ends)];
    server.data = (const char *)data + 3;
    server.left = size - 3;
    server.opened = 0;
    status = agent_llm_chat(&llm, messages, NULL, &answer);
    check_answer(status, &answer);
    agent_llm_answer_finish(&answer);
    cJSON_Delete(messages);
    buf_finish(&server.text);
    return 0;
}
