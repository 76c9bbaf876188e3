/*
 * passage_split() appends lines to the passage so far and hands it over when a heading
 * begins, or when the next paragraph would make it longer than PASSAGE_TARGET. A paragraph
 * that ends with ':' keeps the code or list after it, up to PASSAGE_MAX.
 */
#include "passage.h"

#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

struct split {
    passage_function *each;
    void *argument;
    struct text heading;
    struct text text; /* the passage so far */
    unsigned first;   /* the line on which the passage starts */
    unsigned line;    /* the line that is being read */
    bool lead;        /* the passage's last line with text ends with ':' */
    int status;
};

static bool has_words(const char *string)
{
    for (; *string; string++)
        if (isalnum((unsigned char)*string) || (unsigned char)*string >= 0x80)
            return true;
    return false;
}

/* Hand over the passage so far, if it has words, and start a new one. */
static void split_flush(struct split *split)
{
    struct text *text = &split->text;

    text_trim(text, " \n");
    if (text->failed || split->heading.failed)
        split->status = -ENOMEM;
    else if (split->status == 0 && text->length > 0 && has_words(text->data))
        split->status = split->each(split->argument, split->heading.data, text->data, split->first);
    text->length = 0;
    split->lead = false;
}

static void split_append(struct split *split, const char *line, size_t length)
{
    if (split->text.length == 0)
        split->first = split->line;
    else
        text_add_char(&split->text, '\n');
    text_add_bytes(&split->text, line, length);
    if (length > 1)
        split->lead = line[length - 1] == ':';
}

/* Add a line. A line that is too long is cut after a word, or else between two characters. */
static void split_text(struct split *split, const char *line, size_t length)
{
    bool item = strncmp(line, "* ", 2) == 0;

    if (split->text.length + length >= PASSAGE_MAX ||
        (item && split->text.length >= PASSAGE_TARGET))
        split_flush(split);
    while (length > PASSAGE_MAX) {
        size_t cut = PASSAGE_MAX;
        while (cut > PASSAGE_MAX / 2 && line[cut - 1] != ' ')
            cut--;
        if (line[cut - 1] != ' ')
            cut = text_cut(line, PASSAGE_MAX);
        split_append(split, line, cut);
        split_flush(split);
        line += cut;
        length -= cut;
    }
    split_append(split, line, length);
}

static void split_heading(struct split *split, const char *line)
{
    split_flush(split);
    split->heading.length = 0;
    text_add_line(&split->heading, line + strspn(line, "# "), PASSAGE_HEADING);
}

/* End a paragraph, and the passage unless the next paragraph belongs to it. */
static void split_paragraph(struct split *split, const char *rest)
{
    bool last = *rest != '\n';                    /* of several empty lines */
    size_t near = strnlen(rest, PASSAGE_MAX + 2); /* how much longer it is makes no difference */
    const char *end = last ? memmem(rest, near, "\n\n", 2) : rest;
    size_t length = split->text.length + (end ? (size_t)(end - rest) : near);
    bool code = strncmp(rest, "    ", 4) == 0 || !last;

    if (length > PASSAGE_MAX || (length > PASSAGE_TARGET && !code && !split->lead))
        split_flush(split);
    else if (split->text.length > 0)
        split_append(split, "", 0);
}

int passage_split(const char *text, passage_function *each, void *argument)
{
    struct split split = {.each = each, .argument = argument};

    text_add(&split.heading, "");
    while (*text && split.status == 0) {
        size_t length = strcspn(text, "\n");
        const char *rest = text + length + (text[length] == '\n');
        split.line++;
        if (*text == '#')
            split_heading(&split, text);
        else if (length == 0)
            split_paragraph(&split, rest);
        else if (length > 1 || *text != ' ' || split.text.length > 0)
            split_text(&split, text, length);
        text = rest;
    }
    split_flush(&split);
    text_finish(&split.heading);
    text_finish(&split.text);
    return split.status;
}
