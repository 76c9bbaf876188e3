/*
 * What an agent declares of itself for clients: AGENT_PLUGIN()'s members title, input_schema,
 * output_schema, examples and tags. A worker checks them before it says READY, and the front
 * once more, since it does not trust workers.
 */
#ifndef BASE_CARD_H
#define BASE_CARD_H

#include "base/json_schema.h"

#define CARD_TITLE_MAX    256u         /* bytes; AGENT_TITLE_MAX */
#define CARD_TAGS_MAX     1024u        /* AGENT_TAGS_MAX */
#define CARD_EXAMPLES_MAX (64u * 1024) /* AGENT_EXAMPLES_MAX */

struct why;

/* As declared; NULL for what is not. */
struct card_texts {
    const char *title, *input_schema, *output_schema, *examples, *tags;
};

/* A plain struct: zeroed is a card of an agent that declares nothing. */
struct card {
    char *title;                /* one line of UTF-8, or NULL */
    char *tags;                 /* words with commas between them, or NULL */
    char *examples;             /* a JSON list of inputs, without white space, or NULL */
    struct json_schema *input;  /* of objects; NULL: any JSON */
    struct json_schema *output; /* of objects; NULL: any JSON */
};

/* Fill the card. -EINVAL: a member says what it may not; the reason begins with its name. */
int card_make(struct card *card, const struct card_texts *texts, struct why *why);

void card_finish(struct card *card);

/*
 * Check an input, which json_check() takes: 0 if it matches or none is declared, else what
 * json_schema_check() says.
 */
int card_check_input(const struct card *card, const char *text, size_t length, struct why *why);

#endif
