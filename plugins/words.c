/*
 * A word is read in lower case and cut to its stem: cut_suffix() removes suffixes until
 * none fits, then a doubled last letter and a final i go. The rules are few and rough, but
 * they are the same for questions and texts, so that only equality matters.
 */
#include "words.h"

#include "text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char stop_words[] =
    " a about all also am an and any are as at be been but by can could did do does doing each"
    " explain for from get give had happen happens has have how i if in into is it its just know"
    " let like may me mean means might must my need not of on one only or our out please see shall"
    " should show so some tell than that the their them then there these they this those to up us"
    " want was way we were what when where which who why will with would you your ";

/* Longer suffixes first; a stem keeps at least three letters. */
static const char *const suffixes[] = {
    "ations", "ation", "ings", "ions", "ing", "ion", "ies", "ers",
    "ed",     "er",    "es",   "ly",   "s",   "e",   "y",
};

static bool is_stop_word(const char *word)
{
    return is_listed(stop_words, word, strlen(word));
}

/* Return the bytes of a character that separates words, or 0 if it belongs to a word. */
static size_t separator(const unsigned char *at)
{
    if (*at < 0x80)
        return !((*at >= '0' && *at <= '9') || ((*at | 32) >= 'a' && (*at | 32) <= 'z'));
    if (at[0] == 0xc2)
        return at[1] ? 2 : 1;
    if (at[0] == 0xe2 && at[1] >= 0x80 && at[1] <= 0xaf)
        return at[2] ? 3 : 2;
    return 0;
}

/* Move *at to the next word before end. Return the word's length in bytes, 0 after the last word.
 */
static size_t next_word(const char **at, const char *end)
{
    const char *word;
    size_t skip;

    while (*at < end && (skip = separator((const unsigned char *)*at)) > 0)
        *at += skip;
    if (*at >= end)
        return 0;
    for (word = *at; word < end && separator((const unsigned char *)word) == 0; word++)
        ;
    return (size_t)(word - *at);
}

/* Copy a word in lower case, for ASCII and Latin-1. */
static void lower(const char *word, size_t length, char *out)
{
    size_t i;

    if (length >= WORD_SIZE)
        length = text_cut(word, WORD_SIZE - 1);
    for (i = 0; i < length; i++) {
        unsigned char c = (unsigned char)word[i];
        bool latin = i > 0 && (unsigned char)word[i - 1] == 0xc3 && c < 0x9f && c != 0x97;
        out[i] = (char)((c >= 'A' && c <= 'Z') || latin ? c | 0x20 : c);
    }
    out[i] = '\0';
}

static bool cut_suffix(char *word, size_t length)
{
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t cut = strlen(suffixes[i]);
        if (length >= cut + 3 && strcmp(word + length - cut, suffixes[i]) == 0) {
            word[length - cut] = '\0';
            return true;
        }
    }
    return false;
}

static void stem(char *word)
{
    size_t length;

    while (cut_suffix(word, strlen(word)))
        ;
    length = strlen(word);
    if (length > 3 && word[length - 1] == word[length - 2])
        length--;
    if (length > 3 && word[length - 1] == 'i')
        length--;
    word[length] = '\0';
}

/* Return the set of the one word that has this stem, or the empty set. */
static uint32_t words_find(const struct words *words, const char *stemmed)
{
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->stem[i], stemmed) == 0)
            return UINT32_C(1) << i;
    return 0;
}

static void words_collect(struct words *words, const char *at, bool stops)
{
    const char *end = at + strnlen(at, QUESTION_MAX);
    size_t length;

    for (; words->count < WORDS_MAX && (length = next_word(&at, end)) > 0; at += length) {
        char *word = words->word[words->count], *stemmed = words->stem[words->count];
        lower(at, length, word);
        strcpy(stemmed, word);
        stem(stemmed);
        if ((stops || !is_stop_word(word)) && !words_find(words, stemmed))
            words->weight[words->count++] = 1;
    }
}

void words_read(struct words *words, const char *question)
{
    words->count = 0;
    words_collect(words, question, false);
    if (words->count == 0)
        words_collect(words, question, true);
}

void words_query(const struct words *words, char *query, size_t size)
{
    size_t length = 0;

    *query = '\0';
    for (size_t i = 0; i < words->count && length < size; i++)
        length += (size_t)snprintf(query + length, size - length, "%s\"%s\"", length ? " OR " : "",
                                   words->word[i]);
}

uint32_t words_found(const struct words *words, const char *text)
{
    const char *end = text + strlen(text);
    char word[WORD_SIZE];
    uint32_t found = 0;
    size_t length;

    for (; (length = next_word(&text, end)) > 0; text += length) {
        lower(text, length, word);
        stem(word);
        found |= words_find(words, word);
    }
    return found;
}

double words_weight(const struct words *words, uint32_t set)
{
    double weight = 0;

    for (size_t i = 0; i < words->count; i++)
        if (set & UINT32_C(1) << i)
            weight += words->weight[i];
    return weight;
}
