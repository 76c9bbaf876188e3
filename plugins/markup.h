/*
 * markup.h - the readable text of plain text, Markdown, reStructuredText and
 * C headers.
 */
#ifndef PLUGIN_MARKUP_H
#define PLUGIN_MARKUP_H

enum markup { MARKUP_PLAIN, MARKUP_MARKDOWN, MARKUP_HEADER };

/*
 * Returns text in the form that passage.h describes, in memory from malloc(),
 * or NULL when out of memory. It has exactly as many lines as the source.
 */
char *markup_text(const char *source, enum markup markup);

#endif
