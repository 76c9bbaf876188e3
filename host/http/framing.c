#include "http/framing.h"

#include <string.h>
#include <strings.h>

#define ALPHANUMERIC "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define TOKEN        ALPHANUMERIC "!#$%&'*+-.^_`|~"
#define DIGITS       "0123456789"

bool framing_is_authority(const char *text, size_t length)
{
    const char *port = memchr(text, ':', length);
    size_t host;

    if (length > 0 && *text == '[') {
        host = 1 + strspn(text + 1, DIGITS "abcdefABCDEF:.");
        if (host == 1 || host >= length || text[host++] != ']')
            return false;
        port = host < length ? text + host : NULL;
    } else {
        host = port ? (size_t)(port - text) : length;
        if (strspn(text, ALPHANUMERIC "-._~") < host || (port && host == 0))
            return false;
    }
    return port == NULL || (*port == ':' && strspn(port + 1, DIGITS) >= length - host - 1);
}

void framing_add(struct framing *framing, const char *name, const char *value)
{
    size_t length = strlen(value);

    while (length > 0 && strchr(" \t", value[length - 1]))
        length--;
    framing->bad_name |= *name == '\0' || name[strspn(name, TOKEN)] != '\0';
    if (strcasecmp(name, "Host") == 0) {
        framing->hosts++;
        framing->bad_host |= !framing_is_authority(value, length);
    } else if (strcasecmp(name, "Content-Length") == 0) {
        framing->lengths++;
        framing->length = value;
        framing->bad_length |= *value == '\0' || value[strspn(value, DIGITS)] != '\0';
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        framing->encodings++;
        framing->not_chunked |= strcasecmp(value, "chunked") != 0;
    }
}

const struct framing_fault *framing_fault(const struct framing *framing, bool http_1_1)
{
    static const struct framing_fault name = {400, "the name of a header is not a token"},
                                      both = {400, "send Content-Length or Transfer-Encoding, "
                                                   "not both"},
                                      lengths = {400, "send one Content-Length, a number"},
                                      encodings = {400, "send one Transfer-Encoding: chunked"},
                                      old = {400, "Transfer-Encoding is of HTTP/1.1"},
                                      coding = {501, "the only Transfer-Encoding here is chunked"},
                                      hosts = {400, "send one Host, a name or an address"};

    if (framing->bad_name)
        return &name;
    if (framing->lengths > 0 && framing->encodings > 0)
        return &both;
    if (framing->lengths > 1 || framing->bad_length)
        return &lengths;
    if (framing->encodings > 1)
        return &encodings;
    if (framing->not_chunked)
        return &coding;
    if (framing->encodings > 0 && !http_1_1)
        return &old;
    if (framing->hosts > 1 || framing->bad_host || (framing->hosts == 0 && http_1_1))
        return &hosts;
    return NULL;
}
