/*
 * words.h - the words of a question, and where they occur in a text.
 *
 * Two words are equal here if their stems are equal: "extracting" and "extract". Case and
 * accents do not count: "Cafe" and "café".
 */
#ifndef PLUGIN_WORDS_H
#define PLUGIN_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORDS_MAX    24 /* more words of a question are ignored */
#define WORD_SIZE    64 /* with NUL; longer words are cut */
#define WORDS_QUERY  (WORDS_MAX * (WORD_SIZE + 8))
#define QUESTION_MAX 4096 /* bytes of a question that are read */

struct words {
    size_t count;
    char word[WORDS_MAX][WORD_SIZE];
    char stem[WORDS_MAX][WORD_SIZE];
    double weight[WORDS_MAX]; /* how much a word tells; 1 until index_search() sets it */
};

/* A word of a text, and the place to go on from. Set at, end and question; the rest is zero. */
struct word {
    const char *at;
    const char *end;
    bool question; /* Chinese and the like: only pairs of characters, not each one as well */
    bool again;    /* this word starts where the word before starts */
    bool run;      /* at is inside a run of pairs */
    size_t single; /* length of the character that comes next, or 0 */
    const char *start;
    size_t length;
    char folded[WORD_SIZE]; /* without case and accents */
    char stem[WORD_SIZE];
};

/* Read the next word. Return false after the last one. */
bool word_next(struct word *word);

/*
 * Read the words that matter: all except stop words ("how", "the"), or all if there are
 * only stop words. A word consists of letters and digits. Each word is kept once.
 */
void words_read(struct words *words, const char *question);

/*
 * Write an FTS5 query for any of the words, or "" for none. Each word is a quoted string,
 * so that a word is never an operator. size should be WORDS_QUERY.
 */
void words_query(const struct words *words, char *query, size_t size);

/* Return the set of words that occur in the text: bit i stands for word i. */
uint32_t words_found(const struct words *words, const char *text);

/* Return the sum of the weights of the words in the set. */
double words_weight(const struct words *words, uint32_t set);

#endif
