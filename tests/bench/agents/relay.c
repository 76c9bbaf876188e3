/*
 * relay: emits each line of another server's answer as it comes.
 *
 *     {"url":"http://127.0.0.1:9000/?events=80&interval_us=100000"}
 */
#include <sluice/agent_http.h>
#include <sluice/agent_json.h>

struct line {
    char text[4096];
    size_t length;
};

/* Emits what is whole of a piece of the body; the rest waits for the next one. */
static int emit_lines(struct line *line, const char *data, size_t length)
{
    int status = 0;

    while (length > 0 && status == 0) {
        const char *end = memchr(data, '\n', length);
        size_t part = end ? (size_t)(end - data) : length, taken = part + (end != NULL);

        if (line->length + part >= sizeof line->text)
            return run_fail("long_line", "a line has over %zu bytes", sizeof line->text - 1);
        memcpy(line->text + line->length, data, part);
        line->length += part;
        if (end) {
            line->text[line->length] = '\0';
            line->length = 0;
            status = emit_event("token", line->text);
        }
        data += taken;
        length -= taken;
    }
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = json_parse(input);
    struct agent_http_request request = {.url = json_string(json, "url", ""),
                                         .max_bytes = (size_t)1 << 40};
    struct line line = {.length = 0};
    struct agent_http *http;
    const char *data;
    int status = agent_http_open(&request, &http);
    long length = 0;

    (void)self;
    cJSON_Delete(json);
    while (status == 0 && (length = agent_http_read(http, &data)) > 0)
        status = emit_lines(&line, data, (size_t)length);
    return length < 0 ? (int)length : status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "relay", .version = "1.0", .handle = handle)
