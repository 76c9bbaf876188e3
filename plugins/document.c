#include "document.h"

#include "markdown.h"
#include "markup.h"
#include "passage.h"
#include "roff.h"
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define RECORDS " authors changelog changes copying copyright history license news thanks "
#define PLAINS  " bugs contributing faq hacking install notes readme todo usage "

/* ---- kinds -------------------------------------------------------------- */

/* Return the length of a path or name without ".gz". */
static size_t plain_length(const char *name)
{
    size_t length = strlen(name);
    return length > 3 && strcasecmp(name + length - 3, ".gz") == 0 ? length - 3 : length;
}

static enum document_kind kind_of_extension(const char *extension, size_t length)
{
    if (is_listed(" txt text rst ", extension, length))
        return DOCUMENT_PLAIN;
    if (is_listed(" md markdown ", extension, length))
        return DOCUMENT_MARKDOWN;
    if (is_listed(" h ", extension, length))
        return DOCUMENT_HEADER;
    /* a manual section, such as 1 or 3ssl */
    if (length > 0 && length <= 8 && *extension >= '1' && *extension <= '9' &&
        strspn(extension + 1, "abcdefghijklmnopqrstuvwxyz") >= length - 1)
        return DOCUMENT_MANUAL;
    return DOCUMENT_NONE;
}

enum document_kind document_kind(const char *name)
{
    char lower[256] = "";
    size_t length = plain_length(name), word;
    const char *dot = NULL;
    enum document_kind kind;

    for (size_t i = 0; i < length && i < sizeof(lower) - 1; i++) {
        lower[i] = (char)tolower((unsigned char)name[i]);
        dot = i > 0 && lower[i] == '.' ? lower + i : dot;
    }
    word = strcspn(lower, ".-_");
    kind = dot ? kind_of_extension(dot + 1, strlen(dot + 1)) : DOCUMENT_NONE;
    if (is_listed(RECORDS, lower, word) && (kind != DOCUMENT_NONE || dot == NULL))
        return DOCUMENT_RECORD;
    /* README.Debian and README.source, but not README.html */
    if (is_listed(PLAINS, lower, word) &&
        (dot == NULL || isupper((unsigned char)name[dot + 1 - lower]) || !strcmp(dot, ".source")))
        return kind == DOCUMENT_NONE ? DOCUMENT_PLAIN : kind;
    return kind;
}

/* ---- source ------------------------------------------------------------- */

static int source_error(gzFile file)
{
    int status = Z_OK;

    gzerror(file, &status);
    return status == Z_ERRNO && errno ? -errno : status == Z_MEM_ERROR ? -ENOMEM : -EILSEQ;
}

/* Read the bytes of a file, which may be compressed. */
static int source_read(const char *path, struct text *source)
{
    char block[32 * 1024];
    gzFile file;
    int length, status;

    errno = 0;
    file = gzopen(path, "rbe");
    if (file == NULL)
        return errno ? -errno : -ENOMEM;
    while ((length = gzread(file, block, sizeof(block))) > 0 && source->length <= DOCUMENT_MAX)
        text_add_bytes(source, block, (size_t)length);
    status = length < 0                                   ? source_error(file)
             : source->failed                             ? -ENOMEM
             : source->length > DOCUMENT_MAX              ? -EFBIG
             : source->length == 0                        ? -ENODATA
             : memchr(source->data, '\0', source->length) ? -EILSEQ
                                                          : 0;
    gzclose_r(file);
    return status;
}

static uint64_t hash_string(const char *string)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *string; string++)
        hash = (hash ^ (unsigned char)*string) * UINT64_C(0x100000001b3);
    return hash;
}

/* ---- text --------------------------------------------------------------- */

static char *readable_text(enum document_kind kind, const char *source)
{
    /* library.so.1, for example, has a manual page's name but no manual page's text */
    if (kind == DOCUMENT_MANUAL &&
        (strstr(source, ".SH") || strstr(source, ".Sh") || !strncmp(source, ".so ", 4)))
        return roff_text(source);
    return kind == DOCUMENT_MARKDOWN
               ? markdown_text(source)
               : markup_text(source, kind == DOCUMENT_HEADER ? MARKUP_HEADER : MARKUP_PLAIN);
}

/* Return the first paragraph after the first heading: "ls - list directory contents". */
static char *manual_title(const char *text)
{
    const char *heading = *text == '#' ? text : strstr(text, "\n#");
    const char *line = heading ? strchr(heading + 1, '\n') : NULL;
    struct text title = {0};

    line = line ? line + strspn(line, " \n") : "";
    while (*line && *line != '\n' && *line != '#' && title.length < DOCUMENT_TITLE) {
        size_t length = strcspn(line, "\n");
        text_add(&title, title.length > 0 ? " " : "");
        text_add_bytes(&title, line, length);
        text_trim(&title, " ");
        line += length + (line[length] == '\n');
    }
    if (title.data)
        title.data[text_cut(title.data, DOCUMENT_TITLE)] = '\0';
    return text_take(&title);
}

/* Return the last folder and the name; for Markdown also the first heading. */
static char *file_title(const struct document *document, enum document_kind kind)
{
    const char *start = document->file + strlen(document->file);
    const char *heading = *document->text == '#' ? document->text : strstr(document->text, "\n#");
    struct text title = {0};

    for (int slashes = 0; start > document->file && (slashes += start[-1] == '/') < 2;)
        start--;
    text_add_bytes(&title, start, plain_length(start));
    if (kind == DOCUMENT_MARKDOWN && heading) {
        heading += strspn(heading, "\n# ");
        text_add(&title, ": ");
        text_add_line(&title, heading, PASSAGE_HEADING);
    }
    return text_take(&title);
}

/* Rate records, and manual sections about calls, lower than other documents. */
static double document_worth(enum document_kind kind, const char *path)
{
    const char *section = path + plain_length(path);

    while (section > path && section[-1] != '.')
        section--;
    return kind == DOCUMENT_RECORD                               ? 0.5
           : kind == DOCUMENT_MANUAL && is_char("239", *section) ? 0.8
                                                                 : 1;
}

static int document_fill(struct document *document, enum document_kind kind, const char *path,
                         const struct text *bytes)
{
    struct text file = {0}, source = {0};
    char *readable;

    text_add_foreign(&file, path, strlen(path));
    text_add_foreign(&source, bytes->data, bytes->length);
    document->file = text_take(&file);
    readable = text_take(&source);
    document->text = readable ? readable_text(kind, readable) : NULL;
    free(readable);
    if (document->file == NULL || document->text == NULL)
        return -ENOMEM;
    if (document->text[strspn(document->text, " \n*")] == '\0')
        return -ENODATA;
    document->title = kind == DOCUMENT_RECORD   ? strdup("")
                      : kind == DOCUMENT_MANUAL ? manual_title(document->text)
                                                : file_title(document, kind);
    document->hash = hash_string(bytes->data);
    document->worth = document_worth(kind, path);
    return document->title ? 0 : -ENOMEM;
}

int document_read(const char *path, enum document_kind kind, struct document *document)
{
    struct text bytes = {0};
    int status = source_read(path, &bytes);

    memset(document, 0, sizeof(*document));
    if (status == 0)
        status = document_fill(document, kind, path, &bytes);
    if (status < 0)
        document_finish(document);
    text_finish(&bytes);
    return status;
}

void document_finish(struct document *document)
{
    free(document->file);
    free(document->title);
    free(document->text);
    memset(document, 0, sizeof(*document));
}
