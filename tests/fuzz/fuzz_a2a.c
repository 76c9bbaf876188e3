/*
 * Any JSON is a call of A2A. What is refused has a reason; what is read is in its bounds; the
 * request's id is JSON that can be sent back.
 */
#include "fuzz.h"

#include "base/json.h"
#include "protocol/a2a_request.h"
#include "protocol/body.h"

#include <assert.h>
#include <string.h>

static void check_why(enum a2a_error error, struct why *why)
{
    assert((error != A2A_ok) == (*why_text(why) != '\0'));
    why_finish(why);
}

static void check_message(const cJSON *params)
{
    struct a2a_message message;
    struct why why = {0};
    enum a2a_error error = a2a_read_message(params, &message, &why);

    if (error == A2A_ok) {
        assert(buf_length(&message.text) > 0);
        assert(strlen(buf_data(&message.text)) == buf_length(&message.text) - 1);
        assert(message.context == NULL || strlen(message.context) <= A2A_CONTEXT_MAX);
        assert(message.task == NULL || *message.task);
    }
    a2a_message_finish(&message);
    check_why(error, &why);
}

static void check_params(const cJSON *params)
{
    struct why why = {0};
    struct a2a_list list;
    const char *id;
    enum a2a_error error = a2a_read_task(params, &id, &why);

    assert(error != A2A_ok || *id);
    check_why(error, &why);
    error = a2a_read_list(params, &list, &why);
    assert(error != A2A_ok || (list.page >= 1 && list.page <= A2A_PAGE_MAX && list.state >= -1 &&
                               list.state <= A2A_STATES));
    check_why(error, &why);
    check_message(params);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct a2a_call call;
    struct why why = {0};
    cJSON *root;

    if (size == 0 || json_check(text, size) < 0)
        return 0;
    if (body_read(text, size, &root) < 0)
        return 0;
    check_why(a2a_read_call(root, &call, &why), &why);
    assert(json_check(call.id, strlen(call.id)) > 0);
    check_params(call.params);
    check_params(root);
    cJSON_Delete(root);
    return 0;
}
