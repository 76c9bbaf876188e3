/*
 * Why something failed, in words for people. The text grows with what it is
 * told, so nobody guesses a buffer's size, and is UTF-8 whatever it quotes; a function that fails
 * fills one beside the -errno it returns. A plain struct: zeroed is no reason.
 */
#ifndef BASE_WHY_H
#define BASE_WHY_H

struct why {
    char *text;
};

/* Replace the reason. The arguments may point into the old one. Return status, for `return
 * why_set(...)`. */
__attribute__((format(printf, 3, 4))) int why_set(struct why *why, int status, const char *format,
                                                  ...);

/* Return the reason, or "" if there is none; valid until it changes. */
const char *why_text(const struct why *why);

void why_finish(struct why *why);

#endif
