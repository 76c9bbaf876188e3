/*
 * answer.h - an answer made of sentences of the found passages.
 *
 * The answer takes the sentences that contain most of the question's words, and
 * prefers better passages. Passages keep the order of the findings, best first;
 * sentences keep their reading order. A block of code belongs to the sentence before
 * it.
 */
#ifndef PLUGIN_ANSWER_H
#define PLUGIN_ANSWER_H

#include "index.h"

#include <stdbool.h>

#define ANSWER_PARTS    8    /* most sentences */
#define ANSWER_SIZE     1200 /* bytes of all sentences, approximately */
#define ANSWER_SENTENCE 420  /* bytes; longer ones are cut */
#define ANSWER_CODE     8    /* lines of code with a sentence */

struct answer_part {
    char *text;                    /* one line */
    char *code;                    /* lines that each end with '\n', or "" */
    unsigned line;                 /* in the passage's file */
    const struct passage *passage; /* of the findings */
};

struct answer {
    bool direct; /* the documents seem to answer the question, not only to mention it */
    size_t count;
    struct answer_part parts[ANSWER_PARTS];
};

/* Compose an answer, which refers to the findings. 0 or -ENOMEM. */
int answer_compose(const struct findings *findings, struct answer *answer);

void answer_finish(struct answer *answer);

#endif
