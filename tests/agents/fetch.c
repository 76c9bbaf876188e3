/* fetch: gets a page and emits each piece as it comes; tries once more if the server is busy. Posts
 * "body" if the input has one.
 *
 *     {"url":"http://...","body":"..."}
 */
#include <sluice/agent_http.h>
#include <sluice/agent_json.h>

#define RETRY_MS 1000

/* A piece is text without a NUL. */
static int pass_on(const char *data, long length)
{
    cJSON *piece = cJSON_CreateObject();
    char *text = calloc(1, (size_t)length + 1);

    if (text) {
        memcpy(text, data, (size_t)length);
        cJSON_AddStringToObject(piece, "data", text);
    }
    free(text);
    return emit_json("piece", piece);
}

static int stream(struct agent_http *http)
{
    const char *data;
    long length;
    int status = 0;

    while (status == 0 && (length = agent_http_read(http, &data)) != 0)
        status = length < 0 ? (int)length : pass_on(data, length);
    return status;
}

static int answer(struct agent_http *http)
{
    int status = agent_http_status(http);

    if (status == 200)
        status = stream(http);
    if (status < 0 && status != -ECANCELED)
        run_fail("unreachable", "%s", agent_http_error(http));
    if (status > 0 && status != 503)
        run_fail("refused", "the server says %d", status);
    return status;
}

static int fetch(const char *url, const char *body)
{
    const char *const headers[] = {"Accept: text/plain", NULL};
    struct agent_http_request request = {
        .url = url, .headers = headers, .body = body, .timeout_ms = 30000};
    struct agent_http *http;
    int status = agent_http_open(&request, &http);

    if (status < 0)
        return status;
    status = answer(http);
    agent_http_close(http);
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const char *url = json_string(json, "url", ""), *body = json_string(json, "body", NULL);
    int status = fetch(url, body);

    (void)self;
    if (status == 503 && (status = agent_sleep(RETRY_MS)) == 0)
        status = fetch(url, body);
    cJSON_Delete(json);
    return status > 0 ? -EIO : status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fetch", .version = "1.0", .handle = handle)
