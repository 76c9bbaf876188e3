/*
 * word_next() finds a word by the classes of its characters, which Unicode defines; fold()
 * brings the word into one form, without case and accents; stem() cuts it to its stem.
 * stem() removes suffixes until none fits, then a doubled last letter and a final i. The
 * rules are few and rough, but they are the same for questions, texts and the index, so
 * that only equality matters.
 *
 * Chinese, Japanese, Korean, Thai and the like put no blanks between words, or too few. A
 * run of their characters counts as all pairs of neighbours: ABC is AB and BC. A text has
 * each character by itself as well, which a question of one character finds.
 */
#include "words.h"

#include "text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>
#include <uniwbrk.h>

#define MARKS 200 /* the first combining class of accents; lower classes are part of a letter */

static const char stop_words[] =
    " a about all also am an and any are as at be been but by can could did do does doing each"
    " explain for from get give had happen happens has have how i if in into is it its just know"
    " let like may me mean means might must my need not of on one only or our out please see shall"
    " should show so some tell than that the their them then there these they this those to up us"
    " want was way we were what when where which who why will with would you your ";

/* Longer suffixes first; a stem keeps at least three letters. */
static const struct {
    const char *text;
    size_t length;
} suffixes[] = {
    {"ations", 6}, {"ation", 5}, {"ings", 4}, {"ions", 4}, {"ing", 3},
    {"ion", 3},    {"ies", 3},   {"ers", 3},  {"ed", 2},   {"er", 2},
    {"es", 2},     {"ly", 2},    {"s", 1},    {"e", 1},    {"y", 1},
};

static bool is_stop_word(const char *word)
{
    return is_listed(stop_words, word, strlen(word));
}

/* ---- characters ---------------------------------------------------------- */

enum kind {
    NONE,
    LETTER, /* or digit */
    PAIRED, /* of a script without blanks between words */
    MARK    /* belongs to the character before */
};

/* Return the kind of a character and its length. */
static enum kind kind_of(const char *at, const char *end, size_t *length)
{
    ucs4_t rune;

    *length = 1;
    if (at == end)
        return NONE;
    if ((*at & 0x80) == 0)
        return isalnum((unsigned char)*at) ? LETTER : NONE;
    *length = (size_t)u8_mbtouc(&rune, (const uint8_t *)at, (size_t)(end - at));
    switch (uc_wordbreak_property(rune)) {
    case WBP_ALETTER:
    case WBP_HL:
    case WBP_NUMERIC:
        return rune >= 0xac00 && rune <= 0xd7a3 ? PAIRED : LETTER; /* syllables of Korean */
    case WBP_EXTEND:
    case WBP_FORMAT:
    case WBP_ZWJ:
        return MARK;
    default:
        return uc_is_alpha(rune) ? PAIRED : NONE;
    }
}

/* Return the kind of a character, and its length with its marks. */
static enum kind kind_with_marks(const char *at, const char *end, size_t *length)
{
    enum kind kind = kind_of(at, end, length);
    size_t mark;

    while (kind != NONE && at + *length < end && (at[*length] & 0x80) &&
           kind_of(at + *length, end, &mark) == MARK)
        *length += mark;
    return kind == MARK ? NONE : kind;
}

/* Copy text without case and accents, cut to WORD_SIZE. */
static void fold(const char *text, size_t length, char *out)
{
    uint8_t space[16 * WORD_SIZE];
    uint8_t *folded;
    size_t size = sizeof(space), used = 0;

    length = length < WORD_SIZE ? length : text_cut(text, WORD_SIZE - 1);
    for (; used < length && (unsigned char)text[used] < 0x80; used++)
        out[used] = (char)(text[used] >= 'A' && text[used] <= 'Z' ? text[used] | 32 : text[used]);
    out[used] = '\0';
    if (used == length)
        return;
    folded = u8_casefold((const uint8_t *)text, length, NULL, UNINORM_NFKD, space, &size);
    used = 0;
    for (size_t at = 0, step; folded && at < size; at += step) {
        ucs4_t rune;
        step = (size_t)u8_mbtouc(&rune, folded + at, size - at);
        if (uc_combining_class(rune) >= MARKS || uc_is_property_default_ignorable_code_point(rune))
            continue;
        if (used + step >= WORD_SIZE)
            break;
        memcpy(out + used, folded + at, step);
        used += step;
    }
    out[used] = '\0';
    if (folded != space)
        free(folded);
}

/* ---- stems --------------------------------------------------------------- */

/* Return the length of a word without its longest suffix. */
static size_t cut_suffix(const char *word, size_t length)
{
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t rest = length - suffixes[i].length;
        if (length >= suffixes[i].length + 3 && word[rest] == *suffixes[i].text &&
            memcmp(word + rest, suffixes[i].text, suffixes[i].length) == 0)
            return rest;
    }
    return length;
}

static void stem(char *word)
{
    size_t length = strlen(word), rest;

    while ((rest = cut_suffix(word, length)) < length)
        length = rest;
    if (length > 3 && (word[length - 1] & 0x80) == 0 && word[length - 1] == word[length - 2])
        length--;
    if (length > 3 && word[length - 1] == 'i')
        length--;
    word[length] = '\0';
}

/* ---- words --------------------------------------------------------------- */

static void take(struct word *word, const char *start, size_t length)
{
    word->start = start;
    word->length = length;
    fold(start, length, word->folded);
    strcpy(word->stem, word->folded);
    if (length > 0 && kind_of(start, start + length, &length) == LETTER)
        stem(word->stem);
}

bool word_next(struct word *word)
{
    size_t length, next;
    enum kind kind;

    word->again = word->single > 0;
    if (word->again) {
        take(word, word->start, word->single);
        word->single = 0;
        return true;
    }
    while (word->at < word->end) {
        const char *start = word->at;
        bool run = word->run;
        kind = kind_with_marks(start, word->end, &length);
        word->at += length;
        word->run = false;
        if (kind == LETTER) {
            while (kind_with_marks(word->at, word->end, &length) == LETTER)
                word->at += length;
            take(word, start, (size_t)(word->at - start));
            return true;
        }
        if (kind == PAIRED) {
            word->run = kind_with_marks(word->at, word->end, &next) == PAIRED;
            word->single = word->run && !word->question ? length : 0;
            if (word->run || !run || !word->question) {
                take(word, start, word->run ? length + next : length);
                return true;
            }
        }
    }
    return false;
}

/* Return the set of the one word that has this stem, or the empty set. */
static uint32_t words_find(const struct words *words, const char *stemmed)
{
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->stem[i], stemmed) == 0)
            return UINT32_C(1) << i;
    return 0;
}

static void words_collect(struct words *words, const char *question, bool stops)
{
    struct word word = {
        .at = question, .end = question + strnlen(question, QUESTION_MAX), .question = true};

    while (words->count < WORDS_MAX && word_next(&word))
        if (*word.stem && (stops || !is_stop_word(word.folded)) && !words_find(words, word.stem)) {
            strcpy(words->word[words->count], word.folded);
            strcpy(words->stem[words->count], word.stem);
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
    struct word word = {.at = text, .end = text + strlen(text)};
    uint32_t found = 0;

    while (word_next(&word))
        found |= words_find(words, word.stem);
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
