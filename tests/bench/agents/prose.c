/*
 * prose: says a number of texts of 64 bytes of JSON each, one each so many milliseconds, once it
 * was given an input: a reader is there then.
 *
 *     {"events":20000,"interval_ms":0}
 */
#include <sluice/agent_json.h>

static int handle(void *self, const char *input)
{
    static const char text[] =
        "{\"delta\":\"so it goes, word for word and never the same twice. \"}";
    cJSON *json = json_parse(input);
    int events = (int)json_number(json, "events", 0), status;
    int interval_ms = (int)json_number(json, "interval_ms", 0);
    const char *go;

    (void)self;
    cJSON_Delete(json);
    status = agent_run_input(AGENT_FOREVER, &go);
    for (int n = 0; n < events && status == 0; n++) {
        if (interval_ms > 0)
            status = agent_sleep((uint32_t)interval_ms);
        if (status == 0)
            status = emit_event("text", text);
    }
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "prose", .version = "1.0", .handle = handle)
