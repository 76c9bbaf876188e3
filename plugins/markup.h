/*
 * markup.h - the readable text of plain text, reStructuredText and C headers.
 */
#ifndef PLUGIN_MARKUP_H
#define PLUGIN_MARKUP_H

enum markup { MARKUP_PLAIN, MARKUP_HEADER };

/*
 * Return text in the form of passage.h, in memory that the caller frees, or NULL if memory
 * is out. The text has exactly as many lines as the source.
 */
char *markup_text(const char *source, enum markup markup);

#endif
