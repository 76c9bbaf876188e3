/*
 * md4c tells blocks, spans and texts in the order of the source. Its texts point into the
 * source, which tells their lines: go_to() writes a line's end for each line's end of the
 * source between the previous text and this one. A line without text becomes an empty line
 * if it is empty in the source; otherwise, as with a fence, it becomes a blank. Texts of
 * md4c's own, such as the indentation of code, have no place in the source; they are held
 * until the next text that has one.
 *
 * Two things take md4c time that grows with the square of the source: tables of many
 * columns, and many links to one long address. enter_block() and enter_span() refuse such a
 * source, which is then read as plain text.
 */
#include "markdown.h"

#include "markup.h"
#include "text.h"

#include <md4c.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX   128           /* of a table */
#define ADDRESSES_MAX (1024 * 1024) /* bytes of the addresses of all links */
#define ADDRESS_MAX   200           /* bytes; longer addresses are not shown */
#define LISTS_MAX     8             /* lists inside each other whose items are numbered */

struct reader {
    struct text out;
    const char *source;
    size_t size;
    size_t at;                /* the source is read up to here */
    size_t line;              /* where its present line starts */
    const char *start;        /* of the next line with text: "# ", "* ", "    " or "" */
    bool open;                /* the present line has text */
    bool verbatim;            /* in a block of code */
    bool code;                /* after its first text */
    bool tag;                 /* inside <...> of HTML */
    bool comment;             /* inside <!-- ... --> */
    bool tick;                /* the next text starts `code` */
    bool cell;                /* the next text starts a cell of a table */
    size_t indent;            /* blanks before the next text of code */
    size_t link;              /* where the present link starts in out */
    size_t addresses;         /* bytes of addresses so far */
    unsigned next[LISTS_MAX]; /* number of the next item of a list; 0: not numbered */
    unsigned number;          /* of the next item, or 0 */
    size_t depth;             /* of lists */
};

/* Write line ends until the present line has this place of the source. */
static void go_to(struct reader *reader, size_t place)
{
    const char *end;

    for (; (end = memchr(reader->source + reader->at, '\n', place - reader->at)) != NULL;
         reader->line = reader->at = (size_t)(end + 1 - reader->source)) {
        const char *line = reader->source + reader->line;
        if (!reader->open)
            text_add(&reader->out, reader->code                         ? "    "
                                   : line + strspn(line, " \t>") == end ? ""
                                                                        : " ");
        text_add_char(&reader->out, '\n');
        reader->open = false;
    }
    reader->at = place;
}

static void put_start(struct reader *reader, char first)
{
    char number[16];

    text_add(&reader->out, *reader->start == '\0' && first == '#' ? " " : reader->start);
    snprintf(number, sizeof(number), "%u. ", reader->number);
    text_add(&reader->out, reader->number ? number : "");
    reader->start = reader->verbatim ? reader->start : "";
    reader->number = 0;
    reader->open = true;
}

/* Write text on the present line. */
static void put(struct reader *reader, const char *bytes, size_t length)
{
    for (; length > 0 && *bytes == ' ' && !reader->open && !reader->verbatim; length--)
        bytes++;
    if (length == 0)
        return;
    if (!reader->open)
        put_start(reader, *bytes);
    else if (reader->cell)
        text_add(&reader->out, " — ");
    text_add(&reader->out, reader->tick ? "`" : "");
    reader->cell = reader->tick = false;
    text_add_bytes(&reader->out, bytes, length);
}

/* Write what stands outside of the tags and comments of HTML. */
static void put_html(struct reader *reader, const char *bytes, size_t length)
{
    for (size_t left = length; left > 0; left--, bytes++) {
        if (reader->tag) {
            reader->tag = *bytes != '>';
        } else if (reader->comment) {
            reader->comment = left < 3 || strncmp(bytes, "-->", 3) != 0;
            reader->tag = !reader->comment;
        } else if (*bytes == '<') {
            reader->comment = left >= 4 && strncmp(bytes, "<!--", 4) == 0;
            reader->tag = !reader->comment;
            if (left >= 3 && strncmp(bytes, "<br", 3) == 0)
                put(reader, " ", 1);
        } else {
            put(reader, bytes, 1);
        }
    }
}

static int on_text(MD_TEXTTYPE type, const MD_CHAR *bytes, MD_SIZE length, void *argument)
{
    struct reader *reader = argument;
    size_t place = (size_t)((uintptr_t)bytes - (uintptr_t)reader->source);

    if (place < reader->at || place >= reader->size) {
        if (reader->verbatim)
            reader->indent = *bytes == '\n' ? 0 : reader->indent + length;
        else if (type == MD_TEXT_CODE)
            put(reader, " ", 1); /* the end of a line inside `code` */
        return 0;
    }
    go_to(reader, place);
    reader->code = reader->verbatim;
    for (; reader->indent > 0; reader->indent--)
        put(reader, " ", 1);
    if (type == MD_TEXT_HTML)
        put_html(reader, bytes, length);
    else
        put(reader, bytes, length);
    return reader->out.failed ? -1 : 0;
}

static int enter_block(MD_BLOCKTYPE type, void *detail, void *argument)
{
    struct reader *reader = argument;

    if ((type == MD_BLOCK_UL || type == MD_BLOCK_OL) && ++reader->depth < LISTS_MAX)
        reader->next[reader->depth] =
            type == MD_BLOCK_OL ? ((MD_BLOCK_OL_DETAIL *)detail)->start : 0;
    if (type == MD_BLOCK_LI && reader->depth < LISTS_MAX && reader->next[reader->depth] > 0)
        reader->number = reader->next[reader->depth]++;
    reader->start = type == MD_BLOCK_LI || type == MD_BLOCK_TR ? "* "
                    : type == MD_BLOCK_H                       ? "# "
                    : type == MD_BLOCK_CODE                    ? "    "
                                                               : reader->start;
    reader->verbatim = type == MD_BLOCK_CODE;
    reader->cell = type == MD_BLOCK_TH || type == MD_BLOCK_TD;
    return type == MD_BLOCK_TABLE && ((MD_BLOCK_TABLE_DETAIL *)detail)->col_count > COLUMNS_MAX ? -1
                                                                                                : 0;
}

static int leave_block(MD_BLOCKTYPE type, void *detail, void *argument)
{
    struct reader *reader = argument;

    (void)detail;
    reader->depth -= type == MD_BLOCK_UL || type == MD_BLOCK_OL;
    if (type == MD_BLOCK_LI || type == MD_BLOCK_H || type == MD_BLOCK_TR || type == MD_BLOCK_CODE) {
        reader->start = "";
        reader->number = 0;
    }
    reader->verbatim = reader->code = reader->tag = reader->comment = false;
    reader->indent = 0;
    return 0;
}

static int enter_span(MD_SPANTYPE type, void *detail, void *argument)
{
    struct reader *reader = argument;
    MD_SPAN_A_DETAIL *link = detail; /* an image has the same members */

    reader->tick |= type == MD_SPAN_CODE;
    if (type == MD_SPAN_A)
        reader->link = reader->out.length;
    if (type == MD_SPAN_A || type == MD_SPAN_IMG)
        reader->addresses += link->href.size + link->title.size;
    return reader->addresses > ADDRESSES_MAX ? -1 : 0;
}

/* Close `code`. Show the address of a link to elsewhere, unless the link's text has it. */
static int leave_span(MD_SPANTYPE type, void *detail, void *argument)
{
    struct reader *reader = argument;
    const MD_ATTRIBUTE *address = type == MD_SPAN_A ? &((MD_SPAN_A_DETAIL *)detail)->href : NULL;

    if (type == MD_SPAN_CODE && !reader->tick)
        put(reader, "`", 1);
    reader->tick &= type != MD_SPAN_CODE;
    if (reader->open && address && address->size >= 4 && address->size <= ADDRESS_MAX &&
        strncmp(address->text, "http", 4) == 0 &&
        !strstr(reader->out.data + reader->link, "http")) {
        put(reader, " (", 2);
        put(reader, address->text, address->size);
        put(reader, ")", 1);
    }
    return 0;
}

char *markdown_text(const char *source)
{
    static const MD_PARSER parser = {
        .flags = MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_TASKLISTS,
        .enter_block = enter_block,
        .leave_block = leave_block,
        .enter_span = enter_span,
        .leave_span = leave_span,
        .text = on_text,
    };
    struct reader reader = {.source = source, .size = strlen(source), .start = ""};
    int status = md_parse(source, (MD_SIZE)reader.size, &parser, &reader);

    if (status != 0 && !reader.out.failed) {
        text_finish(&reader.out);
        return markup_text(source, MARKUP_PLAIN);
    }
    go_to(&reader, reader.size);
    if (reader.line < reader.size)
        text_add(&reader.out, reader.open ? "\n" : " \n");
    return text_take(&reader.out);
}
