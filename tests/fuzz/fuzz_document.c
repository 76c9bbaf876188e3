/*
 * Any bytes are a file of some kind, which the first byte says: what is read of it is short
 * passages of UTF-8, each with a line of the file, and each of their words can be searched.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif

#include "fuzz.h"

#include "document.h"
#include "markdown.h"
#include "markup.h"
#include "passage.h"
#include "text.h"
#include "words.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unistr.h>

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

static int check_passage(void *argument, const char *heading, const char *text, unsigned line)
{
    const struct document *document = argument;
    char query[WORDS_QUERY];
    struct words words;

    assert(u8_check((const uint8_t *)text, strlen(text)) == NULL);
    assert(u8_check((const uint8_t *)heading, strlen(heading)) == NULL);
    assert(line > 0 && line <= count_lines(document->text) + 1);
    assert(strlen(heading) <= PASSAGE_HEADING && strlen(text) <= PASSAGE_MAX);
    words_read(&words, text);
    words_query(&words, query, sizeof(query));
    assert(strlen(query) < sizeof(query) - 1);
    assert(words_found(&words, text) == (uint32_t)((UINT64_C(1) << words.count) - 1));
    return 0;
}

/* The readers keep the number of lines of a source that ends with one. */
static void check_lines(char *source, char *(*read)(const char *))
{
    char *text = read(source);

    assert(text == NULL || count_lines(text) == count_lines(source));
    free(text);
}

static char *read_plain(const char *source)
{
    return markup_text(source, MARKUP_PLAIN);
}

static char *read_header(const char *source)
{
    return markup_text(source, MARKUP_HEADER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum document_kind kind;
    struct document document;
    struct text source = {0};
    char path[64];
    int file;

    if (size < 2)
        return 0;
    kind = DOCUMENT_PLAIN + *data % (DOCUMENT_MANUAL - DOCUMENT_PLAIN + 1);
    file = memfd_create("document", MFD_CLOEXEC);
    if (file < 0 || write(file, data + 1, size - 1) != (ssize_t)(size - 1))
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    if (document_read(path, kind, &document) == 0) {
        if (passage_split(document.text, check_passage, &document) < 0)
            abort();
        document_finish(&document);
    }
    close(file);
    text_add_foreign(&source, (const char *)data + 1, size - 1);
    text_add_char(&source, '\n');
    if (!source.failed && !memchr(source.data, '\0', source.length))
        check_lines(source.data, kind == DOCUMENT_MARKDOWN ? markdown_text
                                 : kind == DOCUMENT_HEADER ? read_header
                                                           : read_plain);
    text_finish(&source);
    return 0;
}
