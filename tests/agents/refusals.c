#include "refusals.h"

#include <sluice/agent_http.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_IS  "a type is 1 to 64 of letters, digits, '_', '-', '.' and ':'"
#define QUOTE    "; write \\\" for a quote inside a string"
#define HOSTS    "this type is the host's, which emits it itself; name another"
#define BROWSERS "this type is refused, because browsers' EventSource uses it; name another"
#define SIXTEEN  "0123456789abcdef"
#define LONG     SIXTEEN SIXTEEN SIXTEEN SIXTEEN

/* clang-format off */
const struct refused_event refused_events[] = {
    {"x", "{\"a\":1}", ""},
    {"person", "{\"name\":\"O\"Brien\"}", "emit_event(\"person\"): not JSON at byte 11: found 'B', wanted ',' or '}': {\"name\":\"O\"▸Brien\"}" QUOTE},
    {"x", "[\"say \"hi\"\"]", "emit_event(\"x\"): not JSON at byte 7: found 'h', wanted ',' or ']': [\"say \"▸hi\"\"]" QUOTE},
    {"x", "\"a\"b\"", "emit_event(\"x\"): not JSON at byte 3: found 'b', wanted nothing after the value: \"a\"▸b\"" QUOTE},
    {"price", "{\"eur\":1,5}", "emit_event(\"price\"): not JSON at byte 8: found ',', wanted '.', or a name in double quotes after it: {\"eur\":1▸,5}; write '.' for a decimal point, whatever the locale"},
    {"price", "{\"eur\":nan}", "emit_event(\"price\"): not JSON at byte 7: found 'n', wanted a value: {\"eur\":▸nan}; NaN is not JSON; write null"},
    {"x", "{\"a\":-nan}", "emit_event(\"x\"): not JSON at byte 6: found 'n', wanted a digit: {\"a\":-▸nan}; NaN is not JSON; write null"},
    {"x", "[inf]", "emit_event(\"x\"): not JSON at byte 1: found 'i', wanted a value: [▸inf]; infinity is not JSON; write null"},
    {"x", "[None]", "emit_event(\"x\"): not JSON at byte 1: found 'N', wanted a value: [▸None]; write null"},
    {"x", "[True]", "emit_event(\"x\"): not JSON at byte 1: found 'T', wanted a value: [▸True]; write true"},
    {"x", "{\"a\":(null)}", "emit_event(\"x\"): not JSON at byte 5: found '(', wanted a value: {\"a\":▸(null)}; a NULL was printed with %s"},
    {"x", "{\"a\":'b'}", "emit_event(\"x\"): not JSON at byte 5: found ''', wanted a value: {\"a\":▸'b'}; strings are in double quotes"},
    {"x", "{'a':1}", "emit_event(\"x\"): not JSON at byte 1: found ''', wanted a name in double quotes: {▸'a':1}; names are in double quotes"},
    {"x", "{a:1}", "emit_event(\"x\"): not JSON at byte 1: found 'a', wanted a name in double quotes: {▸a:1}"},
    {"x", "{\"a\" 1}", "emit_event(\"x\"): not JSON at byte 5: found '1', wanted ':': {\"a\" ▸1}"},
    {"x", "{\"a\":1,}", "emit_event(\"x\"): not JSON at byte 7: found '}', wanted a name in double quotes: {\"a\":1,▸}; take away the ',' before it"},
    {"x", "[1,]", "emit_event(\"x\"): not JSON at byte 3: found ']', wanted a value: [1,▸]; take away the ',' before it"},
    {"x", "[1 2]", "emit_event(\"x\"): not JSON at byte 3: found '2', wanted ',' or ']': [1 ▸2]"},
    {"x", "[1}", "emit_event(\"x\"): not JSON at byte 2: found '}', wanted ',' or ']': [1▸}"},
    {"x", "[01]", "emit_event(\"x\"): not JSON at byte 2: found '1', wanted ',' or ']': [0▸1]; a number does not begin with 0"},
    {"x", "[1.]", "emit_event(\"x\"): not JSON at byte 3: found ']', wanted a digit: [1.▸]"},
    {"x", "[1e]", "emit_event(\"x\"): not JSON at byte 3: found ']', wanted a digit: [1e▸]"},
    {"x", "[.5]", "emit_event(\"x\"): not JSON at byte 1: found '.', wanted a value: [▸.5]; write 0 before the decimal point"},
    {"x", "[+1]", "emit_event(\"x\"): not JSON at byte 1: found '+', wanted a value: [▸+1]; a number begins with a digit or '-'"},
    {"x", "/* x */1", "emit_event(\"x\"): not JSON at byte 0: found '/', wanted a value: ▸/* x */1; JSON has no comments"},
    {"x", "{}{}", "emit_event(\"x\"): not JSON at byte 2: found '{', wanted nothing after the value: {}▸{}"},
    {"x", "\"C:\\dir\"", "emit_event(\"x\"): not JSON at byte 4: found 'd', wanted one of \"\\/bfnrtu after the backslash: \"C:\\▸dir\"; write \\\\ for a backslash inside a string"},
    {"x", "\"\\u12g4\"", "emit_event(\"x\"): not JSON at byte 5: found 'g', wanted four hexadecimal digits after \\u: \"\\u12▸g4\"; write \\\\ for a backslash inside a string"},
    {"x", "\"a\nb\"", "emit_event(\"x\"): not JSON at byte 2: found byte 0x0a, wanted no control character inside a string: \"a▸\\x0ab\"; write \\n for a line break"},
    {"x", "\"a\tb\"", "emit_event(\"x\"): not JSON at byte 2: found byte 0x09, wanted no control character inside a string: \"a▸\\x09b\"; write \\t for a tab"},
    {"x", "\"\x1b[2J\"", "emit_event(\"x\"): not JSON at byte 1: found byte 0x1b, wanted no control character inside a string: \"▸\\x1b[2J\"; write \\u and four hexadecimal digits for it"},
    {"x", "", "emit_event(\"x\"): not JSON at byte 0: it is empty, wanted a value; write null for nothing"},
    {"x", " ", "emit_event(\"x\"): not JSON at byte 1: it ends, wanted a value:  ▸"},
    {"x", "{", "emit_event(\"x\"): not JSON at byte 1: it ends, wanted a name in double quotes or '}': {▸"},
    {"x", "[", "emit_event(\"x\"): not JSON at byte 1: it ends, wanted a value or ']': [▸"},
    {"x", "{\"a\":1", "emit_event(\"x\"): not JSON at byte 6: it ends, wanted ',' or '}': {\"a\":1▸"},
    {"x", "{\"a\":", "emit_event(\"x\"): not JSON at byte 5: it ends, wanted a value: {\"a\":▸"},
    {"x", "\"abc", "emit_event(\"x\"): not JSON at byte 4: it ends, wanted the '\"' that ends the string: \"abc▸"},
    {"x", "\xef\xbb\xbf{}", "emit_event(\"x\"): not JSON at byte 0: found byte 0xef, wanted a value: ▸\\xef\\xbb\\xbf{}; take away the byte order mark"},
    {"x", "\"caf\xe9\"", "emit_event(\"x\"): not UTF-8 at byte 4: found byte 0xe9: \"caf▸\\xe9\"; convert the text to UTF-8"},
    {"x", "\"\xed\xa0\x80\"", "emit_event(\"x\"): not UTF-8 at byte 1: found byte 0xed: \"▸\\xed\\xa0\\x80\"; convert the text to UTF-8"},
    {"x", "[\"" LONG "äö\" x \"" LONG "\"]", "emit_event(\"x\"): not JSON at byte 72: found 'x', wanted ',' or ']': …6789abcdef" SIXTEEN "äö\" ▸x \"0123456789abc…"},
    {"x", "[" LONG LONG LONG LONG "]", "emit_event(\"x\"): not JSON at byte 2: found '1', wanted ',' or ']': [0▸123456789abcdef0…; a number does not begin with 0"},
    {"x", NULL, "emit_event(\"x\"): the JSON is NULL"},
    {NULL, "{}", "emit_event(): the type is NULL"},
    {"", "{}", "emit_event(\"\"): the type has 0 bytes; " TYPE_IS},
    {"my event", "{}", "emit_event(\"my event\"): found ' ' at byte 2 of the type; " TYPE_IS},
    {"caf\xc3\xa9", "{}", "emit_event(\"café\"): found '\\xc3' at byte 3 of the type; " TYPE_IS},
    {"a\n\ndata: x", "{}", "emit_event(\"a\\x0a\\x0adata: x\"): found '\\x0a' at byte 1 of the type; " TYPE_IS},
    {LONG "x", "{}", "emit_event(\"" LONG "…\"): the type has 65 bytes; " TYPE_IS},
    {"error", "{}", "emit_event(\"error\"): " BROWSERS},
    {"open", "{}", "emit_event(\"open\"): " BROWSERS},
    {"done", "{}", "emit_event(\"done\"): " HOSTS},
    {"run", "{}", "emit_event(\"run\"): " HOSTS},
    {"gap", "{}", "emit_event(\"gap\"): " HOSTS},
};
/* clang-format on */

const size_t refused_event_count = sizeof refused_events / sizeof *refused_events;

/* Return a JSON string of this many bytes with its quotes. */
static char *fill(size_t size)
{
    char *text = calloc(1, size + 1);

    memset(text, 'f', size);
    text[0] = text[size - 1] = '"';
    return text;
}

static int emit_too_much(void)
{
    char *text = fill(AGENT_EVENT_MAX + 1);
    int status = emit_event("big", text);

    free(text);
    return status;
}

static int result_too_much(void)
{
    char *text = fill(AGENT_EVENT_MAX + 1);
    int status = run_result(text);

    free(text);
    return status;
}

static int scope_leaves_no_room(void)
{
    char *name = fill(AGENT_EVENT_MAX);
    int status;

    name[0] = name[AGENT_EVENT_MAX - 1] = 'f';
    task_scope(name);
    status = emit_text("x");
    free(name);
    task_scope(NULL);
    return status;
}

static int emit_latin(void)
{
    return emit_text("caf\xe9");
}

static int emit_null(void)
{
    return emit_text(NULL);
}

static int result_is_no_json(void)
{
    return run_result("not json");
}

static int result_is_null(void)
{
    return run_result(NULL);
}

static int fail_with_bad_code(void)
{
    return run_fail("no code", "why");
}

static int fail_with_latin(void)
{
    return run_fail("code", "caf\xe9");
}

static int fail_at_length(void)
{
    return run_fail("code", "%02000d", 0);
}

static int log_at_length(void)
{
    agent_log(AGENT_LOG_INFO, "%02000d", 0);
    return 0;
}

static int set_bad_key(void)
{
    return ctx_set("a b", "1");
}

static int set_null_key(void)
{
    return ctx_set(NULL, "1");
}

static int set_the_hosts_key(void)
{
    return ctx_set("run.id", "1");
}

static int set_too_much(void)
{
    char *text = fill(AGENT_CTX_MAX);
    int status = ctx_set("big", text);

    free(text);
    return status;
}

static int bind_here(void)
{
    struct agent_ctx *captured = ctx_capture();
    int status = ctx_bind(captured);

    ctx_release(captured);
    return status;
}

static int take_no_input(void)
{
    return run_input(0, NULL);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int spawn_nothing(void)
{
    struct agent_task *task;

    return task_spawn(NULL, NULL, &task);
}

static int spawn_to_nowhere(void)
{
    return task_spawn(nothing, NULL, NULL);
}

static int spawn_too_many(void)
{
    struct agent_task *task;
    int status = 0;

    for (int i = 0; i <= AGENT_TASKS_MAX && status == 0; i++)
        status = task_spawn(nothing, NULL, &task);
    return status;
}

static int join_nothing(void)
{
    return task_join(NULL);
}

static int join_twice(void)
{
    struct agent_task *task;

    if (task_spawn(nothing, NULL, &task) < 0 || task_join(task) < 0)
        return 0;
    return task_join(task);
}

static int scope_in_latin(void)
{
    return task_scope("caf\xe9");
}

static int open_url(const char *url, const char *header)
{
    const char *headers[] = {"Accept: */*", header, NULL};
    struct agent_http_request request = {.url = url, .headers = headers};
    struct agent_http *http;

    return agent_http_open(&request, &http);
}

static int open_ftp(void)
{
    return open_url("ftp://user:secret@host/x?key=secret", NULL);
}

static int open_null(void)
{
    return open_url(NULL, NULL);
}

static int open_blank(void)
{
    return open_url("http://host/a b", NULL);
}

static int open_no_host(void)
{
    return open_url("http:///x", NULL);
}

static int open_bad_port(void)
{
    return open_url("http://host:99999/", NULL);
}

static int open_bad_header(void)
{
    return open_url("http://host/", "Authorization Bearer secret");
}

static int open_broken_header(void)
{
    return open_url("http://host/", "Authorization: Bearer\nsecret");
}

static int open_bad_name(void)
{
    return open_url("http://host/", "a b: c");
}

static int open_nothing(void)
{
    return agent_http_open(NULL, NULL);
}

static int open_bad_method(void)
{
    struct agent_http_request request = {.method = "GET /", .url = "http://host/"};
    struct agent_http *http;

    return agent_http_open(&request, &http);
}

static int open_head_with_body(void)
{
    struct agent_http_request request = {.method = "HEAD", .url = "http://host/", .body = "x"};
    struct agent_http *http;

    return agent_http_open(&request, &http);
}

static int read_nothing(void)
{
    const char *data;

    return (int)agent_http_read(NULL, &data);
}

static int ask_nothing(void)
{
    return agent_http_status(NULL);
}

static void *call_elsewhere(void *call)
{
    int (**fn)(void) = call;

    return (void *)(intptr_t)(*fn)();
}

/* Make the call on a thread that is in no run. */
static int elsewhere(int (*fn)(void))
{
    pthread_t thread;
    void *status = NULL;

    if (pthread_create(&thread, NULL, call_elsewhere, &fn) == 0)
        pthread_join(thread, &status);
    return (int)(intptr_t)status;
}

static int emit_event_there(void)
{
    return emit_event("there", "{}");
}

static int stray_event(void)
{
    return elsewhere(emit_event_there);
}

static int emit_text_there(void)
{
    return emit_text("x");
}

static int stray_text(void)
{
    return elsewhere(emit_text_there);
}

static int set_there(void)
{
    return ctx_set("there", "1");
}

static int stray_set(void)
{
    return elsewhere(set_there);
}

static int capture_there(void)
{
    return ctx_capture() ? 0 : -ENXIO;
}

static int stray_capture(void)
{
    return elsewhere(capture_there);
}

static int stray_fail(void)
{
    return elsewhere(fail_with_latin);
}

static int stray_result(void)
{
    return elsewhere(result_is_null);
}

static int sleep_there(void)
{
    return agent_sleep(1);
}

static int stray_sleep(void)
{
    return elsewhere(sleep_there);
}

static int stray_input(void)
{
    return elsewhere(take_no_input);
}

static int stray_spawn(void)
{
    return elsewhere(spawn_nothing);
}

#define STRAY                                                                                 \
    "not inside a run; call it in handle(), or on a thread that called ctx_bind() with what " \
    "ctx_capture() returned in the run"

/* clang-format off */
const struct refusal_case refusals[] = {
    {emit_too_much, -EMSGSIZE, "emit_event(\"big\"): 983041 bytes of JSON as sent, and an event may have 983040; send less, or in pieces"},
    {result_too_much, -EMSGSIZE, "run_result(): 983041 bytes of JSON as sent, and a result may have 983040; send less, or in pieces"},
    {scope_leaves_no_room, -EMSGSIZE, "emit_text(): 983064 bytes of JSON as sent, and an event with its scope may have 983040; send less, or in pieces"},
    {emit_latin, -EINVAL, "emit_text(): not UTF-8 at byte 3: found byte 0xe9: caf▸\\xe9; convert the text to UTF-8"},
    {emit_null, -EINVAL, "emit_text(): the text is NULL"},
    {result_is_no_json, -EINVAL, "run_result(): not JSON at byte 0: found 'n', wanted a value: ▸not json"},
    {result_is_null, -EINVAL, "run_result(): the JSON is NULL"},
    {fail_with_bad_code, -EIO, "run_fail(\"no code\"): this is no code; a code is 1 to 64 of letters, digits, '_', '-', '.' and ':'. \"agent_error\" takes its place"},
    {fail_with_latin, -EIO, "run_fail(\"code\"): not UTF-8 at byte 3: found byte 0xe9: caf▸\\xe9; convert the text to UTF-8"},
    {fail_at_length, -EIO, "run_fail(\"code\"): the message has 2000 bytes, and is cut to 1023"},
    {log_at_length, 0, "agent_log(): the line has 2000 bytes, and is cut to 1023"},
    {set_bad_key, -EINVAL, "ctx_set(\"a b\"): the key has 3 bytes; a key is 1 to 128 of printable ASCII, without spaces"},
    {set_null_key, -EINVAL, "ctx_set(): the key is NULL"},
    {set_the_hosts_key, -EPERM, "ctx_set(\"run.id\"): the key is the host's; name another"},
    {set_too_much, -ENOSPC, "ctx_set(\"big\"): no room for 1048605 bytes more: all values that a run ever sets have 1048576"},
    {bind_here, -EBUSY, "ctx_bind(): this thread is the host's, and in a run; only threads of the plugin's own are bound"},
    {take_no_input, -EINVAL, "run_input(): the place for the input is NULL"},
    {spawn_nothing, -EINVAL, "task_spawn(): the function is NULL"},
    {spawn_to_nowhere, -EINVAL, "task_spawn(): the place for the task is NULL"},
    {spawn_too_many, -EAGAIN, "task_spawn(): no more tasks: a run has at most 256 that are not joined; join some first"},
    {join_nothing, -EINVAL, "task_join(): the task is NULL"},
    {join_twice, -EINVAL, "task_join(): no task of this run has this handle; each is joined once, and not by itself"},
    {scope_in_latin, -EINVAL, "task_scope(): not UTF-8 at byte 3: found byte 0xe9: caf▸\\xe9; convert the text to UTF-8"},
    {open_ftp, -EINVAL, "agent_http_open(\"host/x\"): the URL does not begin with http:// or https://"},
    {open_null, -EINVAL, "agent_http_open(): the URL is NULL"},
    {open_blank, -EINVAL, "agent_http_open(\"http://host/a b\"): byte 0x20 at 13 of the URL; write %20"},
    {open_no_host, -EINVAL, "agent_http_open(\"http:///x\"): the URL has no host"},
    {open_bad_port, -EINVAL, "agent_http_open(\"http://host:99999/\"): the URL: Port number was not a decimal number between 0 and 65535"},
    {open_bad_header, -EINVAL, "agent_http_open(\"http://host/\"): header 2 has no ':'; write \"Name: value\""},
    {open_broken_header, -EINVAL, "agent_http_open(\"http://host/\"): header 2, Authorization, has a line break at byte 21"},
    {open_bad_name, -EINVAL, "agent_http_open(\"http://host/\"): the name of header 2 is not letters, digits and \"-\""},
    {open_nothing, -EINVAL, "agent_http_open(): the request is NULL"},
    {open_bad_method, -EINVAL, "agent_http_open(\"http://host/\"): the method is not a word of letters"},
    {open_head_with_body, -EINVAL, "agent_http_open(\"http://host/\"): a HEAD request has no body"},
    {read_nothing, -EINVAL, "agent_http_read(): the exchange is NULL"},
    {ask_nothing, -EINVAL, "agent_http_status(): the exchange is NULL"},
    {stray_event, -ENXIO, "emit_event(\"there\"): " STRAY},
    {stray_text, -ENXIO, "emit_text(): " STRAY},
    {stray_set, -ENXIO, "ctx_set(\"there\"): " STRAY},
    {stray_capture, -ENXIO, "ctx_capture(): not inside a run; capture in the run, and hand the capture to the thread"},
    {stray_fail, -ENXIO, "run_fail(\"code\"): " STRAY},
    {stray_result, -ENXIO, "run_result(): " STRAY},
    {stray_sleep, -ENXIO, "agent_sleep(): " STRAY},
    {stray_input, -ENXIO, "run_input(): " STRAY},
    {stray_spawn, -ENXIO, "task_spawn(): " STRAY},
};
/* clang-format on */

const size_t refusal_count = sizeof refusals / sizeof *refusals;
