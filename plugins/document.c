#include "document.h"

#include "markup.h"
#include "roff.h"
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

/* ---- kinds -------------------------------------------------------------- */

static const struct {
    const char *name;
    enum document_kind kind;
} extensions[] = {
    {"txt", DOCUMENT_PLAIN},   {"text", DOCUMENT_PLAIN}, {"rst", DOCUMENT_PLAIN},
    {"md", DOCUMENT_MARKDOWN}, {"h", DOCUMENT_HEADER},   {"markdown", DOCUMENT_MARKDOWN},
};

/* Names that need no extension, in any case. */
static const struct {
    const char *name;
    enum document_kind kind;
} names[] = {
    {"README", DOCUMENT_PLAIN},     {"FAQ", DOCUMENT_PLAIN},      {"INSTALL", DOCUMENT_PLAIN},
    {"TODO", DOCUMENT_PLAIN},       {"BUGS", DOCUMENT_PLAIN},     {"HACKING", DOCUMENT_PLAIN},
    {"NOTES", DOCUMENT_PLAIN},      {"USAGE", DOCUMENT_PLAIN},    {"CONTRIBUTING", DOCUMENT_PLAIN},
    {"NEWS", DOCUMENT_RECORD},      {"CHANGES", DOCUMENT_RECORD}, {"CHANGELOG", DOCUMENT_RECORD},
    {"HISTORY", DOCUMENT_RECORD},   {"THANKS", DOCUMENT_RECORD},  {"AUTHORS", DOCUMENT_RECORD},
    {"COPYRIGHT", DOCUMENT_RECORD}, {"COPYING", DOCUMENT_RECORD}, {"LICENSE", DOCUMENT_RECORD},
};

static enum document_kind kind_of_name(const char *name, size_t length)
{
    size_t word = strcspn(name, ".-_");

    if (word > length)
        word = length;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i].name) == word && strncasecmp(names[i].name, name, word) == 0)
            return names[i].kind;
    return DOCUMENT_NONE;
}

static enum document_kind kind_of_extension(const char *extension, size_t length)
{
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++)
        if (strlen(extensions[i].name) == length &&
            strncasecmp(extensions[i].name, extension, length) == 0)
            return extensions[i].kind;
    return DOCUMENT_NONE;
}

/* A section of the manual: 1 to 9, and a few small letters at most. */
static bool is_section(const char *extension, size_t length)
{
    if (length == 0 || length > 8 || *extension < '1' || *extension > '9')
        return false;
    for (size_t i = 1; i < length; i++)
        if (!islower((unsigned char)extension[i]))
            return false;
    return true;
}

/* README.Debian and README.source, but not README.html. */
static bool is_part_of_name(const char *extension, size_t length)
{
    return isupper((unsigned char)*extension) || (length == 6 && !strncmp(extension, "source", 6));
}

enum document_kind document_kind(const char *name)
{
    size_t length = strlen(name);
    const char *extension = NULL;
    enum document_kind named, kind;

    if (length > 3 && strcasecmp(name + length - 3, ".gz") == 0)
        length -= 3;
    for (size_t i = 1; i < length; i++)
        if (name[i] == '.')
            extension = name + i + 1;
    named = kind_of_name(name, length);
    if (extension == NULL)
        return named;
    length -= (size_t)(extension - name);
    kind = kind_of_extension(extension, length);
    if (kind != DOCUMENT_NONE)
        return named == DOCUMENT_RECORD ? named : kind;
    if (is_section(extension, length))
        return DOCUMENT_MANUAL;
    return is_part_of_name(extension, length) ? named : DOCUMENT_NONE;
}

/* ---- source ------------------------------------------------------------- */

static int source_error(gzFile file)
{
    int status = Z_OK;

    gzerror(file, &status);
    return status == Z_ERRNO && errno ? -errno : status == Z_MEM_ERROR ? -ENOMEM : -EILSEQ;
}

static int source_fill(gzFile file, struct text *source)
{
    char block[32 * 1024];
    int length;

    while ((length = gzread(file, block, sizeof(block))) > 0) {
        text_add_bytes(source, block, (size_t)length);
        if (source->length > DOCUMENT_MAX)
            return -EFBIG;
    }
    return length < 0 ? source_error(file) : source->failed ? -ENOMEM : 0;
}

static int source_read(const char *path, struct text *source)
{
    gzFile file;
    int status;

    errno = 0;
    file = gzopen(path, "rbe");
    if (file == NULL)
        return errno ? -errno : -ENOMEM;
    status = source_fill(file, source);
    gzclose_r(file);
    return status;
}

static uint64_t hash_bytes(const char *bytes, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* A NUL, or one control character in fifty, is not found in a text. */
static bool is_binary(const char *bytes, size_t length)
{
    size_t controls = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\0')
            return true;
        controls += c < 0x20 && !isspace(c) && c != 0x1b && c != '\b';
    }
    return controls > length / 50;
}

/* The bytes at the start that are plain ASCII without control characters. */
static size_t plain_length(const char *bytes, const char *end)
{
    const char *at = bytes;

    while (at < end && (*at == '\n' || *at == '\t' || (*at >= 0x20 && *at < 0x7f)))
        at++;
    return (size_t)(at - bytes);
}

/* UTF-8 with '\n' as the only control character but for tabs. */
static char *source_text(const char *bytes, size_t length)
{
    struct text text = {0};
    const char *end = bytes + length;

    while (bytes < end) {
        size_t plain = plain_length(bytes, end);
        size_t sequence = text_sequence(bytes + plain, (size_t)(end - bytes) - plain);
        text_add_bytes(&text, bytes, plain);
        bytes += plain;
        if (bytes == end)
            break;
        if (sequence == 0)
            text_add_rune(&text, (unsigned char)*bytes);
        else if (sequence > 1)
            text_add_bytes(&text, bytes, sequence);
        else if (*bytes != '\r')
            text_add_char(&text, ' ');
        bytes += sequence ? sequence : 1;
    }
    return text_take(&text);
}

/* ---- text --------------------------------------------------------------- */

/* A file such as library.so.1 has a manual page's name only. */
static bool is_manual(const char *source)
{
    return strstr(source, ".SH") || strstr(source, ".Sh") || strncmp(source, ".so ", 4) == 0;
}

static char *readable_text(enum document_kind kind, const char *source)
{
    switch (kind) {
    case DOCUMENT_MANUAL:
        return is_manual(source) ? roff_text(source) : markup_text(source, MARKUP_PLAIN);
    case DOCUMENT_MARKDOWN:
        return markup_text(source, MARKUP_MARKDOWN);
    case DOCUMENT_HEADER:
        return markup_text(source, MARKUP_HEADER);
    default:
        return markup_text(source, MARKUP_PLAIN);
    }
}

/* Adds what stands before the end to the title, as much as fits, on one line. */
static void title_add(char *title, const char *start, const char *end)
{
    size_t length = strlen(title);
    size_t bytes;

    for (; start < end && *start; start += bytes) {
        bytes = text_sequence(start, (size_t)(end - start));
        if (bytes == 0 || length + bytes >= DOCUMENT_TITLE)
            break;
        if (!isspace((unsigned char)*start))
            memcpy(title + length, start, bytes);
        else if (length > 0 && title[length - 1] != ' ')
            title[length] = ' ';
        else
            continue;
        length += bytes;
    }
    while (length > 0 && title[length - 1] == ' ')
        length--;
    title[length] = '\0';
}

static const char *paragraph_end(const char *start)
{
    const char *end = strpbrk(start, "\n");

    while (end && end[1] != '\n' && end[1] != '#')
        end = strpbrk(end + 1, "\n");
    return end ? end : start + strlen(start);
}

/* The last folder and the name, without ".gz". */
static void title_path(char *title, const char *path)
{
    const char *end = path + strlen(path);
    const char *start = end;
    int slashes = 0;

    while (start > path && (slashes += start[-1] == '/') < 2)
        start--;
    if (end - start > 3 && strcasecmp(end - 3, ".gz") == 0)
        end -= 3;
    title_add(title, start, end);
}

static void title_join(char *title, const char *start, const char *end)
{
    size_t length = strlen(title);

    if (length + 3 >= DOCUMENT_TITLE)
        return;
    memcpy(title + length, ": ", 3);
    title_add(title, start, end);
}

static void document_title(struct document *document, const char *path)
{
    const char *text = document->text;
    const char *heading = *text == '#' ? text : strstr(text, "\n#");
    const char *line = heading ? strchr(heading + 1, '\n') : NULL;

    if (document->kind == DOCUMENT_RECORD)
        return;
    if (document->kind == DOCUMENT_MANUAL && line) {
        line += strspn(line, " \n");
        title_add(document->title, line, paragraph_end(line));
        return;
    }
    title_path(document->title, path);
    if (document->kind == DOCUMENT_MARKDOWN && line) {
        heading += strspn(heading, "\n# ");
        title_join(document->title, heading, line);
    }
}

/* Records, and the sections of the manual about calls rather than commands. */
static double document_worth(enum document_kind kind, const char *path)
{
    size_t length = strlen(path);
    const char *section;

    if (kind != DOCUMENT_MANUAL)
        return kind == DOCUMENT_RECORD ? 0.5 : 1;
    if (length > 3 && strcasecmp(path + length - 3, ".gz") == 0)
        length -= 3;
    for (section = path + length; section > path && section[-1] != '.';)
        section--;
    return strchr("239", *section) ? 0.8 : 1;
}

static bool has_text(const char *text)
{
    return text[strspn(text, " \n*")] != '\0';
}

int document_read(const char *path, enum document_kind kind, struct document *document)
{
    struct text source = {0};
    char *readable = NULL;
    int status = source_read(path, &source);

    memset(document, 0, sizeof(*document));
    if (status < 0)
        goto out;
    status = source.length == 0 ? -ENODATA : is_binary(source.data, source.length) ? -EILSEQ : 0;
    if (status < 0)
        goto out;
    document->kind = kind;
    document->worth = document_worth(kind, path);
    document->hash = hash_bytes(source.data, source.length);
    readable = source_text(source.data, source.length);
    document->text = readable ? readable_text(kind, readable) : NULL;
    status = document->text == NULL ? -ENOMEM : has_text(document->text) ? 0 : -ENODATA;
    if (status == 0)
        document_title(document, path);
    else
        document_finish(document);
out:
    free(readable);
    text_finish(&source);
    return status;
}

void document_finish(struct document *document)
{
    free(document->text);
    document->text = NULL;
}
