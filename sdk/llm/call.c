/*
 * The tool calls of an answer: which piece belongs to which call.
 *
 * In OpenAI's protocol each piece has the index of its call, and the first one the call's id and
 * name. Servers leave out the index or make it 0 for all, leave out the id or make a new one for
 * each piece, repeat the name in each piece, and send a call whole. So a piece belongs
 *
 *     1. to the call with its id, if there is one
 *     2. to the newest call with its index
 *     3. if that leads nowhere: to the newest call, or, if the delta has several pieces without an
 *        index and a name, to the calls at their places
 *     4. to a new call
 *
 * and in place of 1 to 3 to a new call if it begins one:
 *
 *     - it has a name although the call's arguments are whole
 *     - it has another id and arguments although the call's arguments are whole
 *     - it has another name; but a call that has an id and no arguments yet may get its name in
 *       pieces
 *     - it has a name, and the call began in this same delta
 *
 * But a piece says nothing if it says again what the call is as a whole, or its name without
 * arguments.
 */
#include "exchange.h"

#include <sys/random.h>
#include <time.h>

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* What a piece says; strings are "" for none. */
struct piece {
    long index; /* -1: none */
    const char *id, *name, *arguments;
    char *printed;     /* the arguments, if they are no string */
    size_t place, all; /* among the delta's pieces, and their number */
};

static long read_index(const cJSON *piece)
{
    const cJSON *index = member(piece, "index");

    if (cJSON_IsString(index) && index->valuestring[0] >= '0' && index->valuestring[0] <= '9')
        return strtol(index->valuestring, NULL, 10);
    return (long)agent_json_integer(piece, "index", -1);
}

static int read_piece(const cJSON *json, struct piece *piece)
{
    const cJSON *function = member(json, "function"), *arguments;

    if (!cJSON_IsObject(function))
        function = json;
    piece->index = read_index(json);
    piece->id = agent_json_string(json, "id", "");
    if (*piece->id == '\0')
        piece->id = agent_json_string(function, "id", "");
    piece->name = agent_json_string(function, "name", "");
    arguments = member(function, "arguments");
    if (arguments == NULL)
        arguments = member(function, "parameters");
    piece->arguments = cJSON_IsString(arguments) ? arguments->valuestring : "";
    piece->printed = NULL;
    if (cJSON_IsObject(arguments) || cJSON_IsArray(arguments)) {
        const char *kept = agent_json_string(function, AGENT_LLM_KEPT, NULL);
        char *printed = kept ? NULL : cJSON_PrintUnformatted(arguments);
        kept = kept ? kept : printed;
        piece->printed = kept ? agent_llm_copy(kept, strlen(kept)) : NULL;
        cJSON_free(printed);
        if (piece->printed == NULL)
            return -ENOMEM;
        piece->arguments = piece->printed;
    }
    return 0;
}

static int is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* Return 1 if the piece begins a new call, although by its place it would belong to this one. */
static int begins(const struct llm_calls *calls, const struct llm_call *call,
                  const struct piece *piece)
{
    int is_other = *piece->id && call->id && strcmp(piece->id, call->id) != 0;

    if (call->id && !is_other && call->delta != calls->delta && is_blank(piece->arguments) &&
        (!call->whole || call->name == NULL || strcmp(piece->name, call->name) == 0))
        return 0;
    if (*piece->name == '\0')
        return is_other && call->whole && !is_blank(piece->arguments);
    if (call->name == NULL)
        return is_other && call->whole;
    if (call->whole || call->delta == calls->delta)
        return 1;
    return strcmp(piece->name, call->name) != 0 &&
           (is_other || call->id == NULL || call->arguments.length > 0);
}

/* Return 1 if the piece says again what the call is. */
static int repeats(const struct llm_call *call, const struct piece *piece)
{
    return call->whole && call->id && strcmp(piece->id, call->id) == 0 && call->name &&
           strcmp(piece->name, call->name) == 0 && call->arguments.data &&
           strcmp(piece->arguments, call->arguments.data) == 0;
}

/* Return the call to which the piece belongs by its id or its place, or NULL. */
static struct llm_call *find(struct llm_calls *calls, const struct piece *piece)
{
    struct llm_call *call;
    size_t i;

    for (i = calls->count; i > 0 && *piece->id; i--) {
        call = &calls->list[i - 1];
        if (call->id && strcmp(call->id, piece->id) == 0 &&
            (piece->index < 0 || call->index < 0 || call->index == piece->index ||
             *piece->name == '\0'))
            return call;
    }
    for (i = calls->count; i > 0 && piece->index >= 0; i--) {
        if (calls->list[i - 1].index == piece->index)
            return &calls->list[i - 1];
    }
    if (calls->count == 0)
        return NULL;
    call = &calls->list[calls->count - 1];
    if (piece->index >= 0)
        return *piece->name == '\0' && *piece->id == '\0' && !call->whole ? call : NULL;
    if (*piece->name == '\0' && piece->all > 1 && piece->all <= calls->count)
        return call + 1 - piece->all + piece->place;
    return call;
}

/* Keep the first text that is not empty. */
static int keep_first(char **kept, const char *text)
{
    if (*kept || *text == '\0')
        return 0;
    *kept = agent_llm_copy(text, strlen(text));
    if (*kept)
        agent_llm_mend(*kept);
    return *kept ? 0 : -ENOMEM;
}

/* Keep the name, which may come in pieces, or from its beginning again. */
static int keep_name(struct llm_call *call, const char *name)
{
    size_t length = call->name ? strlen(call->name) : 0, more = strlen(name);
    char *joined;

    if (length == 0 || more == 0 || strcmp(call->name, name) == 0)
        return keep_first(&call->name, name);
    if (strncmp(call->name, name, length) == 0)
        length = 0;
    joined = (char *)realloc(call->name, length + more + 1);
    if (joined == NULL)
        return -ENOMEM;
    memcpy(joined + length, name, more + 1);
    call->name = joined;
    return 0;
}

static int add_arguments(struct llm_call *call, const struct piece *piece)
{
    const char *at;

    if (piece->printed && call->object) { /* in the place of what it sent before */
        call->arguments.length = 0;
        memset(&call->scan, 0, sizeof call->scan);
    }
    call->object = piece->printed != NULL;
    for (at = piece->arguments; *at; at++) {
        if (agent_llm_scan(&call->scan, *at))
            call->whole = 1;
    }
    return agent_sse_add(&call->arguments, piece->arguments, (size_t)(at - piece->arguments),
                         AGENT_LLM_ANSWER_MAX);
}

/* Keep what the server wants to see again, such as a signature. */
static int keep_extra(struct llm_call *call, const cJSON *json)
{
    const cJSON *extra = member(json, "extra_content");

    if (!cJSON_IsObject(extra) || extra->child == NULL)
        return 0;
    cJSON_Delete(call->extra);
    call->extra = cJSON_Duplicate(extra, 1);
    return call->extra ? 0 : -ENOMEM;
}

/* Take a piece; 1: it said something. */
static int take_piece(struct llm_calls *calls, const cJSON *json, size_t place, size_t all)
{
    struct piece piece = {.place = place, .all = all};
    struct llm_call *call;
    int status = read_piece(json, &piece);

    if (status < 0)
        return status;
    call = find(calls, &piece);
    if (*piece.id == '\0' && *piece.name == '\0' && *piece.arguments == '\0') {
        status = call ? keep_extra(call, json) : 0;
        goto out;
    }
    if (call && repeats(call, &piece))
        goto out;
    if (call == NULL || begins(calls, call, &piece)) {
        status = -EMSGSIZE;
        if (calls->count == AGENT_LLM_CALLS_MAX)
            goto out;
        call = &calls->list[calls->count++];
        call->index = piece.index;
        call->delta = calls->delta;
    }
    calls->bytes += strlen(piece.id) + strlen(piece.name) + strlen(piece.arguments);
    status = keep_first(&call->id, piece.id);
    if (status == 0)
        status = keep_name(call, piece.name);
    if (status == 0)
        status = add_arguments(call, &piece);
    if (status == 0)
        status = keep_extra(call, json);
    if (status == 0)
        status = 1;
out:
    free(piece.printed);
    return status;
}

int agent_llm_calls_take(struct llm_calls *calls, const cJSON *delta)
{
    const cJSON *list = member(delta, "tool_calls"), *legacy = member(delta, "function_call"),
                *piece;
    size_t place = 0, all = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0;
    int said = 0, status = 0;

    calls->delta++;
    if (cJSON_IsObject(list))
        return take_piece(calls, list, 0, 1);
    if (all == 0 && cJSON_IsObject(legacy) && (calls->count == 0 || calls->is_legacy)) {
        status = take_piece(calls, legacy, 0, 1);
        calls->is_legacy = calls->count > 0;
        return status;
    }
    if (calls->is_legacy) /* both say the same */
        return all > 0;
    cJSON_ArrayForEach(piece, list) {
        if (status >= 0 && cJSON_IsObject(piece))
            status = take_piece(calls, piece, place, all);
        said |= status > 0;
        place++;
    }
    return status < 0 ? status : said;
}

/* Return an id that no other call of the conversation has: clients find calls by it. */
static char *make_id(void)
{
    char id[32];
    struct timespec now;
    unsigned long long number;

    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        number = (unsigned long long)now.tv_sec * 1000000000u + (unsigned long long)now.tv_nsec;
    }
    snprintf(id, sizeof id, "call_%016llx", number);
    return agent_llm_copy(id, strlen(id));
}

static int is_taken(const struct agent_llm_answer *answer, const char *id)
{
    size_t i;

    for (i = 0; i < answer->call_count; i++) {
        if (strcmp(answer->calls[i].id, id) == 0)
            return 1;
    }
    return 0;
}

/*
 * Return the arguments as they are to be read: {} for none, and the JSON that is in a JSON string.
 * Take the text over. NULL: no memory.
 */
static char *finish_arguments(char *text)
{
    const char *better = text && !is_blank(text) ? NULL : "{}";
    cJSON *json = NULL, *inner;
    char *copied;

    if (better == NULL) {
        agent_llm_repair(text);
        agent_llm_mend(text);
        json = agent_json_parse(text);
    }
    if (cJSON_IsNull(json))
        better = "{}";
    if (cJSON_IsString(json)) {
        inner = agent_json_parse(json->valuestring);
        if (cJSON_IsObject(inner))
            better = json->valuestring;
        cJSON_Delete(inner);
    }
    if (better) {
        copied = agent_llm_copy(better, strlen(better));
        free(text);
        text = copied;
    }
    cJSON_Delete(json);
    return text;
}

int agent_llm_calls_hand_over(struct llm_calls *calls, struct agent_llm_answer *answer)
{
    size_t i;

    if (calls->count == 0)
        return 0;
    answer->calls = (struct agent_llm_call *)calloc(calls->count, sizeof *answer->calls);
    if (answer->calls == NULL)
        return -ENOMEM;
    for (i = 0; i < calls->count; i++) {
        struct llm_call *from = &calls->list[i];
        struct agent_llm_call call = {0};

        if (from->id && is_taken(answer, from->id)) {
            free(from->id);
            from->id = NULL;
        }
        call.id = from->id ? from->id : make_id();
        call.name = from->name ? from->name : agent_llm_copy("", 0);
        call.arguments = finish_arguments(from->arguments.data);
        if (from->extra && answer->extra_content == NULL)
            answer->extra_content = cJSON_CreateObject();
        if (from->extra && call.id)
            cJSON_AddItemToObject(answer->extra_content, call.id, from->extra);
        memset(from, 0, sizeof *from);
        answer->calls[answer->call_count++] = call;
        if (call.id == NULL || call.name == NULL || call.arguments == NULL)
            return -ENOMEM;
    }
    return 0;
}

void agent_llm_calls_finish(struct llm_calls *calls)
{
    size_t i;

    for (i = 0; i < calls->count; i++) {
        free(calls->list[i].id);
        free(calls->list[i].name);
        cJSON_Delete(calls->list[i].extra);
        free(calls->list[i].arguments.data);
    }
}
