/*
 * The stream of a server, and the answer in it.
 *
 *     bytes ── strings that nobody reads are cut (text.c)
 *       └─ lines ── events: agent_sse.h        other lines: take_line()
 *            └─ text of an event ── one or more JSON values, [DONE], or nothing
 *                 └─ chunk: error? usage, choices ── choice: delta or message, finish_reason
 *                      └─ reasoning, content, refusal, tool calls
 *
 * The law: an answer is a success if something of it was understood (a text, a refusal, a tool
 * call), and if its end was told: by [DONE], or by a finish_reason after which no piece came. All
 * else is a failure that quotes the first thing that was not understood. So what is unknown is
 * skipped, but noted; and judge() looks at the whole in the end.
 *
 * After [DONE] the response's rest is read if no finish_reason has come: a piece there says that
 * [DONE] was not the end. A connection that breaks off after the end was told does not matter.
 *
 * A response that is no stream of events (a JSON document, from servers that do not know `stream`;
 * lines of JSON; an error) is read by the same functions: its lines are no event's, so take_line()
 * takes each that is JSON, and keeps all others as a document for the end.
 */
#include "exchange.h"

#include <ctype.h>
#include <strings.h>

#define READ_MAX (2 * AGENT_LLM_ANSWER_MAX - 2) /* bytes of a line, an event, and a document */
#define PART_MAX (128 * 1024)                   /* bytes of a text in one event of the run */

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

/* ---- what is not understood --------------------------------------------- */

static void note(struct llm_stream *stream, const char *text)
{
    if (stream->unknown[0] == '\0')
        agent_llm_quote(stream->unknown, sizeof stream->unknown, text);
}

static void note_json(struct llm_stream *stream, const cJSON *json)
{
    char *text = stream->unknown[0] ? NULL : cJSON_PrintUnformatted(json);

    if (text)
        note(stream, text);
    cJSON_free(text);
}

/* ---- pieces ------------------------------------------------------------- */

static int fail_after_done(struct llm_exchange *exchange)
{
    return agent_llm_fail(
        exchange->answer, -EPROTO, "model_broken",
        "the model's answer went on after its end, which [DONE] told; check the server");
}

/* Count bytes of the answer; from the first piece on there is no other attempt. */
static int count(struct llm_exchange *exchange, size_t bytes)
{
    struct llm_stream *stream = &exchange->stream;

    if (stream->done)
        return fail_after_done(exchange);
    stream->size += bytes;
    stream->ended = stream->no_words = 0;
    exchange->answer->begun = 1;
    if (stream->size > AGENT_LLM_ANSWER_MAX)
        return agent_llm_fail(
            exchange->answer, -EMSGSIZE, "model_too_large",
            "the model's answer is larger than the %d MiB that this host accepts; "
            "ask for less, or set a limit such as max_tokens",
            AGENT_LLM_ANSWER_MAX >> 20);
    return 0;
}

/* Emit reasoning, in parts if it is long; each is cut at a character. */
static int emit_reasoning(char *text)
{
    size_t length = strlen(text), part;
    int status = 0;

    while (status == 0 && length > 0) {
        cJSON *event = cJSON_CreateObject();
        char kept;
        part = length;
        if (part > PART_MAX) {
            for (part = PART_MAX; ((unsigned char)text[part] & 0xc0) == 0x80 && part > 1;)
                part--;
        }
        kept = text[part];
        text[part] = '\0';
        cJSON_AddStringToObject(event, "delta", text);
        text[part] = kept;
        status = agent_emit_json("reasoning", event);
        text += part;
        length -= part;
    }
    return status;
}

/* Keep a piece of text or reasoning, and emit it. */
static int take_words(struct llm_exchange *exchange, const char *piece, struct llm_half *half,
                      struct agent_sse_text *kept, int (*emit)(char *text))
{
    char *text;
    int status;

    if (piece == NULL || *piece == '\0')
        return 0;
    status = count(exchange, strlen(piece));
    if (status < 0)
        return status;
    text = agent_llm_join(half, piece);
    if (text == NULL)
        return -ENOMEM;
    status = agent_sse_add(kept, text, strlen(text), AGENT_LLM_ANSWER_MAX);
    if (status == 0 && !(exchange->llm->quiet & AGENT_LLM_QUIET_TEXT))
        status = emit(text);
    free(text);
    return status;
}

static int emit_piece(char *text)
{
    return emit_text(text);
}

static int take_text(struct llm_exchange *exchange, const char *piece)
{
    struct llm_stream *stream = &exchange->stream;

    return take_words(exchange, piece, &stream->text_half, &stream->text, emit_piece);
}

static int take_reasoning(struct llm_exchange *exchange, const char *piece)
{
    struct llm_stream *stream = &exchange->stream;

    return take_words(exchange, piece, &stream->reasoning_half, &stream->reasoning, emit_reasoning);
}

static int take_refusal(struct llm_exchange *exchange, const char *piece)
{
    if (piece && *piece)
        exchange->answer->refused = 1;
    return take_text(exchange, piece);
}

/* ---- content ------------------------------------------------------------ */

typedef int take_piece(struct llm_exchange *exchange, const char *piece);

/*
 * Take a text, in whatever it is wrapped: a string, a number, a list of parts, or a part, which has
 * its text in a member. What kind of text a part is, its type says.
 */
static int take_content(struct llm_exchange *exchange, const cJSON *content, take_piece *take,
                        int nesting)
{
    static const char *const names[] = {"text",  "thinking", "reasoning", "refusal", "content",
                                        "value", "summary",  "parts",     NULL};
    const cJSON *part, *text = NULL;
    const char *type;
    char *printed;
    size_t i;
    int status = 0;

    if (content == NULL || cJSON_IsNull(content) || cJSON_IsFalse(content))
        return 0;
    if (cJSON_IsString(content))
        return take(exchange, content->valuestring);
    if (cJSON_IsNumber(content)) {
        printed = cJSON_PrintUnformatted(content);
        status = printed ? take(exchange, printed) : -ENOMEM;
        cJSON_free(printed);
        return status;
    }
    if (cJSON_IsArray(content) && nesting < 4) {
        cJSON_ArrayForEach(part, content) {
            if (status == 0)
                status = take_content(exchange, part, take, nesting + 1);
        }
        return status;
    }
    type = agent_json_string(content, "type", "");
    for (i = 0; names[i] && text == NULL; i++)
        text = member(content, names[i]);
    if (text == NULL || nesting >= 4) {
        note_json(&exchange->stream, content);
        return 0;
    }
    if (strncmp(type, "thinking", 8) == 0 || strncmp(type, "reasoning", 9) == 0)
        take = take_reasoning;
    else if (strcmp(type, "refusal") == 0)
        take = take_refusal;
    return take_content(exchange, text, take, nesting + 1);
}

/* Return the first of the members that says something, or NULL. */
static const cJSON *first_of(const cJSON *object, const char *const *names)
{
    const cJSON *value = NULL;

    for (; *names && agent_llm_is_empty(value); names++)
        value = member(object, *names);
    return value;
}

/* Note what a delta has that is none of this. */
static void note_delta(struct llm_stream *stream, const cJSON *delta)
{
    static const char *const names[] = {
        "role",          "name",      "content",           "refusal", "tool_calls",
        "function_call", "reasoning", "reasoning_content", NULL};
    const cJSON *value;
    size_t i;

    cJSON_ArrayForEach(value, delta) {
        for (i = 0; names[i] && value->string && strcmp(names[i], value->string) != 0;)
            i++;
        if (names[i] == NULL && !agent_llm_is_empty(value))
            note_json(stream, delta);
    }
    value = member(delta, "tool_calls");
    if (value == NULL)
        value = member(delta, "function_call");
    if (!agent_llm_is_empty(value))
        note_json(stream, value);
}

/* Take a delta, or the message that a server sends in its place. */
static int take_delta(struct llm_exchange *exchange, const cJSON *delta)
{
    static const char *const reasonings[] = {"reasoning_content", "reasoning", "thinking",
                                             "reasoning_details", NULL};
    struct llm_stream *stream = &exchange->stream;
    const cJSON *reasoning;
    size_t before = stream->size, bytes = stream->calls.bytes;
    int status = stream->done && delta->child ? fail_after_done(exchange) : 0, said;

    reasoning = first_of(delta, reasonings);
    if (!agent_llm_is_empty(reasoning))
        stream->echoes = strcmp(reasoning->string, *reasonings) == 0;
    if (status == 0)
        status = take_content(exchange, reasoning, take_reasoning, 0);
    if (status == 0)
        status = take_content(exchange, member(delta, "content"), take_text, 0);
    if (status == 0)
        status = take_content(exchange, member(delta, "refusal"), take_refusal, 0);
    if (status < 0)
        return status;
    said = agent_llm_calls_take(&stream->calls, delta);
    if (said == -EMSGSIZE && stream->calls.count == AGENT_LLM_CALLS_MAX)
        return agent_llm_fail(exchange->answer, said, "model_too_large",
                              "the model's answer has more than the %d tool calls that this host "
                              "accepts; ask for less",
                              AGENT_LLM_CALLS_MAX);
    if (said > 0)
        said = count(exchange, stream->calls.bytes - bytes);
    if (said == 0 && stream->size == before)
        note_delta(stream, delta);
    return said;
}

/* Take a message of which each may begin with all that came before. */
static int take_message(struct llm_exchange *exchange, const cJSON *message)
{
    struct llm_stream *stream = &exchange->stream;
    const char *content = agent_json_string(message, "content", "");
    cJSON *rest;
    int status;

    if (stream->text.length == 0 || strncmp(content, stream->text.data, stream->text.length) != 0)
        return take_delta(exchange, message);
    rest = cJSON_Duplicate(message, 1);
    if (rest == NULL)
        return -ENOMEM;
    cJSON_DeleteItemFromObjectCaseSensitive(rest, "content");
    cJSON_AddStringToObject(rest, "content", content + stream->text.length);
    status = take_delta(exchange, rest);
    cJSON_Delete(rest);
    return status;
}

/* ---- chunks ------------------------------------------------------------- */

static void take_count(long *count_, const cJSON *usage, const char *name, const char *other)
{
    long long number = agent_json_integer(usage, name, -1);

    if (number < 0)
        number = agent_json_integer(usage, other, -1);
    if (number > 0 || (number == 0 && *count_ < 0))
        *count_ = (long)number;
}

/* Take the counts that the usage has; others stay. */
static void take_usage(struct llm_exchange *exchange, const cJSON *usage)
{
    take_count(&exchange->answer->input_tokens, usage, "prompt_tokens", "input_tokens");
    take_count(&exchange->answer->output_tokens, usage, "completion_tokens", "output_tokens");
}

static int take_finish_reason(struct llm_exchange *exchange, const cJSON *choice)
{
    static const char *const failures[] = {
        "error",  "abort", "aborted", "network_error", "cancelled", "insufficient_system_resource",
        "failed", NULL};
    const cJSON *value = member(choice, "finish_reason");
    const char *reason = cJSON_IsObject(value) ? agent_json_string(value, "type", "")
                                               : agent_json_string(choice, "finish_reason", "");
    char said[64];
    size_t i;

    if (*reason == '\0' || strcmp(reason, "null") == 0 || strcmp(reason, "None") == 0)
        return 0;
    for (i = 0; failures[i]; i++) {
        if (strcmp(reason, failures[i]) == 0) {
            snprintf(said, sizeof said, "finish_reason %s", reason);
            return agent_llm_fail_within(exchange, cJSON_IsObject(value) ? value : NULL, said);
        }
    }
    agent_llm_quote(exchange->answer->finish_reason, sizeof exchange->answer->finish_reason,
                    reason);
    exchange->stream.ended = 1;
    exchange->stream.no_words = 0;
    return 0;
}

static int take_choice(struct llm_exchange *exchange, const cJSON *choice, long place)
{
    struct llm_stream *stream = &exchange->stream;
    const cJSON *delta = member(choice, "delta"), *message = member(choice, "message");
    const cJSON *error = member(choice, "error");
    long index = (long)agent_json_integer(choice, "index", place);
    size_t before = stream->size;
    int status = 0;

    if (!agent_llm_is_empty(error))
        return agent_llm_fail_within(exchange, choice, NULL);
    if (stream->choice < 0)
        stream->choice = index;
    if (index != stream->choice) { /* the request asks for one choice */
        stream->other |= !agent_llm_is_empty(member(delta ? delta : message, "content"));
        return 0;
    }
    take_usage(exchange, member(choice, "usage"));
    take_usage(exchange, member(delta, "usage"));
    if (cJSON_IsObject(delta))
        status = take_delta(exchange, delta);
    else if (!cJSON_IsObject(message))
        status = take_content(exchange, cJSON_IsString(delta) ? delta : member(choice, "text"),
                              take_text, 0);
    if (status == 0 && cJSON_IsObject(message) && !cJSON_IsObject(delta))
        status = take_message(exchange, message);
    else if (status == 0 && cJSON_IsObject(message) && !exchange->answer->begun)
        status = take_delta(exchange, message);
    if (status == 0 && stream->size == before && delta == NULL && message == NULL)
        note_json(stream, choice);
    if (status == 0)
        status = take_finish_reason(exchange, choice);
    if (status == 0 && stream->is_bare && cJSON_IsObject(message))
        stream->ended = 1; /* a document has its end in itself */
    return status;
}

/* Return 1 if the chunk is an error; 2 if it is one without words. */
static int is_error(const cJSON *chunk)
{
    static const char *const words[] = {"message", "detail", "msg", NULL};
    const cJSON *error = member(chunk, "error"), *said;
    const char *object = agent_json_string(chunk, "object", "");

    if (!agent_llm_is_empty(error))
        return 1;
    if (member(chunk, "choices"))
        return 0;
    said = first_of(chunk, words);
    if (strcmp(object, "error") == 0 ||
        strcmp(agent_json_string(chunk, "type", ""), "error") == 0 || cJSON_IsString(said) ||
        cJSON_IsArray(said))
        return 1;
    return error && !cJSON_IsNull(error) && !cJSON_IsFalse(error) ? 2 : 0;
}

static int take_chunk(struct llm_exchange *exchange, const cJSON *chunk)
{
    struct llm_stream *stream = &exchange->stream;
    const cJSON *choices = member(chunk, "choices"), *choice, *usage = member(chunk, "usage");
    const cJSON *theirs = member(member(chunk, "x_groq"), "usage");
    long place = 0;
    int error = is_error(chunk), status = 0;

    if (error == 1)
        return agent_llm_fail_within(exchange, chunk, NULL);
    if (error == 2)
        stream->no_words = 1;
    take_usage(exchange, usage);
    take_usage(exchange, theirs);
    if (cJSON_IsObject(choices))
        return take_choice(exchange, choices, 0);
    cJSON_ArrayForEach(choice, choices) {
        if (status == 0 && cJSON_IsObject(choice))
            status = take_choice(exchange, choice, place);
        else if (status == 0 && !cJSON_IsNull(choice))
            note_json(stream, chunk);
        place++;
    }
    if (!cJSON_IsArray(choices) && usage == NULL && theirs == NULL && !error)
        note_json(stream, chunk);
    return status;
}

/* ---- events ------------------------------------------------------------- */

static char *skip_blanks(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* Return 1 if the text is [DONE], however it is written. */
static int is_done(const char *text, size_t length)
{
    if (length > 1 && *text == '"' && text[length - 1] == '"') {
        text++;
        length -= 2;
    }
    return length == 6 && strncasecmp(text, "[DONE]", 6) == 0;
}

/* Return 1 if the text is what proxies send to keep a connection alive. */
static int is_heartbeat(const char *text)
{
    static const char *const words[] = {"ping",       "pong",      "keepalive",
                                        "keep-alive", "heartbeat", NULL};
    size_t i, length;

    text += strspn(text, " :[<(");
    length = strcspn(text, " :]>)\r\n");
    for (i = 0; words[i]; i++) {
        if (strlen(words[i]) == length && strncasecmp(text, words[i], length) == 0)
            return text[length + strspn(text + length, " :]>)\r\n")] == '\0';
    }
    return 0;
}

/* Take a text that is one JSON value, [DONE], or else. */
static int take_value(struct llm_exchange *exchange, const char *text)
{
    struct llm_stream *stream = &exchange->stream;
    cJSON *json;
    const cJSON *chunk;
    char quoted[160], *kept;
    int status = 0;

    if (is_done(text, strlen(text))) {
        stream->done = 1;
        return 0;
    }
    if (is_heartbeat(text))
        return 0;
    kept = agent_llm_keep_arguments(text);
    json = agent_json_parse(kept ? kept : text);
    free(kept);
    if (cJSON_IsObject(json)) {
        status = take_chunk(exchange, json);
    } else if (cJSON_IsArray(json) && cJSON_IsObject(json->child)) {
        cJSON_ArrayForEach(chunk, json) {
            if (status == 0)
                status = take_chunk(exchange, chunk);
        }
    } else if (json && !cJSON_IsArray(json)) {
        note(stream, text);
    } else {
        agent_llm_quote(quoted, sizeof quoted, text);
        status = agent_llm_fail(exchange->answer, -EPROTO, "model_broken",
                                "the model's server sent what is not JSON of an answer (%s); check "
                                "the server",
                                quoted);
    }
    cJSON_Delete(json);
    return status;
}

/* Take an event's text, in which servers and proxies may have put several values. */
static int take_values(struct llm_exchange *exchange, char *text)
{
    char *end, kept;
    int status = 0;

    agent_llm_repair(text);
    text = skip_blanks(text);
    for (end = text + strlen(text); end > text && isspace((unsigned char)end[-1]);)
        *--end = '\0';
    while (status == 0 && *text) {
        end = agent_llm_value_end(text);
        if (end == NULL || *end == '\0')
            return take_value(exchange, text);
        kept = *end;
        *end = '\0';
        status = take_value(exchange, text);
        *end = kept;
        text = skip_blanks(end);
        if (strncmp(text, "data:", 5) == 0)
            text = skip_blanks(text + 5);
    }
    return status;
}

static int take_event(void *arg, const char *type, const char *data)
{
    struct llm_exchange *exchange = arg;
    char *text = (char *)(uintptr_t)data; /* the stream's own */
    cJSON *json;
    int status;

    exchange->stream.events = 1;
    if (strcmp(type, "error") != 0)
        return take_values(exchange, text);
    agent_llm_repair(text);
    json = agent_json_parse(text);
    if (json ? agent_llm_is_empty(json) : *skip_blanks(text) == '\0') {
        exchange->stream.no_words = 1;
        status = 0;
    } else {
        status = agent_llm_fail_within(exchange, json, text);
    }
    cJSON_Delete(json);
    return status;
}

/* Add a line to the data of the event that is being read. */
static int add_data(struct llm_stream *stream, const char *text)
{
    int status = agent_sse_add(&stream->sse.data, text, strlen(text), READ_MAX);

    return status == 0 ? agent_sse_add(&stream->sse.data, "\n", 1, READ_MAX + 1) : status;
}

/* Take a line that is no event's. */
static int take_line(void *arg, const char *line)
{
    struct llm_exchange *exchange = arg;
    struct llm_stream *stream = &exchange->stream;
    char *text = skip_blanks((char *)(uintptr_t)line);
    cJSON *json;
    int status;

    if (*text == ':') { /* a comment, unless it has lost its line end */
        text = strstr(text, "data:");
        return text ? add_data(stream, text + 5) : 0;
    }
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    if (strncasecmp(text, "data:", 5) == 0)
        return add_data(stream, text + 5);
    if (strncmp(text, "error:", 6) == 0)
        return take_event(arg, "error", skip_blanks(text + 6));
    if (*text == '\0')
        return 0;
    if (*text == '{' && stream->sse.data.length > 0)
        return add_data(stream, text);
    if (stream->bare.length == 0 && *text == '{') {
        agent_llm_repair(text);
        json = agent_json_parse(text);
        cJSON_Delete(json);
        if (json) {
            stream->is_bare = 1;
            status = take_value(exchange, text);
            stream->is_bare = 0;
            return status;
        }
    }
    note(stream, text);
    status = agent_sse_add(&stream->bare, text, strlen(text), READ_MAX);
    return status == 0 ? agent_sse_add(&stream->bare, "\n", 1, READ_MAX) : status;
}

/* ---- the end ------------------------------------------------------------ */

/* Take what waited for its other half. */
static int take_halves(struct llm_exchange *exchange)
{
    struct llm_stream *stream = &exchange->stream;
    int status = 0;

    if (stream->text_half.length > 0) {
        char rest[8] = "";
        memcpy(rest, stream->text_half.bytes, stream->text_half.length);
        rest[stream->text_half.length] = '\0';
        agent_llm_mend(rest);
        stream->text_half.length = 0;
        status = agent_sse_add(&stream->text, rest, strlen(rest), AGENT_LLM_ANSWER_MAX);
        if (status == 0 && !(exchange->llm->quiet & AGENT_LLM_QUIET_TEXT))
            status = emit_text(rest);
    }
    return status;
}

/* Take a document that is no stream of events. */
static int take_document(struct llm_exchange *exchange)
{
    struct llm_stream *stream = &exchange->stream;
    char *end = stream->bare.length > 0 ? agent_llm_value_end(stream->bare.data) : NULL;

    if (end == NULL || *skip_blanks(end) != '\0')
        return 0;
    stream->is_bare = 1;
    stream->unknown[0] = '\0';
    return take_values(exchange, stream->bare.data);
}

/* Decide what the response was, now that nothing more comes. */
static int judge(struct llm_exchange *exchange)
{
    struct llm_stream *stream = &exchange->stream;
    struct agent_llm_answer *answer = exchange->answer;
    const char *reason = answer->finish_reason, *unknown = stream->unknown;
    const char *open = *unknown ? ": " : "";
    size_t i;

    if (stream->no_words)
        return agent_llm_fail_within(exchange, NULL, NULL);
    if (!stream->events && stream->bare.length > 0) {
        agent_llm_quote(stream->unknown, sizeof stream->unknown, stream->bare.data);
        open = ": ";
    }
    if (!stream->done && !stream->ended && !stream->events && !answer->begun)
        return agent_llm_fail(answer, -EPROTO, "model_broken",
                              "the model's server did not answer with a stream of events%s%s; "
                              "check base_url",
                              open, unknown);
    if (!stream->done && !stream->ended)
        return agent_llm_fail(answer, -ECONNRESET, "model_broken",
                              "the model's answer ended too early%s%s; try again", open, unknown);
    if (stream->other && !*reason)
        return agent_llm_fail(answer, -EPROTO, "model_broken",
                              "the model's server sent several choices, and does not say which of "
                              "them is whole; check options");
    for (i = 0; i < stream->calls.count; i++) {
        if (stream->calls.list[i].name == NULL)
            return agent_llm_fail(answer, -EPROTO, "model_broken",
                                  "the model's server sent a tool call without a name%s%s; check "
                                  "the server",
                                  open, unknown);
    }
    if (stream->calls.count == 0 &&
        (strcmp(reason, "tool_calls") == 0 || strcmp(reason, "function_call") == 0))
        return agent_llm_fail(answer, -EPROTO, "model_broken",
                              "the model's answer ends with finish_reason %s, but no call was "
                              "understood%s%s; check the server",
                              reason, open, unknown);
    if (stream->calls.count > 0 || stream->text.length > 0)
        return 0;
    if (strcmp(reason, "length") == 0)
        return agent_llm_fail(answer, -EPROTO, "model_broken",
                              "the model reached its limit %s (finish_reason length); set a higher "
                              "max_tokens",
                              stream->reasoning.length > 0 ? "while it was still reasoning"
                                                           : "before its first word");
    if (strcmp(reason, "content_filter") == 0)
        return agent_llm_fail(answer, -EPROTO, "model_broken",
                              "the model's server held the answer back (finish_reason "
                              "content_filter); ask in other words");
    return agent_llm_fail(answer, -EPROTO, "model_broken",
                          "the model's server sent nothing that is an answer%s%s%s%s; check the "
                          "server",
                          *reason ? " before its finish_reason " : "", reason, open, unknown);
}

/* ---- reading ------------------------------------------------------------ */

/* Feed bytes, but for those that nobody reads. */
static int feed(struct llm_exchange *exchange, const char *data, size_t length)
{
    struct llm_stream *stream = &exchange->stream;
    const char *at, *from = data, *end = data + length;
    int status = 0;

    for (at = data; at < end && status == 0; at++) {
        if (!agent_llm_filter(&stream->filter, *at))
            continue;
        if (at > from)
            status = agent_sse_feed(&stream->sse, from, (size_t)(at - from), take_event, exchange);
        from = at + 1;
    }
    if (status == 0)
        status = agent_sse_feed(&stream->sse, from, (size_t)(end - from), take_event, exchange);
    if (status == -EMSGSIZE && exchange->answer->code == NULL &&
        stream->size <= AGENT_LLM_ANSWER_MAX)
        return agent_llm_fail(exchange->answer, status, "model_too_large",
                              "an event of the model's answer is larger than the %d MiB that this "
                              "host reads at once; ask for less",
                              (READ_MAX + 2) >> 20);
    return status;
}

/* Return 1 if the bytes so far end with a line, or with what is one without its end. */
static int is_line(const struct agent_sse *sse)
{
    return sse->line.length == 0 ||
           (sse->line.length > 5 && strncmp(sse->line.data, "data:", 5) == 0 &&
            strcmp(skip_blanks(sse->line.data + 5), "[DONE]") == 0);
}

/* Return 1 if the bytes so far end with the beginning of an event, and no more of it. */
static int is_beginning(const struct agent_sse *sse)
{
    return sse->line.length > 0 && sse->line.length <= 6 &&
           strncmp(sse->line.data, "data: ", sse->line.length) == 0;
}

/* Return 1 if the end was told, and no bytes came after it that may be a piece. */
static int is_told(const struct llm_stream *stream)
{
    return (stream->done || stream->ended) && stream->sse.line.length == 0 &&
           stream->sse.data.length == 0;
}

int agent_llm_stream_read(struct llm_exchange *exchange)
{
    struct llm_stream *stream = &exchange->stream;
    struct agent_llm_answer *answer = exchange->answer;
    const char *data;
    long length = 0;
    int status = 0;

    stream->choice = -1;
    stream->sse.max = READ_MAX;
    stream->sse.other = take_line;
    while (status == 0 && !(stream->done && (stream->ended || *answer->finish_reason)) &&
           (length = agent_http_read(exchange->http, &data)) > 0)
        status = feed(exchange, data, (size_t)length);
    if (is_beginning(&stream->sse))
        stream->ended = 0;
    if (status == 0 && (length >= 0 || is_line(&stream->sse))) /* the last empty line may lack */
        status = feed(exchange, "\n\n", 2);
    if (status == 0 && length < 0 && (length == -ECANCELED || !is_told(stream)))
        return agent_llm_fail_to_read(exchange, (int)length);
    if (status == 0 && !stream->done && !stream->ended)
        status = take_document(exchange);
    if (status == 0)
        status = take_halves(exchange);
    if (status < 0)
        return answer->code ? status : agent_llm_check(answer, status);
    status = judge(exchange);
    if (status == 0)
        status = agent_llm_check(answer, agent_llm_calls_hand_over(&stream->calls, answer));
    if (status == 0 && stream->echoes && answer->call_count > 0) {
        answer->reasoning = stream->reasoning.data;
        memset(&stream->reasoning, 0, sizeof stream->reasoning);
    }
    return status;
}

void agent_llm_stream_finish(struct llm_stream *stream)
{
    agent_llm_calls_finish(&stream->calls);
    agent_sse_finish(&stream->sse);
    free(stream->reasoning.data);
    free(stream->bare.data);
}
