/*
 * roff.h - the readable text of a manual page in roff, for the macro sets man
 * and mdoc, with a little of what pod2man, docbook and sphinx add.
 */
#ifndef PLUGIN_ROFF_H
#define PLUGIN_ROFF_H

/*
 * Return text in the form of passage.h, in memory that the caller frees, or NULL if memory
 * is out. The text has exactly as many lines as the source, so that line numbers agree.
 * Any source is accepted: unknown requests are left out.
 */
char *roff_text(const char *source);

#endif
