/*
 * fiber_shared: all runs format what they emit into the same static buffers,
 * which fibers may do between two calls that let others run.
 *
 *     {"how":"event","letter":L,"bytes":N,"count":K}  emits K times the event form_L
 *                                                      {"form":L,"pad":"LLL..."}, N letters
 *     {"how":"text",...}                               emits K times N letters as text
 *     {"how":"look"}                                   result {"inside":I}, the runs that
 *                                                      wait in a call that emits
 *
 * The letter n stands for a line feed, of which one byte becomes two of JSON.
 */
#include <sluice/agent_json.h>

#include <stdio.h>
#include <string.h>

#define BYTES_MAX (400 * 1024)

static char type[AGENT_TYPE_MAX + 1];
static char text[2 * BYTES_MAX + 64];
static unsigned inside;

static char *write_pad(char *at, const char *unit, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++, at += strlen(unit))
        memcpy(at, unit, strlen(unit));
    *at = '\0';
    return at;
}

static int emit_shared_event(const char *letter, size_t bytes)
{
    char *at = text;

    snprintf(type, sizeof type, "form_%s", letter);
    at += sprintf(at, "{\"form\":\"%s\",\"pad\":\"", letter);
    at = write_pad(at, strcmp(letter, "n") == 0 ? "\\n" : letter, bytes);
    strcpy(at, "\"}");
    return emit_event(type, text);
}

static int emit_shared_text(const char *letter, size_t bytes)
{
    write_pad(text, strcmp(letter, "n") == 0 ? "\n" : letter, bytes);
    return emit_text(text);
}

static int look(void)
{
    char result[32];

    snprintf(result, sizeof result, "{\"inside\":%u}", inside);
    return run_result(result);
}

static int emit_all(const cJSON *json, int (*emit)(const char *letter, size_t bytes))
{
    const char *letter = json_string(json, "letter", "a");
    size_t bytes = (size_t)json_number(json, "bytes", 1);
    int status = 0;

    if (strlen(letter) != 1 || bytes > BYTES_MAX)
        return -EINVAL;
    for (double left = json_number(json, "count", 1); left > 0 && status == 0; left--) {
        inside++;
        status = emit(letter, bytes);
        inside--;
    }
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const char *how = json_string(json, "how", "");
    int status;

    (void)self;
    if (strcmp(how, "look") == 0)
        status = look();
    else
        status = emit_all(json, strcmp(how, "text") == 0 ? emit_shared_text : emit_shared_event);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fiber_shared", .version = "1.0", .handle = handle)
