/*
 * passage.h - divides a document into passages: parts that are small enough to be shown
 * and large enough to make sense.
 *
 * markup_text() or roff_text() makes the text to divide from a source. The text has one
 * line for each line of the source:
 *
 *     # NAME          a heading, of any level
 *                     (empty) the end of a paragraph
 *     one blank       a line of the source that has nothing to read
 *     four blanks...  code, unchanged
 *     * ...           an item of a list, or a row of a table
 *     anything else   prose; it does not start with '#'
 */
#ifndef PLUGIN_PASSAGE_H
#define PLUGIN_PASSAGE_H

#include <stddef.h>

#define PASSAGE_TARGET  700  /* bytes; a longer passage gets no further paragraph */
#define PASSAGE_MAX     2000 /* bytes; longer paragraphs and code are cut */
#define PASSAGE_HEADING 200  /* bytes; longer headings are cut */

/*
 * Take a passage; called in their order. heading is "" before the first heading. text
 * has lines of the form above; line is the number of its first line in the source, from
 * 1. heading and text live until the function returns. A result other than 0 ends the
 * division.
 */
typedef int passage_function(void *argument, const char *heading, const char *text, unsigned line);

/* Divide the text. Return 0, -ENOMEM, or what the function returned. */
int passage_split(const char *text, passage_function *each, void *argument);

#endif
