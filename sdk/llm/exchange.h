/*
 * What the files of the model client share; not installed.
 *
 *     chat.c          attempts: when to ask again, and what is emitted at the end
 *     request.c       what is sent, and to whom
 *     stream.c        what a server sends, in the shapes that servers have
 *     call.c          which piece belongs to which tool call
 *     text.c          JSON and characters that servers break
 *     error.c         what went wrong, in the server's own words, with advice
 *     conversation.c  what is sent back
 *     tools.c         the loop over rounds and tools
 *
 * The library becomes a part of plugins, so every name that leaves a file begins with agent_llm_.
 */
#ifndef SLUICE_LLM_EXCHANGE_H
#define SLUICE_LLM_EXCHANGE_H

#include <sluice/agent_llm.h>

/* ---- text.c --------------------------------------------------------- */

/* Bytes at the end of one piece that need the next one: of a character, or of a surrogate pair. */
struct llm_half {
    char bytes[4];
    size_t length;
};

/* Follows a JSON value byte by byte, to its end. All zero is before its beginning. */
struct llm_scan {
    long depth;
    unsigned char in_string, after_backslash;
};

/* Follows a stream's JSON, to find long strings that nobody reads. All zero is its start. */
struct llm_filter {
    char last[20], key[20]; /* the beginnings of the last string, and of the last member's name */
    size_t length;          /* of the string so far */
    long inside;            /* levels below a value of which everything is read */
    unsigned char in_string, is_read, skips;
    unsigned char escape; /* bytes of an escape that are still to come */
};

/* Take the next byte. Return 1 if it ends an object or a list that the first byte began. */
int agent_llm_scan(struct llm_scan *scan, char byte);

/* Return the end of the object or list at the beginning of the text; NULL if it has no end. */
char *agent_llm_value_end(char *text);

/* Take the next byte. Return 1 if it may be left out, because it is of a string without a reader.
 */
int agent_llm_filter(struct llm_filter *filter, char byte);

/*
 * Make JSON that a parser refuses, or takes for less than it is, acceptable: U+0000 becomes U+FFFD,
 * NaN and Infinity become "", half a surrogate pair becomes the three bytes of that half, for
 * agent_llm_mend(). The text does not become longer.
 */
void agent_llm_repair(char *json);

/*
 * Return JSON in which each object that is a member "arguments" has its own text beside it, in a
 * member AGENT_LLM_KEPT, because numbers lose digits in a tree. NULL: there is no such object, or
 * no memory. The caller frees the text.
 */
#define AGENT_LLM_KEPT "arguments as text"
char *agent_llm_keep_arguments(const char *json);

/* Join the halves of surrogate pairs; a half that is alone becomes U+FFFD. */
void agent_llm_mend(char *text);

/*
 * Put a piece behind what was kept of the previous one, mend it, and keep what needs the next one.
 * Return the text, in memory that the caller frees; NULL: no memory.
 */
char *agent_llm_join(struct llm_half *half, const char *piece);

/* Copy as much as fits, in valid UTF-8 and on one line; end what was cut with "...". */
void agent_llm_quote(char *to, size_t size, const char *text);

/* Replace each byte that is none of UTF-8 with '?'. */
void agent_llm_make_utf8(char *text);

char *agent_llm_copy(const char *text, size_t length);

/* ---- call.c --------------------------------------------------------- */

/* A tool call whose pieces arrive. */
struct llm_call {
    long index; /* the server's; -1 if it gives none */
    char *id, *name;
    cJSON *extra; /* extra_content, or NULL */
    struct agent_sse_text arguments;
    struct llm_scan scan;        /* of the arguments */
    unsigned char whole, object; /* the arguments are a whole object; the server sent an object */
    size_t delta;                /* in which it began */
};

struct llm_calls {
    struct llm_call list[AGENT_LLM_CALLS_MAX];
    size_t count;
    size_t delta;  /* the current one's number */
    size_t bytes;  /* of all pieces so far */
    int is_legacy; /* function_call, not tool_calls */
};

/*
 * Take what a delta says of tool calls: tool_calls, or function_call of the older protocol. 1: it
 * said something; 0: nothing; -EMSGSIZE: too many calls, or too long arguments; -ENOMEM.
 */
int agent_llm_calls_take(struct llm_calls *calls, const cJSON *delta);

/* Hand the calls over to the answer, with ids and arguments for those that lack them. */
int agent_llm_calls_hand_over(struct llm_calls *calls, struct agent_llm_answer *answer);

void agent_llm_calls_finish(struct llm_calls *calls);

/* ---- stream.c ------------------------------------------------------- */

/* A response, as far as it was read. */
struct llm_stream {
    struct agent_sse sse;
    struct llm_filter filter;
    struct llm_calls calls;
    struct agent_sse_text text, reasoning;
    struct agent_sse_text bare; /* lines that are no event's, perhaps of a document */
    struct llm_half text_half, reasoning_half;
    size_t size;            /* of all pieces, at most AGENT_LLM_ANSWER_MAX */
    long choice;            /* the index of the choice that is read; -1 before the first */
    char unknown[304];      /* the first thing that was not understood */
    unsigned char events;   /* an event has arrived */
    unsigned char done;     /* [DONE], or the end of a document, has arrived */
    unsigned char ended;    /* a finish_reason has arrived, and no piece after it */
    unsigned char is_bare;  /* what is taken is no event's */
    unsigned char other;    /* pieces of other choices have arrived */
    unsigned char no_words; /* an error without words has arrived, and nothing after it */
    unsigned char echoes;   /* the reasoning came as reasoning_content, see say_answer() */
};

/* One attempt: a request and its response. */
struct llm_exchange {
    const struct agent_llm *llm;
    struct agent_llm_answer *answer;
    struct agent_http *http;
    struct llm_stream stream;
    int may_try_again; /* no piece has arrived, and another attempt may succeed */
    long wait_ms;      /* that the server asks for; -1: it does not */
};

/* Read the response to the end of the answer. */
int agent_llm_stream_read(struct llm_exchange *exchange);

/* Free everything, except the text, which the caller takes. */
void agent_llm_stream_finish(struct llm_stream *stream);

/* ---- request.c ------------------------------------------------------ */

/* The answers' and requests' settings: the struct's, else the environment's, else "". */
const char *agent_llm_base_url(const struct agent_llm *llm);
const char *agent_llm_model(const struct agent_llm *llm);

/* Return the request's JSON, in memory that cJSON_free() frees; NULL: no memory. */
char *agent_llm_body(const struct agent_llm *llm, const cJSON *messages, const cJSON *tools);

/*
 * Send the request and wait for the status, also that of a new place at the same server. Return the
 * status, or an error that is told.
 */
int agent_llm_send(struct llm_exchange *exchange, const char *body);

/* ---- error.c -------------------------------------------------------- */

/* Set the answer's code and message; return status. */
AGENT_PRINTF(4, 5)
int agent_llm_fail(struct agent_llm_answer *answer, int status, const char *code,
                   const char *format, ...);

/* Explain a status of memory, limits, emitting or waiting, unless it is 0; return it. */
int agent_llm_check(struct agent_llm_answer *answer, int status);

/* Return 1 if the value says nothing: null, false, 0, "", or only such members. */
int agent_llm_is_empty(const cJSON *value);

/* Fail because of an error within a response of status 200, in its JSON, or else in its text. */
int agent_llm_fail_within(struct llm_exchange *exchange, const cJSON *error, const char *text);

/* Fail because of a status other than 200; read what the server says of it. */
int agent_llm_refuse(struct llm_exchange *exchange, int http_status);

/* Fail because of the connection, before and after the status. */
int agent_llm_fail_to_connect(struct llm_exchange *exchange, int status);
int agent_llm_fail_to_read(struct llm_exchange *exchange, int status);

/* Return what the run's agent is called, for advice. */
const char *agent_llm_agent(void);

#endif
