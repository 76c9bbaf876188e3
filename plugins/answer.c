#include "answer.h"

#include "passage.h"
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNITS_MAX   256 /* sentences that are compared */
#define PER_PASSAGE 3   /* sentences of one passage */

/* A sentence, or a block of code without one. */
struct unit {
    struct text text;
    struct text code;
    size_t code_lines;
    unsigned line;
    size_t passage; /* its place in the findings */
    size_t file;    /* the place of the first passage of the same file */
    bool item;      /* starts an item of a list */
    double score;
    bool chosen;
};

struct composer {
    const struct findings *findings;
    struct unit units[UNITS_MAX];
    size_t count;
    size_t passage; /* that is read */
    size_t file;
    unsigned line;
    bool open; /* the last unit goes on */
};

/* ---- sentences ---------------------------------------------------------- */

static struct unit *unit_open(struct composer *composer)
{
    struct unit *unit;

    if (composer->open)
        return &composer->units[composer->count - 1];
    if (composer->count == UNITS_MAX)
        return NULL;
    unit = &composer->units[composer->count++];
    unit->line = composer->line;
    unit->passage = composer->passage;
    unit->file = composer->file;
    composer->open = true;
    return unit;
}

static bool is_abbreviation(const struct text *text)
{
    static const char *const abbreviations[] = {"e.g.", "i.e.",  "etc.", "cf.",
                                                "vs.",  "resp.", "No."};

    for (size_t i = 0; i < sizeof(abbreviations) / sizeof(abbreviations[0]); i++) {
        size_t length = strlen(abbreviations[i]);
        if (text->length >= length &&
            strcmp(text->data + text->length - length, abbreviations[i]) == 0)
            return true;
    }
    return false;
}

/* Does a sentence end here, with next as what follows after white space? */
static bool is_sentence_end(const struct text *text, const char *next)
{
    size_t length = text->length;

    while (length > 0 && strchr(")\"'`", text->data[length - 1]))
        length--;
    return length > 20 && strchr(".!?", text->data[length - 1]) && !is_abbreviation(text) &&
           !islower((unsigned char)*next) && !strchr("[(", *next ? *next : 'A');
}

/* Adds words of a line, in which sentences may end. */
static void read_words(struct composer *composer, const char *line, size_t length, const char *rest)
{
    const char *end = line + length;

    while (line < end) {
        struct unit *unit;
        size_t word;
        line += strspn(line, " \t");
        if (line >= end || (unit = unit_open(composer)) == NULL)
            return;
        word = strcspn(line, " \t\n");
        if (unit->text.length > 0)
            text_add_char(&unit->text, ' ');
        text_add_bytes(&unit->text, line, word);
        line += word;
        if (!unit->text.failed &&
            is_sentence_end(&unit->text, line < end ? line + strspn(line, " \t") : rest))
            composer->open = false;
    }
}

static void read_item(struct composer *composer, const char *line, size_t length, const char *rest)
{
    struct unit *unit;

    composer->open = false;
    unit = unit_open(composer);
    if (unit)
        unit->item = true;
    read_words(composer, line + 2, length - 2, rest);
}

/* Code goes with the sentence before it, if that is of the same passage. */
static void read_code(struct composer *composer, const char *line, size_t length)
{
    struct unit *last = composer->count ? &composer->units[composer->count - 1] : NULL;

    if (last == NULL || last->passage != composer->passage)
        last = unit_open(composer);
    composer->open = false;
    if (last == NULL || ++last->code_lines > ANSWER_CODE + 1)
        return;
    if (last->code_lines <= ANSWER_CODE)
        text_add_bytes(&last->code, line, length);
    else
        text_add(&last->code, "    …");
    text_add_char(&last->code, '\n');
}

static void read_passage(struct composer *composer, const struct passage *passage)
{
    const char *line = passage->text;

    composer->open = false;
    composer->line = passage->line;
    while (*line) {
        size_t length = strcspn(line, "\n");
        const char *rest = line + length + (line[length] == '\n');
        if (length == 0)
            composer->open = false;
        else if (strncmp(line, "    ", 4) == 0)
            read_code(composer, line, length);
        else if (strncmp(line, "* ", 2) == 0)
            read_item(composer, line, length, rest);
        else
            read_words(composer, line, length, rest);
        composer->line++;
        line = rest;
    }
}

static size_t first_of_file(const struct findings *findings, size_t passage)
{
    size_t first = 0;

    while (strcmp(findings->passages[first].file, findings->passages[passage].file) != 0)
        first++;
    return first;
}

static void read_passages(struct composer *composer)
{
    const struct findings *findings = composer->findings;

    for (size_t i = 0; i < findings->count; i++) {
        composer->passage = i;
        composer->file = first_of_file(findings, i);
        read_passage(composer, &findings->passages[i]);
    }
}

/* ---- choice ------------------------------------------------------------- */

static uint32_t text_words(const struct words *words, const struct text *text)
{
    return text->data ? words_found(words, text->data, text->length) : 0;
}

/* Sentences that say little, or too much at once, are worth less. */
static double form_factor(const struct unit *unit)
{
    double factor = 1;

    if (unit->text.length < 25 && unit->code.length == 0)
        factor *= 0.6;
    if (unit->text.length == 0)
        factor *= 0.7;
    if (unit->text.length > ANSWER_SENTENCE)
        factor *= 0.7;
    if (unit->text.length > 0 && unit->code.length > 0)
        factor *= 1.15;
    return factor;
}

static void unit_rate(struct unit *unit, const struct findings *findings)
{
    const struct words *words = &findings->words;
    const struct passage *passage = &findings->passages[unit->passage];
    uint32_t own = text_words(words, &unit->text) | text_words(words, &unit->code);
    uint32_t around = words_found(words, passage->title, strlen(passage->title)) |
                      words_found(words, passage->heading, strlen(passage->heading));
    double best = findings->passages[0].score;

    if (own == 0)
        return;
    unit->score = (words_weight(words, own) + 0.4 * words_weight(words, around & ~own)) *
                  form_factor(unit) * (best > 0 ? 0.4 + 0.6 * passage->score / best : 1);
}

static size_t chosen_of_passage(const struct composer *composer, size_t passage)
{
    size_t count = 0;

    for (size_t i = 0; i < composer->count; i++)
        count += composer->units[i].chosen && composer->units[i].passage == passage;
    return count;
}

static bool is_repeated(const struct composer *composer, const struct unit *unit)
{
    for (size_t i = 0; i < composer->count; i++) {
        const struct unit *other = &composer->units[i];
        if (other->chosen && other->text.length > 0 && unit->text.length == other->text.length &&
            memcmp(other->text.data, unit->text.data, unit->text.length) == 0)
            return true;
    }
    return false;
}

static struct unit *best_unit(struct composer *composer, double least)
{
    struct unit *best = NULL;

    for (size_t i = 0; i < composer->count; i++) {
        struct unit *unit = &composer->units[i];
        if (!unit->chosen && unit->score > 0 && unit->score >= least &&
            (best == NULL || unit->score > best->score) && !is_repeated(composer, unit) &&
            chosen_of_passage(composer, unit->passage) < PER_PASSAGE)
            best = unit;
    }
    return best;
}

static size_t unit_size(const struct unit *unit)
{
    return (unit->text.length < ANSWER_SENTENCE ? unit->text.length : ANSWER_SENTENCE) +
           unit->code.length;
}

static void choose_units(struct composer *composer)
{
    struct unit *best = best_unit(composer, 0);
    double least = best ? best->score * 0.42 : 0;
    size_t size = 0;

    for (size_t count = 0; best && count < ANSWER_PARTS; count++) {
        best->chosen = true;
        size += unit_size(best);
        best = best_unit(composer, least);
        if (best && size + unit_size(best) > ANSWER_SIZE)
            break;
    }
}

/* ---- parts -------------------------------------------------------------- */

static int compare_units(const void *a, const void *b)
{
    const struct unit *left = a, *right = b;

    if (left->file != right->file)
        return left->file < right->file ? -1 : 1;
    return left->line < right->line ? -1 : left->line > right->line;
}

/* Cuts a long sentence after a word. */
static void text_shorten(struct text *text)
{
    size_t cut;

    if (text->failed || text->length <= ANSWER_SENTENCE)
        return;
    cut = text_cut(text->data, ANSWER_SENTENCE);
    while (cut > ANSWER_SENTENCE / 2 && text->data[cut] != ' ')
        cut--;
    text->length = cut;
    text_add(text, " …");
}

static int add_part(struct answer *answer, struct unit *unit, const struct findings *findings)
{
    struct answer_part *part = &answer->parts[answer->count];

    text_shorten(&unit->text);
    part->text = text_take(&unit->text);
    part->code = text_take(&unit->code);
    part->line = unit->line;
    part->passage = &findings->passages[unit->passage];
    answer->count++;
    return part->text && part->code ? 0 : -ENOMEM;
}

static int add_parts(struct composer *composer, struct answer *answer)
{
    int status = 0;

    qsort(composer->units, composer->count, sizeof(composer->units[0]), compare_units);
    for (size_t i = 0; i < composer->count && status == 0; i++)
        if (composer->units[i].chosen)
            status = add_part(answer, &composer->units[i], composer->findings);
    return status;
}

static bool is_direct(const struct findings *findings)
{
    double all = words_weight(&findings->words, UINT32_MAX);

    for (size_t i = 0; i < findings->count; i++)
        if (words_weight(&findings->words, findings->passages[i].words) > 0.6 * all)
            return true;
    return false;
}

int answer_compose(const struct findings *findings, struct answer *answer)
{
    struct composer *composer = calloc(1, sizeof(*composer));
    int status;

    memset(answer, 0, sizeof(*answer));
    if (composer == NULL)
        return -ENOMEM;
    composer->findings = findings;
    read_passages(composer);
    for (size_t i = 0; i < composer->count; i++)
        unit_rate(&composer->units[i], findings);
    choose_units(composer);
    status = add_parts(composer, answer);
    if (status < 0)
        answer_finish(answer);
    answer->direct = is_direct(findings);
    for (size_t i = 0; i < composer->count; i++) {
        text_finish(&composer->units[i].text);
        text_finish(&composer->units[i].code);
    }
    free(composer);
    return status;
}

void answer_finish(struct answer *answer)
{
    for (size_t i = 0; i < answer->count; i++) {
        free(answer->parts[i].text);
        free(answer->parts[i].code);
    }
    answer->count = 0;
}
