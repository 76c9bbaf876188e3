/*
 * roff.h - the readable text of a manual page in roff, for the macro sets man
 * and mdoc, with a little of what pod2man, docbook and sphinx add.
 */
#ifndef PLUGIN_ROFF_H
#define PLUGIN_ROFF_H

/*
 * Returns text in the form that passage.h describes, in memory from malloc(),
 * or NULL when out of memory. It has exactly as many lines as the source, so
 * that the number of a line is the same in both. Any source is fine: what is
 * not understood is left out.
 */
char *roff_text(const char *source);

#endif
