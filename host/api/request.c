#include "api/request.h"

#include "base/json.h"
#include "base/mem.h"
#include "config/config.h"
#include "protocol/body.h"
#include "protocol/native.h"
#include "wire/frames.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NUMBER_DIGITS 18

/* A tree and what is made of it take at most about this many times the text. */
#define TREE_COPIES 48

static const char *view_header(const struct request_view *view, const char *name)
{
    return view->header(view->data, name);
}

static const char *view_query(const struct request_view *view, const char *name)
{
    return view->query(view->data, name);
}

/* ---- how the run goes on and is answered ---- */

static bool read_mode(const char *text, enum run_answer *answer)
{
    static const char *const modes[] = {
        [ANSWER_STREAM] = "stream", [ANSWER_WAIT] = "wait", [ANSWER_DETACH] = "detach"};

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(text, modes[i]) == 0) {
            *answer = (enum run_answer)i;
            return true;
        }
    }
    return false;
}

/* A key with or without the quotes that the draft of its header asks for. */
static bool read_key(const char *text, char key[REQUEST_KEY_MAX + 1])
{
    size_t length = strlen(text);

    if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
        text++;
        length -= 2;
    }
    if (length == 0 || length > REQUEST_KEY_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < ' ' || text[i] > '~')
            return false;
        key[i] = text[i];
    }
    key[length] = '\0';
    return true;
}

static uint64_t milliseconds(unsigned seconds, unsigned never)
{
    return seconds == never ? NEVER : seconds * UINT64_C(1000);
}

enum admission request_read_form(const struct request_view *view, struct answer_form *form)
{
    const char *mode = view_query(view, "mode"), *as = view_query(view, "as");

    if (as && strcmp(as, "message") != 0)
        return ADMISSION_bad_as;
    form->encoder = as ? &encoder_message : &encoder_native;
    return mode && !read_mode(mode, &form->answer) ? ADMISSION_bad_mode : ADMISSION_granted;
}

enum admission request_read(const struct request_view *view, const struct config_plugin *plugin,
                            unsigned linger_s, struct request_texts *texts, struct run_request *out)
{
    const char *key = view_header(view, "Idempotency-Key");
    const char *on_disconnect = view_query(view, "on_disconnect");
    const char *deadline = view_query(view, "deadline");
    unsigned deadline_s = 0;

    if (on_disconnect && setting_disconnect(on_disconnect, &linger_s) < 0)
        return ADMISSION_bad_on_disconnect;
    if (deadline && setting_number(deadline, 1, 86400, &deadline_s) < 0)
        return ADMISSION_bad_deadline;
    if (plugin->deadline > 0 && (deadline_s == 0 || deadline_s > plugin->deadline))
        deadline_s = plugin->deadline;
    if (key && !read_key(key, texts->key))
        return ADMISSION_bad_key;
    out->key = key ? texts->key : NULL;
    out->subject = view->subject;
    out->client = *view->subject ? view->subject : view->address;
    out->linger_ms = milliseconds(linger_s, DISCONNECT_CONTINUE);
    out->input_ms = milliseconds(plugin->input_timeout, 0);
    out->deadline_ms = milliseconds(deadline_s, 0);
    out->grace_ms = milliseconds(plugin->cancel_grace, 0);
    return ADMISSION_granted;
}

/* ---- the input, and what else the agent may know ---- */

/*
 * A web page of any origin can make its reader's browser post a form or plain
 * text anywhere, but not JSON; so only JSON is accepted.
 */
static bool is_json(const char *content_type)
{
    static const char *const types[] = {"application/json", "application/a2a+json"};

    for (size_t i = 0; content_type && i < sizeof types / sizeof *types; i++) {
        size_t length = strlen(types[i]);
        if (strncasecmp(content_type, types[i], length) == 0 &&
            (content_type[length] == '\0' || strchr("; \t", content_type[length])))
            return true;
    }
    return false;
}

enum admission request_check_body(const struct request_view *view)
{
    const struct buf *body = view->body;

    if (body == NULL)
        return ADMISSION_body_too_large;
    if (!is_json(view_header(view, "Content-Type")))
        return ADMISSION_body_of_other_type;
    if (buf_length(body) == 0 || json_check(buf_data(body), buf_length(body)) < 0)
        return ADMISSION_body_not_json;
    return ADMISSION_granted;
}

enum admission request_read_tree(const struct buf *body, cJSON **tree)
{
    if (!mem_has(MEM_SPARE + TREE_COPIES * buf_length(body)))
        return ADMISSION_no_memory;
    switch (body_read(buf_data(body), buf_length(body), tree)) {
    case 0:
        return ADMISSION_granted;
    case -EILSEQ:
        return ADMISSION_body_has_nul;
    default:
        return ADMISSION_body_not_json;
    }
}

/* W3C Trace Context, 3.2: version, trace id, parent id, flags; no id all zero, no version ff. */
static bool traceparent_is_valid(const char *value)
{
    static const char form[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";

    if (strlen(value) != strlen(form))
        return false;
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == '-' ? value[i] != '-' : !strchr("0123456789abcdef", value[i]))
            return false;
    }
    return strncmp(value, "ff", 2) != 0 && strspn(value + 3, "0") < 32 &&
           strspn(value + 36, "0") < 16;
}

/* Each name of a header becomes the variable request.header.NAME, in lower case. */
static void add_headers(struct buf *vars, const struct request_view *view, const char *names)
{
    size_t length;

    for (; (length = setting_word(&names)) > 0; names += length) {
        char key[160], name[128];
        const char *value;

        if (length >= sizeof name)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)length, names);
        value = view_header(view, name);
        if (value == NULL || json_escaped_length(value, strlen(value)) < 0)
            continue;
        snprintf(key, sizeof key, "request.header.%s", name);
        for (char *p = key; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        wire_append_pair(vars, key, value);
    }
}

enum admission request_read_input(const struct request_view *view, const char *forward_headers,
                                  struct request_texts *texts, struct run_request *out)
{
    const char *traceparent = view_header(view, "traceparent");
    enum admission refusal = request_check_body(view);

    if (refusal != ADMISSION_granted)
        return refusal;
    out->input = buf_data(view->body);
    out->input_length = buf_length(view->body);
    if (out->key) {
        digest_make(out->input, out->input_length, texts->digest);
        out->digest = texts->digest;
    }
    if (traceparent && traceparent_is_valid(traceparent))
        wire_append_pair(&out->vars, "traceparent", traceparent);
    if (*view->subject)
        wire_append_pair(&out->vars, "auth.subject", view->subject);
    add_headers(&out->vars, view, forward_headers);
    return ADMISSION_granted;
}

/* ---- where to read on ---- */

/* -EINVAL if it is not a number of at most NUMBER_DIGITS. */
static int read_number(const char *text, uint64_t *number)
{
    size_t length = strspn(text, "0123456789");

    if (length == 0 || length > NUMBER_DIGITS || text[length] != '\0')
        return -EINVAL;
    *number = strtoull(text, NULL, 10);
    return 0;
}

int position_read(const char *id, struct position *position)
{
    if (strcspn(id, ".") != RUN_ID_LENGTH || id[RUN_ID_LENGTH] != '.' ||
        read_number(id + RUN_ID_LENGTH + 1, &position->after) < 0)
        return -EINVAL;
    memcpy(position->run, id, RUN_ID_LENGTH);
    position->run[RUN_ID_LENGTH] = '\0';
    return 0;
}

const char *request_event_id(const struct request_view *view)
{
    const char *id = view_header(view, "Last-Event-ID");

    if (id == NULL || *id == '\0')
        id = view_query(view, "last_event_id");
    if (id == NULL || *id == '\0')
        id = view_query(view, "lastEventId");
    return id && *id ? id : NULL;
}

enum admission request_read_after(const struct request_view *view, const struct run *run,
                                  uint64_t *after)
{
    const char *id = request_event_id(view), *number = view_query(view, "after");
    struct position position = {.after = 0};

    if (id && (position_read(id, &position) < 0 || strcmp(position.run, run_id(run)) != 0))
        return ADMISSION_event_of_other_run;
    if (id == NULL && number && read_number(number, &position.after) < 0)
        return ADMISSION_bad_after;
    *after = position.after;
    return *after <= eventlog_last(run_log(run)) ? ADMISSION_granted : ADMISSION_no_such_event;
}
