/*
 * passage.h - divides a document into passages: parts small enough to be shown
 * and large enough to make sense.
 *
 * The text to divide was made from a source by markup_text() or roff_text().
 * It has one line for each line of the source:
 *
 *     # NAME          a heading, of any level
 *                     (empty) the end of a paragraph
 *     one blank       a line of the source without anything to read
 *     four blanks...  code, kept as it is
 *     * ...           an item of a list, or a row of a table
 *     all else        prose; it does not start with '#'
 */
#ifndef PLUGIN_PASSAGE_H
#define PLUGIN_PASSAGE_H

#include <stddef.h>

#define PASSAGE_TARGET 700  /* bytes; no paragraph is added beyond */
#define PASSAGE_MAX    2000 /* bytes; paragraphs and code longer than this are cut */

/*
 * Called for each passage, in order. heading is "" before the first one. text
 * is lines of the form above, the first of which has the number line in the
 * source (from 1). Both live until it returns. Other than 0 ends the division.
 */
typedef int passage_function(void *argument, const char *heading, const char *text, unsigned line);

/* Returns 0, -ENOMEM, or what the function returned. */
int passage_split(const char *text, passage_function *each, void *argument);

#endif
