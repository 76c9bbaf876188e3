/*
 * What went wrong, in the server's own words, and what to do about it.
 *
 * Servers tell errors in many shapes: {"error":{"message":...}}, {"error":...}, {"message":...},
 * {"detail":...}, {"detail":[{"loc":[...],"msg":...}]}, lists of these, or no JSON at all. The
 * words are the first that find_words() meets; without any, the response's first 300 bytes stand
 * for them. The advice follows from the words, else from the status.
 *
 * To add an advice, add a row to advices[]; the first row that fits counts.
 */
#include "exchange.h"

#include <ctype.h>
#include <limits.h>
#include <strings.h>
#include <time.h>

#define WORDS_MAX   300
#define BODY_MAX    (1024 * 1024) /* bytes that are read of a refusal */
#define NESTING_MAX 6             /* of words */

int agent_llm_fail(struct agent_llm_answer *answer, int status, const char *code,
                   const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(answer->message, sizeof answer->message, format, args);
    va_end(args);
    answer->code = code;
    return status;
}

int agent_llm_check(struct agent_llm_answer *answer, int status)
{
    switch (status) {
    case 0:
        return 0;
    case -ECANCELED:
        return agent_llm_fail(answer, status, "cancelled", "the run was cancelled");
    case -EMSGSIZE:
        return agent_llm_fail(answer, status, "model_too_large",
                              "the model's answer is larger than this host accepts; ask for less, "
                              "or set a limit such as max_tokens");
    case -ENOMEM:
        return agent_llm_fail(answer, status, "out_of_memory", "there is no memory for the answer");
    default:
        return agent_llm_fail(answer, status, "model_broken",
                              "the model's server sent text that is not UTF-8; check the server");
    }
}

const char *agent_llm_agent(void)
{
    const char *agent = ctx_get("run.agent");

    return agent ? agent : "NAME";
}

/* ---- words -------------------------------------------------------------- */

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

int agent_llm_is_empty(const cJSON *value)
{
    const cJSON *child;

    if (value == NULL || cJSON_IsNull(value) || cJSON_IsFalse(value))
        return 1;
    if (cJSON_IsString(value))
        return value->valuestring[0] == '\0';
    if (cJSON_IsNumber(value))
        return value->valuedouble == 0;
    if (!cJSON_IsObject(value) && !cJSON_IsArray(value))
        return 0;
    cJSON_ArrayForEach(child, value) {
        if (!agent_llm_is_empty(child))
            return 0;
    }
    return 1;
}

/* Return the value, at most NESTING_MAX levels below, that has words, and is a string; or NULL. */
static const cJSON *find_words(const cJSON *json, int nesting)
{
    static const char *const names[] = {
        "error",  "message", "detail",  "msg",   "error_description",
        "errors", "reason",  "details", "title", NULL};
    const cJSON *found = NULL;
    size_t i;

    if (cJSON_IsString(json))
        return json->valuestring[0] ? json : NULL;
    if (nesting == NESTING_MAX)
        return NULL;
    if (cJSON_IsArray(json)) {
        const cJSON *child;
        cJSON_ArrayForEach(child, json) {
            found = found ? found : find_words(child, nesting + 1);
        }
        return found;
    }
    for (i = 0; names[i] && found == NULL; i++)
        found = find_words(member(json, names[i]), nesting + 1);
    return found;
}

static void append(char *to, size_t size, const char *between, const char *more)
{
    size_t length = strlen(to);

    if (length + 8 < size && *more) {
        snprintf(to + length, size - length, "%s", length > 0 ? between : "");
        length = strlen(to);
        agent_llm_quote(to + length, size - length, more);
    }
}

/* Append a string, or a number, that is a member. */
static void append_member(char *to, size_t size, const char *between, const cJSON *object,
                          const char *name)
{
    const cJSON *value = member(object, name);
    char number[32];

    snprintf(number, sizeof number, "%lld", agent_json_integer(object, name, 0));
    if (cJSON_IsString(value))
        append(to, size, between, value->valuestring);
    else if (cJSON_IsNumber(value))
        append(to, size, between, number);
}

/* Append where a request is wrong, as FastAPI says it: {"detail":[{"loc":["body","tools"]}]}. */
static void append_place(char *to, size_t size, const cJSON *json)
{
    const cJSON *detail = member(json, "detail"), *part;
    const cJSON *place = member(cJSON_IsArray(detail) ? detail->child : detail, "loc");

    cJSON_ArrayForEach(part, place) {
        if (cJSON_IsString(part))
            append(to, size, part == place->child ? ": " : ".", part->valuestring);
    }
}

/* What a server says of an error. */
struct words {
    char said[WORDS_MAX + 4];
    char subject[3 * WORDS_MAX]; /* the same, and the error's codes */
};

/* Read the words of JSON, or else of the text. */
static void read_words(struct words *words, const cJSON *json, const char *text)
{
    const cJSON *error, *found;
    char *printed;

    if (cJSON_IsArray(json) && json->child)
        json = json->child;
    error = member(json, "error") ? member(json, "error") : json;
    found = find_words(json, 0);
    memset(words, 0, sizeof *words);
    if (found)
        append(words->said, sizeof words->said, "", found->valuestring);
    else if (text)
        agent_llm_quote(words->said, sizeof words->said, text);
    else if (json && (printed = cJSON_PrintUnformatted(json))) {
        agent_llm_quote(words->said, sizeof words->said, printed);
        cJSON_free(printed);
    }
    append_place(words->said, sizeof words->said, json);
    append_member(words->said, sizeof words->said, ": ", member(error, "metadata"), "raw");
    append(words->subject, sizeof words->subject, " ", words->said);
    append_member(words->subject, sizeof words->subject, " ", error, "code");
    append_member(words->subject, sizeof words->subject, " ", error, "type");
    append_member(words->subject, sizeof words->subject, " ", error, "param");
}

/* ---- advice ------------------------------------------------------------- */

/* Return 1 if the words, in lower or upper case, are in the text. */
static int has(const char *text, const char *words)
{
    size_t length = strlen(words);

    for (; *text; text++) {
        if (strncasecmp(text, words, length) == 0)
            return 1;
    }
    return 0;
}

#define IN_SECTION " in the section [plugin %s]" /* %s: the agent's name */

static const struct advice {
    const char *advice;
    int is_final;          /* another attempt is of no use */
    const char *words[12]; /* one of them is in what the server says; of "a&b", both are */
} advices[] = {
    {"set stream_options = no" IN_SECTION, 0, {"stream_options"}},
    {"the conversation is too long; send less",
     0,
     {"context_length", "context length", "context size", "context window", "maximum context",
      "prompt is too long", "input is too long", "reduce the length", "too many&input tokens"}},
    {"the account has no credit left",
     1,
     {"insufficient_quota", "insufficient&balance", "insufficient&credit", "insufficient&fund"}},
    {"try again later, or check the account's limits", 0, {"rate limit", "rate_limit", "quota"}},
    {"check the account's credit and its limits", 0, {"billing"}},
    {"set tools = no" IN_SECTION ", or use another model or server",
     0,
     {"tool&support", "tool&auto-tool-choice", "tool&jinja", "function call&support"}},
    {"check api_key", 0, {"api key", "api_key", "apikey"}},
    {"check model",
     0,
     {"model_not_found", "model&not found", "model&not exist", "unknown model", "invalid model",
      "not a valid model", "no such model", "models loaded"}},
    {"set options" IN_SECTION,
     0,
     {"unsupported parameter", "unsupported_parameter", "unsupported value", "unsupported_value",
      "extra_forbidden", "extra inputs", "unrecognized request argument", "unknown parameter"}},
    {"try again later", 0, {"overloaded"}},
};

/* Return 1 if all of the words, with & between them, are in the text. */
static int has_all(const char *text, const char *words)
{
    char part[40];
    size_t length = strcspn(words, "&");

    snprintf(part, sizeof part, "%.*s", (int)length, words);
    return has(text, part) && (words[length] == '\0' || has_all(text, words + length + 1));
}

/* Return the row that fits what the server says, or NULL. */
static const struct advice *find_advice(const struct words *words)
{
    size_t i, j;

    for (i = 0; i < sizeof advices / sizeof *advices; i++) {
        for (j = 0; advices[i].words[j]; j++) {
            if (has_all(words->subject, advices[i].words[j]))
                return &advices[i];
        }
    }
    return NULL;
}

static void write_advice(char *to, size_t size, const char *advice)
{
    const char *name = strstr(advice, "%s");

    if (name)
        snprintf(to, size, "%.*s%s%s", (int)(name - advice), advice, agent_llm_agent(), name + 2);
    else
        snprintf(to, size, "%s", advice);
}

/* ---- the time to wait --------------------------------------------------- */

/* Return the seconds of a date of HTTP since 1970, or -1. All of its three forms are read. */
static long long read_date(const char *text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char month[4] = "";
    int year = -1, day = 0, hour = 0, minute = 0, second = 0, number;
    long long days;
    const char *at = strchr(text, ',');

    if (at == NULL) { /* Sun Nov  6 08:49:37 1994 */
        if (sscanf(text, "%*3s %3s %d %d:%d:%d %d", month, &day, &hour, &minute, &second, &year) <
            6)
            return -1;
    } else if (sscanf(at + 1, " %d %3s %d %d:%d:%d", &day, month, &year, &hour, &minute, &second) <
                   6 &&
               sscanf(at + 1, " %d-%3s-%d %d:%d:%d", &day, month, &year, &hour, &minute, &second) <
                   6) {
        return -1;
    }
    at = strlen(month) == 3 ? strstr(months, month) : NULL;
    if (at == NULL || year < 0 || year > 9999)
        return -1;
    if (year < 100)
        year += year < 70 ? 2000 : 1900;
    number = (int)(at - months) / 3 + 1; /* of the month; the year begins in March below */
    year -= number <= 2;
    days = 365LL * year + year / 4 - year / 100 + year / 400 +
           (153 * (number + (number > 2 ? -3 : 9)) + 2) / 5 + day - 1 - 719468;
    return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

/* Return how many milliseconds the server asks to wait, or -1. */
static long read_wait(struct agent_http *http)
{
    const char *text = agent_http_header(http, "retry-after-ms");
    const char *now_text = agent_http_header(http, "Date");
    double unit = 1, wait = -1;
    char *end = NULL;
    long long date, now;

    if (text == NULL || *text < '0' || *text > '9') {
        text = agent_http_header(http, "Retry-After");
        unit = 1000;
    }
    if (text && *text >= '0' && *text <= '9') {
        wait = strtod(text, &end) * unit;
    } else if (text) {
        date = read_date(text);
        now = now_text ? read_date(now_text) : -1;
        if (now < 0)
            now = (long long)time(NULL);
        if (date >= 0)
            wait = date > now ? (double)(date - now) * 1000 : 0;
    }
    return wait < 0 ? -1 : wait < INT_MAX ? (long)wait : INT_MAX;
}

/* ---- failures ----------------------------------------------------------- */

int agent_llm_fail_to_connect(struct llm_exchange *exchange, int status)
{
    const char *why = agent_http_error(exchange->http);
    struct agent_llm_answer *answer = exchange->answer;

    if (status == -ECANCELED)
        return agent_llm_check(answer, status);
    if (status == -ETIMEDOUT)
        return agent_llm_fail(
            answer, status, "model_timeout",
            "the model's server does not answer (%s); try again, or check base_url", why);
    exchange->may_try_again =
        status == -ECONNREFUSED || status == -EHOSTUNREACH || status == -ECONNRESET;
    return agent_llm_fail(answer, status, "model_unreachable",
                          "the model's server cannot be reached (%s); check base_url, and that the "
                          "server runs",
                          why);
}

int agent_llm_fail_to_read(struct llm_exchange *exchange, int status)
{
    const char *why = agent_http_error(exchange->http);
    struct agent_llm_answer *answer = exchange->answer;

    if (status == -ECANCELED)
        return agent_llm_check(answer, status);
    if (status == -EMSGSIZE)
        return agent_llm_fail(answer, status, "model_too_large",
                              "the model's answer is larger than the %d MiB that are read of a "
                              "response; ask for less, or set a limit such as max_tokens",
                              AGENT_LLM_STREAM_MAX >> 20);
    if (status == -ETIMEDOUT)
        return agent_llm_fail(answer, status, "model_timeout",
                              "the model stopped in the middle of its answer (%s); try again", why);
    return agent_llm_fail(answer, status, "model_broken",
                          "the model's answer broke off (%s); try again", why);
}

int agent_llm_fail_within(struct llm_exchange *exchange, const cJSON *error, const char *text)
{
    const struct advice *advice;
    struct words words;
    char advised[128];

    read_words(&words, error, text);
    advice = find_advice(&words);
    write_advice(advised, sizeof advised, advice ? advice->advice : "try again");
    return agent_llm_fail(exchange->answer, -EIO, "model_failed", "the model failed %s (%s); %s",
                          exchange->answer->begun ? "in the middle of its answer"
                                                  : "and did not answer",
                          *words.said ? words.said : "it does not say why", advised);
}

/* Read a response's body, but not much more than BODY_MAX bytes; long strings are cut. */
static void read_body(struct agent_http *http, struct agent_sse_text *body)
{
    struct llm_filter filter = {0};
    const char *data;
    long length, i, size;

    for (size = 0; size < BODY_MAX && (length = agent_http_read(http, &data)) > 0; size += length) {
        for (i = 0; i < length; i++) {
            if (!agent_llm_filter(&filter, data[i]) &&
                agent_sse_add(body, data + i, 1, BODY_MAX) < 0)
                return;
        }
    }
}

/* Parse the JSON of a refusal, which may also be the data of an event. */
static cJSON *parse_body(char *text)
{
    char *data = strstr(text, "data:"), *end;
    cJSON *json;

    agent_llm_repair(text);
    json = agent_json_parse(text);
    if (json || data == NULL)
        return json;
    data += strcspn(data, "{[\n");
    end = agent_llm_value_end(data);
    if (end)
        *end = '\0';
    return end ? agent_json_parse(data) : NULL;
}

int agent_llm_refuse(struct llm_exchange *exchange, int http_status)
{
    static const struct {
        int from, to; /* HTTP statuses; the first range that matches counts */
        int status;
        const char *code;
        const char *advice;
        int may_try_again;
    } refusals[] = {
        {300, 399, -EINVAL, "model_unreachable", "set base_url to the server's new address", 0},
        {401, 401, -EACCES, "model_auth", "check api_key", 0},
        {402, 402, -EACCES, "model_auth", "the account has no credit left", 0},
        {403, 403, -EACCES, "model_auth", "check api_key and its permissions", 0},
        {404, 404, -ENOENT, "model_not_found", "check base_url and model", 0},
        {408, 409, -EAGAIN, "model_busy", "try again later", 1},
        {413, 413, -EMSGSIZE, "model_refused", "the conversation is too long; send less", 0},
        {429, 429, -EAGAIN, "model_busy", "try again later, or check the account's limits", 1},
        {503, 503, -EAGAIN, "model_busy", "try again later", 1},
        {529, 529, -EAGAIN, "model_busy", "try again later", 1},
        {500, 599, -EIO, "model_failed", "try again later, or check the server", 1},
        {100, 299, -EPROTO, "model_broken", "check base_url", 0},
        {100, 599, -EINVAL, "model_refused", "the server does not take this request: check model",
         0},
    };
    const char *again = agent_http_header(exchange->http, "x-should-retry");
    const char *location = agent_http_header(exchange->http, "Location");
    const struct advice *advice;
    struct agent_sse_text body = {0};
    struct words words;
    char advised[128];
    cJSON *json = NULL;
    size_t i = 0;
    int status;

    while (http_status < refusals[i].from || http_status > refusals[i].to)
        i++;
    exchange->wait_ms = read_wait(exchange->http);
    read_body(exchange->http, &body);
    if (body.length > 0)
        json = parse_body(body.data);
    read_words(&words, json, body.data);
    advice = http_status >= 400 ? find_advice(&words) : NULL;
    exchange->may_try_again = refusals[i].may_try_again && !(advice && advice->is_final);
    if (again && (strcasecmp(again, "true") == 0 || strcasecmp(again, "false") == 0))
        exchange->may_try_again = strcasecmp(again, "true") == 0;
    if (http_status < 400 && location)
        agent_llm_quote(stpcpy(words.said, "it is at "), sizeof words.said - 9, location);
    write_advice(advised, sizeof advised, advice ? advice->advice : refusals[i].advice);
    status = agent_llm_fail(exchange->answer, refusals[i].status, refusals[i].code,
                            "the model's server answered %d%s%s%s; %s", http_status,
                            *words.said ? " (" : "", words.said, *words.said ? ")" : "", advised);
    cJSON_Delete(json);
    free(body.data);
    return status;
}
