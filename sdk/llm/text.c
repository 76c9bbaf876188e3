/*
 * JSON and characters that servers break, and what is made of them.
 *
 * A server cuts its answer at tokens, which may end within a character: the halves of a surrogate
 * pair, or the bytes of a character, then come in two pieces, and no JSON parser takes the first by
 * itself. agent_llm_repair() turns such a half into the three bytes that UTF-8 would have for it,
 * so that the parser passes it on; agent_llm_join() keeps it for the next piece; agent_llm_mend()
 * makes a character of two halves, and U+FFFD of one.
 */
#include "exchange.h"

#include <ctype.h>

#define UNREAD_MAX (64 * 1024) /* bytes that are kept of a string that nobody reads */

/* ---- JSON, byte by byte ------------------------------------------------- */

int agent_llm_scan(struct llm_scan *scan, char byte)
{
    if (scan->in_string) {
        if (scan->after_backslash)
            scan->after_backslash = 0;
        else if (byte == '\\')
            scan->after_backslash = 1;
        else if (byte == '"')
            scan->in_string = 0;
        return 0;
    }
    if (byte == '"')
        scan->in_string = 1;
    else if (byte == '{' || byte == '[')
        scan->depth++;
    else if ((byte == '}' || byte == ']') && scan->depth > 0)
        return --scan->depth == 0;
    return 0;
}

char *agent_llm_value_end(char *text)
{
    struct llm_scan scan = {0};

    if (*text != '{' && *text != '[')
        return NULL;
    for (; *text; text++) {
        if (agent_llm_scan(&scan, *text))
            return text + 1;
    }
    return NULL;
}

/* Return 1 if a member of this name is read at any length. */
static int is_read(const char *name)
{
    static const char *const names[] = {
        "content",   "text",  "reasoning_content", "reasoning",         "thinking",  "refusal",
        "arguments", "value", "parameters",        "thought_signature", "signature", NULL};
    size_t i;

    for (i = 0; names[i]; i++) {
        if (strcmp(name, names[i]) == 0)
            return 1;
    }
    return 0;
}

/* Take a byte that is not in a string. */
static void filter_outside(struct llm_filter *filter, char byte)
{
    switch (byte) {
    case '"':
        filter->in_string = 1;
        filter->length = 0;
        filter->is_read = filter->inside > 0 || is_read(filter->key);
        break;
    case ':':
        memcpy(filter->key, filter->last, sizeof filter->key);
        break;
    case '{':
    case '[':
        if (filter->inside > 0 || strcmp(filter->key, "arguments") == 0 ||
            strcmp(filter->key, "parameters") == 0 || strcmp(filter->key, "extra_content") == 0)
            filter->inside++;
        break;
    case '}':
    case ']':
        filter->inside -= filter->inside > 0;
        break;
    default:
        break;
    }
}

int agent_llm_filter(struct llm_filter *filter, char byte)
{
    if (byte == '\0')
        return 1;
    if (byte == '\n' || byte == '\r') { /* no string goes on in the next line */
        filter->in_string = filter->escape = filter->skips = 0;
        if (filter->inside == 0)
            filter->key[0] = filter->last[0] = '\0';
        return 0;
    }
    if (!filter->in_string) {
        filter_outside(filter, byte);
        return 0;
    }
    if (filter->escape > 0) {
        filter->escape = filter->escape > 4 ? (byte == 'u' ? 4 : 0) : filter->escape - 1;
    } else if (byte == '"') {
        filter->last[filter->length < sizeof filter->last ? filter->length : 0] = '\0';
        filter->in_string = filter->skips = 0;
        return 0;
    } else {
        filter->skips = !filter->is_read && filter->length > UNREAD_MAX;
        if (byte == '\\')
            filter->escape = 5;
    }
    if (filter->length < sizeof filter->last)
        filter->last[filter->length] = byte;
    filter->length++;
    return filter->skips;
}

/* ---- repairs ------------------------------------------------------------ */

/* Return the code unit of an escape \uXXXX, or -1. */
static long escape_code(const char *text)
{
    long code = 0;
    int i;

    if (text[0] != '\\' || text[1] != 'u')
        return -1;
    for (i = 2; i < 6; i++) {
        if (!isxdigit((unsigned char)text[i]))
            return -1;
        code = code * 16 +
               (isdigit((unsigned char)text[i]) ? text[i] - '0' : (text[i] | 32) - 'a' + 10);
    }
    return code;
}

static int is_high(long code)
{
    return code >= 0xd800 && code <= 0xdbff;
}

static int is_low(long code)
{
    return code >= 0xdc00 && code <= 0xdfff;
}

/* Return the length of a number of JavaScript that is none of JSON, at the text's beginning. */
static size_t number_length(const char *text)
{
    size_t sign = *text == '-';

    if (strncmp(text + sign, "NaN", 3) == 0)
        return sign + 3;
    return strncmp(text + sign, "Infinity", 8) == 0 ? sign + 8 : 0;
}

/* Repair the escape at *from. */
static void repair_escape(const char **from, char **to)
{
    long code = escape_code(*from), next;
    size_t length = 6;

    if (code < 0) {
        length = (*from)[1] ? 2 : 1;
    } else if (code == 0) {
        memcpy(*to, "\\ufffd", 6);
        *to += 6;
        *from += 6;
        return;
    } else if (is_high(code) || is_low(code)) {
        next = escape_code(*from + 6);
        if (!is_high(code) || !is_low(next)) {
            *(*to)++ = (char)0xed;
            *(*to)++ = (char)(0x80 | (code >> 6 & 0x3f));
            *(*to)++ = (char)(0x80 | (code & 0x3f));
            *from += 6;
            return;
        }
        length = 12;
    }
    memmove(*to, *from, length);
    *to += length;
    *from += length;
}

void agent_llm_repair(char *json)
{
    const char *from = json;
    char *to = json;
    int in_string = 0;
    size_t length;

    while (*from) {
        if (in_string && *from == '\\') {
            repair_escape(&from, &to);
            continue;
        }
        length = in_string ? 0 : number_length(from);
        if (length > 0) {
            *to++ = '"';
            *to++ = '"';
            from += length;
            continue;
        }
        if (*from == '"')
            in_string = !in_string;
        *to++ = *from++;
    }
    *to = '\0';
}

/*
 * Return where an object begins that is the value of a member "arguments", from here on, or NULL.
 * The name cannot be in a string, where its quotes have backslashes.
 */
static const char *find_arguments(const char *json)
{
    const char *at = json;

    while ((at = strstr(at, "\"arguments\""))) {
        at += strlen("\"arguments\"");
        at += strspn(at, " \t\r\n");
        if (*at != ':')
            continue;
        at += 1 + strspn(at + 1, " \t\r\n");
        if (*at == '{')
            return at;
    }
    return NULL;
}

char *agent_llm_keep_arguments(const char *json)
{
    const char *from = json, *object = find_arguments(json), *end;
    char *kept = object ? (char *)malloc(4 * strlen(json) + 1) : NULL, *to = kept;

    if (kept == NULL)
        return NULL;
    for (; object; object = find_arguments(from)) {
        end = agent_llm_value_end((char *)(uintptr_t)object);
        if (end == NULL)
            break;
        memcpy(to, from, (size_t)(end - from));
        to = stpcpy(to + (end - from), ",\"" AGENT_LLM_KEPT "\":\"");
        for (from = object; from < end; from++) {
            if (*from == '"' || *from == '\\')
                *to++ = '\\';
            *to++ = *from;
        }
        *to++ = '"';
    }
    strcpy(to, from);
    return kept;
}

/* Return the half of a surrogate pair whose three bytes are at the text's beginning, or -1. */
static long half_code(const char *text)
{
    const unsigned char *bytes = (const unsigned char *)text;

    if (bytes[0] != 0xed || (bytes[1] & 0xe0) != 0xa0 || (bytes[2] & 0xc0) != 0x80)
        return -1;
    return 0xd000 | (long)(bytes[1] & 0x3f) << 6 | (bytes[2] & 0x3f);
}

void agent_llm_mend(char *text)
{
    const char *from = strchr(text, '\xed');
    char *to = text + (from ? from - text : 0);
    long high, low, code;

    while (from && *from) {
        high = half_code(from);
        if (high < 0) {
            *to++ = *from++;
            continue;
        }
        low = half_code(from + 3);
        from += 3;
        if (is_high(high) && is_low(low)) {
            from += 3;
            code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3f));
            *to++ = (char)(0x80 | (code >> 6 & 0x3f));
            *to++ = (char)(0x80 | (code & 0x3f));
        } else {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
        }
    }
    if (from)
        *to = '\0';
}

/* Return how many bytes at the end begin a character, or a surrogate pair, that is not complete. */
static size_t open_end(const char *text, size_t length)
{
    size_t back, needed;

    for (back = 1; back <= 3 && back <= length; back++) {
        unsigned char byte = (unsigned char)text[length - back];
        if ((byte & 0xc0) == 0x80)
            continue;
        needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        if (needed > back)
            return back;
        return back == 3 && is_high(half_code(text + length - 3)) ? 3 : 0;
    }
    return 0;
}

char *agent_llm_join(struct llm_half *half, const char *piece)
{
    size_t length = strlen(piece), kept;
    char *joined = malloc(half->length + length + 1);

    if (joined == NULL)
        return NULL;
    memcpy(joined, half->bytes, half->length);
    memcpy(joined + half->length, piece, length + 1);
    length += half->length;
    kept = open_end(joined, length);
    memcpy(half->bytes, joined + length - kept, kept);
    half->length = kept;
    joined[length - kept] = '\0';
    agent_llm_mend(joined);
    return joined;
}

/* ---- words -------------------------------------------------------------- */

/* Return the length of the character at the text's beginning, or 0 if it is none of UTF-8. */
static size_t character_length(const char *text)
{
    unsigned char byte = (unsigned char)*text;
    size_t length = byte < 0x80 ? 1 : byte < 0xc2 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4, i;
    unsigned char next = length > 1 ? (unsigned char)text[1] : 0;

    if (byte > 0xf4 || (byte == 0xe0 && next < 0xa0) || (byte == 0xed && next > 0x9f) ||
        (byte == 0xf0 && next < 0x90) || (byte == 0xf4 && next > 0x8f))
        return 0;
    for (i = 1; i < length; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

void agent_llm_quote(char *to, size_t size, const char *text)
{
    size_t length = 0, room = size - 4, character;

    for (; *text; text += character + (character == 0)) {
        character = character_length(text);
        if (length + character >= room) {
            strcpy(to + length, "...");
            return;
        }
        if (character > 1) {
            memcpy(to + length, text, character);
            length += character;
        } else if (character == 0) {
            to[length++] = '?';
        } else if (*text > ' ' && *text != 0x7f) {
            to[length++] = *text;
        } else if (length > 0 && to[length - 1] != ' ') {
            to[length++] = ' ';
        }
    }
    while (length > 0 && to[length - 1] == ' ')
        length--;
    to[length] = '\0';
}

void agent_llm_make_utf8(char *text)
{
    size_t length;

    for (; *text; text += length) {
        length = character_length(text);
        if (length == 0) {
            *text = '?';
            length = 1;
        }
    }
}

char *agent_llm_copy(const char *text, size_t length)
{
    char *copied = malloc(length + 1);

    if (copied) {
        memcpy(copied, text, length);
        copied[length] = '\0';
    }
    return copied;
}
