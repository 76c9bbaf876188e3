/* Any text is a manual page: the text that roff_text() makes has as many lines. */
#include "fuzz.h"

#include "passage.h"
#include "roff.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text source = {0};
    char *bytes, *text;

    text_add_foreign(&source, (const char *)data, size);
    bytes = text_take(&source);
    if (bytes == NULL)
        return 0;
    if (strlen(bytes) > 0 && bytes[strlen(bytes) - 1] != '\n')
        bytes[strlen(bytes) - 1] = '\n';
    text = roff_text(bytes);
    if (text && count_lines(text) != count_lines(bytes))
        abort();
    free(text);
    free(bytes);
    return 0;
}
