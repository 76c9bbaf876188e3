#include "run/event.h"

#include "base/json.h"

#include <inttypes.h>

void run_identity_describe(const struct run_identity *run, struct buf *json)
{
    buf_printf(json, "{\"run\":\"%s\",\"agent\":", run->id);
    json_append_string(json, run->agent);
    if (run->version) {
        buf_puts(json, ",\"version\":");
        json_append_string(json, run->version);
        buf_printf(json, ",\"generation\":%" PRIu64, run->generation);
    }
}
