#include "base/card.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/json_fault.h"
#include "base/mem.h"
#include "base/why.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Take a line of text. */
static int take_line(char **out, const char *text, size_t most, const char *member, struct why *why)
{
    size_t length = text ? strlen(text) : 0;

    if (length == 0)
        return 0;
    if (length > most)
        return why_set(why, -EINVAL, "%s has %zu bytes, and may have %zu", member, length, most);
    if (json_escaped_length(text, length) < 0)
        return why_set(why, -EINVAL, "%s is not UTF-8", member);
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ')
            return why_set(why, -EINVAL, "%s has a control character; it is one line", member);
    }
    *out = mem_strdup(text);
    return 0;
}

static int take_schema(struct json_schema **out, const char *text, const char *member,
                       struct why *why)
{
    int status;

    if (text == NULL || *text == '\0')
        return 0;
    status = json_schema_read(text, strlen(text), out, why);
    if (status < 0)
        return why_set(why, status, "%s: %s", member, why_text(why));
    if (!json_schema_is_object(*out))
        return why_set(why, -EINVAL, "%s: it must say \"type\":\"object\"", member);
    return 0;
}

/* Take a list of inputs, each of which the card's own schema must take. */
static int take_examples(struct card *card, const char *text, struct why *why)
{
    size_t length = text ? strlen(text) : 0;
    struct buf fault = {0};
    unsigned number = 0;
    int status = 0;

    if (length == 0)
        return 0;
    if (length > CARD_EXAMPLES_MAX)
        return why_set(why, -EINVAL, "examples has %zu bytes, and may have %u", length,
                       CARD_EXAMPLES_MAX);
    json_fault_tell(&fault, text, length);
    if (buf_length(&fault) > 0)
        why_set(why, 0, "examples is %.*s", (int)buf_length(&fault), buf_data(&fault));
    if (buf_length(&fault) > 0 || text[strspn(text, " \t\r\n")] != '[') {
        status = buf_length(&fault) > 0
                     ? -EINVAL
                     : why_set(why, -EINVAL, "examples is not a JSON list of inputs: [...]");
        buf_finish(&fault);
        return status;
    }
    card->examples = mem_alloc(length + 1);
    length = json_compact(card->examples, text, length);
    card->examples[length] = '\0';
    if (card->input)
        status = json_schema_check_each(card->input, card->examples, length, &number, why);
    if (status < 0)
        why_set(why, 0, "example %u does not match input_schema: %s", number, why_text(why));
    return status < 0 ? -EINVAL : 0;
}

int card_make(struct card *card, const struct card_texts *texts, struct why *why)
{
    int status = take_line(&card->title, texts->title, CARD_TITLE_MAX, "title", why);

    if (status == 0)
        status = take_line(&card->tags, texts->tags, CARD_TAGS_MAX, "tags", why);
    if (status == 0)
        status = take_schema(&card->input, texts->input_schema, "input_schema", why);
    if (status == 0)
        status = take_schema(&card->output, texts->output_schema, "output_schema", why);
    if (status == 0)
        status = take_examples(card, texts->examples, why);
    if (status < 0)
        card_finish(card);
    return status;
}

void card_finish(struct card *card)
{
    free(card->title);
    free(card->tags);
    free(card->examples);
    json_schema_destroy(card->input);
    json_schema_destroy(card->output);
    *card = (struct card){0};
}

int card_check_input(const struct card *card, const char *text, size_t length, struct why *why)
{
    return card->input ? json_schema_check(card->input, text, length, why) : 0;
}
