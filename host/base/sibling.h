/*
 * The other program of this installation: `sluice` and `sluice-front` find each other, in the build
 * folder and where `make install` has put them, also below a DESTDIR.
 */
#ifndef BASE_SIBLING_H
#define BASE_SIBLING_H

struct why;

/* Return its path, to be freed; NULL, and why. */
char *sibling_path(const char *name, struct why *why);

#endif
