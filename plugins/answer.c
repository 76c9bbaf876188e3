/*
 * Composing takes four steps: read all passages into units, which are sentences with the
 * code that belongs to them; rate each unit; choose the best ones; cut and copy them in
 * reading order. The factors of the ratings were found by trying questions.
 */
#include "answer.h"

#include "passage.h"
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNITS_MAX   256 /* sentences that are compared */
#define PER_PASSAGE 3   /* most sentences of one passage */

/* A sentence, or a block of code without one. */
struct unit {
    struct text text;
    struct text code;
    size_t code_lines;
    unsigned line;
    size_t passage; /* index in the findings */
    double score;
    bool chosen;
};

struct composer {
    struct unit units[UNITS_MAX];
    size_t count;
    size_t passage; /* the passage that is being read */
    unsigned line;
    bool open;                               /* the last unit is not complete */
    unsigned char chosen[INDEX_RESULTS_MAX]; /* units of each passage */
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
    composer->open = true;
    return unit;
}

/* Return the bytes of a full stop of Chinese or Japanese, which needs no blank after it, or 0. */
static size_t wide_stop(const char *at)
{
    return strncmp(at, "。", 3) == 0 || strncmp(at, "！", 3) == 0 || strncmp(at, "？", 3) == 0 ? 3
                                                                                               : 0;
}

/* Return true if a sentence ends here; next is what follows the white space. */
static bool is_sentence_end(const struct text *text, const char *next)
{
    const char *last = strrchr(text->data, ' ') ? strrchr(text->data, ' ') + 1 : text->data;
    size_t length = text->length;

    while (length > 0 && is_char(")\"'`", text->data[length - 1]))
        length--;
    if (length > 20 && wide_stop(text->data + length - 3))
        return true;
    return length > 20 && is_char(".!?", text->data[length - 1]) &&
           !is_listed(" e.g. (e.g. i.e. (i.e. etc. cf. vs. resp. No. ", last, strlen(last)) &&
           !islower((unsigned char)*next) && *next != '[' && *next != '(';
}

/* Add the words of a line, in which sentences may end. */
static void read_words(struct composer *composer, const char *line, size_t length, const char *rest)
{
    const char *start = line, *end = line + length;

    while (line < end) {
        struct unit *unit;
        size_t word = strspn(line, " \t");
        bool blank = word > 0 || line == start;
        line += word;
        if (line >= end || (unit = unit_open(composer)) == NULL)
            return;
        for (word = 0; !is_char(" \t\n", line[word]) && line[word] && !wide_stop(line + word);)
            word++;
        word += wide_stop(line + word);
        if (unit->text.length > 0 && blank)
            text_add_char(&unit->text, ' ');
        text_add_bytes(&unit->text, line, word);
        line += word;
        if (!unit->text.failed &&
            is_sentence_end(&unit->text, line < end ? line + strspn(line, " \t") : rest))
            composer->open = false;
    }
}

/*
 * Add code to the sentence before it, if that sentence is of the same passage. Leave out
 * the definition of a macro after an example of its use.
 */
static void read_code(struct composer *composer, const char *line, size_t length)
{
    struct unit *last = composer->count ? &composer->units[composer->count - 1] : NULL;

    if (last == NULL || last->passage != composer->passage)
        last = unit_open(composer);
    composer->open = false;
    if (last && last->code_lines > 0 && strncmp(line, "    #define", 11) == 0)
        last->code_lines = ANSWER_CODE + 1;
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
        size_t mark = strncmp(line, "* ", 2) == 0 ? 2 : 0;
        if (length == 0 || mark > 0)
            composer->open = false;
        if (strncmp(line, "    ", 4) == 0)
            read_code(composer, line, length);
        else
            read_words(composer, line + mark, length - mark, rest);
        composer->line++;
        line = rest;
    }
}

/* ---- choice ------------------------------------------------------------- */

/* Rate the form: sentences that are very short or very long are worth less. */
static double form_factor(const struct unit *unit)
{
    bool code = unit->code.length > 0;
    size_t length = unit->text.length;

    return length == 0 ? 0.7 : length > ANSWER_SENTENCE ? 0.7 : code ? 1.15 : length < 25 ? 0.6 : 1;
}

static void unit_rate(struct unit *unit, const struct findings *findings)
{
    const struct words *words = &findings->words;
    const struct passage *passage = &findings->passages[unit->passage];
    uint32_t own = words_found(words, unit->text.data ? unit->text.data : "") |
                   words_found(words, unit->code.data ? unit->code.data : "");
    uint32_t around = words_found(words, passage->title) | words_found(words, passage->heading);

    if (own)
        unit->score = (words_weight(words, own) + 0.4 * words_weight(words, around & ~own)) *
                      form_factor(unit) *
                      (0.4 + 0.6 * passage->score / findings->passages[0].score);
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
            composer->chosen[unit->passage] < PER_PASSAGE)
            best = unit;
    }
    return best;
}

static void choose_units(struct composer *composer)
{
    struct unit *best = best_unit(composer, 0);
    double least = best ? best->score * 0.42 : 0;
    size_t size = 0;

    for (size_t count = 0; best && count < ANSWER_PARTS; count++) {
        size_t length = best->text.length < ANSWER_SENTENCE ? best->text.length : ANSWER_SENTENCE;
        size += length + best->code.length;
        if (count > 0 && size > ANSWER_SIZE)
            return;
        best->chosen = true;
        composer->chosen[best->passage]++;
        best = best_unit(composer, least);
    }
}

/* ---- parts -------------------------------------------------------------- */

/* Cut a long sentence after a word. */
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

static bool is_direct(const struct findings *findings)
{
    const struct words *words = &findings->words;
    double all = words_weight(words, UINT32_MAX);

    for (size_t i = 0; i < findings->count; i++) {
        const struct passage *passage = &findings->passages[i];
        uint32_t found = words_found(words, passage->title) | words_found(words, passage->heading) |
                         words_found(words, passage->text);
        if (words_weight(words, found) > 0.6 * all)
            return true;
    }
    return false;
}

int answer_compose(const struct findings *findings, struct answer *answer)
{
    struct composer *composer = calloc(1, sizeof(*composer));
    int status = composer ? 0 : -ENOMEM;

    memset(answer, 0, sizeof(*answer));
    if (composer == NULL)
        return status;
    for (; composer->passage < findings->count; composer->passage++)
        read_passage(composer, &findings->passages[composer->passage]);
    for (size_t i = 0; i < composer->count; i++)
        unit_rate(&composer->units[i], findings);
    choose_units(composer);
    for (size_t i = 0; i < composer->count; i++) {
        if (composer->units[i].chosen && status == 0)
            status = add_part(answer, &composer->units[i], findings);
        text_finish(&composer->units[i].text);
        text_finish(&composer->units[i].code);
    }
    free(composer);
    answer->direct = is_direct(findings);
    if (status < 0)
        answer_finish(answer);
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
