/*
 * words.h - the words of a question, and where they occur in a text.
 *
 * Two words are the same here if their stems are: "extracting" and "extract".
 */
#ifndef PLUGIN_WORDS_H
#define PLUGIN_WORDS_H

#include <stddef.h>
#include <stdint.h>

#define WORDS_MAX    24 /* further words of a question are left out */
#define WORD_SIZE    64 /* with NUL; longer words are cut */
#define WORDS_QUERY  (WORDS_MAX * (WORD_SIZE + 8))
#define QUESTION_MAX 4096 /* bytes of a question that are read */

struct words {
    size_t count;
    char word[WORDS_MAX][WORD_SIZE];
    char stem[WORDS_MAX][WORD_SIZE];
    double weight[WORDS_MAX]; /* how much a word tells; 1 until someone knows better */
};

/*
 * The words that matter: without stop words ("how", "the"), unless there are no
 * others. A word is letters, digits and what is not ASCII; each comes once.
 */
void words_read(struct words *words, const char *question);

/*
 * An FTS5 query for any of the words, each a quoted string, so that nothing in
 * them is an operator. size should be WORDS_QUERY. "" for no words.
 */
void words_query(const struct words *words, char *query, size_t size);

/* The words that occur in the text: bit i stands for word i. */
uint32_t words_found(const struct words *words, const char *text);

/* The sum of the weights of the words in the set. */
double words_weight(const struct words *words, uint32_t set);

#endif
