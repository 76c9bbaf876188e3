/*
 * markup_text() reads a source line by line and looks ahead by one line, because a heading
 * may be underlined by the next one. Each line of the source gives exactly one line of
 * text: a mark, an underline or the end of a paragraph gives an empty line or a blank.
 * read_prose() reads plain text and reStructuredText; read_header() reads a C header, whose
 * comments are prose and whose declarations are code. What earlier lines say about the
 * present one is a member of struct reader.
 */
#include "markup.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>

#define HEADING_MAX 120 /* bytes; a longer line is no heading */

struct reader {
    struct text out;
    bool paragraph; /* the previous line belongs to a paragraph */
    bool underline; /* this line only underlines a heading */
    bool lead;      /* the last line of prose ends with ':' */
    bool code;      /* the last line with text was code */
    bool comment;   /* inside a C comment */
};

/* Remove these characters from the end of the line. */
static void trim(char *line, const char *characters)
{
    size_t length = strlen(line);

    while (length > 0 && is_char(characters, line[length - 1]))
        line[--length] = '\0';
}

static void put_line(struct reader *reader, const char *start, char *string)
{
    trim(string, " \t");
    text_add(&reader->out, *start == '\0' && *string == '#' ? " " : start);
    text_add(&reader->out, string);
    reader->code = strcmp(start, "    ") == 0;
    reader->lead = reader->code ? reader->lead : *string && string[strlen(string) - 1] == ':';
    reader->paragraph = strcmp(start, "# ") != 0;
    text_add_char(&reader->out, '\n');
}

static void put_break(struct reader *reader)
{
    text_add_char(&reader->out, '\n');
    reader->paragraph = false;
}

/* Return the columns of white space at the start. */
static size_t indentation(const char *line)
{
    size_t columns = 0;

    for (; *line == ' ' || *line == '\t'; line++)
        columns += *line == '\t' ? 8 : 1;
    return columns;
}

/* Return the line without the indentation that makes it code. */
static char *code_text(char *line)
{
    size_t blanks = strspn(line, " ");
    return line + (blanks > 4 ? 4 : blanks < 4 && line[blanks] == '\t' ? blanks + 1 : blanks);
}

/* ---- prose -------------------------------------------------------------- */

/* Return true if the line has only one mark, three times or more. */
static bool is_rule(const char *line)
{
    size_t length = strspn(line, (char[]){*line, 0});
    return length >= 3 && is_char("=-~^*+#_", *line) && is_blank(line + length);
}

static bool is_underlined(const struct reader *reader, const char *line, const char *next)
{
    return next && !reader->paragraph && strlen(line) <= HEADING_MAX && indentation(line) < 4 &&
           is_rule(next) && strlen(next) + 3 >= strlen(line);
}

static void put_heading(struct reader *reader, char *line)
{
    trim(line, "# \t");
    line += strspn(line, "# \t");
    if (*line == '\0')
        put_break(reader);
    else
        put_line(reader, "# ", line);
}

static void read_marked(struct reader *reader, char *line)
{
    char *text = line + strspn(line, " \t");
    const char *dot = text + strspn(text, "0123456789");

    if (is_char("-*+", *text) && text[1] == ' ')
        put_line(reader, "* ", text + 2 + strspn(text + 2, " "));
    else if (dot > text && dot < text + 4 && is_char(".)", *dot) && dot[1] == ' ')
        put_line(reader, "* ", text);
    else
        put_line(reader, "", text);
}

static bool is_code(const struct reader *reader, const char *line)
{
    return indentation(line) >= 4 && (reader->code || (reader->lead && !reader->paragraph));
}

static void read_prose(struct reader *reader, char *line, const char *next)
{
    bool underline = reader->underline;

    reader->underline = false;
    if (is_blank(line) || underline || is_rule(line)) {
        put_break(reader);
    } else if (is_underlined(reader, line, next)) {
        reader->underline = true;
        put_heading(reader, line);
    } else if (is_code(reader, line)) {
        put_line(reader, "    ", code_text(line));
    } else {
        read_marked(reader, line);
    }
}

/* ---- C headers ---------------------------------------------------------- */

/* Write the text of a comment's line; "---- name ----" is a heading. */
static void put_comment(struct reader *reader, char *string)
{
    static const char marks[] = "-=*#~ ";
    char *end = strstr(string, "*/");

    if (end)
        *end = '\0';
    if (string[strspn(string, marks)] == '\0') {
        put_break(reader);
    } else if (strstr(string, "----") || strstr(string, "====")) {
        trim(string, marks);
        put_line(reader, "# ", string + strspn(string, marks));
    } else if (indentation(string) >= 4) {
        put_line(reader, "    ", code_text(string));
    } else {
        put_line(reader, "", string + strspn(string, " \t"));
    }
}

static void read_header(struct reader *reader, char *line)
{
    char *text = line + strspn(line, " \t");
    char *opens = strstr(line, "/*");
    char *closes = strstr(opens ? opens + 2 : line, "*/");

    if (reader->comment) {
        reader->comment = closes == NULL;
        text += *text == '*' && text[1] != '/';
        put_comment(reader, text + (*text == ' '));
    } else if (*text == '\0') {
        put_break(reader);
    } else if (strncmp(text, "//", 2) == 0) {
        put_comment(reader, text + strspn(text, "/! "));
    } else if (opens == text && (!closes || is_blank(closes + 2))) {
        reader->comment = closes == NULL;
        put_comment(reader, text + strspn(text, "/*! "));
    } else {
        reader->comment = opens && !closes;
        put_line(reader, "    ", line);
    }
}

/* ------------------------------------------------------------------------- */

char *markup_text(const char *source, enum markup markup)
{
    struct reader reader = {0};
    char *copy = strdup(source);
    char *rest = copy;
    char *line = rest ? strsep(&rest, "\n") : NULL;

    reader.out.failed = copy == NULL;
    while (line && (*line || rest)) {
        char *next = strsep(&rest, "\n");
        if (markup == MARKUP_HEADER)
            read_header(&reader, line);
        else
            read_prose(&reader, line, next);
        line = next;
    }
    free(copy);
    return text_take(&reader.out);
}
