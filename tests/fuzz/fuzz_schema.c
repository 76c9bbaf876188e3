/*
 * A schema, NUL, and a text to check with it. Whatever both are: reading and checking end, what
 * fails has words that are a line of UTF-8, white space changes nothing, and what a schema takes
 * its opposite refuses.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/why.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void check_words(const struct why *why, int status)
{
    const char *words = why_text(why);

    assert((*words == '\0') == (status == 0) && strlen(words) < 8192);
    assert(json_escaped_length(words, strlen(words)) >= 0);
    for (const char *p = words; *p; p++)
        assert((unsigned char)*p >= ' ');
}

static int check(const struct json_schema *schema, const char *text, size_t length)
{
    struct why why = {0};
    int status = json_schema_check(schema, text, length, &why);

    assert(status == 0 || status == -EINVAL || status == -E2BIG);
    check_words(&why, status);
    why_finish(&why);
    return status;
}

/* Check with {"not": schema}; a $ref would mean another place there. */
static void check_opposite(const char *schema_text, const char *text, size_t length, int status)
{
    struct json_schema *schema = NULL;
    struct buf opposite = {0};
    struct why why = {0};

    if (status == -E2BIG || strchr(schema_text, '$'))
        return;
    buf_printf(&opposite, "{\"not\":%s}", schema_text);
    if (json_schema_read(buf_data(&opposite), buf_length(&opposite), &schema, &why) == 0) {
        int other = check(schema, text, length);
        assert(other == -E2BIG || (other == 0) == (status == -EINVAL));
        json_schema_destroy(schema);
    }
    why_finish(&why);
    buf_finish(&opposite);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *schema_text = (const char *)data;
    size_t length = strnlen(schema_text, size);
    const char *text = length < size ? schema_text + length + 1 : "";
    size_t text_length = length < size ? size - length - 1 : 0;
    struct json_schema *schema = NULL;
    struct why why = {0};
    int status = json_schema_read(schema_text, length, &schema, &why);

    assert(status == 0 || status == -EINVAL);
    check_words(&why, status);
    why_finish(&why);
    if (status == 0 && text_length > 0 && json_check(text, text_length) > 0) {
        char *compact = malloc(text_length);
        size_t compact_length = json_compact(compact, text, text_length);

        assert(json_check(json_schema_text(schema), strlen(json_schema_text(schema))) > 0);
        status = check(schema, text, text_length);
        assert(check(schema, compact, compact_length) == status);
        check_opposite(json_schema_text(schema), compact, compact_length, status);
        free(compact);
    }
    json_schema_destroy(schema);
    return 0;
}
