/*
 * The loop over rounds and tools.
 *
 *     round: agent_llm_chat() ── no calls: the end
 *              └─ each call is a task, with its id as its scope:
 *                   begin     tool_call; if the tool needs approval: agent_run_ask()
 *                   execute   the tool's function; tool_result
 *            ── the results, in the calls' order, become messages ── the next round
 *
 * What goes wrong in a call is the model's to know: an unknown tool, bad arguments, a denial, a
 * function's error. Only a run that was cancelled, or that cannot emit, ends the loop.
 */
#include "exchange.h"

#define SHOWN_MAX 200          /* bytes of bad arguments in a complaint */
#define EVENT_MAX (128 * 1024) /* bytes of a result in the event; the model gets all of it */

/* A call on its way. */
struct use {
    const struct agent_llm *llm;
    const struct agent_llm_tool *tool; /* NULL: the model made it up */
    const struct agent_llm_call *call;
    void *arg;
    cJSON *arguments;
    char *content; /* once it is known; a complaint is known early */
    struct agent_task *task;
    int has_task;
};

AGENT_PRINTF(2, 3)
static int complain(struct use *use, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    free(use->content);
    use->content = agent_llm_copy(text, strlen(text));
    return use->content ? 0 : -ENOMEM;
}

/* ---- approval ----------------------------------------------------------- */

/* Complain unless the person's answer allows the call. */
static int read_verdict(struct use *use, const char *answer)
{
    static const char *const yes[] = {"yes", "y", "true", "ok", "approve", "approved", NULL};
    cJSON *json = agent_json_parse(answer);
    const cJSON *verdict = json;
    const char *word;
    int said = cJSON_IsTrue(json), i;

    if (cJSON_IsObject(json)) {
        verdict = cJSON_GetObjectItemCaseSensitive(json, "approved");
        said = cJSON_IsTrue(verdict);
    }
    word = cJSON_IsString(verdict) ? verdict->valuestring : "";
    for (i = 0; yes[i]; i++)
        said |= strcmp(word, yes[i]) == 0;
    word = agent_json_string(json, "reason", "");
    i = said ? 0
             : complain(use, "error: a person did not allow this call%s%.300s", *word ? ": " : "",
                        word);
    cJSON_Delete(json);
    return i;
}

/* Return the question whether the call may be executed, to be freed. */
static char *make_question(const struct use *use)
{
    cJSON *json = cJSON_CreateObject();
    char message[128], *text;

    snprintf(message, sizeof message, "Allow the call of %.80s?", use->call->name);
    cJSON_AddStringToObject(json, "message", message);
    cJSON_AddStringToObject(json, "call", use->call->id);
    cJSON_AddStringToObject(json, "name", use->call->name);
    cJSON_AddRawToObject(json, "arguments", use->call->arguments);
    text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return text;
}

/* Ask a person whether the call may be executed. This is all that knows how people are asked. */
static int ask_person(struct use *use)
{
    uint32_t timeout =
        use->llm->approval_timeout_ms ? use->llm->approval_timeout_ms : AGENT_FOREVER;
    char *question = make_question(use);
    const char *answer;
    int status = question ? agent_run_ask(question, timeout, &answer) : -ENOMEM;

    cJSON_free(question);
    switch (status) {
    case 0:
        return read_verdict(use, answer);
    case -ETIMEDOUT:
        return complain(use, "error: nobody allowed this call in time");
    case -EMSGSIZE:
        return complain(use, "error: a person cannot be shown a call this long");
    case -EAGAIN:
        return complain(use, "error: too many calls wait for a person; call it again later");
    default:
        return status;
    }
}

/* ---- a call ------------------------------------------------------------- */

static int set_scope(const struct use *use)
{
    return use->has_task ? agent_task_scope(use->call->id) : 0;
}

/* Tell the call, and find out whether it can be executed; a task. */
static int begin_call(void *arg)
{
    struct use *use = (struct use *)arg;
    int status = set_scope(use);

    if (status == 0 && !(use->llm->quiet & AGENT_LLM_QUIET_CALLS))
        status = agent_llm_emit_call(use->call);
    if (status < 0)
        return status;
    if (use->tool == NULL)
        return complain(use, "error: there is no tool %.300s", use->call->name);
    use->arguments = agent_json_parse(use->call->arguments);
    if (!cJSON_IsObject(use->arguments)) {
        char shown[SHOWN_MAX];
        agent_llm_quote(shown, sizeof shown, use->call->arguments);
        return complain(use, "error: the arguments must be a JSON object, not %s", shown);
    }
    return use->tool->needs_approval ? ask_person(use) : 0;
}

/* Emit what the call returned; the beginning of it, if it is longer than an event should be. */
static int emit_result(const struct use *use)
{
    cJSON *json = cJSON_CreateObject();
    size_t length = strlen(use->content), end = EVENT_MAX;
    char kept;

    while (end > 0 && length > EVENT_MAX && ((unsigned char)use->content[end] & 0xc0) == 0x80)
        end--;
    end = length > EVENT_MAX ? end : length;
    kept = use->content[end];
    use->content[end] = '\0';
    cJSON_AddStringToObject(json, "id", use->call->id);
    cJSON_AddStringToObject(json, "content", use->content);
    use->content[end] = kept;
    if (kept)
        cJSON_AddNumberToObject(json, "bytes", (double)length);
    return agent_emit_json("tool_result", json);
}

/* Execute the call, unless there is a complaint, and tell the result; a task. */
static int execute(void *arg)
{
    struct use *use = (struct use *)arg;
    int status = set_scope(use);

    if (status == 0 && use->content == NULL) {
        status = use->tool->function(use->arg, use->arguments, &use->content);
        if (status == -ECANCELED)
            return status;
        if (status < 0 && use->content == NULL)
            status = complain(use, "error: %s", strerror(-status));
        else if (use->content == NULL)
            use->content = agent_llm_copy("", 0);
        if (use->content == NULL)
            return -ENOMEM;
        agent_llm_make_utf8(use->content);
        status = 0;
    }
    if (status == 0 && !(use->llm->quiet & AGENT_LLM_QUIET_CALLS))
        status = emit_result(use);
    return status;
}

/* Do both; a task. */
static int use_tool(void *arg)
{
    int status = begin_call(arg);

    return status == 0 ? execute(arg) : status;
}

/* Start a task; or, if the host has none for this run now, call the function here. */
static int start(struct use *use)
{
    int status;

    use->has_task = 1;
    status = agent_task_spawn(use_tool, use, &use->task);
    if (status != -EAGAIN && status != -ENOTSUP)
        return status;
    use->task = NULL;
    use->has_task = 0;
    return use_tool(use);
}

static int join(struct use *use)
{
    int status = use->task ? agent_task_join(use->task) : 0;

    use->task = NULL;
    return status;
}

/* Start all calls; then wait for all. */
static int use_all(struct use *uses, size_t count)
{
    int status = 0, result;
    size_t i;

    for (i = 0; i < count && status == 0; i++) {
        status = start(&uses[i]);
        if (status < 0)
            uses[i].task = NULL;
    }
    for (i = 0; i < count; i++) {
        result = join(&uses[i]);
        status = status < 0 ? status : result;
    }
    return status;
}

/* ---- a round ------------------------------------------------------------ */

static const struct agent_llm_tool *find_tool(const struct agent_llm_tool *tools, const char *name)
{
    for (; tools->name; tools++) {
        if (strcmp(tools->name, name) == 0)
            return tools;
    }
    return NULL;
}

/* Execute the calls of the answer, and append the answer and their results to the messages. */
static int answer_calls(const struct agent_llm *llm, cJSON *messages,
                        const struct agent_llm_tool *tools, void *arg,
                        const struct agent_llm_answer *answer)
{
    struct use *uses = (struct use *)calloc(answer->call_count, sizeof *uses);
    int status = uses ? agent_llm_say_answer(messages, answer) : -ENOMEM;
    size_t i;

    for (i = 0; uses && i < answer->call_count; i++) {
        uses[i].llm = llm;
        uses[i].call = &answer->calls[i];
        uses[i].tool = find_tool(tools, answer->calls[i].name);
        uses[i].arg = arg;
    }
    if (status == 0)
        status = use_all(uses, answer->call_count);
    for (i = 0; uses && i < answer->call_count; i++) {
        if (status == 0)
            status = agent_llm_say_result(messages, &answer->calls[i], uses[i].content);
        cJSON_Delete(uses[i].arguments);
        free(uses[i].content);
    }
    free(uses);
    return status;
}

/* Return the tools in the form of OpenAI's protocol. NULL: a schema is not JSON, or no memory. */
static cJSON *tools_json(const struct agent_llm_tool *tools, const char **bad)
{
    cJSON *list = cJSON_CreateArray();

    for (; list && tools->name; tools++) {
        cJSON *json = cJSON_CreateObject(), *function;
        cJSON *schema = agent_json_parse(tools->schema ? tools->schema
                                                       : "{\"type\":\"object\",\"properties\":{}}");
        cJSON_AddStringToObject(json, "type", "function");
        function = cJSON_AddObjectToObject(json, "function");
        cJSON_AddStringToObject(function, "name", tools->name);
        if (tools->description)
            cJSON_AddStringToObject(function, "description", tools->description);
        cJSON_AddItemToObject(function, "parameters", schema);
        cJSON_AddItemToArray(list, json);
        if (!cJSON_IsObject(schema)) {
            *bad = tools->name;
            cJSON_Delete(list);
            list = NULL;
        }
    }
    return list;
}

int agent_llm_run_tools(const struct agent_llm *llm, cJSON *messages,
                        const struct agent_llm_tool *tools, void *arg,
                        struct agent_llm_answer *answer)
{
    struct agent_llm quiet = *llm;
    unsigned most = llm->max_rounds ? llm->max_rounds : AGENT_LLM_ROUNDS, round;
    const char *bad = NULL;
    cJSON *list = tools_json(tools, &bad);
    int status = 0;

    quiet.quiet |= AGENT_LLM_QUIET_CALLS; /* the tasks emit them */
    memset(answer, 0, sizeof *answer);
    if (bad)
        status = agent_llm_fail(answer, -EINVAL, "not_configured",
                                "the schema of the tool %.64s must be a JSON object", bad);
    else if (list == NULL)
        status = agent_llm_check(answer, -ENOMEM);
    for (round = 1; status == 0; round++) {
        agent_llm_answer_finish(answer);
        status = agent_llm_chat(&quiet, messages, list, answer);
        answer->rounds = round;
        if (status < 0 || answer->call_count == 0)
            break;
        if (round == most)
            status =
                agent_llm_fail(answer, -ELOOP, "too_many_rounds",
                               "the model has answered %u times and still calls tools; ask for "
                               "less, or set a higher max_rounds in the section [plugin %s]",
                               most, agent_llm_agent());
        else
            status = agent_llm_check(answer, answer_calls(llm, messages, tools, arg, answer));
    }
    if (status == 0)
        status = agent_llm_check(answer, agent_llm_say_answer(messages, answer));
    if (answer->text == NULL)
        answer->text = agent_llm_copy("", 0);
    cJSON_Delete(list);
    return answer->text ? status : agent_llm_check(answer, -ENOMEM);
}
