#include "markup.h"

#include "text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define HEADING_MAX 120 /* bytes; longer lines are no headings */

struct reader {
    struct text out;
    enum markup markup;
    bool paragraph; /* the line before belongs to a paragraph */
    bool underline; /* this line only underlines a heading */
    bool lead;      /* what came before ends with ':' */
    bool code;      /* the last line with text was code */
    bool fence;     /* between ``` and ``` */
    bool comment;   /* inside a comment of C */
};

static void put_line(struct reader *reader, const char *start, const char *string, size_t length)
{
    while (length > 0 && isspace((unsigned char)string[length - 1]))
        length--;
    text_add(&reader->out, start);
    text_add_bytes(&reader->out, string, length);
    text_add_char(&reader->out, '\n');
    reader->code = strcmp(start, "    ") == 0;
    reader->lead = length > 0 && string[length - 1] == ':';
    reader->paragraph = strcmp(start, "# ") != 0;
}

static void put_break(struct reader *reader)
{
    text_add_char(&reader->out, '\n');
    reader->paragraph = false;
}

/* A line of the source without text of its own. */
static void put_nothing(struct reader *reader)
{
    text_add(&reader->out, " \n");
}

static void put_code(struct reader *reader, const char *line)
{
    bool lead = reader->lead;

    put_line(reader, "    ", line, strlen(line));
    reader->lead = lead;
}

static bool is_blank(const char *string)
{
    return string[strspn(string, " \t")] == '\0';
}

/* Columns of white space at the start. */
static size_t indentation(const char *line)
{
    size_t columns = 0;

    for (; *line == ' ' || *line == '\t'; line++)
        columns += *line == '\t' ? 8 - columns % 8 : 1;
    return columns;
}

/* ---- prose -------------------------------------------------------------- */

/* Three or more times the same mark, and nothing else. */
static bool is_rule(const char *line)
{
    size_t length = strlen(line);

    while (length > 0 && isspace((unsigned char)line[length - 1]))
        length--;
    return length >= 3 && strchr("=-~^*+#_", *line) && strspn(line, (char[]){*line, 0}) >= length;
}

static bool is_underlined(const struct reader *reader, const char *line, const char *next)
{
    return next && !reader->paragraph && strlen(line) <= HEADING_MAX && indentation(line) < 4 &&
           is_rule(next) && strlen(next) + 3 >= strlen(line);
}

/* The text after the marks that start an item, or NULL. */
static const char *item_text(const char *line)
{
    size_t digits = strspn(line, "0123456789");

    if (*line && strchr("-*+", *line) && line[1] == ' ')
        return line + 2 + strspn(line + 2, " ");
    if (strncmp(line, "• ", strlen("• ")) == 0)
        return line + strlen("• ");
    if (digits > 0 && digits < 4 && strchr(".)", line[digits]) && line[digits + 1] == ' ')
        return line;
    return NULL;
}

/* Without the marks of bold type, which mean nothing in plain text. */
static void put_prose(struct reader *reader, const char *start, const char *string)
{
    struct text plain = {0};
    const char *mark;

    while (reader->markup == MARKUP_MARKDOWN && (mark = strstr(string, "**")) != NULL) {
        text_add_bytes(&plain, string, (size_t)(mark - string));
        string = mark + 2;
    }
    text_add(&plain, string);
    if (plain.failed)
        reader->out.failed = true;
    else
        put_line(reader, *start == '\0' && *string == '#' ? " " : start, plain.data, plain.length);
    text_finish(&plain);
}

/* A row of a Markdown table, its cells joined by dashes. */
static void put_row(struct reader *reader, const char *line)
{
    struct text row = {0};

    if (line[strspn(line, "|-: \t")] == '\0') {
        put_nothing(reader);
        return;
    }
    while (*line) {
        size_t length;
        line += strspn(line, "| \t");
        length = strcspn(line, "|");
        if (length == 0)
            break;
        if (row.length > 0)
            text_add(&row, " — ");
        text_add_bytes(&row, line, length);
        while (row.length > 0 && row.data[row.length - 1] == ' ')
            row.data[--row.length] = '\0';
        line += length;
    }
    text_add(&row, "");
    if (row.failed)
        reader->out.failed = true;
    else
        put_prose(reader, "* ", row.data);
    text_finish(&row);
}

static void put_heading(struct reader *reader, const char *line)
{
    size_t length;

    line += strspn(line, "# \t");
    length = strlen(line);
    while (length > 0 && strchr("# \t", line[length - 1]))
        length--;
    if (length == 0)
        put_break(reader);
    else
        put_line(reader, "# ", line, length);
}

static bool is_fence(const char *line)
{
    return strncmp(line, "```", 3) == 0 || strncmp(line, "~~~", 3) == 0;
}

static bool is_code(const struct reader *reader, const char *line)
{
    return indentation(line) >= 4 && (reader->code || (reader->lead && !reader->paragraph));
}

static void read_marked(struct reader *reader, const char *line)
{
    const char *text = line + strspn(line, " \t");
    const char *item = item_text(text);
    bool markdown = reader->markup == MARKUP_MARKDOWN;

    if (item)
        put_prose(reader, "* ", item);
    else if (markdown && *line == '#' && line[strspn(line, "#")] == ' ')
        put_heading(reader, line);
    else if (markdown && *text == '|')
        put_row(reader, text);
    else
        put_prose(reader, "", text);
}

static void read_prose(struct reader *reader, const char *line, const char *next)
{
    bool underline = reader->underline;

    reader->underline = false;
    if (reader->markup == MARKUP_MARKDOWN && is_fence(line + strspn(line, " "))) {
        reader->fence = !reader->fence;
        put_nothing(reader);
    } else if (reader->fence) {
        put_code(reader, line);
    } else if (is_blank(line)) {
        put_break(reader);
    } else if (underline || is_rule(line)) {
        put_break(reader);
    } else if (is_underlined(reader, line, next)) {
        reader->underline = true;
        put_heading(reader, line);
    } else if (is_code(reader, line)) {
        put_code(reader, line[0] == '\t' ? line + 1 : line + strspn(line, " ") % 5);
    } else {
        read_marked(reader, line);
    }
}

/* ---- C headers ---------------------------------------------------------- */

/* A comment such as "---- name ----" is a heading, one of marks alone none. */
static bool put_ruled(struct reader *reader, const char *string, size_t length)
{
    static const char marks[] = "-=*#~ ";
    size_t skip = strspn(string, marks);

    if (!strstr(string, "----") && !strstr(string, "====") && !strstr(string, "****"))
        return false;
    if (skip >= length) {
        put_break(reader);
        return true;
    }
    while (length > skip && strchr(marks, string[length - 1]))
        length--;
    put_line(reader, "# ", string + skip, length - skip);
    return true;
}

/* What a line of a comment says, without its marks. */
static void put_comment(struct reader *reader, char *string)
{
    size_t length = strlen(string);

    if (length >= 2 && strcmp(string + length - 2, "*/") == 0)
        string[length -= 2] = '\0';
    if (is_blank(string))
        put_break(reader);
    else if (put_ruled(reader, string, length))
        return;
    else if (indentation(string) >= 4)
        put_code(reader, string + 4);
    else
        put_prose(reader, "", string + strspn(string, " \t"));
}

static void read_comment(struct reader *reader, char *line)
{
    char *text = line + strspn(line, " \t");

    reader->comment = strstr(line, "*/") == NULL;
    if (*text == '*' && text[1] != '/')
        text++;
    put_comment(reader, text + (*text == ' '));
}

static void read_header(struct reader *reader, char *line)
{
    char *text = line + strspn(line, " \t");
    char *opens = strstr(line, "/*");
    char *closes = opens ? strstr(opens + 2, "*/") : NULL;

    if (reader->comment) {
        read_comment(reader, line);
    } else if (*text == '\0') {
        put_break(reader);
    } else if (strncmp(text, "//", 2) == 0) {
        put_comment(reader, text + strspn(text, "/! "));
    } else if (opens == text && (!closes || is_blank(closes + 2))) {
        reader->comment = closes == NULL;
        put_comment(reader, text + strspn(text, "/*! "));
    } else {
        reader->comment = opens && !closes;
        put_code(reader, line);
    }
}

/* ------------------------------------------------------------------------- */

static void read_lines(struct reader *reader, char *rest)
{
    char *line = strsep(&rest, "\n");
    char *next;

    while (line && (*line || rest)) {
        next = strsep(&rest, "\n");
        if (reader->markup == MARKUP_HEADER)
            read_header(reader, line);
        else
            read_prose(reader, line, next);
        line = next;
    }
}

char *markup_text(const char *source, enum markup markup)
{
    struct reader reader = {.markup = markup};
    char *copy = strdup(source);

    if (copy == NULL)
        return NULL;
    read_lines(&reader, copy);
    free(copy);
    return text_take(&reader.out);
}
