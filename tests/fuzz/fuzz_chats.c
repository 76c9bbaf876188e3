/*
 * Any JSON is a request of AG-UI, or of the AI SDK. What is refused has a reason; what is
 * taken becomes an input that is JSON.
 */
#include "fuzz.h"

#include "base/json.h"
#include "protocol/agui_request.h"
#include "protocol/aisdk_request.h"
#include "protocol/body.h"

#include <assert.h>
#include <string.h>

static void check_input(int status, const struct chat *chat, struct why *why)
{
    struct buf input = {0};

    if (status == 0)
        status = chat_write(chat, NULL, &input, why);
    assert((status < 0) == (*why_text(why) != '\0'));
    if (status == 0)
        assert(json_check(buf_data(&input), buf_length(&input)) > 0);
    buf_finish(&input);
    why_finish(why);
}

static void read_agui(const char *text, size_t size)
{
    cJSON *body = NULL;
    struct agui_request request;
    struct why why = {0};
    int status;

    if (body_read(text, size, &body) < 0)
        return;
    status = agui_request_read(body, &request, &why);
    check_input(status, &request.chat, &why);
    cJSON_Delete(body);
}

static void read_aisdk(const char *text, size_t size)
{
    cJSON *body = NULL;
    struct aisdk_request request;
    struct why why = {0};
    int status;

    if (body_read(text, size, &body) < 0)
        return;
    status = aisdk_request_read(body, &request, &why);
    check_input(status, &request.chat, &why);
    aisdk_request_finish(&request);
    cJSON_Delete(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    if (json_check(text, size) < 0)
        return 0;
    read_agui(text, size);
    read_aisdk(text, size);
    return 0;
}
