/* SPDX-License-Identifier: MIT */
/*
 * agent_llm.h - chat with a model, at any server that speaks OpenAI's protocol
 * (POST {base_url}/chat/completions, streamed): OpenAI, vLLM, llama.cpp, Ollama and
 * many more.
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
 *         status = agent_run_fail(answer.code, "%s", answer.message);
 *     agent_llm_answer_finish(&answer);
 *     cJSON_Delete(messages);
 *
 *     cc -shared -fPIC $(pkg-config --cflags sluice-llm) my.c -o my.so \
 *         $(pkg-config --libs sluice-llm)
 *
 * agent_llm_chat() emits what the model sends, while it arrives:
 *
 *     text {delta}  reasoning {delta}           each piece
 *     tool_call {id, name, arguments}           after the answer; arguments are JSON,
 *                                               or a string if they are not JSON
 *     usage {input_tokens, output_tokens}       at the end, if the server reports it
 *
 * If the server is busy (408, 409, 429, any 5xx) or unreachable, agent_llm_chat()
 * tries again, after pauses that grow or that the server sets (Retry-After,
 * retry-after-ms, x-should-retry); it does not try again once a piece has arrived.
 *
 * An answer is a success if a text, a refusal or a tool call was understood, and if
 * the server told its end. All else is an error that quotes what the server said, or
 * what was not understood: never an empty answer, nor a short one. An answer holds at
 * most AGENT_LLM_ANSWER_MAX bytes.
 *
 * The functions are in a static library, which needs cJSON; pkg-config names both.
 * Tags and conventions are those of agent.h. Needs ABI 1.1.
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
#define AGENT_LLM_STREAM_MAX (64 * 1024 * 1024) /* bytes of a response, with all its framing */
#define AGENT_LLM_CALLS_MAX  64                 /* tool calls of one answer */

#define AGENT_LLM_ROUNDS     8      /* of agent_llm_run_tools() */
#define AGENT_LLM_ATTEMPTS   4      /* in all */
#define AGENT_LLM_IDLE_MS    120000 /* a model may think before its first word */
#define AGENT_LLM_BACKOFF_MS 500    /* before the second attempt; doubled before each further one */
#define AGENT_LLM_WAIT_MAX_S 30     /* before any attempt, also if Retry-After asks for more */

/* Events that agent_llm_chat() does not emit, but leaves to its caller. */
enum agent_llm_quiet {
    AGENT_LLM_QUIET_TEXT = 1, /* and reasoning */
    AGENT_LLM_QUIET_CALLS = 2,
    AGENT_LLM_QUIET_USAGE = 4,
    AGENT_LLM_QUIET = 7
};

/* clang-format off */
/*
 * Whom to ask. All members may be zero: a string that is NULL or "" is taken from the
 * environment. The caller owns the strings and keeps them as long as it uses the
 * struct. Runs may share it.
 */
struct agent_llm {
    /* Such as "http://localhost:11434/v1"; else OPENAI_BASE_URL; else OpenAI's, if there is a key. */
    const char *base_url AGENT_OPTIONAL;
    const char *api_key AGENT_OPTIONAL;      /* else OPENAI_API_KEY; else none is sent */
    const char *model AGENT_OPTIONAL;        /* else OPENAI_MODEL */
    /* Further members of the request, such as temperature; null leaves a member out. */
    const cJSON *options AGENT_OPTIONAL;
    unsigned quiet AGENT_OPTIONAL;           /* bits of enum agent_llm_quiet */
    unsigned attempts AGENT_OPTIONAL;        /* default AGENT_LLM_ATTEMPTS */
    uint32_t idle_timeout_ms AGENT_OPTIONAL; /* nothing arrives: default AGENT_LLM_IDLE_MS */
    const char *options_json AGENT_OPTIONAL; /* as options, but as text; options go before */
    /* Further headers: a line "Name: value" for each, or a JSON object of strings. */
    const char *headers AGENT_OPTIONAL;
    int no_stream_options AGENT_OPTIONAL; /* 1: do not ask for usage, for servers that refuse that */
    int no_tools AGENT_OPTIONAL; /* 1: do not offer tools, for models that cannot call any */
    unsigned max_rounds AGENT_OPTIONAL;          /* default AGENT_LLM_ROUNDS */
    uint32_t approval_timeout_ms AGENT_OPTIONAL; /* a person's; default for ever */
};
/* clang-format on */

/* clang-format off */
/* A tool that the model may call. The strings live as long as the loop. */
struct agent_llm_tool {
    const char *name;
    const char *description AGENT_OPTIONAL;
    const char *schema AGENT_OPTIONAL; /* JSON Schema of the arguments; default: there are none */
    /*
     * Do what the model asks for. arguments are a JSON object, as the model wrote it: check them.
     * Set *result to a text for the model, from malloc(); the library frees it. A negative errno
     * is told to the model, in the words of *result if they are set; only -ECANCELED ends the
     * run. Calls of one answer run at the same time, each in a task. [run]
     */
    int (*function)(void *arg, const cJSON *arguments, char **result);
    int needs_approval AGENT_OPTIONAL; /* 1: a person is asked before each call */
};
/* clang-format on */

/* A tool call that the model asks for. */
struct agent_llm_call {
    char *id; /* never "", and no other call's */
    char *name;
    char *arguments; /* a JSON object, if the model made no mistake */
};

/* All members live until agent_llm_answer_finish(). */
struct agent_llm_answer {
    char *text;  /* also an answer's beginning, on an error; never NULL */
    int refused; /* the text is the model's refusal */
    struct agent_llm_call *calls;
    size_t call_count;
    cJSON *extra_content;   /* what the server wants to see again, by a call's id; NULL for none */
    char *reasoning;        /* before calls, if the server wants to see it again; else NULL */
    char finish_reason[32]; /* "stop", "length", "tool_calls", ...; "" if none arrived */
    long input_tokens;      /* -1 if the server does not report it */
    long output_tokens;
    unsigned rounds;   /* answers of the model, of agent_llm_run_tools() */
    int begun;         /* a piece has arrived: of text, reasoning or a tool call */
    const char *code;  /* on an error, for agent_run_fail() */
    char message[768]; /* on an error: what happened and what to do; else "" */
};

/*
 * Take base_url, api_key, model, options, headers, stream_options (yes or no) and tools
 * (yes or no) from a plugin's configuration: what create() gets, parsed. The tree owns
 * the strings and must live as long as *llm is used. -EINVAL: a setting is wrong;
 * agent_log() says which. [any-thread]
 */
int agent_llm_configure(struct agent_llm *llm, const cJSON *settings);

/* Return 1 if the struct or the environment name a model and a server, else 0. [any-thread] */
int agent_llm_is_configured(const struct agent_llm *llm);

/* Append a message to a conversation, which is a JSON array. 0 or -ENOMEM. [any-thread] */
int agent_llm_say(cJSON *messages, const char *role, const char *content);

/*
 * Append the model's answer with its tool calls. Arguments that are not a JSON object
 * become {}, because servers refuse them: say in the result what was wrong with them. 0
 * or -ENOMEM. [any-thread]
 */
int agent_llm_say_answer(cJSON *messages, const struct agent_llm_answer *answer);

/* Append what a tool returned for the call. 0 or -ENOMEM. [any-thread] */
int agent_llm_say_result(cJSON *messages, const struct agent_llm_call *call, const char *content);

/*
 * Ask the model and wait until its answer is complete. messages is the conversation
 * and tools what the model may call, both in the form of OpenAI's protocol; tools may
 * be NULL. Both are only read, and the caller may change them afterwards. *answer is
 * filled in on success and on an error, and is then the caller's until
 * agent_llm_answer_finish(). On an error answer->code and answer->message tell it:
 *
 *     not_configured    -EINVAL        no model, or a bad base_url
 *     model_unreachable -ECONNREFUSED, -EHOSTUNREACH, -ECONNRESET, -EPROTO, -EINVAL
 *     model_auth        -EACCES        401, 402, 403
 *     model_not_found   -ENOENT        404
 *     model_refused     -EINVAL, -EMSGSIZE   another 4xx
 *     model_busy        -EAGAIN        408, 409, 429, 503 or 529, also at the last attempt
 *     model_failed      -EIO           5xx, or an error within the answer
 *     model_timeout     -ETIMEDOUT     nothing arrived for idle_timeout_ms
 *     model_broken      -ECONNRESET, -EPROTO   the answer broke off, or was not understood
 *     model_too_large   -EMSGSIZE      more than AGENT_LLM_ANSWER_MAX, or another limit above
 *     cancelled         -ECANCELED
 *     out_of_memory     -ENOMEM
 *
 * [run]
 */
int agent_llm_chat(const struct agent_llm *llm, const cJSON *messages, const cJSON *tools,
                   struct agent_llm_answer *answer);

/*
 * Ask the model, execute the tools that it calls, and ask again with their results, until
 * an answer calls no tool: *answer, as of agent_llm_chat(). The table of tools ends with a
 * name of NULL; arg is passed to the functions. messages gets each answer and each result,
 * in the order of the calls. Each call emits, from a task whose scope is the call's id,
 *
 *     tool_call {id, name, arguments}  tool_result {id, content}
 *
 * and if it needs approval, between the two, agent_run_ask() with {message, call, name,
 * arguments}, where call is the call's id. true or {"approved": true} allows the call, all
 * else denies it. Errors are those of agent_llm_chat(), and too_many_rounds -ELOOP. [run]
 */
int agent_llm_run_tools(const struct agent_llm *llm, cJSON *messages,
                        const struct agent_llm_tool *tools, void *arg,
                        struct agent_llm_answer *answer);

/*
 * Emit tool_call {id, name, arguments}, for callers that set AGENT_LLM_QUIET_CALLS.
 * Errors are those of emit_event(). [run]
 */
int agent_llm_emit_call(const struct agent_llm_call *call);

/* Free what the answer holds. [any-thread] */
void agent_llm_answer_finish(struct agent_llm_answer *answer);

#ifdef __cplusplus
}
#endif
#endif
