/*
 * inih tells keys from values and values from comments. It silently cuts lines
 * longer than its buffer (200 bytes as a rule) and sections longer than 49, and
 * takes an indented line for more of the value above. So the reader here, from
 * which inih gets its lines,
 *
 *   - opens the sections itself and shows inih an empty line instead;
 *   - shows inih only the key of a line that is too long, and keeps the value;
 *   - refuses indented lines, lines beyond INI_LINE_MAX and NUL bytes;
 *   - notices a line for which inih did not call the handler: it has no '='.
 *
 * Functions that refuse something return -EINVAL and say why in reader->why.
 */
#include "config/ini.h"

#include "base/mem.h"
#include "base/why.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define BLANKS          " \t\r\v\f"
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* A key that the file has set. */
struct seen {
    char *name; /* with its section */
    unsigned line;
    UT_hash_handle in_reader; /* in reader->seen */
};

struct reader {
    ini_take *take;
    void *data;
    FILE *file;
    int error;         /* of reading the file */
    int refused;       /* -EINVAL after a refusal */
    struct why *why;   /* of the refusal */
    char *kind;        /* of the section */
    char *name;        /* of the section; in kind's memory */
    struct seen *seen; /* uthash */
    unsigned line;
    bool pending;      /* inih has a line with a key; its handler is not called yet */
    const char *value; /* of that line, if it was too long for inih; in text */
    char text[INI_LINE_MAX + 1];
};

/* Cut the white space off both ends, in place. */
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
        r->refused = why_set(r->why, -EINVAL, "a NUL byte; the file must be UTF-8 text");
    else if (c != EOF && c != '\n')
        r->refused = why_set(r->why, -EINVAL, "the line is longer than %d bytes", INI_LINE_MAX);
    else
        return c == '\n' || length > 0;
    return false;
}

static int section_open(struct reader *r, char *line)
{
    char *end = strchr(line, ']'), *text;

    if (end == NULL)
        return why_set(r->why, -EINVAL, "'%.64s' has no ']'", line);
    *end++ = '\0';
    text = text_trim(line + 1);
    end += strspn(end, BLANKS);
    if (*end && *end != ';' && *end != '#')
        return why_set(r->why, -EINVAL, "only a comment may follow [%.64s] on its line", text);
    free(r->kind);
    r->kind = mem_strdup(text);
    r->name = r->kind + strcspn(r->kind, BLANKS);
    if (*r->name)
        *r->name++ = '\0';
    r->name += strspn(r->name, BLANKS);
    return r->take(r->data, r->kind, r->name, NULL, NULL, r->why);
}

/* Cut a value as inih does: at an inline comment, then trimmed. */
static char *value_cut(char *text)
{
    char *comment = strchr(text, ';');

    while (comment && (comment == text || !isspace((unsigned char)comment[-1])))
        comment = strchr(comment + 1, ';');
    if (comment)
        *comment = '\0';
    return text_trim(text);
}

/* Show inih a line, or as much of its key as fits. */
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

/* Show inih a line with a key; deal with any other line here. */
static int line_take(struct reader *r, char *out, size_t out_size)
{
    bool marked = r->line == 1 && strncmp(r->text, BYTE_ORDER_MARK, 3) == 0;
    char *start = r->text + (marked ? 3 : 0), *line = text_trim(start);

    out[0] = '\0';
    if (*line == '\0' || *line == ';' || *line == '#')
        return 0;
    if (line > start)
        return why_set(r->why, -EINVAL,
                       "the line is indented; begin it at the left edge, and write each value "
                       "on one line");
    if (*line == '[')
        return section_open(r, line);
    key_show(r, line, out, out_size);
    return 0;
}

/* For inih: the next line; NULL ends the reading. */
static char *next_line(char *out, int out_size, void *data)
{
    struct reader *r = data;

    if (r->pending)
        r->refused = why_set(r->why, -EINVAL, "no '=' in this line; write KEY = VALUE");
    if (r->refused < 0 || !line_read(r))
        return NULL;
    r->refused = line_take(r, out, (size_t)out_size);
    return r->refused < 0 ? NULL : out;
}

/* Refuse a key that the file has set before. */
static int seen_add(struct reader *r, const char *key)
{
    char *name = mem_printf("%s %s\n%s", r->kind, r->name, key);
    struct seen *seen;

    HASH_FIND(in_reader, r->seen, name, strlen(name), seen);
    if (seen) {
        free(name);
        return why_set(r->why, -EINVAL, "%.64s is set twice, first in line %u", key, seen->line);
    }
    seen = mem_alloc(sizeof *seen);
    seen->name = name;
    seen->line = r->line;
    HASH_ADD_KEYPTR(in_reader, r->seen, name, strlen(name), seen);
    return 0;
}

/* For inih: the key and value of the line it was shown; 0 if they are refused. */
static int key_take(void *data, const char *section, const char *key, const char *value)
{
    struct reader *r = data;

    (void)section;
    if (value == NULL)
        return 0;
    r->pending = false;
    r->refused = seen_add(r, key);
    if (r->refused == 0)
        r->refused = r->take(r->data, r->kind, r->name, key, r->value ? r->value : value, r->why);
    return r->refused == 0;
}

static void reader_destroy(struct reader *r)
{
    struct seen *seen, *next;

    HASH_ITER(in_reader, r->seen, seen, next)
    {
        HASH_DELETE(in_reader, r->seen, seen);
        free(seen->name);
        free(seen);
    }
    if (r->file)
        fclose(r->file);
    free(r->kind);
    free(r);
}

int ini_read(const char *file, ini_take *take, void *data, struct why *why)
{
    struct reader *r = mem_alloc(sizeof *r);
    int status;

    r->take = take;
    r->data = data;
    r->kind = r->name = mem_strdup("");
    r->why = why;
    r->file = fopen(file, "re");
    if (r->file == NULL || ini_parse_stream(next_line, r, key_take, r) < 0)
        r->error = errno;
    status = r->error ? -r->error : r->refused;
    if (r->error)
        why_set(why, status, "%s: cannot be read: %s", file, strerror(r->error));
    else if (r->refused < 0)
        why_set(why, status, "%s:%u: %s", file, r->line, why_text(why));
    reader_destroy(r);
    return status;
}
