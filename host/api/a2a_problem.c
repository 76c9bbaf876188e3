#include "api/a2a_problem.h"

#include "base/json.h"

#include <string.h>

static const struct a2a_words {
    const char *name;
    int code;        /* of JSON-RPC */
    unsigned status; /* of HTTP, for REST */
    const char *word;
    const char *reason; /* NULL: none */
} errors[] = {
#define X(name, ...) [A2A_##name] = {#name, __VA_ARGS__},
    A2A_ERRORS(X)
#undef X
};

#define ERRORS (sizeof errors / sizeof *errors)

/* Problems of the host that are errors of the protocol. */
static const struct {
    const char *code;
    enum a2a_error error;
} by_code[] = {
    {"no_such_run", A2A_task_not_found},          {"run_has_ended", A2A_unsupported_operation},
    {"run_is_queued", A2A_unsupported_operation}, {"no_open_question", A2A_unsupported_operation},
    {"no_such_question", A2A_invalid_params},     {"body_not_json", A2A_parse_error},
    {"body_has_nul", A2A_invalid_request},
};

/* What is left, by its HTTP status. keeps: the status is that of the answer over JSON-RPC, too. */
static const struct {
    unsigned status;
    bool keeps;
    int code;
    const char *word;
} by_status[] = {
    {400, false, -32602, "INVALID_ARGUMENT"},   {401, true, -32600, "UNAUTHENTICATED"},
    {403, true, -32600, "PERMISSION_DENIED"},   {404, true, -32601, "NOT_FOUND"},
    {405, true, -32600, "UNIMPLEMENTED"},       {409, false, -32004, "FAILED_PRECONDITION"},
    {413, true, -32600, "INVALID_ARGUMENT"},    {415, true, -32600, "INVALID_ARGUMENT"},
    {421, true, -32600, "FAILED_PRECONDITION"}, {422, false, -32602, "INVALID_ARGUMENT"},
    {429, true, -32603, "RESOURCE_EXHAUSTED"},  {503, true, -32603, "UNAVAILABLE"},
};

/* Return the error's words; those of an error that is none of the protocol are put into room. */
static const struct a2a_words *words_of(const struct problem *problem, struct a2a_words *room,
                                        bool *keeps)
{
    *keeps = false;
    for (size_t i = 1; problem->code && i < ERRORS; i++) {
        if (strcmp(problem->code, errors[i].name) == 0)
            return &errors[i];
    }
    for (size_t i = 0; problem->code && i < sizeof by_code / sizeof *by_code; i++) {
        if (strcmp(problem->code, by_code[i].code) == 0)
            return &errors[by_code[i].error];
    }
    *room = (struct a2a_words){.code = -32603, .status = problem->status, .word = "INTERNAL"};
    *keeps = true;
    for (size_t i = 0; i < sizeof by_status / sizeof *by_status; i++) {
        if (problem->status == by_status[i].status) {
            room->code = by_status[i].code;
            room->word = by_status[i].word;
            *keeps = by_status[i].keeps;
        }
    }
    return room;
}

static void append_info(const char *reason, struct buf *out)
{
    if (reason)
        buf_printf(out,
                   "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"%s\","
                   "\"domain\":\"a2a-protocol.org\"}",
                   reason);
}

static unsigned write_rpc(const struct problem *problem, const char *id, struct buf *out)
{
    struct a2a_words room;
    bool keeps;
    const struct a2a_words *words = words_of(problem, &room, &keeps);

    buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,\"message\":",
               id ? id : "null", words->code);
    json_append_string(out, problem->detail);
    buf_puts(out, words->reason ? ",\"data\":[" : "");
    append_info(words->reason, out);
    buf_puts(out, words->reason ? "]}}\n" : "}}\n");
    return keeps ? problem->status : 200;
}

static unsigned write_rest(const struct problem *problem, const char *id, struct buf *out)
{
    struct a2a_words room;
    bool keeps;
    const struct a2a_words *words = words_of(problem, &room, &keeps);

    (void)id;
    buf_printf(out, "{\"error\":{\"code\":%u,\"status\":\"%s\",\"message\":", words->status,
               words->word);
    json_append_string(out, problem->detail);
    buf_puts(out, ",\"details\":[");
    append_info(words->reason, out);
    buf_puts(out, "]}}\n");
    return words->status;
}

const struct problem_shape a2a_rpc_problems = {.content_type = "application/json",
                                               .write = write_rpc};

const struct problem_shape a2a_rest_problems = {.content_type = "application/a2a+json",
                                                .write = write_rest};

void a2a_problem_reply(struct http_request *request, enum a2a_error error, const char *detail)
{
    problem_reply_with(request, &(struct problem){.status = errors[error].status,
                                                  .code = errors[error].name,
                                                  .detail = detail});
}
