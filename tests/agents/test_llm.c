/*
 * agent_llm.h against what servers send, as raw bytes. tests/agents/llm/NAME.case are tables; each
 * case has a line "case NAME", what is sent, and what comes of it:
 *
 *     case refusal
 *     c {"refusal":"I cannot"}
 *     stop
 *     text I cannot
 *
 * Sent; \n \r \t \\ and \xHH are escapes in all of these:
 *
 *     c DELTA         an event with one choice and this delta
 *     d DATA          an event with this data
 *     r BYTES         these bytes, and nothing else
 *     stop            an event with finish_reason stop, then [DONE]; done: only [DONE]
 *     status NUMBER   of the response, 200 without it
 *     header LINE     of the response
 *     cut             the connection breaks off at the end
 *     next            the bytes that follow answer the next request
 *     set JSON        the agent's settings, beside its base_url and its model
 *
 * What comes of it; what is not named must not come:
 *
 *     text WORDS, reasoning WORDS   all deltas, joined
 *     call ID NAME ARGUMENTS        ID is made for an id that the server did not send
 *     usage INPUT OUTPUT
 *     ends REASON                   the answer is a success; without it, with stop
 *     fails CODE | WORDS | WORDS    the run failed, with these words in its message
 *     asks COUNT                    requests; 1 without it
 *     waits MS                      in all, at least; and less than a second more
 *     sends WORDS                   in the last request's URL, headers or body
 *
 * Each case is run with its bytes whole, one by one, and cut in two at each place, or at PLACES.
 */
#include "../case.h"

#include <sluice/agent_llm.h>
#include <sluice/agent_test.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESPONSES 8
#define HEADERS   8
#define PLACES    250 /* at which a response is cut, at most */

struct buffer {
    char data[256 * 1024];
    size_t length;
};

struct response {
    struct buffer *body;
    char headers[HEADERS][512];
    size_t header_count;
    int status, error;
};

static struct the_case {
    char name[256], settings[4096];
    struct response responses[RESPONSES];
    size_t response_count;
    struct buffer expected; /* the transcript */
    char fails[1024], sends[8][1024];
    size_t send_count;
    unsigned asks;
    long waits;
} the_case;

/* ---- the agent ---------------------------------------------------------- */

static cJSON *settings;

static int handle(void *self, const char *input)
{
    struct agent_llm llm = {0};
    struct agent_llm_answer answer;
    cJSON *messages = cJSON_CreateArray(), *tools = json_parse("[{\"type\":\"function\"}]");
    int status = agent_llm_configure(&llm, settings);

    (void)self;
    agent_llm_say(messages, "user", input);
    if (status == 0) {
        status = agent_llm_chat(&llm, messages, tools, &answer);
        if (status == 0)
            status = agent_emit_json("ends", cJSON_CreateString(answer.finish_reason));
        else
            run_fail(answer.code, "%s", answer.message);
        agent_llm_answer_finish(&answer);
    }
    cJSON_Delete(tools);
    cJSON_Delete(messages);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "table", .version = "1.0", .handle = handle)

/* ---- the table ---------------------------------------------------------- */

static void add(struct buffer *buffer, const char *bytes, size_t length)
{
    ck_assert_uint_lt(buffer->length + length, sizeof buffer->data);
    memcpy(buffer->data + buffer->length, bytes, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

static void add_text(struct buffer *buffer, const char *text)
{
    add(buffer, text, strlen(text));
}

/* Add a text with escapes. */
static void add_escaped(struct buffer *buffer, const char *text)
{
    static const char from[] = "nrt\\", to[] = "\n\r\t\\";

    for (; *text; text++) {
        const char *escape = *text == '\\' && text[1] ? strchr(from, text[1]) : NULL;
        char byte = *text;
        if (escape) {
            byte = to[escape - from];
            text++;
        } else if (*text == '\\' && text[1] == 'x') {
            char digits[3] = {text[2], text[3], '\0'};
            byte = (char)strtol(digits, NULL, 16);
            text += 3;
        }
        add(buffer, &byte, 1);
    }
}

static struct response *last_response(void)
{
    return &the_case.responses[the_case.response_count - 1];
}

static void begin_response(void)
{
    struct response *response;

    ck_assert_uint_lt(the_case.response_count++, RESPONSES);
    response = last_response();
    free(response->body);
    memset(response, 0, sizeof *response);
    response->body = calloc(1, sizeof *response->body);
    response->status = 200;
}

static void begin_case(const char *name)
{
    struct buffer *bodies[RESPONSES];

    for (size_t i = 0; i < RESPONSES; i++)
        bodies[i] = the_case.responses[i].body;
    memset(&the_case, 0, sizeof the_case);
    for (size_t i = 0; i < RESPONSES; i++)
        the_case.responses[i].body = bodies[i];
    snprintf(the_case.name, sizeof the_case.name, "%s", name);
    the_case.asks = 1;
    the_case.waits = -1;
    begin_response();
}

/* Add an event to what is expected: type and JSON with one string. */
static void expect(const char *type, const char *member, const char *words)
{
    struct buffer *text = calloc(1, sizeof *text);
    cJSON *json = cJSON_CreateObject();
    char *printed;

    add_escaped(text, words);
    cJSON_AddStringToObject(json, member, text->data);
    printed = cJSON_PrintUnformatted(json);
    add_text(&the_case.expected, type);
    add_text(&the_case.expected, " ");
    add_text(&the_case.expected, printed);
    add_text(&the_case.expected, "\n");
    cJSON_free(printed);
    cJSON_Delete(json);
    free(text);
}

/* Take the line; return 0 if there is no such line. */
static int take(const char *word, const char *rest)
{
    struct buffer *body = last_response()->body;
    char line[4096], *end;

    if (strcmp(word, "c") == 0) {
        add_text(body, "data: {\"choices\":[{\"index\":0,\"delta\":");
        add_escaped(body, rest);
        add_text(body, ",\"finish_reason\":null}]}\n\n");
    } else if (strcmp(word, "d") == 0) {
        add_text(body, "data: ");
        add_escaped(body, rest);
        add_text(body, "\n\n");
    } else if (strcmp(word, "r") == 0) {
        add_escaped(body, rest);
    } else if (strcmp(word, "stop") == 0) {
        add_text(body, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"
                       "\n\ndata: [DONE]\n\n");
    } else if (strcmp(word, "done") == 0) {
        add_text(body, "data: [DONE]\n\n");
    } else if (strcmp(word, "status") == 0) {
        last_response()->status = atoi(rest);
    } else if (strcmp(word, "header") == 0) {
        ck_assert_uint_lt(last_response()->header_count + 1, HEADERS);
        snprintf(last_response()->headers[last_response()->header_count++], 512, "%s", rest);
    } else if (strcmp(word, "cut") == 0) {
        last_response()->error = -ECONNRESET;
    } else if (strcmp(word, "next") == 0) {
        begin_response();
    } else if (strcmp(word, "set") == 0) {
        snprintf(the_case.settings, sizeof the_case.settings, "%s", rest);
    } else if (strcmp(word, "text") == 0 || strcmp(word, "reasoning") == 0) {
        expect(word, "delta", rest);
    } else if (strcmp(word, "call") == 0) {
        char id[64], name[64];
        int at = 0;
        ck_assert_int_eq(sscanf(rest, "%63s %63s %n", id, name, &at), 2);
        snprintf(line, sizeof line, "tool_call {\"id\":\"%s\",\"name\":\"%s\",\"arguments\":%s}\n",
                 id, name, rest + at);
        add_text(&the_case.expected, line);
    } else if (strcmp(word, "usage") == 0) {
        long in = strtol(rest, &end, 10), out = strtol(end, NULL, 10);
        snprintf(line, sizeof line, "usage {\"input_tokens\":%ld,\"output_tokens\":%ld}\n", in,
                 out);
        add_text(&the_case.expected, line);
    } else if (strcmp(word, "ends") == 0) {
        snprintf(line, sizeof line, "ends \"%s\"\n", rest);
        add_text(&the_case.expected, line);
    } else if (strcmp(word, "fails") == 0) {
        snprintf(the_case.fails, sizeof the_case.fails, "%s", rest);
    } else if (strcmp(word, "asks") == 0) {
        the_case.asks = (unsigned)atoi(rest);
    } else if (strcmp(word, "waits") == 0) {
        the_case.waits = atol(rest);
    } else if (strcmp(word, "sends") == 0) {
        ck_assert_uint_lt(the_case.send_count, 8);
        snprintf(the_case.sends[the_case.send_count++], 1024, "%s", rest);
    } else {
        return 0;
    }
    return 1;
}

/* ---- a run -------------------------------------------------------------- */

static struct agent_test *test;

#define MADE_LENGTH 21

/* Return 1 if the library made this id, and it differs from the id before. */
static int is_made(const char *id)
{
    static char last[MADE_LENGTH + 1];
    int is_new = strlen(id) == MADE_LENGTH && strncmp(id, "call_", 5) == 0 &&
                 strspn(id + 5, "0123456789abcdef") == MADE_LENGTH - 5 && strcmp(id, last) != 0;

    if (is_new)
        memcpy(last, id, MADE_LENGTH);
    return is_new;
}

/* Return the transcript, with the deltas of neighbours joined, and without its end. */
static const char *joined_transcript(void)
{
    static struct buffer joined;
    struct buffer *delta = calloc(1, sizeof *delta);
    size_t count = agent_test_events(test);

    joined.length = 0;
    add_text(&joined, "");
    for (size_t i = 0; i < count; i++) {
        const struct agent_test_emitted *event = agent_test_event(test, i);
        const char *next = i + 1 < count ? agent_test_event(test, i + 1)->type : "";
        cJSON *json = cJSON_Parse(event->json);
        if (strcmp(event->type, "text") == 0 || strcmp(event->type, "reasoning") == 0) {
            add_text(delta, json_string(json, "delta", ""));
            if (strcmp(next, event->type) != 0) {
                char *printed;
                cJSON *whole = cJSON_CreateObject();
                cJSON_AddStringToObject(whole, "delta", delta->data);
                printed = cJSON_PrintUnformatted(whole);
                add_text(&joined, event->type);
                add_text(&joined, " ");
                add_text(&joined, printed);
                add_text(&joined, "\n");
                cJSON_free(printed);
                cJSON_Delete(whole);
                delta->length = 0;
            }
        } else {
            const char *rest = event->json;
            add_text(&joined, event->type);
            add_text(&joined, " ");
            if (is_made(json_string(json, "id", ""))) {
                add_text(&joined, "{\"id\":\"made");
                rest += strlen("{\"id\":\"") + MADE_LENGTH;
            }
            add_text(&joined, rest);
            add_text(&joined, "\n");
        }
        cJSON_Delete(json);
    }
    free(delta);
    return joined.data;
}

/* Script the responses, the first in pieces that end at `cut`, or of one byte if it is 0. */
static void script(size_t cut)
{
    for (size_t i = 0; i < the_case.response_count; i++) {
        struct response *response = &the_case.responses[i];
        const char *headers[HEADERS + 1] = {NULL};
        size_t length = response->body->length, count = 0, at, next;
        const char **pieces = calloc(length + 3, sizeof *pieces);

        for (size_t j = 0; j < response->header_count; j++)
            headers[j] = response->headers[j];
        for (at = 0; at < length; at = next) {
            next = cut == 0 ? at + 1 : at < cut && cut < length ? cut : length;
            pieces[count] = strndup(response->body->data + at, next - at);
            count++;
        }
        agent_test_answer(test, &(struct agent_test_response){.status = response->status,
                                                              .headers = headers,
                                                              .body = pieces,
                                                              .error = response->error});
        for (at = 0; at < count; at++)
            free((char *)(uintptr_t)pieces[at]);
        free(pieces);
    }
}

static void check_sent(const char *where)
{
    const struct agent_test_requested *request = agent_test_request(test, the_case.asks - 1);

    for (size_t i = 0; i < the_case.send_count; i++) {
        const char *words = the_case.sends[i];
        int is_absent = *words == '!';
        words += is_absent;
        ck_assert_msg(is_absent ==
                          !(strstr(request->url, words) || strstr(request->headers, words) ||
                            strstr(request->body, words)),
                      "%s: '%s' in %s\n%s\n%s", where, the_case.sends[i], request->url,
                      request->headers, request->body);
    }
}

static void check_failure(const char *where)
{
    char words[1024], *word, *left;

    snprintf(words, sizeof words, "%s", the_case.fails);
    word = strtok_r(words, " ", &left);
    ck_assert_msg(strcmp(agent_test_code(test), word) == 0, "%s: %s: %s", where,
                  agent_test_code(test), agent_test_message(test));
    while ((word = strtok_r(NULL, "|", &left))) {
        word += strspn(word, " ");
        for (size_t end = strlen(word); end > 0 && word[end - 1] == ' ';)
            word[--end] = '\0';
        ck_assert_msg(strstr(agent_test_message(test), word) != NULL, "%s: '%s' in: %s", where,
                      word, agent_test_message(test));
    }
}

static void run_once(size_t cut)
{
    char where[512];
    uint64_t took;

    snprintf(where, sizeof where, "%s, cut at %zu", the_case.name, cut);
    script(cut);
    agent_test_run(test, "\"hi\"");
    ck_assert_msg(strcmp(agent_test_status(test), *the_case.fails ? "failed" : "finished") == 0,
                  "%s: %s: %s\n%s", where, agent_test_status(test), agent_test_message(test),
                  agent_test_transcript(test));
    ck_assert_msg(strcmp(joined_transcript(), the_case.expected.data) == 0,
                  "%s:\n%s---- expected:\n%s", where, joined_transcript(), the_case.expected.data);
    if (*the_case.fails)
        check_failure(where);
    ck_assert_msg(agent_test_requests(test) == the_case.asks, "%s: asks %zu times", where,
                  agent_test_requests(test));
    took = agent_test_elapsed_ms(test);
    if (the_case.waits >= 0)
        ck_assert_msg(took >= (uint64_t)the_case.waits && took < (uint64_t)the_case.waits + 1000,
                      "%s: took %d ms", where, (int)took);
    check_sent(where);
}

static void run_case(void)
{
    static const char base[] = "{\"base_url\":\"http://model.test/v1\",\"model\":\"m\"}";
    cJSON *more = *the_case.settings ? cJSON_Parse(the_case.settings) : cJSON_CreateObject();
    size_t length = the_case.responses[0].body->length, step = length / PLACES + 1;

    ck_assert_msg(more != NULL, "%s: set: no JSON", the_case.name);
    if (*the_case.fails == '\0' && strstr(the_case.expected.data, "ends \"") == NULL)
        add_text(&the_case.expected, "ends \"stop\"\n");
    settings = cJSON_Parse(base);
    while (more->child) {
        cJSON *item = cJSON_DetachItemViaPointer(more, more->child);
        cJSON_DeleteItemFromObject(settings, item->string);
        cJSON_AddItemToObject(settings, item->string, item);
    }
    run_once(length + 1);
    run_once(0);
    for (size_t cut = 1; cut < length; cut += step)
        run_once(cut);
    cJSON_Delete(more);
    cJSON_Delete(settings);
}

static void run_table(const char *name)
{
    const char *source = getenv("SLUICE_SRCDIR");
    char path[4096], *line = NULL;
    size_t room = 0, cases = 0;
    ssize_t length;
    FILE *file;

    snprintf(path, sizeof path, "%s/tests/agents/llm/%s.case", source ? source : ".", name);
    file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    test = agent_test_open(agent_plugin_entry, "{}");
    while ((length = getline(&line, &room, file)) >= 0) {
        char *rest;
        if (length > 0 && line[length - 1] == '\n')
            line[length - 1] = '\0';
        if (*line == '\0' || *line == '#')
            continue;
        rest = strchr(line, ' ');
        if (rest)
            *rest++ = '\0';
        if (strcmp(line, "case") == 0) {
            if (cases++ > 0)
                run_case();
            begin_case(rest ? rest : "");
        } else {
            ck_assert_msg(take(line, rest ? rest : ""), "%s: no such line: %s", the_case.name,
                          line);
        }
    }
    run_case();
    for (size_t i = 0; i < RESPONSES; i++) {
        free(the_case.responses[i].body);
        the_case.responses[i].body = NULL;
    }
    free(line);
    fclose(file);
    agent_test_close(test);
}

CASE(text)
{
    run_table("text");
}

CASE(ends)
{
    run_table("ends");
}

CASE(calls)
{
    run_table("calls");
}

CASE(errors)
{
    run_table("errors");
}

CASE(requests)
{
    run_table("requests");
}

/* ---- streams that are long, and that are mutated ------------------------ */

static void open_plain(void)
{
    settings = cJSON_Parse("{\"base_url\":\"http://model.test/v1\",\"model\":\"m\"}");
    test = agent_test_open(agent_plugin_entry, "{}");
}

static void close_plain(void)
{
    agent_test_close(test);
    cJSON_Delete(settings);
}

#define C(delta) \
    "data: {\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}\n\n"
#define STOP "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"

/* Return so many bytes of base64 between two texts; the caller frees them. */
static char *with_blob(const char *before, size_t length, const char *after)
{
    char *text = malloc(strlen(before) + length + strlen(after) + 1), *at = text;

    at = stpcpy(at, before);
    memset(at, 'A', length);
    strcpy(at + length, after);
    return text;
}

static void run_blob(const char *before, size_t length, const char *after)
{
    char *blob = with_blob(before, length, after);
    const char *body[] = {C("{\"content\":\"a\"}"), blob, C("{\"content\":\"b\"}") STOP DONE, NULL};

    agent_test_answer(test, &(struct agent_test_response){.body = body});
    agent_test_run(test, "\"hi\"");
    free(blob);
}

CASES("long", .setup = open_plain, .teardown = close_plain);

CASE_LOOP(picture_is_left_out, 0, 2)
{
    size_t length = _i ? 20 * 1024 * 1024 : 1500 * 1000;

    run_blob("data: {\"choices\":[{\"delta\":{\"images\":[{\"image_url\":{\"url\":"
             "\"data:image/png;base64,",
             length, "\"}}]}}]}\n\n");
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_str_eq(agent_test_text(test), "ab");
    run_blob(
        "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":"
        "\"image_url\",\"image_url\":{\"url\":\"\\u0041\\\"",
        length, "\\\\\"}}]}}]}\n\n");
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_str_eq(agent_test_text(test), "axb");
}

CASE(long_text_comes_whole)
{
    run_blob("data: {\"choices\":[{\"delta\":{\"content\":\"", 2000 * 1000, "\"}}]}\n\n");
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_uint_eq(strlen(agent_test_text(test)), 2 + 2000 * 1000);
}

CASE(long_arguments_come_whole)
{
    run_blob("data: "
             "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"x\","
             "\"arguments\":{\"url\":\"",
             200 * 1000, "\"}}}]}}]}\n\n");
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_uint_gt(strlen(agent_test_event(test, 2)->json), 200 * 1000);
}

CASE(limit_is_named)
{
    run_blob("data: {\"choices\":[{\"delta\":{\"content\":\"", 9 * 1024 * 1024, "\"}}]}\n\n");
    ck_assert_str_eq(agent_test_code(test), "model_too_large");
    ck_assert_ptr_nonnull(strstr(agent_test_message(test), "larger than the 8 MiB"));
    run_blob("data: {\"choices\":[{\"delta\":{\"content\":\"", 5 * 1024 * 1024, "\"}}]}\n\n");
    ck_assert_str_eq(agent_test_code(test), "model_too_large");
    ck_assert_ptr_nonnull(strstr(agent_test_message(test), "larger than the 4 MiB"));
}

/* A stream's pieces, in the order in which they are sent, and what they say. */
struct piece {
    const char *bytes, *text;
};

static const struct piece plain_stream[] = {
    {C("{\"role\":\"assistant\",\"content\":\"\"}"), ""},
    {C("{\"content\":\"one \"}"), "one "},
    {C("{\"content\":[{\"type\":\"text\",\"text\":\"two \"}]}"), "two "},
    {": keep-alive\n\n", ""},
    {C("{\"refusal\":\"three \"}"), "three "},
    {C("{\"content\":\"four \",\"images\":[{\"url\":\"data:\"}]}"), "four "},
    {"data: \n\n", ""},
    {C("{\"content\":\"\\u00e9\\ud83d\\ude00\"}"), "\xc3\xa9\xf0\x9f\x98\x80"},
    {STOP, ""},
    {"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n", ""},
    {DONE, ""},
};

#define PIECES (sizeof plain_stream / sizeof *plain_stream)

static uint32_t next_random(uint32_t *state, uint32_t below)
{
    *state = *state * UINT32_C(1664525) + UINT32_C(1013904223);
    return (*state >> 8) % below;
}

/* Cut, merge or reorder the stream by the number; fill in the bytes, and the text that begins in
 * them. */
static void mutate(uint32_t seed, struct buffer *bytes, struct buffer *text)
{
    struct piece pieces[PIECES];
    uint32_t state = seed * UINT32_C(2654435761), kind = seed % 4, merges = 0;
    size_t begins[PIECES];

    memcpy(pieces, plain_stream, sizeof pieces);
    for (uint32_t swaps = kind >= 2 ? 1 + next_random(&state, 4) : 0; swaps > 0; swaps--) {
        uint32_t a = next_random(&state, PIECES), b = next_random(&state, PIECES);
        struct piece kept = pieces[a];
        pieces[a] = pieces[b];
        pieces[b] = kept;
    }
    if (kind != 0 && kind != 2)
        merges = 1 + next_random(&state, 3);
    for (size_t i = 0; i < PIECES; i++) {
        begins[i] = bytes->length;
        add_text(bytes, pieces[i].bytes);
        if (merges > 0 &&
            next_random(&state, 3) == 0) { /* without the line end, or with half of it */
            merges--;
            bytes->length -= 1 + next_random(&state, 2);
        }
    }
    if (kind == 0 || (kind == 3 && next_random(&state, 2)))
        bytes->length = next_random(&state, (uint32_t)bytes->length);
    bytes->data[bytes->length] = '\0';
    for (size_t i = 0; i < PIECES; i++) {
        if (begins[i] < bytes->length)
            add_text(text, pieces[i].text);
    }
}

CASES("mutated", .setup = open_plain, .teardown = close_plain);

/* It is the whole text, or a failure that says why. */
CASE(streams)
{
    unsigned finished = 0, count = 1000;

    for (uint32_t seed = 0; seed < count; seed++) {
        struct buffer *bytes = calloc(1, sizeof *bytes), *text = calloc(1, sizeof *text);
        const char *body[] = {NULL, NULL};
        mutate(seed, bytes, text);
        body[0] = bytes->data;
        agent_test_answer(test, &(struct agent_test_response){
                                    .body = body, .error = seed % 8 < 4 ? -ECONNRESET : 0});
        agent_test_run(test, "\"hi\"");
        if (strcmp(agent_test_status(test), "finished") == 0) {
            finished++;
            ck_assert_msg(strcmp(agent_test_text(test), text->data) == 0,
                          "seed %u: '%s' of '%s':\n%s", seed, agent_test_text(test), text->data,
                          bytes->data);
        } else {
            ck_assert_msg(strncmp(agent_test_code(test), "model_", 6) == 0 &&
                              strlen(agent_test_message(test)) > 20,
                          "seed %u: %s: %s", seed, agent_test_code(test), agent_test_message(test));
        }
        free(text);
        free(bytes);
    }
    ck_assert_uint_gt(finished, count / 10);
    ck_assert_uint_lt(finished, count);
}
