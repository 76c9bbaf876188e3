#include "run/event.h"

#include "base/json.h"

void run_identity_describe(const struct run_identity *run, struct buf *json)
{
    buf_puts(json, "{\"run\":\"");
    buf_append(json, run->id, RUN_ID_LENGTH);
    buf_puts(json, "\",\"agent\":");
    json_append_string(json, run->agent);
    if (run->version) {
        buf_puts(json, ",\"version\":");
        json_append_string(json, run->version);
        buf_puts(json, ",\"generation\":");
        buf_number(json, run->generation);
    }
}
