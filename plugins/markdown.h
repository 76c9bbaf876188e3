/*
 * markdown.h - the readable text of Markdown.
 */
#ifndef PLUGIN_MARKDOWN_H
#define PLUGIN_MARKDOWN_H

/*
 * Return text in the form of passage.h, in memory that the caller frees, or NULL if memory
 * is out. The text has exactly as many lines as the source.
 */
char *markdown_text(const char *source);

#endif
