/*
 * inih tells keys from values and values from comments. It silently cuts lines
 * longer than its buffer (200 bytes as a rule) and sections longer than 49, and
 * takes an indented line for more of the value above. So the reader that it gets
 * its lines from, here,
 *
 *   - opens the sections itself and shows inih an empty line instead;
 *   - of a line that is too long shows it the key alone, and keeps the value;
 *   - refuses indented lines, lines beyond INI_LINE_MAX and NUL bytes;
 *   - notices a line for which inih did not call the handler: it has no '='.
 *
 * Functions that return a char * return NULL, or why something is refused.
 */
#include "config/ini.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS          " \t\r\v\f"
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* A key that the file has set. */
struct seen {
    struct seen *next;
    char *name; /* with its section */
    unsigned line;
};

struct reader {
    ini_take *take;
    void *data;
    FILE *file;
    int error;  /* of reading the file */
    char *why;  /* what is wrong in line; NULL: nothing so far */
    char *kind; /* of the section */
    char *name; /* of the section; in kind's memory */
    struct seen *seen;
    unsigned line;
    bool pending;      /* inih has a line with a key; its handler is not called yet */
    const char *value; /* of that line, if it was too long for inih; in text */
    char text[INI_LINE_MAX + 1];
};

/* Without the white space at both ends, in place. */
static char *text_trim(char *text)
{
    size_t length;

    while (isspace((unsigned char)*text))
        text++;
    length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

/* False at the end of the file, and if something is wrong. */
static bool line_read(struct reader *r)
{
    size_t length = 0;
    int c;

    while ((c = getc(r->file)) != EOF && c != '\n' && c != '\0' && length < INI_LINE_MAX)
        r->text[length++] = (char)c;
    r->text[length] = '\0';
    r->line++;
    if (ferror(r->file))
        r->error = errno;
    else if (c == '\0')
        r->why = mem_strdup("a NUL byte; the file must be UTF-8 text");
    else if (c != EOF && c != '\n')
        r->why = mem_printf("the line is longer than %d bytes", INI_LINE_MAX);
    else
        return c == '\n' || length > 0;
    return false;
}

static char *section_open(struct reader *r, char *line)
{
    char *end = strchr(line, ']'), *text;

    if (end == NULL)
        return mem_printf("'%.64s' has no ']'", line);
    *end++ = '\0';
    text = text_trim(line + 1);
    end += strspn(end, BLANKS);
    if (*end && *end != ';' && *end != '#')
        return mem_printf("only a comment may follow [%.64s] on its line", text);
    free(r->kind);
    r->kind = mem_strdup(text);
    r->name = r->kind + strcspn(r->kind, BLANKS);
    if (*r->name)
        *r->name++ = '\0';
    r->name += strspn(r->name, BLANKS);
    return r->take(r->data, r->kind, r->name, NULL, NULL);
}

/* A value as inih takes it: up to an inline comment, trimmed. */
static char *value_cut(char *text)
{
    char *comment = strchr(text, ';');

    while (comment && (comment == text || !isspace((unsigned char)comment[-1])))
        comment = strchr(comment + 1, ';');
    if (comment)
        *comment = '\0';
    return text_trim(text);
}

/* Shows inih a line, or as much of its key as fits. */
static void key_show(struct reader *r, char *line, char *out, size_t out_size)
{
    size_t length = strlen(line), most = out_size - 2;
    char *value = NULL;

    if (length > most) {
        value = line + strcspn(line, "=:");
        value += *value != '\0';
        length = (size_t)(value - line) < most ? (size_t)(value - line) : most;
    }
    memcpy(out, line, length);
    out[length] = '\0';
    r->value = value ? value_cut(value) : NULL;
    r->pending = true;
}

/* Shows inih a line with a key, deals with any other. */
static char *line_take(struct reader *r, char *out, size_t out_size)
{
    bool marked = r->line == 1 && strncmp(r->text, BYTE_ORDER_MARK, 3) == 0;
    char *start = r->text + (marked ? 3 : 0), *line = text_trim(start);

    out[0] = '\0';
    if (*line == '\0' || *line == ';' || *line == '#')
        return NULL;
    if (line > start)
        return mem_strdup("the line is indented; begin it at the left edge, and write each value "
                          "on one line");
    if (*line == '[')
        return section_open(r, line);
    key_show(r, line, out, out_size);
    return NULL;
}

/* For inih: the next line; NULL ends the reading. */
static char *next_line(char *out, int out_size, void *data)
{
    struct reader *r = data;

    if (r->pending)
        r->why = mem_strdup("no '=' in this line; write KEY = VALUE");
    if (r->why || !line_read(r))
        return NULL;
    r->why = line_take(r, out, (size_t)out_size);
    return r->why ? NULL : out;
}

static char *seen_add(struct reader *r, const char *key)
{
    struct seen *seen = mem_alloc(sizeof *seen), *old = r->seen;

    seen->name = mem_printf("%s %s\n%s", r->kind, r->name, key);
    seen->line = r->line;
    seen->next = old;
    r->seen = seen;
    while (old && strcmp(old->name, seen->name) != 0)
        old = old->next;
    return old ? mem_printf("%.64s is set twice, first in line %u", key, old->line) : NULL;
}

/* For inih: the key and value of the line it was shown; 0 if they are refused. */
static int key_take(void *data, const char *section, const char *key, const char *value)
{
    struct reader *r = data;

    (void)section;
    if (value == NULL)
        return 0;
    r->pending = false;
    r->why = seen_add(r, key);
    if (r->why == NULL)
        r->why = r->take(r->data, r->kind, r->name, key, r->value ? r->value : value);
    return r->why == NULL;
}

static void reader_destroy(struct reader *r)
{
    while (r->seen) {
        struct seen *seen = r->seen;
        r->seen = seen->next;
        free(seen->name);
        free(seen);
    }
    if (r->file)
        fclose(r->file);
    free(r->kind);
    free(r->why);
    free(r);
}

int ini_read(const char *file, ini_take *take, void *data, char **message)
{
    struct reader *r = mem_alloc(sizeof *r);
    int error;

    r->take = take;
    r->data = data;
    r->kind = r->name = mem_strdup("");
    r->file = fopen(file, "re");
    if (r->file == NULL || ini_parse_stream(next_line, r, key_take, r) < 0)
        r->error = errno;
    error = r->error ? r->error : r->why ? EINVAL : 0;
    if (r->error)
        *message = mem_printf("%s: cannot be read: %s", file, strerror(r->error));
    else if (r->why)
        *message = mem_printf("%s:%u: %s", file, r->line, r->why);
    reader_destroy(r);
    return -error;
}
