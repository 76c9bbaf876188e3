/*
 * The optimal string alignment distance, row by row of the table of all prefixes;
 * a swap needs the row before the last.
 */
#include "config/spelling.h"

#include <string.h>

#define WORD_MAX 64

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

bool spelling_is_near(const char *a, const char *b, unsigned most)
{
    unsigned rows[3][WORD_MAX + 1];
    size_t length = strlen(b);

    if (strlen(a) > WORD_MAX || length > WORD_MAX)
        return false;
    for (unsigned at = 0; at <= length; at++)
        rows[0][at] = at;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

        row[0] = i;
        for (unsigned at = 1; at <= length; at++) {
            row[at] = least(above[at], row[at - 1]) + 1;
            row[at] = least(row[at], above[at - 1] + (a[i - 1] != b[at - 1]));
            if (i > 1 && at > 1 && a[i - 1] == b[at - 2] && a[i - 2] == b[at - 1])
                row[at] = least(row[at], before[at - 2] + 1);
        }
    }
    return rows[strlen(a) % 3][length] <= most;
}
