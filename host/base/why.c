#include "base/why.h"

#include "base/buf.h"
#include "base/json.h"

#include <stdarg.h>
#include <stdlib.h>

int why_set(struct why *why, int status, const char *format, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    free(why->text);
    why->text = buf_steal(&text);
    json_make_utf8(why->text); /* what it quotes may be cut within a character */
    return status;
}

const char *why_text(const struct why *why)
{
    return why->text ? why->text : "";
}

void why_finish(struct why *why)
{
    free(why->text);
    why->text = NULL;
}
