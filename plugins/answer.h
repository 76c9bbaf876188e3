/*
 * answer.h - an answer made of sentences of the passages that were found.
 *
 * The sentences that have most of the question's words are taken, from the
 * better passages rather than from others. Passages stay in the order of the
 * findings, the best first, and sentences in reading order. Code goes with the
 * sentence before it.
 */
#ifndef PLUGIN_ANSWER_H
#define PLUGIN_ANSWER_H

#include "index.h"

#include <stdbool.h>

#define ANSWER_PARTS    8    /* sentences at most */
#define ANSWER_SIZE     1200 /* bytes of all sentences, about */
#define ANSWER_SENTENCE 420  /* bytes; longer ones are cut */
#define ANSWER_CODE     8    /* lines of code with a sentence */

struct answer_part {
    char *text;                    /* one line */
    char *code;                    /* lines that each end with '\n', or "" */
    unsigned line;                 /* in the passage's file */
    const struct passage *passage; /* of the findings */
};

struct answer {
    bool direct; /* the documents seem to answer the question, not just to touch it */
    size_t count;
    struct answer_part parts[ANSWER_PARTS];
};

/* 0 or -ENOMEM. The answer refers to the findings. */
int answer_compose(const struct findings *findings, struct answer *answer);

void answer_finish(struct answer *answer);

#endif
