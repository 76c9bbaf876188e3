/* What json.c says of any bytes is what cJSON says, where both know the same JSON; what it writes
 * can be read again. */
#include "fuzz.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/json_fault.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* The whole is JSON, so the compact form is, has the length given, and says the same. */
static void check_compact(const char *text, size_t size, size_t length)
{
    char *compact = malloc(size + 1);
    cJSON *before = cJSON_ParseWithLength(text, size), *after;

    assert(length <= size && json_compact(compact, text, size) == length);
    assert(json_check(compact, length) == (ssize_t)length);
    assert(!memchr(compact, '\n', length) && !memchr(compact, '\r', length));
    after = cJSON_ParseWithLength(compact, length);
    assert((before == NULL) == (after == NULL));
    if (before) {
        char *one = cJSON_PrintUnformatted(before), *other = cJSON_PrintUnformatted(after);

        assert(one && other && strcmp(one, other) == 0);
        cJSON_free(one);
        cJSON_free(other);
    }
    cJSON_Delete(before);
    cJSON_Delete(after);
    free(compact);
}

static void check_escape(const char *text, size_t size)
{
    ssize_t length = json_escaped_length(text, size);
    struct buf json = {0};

    if (length >= 0) {
        buf_puts(&json, "\"");
        buf_reserve(&json, (size_t)length);
        assert(json_escape(json.base + json.end, text, size) == (size_t)length);
        buf_commit(&json, (size_t)length);
        buf_puts(&json, "\"");
        assert(json_check(buf_data(&json), buf_length(&json)) == length + 2);
        buf_finish(&json);
    }
    if (!memchr(text, '\0', size)) {
        char *whole = strndup(text, size);

        json_append_string(&json, whole);
        assert(json_check(buf_data(&json), buf_length(&json)) == (ssize_t)buf_length(&json));
        free(whole);
        buf_finish(&json);
    }
}

/* What is not JSON has a fault, and its words are a line of UTF-8. */
static void check_fault(const char *text, size_t size, bool is_json)
{
    struct buf words = {0};

    json_fault_tell(&words, text, size);
    assert((buf_length(&words) == 0) == is_json && buf_length(&words) < 512);
    assert(json_escaped_length(buf_data(&words), buf_length(&words)) >= 0);
    assert(!memchr(buf_data(&words), '\n', buf_length(&words)));
    buf_finish(&words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    ssize_t length = json_check(text, size);

    if (length >= 0)
        check_compact(text, size, (size_t)length);
    check_escape(text, size);
    check_fault(text, size, length >= 0);
    return 0;
}
